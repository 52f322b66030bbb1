// MysqlConnection: connecting, deadlines, transactions, and the cache of statements.
#include "backends/mysql_connection.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <mutex>
#include <mysql.h>
#include <random>
#include <sys/socket.h>
#include <utility>
#include <vector>

#include "backends/mysql_errors.h"
#include "backends/mysql_query.h"
#include "conf/config.h"

namespace sluice::sql {

namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kStatementsMax = 192;  // kept per connection
constexpr milliseconds kPauseMin{100};       // between attempts to connect
constexpr milliseconds kPauseMax{5000};
constexpr milliseconds kGrace{500};         // for the server to end a statement before the watchdog does
constexpr milliseconds kCommitGrace{1000};  // for the answer to a COMMIT that was sent in time
// How long a statement of a group may take on MariaDB, which has no such limit for locks alone. It leaves room for the
// work: what is right for a row of a kilobyte is not for one of many megabytes.
constexpr milliseconds kBrief{100};
constexpr std::size_t kBriefBytes = std::size_t{1} << 20;  // so many more, so much longer

milliseconds until(Deadline deadline) {
  return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(deadline - Clock::now()));
}

unsigned whole_seconds(milliseconds time) {
  return static_cast<unsigned>(std::chrono::ceil<std::chrono::seconds>(time).count());
}

milliseconds with_jitter(milliseconds pause) {
  thread_local std::minstd_rand random{std::random_device{}()};
  std::uniform_int_distribution<milliseconds::rep> spread(pause.count() / 2, pause.count());
  return milliseconds(spread(random));
}

// mysql_init() would do it, but not for two threads at a time.
void initialise_driver() {
  static std::once_flag once;
  std::call_once(once, [] { mysql_server_init(0, nullptr, nullptr); });
}

const std::string* find(const std::vector<std::pair<std::string, std::string>>& parameters, std::string_view name) {
  const auto found =
      std::find_if(parameters.begin(), parameters.end(), [&](const auto& pair) { return pair.first == name; });
  return found == parameters.end() ? nullptr : &found->second;
}

}  // namespace

std::string mysql_quoted(std::string_view name) {
  std::string out = "`";
  for (const char c : name) out.append(c == '`' ? 2 : 1, c);
  return out += '`';
}

std::string mysql_quoted_table(std::string_view name) {
  const std::size_t dot = name.find('.');
  if (dot == std::string_view::npos) return mysql_quoted(name);
  return mysql_quoted(name.substr(0, dot)) + "." + mysql_quoted(name.substr(dot + 1));
}

MysqlConnection::MysqlConnection(std::shared_ptr<const conf::BackendOptions> options) : options_(std::move(options)) {}

MysqlConnection::~MysqlConnection() { close(); }

Error MysqlConnection::prepare_for(const Op& op, Deadline deadline, Patience patience) {
  op_ = &op;
  deadline_ = deadline;
  patience_ = patience;
  stale_ = false;
  last_code_ = 0;
  if (expired()) return error(Failure::unavailable, "57014", "no time was left to begin");
  if (lost_) close();
  reused_ = mysql_ != nullptr;
  if (mysql_ == nullptr) {
    if (Error failed = connect(); failed.failure != Failure::none) return failed;
  }
  watch_->set(deadline_ + kGrace);
  return limit_statements();
}

void MysqlConnection::finish() {
  if (watch_ != nullptr) watch_->set(Deadline::max());
}

Error MysqlConnection::connect() {
  if (Clock::now() < next_attempt_) return not_yet();
  initialise_driver();
  mysql_ = mysql_init(nullptr);
  if (mysql_ == nullptr) return error(Failure::unavailable, "53200", "out of memory");
  set_options();
  Error failed = log_in();
  if (failed.failure == Failure::none) failed = begin_session();
  if (failed.failure != Failure::none) {
    close();
    back_off(failed);
    return failed;
  }
  next_attempt_ = Deadline::min();
  pause_ = milliseconds(0);
  return {};
}

Error MysqlConnection::not_yet() const {
  Error waiting = last_attempt_;
  waiting.message = error(Failure::unavailable, "", last_attempt_.message).message;
  return waiting;
}

// The pause doubles with each attempt. `error`'s own message names the operation; the next one's will name another.
void MysqlConnection::back_off(const Error& error) {
  pause_ = std::clamp(pause_ * 2, kPauseMin, kPauseMax);
  next_attempt_ = Clock::now() + with_jitter(pause_);
  last_attempt_ = error;
  const std::string prefix = this->error(Failure::none, "", "").message;
  if (last_attempt_.message.starts_with(prefix)) last_attempt_.message.erase(0, prefix.size());
}

void MysqlConnection::set_options() {
  const auto set = [&](mysql_option option, auto value) { mysql_optionsv(mysql_, option, &value); };
  set(MYSQL_OPT_CONNECT_TIMEOUT, std::max(1U, whole_seconds(until(deadline_))));
  set(MYSQL_OPT_LOCAL_INFILE, 0U);  // or a server could ask for files of this machine
  const bool tcp = options_->endpoint.kind == conf::Endpoint::Kind::tcp;
  set(MYSQL_OPT_PROTOCOL, static_cast<unsigned>(tcp ? MYSQL_PROTOCOL_TCP : MYSQL_PROTOCOL_SOCKET));
  mysql_optionsv(mysql_, MYSQL_SET_CHARSET_NAME, "utf8mb4");
  set_tls();
}

void MysqlConnection::set_tls() {
  const std::string* const mode = find(options_->parameters, "ssl-mode");
  if (mode == nullptr || *mode == "disabled") return;
  const auto set_file = [&](const char* parameter, mysql_option option) {
    if (const std::string* const file = find(options_->parameters, parameter)) {
      mysql_optionsv(mysql_, option, file->c_str());
    }
  };
  set_file("ssl-cert", MYSQL_OPT_SSL_CERT);
  set_file("ssl-key", MYSQL_OPT_SSL_KEY);
  if (*mode != "required") set_file("ssl-ca", MYSQL_OPT_SSL_CA);
  const my_bool on = 1;
  mysql_optionsv(mysql_, MYSQL_OPT_SSL_ENFORCE, &on);
  if (*mode == "verify-identity") mysql_optionsv(mysql_, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &on);
}

Error MysqlConnection::log_in() {
  // Without it the driver would take any certificate.
  const std::string* const mode = find(options_->parameters, "ssl-mode");
  if (mode != nullptr && mode->starts_with("verify") && find(options_->parameters, "ssl-ca") == nullptr) {
    return error(Failure::schema, "08001",
                 "ssl-mode=" + *mode + " needs ssl-ca, a file with the certificates to trust");
  }
  const bool tcp = options_->endpoint.kind == conf::Endpoint::Kind::tcp;
  ++connections_;
  const MYSQL* const opened =
      mysql_real_connect(mysql_, tcp ? options_->endpoint.host.c_str() : nullptr, options_->user.c_str(),
                         options_->password.c_str(), options_->database.c_str(), tcp ? options_->endpoint.port : 0,
                         tcp ? nullptr : options_->endpoint.path.c_str(), CLIENT_FOUND_ROWS);
  if (opened == nullptr) return connection_failure();
  watch_ = std::make_unique<MysqlWatchdog::Watch>(mysql_get_socket(mysql_));
  watch_->set(deadline_ + kGrace);
  is_mariadb_ = std::string_view(mysql_get_server_info(mysql_)).find("MariaDB") != std::string_view::npos;
  return {};
}

// What the server's own configuration may have set otherwise.
Error MysqlConnection::begin_session() {
  std::string set =
      "SET sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_ZERO_DATE,"
      "NO_ZERO_IN_DATE,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00', autocommit = 1, completion_type = 0, "
      "foreign_key_checks = 1, "
      "unique_checks = 1, sql_safe_updates = 0, @sluice_writer = ''";
  // There it is not this that ends the wait for a lock, but max_statement_time.
  if (is_mariadb_) set += ", innodb_lock_wait_timeout = 86400, max_statement_time = 0";
  limit_ = milliseconds(0);
  read_only_ = false;
  mark_.clear();
  for (const std::string& sql : {set, std::string("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")}) {
    if (Error failed = execute(sql); failed.failure != Failure::none) return failed;
  }
  MysqlQuery query(*this, "SELECT @@max_allowed_packet", MysqlQuery::Lock::none);
  if (query.next()) packet_max_ = static_cast<std::size_t>(query.integer(0));
  return query.error();
}

// The server's own limit follows the deadlines at a distance: to set it takes a trip, and deadlines mostly are the same
// time ahead. It is never later than the deadline, and earlier by no more than a tenth.
Error MysqlConnection::limit_statements() {
  const milliseconds left = std::max(until(deadline_), milliseconds(1));
  std::string sql;
  if (is_mariadb_) {
    if (limit_ <= left && limit_ >= left * 9 / 10) return {};
    limit_ = left;
    sql = "SET max_statement_time = " + std::to_string(left.count()) + "e-3";
  } else {
    const unsigned seconds = patience_ == Patience::brief ? 1 : std::max(1U, whole_seconds(left));
    if (limit_ == std::chrono::seconds(seconds)) return {};
    limit_ = std::chrono::seconds(seconds);
    const std::string text = std::to_string(seconds);
    sql = "SET innodb_lock_wait_timeout = " + text + ", lock_wait_timeout = " + text;
  }
  Error failed = execute(sql);
  if (failed.failure != Failure::none) limit_ = milliseconds(0);
  return failed;
}

// In few sizes: each makes a statement of its own.
std::string MysqlConnection::lock_limit(std::size_t bytes) const {
  if (!is_mariadb_ || patience_ != Patience::brief) return "";
  const milliseconds limit = kBrief * static_cast<int>(std::bit_ceil(1 + bytes / kBriefBytes));
  return "SET STATEMENT max_statement_time=" + std::to_string(limit.count()) + "e-3 FOR ";
}

void MysqlConnection::close() {
  watch_.reset();
  // Of a connection that is gone, the driver frees its own side only.
  for (auto& [sql, prepared] : statements_) mysql_stmt_close(prepared.statement);
  statements_.clear();
  recent_.clear();
  if (mysql_ != nullptr) mysql_close(mysql_);
  mysql_ = nullptr;
  lost_ = false;
}

Error MysqlConnection::execute(std::string_view sql) {
  if (mysql_ == nullptr || lost_) return error(Failure::unavailable, "08006", "the connection is gone");
  if (mysql_real_query(mysql_, sql.data(), sql.size()) == 0) return {};
  return failure(mysql_errno(mysql_), mysql_sqlstate(mysql_), mysql_error(mysql_));
}

Error MysqlConnection::read() {
  const bool is_set = (mysql_->server_status & SERVER_STATUS_AUTOCOMMIT) != 0;
  return is_set ? Error{} : execute("SET autocommit = 1");
}

Error MysqlConnection::only_read() {
  if (Error failed = read(); failed.failure != Failure::none) return failed;
  return set_read_only(true);
}

// Told only when it changes: mostly a session either reads or writes.
Error MysqlConnection::set_read_only(bool wanted) {
  if (read_only_ == wanted) return {};
  Error failed = execute(wanted ? "SET SESSION TRANSACTION READ ONLY" : "SET SESSION TRANSACTION READ WRITE");
  if (failed.failure == Failure::none) read_only_ = wanted;
  return failed;
}

// Without autocommit the first statement begins the transaction: START TRANSACTION would be a trip of its own.
Error MysqlConnection::write() {
  if (Error failed = set_read_only(false); failed.failure != Failure::none) return failed;
  const bool is_set = (mysql_->server_status & SERVER_STATUS_AUTOCOMMIT) != 0;
  return is_set ? execute("SET autocommit = 0") : Error{};
}

Error MysqlConnection::mark(const std::string& writer) {
  if (mark_ == writer) return {};
  MysqlQuery query(*this, "SET @sluice_writer = ?", MysqlQuery::Lock::none);
  query.bind_text(writer);
  Error failed = query.run();
  if (failed.failure == Failure::none) mark_ = writer;
  return failed;
}

Error MysqlConnection::commit() {
  if (expired()) {
    rollback();
    return error(Failure::unavailable, "57014", "the time was over before COMMIT");
  }
  if (lost_) return error(Failure::unavailable, "08006", "the connection is gone");
  watch_->set(deadline_ + kCommitGrace);
  Error failed = execute("COMMIT");
  if (failed.failure == Failure::none || mysql_proves_rollback(last_code_)) return failed;
  failed.failure = Failure::unknown;
  failed.message += "; whether COMMIT took effect is not known";
  lost_ = true;
  stale_ = false;
  return failed;
}

void MysqlConnection::rollback() {
  if (mysql_ == nullptr || lost_) return;
  watch_->set(std::max(deadline_, Clock::now()) + kCommitGrace);
  const unsigned code = last_code_;
  if (execute("ROLLBACK").failure != Failure::none) lost_ = true;
  last_code_ = code;
}

// The driver would read all that is still to come: with the socket shut there is nothing.
void MysqlConnection::abandon() {
  shutdown(mysql_get_socket(mysql_), SHUT_RDWR);
  lost_ = true;
}

bool MysqlConnection::still_in_transaction() {
  if (mysql_ == nullptr || lost_) return false;
  const unsigned code = last_code_;
  const bool answered = execute("DO 0").failure == Failure::none;  // an error does not tell the state, an OK does
  last_code_ = code;
  return answered && (mysql_->server_status & SERVER_STATUS_IN_TRANS) != 0;
}

MysqlConnection::Prepared* MysqlConnection::prepare(std::string_view sql, Error& error) {
  std::string key(sql);
  if (const auto found = statements_.find(key); found != statements_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second.recent);
    return &found->second;
  }
  if (mysql_ == nullptr || lost_) {
    error = this->error(Failure::unavailable, "08006", "the connection is gone");
    return nullptr;
  }
  MYSQL_STMT* const statement = mysql_stmt_init(mysql_);
  if (statement == nullptr) {
    error = this->error(Failure::unavailable, "53200", "out of memory");
    return nullptr;
  }
  if (mysql_stmt_prepare(statement, key.data(), key.size()) != 0) {
    error = failure(mysql_stmt_errno(statement), mysql_stmt_sqlstate(statement), mysql_stmt_error(statement));
    mysql_stmt_close(statement);
    return nullptr;
  }
  if (statements_.size() >= kStatementsMax) forget_oldest();
  const auto added = statements_.try_emplace(std::move(key)).first;
  recent_.push_front(&added->first);
  added->second = {statement, recent_.begin()};
  return &added->second;
}

void MysqlConnection::forget(std::string_view sql) {
  const auto found = statements_.find(std::string(sql));
  if (found == statements_.end()) return;
  mysql_stmt_close(found->second.statement);
  recent_.erase(found->second.recent);
  statements_.erase(found);
}

void MysqlConnection::forget_oldest() { forget(std::string(*recent_.back())); }

Error MysqlConnection::error(Failure failure, std::string_view sqlstate, std::string_view what) const {
  std::string message = "backend '" + options_->name + "': ";
  if (op_ != nullptr) message += describe(*op_) + ": ";
  return {failure, std::string(sqlstate), message.append(what)};
}

Error MysqlConnection::failure(unsigned code, const char* sqlstate, const char* text) {
  last_code_ = code;
  if (mysql_is_lost(code)) {
    lost_ = true;
    const bool in_time = watch_ == nullptr || !watch_->fired();
    if (!in_time) return error(Failure::unavailable, "57014", "it took too long");
    stale_ = reused_;
    const Failure failure = code == 1153 ? Failure::refused : Failure::unavailable;
    return error(failure, code < 2000 ? sqlstate : "08006", text);
  }
  if (mysql_is_wait(code)) return error(Failure::unavailable, "57014", "it took too long: " + std::string(text));
  const Failure failure = mysql_failure(code, sqlstate);
  return error(failure, mysql_sqlstate_of(code, sqlstate), mysql_message(code, text));
}

Error MysqlConnection::connection_failure() {
  const unsigned code = mysql_errno(mysql_);
  last_code_ = code;
  const std::string where = "'" + conf::to_string(options_->endpoint) + "': ";
  if (code >= 2000) return error(Failure::unavailable, "08001", where + mysql_error(mysql_));
  return error(mysql_failure(code, mysql_sqlstate(mysql_)), mysql_sqlstate(mysql_), where + mysql_error(mysql_));
}

}  // namespace sluice::sql

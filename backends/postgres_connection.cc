// PostgresConnection: connecting, waiting, the statement cache, and what the server says.
#include "backends/postgres_connection.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <poll.h>
#include <utility>

#include "backends/postgres_error.h"
#include "conf/config.h"

namespace sluice::sql {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t kStatementsMax = 256;  // kept per connection
constexpr milliseconds kBackOffFirst{100};
constexpr milliseconds kBackOffMax{5000};
constexpr milliseconds kLaterMax{500};
// Turns off the ways to join that do not look up each row by its key; a plan serves for any number of rows.
constexpr std::array kByKey{"enable_hashjoin = off", "enable_mergejoin = off", "enable_seqscan = off",
                            "plan_cache_mode = force_generic_plan"};
// A plan for a table that was small when it was made is bad for one that has grown, and the server would keep it until
// it looks at the table again.
constexpr milliseconds kPlansAge{5000};
// COMMIT is not sent after the deadline, but sent before it its answer is worth waiting for.
constexpr milliseconds kCommitGrace{500};

// What every session needs, whatever the server's defaults are. A transaction that a frozen proxy has left open does
// not keep its locks for ever.
constexpr const char* kSettings =
    "SELECT set_config('timezone', 'UTC', false), set_config('datestyle', 'ISO, MDY', false),"
    " set_config('extra_float_digits', '1', false), set_config('bytea_output', 'hex', false),"
    " set_config('intervalstyle', 'postgres', false), set_config('default_transaction_isolation', 'read committed',"
    " false), set_config('idle_in_transaction_session_timeout', '10s', false),"
    " CASE WHEN current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
    " THEN set_config('synchronous_commit', 'on', false) END";

// Nothing that the server stored for another schema: the types of parameters are those of when it was prepared.
bool may_be_stale(std::string_view sqlstate) {
  return sqlstate == "0A000" || sqlstate == "26000" || sqlstate == "42P05" || sqlstate == "42804" ||
         sqlstate == "22P02" || sqlstate == "22003" || sqlstate == "22007";
}

bool succeeded(ExecStatusType status) { return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK; }

}  // namespace

std::int64_t PostgresReply::affected() const {
  return rows == nullptr ? 0 : std::strtoll(PQcmdTuples(rows.get()), nullptr, 10);
}

PostgresConnection::PostgresConnection(std::shared_ptr<const conf::BackendOptions> options)
    : options_(std::move(options)), random_(std::random_device{}()) {}

PostgresConnection::~PostgresConnection() { close(); }

Error PostgresConnection::prepare_for(const Op& op, Deadline deadline) {
  op_ = &op;
  deadline_ = deadline;
  lost_ = false;
  fresh_ = false;
  if (expired()) return error(Failure::unavailable, "57014", "no time was left to begin");
  if (connection_ != nullptr && in_transaction_) close();  // a rollback that failed
  return connection_ == nullptr ? connect() : Error{};
}

// --- Connecting

Error PostgresConnection::connect() {
  if (Clock::now() < next_try_) return error(last_refusal_.failure, last_refusal_.sqlstate, last_refusal_.message);
  fresh_ = true;
  ++number_;
  Error failed = establish();
  if (failed.failure == Failure::none) failed = configure();
  if (failed.failure == Failure::none) {
    back_off_ = milliseconds{0};
    return failed;
  }
  close();
  back_off_ = std::clamp(back_off_ * 2, kBackOffFirst, kBackOffMax);
  const auto half = back_off_.count() / 2;
  next_try_ = Clock::now() + milliseconds(half + std::uniform_int_distribution<std::int64_t>(0, half)(random_));
  last_refusal_ = {failed.failure, failed.sqlstate, failed.message.substr(subject().size())};
  return failed;
}

Error PostgresConnection::establish() {
  const bool local = options_->endpoint.kind == conf::Endpoint::Kind::unix_socket;
  const std::string port = std::to_string(options_->endpoint.port);
  std::vector<const char*> names{"host", "port", "dbname", "application_name", "client_encoding", "gssencmode"};
  std::vector<const char*> values{local ? options_->endpoint.path.c_str() : options_->endpoint.host.c_str(),
                                  port.c_str(),
                                  options_->database.c_str(),
                                  "sluice",
                                  "UTF8",
                                  "disable"};
  const auto add = [&](const char* name, const std::string& value) {
    if (value.empty()) return;  // libpq's own default
    names.push_back(name);
    values.push_back(value.c_str());
  };
  add("user", options_->user);
  add("password", options_->password);
  for (const auto& [name, value] : options_->parameters) add(name.c_str(), value);
  names.push_back(nullptr);
  values.push_back(nullptr);

  connection_ = PQconnectStartParams(names.data(), values.data(), 0);
  if (connection_ == nullptr) return error(Failure::unavailable, "53200", "there is no memory for a connection");
  PQsetErrorVerbosity(connection_, PQERRORS_VERBOSE);  // with the SQLSTATE
  PostgresPollingStatusType state = PGRES_POLLING_WRITING;
  if (PQstatus(connection_) == CONNECTION_BAD) return refused_connection();
  while (state != PGRES_POLLING_OK) {
    if (Error late = wait(state == PGRES_POLLING_READING ? POLLIN : POLLOUT); late.failure != Failure::none) {
      late.sqlstate = "08001";
      return late;
    }
    state = PQconnectPoll(connection_);
    if (state == PGRES_POLLING_FAILED) return refused_connection();
  }
  return {};
}

Error PostgresConnection::refused_connection() {
  const PostgresRefusal refusal = postgres_refusal(connection_);
  return error(postgres_class(refusal.sqlstate), refusal.sqlstate, refusal.text);
}

Error PostgresConnection::configure() {
  PQsetErrorVerbosity(connection_, PQERRORS_DEFAULT);
  PQsetNoticeProcessor(
      connection_, [](void*, const char*) {}, nullptr);
  if (PQsetnonblocking(connection_, 1) != 0 || PQenterPipelineMode(connection_) == 0) return lose();
  PostgresReply reply;
  Error failed = exchange(PostgresQuery(kSettings), reply);
  return failed.failure == Failure::none ? named(reply.error) : failed;
}

void PostgresConnection::close() {
  PQfinish(connection_);
  connection_ = nullptr;
  begin_ = in_transaction_ = false;
  statement_timeout_ = lock_timeout_ = milliseconds{-1};
  by_key_ = false;
  sent_.clear();
  statements_.clear();
  recent_.clear();
  unused_.clear();
}

// --- Sending

void PostgresConnection::begin(milliseconds lock_timeout, std::string mark) {
  begin_ = true;
  mark_ = std::move(mark);
  lock_timeout_wanted_ = lock_timeout;
}

Error PostgresConnection::exchange(const PostgresQuery& query, PostgresReply& reply) {
  std::vector<PostgresReply> replies;
  Error failed = exchange(std::span(&query, 1), replies);
  if (failed.failure == Failure::none) reply = std::move(replies[0]);
  return failed;
}

Error PostgresConnection::exchange(std::span<const PostgresQuery> queries, std::vector<PostgresReply>& replies) {
  replies.clear();
  replies.resize(queries.size());
  const auto bad = std::find_if(queries.begin(), queries.end(), [](const PostgresQuery& q) { return q.has_nul(); });
  const auto count = static_cast<std::size_t>(bad - queries.begin());
  if (connection_ == nullptr) return lose();
  ++exchanges_;
  bool ok = send_prelude();
  for (std::size_t i = 0; i < count && ok; ++i) ok = send(queries[i], {Sent::Kind::query, nullptr, false, i});
  if (!ok || PQpipelineSync(connection_) == 0) return lose();
  if (Error failed = read_all(replies); failed.failure != Failure::none) return failed;
  while (statements_.size() > kStatementsMax) forget_oldest();
  if (bad != queries.end()) {
    replies[count].error = {Failure::refused, "22021", "a text holds a zero byte, which PostgreSQL cannot store"};
  }
  return {};
}

Error PostgresConnection::stream(const PostgresQuery& query, PostgresReply& reply, const TakeRow& take) {
  if (connection_ == nullptr) return lose();
  if (query.has_nul()) return exchange(query, reply);  // which says what is wrong
  ++exchanges_;
  // Without BEGIN, what is sent up to the end of the exchange is one transaction.
  const PostgresQuery read_only("SELECT set_config('transaction_read_only', 'on', true)");
  const bool sent = send_prelude() && send(read_only, {Sent::Kind::prelude}) && send(query, {Sent::Kind::query});
  if (!sent || PQpipelineSync(connection_) == 0) return lose();
  std::vector<PostgresReply> replies(1);
  take_ = &take;
  Error failed = read_all(replies);
  take_ = nullptr;
  reply = std::move(replies[0]);
  return failed;
}

Error PostgresConnection::prepare_only(const PostgresQuery& query, PostgresReply& reply) {
  if (connection_ == nullptr) return lose();
  ++exchanges_;
  Prepared* const statement = send_prelude() ? send_preparation(query, 0) : nullptr;
  if (statement == nullptr) return lose();
  sent_.push_back({Sent::Kind::query, statement, statement->exchange != exchanges_, 0});
  const bool sent = PQsendDescribePrepared(connection_, statement->name.c_str()) != 0;
  if (!sent || PQpipelineSync(connection_) == 0) return lose();
  std::vector<PostgresReply> replies(1);
  Error failed = read_all(replies);
  reply = std::move(replies[0]);
  return failed;
}

bool PostgresConnection::send_prelude() {
  bool ok = true;
  for (const std::string& name : unused_) ok = ok && send_plain(("DEALLOCATE " + name).c_str());
  unused_.clear();
  const bool begins = std::exchange(begin_, false);
  if (begins) {
    ok = ok && send(PostgresQuery("BEGIN"), {Sent::Kind::prelude});
    in_transaction_ = true;
    if (!mark_.empty()) ok = ok && send_mark();
  } else if (!in_transaction_) {
    lock_timeout_wanted_ = milliseconds{0};
  }
  return ok && (begins || !in_transaction_ ? send_planning() && send_settings() : true);
}

// For this transaction only: others may get the server's session after us, from a pool in between.
bool PostgresConnection::send_mark() {
  PostgresQuery query("SELECT set_config('sluice.writer', ");
  query.sql += query.bind_text(mark_) + ", true)";
  return send(query, {Sent::Kind::prelude});
}

bool PostgresConnection::send_planning() {
  bool ok = true;
  if (by_key_wanted_ && Clock::now() - planned_ > kPlansAge) {
    planned_ = Clock::now();
    ok = send_plain("DISCARD PLANS");
  }
  if (by_key_ == by_key_wanted_) return ok;
  for (const std::string setting : kByKey) {
    ok =
        ok && send_plain((by_key_wanted_ ? "SET " + setting : "RESET " + setting.substr(0, setting.find(' '))).c_str());
  }
  by_key_ = by_key_wanted_;
  return ok;
}

// The server gives up a little later than we do. It is told again only when the time left is quite another. A write
// that travels with its COMMIT may take effect that much later than its deadline: less than the two seconds that the
// marks in Redis leave for it.
bool PostgresConnection::send_settings() {
  const auto left = std::chrono::ceil<milliseconds>(deadline_ - Clock::now());
  const auto later = std::min<milliseconds>(left / 16, kLaterMax);
  const auto most = left + 2 * later + milliseconds{50};
  const bool fits = statement_timeout_ >= left && statement_timeout_ <= most;
  if (fits && lock_timeout_ == lock_timeout_wanted_) return true;
  if (!fits) statement_timeout_ = std::max(milliseconds{1}, left + later + milliseconds{10});
  lock_timeout_ = lock_timeout_wanted_;
  PostgresQuery query("SELECT set_config('statement_timeout', ");
  const std::string statement = std::to_string(statement_timeout_.count());
  const std::string lock = std::to_string(lock_timeout_.count());
  query.sql += query.bind_text(statement) + ", false), set_config('lock_timeout', ";
  query.sql += query.bind_text(lock) + ", false)";
  return send(query, {Sent::Kind::prelude});
}

bool PostgresConnection::send_plain(const char* sql) {
  sent_.push_back({Sent::Kind::prelude});
  return PQsendQueryParams(connection_, sql, 0, nullptr, nullptr, nullptr, nullptr, 0) != 0;
}

PostgresConnection::Prepared* PostgresConnection::send_preparation(const PostgresQuery& query, std::size_t number) {
  Prepared& statement = prepared(query.cache_key());
  if (statement.done) return &statement;
  std::vector<Oid> types;
  for (const auto& parameter : query.parameters()) types.push_back(parameter.null ? 0 : parameter.type);
  statement.name = "s" + std::to_string(++names_);
  statement.done = true;  // unless this fails
  statement.exchange = exchanges_;
  sent_.push_back({Sent::Kind::prepare, &statement, false, number});
  const int sent = PQsendPrepare(connection_, statement.name.c_str(), query.sql.c_str(), static_cast<int>(types.size()),
                                 types.data());
  return sent == 0 ? nullptr : &statement;
}

bool PostgresConnection::send(const PostgresQuery& query, Sent sent) {
  const auto& parameters = query.parameters();
  const int count = static_cast<int>(parameters.size());
  std::vector<const char*> values(parameters.size(), nullptr);
  std::vector<int> lengths(parameters.size(), 0);
  std::vector<int> formats(parameters.size(), 0);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto& parameter = parameters[i];
    if (parameter.null) continue;
    values[i] = parameter.text().c_str();
    if (!parameter.bytes) continue;
    lengths[i] = static_cast<int>(parameter.text().size());
    formats[i] = 1;
  }
  sent.statement = send_preparation(query, sent.query);
  if (sent.statement == nullptr) return false;
  sent.was_prepared = sent.statement->exchange != exchanges_;
  sent_.push_back(sent);
  return PQsendQueryPrepared(connection_, sent.statement->name.c_str(), count, values.data(), lengths.data(),
                             formats.data(), 0) != 0;
}

// --- Reading

Error PostgresConnection::read_all(std::vector<PostgresReply>& replies) {
  const std::vector<Sent> sent = std::exchange(sent_, {});
  for (const Sent& one : sent) {
    if (Error failed = read_one(one, replies); failed.failure != Failure::none) return failed;
  }
  return read_sync();
}

// Of single rows up to the end of the result, which has none.
Error PostgresConnection::take_rows(std::unique_ptr<PGresult, void (*)(PGresult*)>& result) {
  while (PQresultStatus(result.get()) == PGRES_SINGLE_TUPLE) {
    if (!(*take_)(result.get())) {
      close();
      return error(Failure::refused, "54000", "the result was not read to its end");
    }
    PGresult* next = nullptr;
    if (Error failed = next_result(next); failed.failure != Failure::none) return failed;
    result.reset(next);
  }
  return {};
}

Error PostgresConnection::read_one(const Sent& sent, std::vector<PostgresReply>& replies) {
  const bool by_row = take_ != nullptr && sent.kind == Sent::Kind::query;
  const bool unwilling = by_row && PQsetSingleRowMode(connection_) == 0;  // as when it was not prepared
  PGresult* raw = nullptr;
  if (Error failed = next_result(raw); failed.failure != Failure::none) return failed;
  std::unique_ptr<PGresult, void (*)(PGresult*)> result(raw, PQclear);
  if (Error failed = by_row ? take_rows(result) : Error{}; failed.failure != Failure::none) return failed;
  PGresult* end = nullptr;
  const ExecStatusType status = PQresultStatus(result.get());
  if (status == PGRES_FATAL_ERROR && postgres_is_fatal(result.get())) {
    refused_first_ = sent.query == 0 && !postgres_sqlstate(result.get()).empty();
    return lose(result.get());
  }
  if (unwilling && status != PGRES_PIPELINE_ABORTED) return lose();  // its rows were not handed over
  if (Error failed = next_result(end); failed.failure != Failure::none) return failed;
  if (end != nullptr) PQclear(end);
  if (succeeded(status)) {
    if (sent.kind == Sent::Kind::query) replies[sent.query].rows = std::move(result);
    return {};
  }
  // The transaction takes back what it was told; statements that the server had not yet prepared it never will.
  forget_settings();
  if (sent.kind == Sent::Kind::prepare) sent.statement->done = false;
  if (status == PGRES_PIPELINE_ABORTED) return {};
  if (sent.kind == Sent::Kind::prelude) {
    refused_first_ = true;
    return lose(result.get());
  }
  fail(sent, result.get(), replies[sent.query]);
  return {};
}

void PostgresConnection::forget_settings() {
  statement_timeout_ = lock_timeout_ = milliseconds{-1};
  by_key_.reset();
}

void PostgresConnection::fail(const Sent& sent, const PGresult* result, PostgresReply& reply) {
  const std::string sqlstate = postgres_sqlstate(result);
  reply.error = {postgres_class(sqlstate), sqlstate, postgres_message(result)};
  if (sent.was_prepared && may_be_stale(sqlstate)) {
    reply.stale = true;
    forget(sent.statement);
  }
  if (sqlstate != "23505") return;
  const auto field = [&](int code) {
    const char* const text = PQresultErrorField(result, code);
    return std::string(text == nullptr ? "" : text);
  };
  reply.index_schema = field(PG_DIAG_SCHEMA_NAME);
  reply.index = field(PG_DIAG_CONSTRAINT_NAME);
}

Error PostgresConnection::read_sync() {
  PGresult* result = nullptr;
  if (Error failed = next_result(result); failed.failure != Failure::none) return failed;
  const bool in_step = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
  PQclear(result);
  return in_step ? Error{} : lose();
}

Error PostgresConnection::next_result(PGresult*& result) {
  int unsent = PQflush(connection_);
  while (unsent > 0 || PQisBusy(connection_) != 0) {
    if (Error failed = wait(static_cast<short>(unsent > 0 ? POLLIN | POLLOUT : POLLIN));
        failed.failure != Failure::none)
      return failed;
    // After a failure to send, what the server said before it went is still to be read.
    if (PQconsumeInput(connection_) == 0) break;
    if (unsent > 0) unsent = PQflush(connection_);
  }
  result = PQgetResult(connection_);
  return {};
}

Error PostgresConnection::wait(short events) {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline_ + grace_ - Clock::now()).count();
    if (left <= 0) return too_late();
    pollfd waiting{PQsocket(connection_), events, 0};
    if (poll(&waiting, 1, static_cast<int>(std::min<std::int64_t>(left, 1 << 30))) > 0) return {};
  }
}

Error PostgresConnection::too_late() {
  close();
  return error(Failure::unavailable, "57014", "it took too long");
}

// `result`: the server's last words.
Error PostgresConnection::lose(const PGresult* result) {
  std::string sqlstate = result == nullptr ? "" : postgres_sqlstate(result);
  std::string text = result == nullptr ? "" : postgres_message(result);
  if (text.empty()) text = connection_ == nullptr ? "there is no connection" : PQerrorMessage(connection_);
  while (text.ends_with('\n')) text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (sqlstate.empty()) sqlstate = "08006";
  close();
  lost_ = true;
  return error(Failure::unavailable, sqlstate, "the connection was lost: " + text);
}

// --- The transaction's end

// Whether the server has ended the connection while nothing was asked of it.
bool PostgresConnection::hung_up() {
  pollfd waiting{PQsocket(connection_), POLLIN, 0};
  while (poll(&waiting, 1, 0) > 0) {
    if (PQconsumeInput(connection_) == 0) return true;
  }
  return false;
}

Error PostgresConnection::commit() {
  if (expired()) {
    rollback();
    return error(Failure::unavailable, "57014", "the time was over before COMMIT");
  }
  if (PQtransactionStatus(connection_) != PQTRANS_INTRANS) {
    close();
    return error(Failure::unknown, "25000", "a statement has ended the transaction; what it did is not known");
  }
  if (hung_up()) return lose();
  PostgresReply reply;
  grace_ = kCommitGrace;
  Error failed = exchange(PostgresQuery("COMMIT"), reply);
  grace_ = milliseconds{0};
  if (failed.failure != Failure::none) return not_known(std::move(failed));
  in_transaction_ = false;
  return named(reply.error);
}

// The server skips COMMIT when the statement before it has failed.
Error PostgresConnection::exchange_and_commit(PostgresQuery query, PostgresReply& reply) {
  if (connection_ == nullptr || hung_up()) return lose();
  std::vector<PostgresQuery> queries;
  queries.push_back(std::move(query));
  queries.emplace_back("COMMIT");
  std::vector<PostgresReply> replies;
  refused_first_ = false;
  grace_ = kCommitGrace;
  Error failed = exchange(queries, replies);
  grace_ = milliseconds{0};
  if (failed.failure != Failure::none) return refused_first_ ? failed : not_known(std::move(failed));
  reply = std::move(replies[0]);
  if (reply.error.failure != Failure::none) return named(reply.error);
  in_transaction_ = false;
  return named(replies[1].error);
}

Error PostgresConnection::not_known(Error error) {
  error.failure = Failure::unknown;
  error.message += "; whether COMMIT took effect is not known";
  return error;
}

void PostgresConnection::rollback() {
  begin_ = false;
  if (connection_ == nullptr || !in_transaction_) return;
  PostgresReply reply;
  forget_settings();
  const bool lost = lost_;
  if (exchange(PostgresQuery("ROLLBACK"), reply).failure == Failure::none) in_transaction_ = false;
  lost_ = lost;
}

// --- Statements

PostgresConnection::Prepared& PostgresConnection::prepared(const std::string& key) {
  const auto [found, added] = statements_.try_emplace(key);
  if (added) {
    recent_.push_front(&found->first);
    found->second.recent = recent_.begin();
  } else {
    recent_.splice(recent_.begin(), recent_, found->second.recent);
  }
  return found->second;
}

// The next use prepares it again, under a new name.
void PostgresConnection::forget(Prepared* statement) {
  if (statement->done) unused_.push_back(statement->name);
  statement->done = false;
}

void PostgresConnection::forget_oldest() {
  const auto oldest = statements_.find(*recent_.back());
  forget(&oldest->second);
  recent_.pop_back();
  statements_.erase(oldest);
}

std::string PostgresConnection::subject() const {
  return "backend '" + options_->name + "': " + (op_ == nullptr ? "" : describe(*op_) + ": ");
}

Error PostgresConnection::named(const Error& error) const {
  return error.failure == Failure::none ? Error{} : this->error(error.failure, error.sqlstate, error.message);
}

Error PostgresConnection::error(Failure failure, std::string_view sqlstate, std::string_view what) const {
  return {failure, std::string(sqlstate), subject().append(what)};
}

}  // namespace sluice::sql

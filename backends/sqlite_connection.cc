// SqliteConnection: opening, deadlines, the statement cache, and the classes of SQLite's errors.
#include "backends/sqlite_connection.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <thread>

#include <sqlite3.h>

#include "backends/parts.h"
#include "backends/sqlite_schema.h"

namespace sluice::sql {

namespace {

constexpr std::size_t kStatementsMax = 128;  // kept per connection
constexpr int kProgressSteps = 1000;         // virtual machine steps between two looks at the clock, about 20 us
constexpr std::chrono::milliseconds kLockPollMax{5};

int primary(int code) { return code & 0xff; }

struct Class {
  Failure failure;
  const char* sqlstate;
};

Class class_of_constraint(int code) {
  switch (code) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
      return {Failure::refused, "23505"};
    case SQLITE_CONSTRAINT_NOTNULL:
      return {Failure::refused, "23502"};
    case SQLITE_CONSTRAINT_FOREIGNKEY:
      return {Failure::refused, "23503"};
    case SQLITE_CONSTRAINT_CHECK:
      return {Failure::refused, "23514"};
    case SQLITE_CONSTRAINT_DATATYPE:
      return {Failure::refused, "22P02"};
    case SQLITE_CONSTRAINT_TRIGGER:
      return {Failure::refused, "P0001"};
    default:
      return {Failure::refused, "23000"};
  }
}

Class class_of_error(std::string_view text, bool prepared) {
  if (text.starts_with("no such table")) return {Failure::schema, "42P01"};
  if (text.starts_with("no such column") || text.find("has no column named") != text.npos) {
    return {Failure::schema, "42703"};
  }
  return prepared ? Class{Failure::refused, "22000"} : Class{Failure::schema, "42000"};
}

// SQLite's codes in the classes of sql.h. `text` tells the kinds of SQLITE_ERROR apart; so does `prepared`: a statement
// that could be prepared fits the schema.
Class class_of(int code, std::string_view text, bool prepared) {
  switch (primary(code)) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
      return {Failure::unavailable, "55P03"};
    case SQLITE_INTERRUPT:
      return {Failure::unavailable, "57014"};
    case SQLITE_FULL:
      return {Failure::unavailable, "53100"};
    case SQLITE_NOMEM:
      return {Failure::unavailable, "53200"};
    case SQLITE_READONLY:
      return {Failure::unavailable, "25006"};
    case SQLITE_CANTOPEN:
      return {Failure::unavailable, "08001"};
    case SQLITE_CONSTRAINT:
      return class_of_constraint(code);
    case SQLITE_MISMATCH:
      return {Failure::refused, "22P02"};
    case SQLITE_TOOBIG:
      return {Failure::refused, "22001"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {Failure::schema, "XX001"};
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return {Failure::schema, "42501"};
    case SQLITE_ERROR:
      return class_of_error(text, prepared);
    default:
      return {Failure::unavailable, "58030"};
  }
}

// After these codes the connection may be no good, or the file another one.
bool breaks_connection(int code) {
  switch (primary(code)) {
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_NOMEM:
    case SQLITE_PROTOCOL:
    case SQLITE_READONLY:
    case SQLITE_INTERNAL:
    case SQLITE_MISUSE:
      return true;
    default:
      return false;
  }
}

// COMMIT that fails with one of these was rolled back before its last frame was whole; after any other (a failed
// fsync above all) the transaction may come back when the log is recovered.
bool proves_rollback(int code) {
  switch (primary(code)) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CONSTRAINT:
    case SQLITE_FULL:
    case SQLITE_READONLY:
      return true;
    default:
      return false;
  }
}

// A date, a time or both, as others may have written it.
std::string temporal_text(std::string text, ColumnType type) {
  if (type == ColumnType::time) return with_microseconds(std::move(text));
  if (type != ColumnType::timestamp && type != ColumnType::timestamptz) return text;
  if (text.size() >= 19 && text[10] == ' ') text[10] = 'T';
  return with_microseconds(std::move(text));
}

// Never in the exponent form that SQLite would use.
std::string decimal_text(double value) {
  std::array<char, 400> buffer;  // the longest is 1.8e308, 309 digits
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed).ptr;
  return {buffer.data(), end};
}

}  // namespace

std::string quoted(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) out.append(c == '"' ? 2 : 1, c);
  return out += '"';
}

SqliteConnection::SqliteConnection(std::string backend, std::string path, Role role)
    : backend_(std::move(backend)), path_(std::move(path)), role_(role) {}

SqliteConnection::~SqliteConnection() { close(); }

Error SqliteConnection::prepare_for(const Op& op, Deadline deadline) {
  op_ = &op;
  deadline_ = deadline;
  if (expired()) return error(Failure::unavailable, "57014", "no time was left to begin");
  if (db_ != nullptr && (broken_ || in_transaction() || was_replaced())) close();
  return db_ == nullptr ? open() : Error{};
}

Error SqliteConnection::open() {
  // An empty name and ":memory:" would be private databases that vanish with the connection.
  if (path_.empty() || path_.starts_with(':')) {
    return error(Failure::schema, "08001", "'" + path_ + "' is not the path of a file");
  }
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
  const int code = sqlite3_open_v2(path_.c_str(), &db_, kFlags, nullptr);
  ++openings_;
  Error failed = code == SQLITE_OK ? configure() : failure(code, true);
  if (code != SQLITE_OK) failed.message += " ('" + path_ + "' must exist: it is never created)";
  if (failed.failure != Failure::none) close();
  return failed;
}

Error SqliteConnection::configure() {
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_busy_handler(db_, on_busy, this);
  sqlite3_progress_handler(db_, kProgressSteps, on_progress, this);
  if (auto failed = execute("PRAGMA foreign_keys = ON"); failed.failure != Failure::none) return failed;
  if (role_ == Role::reader) return execute("PRAGMA query_only = ON");

  bool is_wal = false;
  if (sqlite3_db_readonly(db_, "main") == 0) {
    SqliteQuery mode(*this, "PRAGMA journal_mode = WAL");
    is_wal = mode.next() && mode.text(0) == "wal";
    if (!mode.ok()) return mode.error();
  }
  // Without a write-ahead log (some file systems cannot have one) only EXTRA makes COMMIT durable: it also syncs the
  // directory after the journal is gone.
  return execute(is_wal ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = EXTRA");
}

void SqliteConnection::close() {
  for (auto& [sql, prepared] : statements_) sqlite3_finalize(prepared.statement);
  statements_.clear();
  recent_.clear();
  sqlite3_close(db_);
  db_ = nullptr;
  broken_ = false;
}

// True when the path no longer leads to the open file: what is written there would be lost with it.
bool SqliteConnection::was_replaced() const {
  int moved = 0;
  return sqlite3_file_control(db_, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0;
}

int SqliteConnection::on_busy(void* self, int attempt) {
  const auto left = static_cast<SqliteConnection*>(self)->deadline_ - std::chrono::steady_clock::now();
  if (left <= std::chrono::nanoseconds::zero()) return 0;
  const std::chrono::nanoseconds pause =
      std::min<std::chrono::nanoseconds>(kLockPollMax, std::chrono::microseconds{50} * (attempt + 1));
  std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(left, pause));
  return 1;
}

int SqliteConnection::on_progress(void* self) {
  const auto* connection = static_cast<SqliteConnection*>(self);
  return connection->interruptible_ && connection->expired() ? 1 : 0;
}

SqliteConnection::Prepared* SqliteConnection::prepare(std::string_view sql, int& code) {
  std::string key(sql);
  if (const auto found = statements_.find(key); found != statements_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second.recent);
    return &found->second;
  }
  sqlite3_stmt* statement = nullptr;
  code = sqlite3_prepare_v3(db_, key.c_str(), static_cast<int>(key.size()) + 1, SQLITE_PREPARE_PERSISTENT, &statement,
                            nullptr);
  if (code != SQLITE_OK) return nullptr;
  if (statements_.size() >= kStatementsMax) forget_oldest();
  const auto added = statements_.try_emplace(std::move(key)).first;
  recent_.push_front(&added->first);
  added->second.statement = statement;
  added->second.recent = recent_.begin();
  return &added->second;
}

void SqliteConnection::forget_oldest() {
  const auto oldest = statements_.find(*recent_.back());
  sqlite3_finalize(oldest->second.statement);
  recent_.pop_back();
  statements_.erase(oldest);
}

Error SqliteConnection::execute(std::string_view sql) { return SqliteQuery(*this, sql).run(); }

Error SqliteConnection::commit() {
  if (expired()) {
    rollback();
    return error(Failure::unavailable, "57014", "the time was over before COMMIT");
  }
  interruptible_ = false;
  Error failed = execute("COMMIT");
  interruptible_ = true;
  if (failed.failure == Failure::none) return failed;
  if (!proves_rollback(last_code_)) {
    failed.failure = Failure::unknown;
    failed.message += "; whether COMMIT took effect is not known";
    broken_ = true;
  }
  rollback();
  return failed;
}

void SqliteConnection::rollback() {
  if (!in_transaction()) return;  // SQLite itself rolls back after some errors
  interruptible_ = false;
  if (execute("ROLLBACK").failure != Failure::none) broken_ = true;
  interruptible_ = true;
}

bool SqliteConnection::in_transaction() const { return db_ != nullptr && sqlite3_get_autocommit(db_) == 0; }

std::int64_t SqliteConnection::changes() const { return sqlite3_changes64(db_); }

bool SqliteConnection::is_binary(const std::string& table, const std::string& column) const {
  const char* collation = nullptr;
  const int code = sqlite3_table_column_metadata(db_, nullptr, table.c_str(), column.c_str(), nullptr, &collation,
                                                 nullptr, nullptr, nullptr);
  return code != SQLITE_OK || collation == nullptr || std::string_view(collation) == "BINARY";
}

Error SqliteConnection::error(Failure failure, std::string_view sqlstate, std::string_view what) const {
  std::string message = "backend '" + backend_ + "': ";
  if (op_ != nullptr) message += describe(*op_) + ": ";
  return {failure, std::string(sqlstate), message.append(what)};
}

Error SqliteConnection::failure(int code, bool prepared) {
  last_code_ = code;
  broken_ = broken_ || breaks_connection(code);
  const std::string_view text = sqlite3_errmsg(db_);
  const Class found = class_of(code, text, prepared);
  return error(found.failure, found.sqlstate, primary(code) == SQLITE_INTERRUPT ? "it took too long" : text);
}

SqliteQuery::SqliteQuery(SqliteConnection& connection, std::string_view sql) : connection_(connection) {
  int code = SQLITE_OK;
  prepared_ = connection.prepare(sql, code);
  if (prepared_ != nullptr) statement_ = prepared_->statement;
  check(code);
}

SqliteQuery::~SqliteQuery() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

void SqliteQuery::check(int code) {
  if (code != SQLITE_OK && ok()) error_ = connection_.failure(code, statement_ != nullptr);
}

void SqliteQuery::bind(std::int64_t value) {
  if (ok()) check(sqlite3_bind_int64(statement_, ++parameter_, value));
}

void SqliteQuery::bind(std::string_view text) {
  if (ok()) check(sqlite3_bind_text64(statement_, ++parameter_, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8));
}

void SqliteQuery::bind(const Value& value) {
  if (!ok()) return;
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return bind(*integer);
  if (const auto* text = std::get_if<std::string>(&value)) return bind(std::string_view(*text));
  const int at = ++parameter_;
  if (const auto* real = std::get_if<double>(&value)) return check(sqlite3_bind_double(statement_, at, *real));
  if (const auto* blob = std::get_if<Blob>(&value)) {
    return check(sqlite3_bind_blob64(statement_, at, blob->bytes.data(), blob->bytes.size(), SQLITE_STATIC));
  }
  check(sqlite3_bind_null(statement_, at));
}

bool SqliteQuery::next() {
  if (!ok()) return false;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) check(code);
  return false;
}

Error SqliteQuery::run() {
  while (next()) {
  }
  return error_;
}

// The declared types of the result columns change only when SQLite prepares the statement again.
std::optional<ColumnType> SqliteQuery::type_of(int column) {
  const int prepared = sqlite3_stmt_status(statement_, SQLITE_STMTSTATUS_REPREPARE, 0);
  if (prepared_->prepared != prepared) {
    prepared_->prepared = prepared;
    prepared_->types.clear();
    for (int i = 0; i < columns(); ++i) {
      const char* declared = sqlite3_column_decltype(statement_, i);
      prepared_->types.push_back(declared == nullptr ? std::nullopt : std::optional(sqlite_column_type(declared)));
    }
  }
  return prepared_->types[static_cast<std::size_t>(column)];
}

bool SqliteQuery::only_reads() const { return sqlite3_stmt_readonly(statement_) != 0; }

Column SqliteQuery::column(int column) {
  Column found;
  const char* const name = sqlite3_column_name(statement_, column);
  found.name = name == nullptr ? "" : name;
  found.type = type_of(column).value_or(ColumnType::text);
  return found;
}

// SQLite keeps whatever it was given: the declared type decides what the reader sees.
Value SqliteQuery::value(int column) {
  const int stored = sqlite3_column_type(statement_, column);
  if (stored == SQLITE_NULL) return {};
  const auto type = type_of(column);
  if (stored == SQLITE_BLOB || type == ColumnType::bytes) return Blob{text(column)};
  if (stored == SQLITE_TEXT) {
    return type ? temporal_text(text(column), *type) : text(column);
  }
  const bool is_number =
      !type || *type == ColumnType::integer || *type == ColumnType::real || *type == ColumnType::boolean;
  if (stored == SQLITE_FLOAT && type == ColumnType::decimal)
    return decimal_text(sqlite3_column_double(statement_, column));
  if (!is_number) return text(column);
  if (stored == SQLITE_FLOAT || type == ColumnType::real) return sqlite3_column_double(statement_, column);
  return integer(column);
}

Row SqliteQuery::row() {
  Row values;
  values.reserve(static_cast<std::size_t>(columns()));
  for (int i = 0; i < columns(); ++i) values.push_back(value(i));
  return values;
}

bool SqliteQuery::ok() const { return error_.failure == Failure::none; }
Error SqliteQuery::error() const { return error_; }
int SqliteQuery::columns() const { return sqlite3_column_count(statement_); }
std::int64_t SqliteQuery::integer(int column) const { return sqlite3_column_int64(statement_, column); }
bool SqliteQuery::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

std::string SqliteQuery::text(int column) const {
  const bool is_blob = sqlite3_column_type(statement_, column) == SQLITE_BLOB;
  const void* bytes = is_blob ? sqlite3_column_blob(statement_, column) : sqlite3_column_text(statement_, column);
  if (bytes == nullptr) return {};
  return {static_cast<const char*>(bytes), static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

}  // namespace sluice::sql

// SqliteConnection: one connection to a SQLite file, with deadlines, cached statements and classified errors.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backends/sql.h"

struct sqlite3;
struct sqlite3_stmt;

namespace sluice::sql {

// Used by one thread at a time. Never throws, never creates the file.
class SqliteConnection {
 public:
  enum class Role : std::uint8_t { reader, writer };

  SqliteConnection(std::string backend, std::string path, Role role);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  // Begins the work on `op`, which messages will name: opens the file when it is not open, was lost or was replaced
  // by another file. Statements and waits for locks end at `deadline`. `op` must live until the next call.
  Error prepare_for(const Op& op, Deadline deadline);
  // From here on messages name this operation of the group.
  void name_in_messages(const Op& op) { op_ = &op; }

  // Runs a statement that has neither parameters nor rows.
  Error execute(std::string_view sql);
  // Ends the transaction. Failure::unknown only when nobody can tell; otherwise a failure means nothing was applied.
  Error commit();
  void rollback();
  bool in_transaction() const;
  int openings() const { return openings_; }  // so far: after another one the file may be another file
  std::int64_t changes() const;               // rows of the last INSERT, UPDATE or DELETE

  bool is_binary(const std::string& table, const std::string& column) const;  // its collation: bytes equal or not

  // An error of ours rather than SQLite's, in the same form.
  Error error(Failure failure, std::string_view sqlstate, std::string_view what) const;

 private:
  friend class SqliteQuery;
  struct Prepared {
    sqlite3_stmt* statement = nullptr;
    std::vector<std::optional<ColumnType>> types;  // of the result columns, as of `prepared`
    int prepared = -1;                             // how often SQLite had prepared it again
    std::list<const std::string*>::iterator recent;
  };

  Error open();
  Error configure();
  void close();
  bool was_replaced() const;
  bool expired() const { return std::chrono::steady_clock::now() >= deadline_; }
  Prepared* prepare(std::string_view sql, int& code);
  void forget_oldest();
  Error failure(int code, bool prepared);
  static int on_busy(void* self, int attempt);
  static int on_progress(void* self);

  const std::string backend_;
  const std::string path_;
  const Role role_;
  sqlite3* db_ = nullptr;
  int openings_ = 0;
  int last_code_ = 0;          // SQLite's code for the last failure
  bool broken_ = false;        // to be opened again before the next operation
  bool interruptible_ = true;  // not while COMMIT runs: it would be reported as failed after it succeeded
  Deadline deadline_;
  const Op* op_ = nullptr;
  std::unordered_map<std::string, Prepared> statements_;  // by SQL text
  std::list<const std::string*> recent_;                  // their keys, latest first
};

// One run of a statement: bind its parameters in order, then step through the rows.
//   SqliteQuery query(connection, sql);
//   query.bind(key);
//   while (query.next()) use(query.value(0));
//   if (!query.ok()) return query.error();
class SqliteQuery {
 public:
  SqliteQuery(SqliteConnection& connection, std::string_view sql);
  ~SqliteQuery();
  SqliteQuery(const SqliteQuery&) = delete;
  SqliteQuery& operator=(const SqliteQuery&) = delete;

  // Binds the next parameter. Text and blobs are not copied: they must outlive the query.
  void bind(const Value& value);
  void bind(std::int64_t value);
  void bind(std::string_view text);

  bool next();      // true: there is a row
  Error run();      // to the end, rows ignored
  bool ok() const;  // false: error() says why
  Error error() const;

  bool only_reads() const;
  int columns() const;
  Column column(int column);  // its name, and its type, text when none was declared
  Value value(int column);    // in the form that its declared type has in sql.h
  Row row();
  std::int64_t integer(int column) const;
  std::string text(int column) const;  // the bytes of a blob, any other value as UTF-8
  bool is_null(int column) const;

 private:
  void check(int code);
  std::optional<ColumnType> type_of(int column);

  SqliteConnection& connection_;
  SqliteConnection::Prepared* prepared_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
  int parameter_ = 0;
  Error error_;
};

// "name", with the quotes inside doubled.
std::string quoted(std::string_view name);

}  // namespace sluice::sql

// MysqlQuery: one run of a prepared statement.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/mysql_connection.h"
#include "backends/sql.h"

namespace sluice::sql {

// Bind the parameters in order, then step through the rows:
//   MysqlQuery query(connection, sql, MysqlQuery::Lock::none);
//   query.bind(key, column);
//   while (query.next()) use(query.value(0));
//   if (!query.ok()) return query.error();
class MysqlQuery {
 public:
  enum class Lock : std::uint8_t {
    none,   // it waits for nobody
    waits,  // for the locks of others, as long as the connection's Patience says
  };

  MysqlQuery(MysqlConnection& connection, std::string_view sql, Lock lock);
  ~MysqlQuery();
  MysqlQuery(const MysqlQuery&) = delete;
  MysqlQuery& operator=(const MysqlQuery&) = delete;

  // Binds the next parameter. Text and blobs are not copied: they must outlive the query. With a column the value gets
  // the type that comparing with this column needs.
  void bind(const Value& value, const Column* column = nullptr);
  void bind(std::int64_t value);
  void bind_text(std::string_view text);
  void bind_bytes(std::string_view bytes);

  // Rows are read from the server as next() asks for them, not all at once. Who stops before the end must have the
  // connection give up: MysqlConnection::abandon().
  void stream() { streams_ = true; }

  bool next();      // true: there is a row
  Error run();      // to the end, rows ignored
  bool ok() const;  // false: error() says why
  Error error() const;
  std::int64_t changes() const { return changes_; }  // rows found by an UPDATE, inserted, deleted or returned

  int columns() const;
  std::vector<Column> described() const;  // only their names and types
  Value value(int column) const;          // in the form that its type has in sql.h
  Row row() const;
  std::int64_t integer(int column) const;  // 0 for anything else
  std::string text(int column) const;      // the bytes of text; empty for anything else
  bool is_null(int column) const;

 private:
  struct Parameters;  // in the driver's own types, as are the rows
  struct Rows;

  void prepare();
  void execute();
  bool execute_once();
  void receive();
  void fail_with_statement();

  MysqlConnection& connection_;
  std::string sql_;
  const Lock lock_;
  st_mysql_stmt* statement_ = nullptr;
  std::unique_ptr<Parameters> parameters_;
  std::unique_ptr<Rows> rows_;
  bool executed_ = false;
  bool streams_ = false;
  std::int64_t changes_ = 0;
  Error error_;
};

// What the statement would give, without running it: only names and types. `parameters`: how many it is to have.
Error mysql_describe_statement(MysqlConnection& connection, std::string_view sql, std::size_t parameters,
                               std::vector<Column>& columns);

}  // namespace sluice::sql

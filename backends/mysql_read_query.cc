// Queries of the user's own, on MySQL and MariaDB, see mysql_read_query.h.
#include "backends/mysql_read_query.h"

#include <utility>

#include "backends/mysql_query.h"
#include "backends/named_sql.h"
#include "backends/parts.h"
#include "backends/query_rows.h"

namespace sluice::sql {

namespace {

Error as_write(Error error) {
  if (refused_as_write(error)) error.failure = Failure::schema;
  return error;
}

Error named(const MysqlConnection& connection, const Error& error) {
  return connection.error(error.failure, error.sqlstate, error.message);
}

}  // namespace

Result mysql_run(MysqlConnection& connection, const ReadQuery& op) {
  if (Error error = connection.only_read(); error.failure != Failure::none) return failed(std::move(error));
  const NamedSql sql = name_parameters(op.sql, NamedSql::Dialect::mysql);
  MysqlQuery query(connection, sql.text, MysqlQuery::Lock::none);
  query.stream();
  for (const std::string& name : sql.names) {
    const Value* const value = find_value(op.parameters, name);
    if (value == nullptr) return failed(connection.error(Failure::schema, "42P02", kNoParameter + name));
    query.bind(*value);
  }
  QueryRows rows(op);
  bool more = query.next();
  if (!query.ok()) return failed(as_write(query.error()));
  rows.begin(query.described());
  bool goes_on = true;
  while (goes_on && more) {
    goes_on = rows.add(query.row());
    more = goes_on && query.next();
  }
  if (!goes_on) connection.abandon();
  if (rows.wrong().failure != Failure::none) return failed(named(connection, rows.wrong()));
  return query.ok() ? rows.take() : failed(as_write(query.error()));
}

Result mysql_run(MysqlConnection& connection, const DescribeQuery& op) {
  const NamedSql sql = name_parameters(op.sql, NamedSql::Dialect::mysql);
  Result result;
  result.error = mysql_describe_statement(connection, sql.text, sql.names.size(), result.columns);
  if (!result.ok()) return failed(std::move(result.error));
  result.error = wrong_columns(result.columns);
  return result.ok() ? result : failed(named(connection, result.error));
}

}  // namespace sluice::sql

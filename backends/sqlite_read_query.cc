// Queries of the user's own, on SQLite, see sqlite_read_query.h.
#include "backends/sqlite_read_query.h"

#include <utility>
#include <vector>

#include "backends/named_sql.h"
#include "backends/parts.h"
#include "backends/query_rows.h"

namespace sluice::sql {

namespace {

std::vector<Column> columns_of(SqliteQuery& query) {
  std::vector<Column> columns;
  columns.reserve(static_cast<std::size_t>(query.columns()));
  for (int i = 0; i < query.columns(); ++i) columns.push_back(query.column(i));
  return columns;
}

Error named(const SqliteConnection& connection, const Error& error) {
  return connection.error(error.failure, error.sqlstate, error.message);
}

}  // namespace

Result sqlite_run(SqliteConnection& connection, const ReadQuery& op) {
  const NamedSql sql = name_parameters(op.sql, NamedSql::Dialect::sqlite);
  SqliteQuery query(connection, sql.text);
  if (query.ok() && !query.only_reads()) return failed(connection.error(Failure::schema, "25006", kWouldWrite));
  for (const std::string& name : sql.names) {
    const Value* const value = find_value(op.parameters, name);
    if (value == nullptr) return failed(connection.error(Failure::schema, "42P02", kNoParameter + name));
    query.bind(*value);
  }
  QueryRows rows(op);
  // The first step prepares the statement again when the schema has changed.
  bool more = query.next();
  if (!query.ok()) return failed(query.error());
  if (!rows.begin(columns_of(query))) return failed(named(connection, rows.wrong()));
  for (; more && rows.wrong().failure == Failure::none; more = query.next()) rows.add(query.row());
  if (rows.wrong().failure != Failure::none) return failed(named(connection, rows.wrong()));
  return query.ok() ? rows.take() : failed(query.error());
}

Result sqlite_run(SqliteConnection& connection, const DescribeQuery& op) {
  SqliteQuery query(connection, name_parameters(op.sql, NamedSql::Dialect::sqlite).text);
  if (!query.ok()) return failed(query.error());
  if (!query.only_reads()) return failed(connection.error(Failure::schema, "25006", kWouldWrite));
  Result result;
  result.columns = columns_of(query);
  result.error = wrong_columns(result.columns);
  return result.ok() ? result : failed(named(connection, result.error));
}

}  // namespace sluice::sql

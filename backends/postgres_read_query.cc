// Queries of the user's own, on PostgreSQL, see postgres_read_query.h.
#include "backends/postgres_read_query.h"

#include <utility>

#include "backends/named_sql.h"
#include "backends/parts.h"
#include "backends/query_rows.h"

namespace sluice::sql {

namespace {

Error named(const PostgresConnection& connection, const Error& error) {
  if (refused_as_write(error)) {
    return connection.error(Failure::schema, error.sqlstate, std::string(kWouldWrite) + ": " + error.message);
  }
  return connection.named(error);
}

}  // namespace

Result postgres_run(PostgresConnection& connection, const ReadQuery& op, bool& stale) {
  const NamedSql sql = name_parameters(op.sql, NamedSql::Dialect::postgresql);
  PostgresQuery query(sql.text);
  for (const std::string& name : sql.names) {
    const Value* const value = find_value(op.parameters, name);
    if (value == nullptr) return failed(connection.error(Failure::schema, "42P02", kNoParameter + name));
    query.bind(*value);
  }
  QueryRows rows(op);
  PostgresReply reply;
  Error error = connection.stream(query, reply, [&](const PGresult* row) {
    if (!rows.begun()) rows.begin(postgres_columns(row));
    return rows.add(postgres_row(row, 0));
  });
  if (rows.wrong().failure != Failure::none) return failed(named(connection, rows.wrong()));
  stale = reply.stale;
  if (error.failure != Failure::none) return failed(std::move(error));
  if (reply.error.failure != Failure::none) return failed(named(connection, reply.error));
  if (!rows.begun() && !rows.begin(postgres_columns(reply.rows.get()))) return failed(named(connection, rows.wrong()));
  return rows.take();
}

Result postgres_run(PostgresConnection& connection, const DescribeQuery& op, bool& stale) {
  const NamedSql sql = name_parameters(op.sql, NamedSql::Dialect::postgresql);
  PostgresQuery query(sql.text);
  for (std::size_t i = 0; i < sql.names.size(); ++i) query.bind(Value{});
  PostgresReply reply;
  Error error = connection.prepare_only(query, reply);
  stale = reply.stale;
  if (error.failure != Failure::none) return failed(std::move(error));
  if (reply.error.failure != Failure::none) return failed(named(connection, reply.error));
  Result result;
  result.columns = postgres_columns(reply.rows.get());
  result.error = wrong_columns(result.columns);
  return result.ok() ? result : failed(named(connection, result.error));
}

}  // namespace sluice::sql

// Operations on rows: the statements and the order they run in.
#include "backends/mysql_rows.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backends/mysql_errors.h"
#include "backends/mysql_query.h"
#include "backends/mysql_statements.h"
#include "backends/named_sql.h"
#include "backends/query_rows.h"

namespace sluice::sql {

namespace {

using Lock = MysqlQuery::Lock;

// How often an INSERT may meet a row that was not there a moment ago.
constexpr int kAttempts = 3;

Error not_unique(MysqlConnection& connection) {
  return connection.error(Failure::schema, "21000", "several rows have this key; its columns must be unique");
}

Error insert(MysqlConnection& connection, const MysqlTable& table, const std::vector<Bound>& key,
             const std::vector<Bound>& values) {
  MysqlQuery query(connection, mysql_insert(table.table.name, key, values, 1), Lock::waits);
  mysql_bind_all(query, table, key);
  mysql_bind_all(query, table, values);
  return query.run();
}

// With nothing to assign the row is only looked for.
Error update(MysqlConnection& connection, const MysqlTable& table, const std::vector<Bound>& key,
             const std::vector<Bound>& values, const std::vector<std::string>& reset, std::int64_t& rows) {
  std::string assignments = joined(values, ", ", [](const Bound& b) { return mysql_quoted(b.column) + " = ?"; });
  for (const std::string& column : reset) {
    assignments += (assignments.empty() ? "" : ", ") + mysql_quoted(column) + " = DEFAULT";
  }
  if (assignments.empty()) assignments = mysql_quoted(key[0].column) + " = " + mysql_quoted(key[0].column);
  MysqlQuery query(
      connection,
      "UPDATE " + mysql_quoted_table(table.table.name) + " SET " + assignments + " WHERE " + mysql_key_condition(key),
      Lock::waits);
  mysql_bind_all(query, table, values);
  mysql_bind_all(query, table, key);
  Error error = query.run();
  rows = error.failure == Failure::none ? query.changes() : 0;
  return rows > 1 ? not_unique(connection) : error;
}

std::vector<std::string> columns_of(const std::vector<Bound>& bounds) {
  std::vector<std::string> names;
  names.reserve(bounds.size());
  for (const auto& bound : bounds) names.push_back(bound.column);
  return names;
}

// The row, which stays locked until the transaction ends; nullopt when there is none.
Error lock(MysqlConnection& connection, const MysqlTable& table, const std::vector<Bound>& key,
           const std::vector<std::string>& columns, std::optional<Row>& row) {
  MysqlQuery query(
      connection,
      mysql_select(table.table.name, columns) + " WHERE " + mysql_key_condition(key) + " LIMIT 2 FOR UPDATE",
      Lock::waits);
  mysql_bind_all(query, table, key);
  row.reset();
  if (query.next()) row = query.row();
  if (row && query.next()) return not_unique(connection);
  return query.error();
}

// Whether another unique key than the operation's has been met: its own row would have been found.
bool met_another_row(const MysqlConnection& connection, const Error& error) {
  return error.failure == Failure::refused && connection.last_code() == kMysqlDuplicateKey;
}

Row all_null(std::size_t columns) { return Row(columns); }

std::int64_t columns_added(const Row& before, const std::vector<Bound>& values) {
  std::int64_t added = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool was_null = std::holds_alternative<std::monostate>(before[i]);
    if (was_null && !std::holds_alternative<std::monostate>(values[i].value)) ++added;
  }
  return added;
}

Error write(MysqlConnection& connection, const MysqlTable& table, const ModifyRow& op, const RowChange& change,
            bool exists) {
  std::int64_t rows = 0;
  return exists ? update(connection, table, op.key, change.values, change.reset, rows)
                : insert(connection, table, op.key, change.values);
}

}  // namespace

bool mysql_leaves_changes(const Error& error) { return error.sqlstate == "21000"; }

Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const ReadRow& op) {
  const MysqlTarget target = mysql_target(connection, schema, op.table, op.key, {});
  if (!target.ok()) return failed(target.error);
  MysqlQuery query(connection,
                   mysql_select(op.table, op.columns) + " WHERE " + mysql_key_condition(op.key) + " LIMIT 1",
                   Lock::none);
  mysql_bind_all(query, *target.table, op.key);
  Result result;
  if (query.next()) result.rows.push_back(query.row());
  result.error = query.error();
  return result;
}

Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const ReadRows& op) {
  std::vector<Bound> bounds;
  const auto keys = asked_keys(op);
  for (const auto* key : keys) {
    for (std::size_t i = 0; i < op.key_columns.size(); ++i) bounds.push_back({op.key_columns[i], (*key)[i]});
  }
  const MysqlTarget target = mysql_target(connection, schema, op.table, bounds, {});
  if (!target.ok()) return failed(target.error);
  const auto name = [](const std::string& column) { return mysql_quoted(column); };
  const auto mark = [](const Value&) { return std::string("?"); };
  MysqlQuery query(connection, mysql_select(op.table, all_columns(op)) + " WHERE " + has_one_of(op, keys, name, mark),
                   Lock::none);
  mysql_bind_all(query, *target.table, bounds);
  Result result;
  while (query.next()) result.rows.push_back(query.row());
  result.error = query.error();
  return result;
}

// `a` > ? OR (`a` = ? AND (`b` > ?)): the optimizer finds its place in an index by this, and not by comparing rows.
Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const ListRows& op) {
  std::vector<Bound> after;
  for (std::size_t i = 0; i < op.after.size() && i < op.key_columns.size(); ++i) {
    after.push_back({op.key_columns[i], op.after[i]});
  }
  const MysqlTarget target = mysql_target(connection, schema, op.table, after, {});
  if (!target.ok()) return failed(target.error);
  std::string condition;
  for (std::size_t i = after.size(); i-- > 0;) {
    const std::string name = mysql_quoted(after[i].column);
    std::string longer = name;
    longer += " > ?";
    if (!condition.empty()) longer.append(" OR (").append(name).append(" = ? AND (").append(condition).append("))");
    condition = std::move(longer);
  }
  const auto name = [](const std::string& column) { return mysql_quoted(column); };
  const auto is_there = [](const std::string& column) { return mysql_quoted(column) + " IS NOT NULL"; };
  MysqlQuery query(connection,
                   mysql_select(op.table, op.columns) + " WHERE " + joined(op.key_columns, " AND ", is_there) +
                       (condition.empty() ? "" : " AND (" + condition + ")") + " ORDER BY " +
                       joined(op.key_columns, ", ", name) + " LIMIT ?",
                   Lock::none);
  for (std::size_t i = 0; i < after.size(); ++i) {
    const Column* const column = mysql_find_column(target.table->table, after[i].column);
    query.bind(after[i].value, column);
    if (i + 1 < after.size()) query.bind(after[i].value, column);
  }
  query.bind(std::int64_t{op.limit});
  query.stream();
  Result result;
  std::size_t bytes = 0;
  while (query.next() && add_listed(result, bytes, query.row())) continue;
  if (result.affected != 0) connection.abandon();
  result.error = query.error();
  return result;
}

// UPDATE, then INSERT when there was no row, and UPDATE again when there is one now: this needs no unique index, can
// never touch another row, and does not ask for the NOT NULL columns of a row that exists.
Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const ReplaceRow& op) {
  const MysqlTarget target = mysql_target(connection, schema, op.table, op.key, op.values);
  if (!target.ok()) return failed(target.error);
  Result result;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::int64_t rows = 0;
    Error error = update(connection, *target.table, op.key, op.values, op.reset, rows);
    if (error.failure != Failure::none) return failed(std::move(error));
    if (rows > 0) return {};
    if (result.error.failure == Failure::refused) return result;
    result.error = insert(connection, *target.table, op.key, op.values);
    result.affected = result.ok() ? 1 : 0;
    result.inserted = result.ok();
    if (!met_another_row(connection, result.error)) return result;
  }
  return result;
}

Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const MergeRow& op) {
  const MysqlTarget target = mysql_target(connection, schema, op.table, op.key, op.values);
  if (!target.ok()) return failed(target.error);
  Result result;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::optional<Row> before;
    Error error = lock(connection, *target.table, op.key, columns_of(op.values), before);
    if (error.failure != Failure::none) return failed(std::move(error));
    if (!before && result.error.failure == Failure::refused) return result;
    std::int64_t rows = 0;
    result.error = before ? update(connection, *target.table, op.key, op.values, {}, rows)
                          : insert(connection, *target.table, op.key, op.values);
    result.affected = result.ok() ? columns_added(before ? *before : all_null(op.values.size()), op.values) : 0;
    result.inserted = result.ok() && !before;
    if (before || !met_another_row(connection, result.error)) return result;
  }
  return result;
}

Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const DeleteRow& op) {
  const MysqlTarget target = mysql_target(connection, schema, op.table, op.key, {});
  if (!target.ok()) return failed(target.error);
  MysqlQuery query(connection, "DELETE FROM " + mysql_quoted_table(op.table) + " WHERE " + mysql_key_condition(op.key),
                   Lock::waits);
  mysql_bind_all(query, *target.table, op.key);
  Result result;
  result.error = query.run();
  if (result.ok()) result.affected = query.changes();
  if (result.affected > 1) result.error = not_unique(connection);
  return result;
}

Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const ModifyRow& op) {
  MysqlTarget target = mysql_target(connection, schema, op.table, op.key, {});
  if (!target.ok()) return failed(target.error);
  Result result;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::optional<Row> row;
    Error error = lock(connection, *target.table, op.key, op.columns, row);
    if (error.failure != Failure::none) return failed(std::move(error));
    if (!row && result.error.failure == Failure::refused) return result;
    result = {};
    const RowChange change = op.decision->decide(row ? &*row : nullptr);
    switch (change.kind) {
      case RowChange::Kind::keep:
      case RowChange::Kind::refuse:
        break;
      case RowChange::Kind::write:
        target = mysql_target(connection, schema, op.table, op.key, change.values);
        if (!target.ok()) return failed(target.error);
        result.error = write(connection, *target.table, op, change, row.has_value());
        result.affected = result.ok() ? 1 : 0;
        result.inserted = result.ok() && !row;
        break;
      case RowChange::Kind::remove:
        result = mysql_run(connection, schema, DeleteRow{op.table, op.key});
        break;
    }
    if (!result.ok()) result.affected = 0;
    const bool exists = row.has_value();
    if (result.ok() && row) result.rows.push_back(std::move(*row));
    if (exists || !met_another_row(connection, result.error)) return result;
  }
  return result;
}

Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const RunStatement& op) {
  const MysqlTable* table = nullptr;
  if (!op.table.empty()) {
    Error error;
    table = schema.find(connection, op.table, error);
    if (table == nullptr) return failed(std::move(error));
  }
  const NamedSql named = name_parameters(op.sql, NamedSql::Dialect::mysql);
  MysqlQuery query(connection, named.text, Lock::waits);
  for (const std::string& name : named.names) {
    const Value* const value = find_value(op.parameters, name);
    if (value == nullptr) {
      return failed(connection.error(Failure::schema, "42P02", "there is no value for the parameter :" + name));
    }
    query.bind(*value, table == nullptr ? nullptr : mysql_find_column(table->table, name));
  }
  Result result;
  result.error = query.run();
  if (result.ok()) result.affected = query.changes();
  return result;
}

}  // namespace sluice::sql

// Operations on rows: the statements and the order they run in.
#include "backends/sqlite_rows.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/named_sql.h"
#include "backends/parts.h"
#include "backends/query_rows.h"

namespace sluice::sql {

namespace {

// "table"."column": where SQLite does not know a bare "column" it takes it for text.
std::string qualified(const std::string& table, const std::string& column) {
  return quoted(table) + "." + quoted(column);
}

std::string where_key(const std::string& table, const std::vector<Bound>& key) {
  return " WHERE " + joined(key, " AND ", [&](const Bound& k) { return qualified(table, k.column) + " = ?"; });
}

std::string select(const std::string& table, const std::vector<std::string>& columns) {
  const std::string list = joined(columns, ", ", [&](const auto& c) { return qualified(table, c); });
  return "SELECT " + (list.empty() ? "1" : list) + " FROM " + quoted(table);
}

void bind_all(SqliteQuery& query, const std::vector<Bound>& bounds) {
  for (const auto& bound : bounds) query.bind(bound.value);
}

// Refuses what SQLite would take and store as something else.
Error check(SqliteConnection& connection, const SqliteTable& table, const std::vector<Bound>& bounds, bool is_key) {
  for (const auto& bound : bounds) {
    const int column = find_column(table.table, bound.column);
    const std::string subject = "the column '" + bound.column + "' ";
    if (column < 0) return connection.error(Failure::schema, "42703", subject + "does not exist");
    if (is_key && std::holds_alternative<std::monostate>(bound.value)) {
      return connection.error(Failure::refused, "23502", subject + "is part of the key and cannot be NULL");
    }
    const char* sqlstate = nullptr;
    if (const char* why = unfit(table, column, bound.value, sqlstate)) {
      return connection.error(Failure::refused, sqlstate, subject + why);
    }
  }
  return {};
}

// The row writes share the check of their table, key and values.
struct Target {
  const SqliteTable* table = nullptr;
  Error error;
};

Target find_target(SqliteConnection& connection, SqliteSchema& schema, const std::string& name,
                   const std::vector<Bound>& key, const std::vector<Bound>& values) {
  Target target;
  target.table = schema.find(connection, name, target.error);
  if (target.table == nullptr) return target;
  target.error = check(connection, *target.table, key, true);
  if (target.error.failure == Failure::none) target.error = check(connection, *target.table, values, false);
  return target;
}

Error not_unique(SqliteConnection& connection) {
  return connection.error(Failure::schema, "21000", "several rows have this key; its columns must be unique");
}

// "OR ABORT" here and below: a constraint declared with ON CONFLICT REPLACE would delete another row, one with IGNORE
// would drop the write in silence.
Error insert(SqliteConnection& connection, const std::string& table, const std::vector<Bound>& key,
             const std::vector<Bound>& values) {
  const auto name = [](const Bound& b) { return quoted(b.column); };
  const auto mark = [](const Bound&) { return std::string("?"); };
  const std::string separator = values.empty() ? "" : ", ";
  SqliteQuery query(connection, "INSERT OR ABORT INTO " + quoted(table) + " (" + joined(key, ", ", name) + separator +
                                    joined(values, ", ", name) + ") VALUES (" + joined(key, ", ", mark) + separator +
                                    joined(values, ", ", mark) + ")");
  bind_all(query, key);
  bind_all(query, values);
  return query.run();
}

// `resets`: assignments that need no parameter. With nothing to assign the row is only looked for.
Error update(SqliteConnection& connection, const std::string& table, const std::vector<Bound>& key,
             const std::vector<Bound>& values, const std::vector<std::string>& resets, std::int64_t& rows) {
  auto assignments = resets;
  assignments.reserve(resets.size() + values.size() + 1);
  for (const auto& value : values) assignments.push_back(quoted(value.column) + " = ?");
  if (assignments.empty()) assignments.push_back(quoted(key[0].column) + " = " + quoted(key[0].column));
  const auto as_is = [](const std::string& text) { return text; };
  SqliteQuery query(connection, "UPDATE OR ABORT " + quoted(table) + " SET " + joined(assignments, ", ", as_is) +
                                    where_key(table, key));
  bind_all(query, values);
  bind_all(query, key);
  Error error = query.run();
  rows = error.failure == Failure::none ? connection.changes() : 0;
  return rows > 1 ? not_unique(connection) : error;
}

Error reset_assignments(SqliteConnection& connection, const SqliteTable& table, const std::vector<std::string>& columns,
                        std::vector<std::string>& out) {
  for (const auto& name : columns) {
    const int column = find_column(table.table, name);
    if (column < 0) {
      return connection.error(Failure::schema, "42703", "the column '" + name + "' does not exist");
    }
    out.push_back(quoted(name) + " = " + table.defaults[static_cast<std::size_t>(column)]);
  }
  return {};
}

std::vector<std::string> columns_of(const std::vector<Bound>& bounds) {
  std::vector<std::string> names;
  names.reserve(bounds.size());
  for (const auto& bound : bounds) names.push_back(bound.column);
  return names;
}

// What a MergeRow finds.
struct Before {
  bool exists = false;
  std::int64_t added = 0;  // columns that are NULL or absent and will not be
};

Error look(SqliteConnection& connection, const MergeRow& op, Before& before) {
  SqliteQuery query(connection, select(op.table, columns_of(op.values)) + where_key(op.table, op.key));
  bind_all(query, op.key);
  before.exists = query.next();
  for (std::size_t i = 0; i < op.values.size() && query.ok(); ++i) {
    const bool was_null = !before.exists || query.is_null(static_cast<int>(i));
    if (was_null && !std::holds_alternative<std::monostate>(op.values[i].value)) ++before.added;
  }
  return query.error();
}

}  // namespace

Result sqlite_run(SqliteConnection& connection, const ReadRow& op) {
  SqliteQuery query(connection, select(op.table, op.columns) + where_key(op.table, op.key) + " LIMIT 1");
  bind_all(query, op.key);
  Result result;
  if (query.next()) result.rows.push_back(query.row());
  result.error = query.error();
  return result;
}

Result sqlite_run(SqliteConnection& connection, const ReadRows& op) {
  const auto name = [&](const std::string& column) { return qualified(op.table, column); };
  const auto mark = [](const Value&) { return std::string("?"); };
  const auto keys = asked_keys(op);
  SqliteQuery query(connection, select(op.table, all_columns(op)) + " WHERE " + has_one_of(op, keys, name, mark));
  for (const auto* key : keys) {
    for (const Value& value : *key) query.bind(value);
  }
  Result result;
  while (query.next()) result.rows.push_back(query.row());
  result.error = query.error();
  return result;
}

Result sqlite_run(SqliteConnection& connection, const ListRows& op) {
  const auto key = [&](const std::string& column) { return qualified(op.table, column); };
  const std::string keys = joined(op.key_columns, ", ", key);
  std::string sql = select(op.table, op.columns) + " WHERE " +
                    joined(op.key_columns, " AND ", [&](const auto& column) { return key(column) + " IS NOT NULL"; });
  if (!op.after.empty()) {
    sql += " AND (" + keys + ") > (" + joined(op.after, ", ", [](const Value&) { return std::string("?"); }) + ")";
  }
  SqliteQuery query(connection, sql + " ORDER BY " + keys + " LIMIT ?");
  for (const auto& value : op.after) query.bind(value);
  query.bind(std::int64_t{op.limit});
  Result result;
  std::size_t bytes = 0;
  while (query.next() && add_listed(result, bytes, query.row())) continue;
  result.error = query.error();
  return result;
}

// UPDATE, then INSERT when there was no row: within one transaction of the only writer this is an upsert that needs
// no unique index, can never touch another row, and does not ask for the NOT NULL columns of a row that exists.
Result sqlite_run(SqliteConnection& connection, SqliteSchema& schema, const ReplaceRow& op) {
  const Target target = find_target(connection, schema, op.table, op.key, op.values);
  if (target.error.failure != Failure::none) return failed(target.error);
  std::vector<std::string> resets;
  Error error = reset_assignments(connection, *target.table, op.reset, resets);
  if (error.failure != Failure::none) return failed(std::move(error));

  std::int64_t rows = 0;
  error = update(connection, op.table, op.key, op.values, resets, rows);
  if (error.failure != Failure::none) return failed(std::move(error));
  Result result;
  if (rows == 0) {
    result.error = insert(connection, op.table, op.key, op.values);
    result.affected = result.ok() ? 1 : 0;
    result.inserted = result.ok();
  }
  return result;
}

Result sqlite_run(SqliteConnection& connection, SqliteSchema& schema, const MergeRow& op) {
  const Target target = find_target(connection, schema, op.table, op.key, op.values);
  if (target.error.failure != Failure::none) return failed(target.error);
  Before before;
  Result result;
  result.error = look(connection, op, before);
  if (!result.ok()) return result;
  result.affected = before.added;
  std::int64_t rows = 0;
  result.error = before.exists ? update(connection, op.table, op.key, op.values, {}, rows)
                               : insert(connection, op.table, op.key, op.values);
  result.inserted = result.ok() && !before.exists;
  return result;
}

Result sqlite_run(SqliteConnection& connection, SqliteSchema& schema, const DeleteRow& op) {
  const Target target = find_target(connection, schema, op.table, op.key, {});
  if (target.error.failure != Failure::none) return failed(target.error);
  SqliteQuery query(connection, "DELETE FROM " + quoted(op.table) + where_key(op.table, op.key));
  bind_all(query, op.key);
  Result result;
  result.error = query.run();
  if (result.ok()) result.affected = connection.changes();
  if (result.affected > 1) result.error = not_unique(connection);
  return result;
}

Result sqlite_run(SqliteConnection& connection, SqliteSchema& schema, const ModifyRow& op) {
  Result result = sqlite_run(connection, ReadRow{op.table, op.key, op.columns});
  if (!result.ok()) return result;
  const RowChange change = op.decision->decide(result.rows.empty() ? nullptr : &result.rows[0]);
  Result done;
  switch (change.kind) {
    case RowChange::Kind::keep:
    case RowChange::Kind::refuse:
      break;
    case RowChange::Kind::write:
      done = sqlite_run(connection, schema, ReplaceRow{op.table, op.key, change.values, change.reset});
      done.affected = 1;
      break;
    case RowChange::Kind::remove:
      done = sqlite_run(connection, schema, DeleteRow{op.table, op.key});
      break;
  }
  done.rows = std::move(result.rows);
  return done;
}

Result sqlite_run(SqliteConnection& connection, SqliteSchema&, const RunStatement& op) {
  const NamedSql named = name_parameters(op.sql, NamedSql::Dialect::sqlite);
  SqliteQuery query(connection, named.text);
  for (const std::string& name : named.names) {
    const Value* const value = find_value(op.parameters, name);
    if (value == nullptr) {
      return failed(connection.error(Failure::schema, "42P02", "there is no value for the parameter :" + name));
    }
    query.bind(*value);
  }
  Result result;
  result.error = query.run();
  if (result.ok()) result.affected = connection.changes();
  return result;
}

}  // namespace sluice::sql

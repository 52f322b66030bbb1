// The parts of statements, see mysql_statements.h.
#include "backends/mysql_statements.h"

namespace sluice::sql {

namespace {

// Refuses what the server would convert, or compare by other rules than the column's.
Error check(MysqlConnection& connection, const Table& table, const std::vector<Bound>& bounds, bool is_key) {
  for (const Bound& bound : bounds) {
    const Column* const column = mysql_find_column(table, bound.column);
    const std::string subject = "the column '" + bound.column + "' ";
    if (column == nullptr) return connection.error(Failure::schema, "42S22", subject + "does not exist");
    if (is_key && std::holds_alternative<std::monostate>(bound.value)) {
      return connection.error(Failure::refused, "23000", subject + "is part of the key and cannot be NULL");
    }
    const char* sqlstate = nullptr;
    if (const char* why = mysql_unfit(*column, bound.value, sqlstate)) {
      return connection.error(Failure::refused, sqlstate, subject + why);
    }
  }
  return {};
}

}  // namespace

MysqlTarget mysql_target(MysqlConnection& connection, MysqlSchema& schema, const std::string& table,
                         const std::vector<Bound>& key, const std::vector<Bound>& values) {
  MysqlTarget target;
  do {  // what does not fit may fit the table as it is now
    target.table = schema.find(connection, table, target.error);
    if (target.table == nullptr) return target;
    target.error = check(connection, target.table->table, key, true);
    if (target.ok()) target.error = check(connection, target.table->table, values, false);
  } while (!target.ok() && schema.forget(table));
  return target;
}

std::string mysql_key_condition(const std::vector<Bound>& key) {
  return joined(key, " AND ", [](const Bound& k) { return mysql_quoted(k.column) + " = ?"; });
}

std::string mysql_select(const std::string& table, const std::vector<std::string>& columns) {
  const std::string list = joined(columns, ", ", [](const std::string& c) { return mysql_quoted(c); });
  return "SELECT " + (list.empty() ? "1" : list) + " FROM " + mysql_quoted_table(table);
}

std::string mysql_insert(const std::string& table, const std::vector<Bound>& key, const std::vector<Bound>& values,
                         std::size_t rows) {
  std::string names, marks;
  for (const auto* bounds : {&key, &values}) {
    for (const Bound& bound : *bounds) {
      names += (names.empty() ? "" : ", ") + mysql_quoted(bound.column);
      marks += marks.empty() ? "(?" : ", ?";
    }
  }
  marks += ")";
  std::string sql = "INSERT INTO " + mysql_quoted_table(table) + " (" + names + ") VALUES " + marks;
  for (std::size_t i = 1; i < rows; ++i) sql += ", " + marks;
  return sql;
}

void mysql_bind_all(MysqlQuery& query, const MysqlTable& table, const std::vector<Bound>& bounds) {
  for (const Bound& bound : bounds) query.bind(bound.value, mysql_find_column(table.table, bound.column));
}

}  // namespace sluice::sql

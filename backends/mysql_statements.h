// The parts that statements on rows are made of, for MySQL.
#pragma once

#include <string>
#include <vector>

#include "backends/mysql_connection.h"
#include "backends/mysql_query.h"
#include "backends/mysql_schema.h"
#include "backends/parts.h"
#include "backends/sql.h"

namespace sluice::sql {

// The table of an operation, when its key and values fit; otherwise the error says why.
struct MysqlTarget {
  const MysqlTable* table = nullptr;
  Error error;
  bool ok() const { return error.failure == Failure::none; }
};
MysqlTarget mysql_target(MysqlConnection& connection, MysqlSchema& schema, const std::string& table,
                         const std::vector<Bound>& key, const std::vector<Bound>& values);

std::string mysql_key_condition(const std::vector<Bound>& key);  // `a` = ? AND `b` = ?
std::string mysql_select(const std::string& table, const std::vector<std::string>& columns);
std::string mysql_insert(const std::string& table, const std::vector<Bound>& key, const std::vector<Bound>& values,
                         std::size_t rows);
void mysql_bind_all(MysqlQuery& query, const MysqlTable& table, const std::vector<Bound>& bounds);

}  // namespace sluice::sql

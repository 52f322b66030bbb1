// MysqlSchema: what the tables of a MySQL database look like, and which values their columns take.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backends/sql.h"

namespace sluice::sql {

class MysqlConnection;

// For MySQL and MariaDB alike.
std::string mysql_table_ddl(const NewTable& table);

struct MysqlTable {
  Table table;
  std::vector<std::string> indexes;  // of table.unique_keys
};

// A fresh description. Failure::schema when there is no such table.
Error mysql_describe(MysqlConnection& connection, const std::string& name, MysqlTable& out);

// A cache of descriptions. MySQL has no version of its schema to ask for: what is older than a few seconds is read
// again, and so is what does not fit. Nothing relies on more of it than the types of columns.
class MysqlSchema {
 public:
  // Nullptr and `error` set when there is no such table. Valid until the next call.
  const MysqlTable* find(MysqlConnection& connection, const std::string& name, Error& error);
  // The next find() reads the description again. False: the last one has just done so.
  bool forget(const std::string& name);

 private:
  struct Entry {
    MysqlTable table;
    std::chrono::steady_clock::time_point since;
    bool is_new = true;  // read by the last find()
  };

  std::unordered_map<std::string, Entry> tables_;
  int connection_ = 0;
};

// Nullptr when there is none; case does not matter.
const Column* mysql_find_column(const Table& table, std::string_view name);

// Nullptr when the column can hold the value, or when the server will say that it cannot; otherwise what is wrong and
// its SQLSTATE. What passes is compared with the column by the column's own rules: no text is taken for a number.
const char* mysql_unfit(const Column& column, const Value& value, const char*& sqlstate);

}  // namespace sluice::sql

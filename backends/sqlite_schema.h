// SqliteSchema: what the tables of a SQLite database look like, and which values their columns take.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backends/sql.h"

namespace sluice::sql {

class SqliteConnection;

// The type that a declared type ("VARCHAR(20)") stands for.
ColumnType sqlite_column_type(std::string_view declared);

std::string sqlite_table_ddl(const NewTable& table);

struct SqliteTable {
  Table table;
  std::vector<std::string> defaults;   // per column: an expression that gives the column's default
  std::vector<bool> turns_to_numbers;  // per column: SQLite stores text that looks like a number as one
};

// A cache of descriptions, dropped as soon as the schema changes.
class SqliteSchema {
 public:
  // Nullptr and `error` set when there is no such table. Valid until the next call of refresh().
  const SqliteTable* find(SqliteConnection& connection, const std::string& name, Error& error);
  // Forgets everything if the schema has changed. Call it inside the transaction that relies on the answers.
  Error refresh(SqliteConnection& connection);

 private:
  std::unordered_map<std::string, SqliteTable> tables_;
  std::int64_t version_ = -1;
  int opening_ = 0;  // of the connection
};

// Position of a column by SQLite's rules (case does not matter), or -1.
int find_column(const Table& table, std::string_view name);

// Nullptr when the column can hold the value unchanged, otherwise what is wrong and its SQLSTATE.
const char* unfit(const SqliteTable& table, int column, const Value& value, const char*& sqlstate);

}  // namespace sluice::sql

// CreateTable: a CREATE TABLE statement, of what the dialects of SQL have in common.
#pragma once

#include <string>
#include <string_view>

#include "backends/sql.h"

namespace sluice::sql {

// What a dialect says in its own way.
struct TableDialect {
  std::string name;                                                // of the table, quoted
  std::string (*quoted)(std::string_view name);                    // of a column
  std::string (*type)(const NewColumn& column, std::size_t keys);  // `keys`: columns of the primary key
  std::string_view end;                                            // what follows the closing parenthesis
};

// One column a line, its remark behind it. Ends with ";".
std::string create_table(const NewTable& table, const TableDialect& dialect);

}  // namespace sluice::sql

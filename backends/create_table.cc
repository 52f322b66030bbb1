// CreateTable, see create_table.h.
#include "backends/create_table.h"

#include <algorithm>

namespace sluice::sql {

std::string create_table(const NewTable& table, const TableDialect& dialect) {
  const auto keys = static_cast<std::size_t>(
      std::count_if(table.columns.begin(), table.columns.end(), [](const NewColumn& column) { return column.is_key; }));
  std::string out = "CREATE TABLE " + dialect.name + " (\n";
  std::string key;
  for (const NewColumn& column : table.columns) {
    const std::string name = dialect.quoted(column.name);
    out += "  " + name + " " + dialect.type(column, keys) + (column.is_key ? " NOT NULL," : ",");
    if (!column.remark.empty()) out += "  -- " + column.remark;
    out += "\n";
    if (column.is_key) key += (key.empty() ? "" : ", ") + name;
  }
  return out + "  PRIMARY KEY (" + key + ")\n)" + std::string(dialect.end) + ";";
}

}  // namespace sluice::sql

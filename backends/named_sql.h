// NamedSql: SQL with named parameters (":name"), turned into what a database's protocol takes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backends/sql.h"

namespace sluice::sql {

struct NamedSql {
  enum class Dialect : std::uint8_t { sqlite, postgresql, mysql };
  std::string text;                // with $1, $2, ... (PostgreSQL) or ? for the parameters
  std::vector<std::string> names;  // PostgreSQL: of $1, $2, ...; otherwise one for every ?
};

// A parameter is a colon and a name of letters, digits and underscores. Colons inside quotes and comments, in "::type"
// and "a[1:2]" are none. A statement whose quotes do not end is left to the database to refuse.
NamedSql name_parameters(std::string_view sql, NamedSql::Dialect dialect);

// Null: there is none of this name.
const Value* find_value(const std::vector<Bound>& values, std::string_view name);

}  // namespace sluice::sql

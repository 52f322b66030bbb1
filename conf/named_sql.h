// NamedSql: SQL with named parameters (":name"), turned into what a database's protocol takes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::conf {

struct NamedSql {
  enum class Dialect : std::uint8_t { sqlite, postgresql, mysql };
  std::string text;                // with $1, $2, ... (PostgreSQL) or ? for the parameters
  std::vector<std::string> names;  // PostgreSQL: of $1, $2, ...; otherwise one for every ?
  std::string verb;                // the first word, in upper case: comments and opening brackets may precede it
  std::string other;               // the first parameter of another kind (`?`, `$1`, `@x`), which no value would reach
  bool several = false;            // more than comments follow a ';': another statement
};

// A parameter is a colon and a name of letters, digits and underscores. Colons inside quotes and comments, in "::type"
// and "a[1:2]" are none. A statement whose quotes do not end is left to the database to refuse.
NamedSql name_parameters(std::string_view sql, NamedSql::Dialect dialect);

}  // namespace sluice::conf

// Values for the named parameters of SQL of the user's own.
#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

#include "backends/sql.h"
#include "conf/named_sql.h"

namespace sluice::sql {

using conf::name_parameters;
using conf::NamedSql;

// Null: there is none of this name.
inline const Value* find_value(const std::vector<Bound>& values, std::string_view name) {
  const auto found = std::find_if(values.begin(), values.end(), [&](const Bound& b) { return b.column == name; });
  return found == values.end() ? nullptr : &found->value;
}

}  // namespace sluice::sql

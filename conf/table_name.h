// TableName: by what name tables are told apart, whatever their case and schema.
#pragma once

#include <string>
#include <string_view>

namespace sluice::conf {

// What follows the last '.', in lower case (ASCII). Different tables may share it.
std::string bare_table(std::string_view table);

// Whether two names can be of one table: of names with a schema both parts count, if both have one.
bool may_be_same_table(std::string_view a, std::string_view b);

}  // namespace sluice::conf

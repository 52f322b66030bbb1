// What the configuration format has and this version does not: keys and values that are refused by name.
#pragma once

#include <string>
#include <string_view>

namespace sluice::conf {

// Why `key = value` of [section] is refused ("policy" for [[policy]], "backend" for [backend.NAME]); empty when it is
// built. Numbers are given as text.
std::string not_built(std::string_view section, std::string_view key, std::string_view value);

// True when no value of this key is accepted.
bool is_key_not_built(std::string_view section, std::string_view key);

}  // namespace sluice::conf

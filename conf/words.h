// Words: near misses among names, and lists of names for messages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::conf {

// ` (did you mean "x"?)` for the closest of `known`, or nothing when none is near.
std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& known);

// "a", "b" or "c".
std::string any_of(const std::vector<std::string_view>& words);

// What policies and backends may be called: their names appear in metrics, in SLUICE commands and in --set.
bool is_name(std::string_view text);
constexpr const char* kNameRule = "a name has letters, digits, '_', '-' and '.' only";

}  // namespace sluice::conf

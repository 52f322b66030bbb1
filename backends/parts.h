// Parts that the backends have in common.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>

namespace sluice::sql {

// A time whose seconds have a fraction, in the form of contract.md: "10:00:00.5" is "10:00:00.500000". What follows the
// fraction stays, and so does one that is not of microseconds.
inline std::string with_microseconds(std::string text) {
  constexpr std::size_t kDigits = 6;
  const std::size_t point = text.find('.');
  if (point == std::string::npos) return text;
  const std::size_t end = std::min(text.find_first_not_of("0123456789", point + 1), text.size());
  const std::size_t digits = end - point - 1;
  if (digits == 0 || digits > kDigits) return text;
  if (text.find_first_not_of('0', point + 1) >= end) return text.erase(point, digits + 1);
  return text.insert(end, kDigits - digits, '0');
}

}  // namespace sluice::sql

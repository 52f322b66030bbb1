// Integers as Redis reads them: no sign but '-', no leading zeros, no blanks, 64 bits.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sluice::resp {

inline unsigned digit(char c) { return static_cast<unsigned char>(c) - unsigned{'0'}; }

// nullopt for anything that Redis would refuse as an integer: "", "+1", "01", "-0", "1 ", out of range.
std::optional<std::int64_t> parse_integer(std::string_view text);

// Reads a length in its usual form, 1 to 9 digits, CR and one byte more, from the start of [p, end) and returns what
// follows it. nullptr for all that deserves a closer look: incomplete, malformed, huge.
inline const char* read_usual_length(const char* p, const char* end, std::int64_t& length) {
  if (end - p < 3 || digit(*p) > 9 || (*p == '0' && p[1] != '\r')) return nullptr;
  const char* const last = p + std::min<std::ptrdiff_t>(end - p - 2, 9);
  std::int64_t value = digit(*p++);
  while (p < last && digit(*p) <= 9) value = value * 10 + digit(*p++);
  if (*p != '\r') return nullptr;
  length = value;
  return p + 2;
}

}  // namespace sluice::resp

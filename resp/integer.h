// Integers as Redis reads them: no sign but '-', no leading zeros, no blanks, 64 bits.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sluice::resp {

inline unsigned digit(char c) { return static_cast<unsigned char>(c) - unsigned{'0'}; }

// nullopt for anything that Redis would refuse as an integer: "", "+1", "01", "-0", "1 ", out of range.
std::optional<std::int64_t> parse_integer(std::string_view text);

}  // namespace sluice::resp

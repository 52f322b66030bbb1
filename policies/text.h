// Text: checks and encodings of the strings that values are made of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "policies/checked.h"

namespace sluice::policies {

bool is_utf8(std::string_view text);
// `text` with every byte that is not part of valid UTF-8 replaced by U+FFFD.
std::string repaired_utf8(std::string_view text);

std::string base64(std::string_view bytes);
std::optional<std::string> from_base64(std::string_view text);  // padded, standard alphabet

// A decimal or floating number as JSON writes it.
bool is_number(std::string_view text);

// These answer the canonical form of contract.md. Dates are of the years 1 to 9999 and must exist.
Checked<std::string> canonical_date(std::string_view text);         // 2024-06-21
Checked<std::string> canonical_time(std::string_view text);         // 12:00:00[.ffffff]
Checked<std::string> canonical_timestamp(std::string_view text);    // a date alone is its midnight; 'T' or ' ' between
Checked<std::string> canonical_timestamptz(std::string_view text);  // Z, +hh:mm or nothing (UTC); answers with Z
std::string utc_of_ms(std::int64_t unix_ms);                        // the canonical timestamp with Z
std::optional<std::int64_t> ms_of_utc(std::string_view text);       // the reverse, also without Z
// A number (is_number) without exponent and with exactly `scale` digits after the point; -1: as many as it has.
Checked<std::string> canonical_decimal(std::string_view text, int scale);
Checked<std::string> canonical_uuid(std::string_view text);

}  // namespace sluice::policies

// Units: durations such as "250ms" and sizes such as "64kb", from text and back.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "conf/config.h"

namespace sluice::conf {

// A whole number and ms, s, m, h or d; at most ten years. Nullopt: `error` says what to write instead.
std::optional<Duration> parse_duration(std::string_view text, std::string& error);
// In the largest unit that needs no fraction: "90s", "0s".
std::string format_duration(Duration duration);

// A whole number and b, kb, mb or gb (powers of 1024, upper or lower case); at most 1 TiB.
std::optional<std::size_t> parse_size(std::string_view text, std::string& error);
std::string format_size(std::size_t bytes);

// The shortest digits that read back as the same number.
std::string format_fraction(double value);

}  // namespace sluice::conf

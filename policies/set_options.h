// The options of SET, parsed as Redis parses them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "policies/checked.h"

namespace sluice::policies {

// An expiry as a client gave it.
struct Expiry {
  bool absolute = false;  // PXAT: Unix time; otherwise PX: from now on
  std::int64_t milliseconds = 0;
  // Unix time in milliseconds.
  std::int64_t at(std::int64_t now) const { return absolute ? milliseconds : now + milliseconds; }
  bool operator==(const Expiry&) const = default;
};

struct SetOptions {
  enum class When : std::uint8_t { always, absent, present };
  std::optional<Expiry> expiry;
  When when = When::always;  // NX, XX
  bool get = false;
  bool keep_ttl = false;
};

// `options` are the arguments after the value. The error is Redis' own text.
Checked<SetOptions> parse_set_options(std::span<const std::string> options);
// The number of EX, PX, EXAT or PXAT (in any case) of `command`, as Redis checks it: it must be positive.
Checked<Expiry> parse_expiry(std::string_view unit, std::string_view number, std::string_view command);
// EXPIRE and its kin: 0 and less are in the past.
Checked<Expiry> parse_any_expiry(std::string_view unit, std::string_view number, std::string_view command);

}  // namespace sluice::policies

// The options of SET, parsed as Redis parses them.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "policies/checked.h"

namespace sluice::policies {

struct SetOptions {
  std::string option;             // PX, PXAT or nothing
  std::int64_t milliseconds = 0;  // of PX or PXAT
  std::string unsupported;        // the first of NX, XX, GET and KEEPTTL
};

// `options` are the arguments after the value. The error is Redis' own text.
Checked<SetOptions> parse_set_options(std::span<const std::string> options);

}  // namespace sluice::policies

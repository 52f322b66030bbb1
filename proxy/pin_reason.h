// PinReason: why a client has an upstream connection of its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::proxy {

enum class PinReason : std::uint8_t {
  multi,
  watch,
  blocking,
  subscribe,
  monitor,
  select,
  auth,
  hello,
  client,
  tracking,
  wait,
  unknown,
  raw,
  large_request,
  session,
  paused,
  count,
};

// The `reason` label of metrics and the word SLUICE PINS shows.
inline constexpr std::array<std::string_view, static_cast<std::size_t>(PinReason::count)> kPinReasonNames{
    "multi",  "watch",    "blocking", "subscribe", "monitor", "select",        "auth",    "hello",
    "client", "tracking", "wait",     "unknown",   "raw",     "large_request", "session", "paused",
};

}  // namespace sluice::proxy

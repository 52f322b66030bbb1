// Command: one client command found in a byte stream.
#pragma once

#include <span>
#include <string_view>

namespace sluice::resp {

// All views point into the bytes given to CommandParser::next and live until these move or change.
struct Command {
  std::string_view wire;                   // everything the client sent for it, line ends included
  std::span<const std::string_view> args;  // args[0] is the name; never empty
  bool is_inline = false;                  // sent as a plain line (`PING\r\n`) rather than an array

  std::string_view name() const { return args[0]; }
};

}  // namespace sluice::resp

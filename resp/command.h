// Command: one client command found in a byte stream.
#pragma once

#include <span>
#include <string_view>

namespace sluice::resp {

// `wire` and the args of an array point into the bytes given to CommandParser::next and live until these move or
// change. The args of an inline line, and the span itself, live in the parser until its next call.
struct Command {
  std::string_view wire;                   // everything the client sent for it, line ends included
  std::span<const std::string_view> args;  // args[0] is the name; never empty (though args[0] may be "")
  bool is_inline = false;                  // sent as a plain line (`PING\r\n`) rather than an array

  std::string_view name() const { return args[0]; }
};

}  // namespace sluice::resp

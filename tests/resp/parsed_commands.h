// ParsedCommands: what CommandParser makes of a stream of bytes that arrives in pieces.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "resp/command_parser.h"

namespace sluice::resp {

struct ParsedCommands {
  struct One {
    std::vector<std::string> args;
    std::string wire;
    bool is_inline = false;
    bool operator==(const One&) const = default;
  };

  std::vector<One> commands;
  std::string skipped;  // bytes of skips
  std::string rest;     // bytes neither in a command nor in a skip
  std::string error;    // "" if none
  bool operator==(const ParsedCommands&) const = default;
};

// Gives `stream` to a parser, `piece` bytes more each time, always at a new address. `streams`: has every command whose
// name is there streamed, and parses what comes out of that.
ParsedCommands parse_commands(std::string_view stream, std::size_t piece, CommandLimits limits = {},
                              bool streams = false);

// The same in the arrays and strings that a reader of a test wants: {{"GET", "a"}, {"PING"}}.
std::vector<std::vector<std::string>> args_of(const ParsedCommands& parsed);

}  // namespace sluice::resp

// CommandParser: finds the commands in what a client sends, arrays and inline lines, at any byte split.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "resp/command.h"

namespace sluice::resp {

// Redis' own limits (networking.c, 7.0), in bytes or elements.
struct CommandLimits {
  std::size_t bulk_bytes_max = 512UL << 20;
  std::size_t inline_bytes_max = 64UL << 10;
  std::int64_t args_max = INT32_MAX;
};

class CommandParser {
 public:
  enum class Status {
    command,     // `command` is filled; drop command.wire.size() bytes after use
    skip,        // an empty line, `*0` or `*-1`: no command and no reply; drop skipped() bytes
    incomplete,  // needs more bytes after these
    error,       // error() says why; the connection must be closed after the reply
  };

  explicit CommandParser(CommandLimits limits = {}) : limits_(limits) {}

  // Looks at `input`, which begins where the last command or skip ended. After `incomplete`, call again with the same
  // bytes and more: work done on the prefix is remembered as offsets (the bytes may have moved), not repeated.
  // After `command` or `skip` it is ready for the next command.
  Status next(std::string_view input, Command& command);

  std::size_t skipped() const { return skipped_; }

  // Redis' words, ready to follow "-ERR ": "Protocol error: invalid multibulk length", ...
  const std::string& error() const { return error_; }

  // How many more bytes the bulk being read still needs, 0 when unknown; for sizing the next read.
  std::size_t bytes_missing() const { return bytes_missing_; }

  // True between commands: nothing of a command has been seen yet.
  bool idle() const;

 private:
  CommandLimits limits_;
  std::size_t skipped_ = 0;
  std::size_t bytes_missing_ = 0;
  std::string error_;
};

}  // namespace sluice::resp

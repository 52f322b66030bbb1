// CommandParser: finds the commands in what a client sends, arrays and inline lines, at any byte split.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "resp/command.h"

namespace sluice::resp {

// Redis' own limits (networking.c, 7.0), in bytes or elements.
struct CommandLimits {
  std::size_t bulk_bytes_max = 512UL << 20;
  std::size_t inline_bytes_max = 64UL << 10;  // also of the lines that announce an array or a bulk
  std::int64_t args_max = INT32_MAX;
  // False for a client that still has to AUTH: an array of at most 10 elements, bulks of at most 16 KiB.
  bool authenticated = true;
};

class CommandParser {
 public:
  enum class Status {
    command,     // `command` is filled; drop command.wire.size() bytes after use
    skip,        // an empty line, `*0` or `*-1`: no command and no reply; drop skipped() bytes
    part,        // of a command being streamed: pass skipped() bytes on and drop them; idle() when that was its end
    incomplete,  // needs more bytes after these
    error,       // error() says why; the connection must be closed after the reply. Final
  };

  explicit CommandParser(CommandLimits limits = {}) : limits_(limits) {}

  // Looks at `input`, which begins where the last command or skip ended. After `incomplete`, call again with the same
  // bytes and more: work done on the prefix is remembered as offsets (the bytes may have moved), not repeated.
  // After `command` or `skip` it is ready for the next command. Any call invalidates the command found by the one
  // before, and one with empty input also gives back the memory that a very large command needed.
  Status next(std::string_view input, Command& command);

  // After `incomplete`: the argument at this place of the array being read, if all of it is in `input`, the bytes just
  // looked at.
  std::optional<std::string_view> argument(std::string_view input, std::size_t at) const;
  // Right after `incomplete`, with arguments of an array still to come: the command is not kept together any more.
  // next() gives it as parts, from its first byte on, checked like any other command.
  void stream();
  bool streaming() const { return form_ == Form::streamed; }

  // Takes effect at the next array header or bulk length.
  void set_authenticated(bool authenticated) { limits_.authenticated = authenticated; }

  std::size_t skipped() const { return skipped_; }

  // Redis' words, ready to follow "-ERR ": "Protocol error: invalid multibulk length", ...
  const std::string& error() const { return error_; }

  // How many more bytes the bulk being read still needs (its line end included), 0 when unknown; for sizing the next
  // read.
  std::size_t bytes_missing() const { return bytes_missing_; }

  // True between commands: nothing of a command has been seen yet.
  bool idle() const { return form_ == Form::unknown; }

 private:
  enum class Form : std::uint8_t { unknown, line, array, streamed, failed };
  struct Part {
    std::size_t offset, size;
  };

  bool next_usual(std::string_view input, Command& command);
  void forget_last_command(bool trim);
  Status next_line(std::string_view input, Command& command);
  Status next_array(std::string_view input, Command& command);
  Status next_part(std::string_view input);
  Status read_array_size(std::string_view input);
  Status read_bulk_size(std::string_view input);
  Status suspend_array(std::string_view input);
  Status find_line_end(std::string_view input, char stop, const char* too_long, std::size_t& end);
  void resume_after(std::size_t offset);
  Status finish(std::string_view input, Command& command, bool is_inline);
  Status fail(std::string_view reason);

  CommandLimits limits_;
  Form form_ = Form::unknown;
  bool tidy_ = true;              // nothing is left of a command that was not a usual one
  std::int64_t args_left_ = 0;    // bulks of the array still to come; 0 before its header
  std::int64_t bulk_bytes_ = -1;  // of the bulk being read; -1 before its length. streamed: what is still to come of
                                  // it, its line end included
  std::size_t offset_ = 0;        // of the line or bulk being read
  std::size_t searched_ = 0;      // no line end before this offset
  std::size_t skipped_ = 0;
  std::size_t bytes_missing_ = 0;
  std::vector<Part> parts_;  // arguments found by earlier calls
  // Arguments found by this call; all of them once complete. More may be left of an earlier, usual command.
  std::vector<std::string_view> args_;
  std::string text_;  // bytes of inline arguments
  std::string error_;
};

}  // namespace sluice::resp

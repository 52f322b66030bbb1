// Fuzz target: CommandParser finds the same commands however the bytes arrive, buffered or streamed, and accounts for
// every byte.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "resp/command_parser.h"

namespace {

using sluice::resp::Command;
using sluice::resp::CommandLimits;
using sluice::resp::CommandParser;

void require(bool truth) {
  if (!truth) std::abort();
}

struct Outcome {
  std::vector<std::string> events;  // commands with their arguments, skips, the error
  std::size_t consumed = 0;
  bool operator==(const Outcome&) const = default;
};

std::string describe(const Command& command) {
  std::string text = command.is_inline ? "inline" : "array";
  for (const std::string_view arg : command.args) text += ' ' + std::to_string(arg.size()) + ':' + std::string(arg);
  return text;
}

// Arguments of an array lie inside its bytes, in order.
void check_views(const Command& command) {
  require(!command.args.empty());
  if (command.is_inline) return;
  const char* at = command.wire.data();
  for (const std::string_view arg : command.args) {
    require(arg.data() >= at && arg.data() + arg.size() + 2 <= command.wire.data() + command.wire.size());
    at = arg.data() + arg.size();
  }
  require(at + 2 == command.wire.data() + command.wire.size());
}

std::string describe_only(const std::string& wire, const CommandLimits& limits) {
  CommandParser parser(limits);
  Command command;
  require(parser.next(wire, command) == CommandParser::Status::command && command.wire.size() == wire.size());
  return describe(command);
}

// Gives `stream` to a parser in pieces, always at a new address and with nothing readable behind it. `streams`: has
// every command whose name is there streamed.
Outcome parse(std::string_view stream, std::size_t piece, const CommandLimits& limits, bool streams) {
  Outcome outcome;
  CommandParser parser(limits);
  Command command;
  std::string parts;  // of the command being streamed
  std::size_t end = 0;
  while (true) {
    const std::vector<char> input(stream.begin() + outcome.consumed + parts.size(), stream.begin() + end);
    const std::string_view view(input.data(), input.size());
    switch (parser.next(view, command)) {
      case CommandParser::Status::command:
        check_views(command);
        require(command.wire.data() == view.data());
        outcome.events.push_back(describe(command));
        outcome.consumed += command.wire.size();
        require(parser.idle());
        break;
      case CommandParser::Status::skip:
        require(parser.skipped() > 0 && parser.skipped() <= view.size());
        outcome.events.push_back("skip");
        outcome.consumed += parser.skipped();
        require(parser.idle());
        break;
      case CommandParser::Status::part:
        require(parser.skipped() > 0 && parser.skipped() <= view.size());
        parts.append(view.substr(0, parser.skipped()));
        if (!parser.idle()) break;
        outcome.events.push_back(describe_only(parts, limits));
        outcome.consumed += parts.size();
        parts.clear();
        break;
      case CommandParser::Status::error:
        outcome.events.push_back(parser.error());
        return outcome;
      case CommandParser::Status::incomplete:
        require(parser.idle() == (view.empty() && !parser.streaming()));
        if (streams && !parser.streaming() && parser.argument(view, 0)) {
          parser.stream();
          break;
        }
        if (end == stream.size()) return outcome;
        end = std::min(end + piece, stream.size());
        break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const CommandLimits limits{.bulk_bytes_max = data[0] % 2 == 0 ? std::size_t{100} : std::size_t{512} << 20,
                             .inline_bytes_max = data[0] % 4 < 2 ? 20U : 65536U,
                             .args_max = INT32_MAX,
                             .authenticated = data[0] % 8 < 4};
  const std::size_t piece = 1 + data[1];
  const std::string_view stream(reinterpret_cast<const char*>(data) + 2, size - 2);
  const Outcome whole = parse(stream, std::max<std::size_t>(stream.size(), 1), limits, false);
  for (const bool streams : {false, true}) {
    require(parse(stream, 1, limits, streams) == whole);
    require(parse(stream, piece, limits, streams) == whole);
  }
  return 0;
}

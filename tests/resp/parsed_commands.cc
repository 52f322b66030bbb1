// ParsedCommands: see parsed_commands.h.
#include "parsed_commands.h"

#include <algorithm>

namespace sluice::resp {

ParsedCommands parse_commands(std::string_view stream, std::size_t piece, CommandLimits limits, bool streams) {
  ParsedCommands result;
  CommandParser parser(limits);
  Command command;
  std::string parts;  // of the command being streamed
  std::size_t begin = 0;
  std::size_t end = 0;
  while (true) {
    const std::string input(stream.substr(begin, end - begin));
    switch (parser.next(input, command)) {
      case CommandParser::Status::command:
        result.commands.push_back(
            {{command.args.begin(), command.args.end()}, std::string(command.wire), command.is_inline});
        begin += command.wire.size();
        break;
      case CommandParser::Status::skip:
        result.skipped += input.substr(0, parser.skipped());
        begin += parser.skipped();
        break;
      case CommandParser::Status::part:
        parts += input.substr(0, parser.skipped());
        begin += parser.skipped();
        if (parser.idle()) {
          const ParsedCommands whole = parse_commands(parts, parts.size(), limits);
          result.commands.insert(result.commands.end(), whole.commands.begin(), whole.commands.end());
          parts.clear();
        }
        break;
      case CommandParser::Status::error:
        result.error = parser.error();
        return result;  // how much has arrived by then depends on the pieces
      case CommandParser::Status::incomplete:
        if (streams && !parser.streaming() && parser.argument(input, 0)) {
          parser.stream();
          break;
        }
        if (end == stream.size()) {
          result.rest = parts + input;
          return result;
        }
        end = std::min(end + piece, stream.size());
        break;
    }
  }
}

std::vector<std::vector<std::string>> args_of(const ParsedCommands& parsed) {
  std::vector<std::vector<std::string>> all;
  for (const ParsedCommands::One& one : parsed.commands) all.push_back(one.args);
  return all;
}

}  // namespace sluice::resp

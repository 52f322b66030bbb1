// Options: the command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "conf/load.h"
#include "proxy/log.h"

namespace sluice::proxy {

// Exit codes of the program.
inline constexpr int kExitClean = 0;
inline constexpr int kExitFailure = 1;  // at run time, or data left unflushed
inline constexpr int kExitUsage = 2;
inline constexpr int kExitConfig = 78;

struct Options {
  enum class Action : std::uint8_t { serve, check, print_config, print_schema, explain };
  Action action = Action::serve;
  bool connect = false;     // check: also what it connects to
  std::string argument;     // print_schema: a policy; explain: a key
  std::string config_file;  // as given with -c; may be empty
  std::vector<conf::Override> overrides;
  Level log_level = Level::info;
  LogFormat log_format = LogFormat::text;
};

// What the command line says: options, or what to print instead of going on.
struct CommandLine {
  std::optional<Options> options;
  int exit_code = kExitClean;  // without options
  std::string output;          // for standard output: help, version
  std::string error;           // for standard error
};
CommandLine parse_command_line(int argc, const char* const* argv);

// Where the configuration is: `given`, else $SLUICE_CONFIG, else the first of the usual places that exists.
// Empty: `error` says where it has looked.
std::string find_config_file(const std::string& given, std::string& error);

}  // namespace sluice::proxy

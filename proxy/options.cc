// Options: the command line, read by CLI11.
#include "proxy/options.h"

#include <cstdlib>
#include <unistd.h>

#include <CLI/CLI.hpp>

namespace sluice::proxy {
namespace {

constexpr const char* kUsualPlaces[] = {"./sluice.toml", "/etc/sluice/sluice.toml"};

// What CLI11 fills in; Options is made of it.
struct Raw {
  Options options;
  bool check = false, print_config = false;
  std::string level = "info", format = "text";
  std::string schema_of, key;
  std::vector<std::string> sets;
};

void describe(CLI::App& app, Raw& raw) {
  app.description(
      "A proxy between Redis clients and Redis that keeps SQL in step, by the policy of each key's prefix.");
  app.footer(
      "Without -c: $SLUICE_CONFIG, ./sluice.toml, /etc/sluice/sluice.toml.\n"
      "Exit codes: 0 clean, 1 failure at run time or data left unflushed, 2 wrong use, 78 bad configuration.");
  app.set_help_flag("-h,--help", "Print this and exit");
  app.set_version_flag("-V,--version", "sluice " SLUICE_VERSION);
  app.add_option("-c", raw.options.config_file, "Configuration file")->type_name("FILE");
  auto* check = app.add_flag("--check", raw.check, "Check the configuration, print every mistake, exit");
  app.add_flag("--connect", raw.options.connect, "With --check: compare with Redis and the databases too")
      ->needs(check);
  auto* print_config = app.add_flag("--print-config", raw.print_config, "Print the whole configuration and exit");
  auto* schema = app.add_option("--print-schema", raw.schema_of, "Print the tables that a policy needs and exit")
                     ->type_name("POLICY");
  check->excludes(print_config)->excludes(schema);
  print_config->excludes(schema);
  app.add_option("--set", raw.sets, "Override one key of the configuration; may be repeated")
      ->type_name("SECTION.KEY=VALUE")
      ->take_all()
      ->allow_extra_args(false);
  app.add_option("--log-level", raw.level, "Least level to log: debug, info, warning, error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->option_text("LEVEL");
  app.add_option("--log-format", raw.format, "Format of the log: text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->option_text("text|json");
  auto* explain = app.add_subcommand("explain", "Say which policy owns KEY and what commands on it do, and exit");
  explain->fallthrough();
  explain->add_option("KEY", raw.key)->required()->type_name("");
}

std::string add_overrides(const std::vector<std::string>& sets, Options& options) {
  for (const std::string& set : sets) {
    const std::size_t equals = set.find('=');
    if (equals == std::string::npos || equals == 0) return "--set " + set + ": write section.key=value";
    options.overrides.emplace_back(set.substr(0, equals), set.substr(equals + 1));
  }
  return {};
}

// Of names that have been checked.
Level level_of(const std::string& name) {
  return name == "debug"     ? Level::debug
         : name == "info"    ? Level::info
         : name == "warning" ? Level::warning
                             : Level::error;
}

Options::Action action_of(const CLI::App& app, const Raw& raw) {
  if (app.got_subcommand("explain")) return Options::Action::explain;
  if (raw.check) return Options::Action::check;
  if (raw.print_config) return Options::Action::print_config;
  return app.count("--print-schema") != 0 ? Options::Action::print_schema : Options::Action::serve;
}

CommandLine wrong_use(const std::string& reason) {
  return {{}, kExitUsage, {}, "sluice: " + reason + "\nTry sluice --help.\n"};
}

bool exists(const char* file) { return ::access(file, F_OK) == 0; }

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv) {
  CLI::App app("", "sluice");
  Raw raw;
  describe(app, raw);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return {{}, kExitClean, app.help() + "\n", {}};
  } catch (const CLI::CallForVersion& version) {
    return {{}, kExitClean, std::string(version.what()) + "\n", {}};
  } catch (const CLI::ParseError& error) {
    return wrong_use(error.what());
  }
  Options& options = raw.options;
  options.action = action_of(app, raw);
  if (options.action == Options::Action::explain &&
      (raw.check || raw.print_config || app.count("--print-schema") != 0)) {
    return wrong_use("explain does not go with --check, --print-config or --print-schema");
  }
  options.argument = options.action == Options::Action::explain ? raw.key : raw.schema_of;
  options.log_level = level_of(raw.level);
  options.log_format = raw.format == "json" ? LogFormat::json : LogFormat::text;
  const std::string error = add_overrides(raw.sets, options);
  if (!error.empty()) return wrong_use(error);
  return {std::move(options), kExitClean, {}, {}};
}

std::string find_config_file(const std::string& given, std::string& error) {
  if (!given.empty()) return given;
  const char* from_environment = std::getenv("SLUICE_CONFIG");
  if (from_environment != nullptr && *from_environment != '\0') return from_environment;
  for (const char* place : kUsualPlaces) {
    if (exists(place)) return place;
  }
  error =
      "no configuration: give one with -c FILE or $SLUICE_CONFIG, or put it in ./sluice.toml or "
      "/etc/sluice/sluice.toml";
  return {};
}

}  // namespace sluice::proxy

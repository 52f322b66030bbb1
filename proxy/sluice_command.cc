// SluiceCommand: parsing `SLUICE ...`, and the replies that only need the configuration.
#include "proxy/sluice_command.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "conf/config.h"
#include "policies/listing.h"
#include "resp/ascii.h"
#include "resp/integer.h"

namespace sluice::proxy {
namespace {

using Policies = std::vector<std::unique_ptr<policies::Policy>>;
using policies::Handling;
using policies::PrefixTable;
using Verb = SluiceCommand::Verb;

struct Subcommand {
  std::string_view name;  // lower case
  Verb verb;
  std::size_t arguments_min, arguments_max;
};
constexpr Subcommand kSubcommands[] = {
    {"help", Verb::help, 0, 0},          {"version", Verb::version, 0, 0}, {"policy", Verb::policy, 0, 1},
    {"explain", Verb::explain, 1, 1},    {"status", Verb::status, 1, 1},   {"sync", Verb::sync, 1, 1},
    {"dbget", Verb::dbget, 1, 1},        {"source", Verb::source, 1, 1},   {"invalidate", Verb::invalidate, 1, 1},
    {"clients", Verb::clients, 0, 0},    {"pins", Verb::pins, 0, 0},       {"rows", Verb::rows, 1, 4},
    {"touch", Verb::touch, 1, SIZE_MAX},
};
// The rest of the commands that sluice has a name for.
constexpr std::string_view kNotBuilt[] = {"queue", "pause", "resume", "dlq", "config"};

constexpr std::uint32_t kRowsListed = 100;  // without COUNT

constexpr std::string_view kHelp[] = {
    "SLUICE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CLIENTS",
    "    Return the connected clients.",
    "DBGET <key>",
    "    Return what the database holds for <key>. Redis is not looked at.",
    "EXPLAIN <key>",
    "    Return the policy that owns <key> and what it does with each command.",
    "INVALIDATE <key|pattern>",
    "    Forget cached copies, leases and memories of absent rows.",
    "PINS",
    "    Return the clients that have a connection to Redis of their own, and why.",
    "POLICY [<name>]",
    "    Return the names of the policies, or the settings of one.",
    "ROWS <policy> [<after>] [COUNT <count>]",
    "    Return the keys and values of the rows of the policy's table, in key order, those after the key <after>.",
    "SOURCE <key>",
    "    Return the value of <key> and where it came from: redis, sql or none.",
    "STATUS <key>",
    "    Return the value of <key> in Redis and in the database, and what is pending.",
    "SYNC <key|pattern|policy>",
    "    Flush to the database now, and return the number of rows.",
    "TOUCH <table> [<table> ...]",
    "    Outdate all that is cached and depends on these tables.",
    "VERSION",
    "    Return the version of sluice.",
    "HELP",
    "    Print this help.",
};

// Client's own words, cut as Redis cuts them.
std::string quoted(std::string_view word) { return "'" + std::string(word.substr(0, 128)) + "'"; }

std::string unknown_subcommand(std::string_view word) {
  const bool planned = std::find(std::begin(kNotBuilt), std::end(kNotBuilt), resp::lower(word)) != std::end(kNotBuilt);
  if (planned) return "ERR sluice: SLUICE " + resp::upper(word) + " is not built yet";
  return "ERR unknown subcommand " + quoted(word) + ". Try SLUICE HELP.";
}

void append_names(std::string& out, const std::vector<std::string_view>& names) {
  resp::append_array_header(out, names.size());
  for (const std::string_view name : names) resp::append_bulk(out, name);
}

// A RESP map that is filled first and counted then.
class Map {
 public:
  explicit Map(resp::Version version) : version_(version) {}

  void add(std::string_view field, std::string_view value) { resp::append_bulk(name(field), value); }
  void add_nil(std::string_view field) { resp::append_nil(name(field), version_); }
  // Appends the field and returns where its value is to be appended.
  std::string& name(std::string_view field) {
    ++pairs_;
    resp::append_bulk(body_, field);
    return body_;
  }
  void append_to(std::string& out) const {
    resp::append_map_header(out, pairs_, version_);
    out += body_;
  }
  std::string reply() const {
    std::string out;
    append_to(out);
    return out;
  }

 private:
  const resp::Version version_;
  std::size_t pairs_ = 0;
  std::string body_;
};

std::string_view name(conf::ValueMode mode) {
  switch (mode) {
    case conf::ValueMode::json:
      return "json";
    case conf::ValueMode::hash:
      return "hash";
    case conf::ValueMode::raw:
      return "raw";
    case conf::ValueMode::counter:
      return "counter";
  }
  return "";
}

std::string_view name(conf::WriteMode mode) {
  switch (mode) {
    case conf::WriteMode::none:
      return "none";
    case conf::WriteMode::write_through:
      return "write-through";
    case conf::WriteMode::write_behind:
      return "write-behind";
  }
  return "";
}

std::string_view read_mode(const conf::PolicyOptions& options) { return options.fills() ? "cache-aside" : "none"; }

void add_policy(Map& map, const conf::PolicyOptions& options) {
  map.add("key", options.key.text());
  if (options.alias) {
    map.add("alias", options.alias->text());
  } else {
    map.add_nil("alias");
  }
  map.add("backend", options.backend);
  options.table.empty() ? map.add_nil("table") : map.add("table", options.table);
  options.query.empty() ? map.add_nil("query") : map.add("query", options.query);
  map.add("value", name(options.value));
  map.add("read", read_mode(options));
  map.add("write", name(options.write));
}

void add_handling(Map& map, const policies::Policy& policy, resp::Version version) {
  Map handling(version);
  for (const HandledCommands& group : handled_commands(policy)) {
    append_names(handling.name(proxy::name(group.handling)), group.commands);
  }
  handling.append_to(map.name("commands"));
}

// The key columns and what `key` says they are.
void add_columns(Map& map, const conf::PolicyOptions& options, std::string_view key, resp::Version version) {
  std::vector<std::string_view> values;
  Map columns(version);
  if (options.key.match(key, values)) {
    const std::vector<std::string> names = options.key.placeholders();
    for (std::size_t i = 0; i < names.size(); ++i) columns.add(names[i], values[i]);
  }
  columns.append_to(map.name("key_columns"));
}

const policies::Policy* find_policy(const Policies& policies, std::string_view name) {
  const auto found = std::find_if(policies.begin(), policies.end(),
                                  [&](const auto& policy) { return policy->options().name == name; });
  return found == policies.end() ? nullptr : found->get();
}

std::string_view why_nobody(PrefixTable::Match::Kind kind) {
  switch (kind) {
    case PrefixTable::Match::Kind::none:
      return "no policy owns it: every command is forwarded";
    case PrefixTable::Match::Kind::off_grid:
      return "it has the prefix of the policy but does not match its template: reads are forwarded, writes of a write "
             "policy are refused";
    case PrefixTable::Match::Kind::reserved:
      return "it is a side key of sluice: clients may not write it";
    case PrefixTable::Match::Kind::owned:
    case PrefixTable::Match::Kind::alias:
      break;
  }
  return "";
}

// [after] [COUNT n]; what is wrong, or nothing.
std::string parse_page(std::span<const std::string_view> args, SluiceCommand& command) {
  command.count = kRowsListed;
  if (args.size() % 2 == 1) {
    command.after = args[0];
    args = args.subspan(1);
  }
  if (args.empty()) return {};
  if (args.size() != 2 || resp::lower(args[0]) != "count") return "ERR syntax error";
  const auto count = resp::parse_integer(args[1]);
  if (!count || *count < 1 || *count > policies::kListedMax) {
    return "ERR COUNT must be between 1 and " + std::to_string(policies::kListedMax);
  }
  command.count = static_cast<std::uint32_t>(*count);
  return {};
}

}  // namespace

std::optional<SluiceCommand> parse_sluice(std::span<const std::string_view> args, std::string& error) {
  if (args.size() < 2) {
    error = "ERR wrong number of arguments for 'sluice' command";
    return {};
  }
  const std::string word = resp::lower(args[1]);
  const auto* found = std::find_if(std::begin(kSubcommands), std::end(kSubcommands),
                                   [&](const Subcommand& subcommand) { return subcommand.name == word; });
  if (found == std::end(kSubcommands)) {
    error = unknown_subcommand(args[1]);
    return {};
  }
  const std::size_t arguments = args.size() - 2;
  if (arguments < found->arguments_min || arguments > found->arguments_max) {
    error = "ERR wrong number of arguments for 'sluice|" + word + "' command";
    return {};
  }
  SluiceCommand command{found->verb, arguments == 0 ? std::string() : std::string(args[2])};
  if (command.verb == Verb::rows) error = parse_page(args.subspan(3), command);
  if (!error.empty()) return {};
  if (command.verb == Verb::touch) command.more.assign(args.begin() + 3, args.end());
  return command;
}

Target target_of(std::string_view argument, const Policies& policies) {
  if (find_policy(policies, argument) != nullptr) return Target::policy;
  return argument.find_first_of("*?[") == std::string_view::npos ? Target::key : Target::pattern;
}

Access access_of(const SluiceCommand& command, const Policies& policies) {
  switch (command.verb) {
    case Verb::help:
    case Verb::version:
      return Access::anyone;
    case Verb::policy:
    case Verb::clients:
    case Verb::pins:
    case Verb::rows:
    case Verb::touch:
      return Access::admin;
    case Verb::explain:
    case Verb::status:
    case Verb::dbget:
    case Verb::source:
      return Access::key_reader;
    case Verb::sync:
    case Verb::invalidate:
      break;
  }
  return target_of(command.argument, policies) == Target::key ? Access::key_reader : Access::admin;
}

Ownership find_owner(const PrefixTable& table, const Policies& policies, std::string_view key) {
  using Kind = PrefixTable::Match::Kind;
  const PrefixTable::Match match = table.find(key);
  Ownership owner{match.kind, nullptr, std::string(key), std::string(key)};
  if (match.kind == Kind::alias) owner.real_key = table.real_key(match, key);
  if (match.kind != Kind::none && match.kind != Kind::reserved) owner.policy = policies[match.policy].get();
  return owner;
}

std::string_view name(Handling handling) {
  switch (handling) {
    case Handling::forward:
      return "forward";
    case Handling::read:
      return "read";
    case Handling::load:
      return "load";
    case Handling::operate:
      return "operate";
    case Handling::guard:
      return "guard";
    case Handling::invalidate:
      return "invalidate";
    case Handling::reject:
      return "reject";
  }
  return "";
}

std::vector<HandledCommands> handled_commands(const policies::Policy& policy) {
  std::vector<HandledCommands> groups{{Handling::read, {}},  {Handling::load, {}},       {Handling::operate, {}},
                                      {Handling::guard, {}}, {Handling::invalidate, {}}, {Handling::reject, {}}};
  for (std::size_t i = 0; i < static_cast<std::size_t>(resp::CommandId::count); ++i) {
    const resp::CommandInfo& command = resp::command_info(static_cast<resp::CommandId>(i));
    const bool has_keys = command.first_key != 0 || command.has(resp::flag::movable_keys);
    if (!has_keys || command.has(resp::flag::pubsub)) continue;
    const Handling handling = policy.handling(command);
    for (HandledCommands& group : groups) {
      if (group.handling == handling) group.commands.push_back(command.name);
    }
  }
  std::erase_if(groups, [](const HandledCommands& group) { return group.commands.empty(); });
  return groups;
}

std::string sluice_help() {
  std::string out;
  resp::append_array_header(out, std::size(kHelp));
  for (const std::string_view line : kHelp) resp::append_status(out, line);
  return out;
}

std::string sluice_version() {
  std::string out;
  resp::append_bulk(out, SLUICE_VERSION);
  return out;
}

std::string sluice_policies(const Policies& policies) {
  std::vector<std::string_view> names;
  names.reserve(policies.size());
  for (const auto& policy : policies) names.emplace_back(policy->options().name);
  std::string out;
  append_names(out, names);
  return out;
}

std::string no_policy(std::string_view name) {
  std::string out;
  resp::append_error(out, "ERR sluice: there is no policy " + quoted(name));
  return out;
}

std::string sluice_policy(const Policies& policies, std::string_view name, resp::Version version) {
  const policies::Policy* policy = find_policy(policies, name);
  if (policy == nullptr) return no_policy(name);
  Map map(version);
  map.add("name", policy->options().name);
  add_policy(map, policy->options());
  add_handling(map, *policy, version);
  return map.reply();
}

std::string sluice_explain(const Ownership& owner, resp::Version version) {
  using Kind = PrefixTable::Match::Kind;
  Map map(version);
  const bool owned = owner.policy != nullptr && (owner.kind == Kind::owned || owner.kind == Kind::alias);
  if (owner.policy == nullptr) {
    map.add_nil("policy");
  } else {
    map.add("policy", owner.policy->options().name);
  }
  if (!owned) {
    map.add("reason", why_nobody(owner.kind));
    return map.reply();
  }
  map.add("real_key", owner.real_key);
  add_columns(map, owner.policy->options(), owner.real_key, version);
  add_policy(map, owner.policy->options());
  add_handling(map, *owner.policy, version);
  return map.reply();
}

}  // namespace sluice::proxy

// Command keys: where the keys of a command are, as the commands of Redis 7.0 themselves read their arguments.
#include <algorithm>
#include <array>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <span>

#include "resp/command_table.h"
#include "resp/integer.h"

namespace sluice::resp {
namespace {

using Args = std::span<const std::string_view>;
using Keys = std::vector<std::uint32_t>;

// `word` is lower case.
bool is_word(std::string_view arg, std::string_view word) {
  return std::equal(arg.begin(), arg.end(), word.begin(), word.end(), [](char given, char wanted) {
    return given == wanted || (given >= 'A' && given <= 'Z' && given + ('a' - 'A') == wanted);
  });
}

// An option and the number of arguments it takes.
struct Option {
  std::string_view word;
  std::size_t values;
};

const Option* find_option(std::string_view arg, std::span<const Option> options) {
  for (const Option& option : options)
    if (is_word(arg, option.word)) return &option;
  return nullptr;
}

// How many arguments to step over for the one at hand: an option with its values, or just that.
std::size_t step_over(std::string_view arg, std::span<const Option> options) {
  const Option* const option = find_option(arg, options);
  return 1 + (option != nullptr ? option->values : 0);
}

void add_range(std::size_t first, std::size_t count, Keys& keys) {
  for (std::size_t i = 0; i < count; ++i) keys.push_back(static_cast<std::uint32_t>(first + i));
}

void add_fixed(const CommandInfo& info, Args args, Keys& keys) {
  if (info.first_key == 0 || info.has(flag::pubsub)) return;
  const std::ptrdiff_t count = std::ssize(args);
  const std::ptrdiff_t last = info.last_key < 0 ? count + info.last_key : info.last_key;
  if (last >= count || last < info.first_key) return;
  for (std::ptrdiff_t i = info.first_key; i <= last; i += info.key_step) keys.push_back(static_cast<std::uint32_t>(i));
}

// A number of keys at `at`, then these keys; with_destination: the first argument is one, too.
void add_counted(Args args, std::size_t at, bool with_destination, Keys& keys) {
  const std::optional<std::int64_t> count = at < args.size() ? parse_integer(args[at]) : std::nullopt;
  if (!count || *count < 0 || static_cast<std::size_t>(*count) > args.size() - at - 1) return;
  if (with_destination && *count == 0) return;
  if (with_destination) keys.push_back(1);
  add_range(at + 1, *count, keys);
}

// XREAD, XREADGROUP: keys, then as many ids. STREAMS may also be the name of a group.
void add_streams(Args args, Keys& keys) {
  static constexpr std::array<Option, 4> kOptions{{{"block", 1}, {"count", 1}, {"group", 2}, {"noack", 0}}};
  std::size_t at = 1;
  while (at < args.size() && find_option(args[at], kOptions) != nullptr) at += step_over(args[at], kOptions);
  if (at >= args.size() || !is_word(args[at], "streams")) return;
  const std::size_t after = args.size() - at - 1;
  if (after % 2 == 0) add_range(at + 1, after / 2, keys);
}

// SORT, GEORADIUS: a key, and the destination behind an option: the last one given counts.
void add_with_store(Args args, std::size_t first_option, std::initializer_list<std::string_view> words,
                    std::span<const Option> others, Keys& keys) {
  std::size_t destination = 0;
  for (std::size_t at = first_option; at < args.size();) {
    const bool stores = std::any_of(words.begin(), words.end(), [&](auto word) { return is_word(args[at], word); });
    if (stores && at + 1 < args.size()) {
      destination = at + 1;
      at += 2;
    } else {
      at += step_over(args[at], others);
    }
  }
  keys.push_back(1);
  if (destination != 0) keys.push_back(static_cast<std::uint32_t>(destination));
}

void add_of_sort(Args args, Keys& keys) {
  static constexpr std::array<Option, 3> kOptions{{{"limit", 2}, {"get", 1}, {"by", 1}}};
  add_with_store(args, 2, {"store"}, kOptions, keys);
}

void add_of_georadius(Args args, std::size_t first_option, Keys& keys) {
  add_with_store(args, first_option, {"store", "storedist"}, {}, keys);
}

// MIGRATE host port key|"" db timeout [options] [KEYS key...]
void add_of_migrate(Args args, Keys& keys) {
  static constexpr std::array<Option, 2> kOptions{{{"auth", 1}, {"auth2", 2}}};
  std::size_t at = 6;
  while (at < args.size() && !is_word(args[at], "keys")) at += step_over(args[at], kOptions);
  if (at >= args.size()) {
    keys.push_back(3);
  } else if (args[3].empty()) {
    add_range(at + 1, args.size() - at - 1, keys);
  }
}

// The key of those subcommands that have one: always the argument after it.
void add_of_subcommand(Args args, std::initializer_list<std::string_view> subcommands, Keys& keys) {
  if (args.size() < 3) return;
  if (std::any_of(subcommands.begin(), subcommands.end(), [&](auto word) { return is_word(args[1], word); }))
    keys.push_back(2);
}

void add_movable(const CommandInfo& info, Args args, Keys& keys) {
  switch (info.id) {
    case CommandId::eval:
    case CommandId::evalsha:
    case CommandId::eval_ro:
    case CommandId::evalsha_ro:
    case CommandId::fcall:
    case CommandId::fcall_ro:
    case CommandId::blmpop:
    case CommandId::bzmpop:
      return add_counted(args, 2, false, keys);
    case CommandId::lmpop:
    case CommandId::zmpop:
    case CommandId::sintercard:
    case CommandId::zintercard:
    case CommandId::zdiff:
    case CommandId::zinter:
    case CommandId::zunion:
      return add_counted(args, 1, false, keys);
    case CommandId::zdiffstore:
    case CommandId::zinterstore:
    case CommandId::zunionstore:
      return add_counted(args, 2, true, keys);
    case CommandId::xread:
    case CommandId::xreadgroup:
      return add_streams(args, keys);
    case CommandId::sort:
      return add_of_sort(args, keys);
    case CommandId::georadius:
      return add_of_georadius(args, 6, keys);
    case CommandId::georadiusbymember:
      return add_of_georadius(args, 5, keys);
    case CommandId::migrate:
      return add_of_migrate(args, keys);
    case CommandId::memory:
      return add_of_subcommand(args, {"usage"}, keys);
    case CommandId::object:
      return add_of_subcommand(args, {"encoding", "freq", "idletime", "refcount"}, keys);
    case CommandId::xgroup:
      return add_of_subcommand(args, {"create", "createconsumer", "delconsumer", "destroy", "setid"}, keys);
    case CommandId::xinfo:
      return add_of_subcommand(args, {"consumers", "groups", "stream"}, keys);
    default:  // SORT_RO: only the key it sorts is declared
      return add_fixed(info, args, keys);
  }
}

}  // namespace

void find_keys(const CommandInfo& info, const Command& command, std::vector<std::uint32_t>& keys) {
  keys.clear();
  if (!info.arity_fits(command.args.size())) return;
  if (info.has(flag::movable_keys)) {
    add_movable(info, command.args, keys);
  } else {
    add_fixed(info, command.args, keys);
  }
}

}  // namespace sluice::resp

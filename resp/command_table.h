// The command table: what is known of each Redis command (arity, key positions, flags), from commands.def.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "resp/command.h"

namespace sluice::resp {

// One enumerator per line of commands.def (`get`, `hset`, `restore_asking`, ...), then `count`.
enum class CommandId : std::uint16_t {
#define COMMAND(id, name, arity, flags, first_key, last_key, key_step) id,
#include "resp/commands.def"
#undef COMMAND
  count
};

// Flags as `COMMAND INFO` names them. A command with subcommands (CLIENT, XGROUP, ...) has the flags of all of them but
// HELP; it is `readonly` only when none of them writes.
namespace flag {
inline constexpr std::uint32_t none = 0;
inline constexpr std::uint32_t write = 1U << 0;
inline constexpr std::uint32_t readonly = 1U << 1;
inline constexpr std::uint32_t blocking = 1U << 2;  // may wait: BLPOP, XREAD (with BLOCK), WAIT
inline constexpr std::uint32_t pubsub = 1U << 3;
inline constexpr std::uint32_t admin = 1U << 4;
inline constexpr std::uint32_t no_auth = 1U << 5;
inline constexpr std::uint32_t movable_keys = 1U << 6;  // find_keys looks at the arguments
inline constexpr std::uint32_t connection = 1U << 7;    // category @connection: AUTH, SELECT, CLIENT, ...
inline constexpr std::uint32_t transaction = 1U << 8;   // category @transaction: MULTI, EXEC, WATCH, ...
inline constexpr std::uint32_t scripting = 1U << 9;     // category @scripting
}  // namespace flag

struct CommandInfo {
  std::string_view name;  // lower case
  CommandId id;
  int arity;  // including the name; negative: at least that many
  std::uint32_t flags;
  // As COMMAND INFO; 0 = no keys, or only movable ones; last_key < 0 counts from the end. Of SSUBSCRIBE, SUNSUBSCRIBE
  // and SPUBLISH these are channels.
  int first_key, last_key, key_step;

  bool has(std::uint32_t f) const { return (flags & f) != 0; }
  bool arity_fits(std::size_t args) const;
};

// Case-insensitive; nullptr for a name Redis 7.0 does not know (modules, newer commands, typing errors).
const CommandInfo* find_command(std::string_view name);
const CommandInfo& command_info(CommandId id);

// Replaces `keys` by the indexes into command.args of every key, movable ones included (EVAL, XREAD, SORT ... STORE).
// Channels are not keys. Empty when the arguments are malformed: Redis will refuse the command.
void find_keys(const CommandInfo& info, const Command& command, std::vector<std::uint32_t>& keys);

}  // namespace sluice::resp

// Script: a Lua script of the proxy's own, with the SHA1 that EVALSHA needs, and how a call of it is written and read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "resp/reply.h"

namespace sluice::policies {

struct RedisCommand;  // policy.h

struct Script {
  std::string_view name;  // for errors and metrics
  std::string text;
  std::string sha1;  // 40 lower-case hex digits
  // One call runs it for any number of commands, each with a data key and a side key. KEYS are all their keys; ARGV is,
  // for each, the number of its arguments and these. The reply is an array with the reply to each.
  bool batch = false;
};

// `name` must live for ever.
Script make_script(std::string_view name, std::string text);
Script make_batch_script(std::string_view name, std::string text);

// Every script, for SCRIPT LOAD when a connection is made.
const std::vector<const Script*>& all_scripts();

// Appends the one call that runs all of `commands`. They have the same script; only of a batch script there may be
// more than one. By its text a script runs, and is loaded, also where it is not known.
enum class ScriptBy : std::uint8_t { digest, text };
void append_script_call(std::string& wire, std::span<const RedisCommand* const> commands, ScriptBy by);

// The reply to each of these `commands` out of the reply to the call. An error of the whole call is that of each.
std::vector<resp::Reply> split_reply(const Script& script, resp::Reply reply, std::size_t commands);

}  // namespace sluice::policies

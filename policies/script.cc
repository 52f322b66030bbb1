// Scripts: their digests, their list and their calls, see script.h.
#include "policies/script.h"

#include <array>
#include <cassert>
#include <openssl/evp.h>
#include <utility>

#include "policies/counter_scripts.h"
#include "policies/fuse_scripts.h"
#include "policies/policy.h"
#include "policies/tables.h"
#include "resp/encode.h"

namespace sluice::policies {
namespace {

std::string sha1_hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    hex += kDigits[digest[i] >> 4U];
    hex += kDigits[digest[i] & 15U];
  }
  return hex;
}

// A command's arguments are "2", data key, side key and what the script is told about them.
constexpr std::size_t kKeys = 2;

void append_batch(std::string& wire, std::span<const RedisCommand* const> commands) {
  resp::append_bulk(wire, std::to_string(kKeys * commands.size()));
  for (const RedisCommand* command : commands) {
    resp::append_bulk(wire, command->args[1]);
    resp::append_bulk(wire, command->args[2]);
  }
  for (const RedisCommand* command : commands) {
    const auto told = std::span(command->args).subspan(1 + kKeys);
    resp::append_bulk(wire, std::to_string(told.size()));
    for (const std::string& arg : told) resp::append_bulk(wire, arg);
  }
}

}  // namespace

Script make_script(std::string_view name, std::string text) {
  Script script{name, std::move(text), {}};
  script.sha1 = sha1_hex(script.text);
  return script;
}

Script make_batch_script(std::string_view name, std::string text) {
  Script script = make_script(name, std::move(text));
  script.batch = true;
  return script;
}

void append_script_call(std::string& wire, std::span<const RedisCommand* const> commands, ScriptBy by) {
  const Script& script = *commands.front()->script;
  assert(script.batch || commands.size() == 1);
  std::size_t words = 2;
  for (const RedisCommand* command : commands) words += command->args.size();
  resp::append_array_header(wire, script.batch ? words + 1 : words);  // each "2" is a count of arguments there
  resp::append_bulk(wire, by == ScriptBy::digest ? "EVALSHA" : "EVAL");
  resp::append_bulk(wire, by == ScriptBy::digest ? script.sha1 : script.text);
  if (script.batch) return append_batch(wire, commands);
  for (const std::string& arg : commands.front()->args) resp::append_bulk(wire, arg);
}

std::vector<resp::Reply> split_reply(const Script& script, resp::Reply reply, std::size_t commands) {
  if (script.batch && !reply.is_error()) {
    if (reply.items.size() == commands) return std::move(reply.items);
    reply = {resp::Reply::Type::error, 0, "ERR sluice: script '" + std::string(script.name) + "' answered wrongly", {}};
  }
  std::vector<resp::Reply> each;
  each.reserve(commands);
  while (each.size() + 1 < commands) each.push_back(reply);
  each.push_back(std::move(reply));
  return each;
}

const std::vector<const Script*>& all_scripts() {
  static const std::vector<const Script*> scripts = {
      &fuse::arm(),           &fuse::apply(),          &fuse::abort(),        &fuse::lease(),
      &fuse::lease_checked(), &fuse::fill(),           &fuse::fill_checked(), &fuse::inval(),
      &fuse::expire(),        &tables::touch_script(), &counters::add(),      &counters::load(),
      &counters::seed(),      &counters::set(),        &counters::read(),     &counters::clean(),
  };
  return scripts;
}

}  // namespace sluice::policies

// SluiceCommand: the text side of `SLUICE ...` over RESP: what was asked, and the replies that need no I/O.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy.h"
#include "policies/prefix_table.h"
#include "resp/encode.h"

namespace sluice::proxy {

struct SluiceCommand {
  enum class Verb : std::uint8_t {
    help,
    version,
    policy,
    explain,
    status,
    sync,
    dbget,
    invalidate,
    touch,
    source,
    clients,
    pins,
    rows
  };
  Verb verb = Verb::help;
  std::string argument;  // a key, pattern, policy or table; empty only for help, version and a policy without a name
  std::vector<std::string> more{};  // touch: the other tables
  std::string after{};              // rows: the key that comes before the first; may be empty
  std::uint32_t count = 0;          // rows: at most so many
  bool operator==(const SluiceCommand&) const = default;
};

// `args[0]` is SLUICE. Nullopt: `error` is the reply, without '-', in the words Redis uses for its own containers.
std::optional<SluiceCommand> parse_sluice(std::span<const std::string_view> args, std::string& error);

// What the argument of SYNC and INVALIDATE names: a policy of this name, else a pattern if it contains *?[, else a key.
enum class Target : std::uint8_t { policy, pattern, key };
Target target_of(std::string_view argument, const std::vector<std::unique_ptr<policies::Policy>>& policies);

// Who may run it, besides being authenticated.
enum class Access : std::uint8_t {
  anyone,
  key_reader,  // whoever may GET the key it is about
  admin,       // a user in [admin] users
};
Access access_of(const SluiceCommand& command, const std::vector<std::unique_ptr<policies::Policy>>& policies);

// Whose key it is.
struct Ownership {
  policies::PrefixTable::Match::Kind kind = policies::PrefixTable::Match::Kind::none;
  const policies::Policy* policy = nullptr;  // null for none and reserved
  std::string key;                           // as asked
  std::string real_key;                      // alias: the key it stands for; else the same
};
Ownership find_owner(const policies::PrefixTable& table, const std::vector<std::unique_ptr<policies::Policy>>& policies,
                     std::string_view key);

// The commands that a policy handles in one way, by name; those it forwards are left out.
struct HandledCommands {
  policies::Handling handling;
  std::vector<std::string_view> commands;
};
std::vector<HandledCommands> handled_commands(const policies::Policy& policy);
std::string_view name(policies::Handling handling);

// Replies in RESP.
std::string sluice_help();
std::string sluice_version();
std::string sluice_policies(const std::vector<std::unique_ptr<policies::Policy>>& policies);
// The error for a name that no policy has.
std::string no_policy(std::string_view name);
// A map, or an error when there is no policy of this name.
std::string sluice_policy(const std::vector<std::unique_ptr<policies::Policy>>& policies, std::string_view name,
                          resp::Version version);
std::string sluice_explain(const Ownership& owner, resp::Version version);

}  // namespace sluice::proxy

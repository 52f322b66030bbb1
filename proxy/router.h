// Router: decides, from a command's keys, whether a policy has something to say about it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy.h"
#include "policies/prefix_table.h"
#include "proxy/guards.h"
#include "proxy/sluice_command.h"
#include "resp/command.h"
#include "resp/command_table.h"

namespace sluice::conf {
struct Config;
}

namespace sluice::proxy {

struct Route {
  enum class Kind : std::uint8_t {
    forward,  // no policy has anything to say
    read,     // forward; a reply that finds nothing goes to `policy`
    operate,  // `policy` answers
    guard,    // forward; clear the leases of Router::guarded() with it
    script,   // like guard, but what it does is not known: they can only be cleared afterwards
    reject,   // answer Router::rejection()
    flush,    // FLUSHALL, FLUSHDB: only while nothing is unflushed
  };
  Kind kind = Kind::forward;
  std::uint32_t policy = 0;
  bool owned = false;      // reject: `policy` rejects it
  bool unmanaged = false;  // guard, script: a write past a policy that writes
  bool renamed = false;    // an alias was resolved: send Router::wire() instead of what the client sent
  bool mixed = false;      // read: some of the keys are Redis' own
  bool at_once = false;    // read: nothing is forwarded, `policy` answers
  std::uint32_t keys = 1;  // read: how many are of `policy`; 0: they are of several, see Router::count_hits()
};

// The policies of one loop and the table of their prefixes. Loop thread only.
class Router {
 public:
  explicit Router(const conf::Config& config);
  ~Router();

  bool empty() const { return table_.empty(); }
  std::size_t size() const { return policies_.size(); }
  policies::Policy& policy(std::uint32_t index) { return *policies_[index]; }
  const std::vector<std::unique_ptr<policies::Policy>>& policies() const { return policies_; }

  // What to do with `command`, known as `info`. `in_multi`: Redis will queue it for EXEC.
  // What the calls below return belongs to this command and lives until the next route().
  Route route(const resp::CommandInfo& info, const resp::Command& command, bool in_multi);
  // The same for a command that Redis 7.0 does not know: any of its arguments may be a key that it writes.
  Route route_unknown(const resp::Command& command);
  // The same for a connection in another database: only what reaches over into that of the policies.
  Route route_outside(const resp::CommandInfo& info, const resp::Command& command, bool in_multi);
  // Whether no policy will have anything to say about a command, whatever follows its first argument (if that is
  // there). `outside`: for a connection in another database.
  bool is_elsewhere(const resp::CommandInfo& info, std::optional<std::string_view> first, bool outside) const;
  const std::vector<std::string>& guarded() const { return guarded_; }
  // What is to be done for these keys once a command that writes them has run.
  std::vector<Guard> guards_of(const std::vector<std::string>& keys) const;
  const std::string& rejection() const { return rejection_; }
  const std::string& wire() const { return wire_; }
  // The key, real, of the operation or read.
  const std::string& key() const { return key_; }
  // Of an operation on several keys: all of them; otherwise empty.
  const std::vector<policies::RequestKey>& keys() const { return request_keys_; }
  // The command's arguments, with the alias resolved.
  std::vector<std::string> args(const resp::Command& command) const;

  Ownership explain(std::string_view key) const { return find_owner(table_, policies_, key); }
  // The keys in Redis that exist while a policy holds changes that SQL does not have.
  std::vector<std::string> dirty_sets() const;

  // Counts a hit for each key of a policy that this MGET or EXISTS, with real keys, has read.
  void count_hits(const resp::Command& command);

  // The policy that owns `key` (then `key` becomes the real one), or nullptr.
  policies::Policy* owner(std::string& key, std::uint32_t& index) const;

 private:
  using Match = policies::PrefixTable::Match;

  // A key of the command that is an alias, and what it stands for.
  struct Rename {
    std::uint32_t at;
    std::string key;
  };

  Route route_key(const resp::CommandInfo& info, const resp::Command& command, std::uint32_t at, bool in_multi);
  Route route_owned(const resp::CommandInfo& info, std::uint32_t policy, bool in_multi);
  Route route_in_multi(const resp::CommandInfo& info, std::uint32_t policy, policies::Handling handling);
  Route operate_several(const resp::CommandInfo& info, std::size_t operations);
  Route route_several(const resp::CommandInfo& info, const resp::Command& command, bool in_multi);
  Route route_server_wide(const resp::CommandInfo& info, const resp::Command& command, bool in_multi);
  bool names_policy_db(std::string_view argument) const;
  Route reject(std::string reason);
  void rewrite(const resp::Command& command);
  bool writes(std::uint32_t policy) const;
  bool is_unmanaged(const resp::CommandInfo& info, std::uint32_t policy) const;

  const std::string db_;  // where policies act, as text
  std::vector<std::unique_ptr<policies::Policy>> policies_;
  policies::PrefixTable table_;
  std::vector<std::vector<policies::Handling>> handling_;  // [policy][command]
  bool counts_ = false;                                    // there is a counter policy
  bool guards_swaps_ = false;                              // there is a policy that rejects unmanaged writes

  std::vector<std::uint32_t> keys_;
  std::vector<std::string> guarded_;
  std::string rejection_;
  std::string wire_;
  std::string key_;
  std::vector<Rename> renames_;
  std::vector<policies::RequestKey> request_keys_;
};

}  // namespace sluice::proxy

// Router: from a command to the policies of its keys.
#include "proxy/router.h"

#include <algorithm>
#include <utility>

#include "conf/config.h"
#include "policies/policy_metrics.h"
#include "policies/registry.h"
#include "resp/ascii.h"

namespace sluice::proxy {
namespace {

using policies::Handling;
using resp::CommandId;

policies::PrefixTable make_table(const std::vector<conf::PolicyOptions>& options) {
  std::vector<policies::PrefixTable::Entry> entries;
  for (std::uint32_t i = 0; i < options.size(); ++i) {
    entries.push_back({options[i].key, i, false});
    if (options[i].alias) entries.push_back({*options[i].alias, i, true});
  }
  return policies::PrefixTable(std::move(entries));
}

bool is_script(const resp::CommandInfo& info) {
  return info.has(resp::flag::scripting) && !info.has(resp::flag::readonly);
}

}  // namespace

Router::Router(const conf::Config& config)
    : db_(std::to_string(config.upstream.db)), table_(make_table(config.policies)) {
  for (const conf::PolicyOptions& options : config.policies) {
    policies_.push_back(policies::make_policy(options));
    auto& row = handling_.emplace_back();
    for (std::uint16_t id = 0; id < static_cast<std::uint16_t>(CommandId::count); ++id) {
      row.push_back(policies_.back()->handling(resp::command_info(static_cast<CommandId>(id))));
    }
    counts_ = counts_ || options.value == conf::ValueMode::counter;
    guards_swaps_ = guards_swaps_ || options.unmanaged_writes == conf::Unmanaged::reject;
  }
}

Router::~Router() = default;

bool Router::writes(std::uint32_t policy) const {
  const conf::PolicyOptions& options = policies_[policy]->options();
  return options.write != conf::WriteMode::none || options.value == conf::ValueMode::counter;
}

Route Router::route(const resp::CommandInfo& info, const resp::Command& command, bool in_multi) {
  renames_.clear();
  guarded_.clear();
  request_keys_.clear();
  if (!info.arity_fits(command.args.size()) || info.has(resp::flag::pubsub)) return {};
  if (info.first_key == 1 && info.last_key == 1 && !info.has(resp::flag::movable_keys)) {
    if (table_.find(command.args[1]).kind == Match::Kind::none) return {};
    Route route = route_key(info, command, 1, in_multi);
    route.renamed = !renames_.empty();
    if (route.renamed) rewrite(command);
    return route;
  }
  if (info.first_key == 0 && !info.has(resp::flag::movable_keys)) return route_server_wide(info, command, in_multi);
  return route_several(info, command, in_multi);
}

Route Router::route_unknown(const resp::Command& command) {
  for (const std::string_view argument : command.args.subspan(1)) {
    const Match match = table_.find(argument);
    if (match.kind == Match::Kind::none) continue;
    if (match.kind == Match::Kind::reserved) return reject("keys that begin with __sluice: are the proxy's own");
    const conf::PolicyOptions& options = policies_[match.policy]->options();
    if (!writes(match.policy) || options.unmanaged_writes != conf::Unmanaged::reject) continue;
    return reject(resp::upper(command.name()) + " not supported on policy '" + options.name +
                  "': this version does not know the command, which may write the key "
                  "(unmanaged_writes = \"forward\" passes it on)");
  }
  return {};
}

bool Router::is_elsewhere(const resp::CommandInfo& info, std::optional<std::string_view> first, bool outside) const {
  if (info.has(resp::flag::movable_keys) || info.id == CommandId::move || info.id == CommandId::copy) return false;
  if (info.first_key == 0) {
    return info.id != CommandId::flushall && info.id != CommandId::flushdb && info.id != CommandId::swapdb;
  }
  if (outside) return true;
  return info.first_key == 1 && info.last_key == 1 && first && table_.find(*first).kind == Match::Kind::none;
}

bool Router::names_policy_db(std::string_view argument) const { return argument == db_; }

// MOVE, COPY ... DB and SWAPDB into the policies' database, and FLUSHALL, which knows none.
Route Router::route_outside(const resp::CommandInfo& info, const resp::Command& command, bool in_multi) {
  renames_.clear();
  guarded_.clear();
  request_keys_.clear();
  if (!info.arity_fits(command.args.size())) return {};
  if (info.id == CommandId::flushall || info.id == CommandId::swapdb) {
    return route_server_wide(info, command, in_multi);
  }
  const bool moves = info.id == CommandId::move && names_policy_db(command.args[2]);
  bool copies = false;
  for (std::size_t i = 3; info.id == CommandId::copy && i + 1 < command.args.size(); ++i) {
    copies = copies || (resp::upper(command.args[i]) == "DB" && names_policy_db(command.args[i + 1]));
  }
  if (!moves && !copies) return {};
  const Route route = route_key(info, command, moves ? 1 : 2, in_multi);
  return route.kind == Route::Kind::reject ? route : Route{};
}

Route Router::route_server_wide(const resp::CommandInfo& info, const resp::Command& command, bool in_multi) {
  const bool flushes = info.id == CommandId::flushall || info.id == CommandId::flushdb;
  if (flushes && counts_) {
    if (in_multi)
      return reject(resp::upper(info.name) + " inside MULTI not supported while a counter policy is configured");
    return {Route::Kind::flush};
  }
  const bool swaps = info.id == CommandId::swapdb && guards_swaps_;
  if (swaps && (names_policy_db(command.args[1]) || names_policy_db(command.args[2]))) {
    return reject("SWAPDB not supported: it would change keys that policies write (unmanaged_writes)");
  }
  return {};
}

Route Router::route_key(const resp::CommandInfo& info, const resp::Command& command, std::uint32_t at, bool in_multi) {
  const std::string_view key = command.args[at];
  const Match match = table_.find(key);
  const bool changes = info.has(resp::flag::write) || is_script(info);
  switch (match.kind) {
    case Match::Kind::none:
      return {};
    case Match::Kind::reserved:
      return changes ? reject("keys that begin with __sluice: are the proxy's own and cannot be written") : Route{};
    case Match::Kind::off_grid:
      if (!changes || !writes(match.policy)) return {};
      return reject("the key does not fit the template '" + policies_[match.policy]->options().key.text() +
                    "' of policy '" + policies_[match.policy]->options().name + "'");
    case Match::Kind::alias:
      key_ = table_.real_key(match, key);
      renames_.push_back({at, key_});
      return route_owned(info, match.policy, in_multi);
    case Match::Kind::owned:
      key_.assign(key);
      return route_owned(info, match.policy, in_multi);
  }
  return {};
}

Route Router::route_owned(const resp::CommandInfo& info, std::uint32_t policy, bool in_multi) {
  const Handling handling = handling_[policy][static_cast<std::size_t>(info.id)];
  if (is_script(info)) {
    if (writes(policy) && policies_[policy]->options().multi == conf::InMulti::reject) {
      return reject(resp::upper(info.name) + " not supported on policy '" + policies_[policy]->options().name +
                    "' (multi = \"forward\" passes scripts on, past the policy)");
    }
    guarded_.push_back(key_);
    return {Route::Kind::script, policy, false, writes(policy)};
  }
  if (in_multi) return route_in_multi(info, policy, handling);
  switch (handling) {
    case Handling::forward:
      return {};
    case Handling::read:
      return {Route::Kind::read, policy};
    case Handling::load:
      return {.kind = Route::Kind::read, .policy = policy, .at_once = true};
    case Handling::operate:
      return {Route::Kind::operate, policy};
    case Handling::guard:
      guarded_.push_back(key_);
      return {Route::Kind::guard, policy, false, is_unmanaged(info, policy)};
    case Handling::invalidate:
      guarded_.push_back(key_);
      return {Route::Kind::script, policy, false, is_unmanaged(info, policy)};
    case Handling::reject: {
      Route route = reject(policies_[policy]->rejection(info));
      route.policy = policy;
      route.owned = true;
      return route;
    }
  }
  return {};
}

// Reads inside MULTI see only Redis; writes have no way to reach SQL at the moment of EXEC.
Route Router::route_in_multi(const resp::CommandInfo& info, std::uint32_t policy, Handling handling) {
  if (handling == Handling::forward || handling == Handling::read || handling == Handling::load) return {};
  const bool reads = handling == Handling::operate && !writes(policy);  // GETEX, which Redis can do alone
  const bool rejects = policies_[policy]->options().multi == conf::InMulti::reject;
  if (handling != Handling::guard && !reads && rejects) {
    return reject(resp::upper(info.name) + " inside MULTI not supported on policy '" +
                  policies_[policy]->options().name + "' (multi = \"forward\" passes it on, past the policy)");
  }
  guarded_.push_back(key_);
  return {Route::Kind::guard, policy, false, is_unmanaged(info, policy)};
}

// DEL of a copy is no write past the policy.
bool Router::is_unmanaged(const resp::CommandInfo& info, std::uint32_t policy) const {
  return writes(policy) && info.id != CommandId::del && info.id != CommandId::unlink;
}

std::vector<Guard> Router::guards_of(const std::vector<std::string>& keys) const {
  std::vector<Guard> guards;
  for (const std::string& key : keys) {
    const Match match = table_.find(key);
    const bool owned = match.kind == Match::Kind::owned;
    const bool drop = owned && policies_[match.policy]->options().unmanaged_writes == conf::Unmanaged::invalidate;
    guards.push_back({key, drop});
  }
  return guards;
}

Route Router::route_several(const resp::CommandInfo& info, const resp::Command& command, bool in_multi) {
  resp::find_keys(info, command, keys_);
  Route all;
  std::size_t operations = 0, reads = 0;
  bool one_policy = true;
  for (const std::uint32_t at : keys_) {
    Route route = route_key(info, command, at, in_multi);
    if (route.kind == Route::Kind::reject) return route;
    if (route.kind == Route::Kind::operate) {
      ++operations;
      request_keys_.push_back({policies_[route.policy].get(), key_});
    }
    if (route.kind == Route::Kind::read && reads++ != 0) one_policy = one_policy && route.policy == all.policy;
    route.unmanaged |= all.unmanaged;
    route.at_once |= all.at_once;
    if (route.kind != Route::Kind::forward && all.kind != Route::Kind::script) all = route;
  }
  if (operations != 0) return operate_several(info, operations);
  all.mixed = reads != keys_.size();
  all.keys = one_policy ? static_cast<std::uint32_t>(reads) : 0;
  all.renamed = !renames_.empty();
  if (all.renamed) rewrite(command);
  return all;
}

// All keys are written in one transaction of one database, or none.
Route Router::operate_several(const resp::CommandInfo& info, std::size_t operations) {
  const conf::PolicyOptions& first = request_keys_[0].policy->options();
  if (operations != keys_.size()) {
    return reject(resp::upper(info.name) +
                  " of keys with and without a policy that writes them not supported on policy '" + first.name +
                  "': send the others apart");
  }
  for (const policies::RequestKey& key : request_keys_) {
    if (operations > 1 && key.policy->rows() == nullptr) {
      return reject(resp::upper(info.name) + " with several keys not supported on policy '" +
                    key.policy->options().name + "'");
    }
    if (key.policy->options().backend == first.backend) continue;
    return reject(resp::upper(info.name) + " of keys in several databases not supported on policy '" + first.name +
                  "'");
  }
  key_ = request_keys_[0].key;
  const auto policy =
      static_cast<std::uint32_t>(std::find_if(policies_.begin(), policies_.end(),
                                              [&](const auto& p) { return p.get() == request_keys_[0].policy; }) -
                                 policies_.begin());
  if (operations == 1) request_keys_.clear();
  return {Route::Kind::operate, policy};
}

Route Router::reject(std::string reason) {
  rejection_ = reason.starts_with("ERR ") ? std::move(reason) : "ERR sluice: " + reason;
  return {Route::Kind::reject};
}

std::vector<std::string> Router::args(const resp::Command& command) const {
  std::vector<std::string> args(command.args.begin(), command.args.end());
  for (const Rename& rename : renames_) args[rename.at] = rename.key;
  return args;
}

void Router::rewrite(const resp::Command& command) {
  wire_.clear();
  const std::vector<std::string> renamed = args(command);
  resp::append_command(wire_, renamed);
}

policies::Policy* Router::owner(std::string& key, std::uint32_t& index) const {
  const Match match = table_.find(key);
  if (match.kind != Match::Kind::owned && match.kind != Match::Kind::alias) return nullptr;
  if (match.kind == Match::Kind::alias) key = table_.real_key(match, key);
  index = match.policy;
  return policies_[match.policy].get();
}

void Router::count_hits(const resp::Command& command) {
  const resp::CommandInfo* const info = resp::find_command(command.name());
  if (info == nullptr) return;
  resp::find_keys(*info, command, keys_);
  for (const std::uint32_t at : keys_) {
    const Match match = table_.find(command.args[at]);
    if (match.kind != Match::Kind::owned) continue;
    const Handling handling = handling_[match.policy][static_cast<std::size_t>(info->id)];
    if (handling == Handling::read || handling == Handling::load) policies_[match.policy]->metrics().hits.add();
  }
}

std::vector<std::string> Router::dirty_sets() const {
  std::vector<std::string> keys;
  for (const auto& policy : policies_) {
    if (std::string key = policy->dirty_key(); !key.empty()) keys.push_back(std::move(key));
  }
  return keys;
}

}  // namespace sluice::proxy

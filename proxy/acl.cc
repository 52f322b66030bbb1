// Acl: reading ACL GETUSER.
#include "proxy/acl.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace sluice::proxy {
namespace {

constexpr std::chrono::milliseconds kRefresh{1000};
constexpr std::size_t kUsersMax = 1000;  // beyond it, users are asked about each time

using resp::Reply;

const Reply* value_of(const Reply& map, std::string_view name) {
  for (std::size_t i = 0; i + 1 < map.items.size(); i += 2) {
    if (map.items[i].text == name) return &map.items[i + 1];
  }
  return nullptr;
}

bool lists(const Reply* list, std::string_view word) {
  return list != nullptr &&
         std::any_of(list->items.begin(), list->items.end(), [&](const Reply& item) { return item.text == word; });
}

// Redis 7 gives the rules as one string, Redis 6 as flags and lists.
bool has_every_right(const Reply& user) {
  const Reply* flags = value_of(user, "flags");
  const Reply* commands = value_of(user, "commands");
  const Reply* keys = value_of(user, "keys");
  const bool all_commands = commands != nullptr && commands->text == "+@all";
  const bool all_keys = (keys != nullptr && keys->text == "~*") || lists(flags, "allkeys") || lists(keys, "*");
  return lists(flags, "on") && all_commands && all_keys;
}

}  // namespace

void Acl::start() { refresh(); }

std::string Acl::must_ask(const std::string& user) {
  std::string name = user.empty() ? "default" : user;
  if (!unrestricted_.contains(name) && unrestricted_.size() < kUsersMax) unrestricted_.emplace(name, false);
  return stale_ ? name : last_seen(name);
}

std::string Acl::last_seen(const std::string& user) const {
  const std::string name = user.empty() ? "default" : user;
  const auto known = unrestricted_.find(name);
  return known != unrestricted_.end() && known->second ? std::string() : name;
}

void Acl::refresh() {
  unrestricted_.try_emplace("default", false);
  std::vector<std::string> users;
  std::vector<policies::RedisCommand> commands;
  for (const auto& [name, unrestricted] : unrestricted_) {
    users.push_back(name);
    commands.push_back({nullptr, {"ACL", "GETUSER", name}});
  }
  redis_.call(std::move(commands), [this, users = std::move(users)](const PolicyRedis::Outcome& outcome) {
    timer_ = loop_.after(kRefresh, [this] { refresh(); });
    if (outcome.lost) return forget();
    stale_ = false;
    for (std::size_t i = 0; i < users.size(); ++i) learn(users[i], outcome.replies[i]);
  });
}

// A server without ACLs (before Redis 6) does not know the command: who is authenticated may do everything.
void Acl::learn(const std::string& user, const Reply& reply) {
  const bool no_acls = reply.is_error() && reply.text.starts_with("ERR unknown command");
  if (reply.is_nil()) {
    unrestricted_.erase(user);
  } else {
    unrestricted_[user] = no_acls || has_every_right(reply);
  }
}

}  // namespace sluice::proxy

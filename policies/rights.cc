// Rights, see rights.h.
#include "policies/rights.h"

#include <utility>

namespace sluice::policies {

RedisCommand ask_rights(const std::string& user, std::vector<std::string> command) {
  RedisCommand ask{nullptr, {"ACL", "DRYRUN", user}};
  for (std::string& arg : command) ask.args.push_back(std::move(arg));
  return ask;
}

std::optional<std::string> denial(const resp::Reply& reply) {
  using Type = resp::Reply::Type;
  if (reply.type == Type::status && reply.text == "OK") return {};
  if (reply.type != Type::bulk) return "ERR sluice: the rights of this user cannot be checked: " + reply.text;
  // "This user has no permissions to run the 'set' command" is Redis' NOPERM text but for its first letter; about a key
  // DRYRUN says which one, which NOPERM does not.
  if (reply.text.starts_with("This user has no permissions to run ")) return "NOPERM t" + reply.text.substr(1);
  return "NOPERM this user has no permissions to access one of the keys used as arguments";
}

}  // namespace sluice::policies

// Side keys: where the guards of a key live in Redis, see policy.h.
#include "policies/policy.h"

namespace sluice::policies {
namespace {

// What Redis Cluster hashes of `key`: its hash tag, or all of it.
std::string_view hash_tag(std::string_view key) {
  const auto open = key.find('{');
  if (open == std::string_view::npos) return key;
  const auto close = key.find('}', open + 1);
  if (close == std::string_view::npos || close == open + 1) return key;
  return key.substr(open + 1, close - open - 1);
}

}  // namespace

std::string side_key(std::string_view key) {
  const std::string_view tag = hash_tag(key);
  if (tag.empty() || tag.find('}') != std::string_view::npos) return {};
  std::string side = "__sluice:{";
  side.append(tag).append("}:").append(key);
  return side;
}

void append_guard_command(std::string& wire, std::string_view key) {
  const std::string side = side_key(key);
  if (side.empty()) {  // such a key never gets a lease: a harmless command keeps the count of replies
    const std::string_view nothing[] = {"EXISTS", key};
    resp::append_command(wire, nothing);
    return;
  }
  const std::string_view guard[] = {"HDEL", side, "L", "N", "V"};
  resp::append_command(wire, guard);
}

}  // namespace sluice::policies

// CopyChange: the arguments of the scripts that end an arm.
#include "policies/copy_change.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "policies/fuse_scripts.h"
#include "policies/shared.h"

namespace sluice::policies {
namespace {

using Kind = CopyChange::Kind;

std::string ttl_of(const conf::PolicyOptions& options, const CopyChange& change, std::int64_t now,
                   std::uint64_t random) {
  std::int64_t ttl = jittered(options.ttl, options.ttl_jitter, random).count();
  if (change.until) {
    const std::int64_t left = std::max<std::int64_t>(*change.until - now, 1);
    ttl = ttl == 0 ? left : std::min(ttl, left);
  }
  return std::to_string(ttl);
}

void append_set(std::vector<std::string>& args, CopyChange& change, const std::string& ttl) {
  const std::string own = change.expiry ? std::to_string(change.expiry->milliseconds) : ttl;
  const std::string option = change.keep_ttl                            ? "KEEP"
                             : change.expiry && change.expiry->absolute ? "PXAT"
                             : own == "0"                               ? ""
                                                                        : "PX";
  args.insert(args.end(), {"SET", option, own, "1"});
  args.push_back(std::move(change.copy.text));
}

void append_fields(std::vector<std::string>& args, CopyChange& change) {
  std::move(change.copy.fields.begin(), change.copy.fields.end(), std::back_inserter(args));
}

}  // namespace

RedisCommand end_arm(const ArmedKey& armed, CopyChange& change, std::int64_t now, std::uint64_t random) {
  const std::string ttl = ttl_of(armed.options, change, now, random);
  std::vector<std::string> args{"2", armed.key, armed.side, armed.token, armed.table};
  switch (change.kind) {
    case Kind::keep:
      args.push_back(ttl);
      return {&fuse::abort(), std::move(args)};
    case Kind::drop:
      args.emplace_back("DEL");
      break;
    case Kind::set:
      append_set(args, change, ttl);
      break;
    case Kind::merge:
      args.insert(args.end(), {"HSET", "", ttl, change.whole ? "1" : "0"});
      append_fields(args, change);
      break;
    case Kind::remove:
      args.insert(args.end(), {"HDEL", "", ttl, "0"});
      append_fields(args, change);
      break;
    case Kind::expire:
      args.insert(args.end(), {"EXPIRE", "", change.expiry ? std::to_string(change.expiry->milliseconds) : "-1", "0"});
      break;
  }
  return {&fuse::apply(), std::move(args)};
}

}  // namespace sluice::policies

// Guards: operations around forwarded commands that touch keys of policies.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy.h"

namespace sluice::proxy {

// A key that a command wrote past its policy.
struct Guard {
  std::string key;
  bool drop = false;  // what is cached there now must go (unmanaged_writes = "invalidate")
};

// Clears leases and negative markers, then answers `reply`: for writes that have run already.
std::unique_ptr<policies::Operation> make_guard_clearing(std::vector<Guard> guards, std::string reply);

// Runs FLUSHALL or FLUSHDB (`args`) unless some policy holds increments or writes that SQL does not have yet
// (contract.md, "Rules on one connection", 6). `dirty_sets` are the keys that exist while there are any.
std::unique_ptr<policies::Operation> make_flush_guard(std::vector<std::string> dirty_sets,
                                                      std::vector<std::string> args, std::string acl_user);

// Answers `reply` when Redis says that this user may GET `key`, else NOPERM.
std::unique_ptr<policies::Operation> make_right_to_read(std::string acl_user, std::string key, std::string reply);

// A list of keys as one string, and back.
std::string encode_keys(const std::vector<std::string>& keys);
std::vector<std::string> decode_keys(std::string_view text);

}  // namespace sluice::proxy

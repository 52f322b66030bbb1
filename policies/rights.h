// Rights: asks Redis whether a client's user may run a command, in Redis' own words when not.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "policies/policy.h"

namespace sluice::policies {

// ACL DRYRUN user command...; values in `command` may be replaced by short ones, keys may not.
RedisCommand ask_rights(const std::string& user, std::vector<std::string> command);

// From the reply to ask_rights(): the error for a user who may not, or who cannot be checked.
std::optional<std::string> denial(const resp::Reply& reply);

}  // namespace sluice::policies

// Load: answers a read from Redis, if it may be answered from there, or from SQL, and stores what it found.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "policies/policy.h"
#include "policies/shared.h"

namespace sluice::policies {

// For Verb::miss of a command that is_filled(). The keys of MGET and EXISTS, all of this policy, are those in `args`:
// what is not in Redis is read by one query. `shared` must outlive it.
std::unique_ptr<Operation> make_load(Shared& shared, Request request);
// Renews the copies of these keys that are about to expire (`refresh_ahead`), for nobody to wait for.
std::unique_ptr<Operation> make_refresh(Shared& shared, std::vector<std::string> keys);

}  // namespace sluice::policies

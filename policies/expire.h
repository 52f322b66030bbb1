// Expire: EXPIRE and its kin, PERSIST and GETEX of a policy without a ttl_column: they are about the cached copy.
#pragma once

#include <memory>

#include "policies/policy.h"
#include "policies/shared.h"

namespace sluice::policies {

// An absent copy is loaded first. `shared` must outlive it.
std::unique_ptr<Operation> make_expire(Shared& shared, Request request);

}  // namespace sluice::policies

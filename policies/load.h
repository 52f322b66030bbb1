// Load: answers a read that Redis could not answer, from SQL, and stores what it found.
#pragma once

#include <memory>

#include "policies/policy.h"
#include "policies/shared.h"

namespace sluice::policies {

// For Verb::miss of GET (json, raw) and HGETALL (hash). `shared` must outlive it.
std::unique_ptr<Operation> make_load(Shared& shared, Request request);

}  // namespace sluice::policies

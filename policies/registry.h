// The registry of policies: makes the Policy of a configuration entry, from the list in policies.def.
#pragma once

#include <memory>

#include "policies/policy.h"

namespace sluice::policies {

// `options` must outlive the policy.
std::unique_ptr<Policy> make_policy(const conf::PolicyOptions& options);

}  // namespace sluice::policies

// Write: carries out a command that writes rows: ARM -> SQL -> APPLY.
#pragma once

#include <memory>

#include "policies/policy.h"
#include "policies/shared.h"

namespace sluice::policies {

// How long an arm outlives the write it announces: beyond its write_timeout.
inline constexpr Milliseconds kArmMargin{2000};

// For a command of edits.def. `shared` is that of the policy that owns the first key and must outlive it; of a command
// with several keys all policies write rows of one database.
std::unique_ptr<Operation> make_write(Shared& shared, Request request);

// Drops the copies of keys that were written while Redis was away, and raises the version of their table.
std::unique_ptr<Operation> make_drop_forgotten(Shared& shared, std::vector<std::string> keys);

}  // namespace sluice::policies

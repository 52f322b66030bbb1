// Listing: SLUICE ROWS, the rows of a policy's table, a page at a time.
#pragma once

#include <memory>

#include "policies/policy.h"
#include "policies/shared.h"

namespace sluice::policies {

inline constexpr std::uint32_t kListedMax = 1000;

// An array of [Redis key, value], in the order of the key columns in the database, at most request.count of them;
// those after the row of request.key, which need not exist, or from the first. Rows that no Redis key of the policy
// names are left out. Fewer, but not none, when they have as many bytes as the result of a query may. Redis is not
// looked at.
std::unique_ptr<Operation> make_listing(Shared& shared, Request request);

}  // namespace sluice::policies

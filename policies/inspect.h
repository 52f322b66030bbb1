// Inspection: the SLUICE commands that look at one key (STATUS, SOURCE, DBGET) or forget cached copies (INVALIDATE).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "policies/policy.h"
#include "policies/shared.h"

namespace sluice::policies {

// STATUS, SOURCE and DBGET of a key of json, hash or raw.
std::unique_ptr<Operation> make_inspection(Shared& shared, Request request);

// INVALIDATE of a key or, when it has one of *?[, of the policy's keys that match. Works for counters too: what was
// counted and not flushed stays.
std::unique_ptr<Operation> make_invalidation(Shared& shared, Request request);

bool is_pattern(std::string_view key);

// The reply to STATUS; what is unknown is nil.
struct Status {
  std::optional<Copy> redis, sql;
  std::int64_t pending = 0;
  bool synced = false;
  std::optional<std::int64_t> dirty_age_ms;
  std::optional<std::string> last_flush;  // UTC
  std::optional<std::string> last_error;
};
Finish finish_status(const conf::PolicyOptions& options, const Status& status, resp::Version version);

// Appends a value as DBGET shows it: a bulk string, a map, or nil.
void append_copy(std::string& out, const std::optional<Copy>& copy, conf::ValueMode mode, resp::Version version);

}  // namespace sluice::policies

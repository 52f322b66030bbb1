// Outbox: drops the cached copies of rows that others have changed in the database, as its triggers have recorded them.
//
// Read what is there -> drop the copies of these keys in Redis -> delete exactly what was read. No transaction stays
// open over the call to Redis, and none is needed: an entry that is read is of a committed change, so what is dropped
// is loaded again with it; an entry that appears later, with whatever number, was not read and is not deleted. Others
// may do the same at the same time, and stopping anywhere leaves the entries for the next: dropping a copy twice does
// no harm.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "policies/outbox_check.h"
#include "policies/policy.h"
#include "policies/shared.h"

namespace sluice::policies {

// When the outbox is looked at: often while there is something in it or was a moment ago, else now and then; after
// errors ever less often.
class OutboxPace {
 public:
  static constexpr Milliseconds kBusy{100}, kIdle{1000}, kFailingMax{5000};

  bool is_due(TimePoint now) const { return now >= next_; }
  void found(TimePoint now, bool all);  // all: there is nothing left for now
  void found_nothing(const Turn& turn);
  void failed(const Turn& turn);
  // Nothing that is waiting was recorded before; and for how long it may be waiting. 0: nobody has looked yet.
  void waiting_since(TimePoint since) { since_ = since; }
  std::uint64_t waiting_ms(TimePoint now) const;
  // For an entry that somebody seems to have deleted before us: whether it was there again after it had seemed so.
  bool has_stayed(std::int64_t entry);

 private:
  TimePoint next_;
  Milliseconds pause_{kBusy};
  Milliseconds failing_{0};
  std::optional<TimePoint> since_;
  std::int64_t undeleted_ = 0;  // numbers begin with 1
};

class Outbox {
 public:
  explicit Outbox(Shared& shared) : shared_(shared) {}
  std::unique_ptr<Operation> due(TimePoint now);  // null: it is not time to look
  // What the last look or check met that somebody should know; empty: nothing.
  const std::string& trouble() const { return trouble_; }

 private:
  Shared& shared_;
  OutboxPace pace_;
  OutboxChecks checks_;
  std::string trouble_;
};

}  // namespace sluice::policies

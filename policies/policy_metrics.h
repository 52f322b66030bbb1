// PolicyMetrics: what one policy counts on one loop; written by that loop, read by any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace sluice::policies {

// A count with one writing thread: no locked instruction on the way.
class Count {
 public:
  void add(std::uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void set(std::uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct PolicyMetrics {
  Count hits, misses, negative_hits, fills, fills_rejected, waits, load_errors;
  Count stale;  // copies and memories of absent rows that a table's version has outdated
  Count writes_ok, writes_refused, writes_unavailable, writes_unknown, overlaps;
  Count increments, flushes, flushed_rows, flush_errors;
  Count dirty, oldest_dirty_ms;  // gauges, as of the last look
  Count outbox_rows, outbox_strangers, outbox_errors;
  Count outbox_oldest_ms, outbox_gaps;  // gauges, as of the last look or check
  Count rejected_commands, unmanaged_writes;
  Count refreshes, refreshes_stored, refreshes_refused, refreshes_dropped;
  Count breaker_open, breaker_openings, breaker_refusals;  // the first: 0 or 1
};

}  // namespace sluice::policies

// Breaker: spares a database that does not answer: after some failures nothing is asked of it for a while.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>

#include "policies/policy.h"
#include "policies/policy_metrics.h"

namespace sluice::policies {

// The circuit breaker of one policy's reads, on one loop. It opens when the database has not answered kInRow queries
// one after the other, or half of the last kWindow. Then a query is let through when a pause is over: an answer closes
// it, none makes the next pause twice as long. Loop thread only.
class Breaker {
 public:
  static constexpr unsigned kInRow = 5;
  static constexpr std::size_t kWindow = 20;
  static constexpr Milliseconds kPauseMin{1000};
  static constexpr Milliseconds kPauseMax{30000};
  static constexpr double kPauseJitter = 0.2;

  // Goes with one query, and comes back in report(). What was asked before the breaker opened or closed tells nothing.
  class Pass {
    friend class Breaker;
    std::uint64_t era_ = 0;
    bool hurried_ = false;
  };

  // `query_time`: what a query usually has. `metrics` must outlive it.
  Breaker(PolicyMetrics& metrics, Milliseconds query_time) : metrics_(metrics), query_time_(query_time) {}

  // Whether a query would get no pass now.
  bool refuses(TimePoint now) const { return open_ && (probing_ || now < next_probe_); }
  // The error of a query that was not asked.
  sql::Error refuse();
  // Before each query. Without a pass nothing may be asked; with one, report() must follow. `time`: what the query has;
  // that it had too little of it tells nothing, so that it is not the one that is let through when a pause is over.
  std::optional<Pass> ask(TimePoint now, Milliseconds time);
  // `error`: what came of it. One that the database answers with is as good as rows.
  void report(Pass pass, const sql::Error& error, const Turn& turn);

 private:
  void count(bool silent, const Turn& turn);
  void open(const Turn& turn);
  void close();

  PolicyMetrics& metrics_;
  const Milliseconds query_time_;
  std::uint64_t era_ = 0;  // how often it has opened or closed
  bool open_ = false;
  bool probing_ = false;
  TimePoint next_probe_;
  Milliseconds pause_{0};        // before jitter
  std::bitset<kWindow> silent_;  // the last queries, the latest first
  std::size_t counted_ = 0;      // how many these are
};

}  // namespace sluice::policies

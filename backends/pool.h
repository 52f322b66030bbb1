// Pool: the worker threads of one backend, a lane for reads and a lane for writes, with group commit.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "backends/sql.h"

namespace sluice::sql {

struct Job {
  Op op;
  Deadline deadline;
  std::function<void(Result)> done;  // called once, on a worker thread (or in submit(), when the lane is full)
};

// Any thread may submit. Every job's `done` is called exactly once, also when the pool stops.
class Pool {
 public:
  // Upper bounds of a latency histogram, in seconds; the last bucket is +Inf.
  static constexpr std::array<double, 12> kLatencyBounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                                         0.01,   0.025,   0.1,    0.5,   1,      5};
  struct Stats {  // per operation name, since the start
    std::string op;
    std::uint64_t count = 0, unavailable = 0, refused = 0, unknown = 0, schema = 0;
    double seconds = 0;
    std::array<std::uint64_t, kLatencyBounds.size() + 1> buckets{};
  };
  struct Limits {
    std::size_t lane_jobs_max = 100000;  // per lane; beyond it a job fails at once as Failure::unavailable
    std::size_t group_ops_max = 64;      // writes that share a transaction
  };

  Pool(std::string name, std::unique_ptr<Backend> backend, Limits limits);
  Pool(std::string name, std::unique_ptr<Backend> backend) : Pool(std::move(name), std::move(backend), Limits{}) {}
  ~Pool();  // stop()

  void submit(Job job);

  // Refuses new jobs, waits for those that run, fails those that wait as Failure::unavailable.
  void stop();

  const std::string& name() const;
  std::size_t queued() const;                // jobs waiting or running
  std::uint64_t transactions() const;        // groups and single writes committed
  std::vector<Stats> stats() const;
  bool healthy() const;                      // the last operation that reached a verdict reached the database
  std::string last_error() const;
};

}  // namespace sluice::sql

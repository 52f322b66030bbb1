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
#include <utility>
#include <variant>
#include <vector>

#include "backends/sql.h"

namespace sluice::sql {

// Whoever is told of results and sleeps meanwhile.
class Waker {
 public:
  Waker() = default;
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;
  virtual ~Waker() = default;
  virtual void wake() = 0;  // any thread; must not throw
};

struct Job {
  Op op;
  Deadline deadline;
  // Called once, without any lock held: on a worker thread, or within submit() or stop() when the job is turned away.
  // Must not throw and must not call stop().
  std::function<void(Result)> done;
  // Woken after it; once for all the jobs that end together, so that they can go on together. May be null.
  std::shared_ptr<Waker> waker = nullptr;
};

// Any thread may submit. Every job's `done` is called exactly once, also when the pool stops.
// Reads of a row that wait while a query runs share the next one, and row writes a transaction. One that would wait in
// it for somebody else's lock is taken out and runs alone, on a third lane, so that nobody waits with it.
class Pool {
 public:
  // Upper bounds of a latency histogram, in seconds; the last bucket is +Inf.
  static constexpr std::array<double, 12> kLatencyBounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                                         0.01,   0.025,   0.1,    0.5,   1,      5};
  struct Stats {  // per operation name, since the start; times run from submit() to the result
    std::string op;
    std::uint64_t count = 0, unavailable = 0, refused = 0, unknown = 0, schema = 0;
    double seconds = 0;
    std::array<std::uint64_t, kLatencyBounds.size() + 1> buckets{};  // each job in one bucket, not cumulative
  };
  struct Limits {
    std::size_t lane_jobs_max = 100000;  // waiting, per lane; beyond it a job fails at once as Failure::unavailable
    std::size_t group_ops_max = 256;     // writes that share a transaction
    std::size_t group_reads_max = 64;    // reads of one row each that share a query; at most kReadRowsMax
  };

  Pool(std::string name, std::unique_ptr<Backend> backend, Limits limits);
  Pool(std::string name, std::unique_ptr<Backend> backend) : Pool(std::move(name), std::move(backend), Limits{}) {}
  ~Pool();  // stop()
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void submit(Job job);
  // The same for all at once, so that they can share a transaction.
  void submit(std::vector<Job> jobs);

  // Refuses new jobs, waits for those that run, fails those that wait as Failure::unavailable. May be called again.
  void stop();

  const std::string& name() const { return name_; }
  std::size_t queued() const;          // jobs waiting or running
  std::uint64_t transactions() const;  // groups and single writes committed
  std::vector<Stats> stats() const;    // one entry for every operation name, used or not
  bool healthy() const;                // the last operation that ran reached the database; false before the first
  std::string last_error() const;      // of the last operation that failed other than by refusing a row

 private:
  struct Waiting {
    Job job;
    std::chrono::steady_clock::time_point since;
    bool alone = false;  // it may wait for a lock
  };
  struct Lane {
    mutable std::mutex mutex;
    std::condition_variable wake;
    std::deque<Waiting> waiting;  // guarded by mutex, as are the next two
    std::size_t running = 0;
    bool stopping = false;
    std::size_t group_max = 1;  // constant
    std::vector<std::thread> threads;
  };
  using Batch = std::vector<Waiting>;

  void start(Lane& lane, int threads, std::size_t group_max, const char* prefix);
  void work(Lane& lane);
  bool take(Lane& lane, Batch& batch);
  static void end(Lane& lane, std::size_t jobs);
  void execute(Lane& lane, Session& session, Batch& batch);
  std::vector<Waiting*> run(Lane& lane, Session& session, const std::vector<Waiting*>& jobs);
  const char* enter(Lane& lane, Waiting& waiting);
  void run_alone(Waiting& waiting);
  void turn_away(Waiting& waiting, const char* sqlstate, const char* why);
  void finish(Waiting& waiting, Result result);
  void tell(Waiting& waiting, Result result);
  void record(const Waiting& waiting, const Result& result);
  void note_health(const Result& result);
  static std::deque<Waiting> close(Lane& lane);

  const std::string name_;
  const std::unique_ptr<Backend> backend_;
  const Limits limits_;
  std::atomic<std::uint64_t> transactions_{0};

  mutable std::mutex record_mutex_;
  std::array<Stats, std::variant_size_v<Op>> stats_;  // guarded by record_mutex_, as are the next two
  bool healthy_ = false;
  std::string last_error_;

  std::mutex stop_mutex_;  // one stop() at a time joins the threads
  Lane reads_, writes_, lone_writes_;
};

}  // namespace sluice::sql

// Trial: one schedule carried out in an environment, and what came of it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/history/checker.h"
#include "tests/history/environment.h"
#include "tests/history/leases.h"
#include "tests/history/schedule.h"

namespace sluice::history {

// What happened in many trials, for people and to see that the faults were met.
struct Tally {
  std::size_t trials = 0, writes = 0, refused = 0, unknown = 0, reads = 0, copies = 0;
  std::map<std::string, std::size_t> refusals;  // the first word of the reply -> how often
  std::map<std::string, std::size_t> faults;    // "step: action" -> how often
  void add(const Tally& other);
};
std::string print(const Tally& tally);

class Trial {
 public:
  using Clock = std::chrono::steady_clock;

  Trial(Environment& environment, Schedule schedule);

  // Runs the clients, brings about the faults and mends them again.
  void run();
  // Once the allowance is over: not before this time.
  Clock::time_point due() const { return ended_ + kAllowance; }
  // Reads every key once more through every proxy, and checks everything.
  std::vector<Violation> finish();

  const Tally& tally() const { return tally_; }
  std::string report() const { return report_; }  // of what finish() found

 private:
  struct Key {
    std::string name;
    int id = 0;
    const Shape* shape = nullptr;
    std::string writes;  // the key by which its row, or one of its rows, is written through a proxy
    History history;
  };
  // Redis was not there for a proxy (-1: for all).
  struct Loss {
    int proxy;
    Time from, until;
  };
  struct Task {
    Clock::time_point when;
    std::function<void()> work;
  };
  class Client;

  void prepare();
  void watch();
  void operate();  // on this thread: what takes time, until the clients are done and all is mended
  FaultLink::Verdict meet(int proxy, bool sql, const FaultLink::Message& message);
  milliseconds noise();
  bool is_about(const Key& key, const FaultLink::Message& message) const;
  bool is_met(const Fault& fault, int proxy, bool sql, const FaultLink::Message& message) const;
  int key_of(const FaultLink::Message& message) const;
  FaultLink::Verdict bring_about_fault(int proxy, bool sql, const FaultLink::Message& message);
  FaultLink::Verdict bring_about(const Fault& fault, int proxy, bool sql, std::size_t key);
  void drop(const live::Args& keys);  // in Redis, past the proxies
  void lock(std::size_t key, milliseconds length);
  void later(milliseconds delay, std::function<void()> work);
  std::size_t lose_redis(int proxy);  // until found_redis()
  void found_redis(std::size_t loss);
  void mark_losses();
  void insert(const Key& key);
  Cells row(const Key& key) const;
  std::vector<Violation> check_quiet(const Key& key) const;
  std::vector<Violation> check_key(std::size_t index);
  Cells copy(const Key& key) const;
  void look_through(int proxy, Key& key);
  void count(const Operation& operation);
  void count_refusal(const std::string& reply);
  Time now() const { return std::chrono::duration_cast<Time>(Clock::now() - began_); }

  Environment& environment_;
  const Schedule schedule_;
  std::vector<Key> keys_;
  Clock::time_point began_ = Clock::now(), ended_;
  std::vector<std::pair<std::size_t, Operation>> stuck_;  // no reply came: key and operation
  Leases leases_;
  Tally tally_;
  std::string report_;

  std::mutex mutex_;  // guards what follows, and in tally_ faults and refusals
  std::condition_variable changed_;
  std::vector<Task> tasks_;
  std::vector<Loss> losses_;
  std::mt19937 noise_;
  std::atomic<bool> struck_{false};               // a fault other than a delay has happened
  std::set<std::size_t> not_outdated_;            // keys: their rows were written and their copies may still be used
  std::vector<int> times_met_;                    // per fault; -1: it has happened
  std::deque<std::unique_ptr<Session>> lockers_;  // each holds a lock
  std::size_t clients_running_ = 0;
};

}  // namespace sluice::history

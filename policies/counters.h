// Counters: what the operations of one counter policy have in common, and what they are.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "policies/policy.h"
#include "policies/shared.h"

namespace sluice::policies {

// Who waits for a counter that an operation of this loop is loading.
class LoadGate {
 public:
  bool open(const std::string& key);                    // false: somebody loads it already
  bool wait(const std::string& key, OperationId self);  // true: park; false: nobody loads it
  void close(const std::string& key, Turn& turn);       // wakes everybody: they try again

 private:
  std::unordered_map<std::string, std::vector<OperationId>> waiters_;
};

// What is known of unflushed counters, and when flushing goes on after errors.
class FlushLedger {
 public:
  explicit FlushLedger(const conf::PolicyOptions& options) : options_(options) {}

  void touched() { touched_ = true; }   // a counter was changed here
  void pass_begins();                   // from here on the changes belong to the next pass
  void pass_ends(std::uint64_t dirty);  // it went through; `dirty` are left or new
  std::uint64_t unflushed() const { return (touched_ || passing_) && dirty_ == 0 ? 1 : dirty_; }
  // Flushing again would help: not everything that is left was refused.
  bool worth_flushing() const { return !looked_ || touched_ || (dirty_ > 0 && dirty_ > refused_.size()); }

  // The whole flush failed: the pause before the next doubles.
  void failed(const std::string& error);
  Milliseconds pause() const { return pause_; }
  // SQL refused this counter: it is left alone for a while, the others go on.
  void refused(const std::string& key, const std::string& error, TimePoint now);
  void flushed(const std::string& key) { refused_.erase(key); }
  bool is_resting(const std::string& key, TimePoint now) const;
  // Why the last flush of this counter failed; empty when it did not.
  std::string error_of(const std::string& key) const;

 private:
  static constexpr std::size_t kRefusedMax = 10000;
  struct Refusal {
    TimePoint until;
    Milliseconds pause;
    std::string error;
  };
  Milliseconds doubled(Milliseconds pause) const;

  const conf::PolicyOptions& options_;
  bool looked_ = false;
  bool touched_ = false;
  bool passing_ = false;  // a pass is under way that has something to flush
  std::uint64_t dirty_ = 0;
  Milliseconds pause_{0};
  std::string error_;
  std::unordered_map<std::string, Refusal> refused_;
};

struct Counters {
  explicit Counters(const conf::PolicyOptions& options);

  Shared shared;
  LoadGate gate;
  FlushLedger ledger;
  const std::string dirty_key;  // __sluice:dirty:{policy}
  const sql::CounterTable table;
};

// INCR, INCRBY, DECR, DECRBY, and a GET that found nothing.
std::unique_ptr<Operation> make_count(Counters& counters, Request request);
std::unique_ptr<Operation> make_counter_set(Counters& counters, Request request);
std::unique_ptr<Operation> make_counter_status(Counters& counters, Request request);

// Flushes every dirty counter once, the oldest first; `forced` those too that SQL refused a moment ago.
// `running`, when given, is cleared at the end.
std::unique_ptr<Operation> make_flush(Counters& counters, bool forced, bool* running);
// SYNC of a key, a pattern or (empty) the policy: replies with the number of rows.
std::unique_ptr<Operation> make_sync(Counters& counters, Request request);

}  // namespace sluice::policies

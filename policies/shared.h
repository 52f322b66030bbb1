// Shared: what the operations of one policy have in common, on one loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "conf/config.h"
#include "policies/breaker.h"
#include "policies/mapping.h"
#include "policies/policy.h"
#include "policies/policy_metrics.h"
#include "policies/refreshes.h"

namespace sluice::policies {

// The mapping of the policy, made from the table's description when it is first needed.
class Schema {
 public:
  explicit Schema(const conf::PolicyOptions& options) : options_(options) {}

  // What to wait for before the mapping can be used; nullopt: it is there. Pass the event that follows to take().
  std::optional<Step> ask(Turn& turn);
  // Why there is still no mapping, if so.
  std::optional<sql::Error> take(const Event& event, Turn& turn);

  // Null until it is known. Operations keep the one they began with.
  const std::shared_ptr<const Mapping>& mapping() const { return mapping_; }
  // After Failure::schema: the table is looked at again.
  void forget() { mapping_.reset(); }

 private:
  void learn(const sql::Result& result);

  const conf::PolicyOptions& options_;
  std::shared_ptr<const Mapping> mapping_;
  sql::Error error_;
  bool asking_ = false;
  std::vector<OperationId> waiters_;
};

// A limited number of loads at a time; the rest wait in order.
class LoadSlots {
 public:
  enum class Got : std::uint8_t { now, later, never };
  static constexpr std::size_t kWaitersMax = 10000;

  explicit LoadSlots(int slots) : free_(slots < 1 ? 1 : slots) {}
  Got acquire(OperationId self);  // later: park; a slot is held when woken
  void release(Turn& turn);

 private:
  int free_;
  std::deque<OperationId> waiters_;
};

// One operation per key at a time, first come first served.
class KeyQueue {
 public:
  bool enter(const std::string& key, OperationId self);  // false: park; it is our turn when woken
  void leave(const std::string& key, Turn& turn);

 private:
  std::unordered_map<std::string, std::deque<OperationId>> waiters_;  // an entry for every key that is taken
};

// The answer to a read, before it is put into RESP.
struct Answer {
  enum class Kind : std::uint8_t { value, absent, failed };
  Kind kind = Kind::absent;
  Copy copy;          // value
  std::string error;  // failed
  bool close = false;
  std::string part;  // value: what of it the copy is, as the lease says it; empty: all
  bool hit = false;  // it was in Redis
};

// Single flight: of those who miss the same key at once one leads, the others wait for its answer.
//
// An answer may be shared only with those who asked before the call that decided it was sent (a value from before a
// write that was acknowledged before one asked must not be the answer): seal() is called when it is. Who joins a sealed
// flight is late and starts over, under a leader chosen among the late.
//
// One operation may wait for several flights at once, which it is woken for once; who leads waits for none.
class Flights {
 public:
  struct Landed {
    std::string key;
    std::shared_ptr<const Answer> answer;  // null: the operation leads the next flight
  };

  bool join(const std::string& key, OperationId self);  // true: leads; false: park
  bool is_led(const std::string& key) const { return flights_.contains(key); }
  void seal(const std::string& key);
  void reopen(const std::string& key);  // the call decided nothing: nobody is late any more
  // SQL is asked now: who has joined so far may have its answer whatever Redis says of it.
  void mark(const std::string& key);
  // Who gets the answer; everybody else starts over.
  enum class Share : std::uint8_t { early, marked, nobody };
  void land(const std::string& key, const std::shared_ptr<const Answer>& answer, Share share, Turn& turn);
  // For one that was woken: what became of those of its flights that have landed.
  std::vector<Landed> take(OperationId self);
  // One that has not landed is waited for no more.
  void leave(const std::string& key, OperationId self);

 private:
  struct Flight {
    std::vector<OperationId> early, late;
    std::size_t marked = 0;  // of the early
    bool sealed = false;
  };
  void tell(OperationId who, const std::string& key, const std::shared_ptr<const Answer>& answer, Turn& turn);

  std::unordered_map<std::string, Flight> flights_;
  std::unordered_map<std::uint64_t, std::vector<Landed>> landed_;  // of those that are being woken
};

// Keys whose copy must be dropped as soon as Redis is back. Bounded: beyond that the fuse does it.
class Forgotten {
 public:
  static constexpr std::size_t kKeysMax = 10000;
  void add(std::string key);
  std::vector<std::string> take(std::size_t most);
  bool empty() const { return keys_.empty(); }

 private:
  std::deque<std::string> keys_;
};

struct Shared {
  explicit Shared(const conf::PolicyOptions& o);

  const conf::PolicyOptions& options;
  const std::string table;       // version_name() of what is written
  const std::string depends_on;  // version_names() of what is read; empty: on none
  PolicyMetrics metrics;
  Breaker breaker;
  Schema schema;
  LoadSlots slots;
  KeyQueue queue;
  Flights flights;
  Forgotten forgotten;
  Refreshes refreshes;
};

// 24 hex digits, different for every operation.
std::string make_token(const Turn& turn);
// `ttl` less a random part of up to `jitter`; 0 stays 0.
Milliseconds jittered(Milliseconds ttl, double jitter, std::uint64_t random);

}  // namespace sluice::policies

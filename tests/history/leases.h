// Leases: who may read a row from SQL to store it, as the links show it; and whether two ever might at once.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "tests/history/fault_link.h"

namespace sluice::history {

// Any thread.
class Leases {
 public:
  // Of a key that nobody arms: only what passes the links ends its lease, or its time.
  void watch_key(const std::string& key) { keys_.insert(key); }
  void pass(const FaultLink::Message& message);  // on a link to Redis
  // Redis forgets all of them from here on, until it is said to have ended.
  void begin_loss();
  void end_loss();
  // Whether two had the lease of this key at once.
  bool were_doubled(const std::string& key) const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Lease {
    std::string token;  // empty: nobody, or it may have ended
    Clock::time_point asked, ended;
    int enders = 0;  // commands on their way that may end one
  };
  void pass_lease(const FaultLink::Message& message);
  void may_end(const std::string& key, bool is_reply);
  void give(const std::string& key, const std::string& token);

  std::set<std::string> keys_;  // constant while messages pass
  mutable std::mutex mutex_;    // guards what follows
  Clock::time_point all_ended_;
  std::map<std::string, Lease> leases_;             // of keys
  std::map<std::string, Clock::time_point> asked_;  // of tokens
  std::set<std::string> doubled_;
};

}  // namespace sluice::history

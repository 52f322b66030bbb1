// Refreshes: the keys whose copies are to be renewed before they expire.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <unordered_set>
#include <vector>

namespace sluice::policies {

// In the order in which they were asked for, each once. Bounded: what does not fit is asked for again by the next read
// of it. Loop thread only.
class Refreshes {
 public:
  static constexpr std::size_t kKeysMax = 10000;
  static constexpr std::size_t kAtOnce = 8;

  // False: there is no room.
  bool add(const std::string& key);
  // The next keys for one refresh, which begins with it and is over with end(); none if there are none, or kAtOnce are
  // under way.
  std::vector<std::string> begin(std::size_t most);
  void end() { --running_; }

 private:
  std::deque<std::string> keys_;
  std::unordered_set<std::string> known_;  // the same
  std::size_t running_ = 0;
};

}  // namespace sluice::policies

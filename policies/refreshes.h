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

  // False: there is no room.
  bool add(const std::string& key);
  std::vector<std::string> take(std::size_t most);
  bool empty() const { return keys_.empty(); }

 private:
  std::deque<std::string> keys_;
  std::unordered_set<std::string> known_;  // the same
};

}  // namespace sluice::policies

// Refreshes, see refreshes.h.
#include "policies/refreshes.h"

#include <utility>

namespace sluice::policies {

bool Refreshes::add(const std::string& key) {
  if (known_.contains(key)) return true;
  if (keys_.size() >= kKeysMax) return false;
  known_.insert(key);
  keys_.push_back(key);
  return true;
}

std::vector<std::string> Refreshes::begin(std::size_t most) {
  std::vector<std::string> taken;
  if (running_ >= kAtOnce) return taken;
  while (!keys_.empty() && taken.size() < most) {
    known_.erase(keys_.front());
    taken.push_back(std::move(keys_.front()));
    keys_.pop_front();
  }
  running_ += taken.empty() ? 0 : 1;
  return taken;
}

}  // namespace sluice::policies

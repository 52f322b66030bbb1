// Order: the transitive closure, kept while relations are added.
#include "tests/history/order.h"

namespace sluice::history {

bool Order::add(std::size_t a, std::size_t b) {
  if (a == b || precedes(b, a)) return false;
  if (precedes(a, b)) return true;
  const std::vector<std::uint64_t> later = after_[b];
  for (std::size_t i = 0; i < after_.size(); ++i) {
    if (i != a && !precedes(i, a)) continue;
    for (std::size_t word = 0; word < words_; ++word) after_[i][word] |= later[word];
    after_[i][b / 64] |= std::uint64_t{1} << (b % 64);
  }
  return true;
}

}  // namespace sluice::history

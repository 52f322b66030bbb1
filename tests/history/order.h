// Order: a strict partial order of numbered operations that is built up by deduction, and notices contradictions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice::history {

class Order {
 public:
  explicit Order(std::size_t size) : words_((size + 63) / 64), after_(size, std::vector<std::uint64_t>(words_)) {}

  bool precedes(std::size_t a, std::size_t b) const { return (after_[a][b / 64] >> (b % 64) & 1) != 0; }
  // `a` comes before `b`, and with it everything that follows from that. False: it cannot.
  bool add(std::size_t a, std::size_t b);

 private:
  std::size_t words_;
  std::vector<std::vector<std::uint64_t>> after_;  // for each operation, a bit for each that comes later
};

}  // namespace sluice::history

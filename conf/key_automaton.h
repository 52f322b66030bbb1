// KeyAutomaton: the set of keys a template matches, as a state machine that can be compared with another one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "conf/key_template.h"

namespace sluice::conf {

// Nondeterministic: a byte may stay in a placeholder or begin what follows it. Exact, the range of integers included.
// For load time: comparing two automata visits every reachable pair of states.
class KeyAutomaton {
 public:
  // `parts` must outlive the automaton and begin with a literal.
  explicit KeyAutomaton(const std::vector<KeyTemplate::Part>& parts) : parts_(&parts) {}

  // Some key can be read in two ways: different values, the same key.
  bool ambiguous() const;
  // Some key is in both sets.
  bool intersects(const KeyAutomaton& other) const;

 private:
  // The part that took the last byte, and how far into it we are (bytes taken; for integers see int_progress()).
  struct State {
    std::uint32_t part = 0;
    std::uint32_t progress = 0;
    bool operator==(const State&) const = default;
    bool operator<(const State& other) const {
      return part != other.part ? part < other.part : progress < other.progress;
    }
  };

  // At most two: one more byte in the same part, or the first of the next part.
  struct States {
    std::array<State, 2> items;
    std::size_t size = 0;
    const State* begin() const { return items.data(); }
    const State* end() const { return items.data() + size; }
  };

  States next(State state, unsigned char byte) const;
  bool complete(State state) const;
  bool accepts(State state) const { return state.part + 1 == parts_->size() && complete(state); }
  void append_alphabet(std::string& bytes) const;
  static std::string alphabet(const KeyAutomaton& a, const KeyAutomaton& b);

  const std::vector<KeyTemplate::Part>* parts_;
};

}  // namespace sluice::conf

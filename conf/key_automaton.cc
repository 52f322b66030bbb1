// KeyAutomaton: the set of keys a template matches, as a state machine that can be compared with another one.
#include "conf/key_automaton.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

namespace sluice::conf {
namespace {

using Part = KeyTemplate::Part;
using Type = KeyTemplate::Type;

constexpr std::uint32_t kUuidBytes = 36;
constexpr std::uint32_t kIntDigits = 19;
constexpr std::string_view kMaxPositive = "9223372036854775807";
constexpr std::string_view kMaxNegative = "9223372036854775808";

bool is_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }

// Where we are inside an integer: its sign, how many digits, and how these compare with the limit's first digits.
struct IntProgress {
  bool negative = false;
  std::uint32_t digits = 0;
  std::uint32_t order = 0;  // 0: equal so far, 1: below, 2: above
  bool zero = false;        // the whole number is 0: no more digits

  static IntProgress unpack(std::uint32_t bits) {
    return {(bits & 1) != 0, bits >> 4, (bits >> 1) & 3, (bits & 8) != 0};
  }
  std::uint32_t pack() const { return (negative ? 1U : 0U) | order << 1 | (zero ? 8U : 0U) | digits << 4; }
  bool complete() const { return digits > 0 && (digits < kIntDigits || order != 2); }
};

std::optional<std::uint32_t> take_int(std::uint32_t progress, bool first, unsigned char byte) {
  IntProgress at = IntProgress::unpack(progress);
  if (first && byte == '-') {
    at.negative = true;
    return at.pack();
  }
  if (!is_digit(byte) || at.zero || at.digits == kIntDigits) return std::nullopt;
  if (at.digits == 0 && byte == '0') {
    if (at.negative) return std::nullopt;
    at.zero = true;
  }
  const auto limit = static_cast<unsigned char>((at.negative ? kMaxNegative : kMaxPositive)[at.digits]);
  if (at.order == 0 && byte != limit) at.order = byte < limit ? 1 : 2;
  ++at.digits;
  return at.pack();
}

bool fits_uuid(std::uint32_t position, unsigned char byte) {
  if (position == 8 || position == 13 || position == 18 || position == 23) return byte == '-';
  return is_digit(byte) || (byte >= 'a' && byte <= 'f');
}

// The progress inside `part` after one more byte, if the part may take it.
std::optional<std::uint32_t> take(const Part& part, std::uint32_t progress, bool first, unsigned char byte) {
  if (!part.is_placeholder) {
    const bool fits = progress < part.text.size() && static_cast<unsigned char>(part.text[progress]) == byte;
    return fits ? std::optional(progress + 1) : std::nullopt;
  }
  switch (part.type) {
    case Type::text:
      return byte == ':' ? std::nullopt : std::optional(1U);
    case Type::rest:
      return 1U;
    case Type::integer:
      return take_int(progress, first, byte);
    case Type::uuid:
      return progress < kUuidBytes && fits_uuid(progress, byte) ? std::optional(progress + 1) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

KeyAutomaton::States KeyAutomaton::next(State state, unsigned char byte) const {
  States states;
  if (const auto progress = take((*parts_)[state.part], state.progress, false, byte)) {
    states.items[states.size++] = {state.part, *progress};
  }
  if (complete(state) && state.part + 1 < parts_->size()) {
    if (const auto progress = take((*parts_)[state.part + 1], 0, true, byte)) {
      states.items[states.size++] = {state.part + 1, *progress};
    }
  }
  return states;
}

bool KeyAutomaton::complete(State state) const {
  const Part& part = (*parts_)[state.part];
  if (!part.is_placeholder) return state.progress == part.text.size();
  switch (part.type) {
    case Type::text:
    case Type::rest:
      return state.progress > 0;
    case Type::integer:
      return IntProgress::unpack(state.progress).complete();
    case Type::uuid:
      return state.progress == kUuidBytes;
  }
  return false;
}

void KeyAutomaton::append_alphabet(std::string& bytes) const {
  for (const Part& part : *parts_) {
    if (!part.is_placeholder) bytes += part.text;
  }
}

// One representative of every class of bytes that the two automata tell apart.
std::string KeyAutomaton::alphabet(const KeyAutomaton& a, const KeyAutomaton& b) {
  std::string bytes = "0123456789abcdef-:";
  a.append_alphabet(bytes);
  b.append_alphabet(bytes);
  std::set<char> known(bytes.begin(), bytes.end());
  for (int byte = 1; byte < 256; ++byte) {
    if (known.insert(static_cast<char>(byte)).second) break;
  }
  return {known.begin(), known.end()};
}

bool KeyAutomaton::intersects(const KeyAutomaton& other) const {
  const std::string bytes = alphabet(*this, other);
  std::set<std::pair<State, State>> seen{{State{}, State{}}};
  std::vector<std::pair<State, State>> open(seen.begin(), seen.end());
  while (!open.empty()) {
    const auto [mine, theirs] = open.back();
    open.pop_back();
    if (accepts(mine) && other.accepts(theirs)) return true;
    for (const char byte : bytes) {
      for (const State a : next(mine, static_cast<unsigned char>(byte))) {
        for (const State b : other.next(theirs, static_cast<unsigned char>(byte))) {
          if (seen.emplace(a, b).second) open.emplace_back(a, b);
        }
      }
    }
  }
  return false;
}

bool KeyAutomaton::ambiguous() const {
  // Two walks over the same key; `apart` once they have differed. Different walks are different readings, because a
  // state names the part that took the byte.
  using Walks = std::tuple<State, State, bool>;
  const std::string bytes = alphabet(*this, *this);
  std::set<Walks> seen{{State{}, State{}, false}};
  std::vector<Walks> open(seen.begin(), seen.end());
  while (!open.empty()) {
    const auto [one, two, apart] = open.back();
    open.pop_back();
    if (apart && accepts(one) && accepts(two)) return true;
    for (const char byte : bytes) {
      for (const State a : next(one, static_cast<unsigned char>(byte))) {
        for (const State b : next(two, static_cast<unsigned char>(byte))) {
          const Walks walks{a, b, apart || a != b};
          if (seen.insert(walks).second) open.push_back(walks);
        }
      }
    }
  }
  return false;
}

}  // namespace sluice::conf

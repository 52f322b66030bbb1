// Checker: whether a history keeps the promises of write-through. Pure functions.
//
// The values of different writes differ, so each read tells which writes it saw. What follows about the order of the
// operations is derived step by step: a write that comes before a read, and is not the one it saw, comes before the
// one it saw; one that comes after the one it saw comes after the read. An operation that would have to come before
// itself is a contradiction: no order of the operations explains the history.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/history/history.h"

namespace sluice::history {

// The promises, numbered as users of the checker quote them.
enum class Invariant : std::uint8_t {
  answered = 0,     // every command gets a reply, or its connection is closed, once the faults are over
  durable_ack = 1,  // an acknowledged write is in SQL at the end, or a later one of the same fields is
  no_phantom = 2,   // every value seen was written by somebody, and not after it was seen
  refusal_has_no_effect = 3,
  unknown_at_most_once = 4,  // and whole
  freshness = 5,             // no read is older than a write acknowledged before it began; reads agree on one order
  monotone = 6,              // no client sees a value older than the one it saw
  convergence = 7,           // when all is quiet, a cached copy equals its row
  atomic_row = 8,            // no read shows fields together that SQL never had together
  no_stale_fill = 9,         // no copy in Redis is older than a write acknowledged before somebody looked at it
  single_flight = 10,        // nobody else reads a row from SQL to store it, while somebody does
  negative = 11,             // no read misses a row whose insertion was acknowledged before it began
  outbox = 21,               // when all is quiet, what others have changed in the database is seen
  query = 22,                // what is read of several tables they had together, after all that was acknowledged
};

struct Violation {
  Invariant invariant;
  std::string what;
  std::vector<std::size_t> operations;  // those that contradict each other, indices into the history
};

struct Rules {
  // How long a copy may be stale after a write that lost Redis.
  Time allowance{0};
  // Redis was lost to nobody: reads of different clients must agree on one order, too.
  bool strict = true;
};

// The first violation of each kind that is found; nothing when there is none.
std::vector<Violation> check(const History& history, const Rules& rules);

// Invariant 7, after the last operation and the allowance: what is read now.
std::vector<Violation> check_end(const std::string& what, const Cells& row, const Cells& seen);
// And what Redis holds. No copy is fine.
std::vector<Violation> check_copy(const std::string& key, const Cells& row, const Cells& copy);

std::string print(const Violation& violation);

}  // namespace sluice::history

// Sabotage: the real protocol less one of its rules, to see that the checker misses it.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "policies/script.h"
#include "tests/history/schedule.h"

namespace sluice::history {

// A script of the proxy's, and a part of its text that is replaced.
struct Sabotage {
  const char* name;
  Family family;  // whose keys it harms
  std::vector<const policies::Script*> scripts;
  const char* rule;
  const char* instead;

  // The command as Redis gets to see it; empty: unchanged.
  std::string rewritten(const std::vector<std::string>& command) const;
  // Whether the rule is still in the scripts.
  bool applies() const;
};

inline void PrintTo(const Sabotage& sabotage, std::ostream* out) { *out << sabotage.name; }

const std::vector<Sabotage>& sabotages();

}  // namespace sluice::history

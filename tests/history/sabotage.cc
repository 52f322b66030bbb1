// Sabotage: the list of rules.
#include "tests/history/sabotage.h"

#include <algorithm>

#include "policies/fuse_scripts.h"
#include "tests/live/harness.h"

namespace sluice::history {
namespace {

std::string broken(const Sabotage& sabotage, std::string text) {
  const std::string_view rule(sabotage.rule);
  for (auto at = text.find(rule); at != text.npos; at = text.find(rule, at + 1)) {
    text.replace(at, rule.size(), sabotage.instead);
  }
  return text;
}

}  // namespace

std::string Sabotage::rewritten(const std::vector<std::string>& command) const {
  if (command.size() < 2 || (command[0] != "EVALSHA" && command[0] != "EVAL")) return {};
  for (const policies::Script* script : scripts) {
    if (command[1] != script->sha1 && command[1] != script->text) continue;
    live::Args instead_of_it = command;
    instead_of_it[0] = "EVAL";
    instead_of_it[1] = broken(*this, script->text);
    return live::wire(instead_of_it);
  }
  return {};
}

bool Sabotage::applies() const {
  return std::all_of(scripts.begin(), scripts.end(),
                     [this](const policies::Script* script) { return script->text.find(rule) != std::string::npos; });
}

const std::vector<Sabotage>& sabotages() {
  using namespace policies::fuse;
  static const std::vector<Sabotage> list = {
      {"OverlappingWritesTaintNobody",
       {&arm(), &apply(), &abort(), &lease(), &fill(), &inval()},
       "local function taint(S, arms)",
       "local function taint(S, arms) if true then return end"},
      {"TheCopyIsNoFuse", {&arm()}, "call('PEXPIREAT', D, whole(fused))", ""},
      {"AFillNeedsNoLease", {&fill()}, "local mine =", "local mine = true or"},
      {"AnOverlappingWriteStoresItsValue",
       {&apply()},
       "if not (arm and string.match(arm, '^%d+:0:')) then",
       "if false then"},
      {"AFillDuringAWriteBurnsNot", {&fill()}, "if live > 0 or armed then ttl", "if false then ttl"},
      {"AWriteLeavesTheLease", {&arm(), &apply()}, "'L', 'N'", "'N'"},
      {"AWriteLeavesTheMemoryOfAnAbsentRow", {&arm(), &apply()}, "'L', 'N'", "'L'"},
      {"AnInvalidationLeavesTheLease", {&inval()}, "'L', 'N'", "'N'"},
      {"AnInvalidationLeavesTheMemoryOfAnAbsentRow", {&inval()}, "'L', 'N'", "'L'"},
      {"ALeaseIsNobodysOwn", {&lease()}, "if left > 0 then return", "if false then return"},
      {"FieldsAreStoredWithoutTheRest", {&apply()}, "call('TYPE', D).ok == 'hash'", "true"},
  };
  return list;
}

}  // namespace sluice::history

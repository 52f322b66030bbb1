// Sabotage: the list of rules.
#include "tests/history/sabotage.h"

#include <algorithm>

#include "policies/fuse_scripts.h"
#include "policies/tables.h"
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
  using policies::tables::touch_script;
  static const std::vector<Sabotage> list = {
      {"OverlappingWritesTaintNobody",
       Family::written,
       {&arm(), &apply(), &abort(), &lease(), &fill(), &inval()},
       "local function taint(S, arms)",
       "local function taint(S, arms) if true then return end"},
      {"TheCopyIsNoFuse", Family::written, {&arm()}, "call('PEXPIREAT', D, whole(fused))", ""},
      {"AFillNeedsNoLease", Family::written, {&fill()}, "local mine =", "local mine = true or"},
      {"AFillOfADirectlyWrittenRowNeedsNoLease", Family::direct, {&fill()}, "local mine =", "local mine = true or"},
      {"AnOverlappingWriteStoresItsValue",
       Family::written,
       {&apply()},
       "if not (arm and string.match(arm, '^%d+:0:')) then",
       "if false then"},
      {"AFillDuringAWriteBurnsNot", Family::written, {&fill()}, "if live > 0 or armed then ttl", "if false then ttl"},
      {"AWriteLeavesTheLease", Family::written, {&arm(), &apply()}, "'L', 'N'", "'N'"},
      {"AWriteLeavesTheMemoryOfAnAbsentRow", Family::written, {&arm(), &apply()}, "'L', 'N'", "'L'"},
      {"AnInvalidationLeavesTheLease", Family::direct, {&inval()}, "'L', 'N'", "'N'"},
      {"AnInvalidationLeavesTheMemoryOfAnAbsentRow", Family::direct, {&inval()}, "'L', 'N'", "'L'"},
      {"ALeaseIsNobodysOwn", Family::direct, {&lease()}, "if left > 0 then return", "if false then return"},
      {"TheLeaseOfAQueryIsNobodysOwn",
       Family::joined,
       {&lease_checked()},
       "if left > 0 then return",
       "if false then return"},
      {"FieldsAreStoredWithoutTheRest", Family::written, {&apply()}, "call('TYPE', D).ok == 'hash'", "true"},
      {"AResultOfOtherVersionsIsAnswered",
       Family::joined,
       {&lease_checked()},
       "if not same(V, version) then",
       "if false then"},
      {"AResultIsStoredThoughATableHasChanged",
       Family::joined,
       {&fill_checked()},
       "not same(seen.text, ARGV[8])",
       "false"},
      {"AWriteLeavesTheVersion", Family::joined, {&apply()}, "bump(table_key(name), string.sub(arms[1], 3))", ""},
      {"TheOutboxDropsNoCopy", Family::recorded, {&inval()}, "local dropped = call('DEL', D)", "local dropped = 0"},
      {"ATouchLeavesTheVersion", Family::joined, {&touch_script()}, "bump(key, ARGV[1])", ""},
  };
  return list;
}

}  // namespace sluice::history

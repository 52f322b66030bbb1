// Leases: from when a command is on its way until it is answered it may end a lease at any moment; a lease counts from
// when it was asked for, before Redis knew of it.
#include "tests/history/leases.h"

#include <string_view>

#include "tests/history/client.h"
#include "tests/history/environment.h"
#include "tests/history/steps.h"

namespace sluice::history {
namespace {

// Of what depends on tables the versions follow, in an array.
bool is_lease(const std::string& verdict) {
  constexpr std::string_view kLease = "$5\r\nLEASE\r\n";
  return verdict.starts_with(kLease) || (verdict.starts_with('*') && verdict.find(kLease) == verdict.find('$'));
}

}  // namespace

void Leases::pass(const FaultLink::Message& message) {
  const live::Args& command = message.command;
  if (command.empty() || is_read(command)) return;
  const std::lock_guard lock(mutex_);
  if (runs(command, scripts_at(Point::lease))) return pass_lease(message);
  const bool any = command[0] == "EXEC";  // what was queued is done now, for whichever key
  for (const std::string& key : any ? live::Args(keys_.begin(), keys_.end()) : command) {
    if (keys_.contains(key)) may_end(key, message.is_reply);
  }
}

void Leases::may_end(const std::string& key, bool is_reply) {
  Lease& lease = leases_[key];
  lease.token.clear();
  lease.ended = Clock::now();
  lease.enders += is_reply ? -1 : 1;
}

void Leases::pass_lease(const FaultLink::Message& message) {
  const live::Args& command = message.command;
  const auto verdicts = message.is_reply ? live::replies(message.bytes.substr(message.bytes.find("\r\n") + 2))
                                         : std::vector<std::string>{};
  const std::size_t keys = std::stoul(command.at(2));
  std::size_t at = 3 + keys;  // of the number of a key's arguments, of which the first is the token
  for (std::size_t i = 0; i < keys; i += 2, at += 1 + std::stoul(command.at(at))) {
    const std::string& token = command.at(at + 1);
    if (!message.is_reply) {
      asked_[token] = Clock::now();
    } else if (verdicts.size() > i / 2 && is_lease(verdicts[i / 2])) {
      give(command.at(3 + i), token);
    }
  }
}

void Leases::give(const std::string& key, const std::string& token) {
  if (!keys_.contains(key)) return;
  Lease& lease = leases_[key];
  const Clock::time_point asked = asked_[token];
  if (lease.enders > 0 || asked <= lease.ended || asked <= all_ended_) return;  // it may be over
  const bool held = !lease.token.empty() && lease.token != token;
  if (held && Clock::now() < lease.asked + kLease) doubled_.insert(key);
  lease.token = token;
  lease.asked = asked;
}

void Leases::begin_loss() {
  const std::lock_guard lock(mutex_);
  all_ended_ = Clock::time_point::max();
}

void Leases::end_loss() {
  const std::lock_guard lock(mutex_);
  all_ended_ = Clock::now();
  for (auto& [key, lease] : leases_) lease.token.clear();
}

bool Leases::were_doubled(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  return doubled_.contains(key);
}

}  // namespace sluice::history

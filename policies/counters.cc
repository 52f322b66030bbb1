// Counters, see counters.h.
#include "policies/counters.h"

#include <algorithm>
#include <utility>

namespace sluice::policies {

bool LoadGate::open(const std::string& key) { return waiters_.try_emplace(key).second; }

bool LoadGate::wait(const std::string& key, OperationId self) {
  const auto at = waiters_.find(key);
  if (at == waiters_.end()) return false;
  at->second.push_back(self);
  return true;
}

void LoadGate::close(const std::string& key, Turn& turn) {
  const auto closed = waiters_.extract(key);
  turn.woken.insert(turn.woken.end(), closed.mapped().begin(), closed.mapped().end());
}

void FlushLedger::pass_begins() {
  passing_ = touched_ || dirty_ != 0;
  touched_ = false;
}

void FlushLedger::pass_ends(std::uint64_t dirty) {
  passing_ = false;
  looked_ = true;
  dirty_ = dirty;
  if (dirty == 0) refused_.clear();
  pause_ = Milliseconds(0);
  error_.clear();
}

Milliseconds FlushLedger::doubled(Milliseconds pause) const {
  return std::clamp(pause * 2, options_.retry_initial_delay, options_.retry_max_delay);
}

void FlushLedger::failed(const std::string& error) {
  passing_ = false;
  touched_ = true;
  pause_ = doubled(pause_);
  error_ = error;
}

void FlushLedger::refused(const std::string& key, const std::string& error, TimePoint now) {
  if (refused_.size() >= kRefusedMax && !refused_.contains(key)) return;
  Refusal& refusal = refused_[key];
  refusal.pause = doubled(refusal.pause);
  refusal.until = now + refusal.pause;
  refusal.error = error;
}

bool FlushLedger::is_resting(const std::string& key, TimePoint now) const {
  const auto found = refused_.find(key);
  return found != refused_.end() && now < found->second.until;
}

std::string FlushLedger::error_of(const std::string& key) const {
  const auto found = refused_.find(key);
  return found == refused_.end() ? error_ : found->second.error;
}

Counters::Counters(const conf::PolicyOptions& options)
    : shared(options),
      ledger(options),
      dirty_key("__sluice:dirty:{" + options.name + "}"),
      table{options.table, options.key.placeholders(), options.column} {}

}  // namespace sluice::policies

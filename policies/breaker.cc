// Breaker, see breaker.h.
#include "policies/breaker.h"

#include <algorithm>

#include "policies/shared.h"

namespace sluice::policies {

sql::Error Breaker::refuse() {
  metrics_.breaker_refusals.add();
  return {sql::Failure::unavailable, "", "the database has not answered, and is left alone for a while"};
}

std::optional<Breaker::Pass> Breaker::ask(TimePoint now, Milliseconds time) {
  const bool hurried = 2 * time < query_time_;
  if (refuses(now) || (open_ && hurried)) return {};
  probing_ = open_;
  Pass pass;
  pass.era_ = era_;
  pass.hurried_ = hurried;
  return pass;
}

void Breaker::report(Pass pass, const sql::Error& error, const Turn& turn) {
  if (pass.era_ != era_) return;
  const bool silent = error.failure == sql::Failure::unavailable;
  if (!open_) {
    if (!silent || !pass.hurried_) count(silent, turn);
  } else if (silent) {
    open(turn);
  } else {
    close();
  }
}

void Breaker::count(bool silent, const Turn& turn) {
  silent_ <<= 1U;
  silent_[0] = silent;
  counted_ = std::min(counted_ + 1, kWindow);
  constexpr std::bitset<kWindow> kRow((1U << kInRow) - 1);
  const bool in_row = (silent_ & kRow) == kRow;
  const bool half = counted_ == kWindow && 2 * silent_.count() >= kWindow;
  if (!silent || (!in_row && !half)) return;
  metrics_.breaker_openings.add();
  metrics_.breaker_open.set(1);
  open(turn);
}

void Breaker::open(const Turn& turn) {
  pause_ = std::clamp(2 * pause_, kPauseMin, kPauseMax);
  next_probe_ = turn.now + jittered(pause_, kPauseJitter, turn.random);
  open_ = true;
  probing_ = false;
  ++era_;
}

void Breaker::close() {
  metrics_.breaker_open.set(0);
  open_ = probing_ = false;
  pause_ = Milliseconds(0);
  silent_.reset();
  counted_ = 0;
  ++era_;
}

}  // namespace sluice::policies

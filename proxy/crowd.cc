// Crowd: counting clients, and the scheduling policy.
#include "proxy/crowd.h"

#include <bit>
#include <sched.h>

namespace sluice::proxy {
namespace {

constexpr std::chrono::milliseconds kWindow{10};
// Fewer clients than these cannot make batches; at a lower rate nobody is short of time.
constexpr int kClients = 8;
constexpr int kReadsPerMillisecond = 5;

}  // namespace

bool Crowd::served(std::uint32_t client, TimePoint now) {
  bool changed = false;
  const auto elapsed = now - since_;
  if (elapsed >= kWindow) {
    const bool busy = std::chrono::milliseconds(reads_) >= elapsed * kReadsPerMillisecond;
    changed = present_ != (busy && std::popcount(clients_) >= kClients);
    present_ ^= changed;
    since_ = now;
    clients_ = 0;
    reads_ = 0;
  }
  clients_ |= std::uint64_t{1} << (client % 64);
  ++reads_;
  return changed;
}

void yield_to_clients(bool on) {
  const int from = on ? SCHED_OTHER : SCHED_BATCH;
  const int to = on ? SCHED_BATCH : SCHED_OTHER;
  const sched_param none{};
  if (sched_getscheduler(0) == from) sched_setscheduler(0, to, &none);
}

}  // namespace sluice::proxy

// Crowd: notices that a thread serves many clients at a high rate, and gives them the time to speak.
#pragma once

#include <chrono>
#include <cstdint>

namespace sluice::proxy {

// A proxy that shares an upstream connection has two stable states under load. In the good one it finds many clients
// readable each time it wakes, and their requests share a write and a read. In the bad one it preempts the clients at
// each request they send, as does Redis at each request it gets: everything is done for one request at a time, for
// twice the CPU. What decides is who may preempt whom, and that is for the scheduler to know.
class Crowd {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // A client was read from. True when present() has changed by it.
  bool served(std::uint32_t client, TimePoint now);
  // As judged by the last few milliseconds before the last call.
  bool present() const { return present_; }

 private:
  TimePoint since_{};
  std::uint64_t clients_ = 0;  // a bit for each 64th of them
  std::uint32_t reads_ = 0;
  bool present_ = false;
};

// While on, waking this thread does not preempt whoever runs on its processor; an idle processor takes it at once as
// ever. Leaves a thread alone that runs under a scheduling policy of the operator's choice.
void yield_to_clients(bool on);

}  // namespace sluice::proxy

// EventLoop: one libuv loop with what its users share: the flush at the end of a turn, timers, and a read buffer.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include <uv.h>

namespace sluice::proxy {

// Something that collects output during a turn and writes it once, before the loop sleeps.
class Flushable {
 public:
  virtual void flush_turn() = 0;

 protected:
  ~Flushable() = default;

 private:
  friend class EventLoop;
  std::size_t dirty_at_ = 0;  // 1 + position in the dirty list; 0: not in it
};

// One thread only: the one that calls run().
class EventLoop {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Task = std::function<void()>;

  // A timer that has been set; {} is none.
  using TimerId = std::pair<TimePoint, std::uint64_t>;

  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  uv_loop_t* uv() { return &loop_; }
  // The time this turn began.
  TimePoint now() const;

  void run() { uv_run(&loop_, UV_RUN_DEFAULT); }
  // Ends run() at the end of this turn.
  void stop() { uv_stop(&loop_); }

  // Has `user` flushed before the loop sleeps. Once per turn, however often it is called.
  void flush_later(Flushable& user);
  void forget(Flushable& user);

  TimerId after(std::chrono::milliseconds delay, Task task);
  void cancel(TimerId& timer);

  // Where sockets read to; the content is valid only inside one read callback.
  std::span<char> scratch() { return scratch_; }

 private:
  void flush_all();
  void fire_timers();
  void arm();

  uv_loop_t loop_;
  uv_prepare_t prepare_;
  uv_timer_t timer_;
  std::vector<Flushable*> dirty_;
  std::map<TimerId, Task> timers_;
  std::uint64_t timers_set_ = 0;
  std::vector<char> scratch_;
};

}  // namespace sluice::proxy

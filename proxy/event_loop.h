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

#include "proxy/crowd.h"

namespace sluice::proxy {

// Something that collects output during a turn and writes it once, before the loop sleeps.
class Flushable {
 public:
  // Those that are flushed first give Redis something to do while the others are flushed.
  enum class Order : std::uint8_t { first, usual };

  explicit Flushable(Order order = Order::usual) : order_(order) {}
  Flushable(const Flushable&) = delete;
  Flushable& operator=(const Flushable&) = delete;

  virtual void flush_turn() = 0;

 protected:
  ~Flushable() = default;

 private:
  friend class FlushList;
  friend class EventLoop;
  const Order order_;
  Flushable* before_ = nullptr;
  Flushable* after_ = nullptr;
  class FlushList* list_ = nullptr;  // the one it is in
};

// Flushables in the order in which they came, each at most once.
class FlushList {
 public:
  void push(Flushable& user);
  Flushable* pop();  // nullptr when it is empty
  void remove(Flushable& user);

 private:
  Flushable* front_ = nullptr;
  Flushable* back_ = nullptr;
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

  // A client was read from. `client` tells clients apart.
  void served(std::uint32_t client);

  // Where sockets read to; the content is valid only inside one read callback.
  std::span<char> scratch() { return scratch_; }

 private:
  Flushable* next_dirty();
  void flush_all();
  void fire_timers();
  void arm();

  uv_loop_t loop_;
  uv_prepare_t prepare_;
  const int alarm_;  // a timerfd: readable when the first timer is due
  uv_poll_t alarm_poll_;
  FlushList first_, usual_;
  Crowd crowd_;
  std::map<TimerId, Task> timers_;
  std::uint64_t timers_set_ = 0;
  std::vector<char> scratch_;
};

}  // namespace sluice::proxy

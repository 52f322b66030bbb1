// EventLoop: timers and the flush before sleeping.
#include "proxy/event_loop.h"

#include <algorithm>

namespace sluice::proxy {
namespace {

// A 64 KiB value and its header in one read, with room for the replies around it.
constexpr std::size_t kScratchBytes = 256UL << 10;

}  // namespace

EventLoop::EventLoop() : scratch_(kScratchBytes) {
  uv_loop_init(&loop_);
  uv_prepare_init(&loop_, &prepare_);
  prepare_.data = this;
  uv_prepare_start(&prepare_, [](uv_prepare_t* handle) { static_cast<EventLoop*>(handle->data)->flush_all(); });
  uv_timer_init(&loop_, &timer_);
  timer_.data = this;
}

EventLoop::~EventLoop() {
  uv_close(reinterpret_cast<uv_handle_t*>(&prepare_), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer_), nullptr);
  while (uv_loop_close(&loop_) == UV_EBUSY) uv_run(&loop_, UV_RUN_DEFAULT);  // the close callbacks
}

EventLoop::TimePoint EventLoop::now() const { return TimePoint(std::chrono::milliseconds(uv_now(&loop_))); }

void EventLoop::flush_later(Flushable& user) {
  if (user.dirty_at_ != 0) return;
  dirty_.push_back(&user);
  user.dirty_at_ = dirty_.size();
}

void EventLoop::forget(Flushable& user) {
  if (user.dirty_at_ == 0) return;
  dirty_[user.dirty_at_ - 1] = nullptr;
  user.dirty_at_ = 0;
}

// A flush may make others dirty (a closed client frees its upstream): the list grows while we walk it.
void EventLoop::flush_all() {
  for (std::size_t i = 0; i < dirty_.size(); ++i) {
    Flushable* user = dirty_[i];
    if (user == nullptr) continue;
    user->dirty_at_ = 0;
    dirty_[i] = nullptr;
    user->flush_turn();
  }
  dirty_.clear();
}

EventLoop::TimerId EventLoop::after(std::chrono::milliseconds delay, Task task) {
  const TimerId id{now() + delay, ++timers_set_};
  timers_.emplace(id, std::move(task));
  if (timers_.begin()->first == id) arm();
  return id;
}

void EventLoop::cancel(TimerId& timer) {
  timers_.erase(timer);
  timer = {};
}

void EventLoop::arm() {
  if (timers_.empty()) return;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(timers_.begin()->first.first - now());
  uv_timer_start(
      &timer_, [](uv_timer_t* handle) { static_cast<EventLoop*>(handle->data)->fire_timers(); },
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, left.count())), 0);
}

// Those set meanwhile wait for the next turn: a task that sets itself again must not keep the sockets waiting.
void EventLoop::fire_timers() {
  const std::uint64_t last = timers_set_;
  while (!timers_.empty() && timers_.begin()->first.first <= now() && timers_.begin()->first.second <= last) {
    Task task = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    task();
  }
  arm();
}

}  // namespace sluice::proxy

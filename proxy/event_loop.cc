// EventLoop: timers and the flush before sleeping.
#include "proxy/event_loop.h"

#include <cerrno>
#include <sys/timerfd.h>
#include <system_error>
#include <unistd.h>

namespace sluice::proxy {
namespace {

// A 64 KiB value and its header in one read, with room for the replies around it.
constexpr std::size_t kScratchBytes = 256UL << 10;

}  // namespace

// --- FlushList ---------------------------------------------------------------------------------------------------

void FlushList::push(Flushable& user) {
  user.list_ = this;
  user.before_ = back_;
  user.after_ = nullptr;
  (back_ == nullptr ? front_ : back_->after_) = &user;
  back_ = &user;
}

Flushable* FlushList::pop() {
  Flushable* user = front_;
  if (user != nullptr) remove(*user);
  return user;
}

void FlushList::remove(Flushable& user) {
  (user.before_ == nullptr ? front_ : user.before_->after_) = user.after_;
  (user.after_ == nullptr ? back_ : user.after_->before_) = user.before_;
  user.list_ = nullptr;
}

// --- EventLoop ---------------------------------------------------------------------------------------------------

// The timers have a descriptor, and the loop no timer of its own: a timeout given to epoll_wait would be set and taken
// back in the kernel every time the loop sleeps.
EventLoop::EventLoop() : alarm_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)), scratch_(kScratchBytes) {
  if (alarm_ < 0) throw std::system_error(errno, std::generic_category(), "timerfd_create");
  uv_loop_init(&loop_);
  uv_prepare_init(&loop_, &prepare_);
  prepare_.data = this;
  uv_prepare_start(&prepare_, [](uv_prepare_t* handle) { static_cast<EventLoop*>(handle->data)->flush_all(); });
  uv_poll_init(&loop_, &alarm_poll_, alarm_);
  alarm_poll_.data = this;
  uv_poll_start(&alarm_poll_, UV_READABLE,
                [](uv_poll_t* handle, int, int) { static_cast<EventLoop*>(handle->data)->fire_timers(); });
}

EventLoop::~EventLoop() {
  uv_close(reinterpret_cast<uv_handle_t*>(&prepare_), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&alarm_poll_), nullptr);
  while (uv_loop_close(&loop_) == UV_EBUSY) uv_run(&loop_, UV_RUN_DEFAULT);  // the close callbacks
  close(alarm_);
}

EventLoop::TimePoint EventLoop::now() const { return TimePoint(std::chrono::milliseconds(uv_now(&loop_))); }

void EventLoop::flush_later(Flushable& user) {
  if (user.list_ != nullptr) return;
  (user.order_ == Flushable::Order::first ? first_ : usual_).push(user);
}

void EventLoop::forget(Flushable& user) {
  if (user.list_ != nullptr) user.list_->remove(user);
}

Flushable* EventLoop::next_dirty() {
  Flushable* user = first_.pop();
  return user != nullptr ? user : usual_.pop();
}

// A flush may make others dirty (a closed client frees its upstream): the lists grow while we empty them.
void EventLoop::flush_all() {
  while (Flushable* user = next_dirty()) user->flush_turn();
}

void EventLoop::served(std::uint32_t client) {
  if (crowd_.served(client, now())) yield_to_clients(crowd_.present());
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

// Setting the alarm also takes back that it went off. The loop's time may lag behind the kernel's by a millisecond, and
// a task must not see a time before its own.
void EventLoop::arm() {
  itimerspec when{};
  if (!timers_.empty()) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(timers_.begin()->first.first - now());
    const auto wait = left.count() <= 0 ? std::chrono::nanoseconds(1) : left + std::chrono::milliseconds(1);
    when.it_value.tv_sec = static_cast<time_t>(wait / std::chrono::seconds(1));
    when.it_value.tv_nsec = static_cast<long>((wait % std::chrono::seconds(1)).count());
  }
  timerfd_settime(alarm_, 0, &when, nullptr);
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

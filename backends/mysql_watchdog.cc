// MysqlWatchdog: waits for the earliest deadline, see mysql_watchdog.h.
#include "backends/mysql_watchdog.h"

#include <sys/socket.h>
#include <unistd.h>

namespace sluice::sql {

MysqlWatchdog::MysqlWatchdog() : thread_([this] { work(); }) {}

MysqlWatchdog::~MysqlWatchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

MysqlWatchdog& MysqlWatchdog::instance() {
  static MysqlWatchdog watchdog;
  return watchdog;
}

void MysqlWatchdog::set(Watch& watch, Deadline deadline) {
  const std::lock_guard lock(mutex_);
  if (watch.deadline_ != Deadline::max()) awaited_.erase({watch.deadline_, &watch});
  watch.deadline_ = deadline;
  if (deadline == Deadline::max()) return;
  awaited_.emplace(deadline, &watch);
  // Deadlines mostly move on: the thread is woken for one that is earlier than its next look, and else finds out then.
  if (deadline < wakes_at_) wake_.notify_one();
}

void MysqlWatchdog::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto now = std::chrono::steady_clock::now();
    while (!awaited_.empty() && awaited_.begin()->first <= now) {
      Watch& watch = *awaited_.begin()->second;
      awaited_.erase(awaited_.begin());
      watch.deadline_ = Deadline::max();
      watch.fired_ = true;
      shutdown(watch.socket_, SHUT_RDWR);
    }
    wakes_at_ = awaited_.empty() ? Deadline::max() : awaited_.begin()->first;
    if (awaited_.empty()) {
      wake_.wait(lock);
    } else {
      wake_.wait_until(lock, wakes_at_);
    }
  }
}

MysqlWatchdog::Watch::Watch(int socket) : socket_(dup(socket)) { MysqlWatchdog::instance(); }

MysqlWatchdog::Watch::~Watch() {
  set(Deadline::max());
  close(socket_);
}

void MysqlWatchdog::Watch::set(Deadline deadline) { instance().set(*this, deadline); }

bool MysqlWatchdog::Watch::fired() const {
  const std::lock_guard lock(instance().mutex_);
  return fired_;
}

}  // namespace sluice::sql

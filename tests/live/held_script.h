// HeldScript: stops a proxy on its way to Redis, at a script of its own, for as long as a test likes.
#pragma once

#include <condition_variable>
#include <mutex>

#include "harness.h"
#include "policies/script.h"
#include "tests/history/fault_link.h"

namespace sluice::live {

// Holds the first command that runs the script, or the one after some others, and what the link would pass on after it.
class HeldScript {
 public:
  HeldScript(history::FaultLink& link, const policies::Script& script, int others = 0) : link_(link), others_(others) {
    link.watch([this, &script](const history::FaultLink::Message& message) {
      const bool meant = !message.is_reply && message.command.size() > 1 &&
                         (message.command[1] == script.sha1 || message.command[1] == script.text);
      if (meant && others_-- <= 0) hold();
      return history::FaultLink::Verdict{};
    });
  }
  ~HeldScript() {
    release();
    link_.watch({});
  }
  HeldScript(const HeldScript&) = delete;
  HeldScript& operator=(const HeldScript&) = delete;

  bool await() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [this] { return held_; });
  }
  void release() {
    const std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }

 private:
  // On the link's thread, which passes nothing on meanwhile.
  void hold() {
    std::unique_lock lock(mutex_);
    held_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return released_; });
  }

  history::FaultLink& link_;
  int others_;  // of the link's thread
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false, released_ = false;  // guarded by mutex_
};

}  // namespace sluice::live

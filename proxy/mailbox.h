// Mailbox: tasks that other threads hand to a loop.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <uv.h>

#include "backends/pool.h"

namespace sluice::proxy {

// post(), put() and wake() from any thread, also after the loop has ended (the task is dropped then). Everything else
// on the loop's thread.
class Mailbox final : public sql::Waker, public std::enable_shared_from_this<Mailbox> {
 public:
  using Task = std::function<void()>;

  static std::shared_ptr<Mailbox> open(uv_loop_t* loop);

  void post(Task task);
  // The same, for the next wake(): what is put before it arrives in one turn of the loop.
  void put(Task task);
  void wake() override;
  // No task runs after this.
  void close();

 private:
  void deliver();

  std::mutex mutex_;
  std::vector<Task> tasks_;
  bool woken_ = false;           // and has not delivered yet
  uv_async_t* async_ = nullptr;  // nullptr once closed
};

}  // namespace sluice::proxy

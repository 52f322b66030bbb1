// Mailbox: tasks that other threads hand to a loop.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <uv.h>

namespace sluice::proxy {

// post() from any thread, also after the loop has ended (the task is dropped then). Everything else on the loop's
// thread.
class Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  using Task = std::function<void()>;

  static std::shared_ptr<Mailbox> open(uv_loop_t* loop);

  void post(Task task);
  // No task runs after this.
  void close();

 private:
  void deliver();

  std::mutex mutex_;
  std::vector<Task> tasks_;
  uv_async_t* async_ = nullptr;  // nullptr once closed
};

}  // namespace sluice::proxy

// Mailbox: waking the loop and running what was posted.
#include "proxy/mailbox.h"

#include <utility>

namespace sluice::proxy {

std::shared_ptr<Mailbox> Mailbox::open(uv_loop_t* loop) {
  auto box = std::make_shared<Mailbox>();
  box->async_ = new uv_async_t;
  box->async_->data = box.get();
  uv_async_init(loop, box->async_, [](uv_async_t* async) { static_cast<Mailbox*>(async->data)->deliver(); });
  return box;
}

void Mailbox::post(Task task) {
  put(std::move(task));
  wake();
}

void Mailbox::put(Task task) {
  const std::lock_guard lock(mutex_);
  if (async_ != nullptr) tasks_.push_back(std::move(task));
}

void Mailbox::wake() {
  const std::lock_guard lock(mutex_);
  if (async_ == nullptr || tasks_.empty() || std::exchange(woken_, true)) return;
  uv_async_send(async_);
}

void Mailbox::close() {
  const std::lock_guard lock(mutex_);
  if (async_ == nullptr) return;
  tasks_.clear();
  uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(async_, nullptr)),
           [](uv_handle_t* async) { delete reinterpret_cast<uv_async_t*>(async); });
}

// libuv merges signals: everything that is there must be run.
void Mailbox::deliver() {
  const auto self = shared_from_this();
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
    woken_ = false;
  }
  for (Task& task : tasks) {
    if (async_ == nullptr) return;  // only this thread closes
    task();
  }
}

}  // namespace sluice::proxy

// ReplyQueue: opening, filling and emptying slots.
#include "proxy/reply_queue.h"

#include <algorithm>
#include <utility>

namespace sluice::proxy {

std::uint64_t ReplyQueue::open(std::size_t row, const resp::CommandInfo* command, bool write, bool muted) {
  if (!slots_) slots_ = std::make_unique<std::deque<Slot>>();
  slots_->push_back({row, command, write, muted, false, false, 0, {}, {}});
  if (write) ++open_writes_;
  return first_ + slots_->size() - 1;
}

bool ReplyQueue::Slot::concerns(std::size_t some_row) const {
  return !done && (row == kEveryRow || some_row == kEveryRow || row == some_row);
}

bool ReplyQueue::is_row_busy(std::size_t row, const resp::CommandInfo& command) const {
  return slots_ && std::any_of(slots_->begin(), slots_->end(), [&](const Slot& slot) {
           const bool apart = slot.row != kEveryRow && row != kEveryRow && slot.write && slot.command == &command;
           return slot.concerns(row) && !apart;
         });
}

bool ReplyQueue::is_row_busy(std::size_t row) const {
  return slots_ && std::any_of(slots_->begin(), slots_->end(), [&](const Slot& slot) { return slot.concerns(row); });
}

void ReplyQueue::append(std::string_view bytes) {
  slots_->back().after.append(bytes);
  bytes_ += bytes.size();
}

void ReplyQueue::hold(std::uint64_t number, std::size_t bytes) {
  if (number < first_ || number - first_ >= size()) return;
  Slot& slot = (*slots_)[number - first_];
  bytes_ += bytes - std::exchange(slot.held, bytes);
}

void ReplyQueue::fill(std::uint64_t number, std::string reply, bool close) {
  if (number < first_ || number - first_ >= size()) return;
  Slot& slot = (*slots_)[number - first_];
  bytes_ -= std::exchange(slot.held, 0);
  slot.done = true;
  slot.close = close;
  if (slot.write) --open_writes_;
  if (slot.muted) return;
  slot.reply = std::move(reply);
  bytes_ += slot.reply.size();
}

bool ReplyQueue::settle(Buffer& out) {
  while (slots_ && slots_->front().done) {
    const Slot slot = std::move(slots_->front());
    slots_->pop_front();
    ++first_;
    bytes_ -= slot.reply.size() + slot.after.size();
    out.append(slot.reply);
    if (slot.close) {
      clear();
      return true;
    }
    out.append(slot.after.view());
    if (slots_->empty()) slots_.reset();
  }
  return false;
}

void ReplyQueue::clear() {
  first_ += size();
  slots_.reset();
  open_writes_ = 0;
  bytes_ = 0;
}

}  // namespace sluice::proxy

// ReplyQueue: the replies of one client that cannot be written yet, because an earlier one is still missing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/buffer.h"

namespace sluice::resp {
struct CommandInfo;
}

namespace sluice::proxy {

// A command that a policy answers has a slot; what belongs after its reply waits in that slot:
//
//   socket <- out | slot 1: its reply, bytes after it | slot 2: its reply, bytes after it <- forwarded replies
//
// Holds no memory while it is empty. Loop thread only.
class ReplyQueue {
 public:
  bool empty() const { return slots_ == nullptr; }
  std::size_t size() const { return slots_ ? slots_->size() : 0; }
  // Bytes that wait.
  std::size_t bytes() const { return bytes_; }
  // Some slot waits for a write.
  bool writing() const { return open_writes_ != 0; }

  // The row of a command with several keys: it overlaps with nothing.
  static constexpr std::size_t kEveryRow = 0;
  // Opens a slot behind everything; returns its number. `row` is a hash of the command's key; `command` is null for
  // what is not one command on one row. A muted slot's reply is not passed on.
  std::uint64_t open(std::size_t row, const resp::CommandInfo* command, bool write, bool muted);
  // Commands on one row keep their order. Writes of one kind may overlap: a policy keeps their order itself.
  bool is_row_busy(std::size_t row, const resp::CommandInfo& command) const;
  // Whether a policy is still working on a command on this row.
  bool is_row_busy(std::size_t row) const;

  // Bytes that belong behind the last slot. Not when empty.
  void append(std::string_view bytes);
  // So much is kept for a slot until it is filled.
  void hold(std::uint64_t number, std::size_t bytes);
  // The reply of a slot. Numbers of slots that were dropped are ignored.
  void fill(std::uint64_t number, std::string reply, bool close);
  // Appends to `out` what is complete at the front. True when a reply said to close: the rest is dropped.
  bool settle(Buffer& out);

 private:
  struct Slot {
    std::size_t row;
    const resp::CommandInfo* command;
    bool write;
    bool muted;
    bool done = false;
    bool close = false;
    std::size_t held = 0;
    std::string reply;
    Buffer after;
    bool concerns(std::size_t some_row) const;  // it is not done
  };

  void clear();

  std::unique_ptr<std::deque<Slot>> slots_;  // nullptr: none
  std::uint64_t first_ = 0;                  // number of the front slot
  std::uint32_t open_writes_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace sluice::proxy

// Buffer: a queue of bytes that gives its memory back when it runs empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace sluice::proxy {

// Loop thread only. Blocks of up to 256 KiB are recycled by a list per thread, so that filling and draining a buffer
// every turn allocates nothing, and an idle owner holds no memory.
//
//   data_        data_+begin_       data_+end_        data_+capacity_
//   | consumed    | view()           | reserve(), commit()   |
class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { release(); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  bool empty() const { return begin_ == end_; }
  std::size_t size() const { return end_ - begin_; }
  // Valid until the next non-const call.
  std::string_view view() const { return {data_ + begin_, size()}; }

  void append(std::string_view bytes);
  // At least `bytes` of room after the content; commit() what was filled.
  std::span<char> reserve(std::size_t bytes);
  void commit(std::size_t bytes) { end_ += bytes; }
  // Drops bytes from the front; an emptied buffer holds no memory.
  void consume(std::size_t bytes);
  void clear() { release(); }
  void swap(Buffer& other) noexcept;

  // Bytes of blocks given back by the buffers of this thread since it began.
  static std::uint64_t released_bytes();
  // Frees the blocks that this thread keeps for the next buffers.
  static void free_kept_blocks();

 private:
  void release();
  void make_room(std::size_t bytes);

  char* data_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace sluice::proxy

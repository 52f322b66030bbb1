// Buffer: growth, recycling of blocks.
#include "proxy/buffer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

namespace sluice::proxy {
namespace {

constexpr std::size_t kSmallestBlockBytes = 1024;
constexpr std::size_t kLargestKeptBytes = 256UL << 10;  // a 64 KiB value and its header need a block of 128 KiB
constexpr std::size_t kKeptPerSizeBytes = 512UL << 10;
constexpr std::size_t kSizes = 9;  // 1, 2, 4, ... 256 KiB

// Free blocks of one thread, a stack per size.
class FreeBlocks {
 public:
  ~FreeBlocks() { clear(); }

  void clear() {
    for (auto& stack : stacks_) {
      for (char* block : stack) std::free(block);
      std::vector<char*>().swap(stack);
    }
  }

  char* take(std::size_t bytes) {
    if (bytes <= kLargestKeptBytes) {
      auto& stack = stack_of(bytes);
      if (!stack.empty()) {
        char* block = stack.back();
        stack.pop_back();
        return block;
      }
    }
    auto* block = static_cast<char*>(std::malloc(bytes));
    if (block == nullptr) throw std::bad_alloc();
    return block;
  }

  std::uint64_t given() const { return given_; }

  void give(char* block, std::size_t bytes) {
    given_ += bytes;
    if (bytes <= kLargestKeptBytes && stack_of(bytes).size() * bytes < kKeptPerSizeBytes) {
      stack_of(bytes).push_back(block);
    } else {
      std::free(block);
    }
  }

 private:
  std::vector<char*>& stack_of(std::size_t bytes) {
    return stacks_[static_cast<std::size_t>(std::countr_zero(bytes / kSmallestBlockBytes))];
  }

  std::array<std::vector<char*>, kSizes> stacks_;
  std::uint64_t given_ = 0;
};

thread_local FreeBlocks free_blocks;

}  // namespace

std::uint64_t Buffer::released_bytes() { return free_blocks.given(); }

void Buffer::free_kept_blocks() { free_blocks.clear(); }

void Buffer::append(std::string_view bytes) {
  if (bytes.empty()) return;
  if (capacity_ - end_ < bytes.size()) make_room(bytes.size());
  std::memcpy(data_ + end_, bytes.data(), bytes.size());
  end_ += bytes.size();
}

std::span<char> Buffer::reserve(std::size_t bytes) {
  if (capacity_ - end_ < bytes) make_room(bytes);
  return {data_ + end_, capacity_ - end_};
}

void Buffer::consume(std::size_t bytes) {
  assert(bytes <= size());
  begin_ += bytes;
  if (begin_ == end_) release();
}

void Buffer::swap(Buffer& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(capacity_, other.capacity_);
  std::swap(begin_, other.begin_);
  std::swap(end_, other.end_);
}

void Buffer::release() {
  if (data_ != nullptr) free_blocks.give(data_, capacity_);
  data_ = nullptr;
  capacity_ = begin_ = end_ = 0;
}

// Moves the content to the front where that is cheap, else to a block of twice the size.
void Buffer::make_room(std::size_t bytes) {
  const std::size_t content = size();
  if (data_ != nullptr && capacity_ - content >= bytes && begin_ >= content) {
    std::memcpy(data_, data_ + begin_, content);
  } else {
    const std::size_t capacity = std::bit_ceil(std::max(content + bytes, kSmallestBlockBytes));
    char* block = free_blocks.take(capacity);
    if (content != 0) std::memcpy(block, data_ + begin_, content);
    if (data_ != nullptr) free_blocks.give(data_, capacity_);
    data_ = block;
    capacity_ = capacity;
  }
  begin_ = 0;
  end_ = content;
}

}  // namespace sluice::proxy

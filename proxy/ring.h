// Ring: a queue that keeps its memory, so that a steady flow allocates nothing.
#pragma once

#include <cassert>
#include <cstddef>
#include <memory>
#include <utility>

namespace sluice::proxy {

template <class T>
class Ring {
 public:
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  T& front() { return items_[head_]; }
  T& back() { return items_[(head_ + size_ - 1) & (capacity_ - 1)]; }
  T& operator[](std::size_t i) { return items_[(head_ + i) & (capacity_ - 1)]; }

  void push(T item) {
    if (size_ == capacity_) grow();
    items_[(head_ + size_++) & (capacity_ - 1)] = std::move(item);
  }
  void pop() {
    assert(size_ != 0);
    head_ = (head_ + 1) & (capacity_ - 1);
    if (--size_ == 0 && capacity_ > kKept) reset();
  }

 private:
  static constexpr std::size_t kFirst = 16;
  static constexpr std::size_t kKept = 4096;  // a larger block is given back when the ring runs empty

  void grow() {
    const std::size_t capacity = capacity_ == 0 ? kFirst : capacity_ * 2;
    auto items = std::make_unique<T[]>(capacity);
    for (std::size_t i = 0; i < size_; ++i) items[i] = std::move((*this)[i]);
    items_ = std::move(items);
    capacity_ = capacity;
    head_ = 0;
  }
  void reset() {
    items_.reset();
    capacity_ = head_ = 0;
  }

  std::unique_ptr<T[]> items_;
  std::size_t capacity_ = 0;  // a power of two, or 0
  std::size_t head_ = 0;
  std::size_t size_ = 0;
};

}  // namespace sluice::proxy

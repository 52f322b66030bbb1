// MemoryTrim: gives what a burst has used back to the kernel once it is over.
#pragma once

#include <cstdint>

namespace sluice::proxy {

// Has the allocator give large blocks back at once, and what lies free at the end of a thread's memory: left to itself
// it learns to keep up to 64 MiB of that, which malloc_trim() does not touch. Before the first thread begins.
void limit_kept_memory();

// The allocator keeps freed memory for the next burst, which may never come. Handing it back costs milliseconds, so it
// is done only after there was something to free, and in a quiet moment. Loop thread only.
class MemoryTrim {
 public:
  // To be called about once a second. `freed` has grown by what was freed since the last call, in bytes.
  // True when memory was given back.
  bool look(std::uint64_t freed);

 private:
  std::uint64_t seen_ = 0;
  std::uint64_t since_ = 0;    // freed since the last time memory was given back
  std::uint64_t busiest_ = 0;  // freed between two calls, at most, since then
};

}  // namespace sluice::proxy

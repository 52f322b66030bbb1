// MemoryTrim: gives what a burst has used back to the kernel once it is over.
#pragma once

#include <cstdint>

namespace sluice::proxy {

// The allocator keeps freed memory for the next burst, which may never come. Handing it back costs milliseconds, so it
// is done only after there was something to free, and in a quiet moment. Loop thread only.
class MemoryTrim {
 public:
  // To be called about once a second. `traffic` has grown by what was moved or freed since the last call, in bytes.
  // True when memory was given back.
  bool look(std::uint64_t traffic);

 private:
  std::uint64_t seen_ = 0;
  std::uint64_t since_ = 0;    // moved since the last time memory was given back
  std::uint64_t busiest_ = 0;  // moved between two calls, at most, since then
};

}  // namespace sluice::proxy

// MemoryTrim: when to give memory back.
#include "proxy/memory.h"

#include <algorithm>
#include <malloc.h>
#include <utility>

#include "proxy/buffer.h"

namespace sluice::proxy {
namespace {

// Less than this per look is quiet; more since the last time is worth the effort.
constexpr std::uint64_t kLittleBytes = 64UL << 10;

// Above the largest block that Buffer keeps.
constexpr int kMappedBytes = 512 << 10;
constexpr int kFreeEndBytes = 1 << 20;

}  // namespace

void limit_kept_memory() {
  ::mallopt(M_MMAP_THRESHOLD, kMappedBytes);
  ::mallopt(M_TRIM_THRESHOLD, kFreeEndBytes);
}

bool MemoryTrim::look(std::uint64_t freed) {
  const std::uint64_t now = freed - std::exchange(seen_, freed);
  since_ += now;
  busiest_ = std::max(busiest_, now);
  if (since_ < kLittleBytes || now > std::max(kLittleBytes, busiest_ / 4)) return false;
  Buffer::free_kept_blocks();
  ::malloc_trim(0);
  since_ = busiest_ = 0;
  return true;
}

}  // namespace sluice::proxy

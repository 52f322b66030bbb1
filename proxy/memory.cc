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

}  // namespace

bool MemoryTrim::look(std::uint64_t traffic) {
  const std::uint64_t moved = traffic - std::exchange(seen_, traffic);
  since_ += moved;
  busiest_ = std::max(busiest_, moved);
  if (since_ < kLittleBytes || moved > std::max(kLittleBytes, busiest_ / 4)) return false;
  Buffer::free_kept_blocks();
  ::malloc_trim(0);
  since_ = busiest_ = 0;
  return true;
}

}  // namespace sluice::proxy

// MemoryTrim: memory goes back after a burst, not in the middle of one and not for nothing.
#include "proxy/memory.h"

#include <malloc.h>
#include <string>

#include <gtest/gtest.h>

#include "proxy/buffer.h"

namespace sluice::proxy {
namespace {

constexpr std::uint64_t kMiB = 1UL << 20;

TEST(MemoryTrim, DoesNothingWhereNothingHappens) {
  MemoryTrim trim;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(trim.look(0));
}

TEST(MemoryTrim, WaitsForTheEndOfABurst) {
  MemoryTrim trim;
  std::uint64_t freed = 0;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(trim.look(freed += 100 * kMiB));
  EXPECT_FALSE(trim.look(freed += 50 * kMiB));
  EXPECT_TRUE(trim.look(freed += 10 * kMiB));
  EXPECT_FALSE(trim.look(freed += 10 * kMiB));
}

TEST(MemoryTrim, ComesOncePerBurst) {
  MemoryTrim trim;
  EXPECT_FALSE(trim.look(kMiB));
  EXPECT_TRUE(trim.look(kMiB));
  EXPECT_FALSE(trim.look(kMiB));
  EXPECT_FALSE(trim.look(kMiB + 1000));
}

TEST(MemoryTrim, TakesALongTrickleForABurst) {
  MemoryTrim trim;
  std::uint64_t freed = 0;
  int trims = 0;
  for (int i = 0; i < 64; ++i) trims += trim.look(freed += 10240) ? 1 : 0;
  EXPECT_EQ(trims, 9);
}

// The sanitizers' allocators do not tell.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(Buffer, KeptBlocksCanBeFreed) {
  { Buffer().append(std::string(200 * 1024, 'x')); }
  const std::size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
  Buffer::free_kept_blocks();
  EXPECT_LE(mallinfo2().uordblks + mallinfo2().hblkhd + (256UL << 10), before);
}
#endif

}  // namespace
}  // namespace sluice::proxy

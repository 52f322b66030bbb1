// Buffer: bytes in, bytes out in order, and no memory when empty.
#include "proxy/buffer.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

TEST(Buffer, IsEmptyAndWithoutMemoryAtFirst) {
  const Buffer buffer;
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(buffer.size(), 0U);
  EXPECT_EQ(buffer.view().data(), nullptr);
}

TEST(Buffer, GivesBackWhatWasAppendedInOrder) {
  Buffer buffer;
  buffer.append("one ");
  buffer.append("two");
  EXPECT_EQ(buffer.view(), "one two");
  buffer.consume(4);
  EXPECT_EQ(buffer.view(), "two");
}

TEST(Buffer, HoldsNoMemoryOnceItHasRunEmpty) {
  Buffer buffer;
  buffer.append("bytes");
  buffer.consume(5);
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(buffer.view().data(), nullptr);
}

TEST(Buffer, HoldsNoMemoryAfterClear) {
  Buffer buffer;
  buffer.append("bytes");
  buffer.clear();
  EXPECT_EQ(buffer.view().data(), nullptr);
}

TEST(Buffer, AppendingNothingTakesNoMemory) {
  Buffer buffer;
  buffer.append({});
  EXPECT_EQ(buffer.view().data(), nullptr);
}

TEST(Buffer, UsesTheBlockThatAnotherGaveBack) {
  Buffer first;
  first.append("x");
  const char* block = first.view().data();
  first.clear();
  Buffer second;
  second.append("y");
  EXPECT_EQ(second.view().data(), block);
}

TEST(Buffer, ShowsReservedBytesOnlyOnceCommitted) {
  Buffer buffer;
  buffer.append("ab");
  const auto room = buffer.reserve(3);
  ASSERT_GE(room.size(), 3U);
  std::memcpy(room.data(), "cde", 3);
  EXPECT_EQ(buffer.view(), "ab");
  buffer.commit(3);
  EXPECT_EQ(buffer.view(), "abcde");
}

TEST(Buffer, KeepsItsContentWhenItGrowsPastTheRecycledSizes) {
  Buffer buffer;
  std::string expected;
  for (int i = 0; i < 3000; ++i) {
    const std::string piece(97, static_cast<char>('a' + i % 26));
    buffer.append(piece);
    expected += piece;
  }
  EXPECT_EQ(buffer.view(), expected);
}

TEST(Buffer, MovesWhatIsLeftToTheFrontRatherThanGrow) {
  Buffer buffer;
  buffer.append(std::string(1000, 'x'));
  const char* block = buffer.view().data();
  buffer.consume(990);
  buffer.append(std::string(500, 'y'));
  EXPECT_EQ(buffer.view().data(), block);
  EXPECT_EQ(buffer.view(), std::string(10, 'x') + std::string(500, 'y'));
}

TEST(Buffer, SwapsContents) {
  Buffer one;
  Buffer two;
  one.append("one");
  one.swap(two);
  EXPECT_TRUE(one.empty());
  EXPECT_EQ(two.view(), "one");
}

TEST(Buffer, IsEmptyAfterItWasMovedFrom) {
  Buffer one;
  one.append("one");
  const Buffer two = std::move(one);
  EXPECT_EQ(two.view(), "one");
  EXPECT_EQ(one.view().data(), nullptr);  // NOLINT(bugprone-use-after-move): that is the promise
}

TEST(Buffer, BehavesAsAStringUnderRandomUse) {
  std::mt19937 random(7);
  Buffer buffer;
  std::string model;
  for (int step = 0; step < 4000; ++step) {
    const auto bytes = random() % 3000;
    if (random() % 2 == 0) {
      const std::string piece(bytes, static_cast<char>(random()));
      buffer.append(piece);
      model += piece;
    } else {
      const auto taken = std::min<std::size_t>(bytes, model.size());
      buffer.consume(taken);
      model.erase(0, taken);
    }
    ASSERT_EQ(buffer.size(), model.size());
    ASSERT_TRUE(step % 100 != 0 || buffer.view() == model) << step;
  }
}

}  // namespace
}  // namespace sluice::proxy

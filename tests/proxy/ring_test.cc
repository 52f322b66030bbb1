// Ring: first in, first out, through growth and wrap-around.
#include "proxy/ring.h"

#include <deque>
#include <memory>
#include <random>

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

TEST(Ring, IsEmptyAtFirst) {
  const Ring<int> ring;
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.size(), 0U);
}

TEST(Ring, GivesItemsBackInTheOrderTheyCame) {
  Ring<int> ring;
  for (int i = 0; i < 5; ++i) ring.push(i);
  EXPECT_EQ(ring.back(), 4);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(ring.front(), i);
    ring.pop();
  }
  EXPECT_TRUE(ring.empty());
}

TEST(Ring, CountsPositionsFromTheFront) {
  Ring<int> ring;
  for (int i = 0; i < 10; ++i) ring.push(i);
  ring.pop();
  EXPECT_EQ(ring[0], 1);
  EXPECT_EQ(ring[8], 9);
}

TEST(Ring, KeepsItsOrderWhenItGrowsInTheMiddleOfTheBlock) {
  Ring<int> ring;
  for (int i = 0; i < 16; ++i) ring.push(i);
  for (int i = 0; i < 10; ++i) ring.pop();
  for (int i = 16; i < 60; ++i) ring.push(i);
  for (int i = 10; i < 60; ++i) {
    ASSERT_EQ(ring.front(), i);
    ring.pop();
  }
}

TEST(Ring, IsUsableAgainAfterALargeBlockWasGivenBack) {
  Ring<int> ring;
  for (int i = 0; i < 20000; ++i) ring.push(i);
  while (!ring.empty()) ring.pop();
  ring.push(7);
  EXPECT_EQ(ring.front(), 7);
  EXPECT_EQ(ring.size(), 1U);
}

TEST(Ring, HoldsWhatCanOnlyBeMoved) {
  Ring<std::unique_ptr<int>> ring;
  for (int i = 0; i < 40; ++i) ring.push(std::make_unique<int>(i));
  const auto first = std::move(ring.front());
  ring.pop();
  EXPECT_EQ(*first, 0);
  EXPECT_EQ(*ring.front(), 1);
}

TEST(Ring, BehavesAsADequeUnderRandomUse) {
  std::mt19937 random(11);
  Ring<unsigned> ring;
  std::deque<unsigned> model;
  for (int step = 0; step < 50000; ++step) {
    if (random() % 100 < 52 || model.empty()) {
      ring.push(static_cast<unsigned>(step));
      model.push_back(static_cast<unsigned>(step));
    } else {
      ring.pop();
      model.pop_front();
    }
    ASSERT_EQ(ring.size(), model.size());
    if (model.empty()) continue;
    ASSERT_EQ(ring.front(), model.front());
    ASSERT_EQ(ring.back(), model.back());
  }
}

}  // namespace
}  // namespace sluice::proxy

// Crowd: who makes one, and what the scheduler is told.
#include "proxy/crowd.h"

#include <chrono>
#include <cstdint>
#include <sched.h>
#include <thread>

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using std::chrono::milliseconds;

class CrowdTest : public ::testing::Test {
 protected:
  // `reads` from each of so many clients, every millisecond.
  void serve(std::uint32_t clients, int reads, int duration_ms) {
    for (int ms = 0; ms < duration_ms; ++ms, now_ += milliseconds(1)) {
      for (std::uint32_t i = 0; i < clients * static_cast<std::uint32_t>(reads); ++i) {
        changes_ += crowd_.served(i % clients, now_) ? 1 : 0;
      }
    }
  }

  Crowd crowd_;
  Crowd::TimePoint now_{std::chrono::hours(1)};
  int changes_ = 0;
};

TEST_F(CrowdTest, IsManyClientsAtAHighRate) {
  serve(50, 1, 100);
  EXPECT_TRUE(crowd_.present());
  EXPECT_EQ(changes_, 1);
}

TEST_F(CrowdTest, OneClientIsNoneHoweverFast) {
  serve(1, 1000, 100);
  EXPECT_FALSE(crowd_.present());
  EXPECT_EQ(changes_, 0);
}

TEST_F(CrowdTest, ManyClientsAtALowRateAreNone) {
  for (std::uint32_t i = 0; i < 1000; ++i, now_ += milliseconds(1)) changes_ += crowd_.served(i, now_) ? 1 : 0;
  EXPECT_FALSE(crowd_.present());
  EXPECT_EQ(changes_, 0);
}

TEST_F(CrowdTest, IsGoneWithTheFirstReadAfterAPause) {
  serve(50, 1, 100);
  now_ += milliseconds(200);
  EXPECT_TRUE(crowd_.served(1, now_));
  EXPECT_FALSE(crowd_.present());
}

// In threads of their own: the policy of the thread that runs the tests stays as it is.
TEST(YieldToClients, MakesTheThreadOneThatDoesNotPreemptAndBack) {
  int on = -1, off = -1;
  std::thread([&] {
    yield_to_clients(true);
    on = sched_getscheduler(0);
    yield_to_clients(false);
    off = sched_getscheduler(0);
  }).join();
  EXPECT_EQ(on, SCHED_BATCH);
  EXPECT_EQ(off, SCHED_OTHER);
}

TEST(YieldToClients, LeavesAPolicyOfTheOperatorsChoiceAlone) {
  int after = -1;
  std::thread([&] {
    const sched_param none{};
    sched_setscheduler(0, SCHED_IDLE, &none);
    yield_to_clients(true);
    after = sched_getscheduler(0);
  }).join();
  EXPECT_EQ(after, SCHED_IDLE);
}

}  // namespace
}  // namespace sluice::proxy

// Breaker: when it opens, how long it stays open, and what closes it.
#include "policies/breaker.h"

#include <gtest/gtest.h>

namespace sluice::policies::testing {
namespace {

constexpr Milliseconds kQueryTime{3000};
const sql::Error kSilence{sql::Failure::unavailable, "08006", "gone"};

class BreakerTest : public ::testing::Test {
 protected:
  bool asks(const sql::Error& error, Milliseconds time = kQueryTime) {
    const auto pass = breaker.ask(TimePoint(clock), time);
    if (pass) report(*pass, error);
    return pass.has_value();
  }
  void report(Breaker::Pass pass, const sql::Error& error) {
    breaker.report(pass, error, {TimePoint(clock), {}, random, woken});
  }
  void open() {
    for (unsigned i = 0; i < Breaker::kInRow; ++i) asks(kSilence);
  }
  bool refuses() const { return breaker.refuses(TimePoint(clock)); }

  PolicyMetrics metrics;
  Breaker breaker{metrics, kQueryTime};
  Milliseconds clock{1000};
  std::uint64_t random = 0;  // no jitter
  std::vector<OperationId> woken;
};

TEST_F(BreakerTest, OpensAfterSomeFailuresInARow) {
  for (unsigned i = 1; i < Breaker::kInRow; ++i) asks(kSilence);
  asks({});
  for (unsigned i = 1; i < Breaker::kInRow; ++i) asks(kSilence);
  EXPECT_FALSE(refuses());
  asks(kSilence);
  EXPECT_TRUE(refuses());
  EXPECT_EQ(metrics.breaker_open.value(), 1U);
  EXPECT_EQ(metrics.breaker_openings.value(), 1U);
}

TEST_F(BreakerTest, OpensWhenHalfOfTheLastQueriesFail) {
  for (std::size_t i = 0; i + 2 < Breaker::kWindow; ++i) asks(i % 2 == 0 ? sql::Error{} : kSilence);
  asks({});
  EXPECT_FALSE(refuses());
  asks(kSilence);
  EXPECT_TRUE(refuses());
}

TEST_F(BreakerTest, AnErrorThatTheDatabaseAnswersWithIsAnAnswer) {
  for (const auto failure : {sql::Failure::refused, sql::Failure::schema}) {
    for (std::size_t i = 0; i < Breaker::kWindow; ++i) asks({failure, "22003", "no"});
  }
  EXPECT_FALSE(refuses());
  open();
  clock += Breaker::kPauseMin;
  asks({sql::Failure::schema, "42P01", "no table"});
  EXPECT_FALSE(refuses());
}

TEST_F(BreakerTest, AQueryThatHadLittleTimeTellsNothing) {
  for (std::size_t i = 0; i < Breaker::kWindow; ++i) asks(kSilence, kQueryTime / 3);
  EXPECT_FALSE(refuses());
}

TEST_F(BreakerTest, AQueryThatHasLittleTimeIsNoProbe) {
  open();
  clock += Breaker::kPauseMin;
  EXPECT_FALSE(breaker.ask(TimePoint(clock), kQueryTime / 3));
  EXPECT_TRUE(breaker.ask(TimePoint(clock), kQueryTime));
}

TEST_F(BreakerTest, LetsOneQueryThroughAfterEachPauseWhichDoubles) {
  open();
  for (Milliseconds pause{1000}; pause < Breaker::kPauseMax; pause *= 2) {
    clock += pause - Milliseconds(1);
    EXPECT_FALSE(asks({}));
    clock += Milliseconds(1);
    const auto probe = breaker.ask(TimePoint(clock), kQueryTime);
    ASSERT_TRUE(probe) << pause.count();
    EXPECT_FALSE(asks({})) << "one at a time";
    report(*probe, kSilence);
  }
  clock += Breaker::kPauseMax;
  EXPECT_TRUE(asks(kSilence)) << "no longer than that";
  clock += Breaker::kPauseMax;
  EXPECT_TRUE(asks({}));
  EXPECT_EQ(metrics.breaker_openings.value(), 1U);
}

TEST_F(BreakerTest, APauseIsShortenedAtRandom) {
  random = ~std::uint64_t{0};
  open();
  clock += Milliseconds(801);
  EXPECT_FALSE(refuses());
}

TEST_F(BreakerTest, AnAnswerClosesItAndAllBeginsAnew) {
  open();
  clock += Breaker::kPauseMin;
  asks(kSilence);
  clock += 2 * Breaker::kPauseMin;
  asks({});
  EXPECT_FALSE(refuses());
  EXPECT_EQ(metrics.breaker_open.value(), 0U);
  for (unsigned i = 1; i < Breaker::kInRow; ++i) asks(kSilence);
  EXPECT_FALSE(refuses());
  asks(kSilence);
  clock += Breaker::kPauseMin;
  EXPECT_FALSE(refuses()) << "the pauses are short again";
  EXPECT_EQ(metrics.breaker_openings.value(), 2U);
}

TEST_F(BreakerTest, WhatWasAskedBeforeItOpenedTellsNothing) {
  std::vector<Breaker::Pass> under_way;
  for (int i = 0; i < 20; ++i) under_way.push_back(*breaker.ask(TimePoint(clock), kQueryTime));
  open();
  for (int i = 0; i < 10; ++i) report(under_way[static_cast<std::size_t>(i)], kSilence);
  report(under_way[10], {});
  EXPECT_TRUE(refuses());
  clock += Breaker::kPauseMin;
  EXPECT_TRUE(asks({})) << "the pause has not grown";
  for (int i = 11; i < 20; ++i) report(under_way[static_cast<std::size_t>(i)], kSilence);
  EXPECT_FALSE(refuses());
}

TEST_F(BreakerTest, ARefusalIsCountedAndCanBeTriedAgain) {
  EXPECT_EQ(breaker.refuse().failure, sql::Failure::unavailable);
  EXPECT_EQ(metrics.breaker_refusals.value(), 1U);
}

}  // namespace
}  // namespace sluice::policies::testing

// EventLoop: the order of flushes and timers, and when it sleeps.
#include "proxy/event_loop.h"

#include <chrono>
#include <functional>
#include <string>

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

// Writes its name down when it is flushed.
class User final : public Flushable {
 public:
  User(std::string name, std::string& flushed, Order order = Order::usual)
      : Flushable(order), name_(std::move(name)), flushed_(flushed) {}

  void flush_turn() override {
    flushed_ += name_;
    if (also) also();
  }

  std::function<void()> also;

 private:
  const std::string name_;
  std::string& flushed_;
};

class EventLoopTest : public ::testing::Test {
 protected:
  void turn() { uv_run(loop_.uv(), UV_RUN_NOWAIT); }

  std::string flushed_;
  EventLoop loop_;
  User a_{"a", flushed_}, b_{"b", flushed_}, first_{"1", flushed_, Flushable::Order::first};
};

TEST_F(EventLoopTest, FlushesEachOnceAndTheFirstBeforeTheOthers) {
  loop_.flush_later(a_);
  loop_.flush_later(b_);
  loop_.flush_later(first_);
  loop_.flush_later(a_);
  turn();
  EXPECT_EQ(flushed_, "1ab");
  turn();
  EXPECT_EQ(flushed_, "1ab");
}

TEST_F(EventLoopTest, FlushesInTheSameTurnWhatAFlushMakesDirty) {
  a_.also = [&] { loop_.flush_later(first_); };
  loop_.flush_later(a_);
  loop_.flush_later(b_);
  turn();
  EXPECT_EQ(flushed_, "a1b");
}

TEST_F(EventLoopTest, ForgetsWhoeverWaits) {
  first_.also = [&] { loop_.forget(a_); };
  loop_.flush_later(a_);
  loop_.flush_later(first_);
  loop_.flush_later(b_);
  turn();
  EXPECT_EQ(flushed_, "1b");
  loop_.flush_later(b_);
  loop_.flush_later(a_);
  loop_.forget(b_);
  turn();
  EXPECT_EQ(flushed_, "1ba");
}

TEST_F(EventLoopTest, GivesTheKernelNoTimeoutToSetEachTime) {
  auto timer = loop_.after(hours(1), [] {});
  turn();
  EXPECT_EQ(uv_backend_timeout(loop_.uv()), -1);
  loop_.cancel(timer);
}

TEST_F(EventLoopTest, RunsTasksInTheOrderOfTheirTimesAndNotBefore) {
  std::string ran;
  const auto start = loop_.now();
  const auto task = [&](const char* name, milliseconds delay, bool last) {
    return [this, &ran, start, name, delay, last] {
      ran += name;
      EXPECT_GE(loop_.now() - start, delay);
      if (last) loop_.stop();
    };
  };
  loop_.after(milliseconds(30), task("c", milliseconds(30), true));
  loop_.after(milliseconds(10), task("b", milliseconds(10), false));
  auto cancelled = loop_.after(milliseconds(5), task("x", milliseconds(5), false));
  loop_.after(milliseconds(0), task("a", milliseconds(0), false));
  loop_.cancel(cancelled);
  loop_.run();
  EXPECT_EQ(ran, "abc");
}

TEST_F(EventLoopTest, ATaskThatSetsItselfAgainWaitsForTheNextTurn) {
  int runs = 0;
  std::function<void()> task = [&] {
    if (++runs == 3) return loop_.stop();
    loop_.flush_later(a_);
    loop_.after(milliseconds(0), task);
  };
  loop_.after(milliseconds(0), task);
  loop_.run();
  EXPECT_EQ(runs, 3);
  EXPECT_EQ(flushed_, "aa");
}

}  // namespace
}  // namespace sluice::proxy

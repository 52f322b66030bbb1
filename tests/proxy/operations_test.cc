// Operations: every step is performed, every event reaches the operation it is for, and no other.
#include "proxy/operations.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/pool.h"
#include "tests/proxy/peer.h"

namespace sluice::proxy {
namespace {

using policies::CallRedis;
using policies::CallSql;
using policies::Event;
using policies::Finish;
using policies::OperationId;
using policies::Park;
using policies::Sleep;
using policies::Step;
using policies::Turn;
using testing::ElementsAre;

using Script = std::function<Step(const Event*, Turn&)>;

// An operation that a lambda writes; the event is null at the start.
class Scripted final : public policies::Operation {
 public:
  explicit Scripted(Script script) : script_(std::move(script)) {}
  Step start(Turn& turn) override { return script_(nullptr, turn); }
  Step resume(Event event, Turn& turn) override { return script_(&event, turn); }

 private:
  Script script_;
};

// A database in which every table is missing.
class NoTables final : public sql::Backend {
 public:
  std::unique_ptr<sql::Session> session() override { return std::make_unique<Empty>(); }
  int writers() const override { return 1; }
  int readers() const override { return 1; }
  int lone_writers() const override { return 0; }
  std::string counter_ddl() const override { return {}; }
  std::string table_ddl(const sql::NewTable&) const override { return {}; }
  std::string outbox_ddl(const sql::Recorded&) const override { return {}; }

 private:
  class Empty final : public sql::Session {
   public:
    sql::Result run(const sql::Op&, sql::Deadline) override { return {}; }
    std::vector<sql::Result> run_group(std::span<const sql::Op* const> ops, sql::Deadline) override {
      return std::vector<sql::Result>(ops.size());
    }
  };
};

class OperationsTest : public ::testing::Test {
 protected:
  ~OperationsTest() override {
    redis_.close();
    mailbox_->close();
    run_some(loop_, peer_);
  }

  void start(Script script, sql::Pool* pool = nullptr) {
    operations_.start(std::make_unique<Scripted>(std::move(script)), pool,
                      [this](const Finish& finish) { finished_.push_back(finish.reply); });
  }
  bool until(const std::function<bool()>& done) { return run_until(loop_, peer_, done); }

  EventLoop loop_;
  Peer peer_;
  std::shared_ptr<Mailbox> mailbox_ = Mailbox::open(loop_.uv());
  policies::Count sent_;
  std::vector<ScriptCounts> scripts_ = std::vector<ScriptCounts>(policies::all_scripts().size());
  PolicyRedis redis_{loop_, upstream_at(peer_.endpoint()), kPatience, sent_, scripts_};
  Operations operations_{loop_, redis_, mailbox_};
  std::vector<std::string> finished_;
};

TEST_F(OperationsTest, MayFinishAtOnce) {
  start([](const Event*, Turn&) { return Finish{"+OK\r\n"}; });
  EXPECT_THAT(finished_, ElementsAre("+OK\r\n"));
  EXPECT_EQ(operations_.in_progress(), 0U);
}

TEST_F(OperationsTest, CallRedisIsAnsweredByItsReplies) {
  peer_.answer_with([](const Words& command) { return "+" + command[0] + "\r\n"; });
  redis_.connect();
  start([](const Event* event, Turn&) -> Step {
    if (event == nullptr) return CallRedis{{{nullptr, {"A"}}, {nullptr, {"B"}}}};
    const auto& replies = std::get<policies::RedisReplies>(*event).replies;
    return Finish{replies[0].text + replies[1].text};
  });
  EXPECT_EQ(operations_.in_progress(), 1U);
  ASSERT_TRUE(until([&] { return !finished_.empty(); }));
  EXPECT_THAT(finished_, ElementsAre("AB"));
}

TEST_F(OperationsTest, CallRedisIsAnsweredByItsLoss) {
  start([](const Event* event, Turn&) -> Step {
    if (event == nullptr) return CallRedis{{{nullptr, {"A"}}}};
    return Finish{std::get<policies::RedisLost>(*event).sent ? "sent" : "not sent"};
  });
  ASSERT_TRUE(until([&] { return !finished_.empty(); }));
  EXPECT_THAT(finished_, ElementsAre("not sent"));
}

TEST_F(OperationsTest, CallSqlIsAnsweredOnTheLoopByTheResult) {
  sql::Pool pool("db", std::make_unique<NoTables>());
  start(
      [](const Event* event, Turn&) -> Step {
        if (event == nullptr) return CallSql{sql::Describe{"t"}, std::chrono::seconds(5)};
        return Finish{std::holds_alternative<policies::SqlDone>(*event) ? "done" : "?"};
      },
      &pool);
  EXPECT_TRUE(finished_.empty());
  ASSERT_TRUE(until([&] { return !finished_.empty(); }));
  EXPECT_THAT(finished_, ElementsAre("done"));
}

TEST_F(OperationsTest, TheWritesOfOneTurnReachTheDatabaseTogether) {
  sql::Pool pool("db", std::make_unique<NoTables>());
  const Script write = [](const Event* event, Turn&) -> Step {
    if (event == nullptr) return Sleep{std::chrono::milliseconds(0)};
    if (std::holds_alternative<policies::Elapsed>(*event)) return CallSql{sql::MergeRow{}, std::chrono::seconds(5)};
    return Finish{"done"};
  };
  for (int i = 0; i < 10; ++i) start(write, &pool);
  ASSERT_TRUE(until([&] { return finished_.size() == 10; }));
  EXPECT_EQ(pool.transactions(), 1U);
}

TEST_F(OperationsTest, EveryDatabaseGetsItsOwnJobsOfATurn) {
  sql::Pool shop("shop", std::make_unique<NoTables>()), yard("yard", std::make_unique<NoTables>());
  const Script write = [](const Event* event, Turn&) -> Step {
    if (event == nullptr) return CallSql{sql::MergeRow{}, std::chrono::seconds(5)};
    return Finish{"done"};
  };
  for (int i = 0; i < 6; ++i) start(write, i % 2 == 0 ? &shop : &yard);
  ASSERT_TRUE(until([&] { return finished_.size() == 6; }));
  EXPECT_EQ(shop.transactions(), 1U);
  EXPECT_EQ(yard.transactions(), 1U);
}

TEST_F(OperationsTest, AJobAloneWaitsOnlyForTheEndOfItsTurn) {
  sql::Pool pool("db", std::make_unique<NoTables>());
  start(
      [](const Event* event, Turn&) -> Step {
        if (event == nullptr) return CallSql{sql::ReadRow{}, std::chrono::seconds(5)};
        return Finish{"done"};
      },
      &pool);
  EXPECT_EQ(pool.queued(), 0U);
  uv_run(loop_.uv(), UV_RUN_NOWAIT);
  const auto reads = [&] {
    std::uint64_t count = pool.queued();
    for (const auto& stats : pool.stats()) count += stats.count;
    return count;
  };
  EXPECT_GT(reads(), 0U);
  ASSERT_TRUE(until([&] { return !finished_.empty(); }));
}

TEST_F(OperationsTest, SleepEndsByItself) {
  start([](const Event* event, Turn&) -> Step {
    if (event == nullptr) return Sleep{std::chrono::milliseconds(1)};
    return Finish{std::holds_alternative<policies::Elapsed>(*event) ? "elapsed" : "?"};
  });
  ASSERT_TRUE(until([&] { return !finished_.empty(); }));
  EXPECT_THAT(finished_, ElementsAre("elapsed"));
}

TEST_F(OperationsTest, TheParkedAreWokenInTheOrderListedAfterTheOneThatWakesThem) {
  std::vector<OperationId> parked;
  const auto sleeper = [&](const std::string& name) {
    start([&parked, name](const Event* event, Turn& turn) -> Step {
      if (event != nullptr) return Finish{name};
      parked.push_back(turn.self);
      return Park{};
    });
  };
  sleeper("one");
  sleeper("two");
  sleeper("three");
  EXPECT_EQ(operations_.in_progress(), 3U);
  start([&](const Event*, Turn& turn) {
    turn.woken = {parked[2], parked[0]};
    return Finish{"waker"};
  });
  EXPECT_THAT(finished_, ElementsAre("waker", "three", "one"));
  EXPECT_EQ(operations_.in_progress(), 1U);
}

TEST_F(OperationsTest, TheWokenMayWakeOthersAndParkAgain) {
  OperationId first;
  OperationId second;
  int wakes = 0;
  start([&](const Event* event, Turn& turn) -> Step {
    first = turn.self;
    if (event == nullptr) return Park{};
    turn.woken.push_back(second);
    return ++wakes == 2 ? Step(Finish{"first"}) : Step(Park{});
  });
  start([&](const Event* event, Turn& turn) -> Step {
    second = turn.self;
    if (event == nullptr) return Park{};
    return Finish{"second"};
  });
  const Script waker = [&](const Event*, Turn& turn) {
    turn.woken.push_back(first);
    return Finish{"waker"};
  };
  start(waker);
  EXPECT_THAT(finished_, ElementsAre("waker", "second"));
  start(waker);
  EXPECT_THAT(finished_, ElementsAre("waker", "second", "waker", "first"));
}

TEST_F(OperationsTest, WakingOneThatWaitsForSomethingElseDoesNothing) {
  OperationId busy;
  int calls = 0;
  start([&](const Event* event, Turn& turn) -> Step {
    busy = turn.self;
    ++calls;
    if (event == nullptr) return Sleep{std::chrono::milliseconds(1)};
    return Finish{"busy"};
  });
  start([&](const Event*, Turn& turn) {
    turn.woken.push_back(busy);
    return Finish{"waker"};
  });
  EXPECT_EQ(calls, 1);
  ASSERT_TRUE(until([&] { return finished_.size() == 2; }));
  EXPECT_EQ(calls, 2);
}

TEST_F(OperationsTest, AStaleIdWakesNobodyNotEvenTheNextInItsPlace) {
  OperationId ended;
  start([&](const Event*, Turn& turn) {
    ended = turn.self;
    return Finish{"ended"};
  });
  start([&](const Event* event, Turn& turn) -> Step {
    EXPECT_EQ(turn.self.index, ended.index);
    if (event == nullptr) return Park{};
    return Finish{"woken"};
  });
  start([&](const Event*, Turn& turn) {
    turn.woken = {ended, {77, 1}};
    return Finish{"waker"};
  });
  EXPECT_THAT(finished_, ElementsAre("ended", "waker"));
  EXPECT_EQ(operations_.in_progress(), 1U);
}

TEST_F(OperationsTest, FinishingMayStartTheNext) {
  int started = 0;
  std::function<void()> next = [&] {
    if (++started > 100) return;
    operations_.start(std::make_unique<Scripted>([](const Event*, Turn&) { return Finish{}; }), nullptr,
                      [&](const Finish&) { next(); });
  };
  next();
  EXPECT_EQ(started, 101);
  EXPECT_EQ(operations_.in_progress(), 0U);
}

}  // namespace
}  // namespace sluice::proxy

// PolicyRedis: every call is answered once, whatever becomes of the connection.
#include "proxy/policy_redis.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policies/counter_scripts.h"
#include "policies/fuse_scripts.h"
#include "tests/proxy/peer.h"

namespace sluice::proxy {
namespace {

using policies::RedisCommand;
using testing::ElementsAre;
using testing::HasSubstr;
using Outcome = PolicyRedis::Outcome;

// A Redis that lets everybody in and knows no data.
std::string welcome(const Words& command) {
  if (command[0] == "SCRIPT") return "$1\r\nx\r\n";
  if (command[0] == "PING") return "+PONG\r\n";
  return "+OK\r\n";
}

class PolicyRedisTest : public ::testing::Test {
 protected:
  void start(conf::UpstreamOptions options) {
    redis_.emplace(loop_, options, sent_, scripts_);
    redis_->connect();
  }
  void start() { start(upstream_at(peer_.endpoint())); }
  void start_welcome() {
    peer_.answer_with(welcome);
    start();
    ASSERT_TRUE(until([&] { return redis_->up(); }));
  }
  bool until(const std::function<bool()>& done) { return run_until(loop_, peer_, done); }

  void call(std::vector<RedisCommand> commands) {
    redis_->call(std::move(commands), [this](Outcome outcome) { outcomes_.push_back(std::move(outcome)); });
  }
  Outcome outcome(std::size_t at = 0) {
    EXPECT_TRUE(until([&] { return outcomes_.size() > at; }));
    return outcomes_.size() > at ? outcomes_[at] : Outcome{};
  }
  // The commands that came after the greeting.
  std::vector<Words> asked() const {
    auto all = peer_.commands();
    std::size_t greeting = 0;
    while (greeting < all.size() && all[greeting][0] != "PING") ++greeting;
    all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(greeting + 1, all.size())));
    return all;
  }

  EventLoop loop_;
  Peer peer_;
  std::vector<Outcome> outcomes_;
  policies::Count sent_;
  std::vector<ScriptCounts> scripts_ = std::vector<ScriptCounts>(policies::all_scripts().size());
  std::optional<PolicyRedis> redis_;
};

TEST_F(PolicyRedisTest, AuthenticatesSelectsAndLoadsEveryScriptBeforeItIsUp) {
  auto options = upstream_at(peer_.endpoint());
  options.user = "sluice";
  options.password = "secret";
  options.db = 3;
  start(options);
  const std::size_t greeting = policies::all_scripts().size() + 3;
  ASSERT_TRUE(until([&] { return peer_.commands().size() == greeting; }));
  const auto commands = peer_.commands();
  EXPECT_THAT(commands[0], ElementsAre("AUTH", "sluice", "secret"));
  EXPECT_THAT(commands[1], ElementsAre("SELECT", "3"));
  EXPECT_THAT(commands[2], ElementsAre("SCRIPT", "LOAD", policies::all_scripts()[0]->text));
  EXPECT_THAT(commands.back(), ElementsAre("PING"));
  for (std::size_t i = 0; i + 1 < greeting; ++i) peer_.send("+OK\r\n");
  run_some(loop_, peer_);
  EXPECT_FALSE(redis_->up());
  peer_.send("+PONG\r\n");
  EXPECT_TRUE(until([&] { return redis_->up(); }));
  EXPECT_EQ(redis_->why_down(), "");
}

TEST_F(PolicyRedisTest, APasswordWithoutAUserIsTheOldFormOfAuth) {
  auto options = upstream_at(peer_.endpoint());
  options.password = "secret";
  start(options);
  ASSERT_TRUE(until([&] { return !peer_.commands().empty(); }));
  EXPECT_THAT(peer_.commands()[0], ElementsAre("AUTH", "secret"));
}

TEST_F(PolicyRedisTest, GivesOneReplyPerCommandInOrder) {
  start_welcome();
  peer_.answer_with([](const Words& command) -> std::string {
    if (command[0] == "ONE") return "$3\r\none\r\n";
    if (command[0] == "TWO") return "*2\r\n:2\r\n$-1\r\n";
    return "-ERR three\r\n";
  });
  call({{nullptr, {"ONE"}}, {nullptr, {"TWO"}}, {nullptr, {"THREE"}}});
  EXPECT_TRUE(outcomes_.empty());
  const Outcome got = outcome();
  EXPECT_FALSE(got.lost);
  ASSERT_EQ(got.replies.size(), 3U);
  EXPECT_EQ(got.replies[0].text, "one");
  ASSERT_EQ(got.replies[1].items.size(), 2U);
  EXPECT_EQ(got.replies[1].items[0].integer, 2);
  EXPECT_TRUE(got.replies[1].items[1].is_nil());
  EXPECT_TRUE(got.replies[2].is_error());
  EXPECT_EQ(got.replies[2].text, "ERR three");
}

TEST_F(PolicyRedisTest, PipelinesCallsAndAnswersThemInOrder) {
  start_welcome();
  peer_.answer_with([](const Words& command) { return "+" + command[0] + "\r\n"; });
  for (const char* name : {"A", "B", "C"}) call({{nullptr, {name}}});
  EXPECT_EQ(redis_->in_flight(), 3U);
  EXPECT_EQ(outcome(2).replies[0].text, "C");
  EXPECT_EQ(outcomes_[0].replies[0].text, "A");
  EXPECT_EQ(outcomes_[1].replies[0].text, "B");
}

TEST_F(PolicyRedisTest, CallsAScriptByItsDigest) {
  start_welcome();
  const policies::Script* script = &policies::counters::add();
  call({{script, {"1", "key", "arg"}}});
  outcome();
  EXPECT_THAT(asked(), ElementsAre(ElementsAre("EVALSHA", script->sha1, "1", "key", "arg")));
}

TEST_F(PolicyRedisTest, SendsTheTextOfAScriptThatRedisHasForgotten) {
  start_welcome();
  const policies::Script* script = &policies::counters::add();
  peer_.answer_with([](const Words& command) -> std::string {
    if (command[0] == "EVALSHA") return "-NOSCRIPT No matching script\r\n";
    return command[0] == "EVAL" ? ":42\r\n" : "+other\r\n";
  });
  call({{nullptr, {"FIRST"}}, {script, {"1", "key"}}, {nullptr, {"LAST"}}});
  const Outcome got = outcome();
  ASSERT_EQ(got.replies.size(), 3U);
  EXPECT_EQ(got.replies[0].text, "other");
  EXPECT_EQ(got.replies[1].integer, 42);
  EXPECT_EQ(got.replies[2].text, "other");
  EXPECT_THAT(asked().back(), ElementsAre("EVAL", script->text, "1", "key"));
}

TEST_F(PolicyRedisTest, RetriesSeveralForgottenScriptsInTheirOrder) {
  start_welcome();
  const policies::Script* script = &policies::counters::add();
  peer_.answer_with([](const Words& command) -> std::string {
    return command[0] == "EVALSHA" ? "-NOSCRIPT x\r\n" : "+" + command[3] + "\r\n";
  });
  call({{script, {"1", "a"}}, {script, {"1", "b"}}});
  const Outcome got = outcome();
  ASSERT_EQ(got.replies.size(), 2U);
  EXPECT_EQ(got.replies[0].text, "a");
  EXPECT_EQ(got.replies[1].text, "b");
}

TEST_F(PolicyRedisTest, KeepsEarlyCallsUntilItIsUp) {
  start();
  call({{nullptr, {"EARLY"}}});
  ASSERT_TRUE(until([&] { return peer_.connected(); }));
  run_some(loop_, peer_);
  EXPECT_TRUE(asked().empty());
  peer_.answer_with(welcome);
  EXPECT_EQ(outcome().replies[0].text, "OK");
}

TEST_F(PolicyRedisTest, ACallWhileClosedIsLostAndWasNotSent) {
  redis_.emplace(loop_, upstream_at(peer_.endpoint()), sent_, scripts_);
  call({{nullptr, {"X"}}});
  EXPECT_TRUE(outcomes_.empty());  // never before call() returns
  const Outcome got = outcome();
  EXPECT_TRUE(got.lost);
  EXPECT_FALSE(got.sent);
}

TEST_F(PolicyRedisTest, CallsInFlightMayHaveRunWhenTheConnectionIsLost) {
  start_welcome();
  peer_.answer_with([](const Words&) { return std::string(); });
  call({{nullptr, {"A"}}});
  call({{nullptr, {"B"}}});
  ASSERT_TRUE(until([&] { return asked().size() == 2; }));
  peer_.hang_up();
  EXPECT_TRUE(outcome(1).lost);
  EXPECT_TRUE(outcomes_[0].sent);
  EXPECT_TRUE(outcomes_[1].sent);
  EXPECT_FALSE(redis_->up());
}

TEST_F(PolicyRedisTest, EarlyCallsWereNotSentWhenTheGreetingFails) {
  start();
  call({{nullptr, {"EARLY"}}});
  ASSERT_TRUE(until([&] { return peer_.connected(); }));
  peer_.hang_up();
  const Outcome got = outcome();
  EXPECT_TRUE(got.lost);
  EXPECT_FALSE(got.sent);
}

TEST_F(PolicyRedisTest, StaysDownAndSaysWhyWhenItsCredentialsAreRefused) {
  peer_.answer_with([](const Words& command) {
    return command[0] == "AUTH" ? std::string("-WRONGPASS invalid password\r\n") : welcome(command);
  });
  auto options = upstream_at(peer_.endpoint());
  options.password = "wrong";
  start(options);
  call({{nullptr, {"EARLY"}}});
  EXPECT_TRUE(outcome().lost);
  EXPECT_FALSE(outcomes_[0].sent);
  EXPECT_FALSE(redis_->up());
  EXPECT_THAT(redis_->why_down(), HasSubstr("WRONGPASS invalid password"));
}

TEST_F(PolicyRedisTest, ComesBackByItselfAndTellsOfEveryChange) {
  std::vector<bool> changes;
  peer_.answer_with(welcome);
  redis_.emplace(loop_, upstream_at(peer_.endpoint()), sent_, scripts_);
  redis_->on_change([&] { changes.push_back(redis_->up()); });
  redis_->connect();
  ASSERT_TRUE(until([&] { return redis_->up(); }));
  peer_.hang_up();
  ASSERT_TRUE(until([&] { return changes.size() == 3; }));
  EXPECT_THAT(changes, ElementsAre(true, false, true));
  EXPECT_EQ(peer_.connections(), 2);
  call({{nullptr, {"X"}}});
  EXPECT_EQ(outcome().replies[0].text, "OK");
}

TEST_F(PolicyRedisTest, AReplyThatWasCutByALossIsForgotten) {
  start_welcome();
  peer_.answer_with([](const Words&) { return std::string("$10\r\n123"); });
  call({{nullptr, {"A"}}});
  ASSERT_TRUE(until([&] { return asked().size() == 1; }));
  run_some(loop_, peer_);
  peer_.answer_with(welcome);
  peer_.hang_up();
  EXPECT_TRUE(outcome().lost);
  ASSERT_TRUE(until([&] { return redis_->up(); }));
  call({{nullptr, {"B"}}});
  EXPECT_EQ(outcome(1).replies[0].text, "OK");
}

TEST_F(PolicyRedisTest, GivesUpAConnectionThatSendsWhatNobodyAskedFor) {
  start_welcome();
  peer_.send("+surprise\r\n");
  ASSERT_TRUE(until([&] { return !redis_->up(); }));
  EXPECT_THAT(redis_->why_down(), HasSubstr("not a reply"));
}

TEST_F(PolicyRedisTest, GivesUpAConnectionThatDoesNotSpeakRedis) {
  start_welcome();
  peer_.answer_with([](const Words&) { return std::string("HTTP/1.1 400\r\n"); });
  call({{nullptr, {"A"}}});
  EXPECT_TRUE(outcome().lost);
  EXPECT_TRUE(outcomes_[0].sent);
}

TEST_F(PolicyRedisTest, DoesNotComeBackOnceClosed) {
  start_welcome();
  redis_->close();
  run_some(loop_, peer_);
  EXPECT_EQ(peer_.connections(), 1);
}

}  // namespace
}  // namespace sluice::proxy

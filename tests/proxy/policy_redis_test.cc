// PolicyRedis: every call is answered once, whatever becomes of the connection.
#include "proxy/policy_redis.h"

#include <optional>
#include <string>
#include <thread>
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

RedisCommand arm(const std::string& key, std::vector<std::string> told = {"token"}) {
  RedisCommand command{&policies::fuse::arm(), {"2", key, "side-" + key}};
  command.args.insert(command.args.end(), told.begin(), told.end());
  return command;
}

// The data keys of a call of a batch script.
Words keys_of(const Words& command) {
  Words keys;
  for (int i = 0; i < std::stoi(command.at(2)); i += 2) keys.push_back(command.at(3 + static_cast<std::size_t>(i)));
  return keys;
}

// Answers a batch script with the name of every key, and all else with its own name.
std::string echo(const Words& command) {
  if (!command[0].starts_with("EVAL")) return "+" + command[0] + "\r\n";
  const Words keys = keys_of(command);
  std::string reply = "*" + std::to_string(keys.size()) + "\r\n";
  for (const std::string& key : keys) reply += "+" + key + "\r\n";
  return reply;
}

class PolicyRedisTest : public ::testing::Test {
 protected:
  void start(conf::UpstreamOptions options) {
    redis_.emplace(loop_, options, kPatience, sent_, scripts_);
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

TEST_F(PolicyRedisTest, CallsOfOneTurnShareOneCallOfTheScript) {
  start_welcome();
  peer_.answer_with(echo);
  call({arm("a", {"t1", "x"})});
  call({arm("b", {})});
  call({arm("c", {"t3", "y", "z"})});
  EXPECT_EQ(redis_->in_flight(), 0U);
  EXPECT_EQ(outcome(2).replies[0].text, "c");
  EXPECT_EQ(outcomes_[0].replies[0].text, "a");
  EXPECT_EQ(outcomes_[1].replies[0].text, "b");
  EXPECT_THAT(asked(), ElementsAre(ElementsAre("EVALSHA", policies::fuse::arm().sha1, "6", "a", "side-a", "b", "side-b",
                                               "c", "side-c", "2", "t1", "x", "0", "3", "t3", "y", "z")));
}

TEST_F(PolicyRedisTest, CallsOfDifferentTurnsDoNotWaitForEachOther) {
  start_welcome();
  peer_.answer_with(echo);
  call({arm("a")});
  uv_run(loop_.uv(), UV_RUN_NOWAIT);
  EXPECT_EQ(redis_->in_flight(), 1U);
  call({arm("b")});
  EXPECT_EQ(outcome(1).replies[0].text, "b");
  EXPECT_EQ(asked().size(), 2U);
}

TEST_F(PolicyRedisTest, EveryScriptIsCalledByItself) {
  start_welcome();
  peer_.answer_with(echo);
  call({arm("a")});
  call({{&policies::fuse::inval(), {"2", "b", "side-b"}}});
  call({arm("c")});
  outcome(2);
  ASSERT_EQ(asked().size(), 2U);
  EXPECT_THAT(keys_of(asked()[0]), ElementsAre("a", "c"));
  EXPECT_THAT(keys_of(asked()[1]), ElementsAre("b"));
}

TEST_F(PolicyRedisTest, ACallOfManyKindsIsAnsweredInItsOwnOrder) {
  start_welcome();
  peer_.answer_with(echo);
  call({arm("other")});
  call({arm("a"), {nullptr, {"PLAIN"}}, {&policies::fuse::inval(), {"2", "b", "side-b"}}, arm("c")});
  const Outcome got = outcome(1);
  ASSERT_EQ(got.replies.size(), 4U);
  EXPECT_EQ(got.replies[0].text, "a");
  EXPECT_EQ(got.replies[1].text, "PLAIN");
  EXPECT_EQ(got.replies[2].text, "b");
  EXPECT_EQ(got.replies[3].text, "c");
  EXPECT_EQ(asked().size(), 3U);
}

TEST_F(PolicyRedisTest, TheErrorOfOneKeyIsOnlyItsOwn) {
  start_welcome();
  peer_.answer_with([](const Words&) { return std::string("*3\r\n:1\r\n-WRONGTYPE two\r\n*1\r\n$3\r\nHIT\r\n"); });
  for (const char* key : {"a", "b", "c"}) call({arm(key)});
  EXPECT_EQ(outcome(2).replies[0].items.at(0).text, "HIT");
  EXPECT_EQ(outcomes_[0].replies[0].integer, 1);
  EXPECT_TRUE(outcomes_[1].replies[0].is_error());
  EXPECT_EQ(outcomes_[1].replies[0].text, "WRONGTYPE two");
}

TEST_F(PolicyRedisTest, AnErrorOfTheWholeCallIsThatOfEveryKey) {
  start_welcome();
  peer_.answer_with([](const Words&) { return std::string("-BUSY later\r\n"); });
  call({arm("a"), arm("b")});
  const Outcome got = outcome();
  ASSERT_EQ(got.replies.size(), 2U);
  for (const auto& reply : got.replies) EXPECT_EQ(reply.text, "BUSY later");
}

TEST_F(PolicyRedisTest, FewerRepliesThanKeysAreAnErrorOfEveryKey) {
  start_welcome();
  peer_.answer_with([](const Words&) { return std::string("*1\r\n:1\r\n"); });
  call({arm("a"), arm("b")});
  const Outcome got = outcome();
  ASSERT_EQ(got.replies.size(), 2U);
  for (const auto& reply : got.replies) EXPECT_TRUE(reply.is_error());
}

TEST_F(PolicyRedisTest, AFullBatchDoesNotWaitForTheEndOfTheTurn) {
  start_welcome();
  peer_.answer_with(echo);
  for (int i = 0; i < 130; ++i) call({arm(std::to_string(i))});
  EXPECT_EQ(redis_->in_flight(), 2U);
  EXPECT_EQ(outcome(129).replies[0].text, "129");
  ASSERT_EQ(asked().size(), 3U);
  EXPECT_EQ(keys_of(asked()[0]).size(), 64U);
  EXPECT_EQ(keys_of(asked()[1]).size(), 64U);
  EXPECT_THAT(keys_of(asked()[2]), ElementsAre("128", "129"));
}

TEST_F(PolicyRedisTest, ABatchHasABoundInBytesAndWhatIsLargerTravelsAlone) {
  start_welcome();
  peer_.answer_with(echo);
  const std::string some(100 << 10, 'x'), more(300 << 10, 'x');
  for (const char* key : {"a", "b", "c"}) call({arm(key, {some})});
  call({arm("large", {more})});
  call({arm("small")});
  EXPECT_EQ(outcome(4).replies[0].text, "small");
  std::vector<Words> batches;
  for (const Words& command : asked()) batches.push_back(keys_of(command));
  EXPECT_THAT(batches, ElementsAre(Words{"a", "b"}, Words{"c"}, Words{"large"}, Words{"small"}));
}

TEST_F(PolicyRedisTest, SendsTheTextOfAForgottenBatchForAllItsKeys) {
  start_welcome();
  peer_.answer_with([](const Words& command) {
    return command[0] == "EVALSHA" ? std::string("-NOSCRIPT No matching script\r\n") : echo(command);
  });
  call({arm("a")});
  call({arm("b")});
  EXPECT_EQ(outcome(1).replies[0].text, "b");
  EXPECT_EQ(outcomes_[0].replies[0].text, "a");
  ASSERT_EQ(asked().size(), 2U);
  EXPECT_EQ(asked()[1][0], "EVAL");
  EXPECT_EQ(asked()[1][1], policies::fuse::arm().text);
  EXPECT_THAT(keys_of(asked()[1]), ElementsAre("a", "b"));
}

TEST_F(PolicyRedisTest, WhatWasGatheredInTheTurnOfALossWasNotSent) {
  start_welcome();
  peer_.answer_with([](const Words&) { return std::string(); });
  std::vector<std::string> lost;
  redis_->call({{nullptr, {"A"}}}, [&](const Outcome&) {
    redis_->call({arm("a")}, [&](const Outcome& got) {
      EXPECT_TRUE(got.lost);
      lost.emplace_back(got.sent ? "?" : "not sent");
    });
    redis_->call({arm("b"), {nullptr, {"B"}}, arm("c")}, [&](const Outcome& got) {
      EXPECT_TRUE(got.lost);
      lost.emplace_back(got.sent ? "partly sent" : "?");
    });
  });
  ASSERT_TRUE(until([&] { return asked().size() == 1; }));
  peer_.send("+OK\r\n");
  peer_.hang_up();
  ASSERT_TRUE(until([&] { return lost.size() == 2; }));
  run_some(loop_, peer_);
  EXPECT_THAT(lost, testing::UnorderedElementsAre("not sent", "partly sent")) << "each is told once";
}

TEST_F(PolicyRedisTest, ABatchInFlightMayHaveRunWhenTheConnectionIsLost) {
  start_welcome();
  peer_.answer_with([](const Words&) { return std::string(); });
  call({arm("a")});
  call({arm("b"), arm("c")});
  ASSERT_TRUE(until([&] { return asked().size() == 1; }));
  peer_.hang_up();
  ASSERT_TRUE(until([&] { return outcomes_.size() == 2; }));
  run_some(loop_, peer_);
  ASSERT_EQ(outcomes_.size(), 2U) << "each is told once";
  for (const Outcome& got : outcomes_) EXPECT_TRUE(got.lost && got.sent);
}

TEST_F(PolicyRedisTest, EarlyCallsAreGatheredToo) {
  start();
  for (const char* key : {"a", "b"}) call({arm(key)});
  peer_.answer_with([](const Words& command) { return command[0] == "EVALSHA" ? echo(command) : welcome(command); });
  EXPECT_EQ(outcome(1).replies[0].text, "b");
  EXPECT_EQ(asked().size(), 1U);
}

TEST_F(PolicyRedisTest, CountsCallsAndRunsOfEveryScript) {
  start_welcome();
  peer_.answer_with(echo);
  const auto before = sent_.value();
  for (const char* key : {"a", "b", "c"}) call({arm(key)});
  call({{nullptr, {"PLAIN"}}});
  outcome(3);
  EXPECT_EQ(sent_.value() - before, 2U);
  EXPECT_EQ(policies::all_scripts()[0], &policies::fuse::arm());
  EXPECT_EQ(scripts_[0].calls.value(), 1U);
  EXPECT_EQ(scripts_[0].runs.value(), 3U);
  EXPECT_EQ(scripts_[1].calls.value(), 0U);
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
  redis_.emplace(loop_, upstream_at(peer_.endpoint()), kPatience, sent_, scripts_);
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

TEST_F(PolicyRedisTest, ARedisThatDoesNotAnswerCountsAsGone) {
  peer_.answer_with(welcome);
  redis_.emplace(loop_, upstream_at(peer_.endpoint()), std::chrono::milliseconds(50), sent_, scripts_);
  redis_->connect();
  ASSERT_TRUE(until([&] { return redis_->up(); }));
  std::string why;
  redis_->on_change([&] { why = why.empty() ? redis_->why_down() : why; });
  peer_.answer_with([](const Words&) { return std::string(); });
  call({{nullptr, {"A"}}});
  const Outcome got = outcome();
  EXPECT_TRUE(got.lost);
  EXPECT_TRUE(got.sent);
  EXPECT_THAT(why, HasSubstr("has not answered for"));
}

// It may be this process that stood still, and not Redis.
TEST_F(PolicyRedisTest, AnAnswerThatHasArrivedBeforeItIsMissedCounts) {
  peer_.answer_with(welcome);
  redis_.emplace(loop_, upstream_at(peer_.endpoint()), std::chrono::milliseconds(50), sent_, scripts_);
  redis_->connect();
  ASSERT_TRUE(until([&] { return redis_->up(); }));
  peer_.answer_with([](const Words&) { return std::string(); });
  call({{nullptr, {"A"}}});
  ASSERT_TRUE(until([&] { return asked().size() == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  peer_.send("+OK\r\n");  // the timer has gone off before, and is told first
  EXPECT_FALSE(outcome().lost);
  EXPECT_EQ(peer_.connections(), 1);
}

TEST_F(PolicyRedisTest, ASilenceInWhichNothingIsAskedIsNone) {
  peer_.answer_with(welcome);
  redis_.emplace(loop_, upstream_at(peer_.endpoint()), std::chrono::milliseconds(20), sent_, scripts_);
  redis_->connect();
  ASSERT_TRUE(until([&] { return redis_->up(); }));
  bool over = false;
  loop_.after(std::chrono::milliseconds(100), [&] { over = true; });
  ASSERT_TRUE(until([&] { return over; }));
  call({{nullptr, {"A"}}});
  EXPECT_EQ(outcome().replies[0].text, "OK");
  EXPECT_EQ(peer_.connections(), 1);
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
  redis_.emplace(loop_, upstream_at(peer_.endpoint()), kPatience, sent_, scripts_);
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

TEST_F(PolicyRedisTest, ACallAfterCloseIsLostAndWasNotSent) {
  start_welcome();
  call({arm("gathered when it is closed")});
  redis_->close();
  call({{nullptr, {"X"}}});
  call({arm("a")});
  EXPECT_TRUE(outcome(1).lost);
  EXPECT_FALSE(outcomes_[0].sent);
  EXPECT_FALSE(outcomes_[1].sent);
}

TEST_F(PolicyRedisTest, DoesNotComeBackOnceClosed) {
  start_welcome();
  redis_->close();
  run_some(loop_, peer_);
  EXPECT_EQ(peer_.connections(), 1);
}

}  // namespace
}  // namespace sluice::proxy

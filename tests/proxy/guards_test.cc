// Guards: what is asked of Redis around forwarded commands, and what the client is told.
#include "proxy/guards.h"

#include <chrono>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policies/fuse_scripts.h"

namespace sluice::proxy {
namespace {

using policies::CallRedis;
using policies::Finish;
using policies::RedisCommand;
using policies::Step;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class Driver {
 public:
  explicit Driver(std::unique_ptr<policies::Operation> operation) : operation_(std::move(operation)) {}
  Step start() { return operation_->start(turn_); }
  Step replies(std::vector<resp::Reply> replies) {
    return operation_->resume(policies::RedisReplies{std::move(replies)}, turn_);
  }
  Step lost(bool sent) { return operation_->resume(policies::RedisLost{sent}, turn_); }

 private:
  std::unique_ptr<policies::Operation> operation_;
  std::vector<policies::OperationId> woken_;
  policies::Turn turn_{{}, {}, 0, woken_};
};

resp::Reply integer(std::int64_t value) { return {resp::Reply::Type::integer, value, {}, {}}; }
resp::Reply status(std::string text) { return {resp::Reply::Type::status, 0, std::move(text), {}}; }
resp::Reply error(std::string text) { return {resp::Reply::Type::error, 0, std::move(text), {}}; }
resp::Reply bulk(std::string text) { return {resp::Reply::Type::bulk, 0, std::move(text), {}}; }

std::string reply_of(const Step& step) {
  const auto* finish = std::get_if<Finish>(&step);
  return finish == nullptr ? "(goes on)" : finish->reply;
}

// --- Keys as text ---------------------------------------------------------------------------------------------------

TEST(Guards, KeysComeBackAsTheyWere) {
  const std::vector<std::string> keys{"a", "", "12:34", std::string("\0\r\n", 3), std::string(1000, 'x')};
  EXPECT_EQ(decode_keys(encode_keys(keys)), keys);
  EXPECT_TRUE(decode_keys("").empty());
}

// --- Clearing -------------------------------------------------------------------------------------------------------

TEST(GuardClearing, ClearsLeaseAndMarkerOfEveryKeyThenAnswers) {
  Driver driver(make_guard_clearing({{"a:1"}, {"b:2"}}, ":1\r\n"));
  const Step step = driver.start();
  EXPECT_THAT(std::get<CallRedis>(step).commands,
              ElementsAre(RedisCommand{nullptr, {"HDEL", policies::side_key("a:1"), "L", "N", "V"}},
                          RedisCommand{nullptr, {"HDEL", policies::side_key("b:2"), "L", "N", "V"}}));
  EXPECT_EQ(reply_of(driver.replies({integer(1), integer(0)})), ":1\r\n");
}

TEST(GuardClearing, DropsACopyThatWasWrittenPastItsPolicy) {
  Driver driver(make_guard_clearing({{"a:1", true}}, "+OK\r\n"));
  EXPECT_THAT(std::get<CallRedis>(driver.start()).commands,
              ElementsAre(RedisCommand{&policies::fuse::inval(), {"2", "a:1", policies::side_key("a:1")}}));
}

TEST(GuardClearing, TheReplyStandsWhenRedisIsLost) {
  Driver driver(make_guard_clearing({{"a:1"}}, "+OK\r\n"));
  driver.start();
  EXPECT_EQ(reply_of(driver.lost(true)), "+OK\r\n");
}

// --- Flushing -------------------------------------------------------------------------------------------------------

Driver flush(const std::string& acl_user = {}) {
  return Driver(make_flush_guard({"dirty:a", "dirty:b"}, {"FLUSHALL", "ASYNC"}, acl_user));
}

TEST(FlushGuard, LooksAndFlushesInOneScript) {
  Driver driver = flush();
  const Step step = driver.start();
  const auto& commands = std::get<CallRedis>(step).commands;
  ASSERT_EQ(commands.size(), 1U);
  ASSERT_NE(commands[0].script, nullptr);
  EXPECT_THAT(commands[0].args, ElementsAre("2", "dirty:a", "dirty:b", "FLUSHALL", "ASYNC"));
  EXPECT_EQ(reply_of(driver.replies({status("OK")})), "+OK\r\n");
}

TEST(FlushGuard, RefusesWhileSomethingIsUnflushed) {
  Driver driver = flush();
  driver.start();
  const std::string reply = reply_of(driver.replies({bulk("DIRTY")}));
  EXPECT_THAT(reply, StartsWith("-ERR sluice: FLUSHALL refused"));
  EXPECT_THAT(reply, HasSubstr("SLUICE SYNC"));
}

TEST(FlushGuard, AsksFirstWhetherTheUserMay) {
  Driver driver = flush("bob");
  EXPECT_THAT(std::get<CallRedis>(driver.start()).commands,
              ElementsAre(RedisCommand{nullptr, {"ACL", "DRYRUN", "bob", "FLUSHALL", "ASYNC"}}));
  EXPECT_THAT(reply_of(driver.replies({bulk("This user has no permissions to run")})), StartsWith("-NOPERM This user"));
}

TEST(FlushGuard, AUserWhoMayIsNotHeldUp) {
  Driver driver = flush("bob");
  driver.start();
  EXPECT_EQ(reply_of(driver.replies({status("OK")})), "(goes on)");
}

TEST(FlushGuard, PassesOnRedisErrors) {
  Driver driver = flush();
  driver.start();
  EXPECT_EQ(reply_of(driver.replies({error("ERR syntax error")})), "-ERR syntax error\r\n");
}

TEST(FlushGuard, ClosesWithoutAReplyWhenItMayHaveFlushed) {
  Driver driver = flush();
  driver.start();
  EXPECT_EQ(reply_of(driver.lost(true)), "");
}

TEST(FlushGuard, SaysSoWhenRedisIsLostBeforeItFlushed) {
  Driver driver = flush("bob");
  driver.start();
  EXPECT_THAT(reply_of(driver.lost(false)), StartsWith("-LOADING sluice: upstream unavailable"));
}

}  // namespace
}  // namespace sluice::proxy

// The fuse scripts against a real Redis: arms, taint, fuses, leases.
#include "policies/fuse_scripts.h"

#include <gtest/gtest.h>

#include "policies/replies.h"
#include "tests/policies/redis_server.h"

namespace sluice::policies::testing {
namespace {

constexpr const char* kKey = "fruit:1";
constexpr const char* kHour = "3600000";

class FuseScripts : public ::testing::Test {
 protected:
  void SetUp() override { redis.call({"FLUSHALL"}); }

  resp::Reply arm(const std::string& token, const std::string& type = "", const std::string& arm_ms = "5000") {
    return redis.run(fuse::arm(), {"2", kKey, side, token, "", arm_ms, "1000", type});
  }
  std::int64_t apply_set(const std::string& token, const std::string& value) {
    return redis.run(fuse::apply(), {"2", kKey, side, token, "", "SET", "PX", kHour, "1", value}).integer;
  }
  std::int64_t apply_hset(const std::string& token, const std::string& complete, std::vector<std::string> fields) {
    std::vector<std::string> args{"2", kKey, side, token, "", "HSET", "", kHour, complete};
    args.insert(args.end(), fields.begin(), fields.end());
    return redis.run(fuse::apply(), args).integer;
  }
  void abort(const std::string& token) { redis.run(fuse::abort(), {"2", kKey, side, token, "", kHour}); }
  std::string lease(const std::string& token, const std::string& kind = "S", const std::string& ms = "3000") {
    return verdict_of(redis.run(fuse::lease(), {"2", kKey, side, token, ms, kind}));
  }
  resp::Reply fill(const std::string& token, const std::string& what, std::vector<std::string> payload,
                   const std::string& kind = "S", const std::string& ttl = kHour) {
    std::vector<std::string> args{"2", kKey, side, token, kind, what, ttl, "1000", ""};
    args.insert(args.end(), payload.begin(), payload.end());
    return redis.run(fuse::fill(), args);
  }
  std::string verdict(const resp::Reply& reply) { return verdict_of(reply); }
  std::int64_t pttl() { return redis.call({"PTTL", kKey}).integer; }
  std::string value() { return redis.text({"GET", kKey}); }
  bool side_exists() { return redis.call({"EXISTS", side}).integer == 1; }

  RedisServer& redis = RedisServer::instance();
  const std::string side = side_key(kKey);
};

TEST_F(FuseScripts, ALeaseAnswersNoMoreThanIsAsked) {
  const auto ask = [&](std::vector<std::string> what, const std::string& token = "t") {
    std::vector<std::string> args{"2", kKey, side, token, "3000"};
    args.insert(args.end(), what.begin(), what.end());
    return redis.run(fuse::lease(), args);
  };
  EXPECT_EQ(ask({"E"}).text, "LEASE");
  EXPECT_EQ(ask({"F", "a"}, "u").items.at(0).text, "WAIT");
  redis.call({"HSET", kKey, "a", "1", "b", "2"});
  EXPECT_EQ(ask({"E"}).items.at(0).text, "HIT");
  EXPECT_EQ(ask({"E"}).items.at(1).text, "");
  const resp::Reply fields = ask({"F", "none", "b"});
  EXPECT_EQ(fields.items.at(0).text, "HIT");
  ASSERT_EQ(fields.items.at(1).items.size(), 2U);
  EXPECT_EQ(fields.items[1].items[0].text, "b");
  EXPECT_EQ(fields.items[1].items[1].text, "2");
  redis.call({"SET", kKey, "text"});
  EXPECT_TRUE(ask({"F", "a"}).text.starts_with("WRONGTYPE"));
  EXPECT_EQ(ask({"E"}).items.at(0).text, "HIT");
}

TEST_F(FuseScripts, WhoHoldsALeaseMayRenewIt) {
  EXPECT_EQ(lease("t", "S", "200"), "LEASE");
  EXPECT_EQ(lease("t", "S", "60000"), "LEASE");
  EXPECT_EQ(lease("u"), "WAIT");
  EXPECT_GT(redis.run(fuse::lease(), {"2", kKey, side, "u", "3000", "S"}).items.at(1).integer, 3000);
  EXPECT_EQ(verdict(fill("t", "VALUE", {"v"})), "STORED");
}

TEST_F(FuseScripts, AnArmTurnsTheCopyIntoAFuse) {
  redis.call({"SET", kKey, "old", "PX", kHour});
  EXPECT_EQ(arm("a").integer, 1);
  EXPECT_LE(pttl(), 1000);
  EXPECT_GT(pttl(), 0);
  EXPECT_EQ(value(), "old");
}

TEST_F(FuseScripts, AShorterLifeIsNotMadeLonger) {
  redis.call({"SET", kKey, "old", "PX", "200"});
  arm("a");
  EXPECT_LE(pttl(), 200);
}

TEST_F(FuseScripts, AWriteThatWasAloneIsStored) {
  redis.call({"SET", kKey, "old"});
  arm("a");
  EXPECT_EQ(apply_set("a", "new"), 1);
  EXPECT_EQ(value(), "new");
  EXPECT_GT(pttl(), 1000);
  EXPECT_FALSE(side_exists());
}

TEST_F(FuseScripts, WritesThatOverlapDropTheCopyBoth) {
  arm("a");
  EXPECT_EQ(arm("b").integer, 0);
  EXPECT_EQ(apply_set("b", "from b"), 0);
  EXPECT_EQ(value(), "(nil)");
  EXPECT_EQ(apply_set("a", "from a"), 0);
  EXPECT_EQ(value(), "(nil)");
  EXPECT_FALSE(side_exists());
}

TEST_F(FuseScripts, AWriterThatLostItsArmTaintsTheOthers) {
  arm("a");
  redis.call({"DEL", side});
  arm("b");
  EXPECT_EQ(apply_set("a", "from a"), 0);
  EXPECT_EQ(apply_set("b", "from b"), 0);
  EXPECT_EQ(value(), "(nil)");
}

TEST_F(FuseScripts, AnArmPastItsDeadlineDropsTheCopyAndTaintsTheRest) {
  redis.call({"SET", kKey, "old"});
  arm("dead", "", "0");
  redis.call({"SET", kKey, "other"});
  EXPECT_EQ(arm("b").integer, 1);
  EXPECT_EQ(value(), "(nil)") << "who died may have written";
  arm("c", "", "0");
  EXPECT_EQ(apply_set("b", "from b"), 0) << "c overlapped";
}

TEST_F(FuseScripts, AnAbortGivesTheExpiryBack) {
  redis.call({"SET", kKey, "old", "PX", kHour});
  const auto expiry = redis.call({"PEXPIRETIME", kKey}).integer;
  arm("a");
  abort("a");
  EXPECT_EQ(redis.call({"PEXPIRETIME", kKey}).integer, expiry);
  EXPECT_FALSE(side_exists());
}

TEST_F(FuseScripts, AnAbortOfACopyWithoutExpiryMakesItPersistent) {
  redis.call({"SET", kKey, "old"});
  arm("a");
  abort("a");
  EXPECT_EQ(pttl(), -1);
}

TEST_F(FuseScripts, AnAbortLeavesAnExpiryThatWasChangedMeanwhile) {
  redis.call({"SET", kKey, "old", "PX", kHour});
  arm("a");
  redis.call({"PEXPIRE", kKey, "500"});
  abort("a");
  EXPECT_LE(pttl(), 500);
}

TEST_F(FuseScripts, AnAbortAmongOverlappingWritesLeavesTheFuse) {
  redis.call({"SET", kKey, "old", "PX", kHour});
  arm("a");
  arm("b");
  abort("a");
  EXPECT_LE(pttl(), 1000);
  abort("b");
  EXPECT_LE(pttl(), 1000);
}

TEST_F(FuseScripts, TheWrongTypeIsRefusedBeforeAnythingChanges) {
  redis.call({"SET", kKey, "text", "PX", kHour});
  const resp::Reply reply = arm("a", "hash");
  EXPECT_TRUE(reply.is_error());
  EXPECT_EQ(reply.text, redis.call({"HSET", kKey, "a", "b"}).text);
  EXPECT_GT(pttl(), 1000);
  EXPECT_FALSE(side_exists());
}

TEST_F(FuseScripts, FieldsAreMergedIntoACopyThatKeepsItsExpiry) {
  redis.call({"HSET", kKey, "a", "1", "b", "2"});
  redis.call({"PEXPIRE", kKey, kHour});
  const auto expiry = redis.call({"PEXPIRETIME", kKey}).integer;
  arm("w", "hash");
  EXPECT_EQ(apply_hset("w", "0", {"b", "3"}), 1);
  EXPECT_EQ(redis.text({"HGET", kKey, "a"}), "1");
  EXPECT_EQ(redis.text({"HGET", kKey, "b"}), "3");
  EXPECT_EQ(redis.call({"PEXPIRETIME", kKey}).integer, expiry);
}

TEST_F(FuseScripts, FieldsNeverMakeAPartialCopy) {
  arm("w", "hash");
  apply_hset("w", "0", {"b", "3"});
  EXPECT_EQ(redis.call({"EXISTS", kKey}).integer, 0);
}

TEST_F(FuseScripts, AllFieldsMakeACopy) {
  arm("w", "hash");
  apply_hset("w", "1", {"a", "1", "b", "3"});
  EXPECT_EQ(redis.call({"HLEN", kKey}).integer, 2);
  EXPECT_GT(pttl(), 1000);
}

TEST_F(FuseScripts, FieldsBeyondWhatLuaCanUnpackAreStored) {
  std::vector<std::string> fields;
  for (int i = 0; i < 10000; ++i) {
    fields.push_back("f" + std::to_string(i));
    fields.push_back("v");
  }
  arm("w", "hash");
  EXPECT_EQ(apply_hset("w", "1", fields), 1);
  EXPECT_EQ(redis.call({"HLEN", kKey}).integer, 10000);
  redis.call({"DEL", kKey});
  lease("r", "H");
  EXPECT_EQ(verdict(fill("r", "VALUE", fields, "H")), "STORED");
  EXPECT_EQ(redis.call({"HLEN", kKey}).integer, 10000);
}

TEST_F(FuseScripts, OneLeaseAtATime) {
  EXPECT_EQ(lease("a"), "LEASE");
  EXPECT_EQ(lease("b"), "WAIT");
  EXPECT_EQ(verdict(fill("a", "VALUE", {"row"})), "STORED");
  EXPECT_EQ(lease("b"), "HIT");
  EXPECT_FALSE(side_exists());
}

TEST_F(FuseScripts, AFillOlderThanAWriteIsRefused) {
  lease("r");
  arm("w");
  EXPECT_EQ(verdict(fill("r", "VALUE", {"old row"})), "REFUSED");
  EXPECT_EQ(value(), "(nil)");
}

TEST_F(FuseScripts, AFillThatSpansAWholeWriteIsRefused) {
  arm("w");
  lease("r");
  apply_set("w", "new");
  redis.call({"DEL", kKey});
  EXPECT_EQ(verdict(fill("r", "VALUE", {"old row"})), "REFUSED");
}

TEST_F(FuseScripts, AFillAnswersTheValueThatIsThere) {
  lease("r");
  redis.call({"SET", kKey, "newer"});
  const resp::Reply reply = fill("r", "VALUE", {"old row"});
  EXPECT_EQ(verdict(reply), "PRESENT");
  EXPECT_EQ(reply.items.at(1).text, "newer");
}

TEST_F(FuseScripts, AFillWithoutLeaseClearsTheLeaseOfAnother) {
  lease("a");
  EXPECT_EQ(verdict(fill("b", "VALUE", {"row"})), "REFUSED");
  EXPECT_EQ(verdict(fill("a", "VALUE", {"older row"})), "REFUSED");
}

TEST_F(FuseScripts, AFillWhileAWriteIsUnderWayBurns) {
  arm("w");
  lease("r");
  EXPECT_EQ(verdict(fill("r", "VALUE", {"row"})), "STORED");
  EXPECT_LE(pttl(), 1000);
}

TEST_F(FuseScripts, AnAbsentRowIsRememberedUntilAWrite) {
  lease("r");
  EXPECT_EQ(verdict(fill("r", "ABSENT", {})), "STORED");
  EXPECT_EQ(lease("s"), "NEG");
  arm("w");
  EXPECT_EQ(lease("s"), "LEASE");
}

TEST_F(FuseScripts, AnAbsentRowIsNotRememberedWhileAWriteIsUnderWay) {
  arm("w");
  lease("r");
  fill("r", "ABSENT", {});
  EXPECT_NE(lease("s"), "NEG");
}

TEST_F(FuseScripts, AReadThatFailedGivesTheLeaseBack) {
  lease("r");
  EXPECT_EQ(verdict(fill("r", "NONE", {})), "REFUSED");
  EXPECT_EQ(lease("s"), "LEASE");
}

TEST_F(FuseScripts, TheGuardCommandClearsLeaseAndMarker) {
  lease("r");
  fill("r", "ABSENT", {});
  std::string wire;
  append_guard_command(wire, kKey);
  EXPECT_EQ(wire, "*5\r\n$4\r\nHDEL\r\n$" + std::to_string(side.size()) + "\r\n" + side +
                      "\r\n$1\r\nL\r\n$1\r\nN\r\n$1\r\nV\r\n");
  redis.call({"HDEL", side, "L", "N", "V"});
  EXPECT_EQ(lease("s"), "LEASE");
}

TEST_F(FuseScripts, AnInvalidationDropsTheCopyAndWhatIsOnItsWay) {
  redis.call({"SET", kKey, "old"});
  arm("w");
  EXPECT_EQ(redis.run(fuse::inval(), {"2", kKey, side}).integer, 1);
  EXPECT_EQ(apply_set("w", "new"), 0);
  lease("r");
  redis.run(fuse::inval(), {"2", kKey, side});
  EXPECT_EQ(verdict(fill("r", "VALUE", {"row"})), "REFUSED");
}

TEST_F(FuseScripts, AReadOfTheWrongTypeAnswersInRedisWords) {
  redis.call({"RPUSH", kKey, "x"});
  EXPECT_EQ(lease("r"), redis.call({"GET", kKey}).text);
}

TEST_F(FuseScripts, SideKeysGoWhenIdleAndHaveATtlUntilThen) {
  lease("r", "S", "50");
  EXPECT_GT(redis.call({"PTTL", side}).integer, 50);
  EXPECT_LE(redis.call({"PTTL", side}).integer, 1050);
}

std::vector<std::string> pair_of(const std::string& key, std::vector<std::string> told) {
  std::vector<std::string> args{"2", key, side_key(key)};
  args.insert(args.end(), told.begin(), told.end());
  return args;
}

TEST_F(FuseScripts, ManyKeysAreWrittenInOneCallEach) {
  std::vector<RedisCommand> arms, applies;
  for (int i = 0; i < 64; ++i) {
    const std::string key = "fruit:" + std::to_string(i), token = "t" + std::to_string(i);
    arms.push_back({&fuse::arm(), pair_of(key, {token, "", "5000", "1000", ""})});
    applies.push_back({&fuse::apply(), pair_of(key, {token, "", "SET", "PX", kHour, "1", "v" + std::to_string(i)})});
  }
  for (const auto& reply : redis.run_together(arms)) EXPECT_EQ(reply.integer, 1) << reply.text;
  for (const auto& reply : redis.run_together(applies)) EXPECT_EQ(reply.integer, 1) << reply.text;
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(redis.text({"GET", "fruit:" + std::to_string(i)}), "v" + std::to_string(i));
  }
  EXPECT_EQ(redis.call({"DBSIZE"}).integer, 64) << "no side key is left";
}

TEST_F(FuseScripts, ArgumentsOfDifferentNumberFindTheirKeys) {
  redis.call({"HSET", "h:1", "a", "0"});
  const auto arms = redis.run_together({{&fuse::arm(), pair_of("h:1", {"x", "", "5000", "1000", "hash"})},
                                        {&fuse::arm(), pair_of("s:1", {"y", "", "5000", "1000", ""})},
                                        {&fuse::arm(), pair_of("d:1", {"z", "", "5000", "1000", ""})}});
  ASSERT_EQ(arms.size(), 3U);
  redis.call({"SET", "d:1", "old"});
  redis.run_together({{&fuse::apply(), pair_of("h:1", {"x", "", "HSET", "", kHour, "0", "a", "1", "b", "2"})},
                      {&fuse::apply(), pair_of("d:1", {"z", "", "DEL"})},
                      {&fuse::apply(), pair_of("s:1", {"y", "", "SET", "", "", "1", "text"})}});
  EXPECT_EQ(redis.text({"HGET", "h:1", "b"}), "2");
  EXPECT_EQ(redis.text({"GET", "s:1"}), "text");
  EXPECT_EQ(redis.text({"EXISTS", "d:1"}), "0");
}

TEST_F(FuseScripts, OneKeyTwiceInACallIsSeenInItsOrder) {
  const auto arms = redis.run_together({{&fuse::arm(), pair_of(kKey, {"a", "", "5000", "1000", ""})},
                                        {&fuse::arm(), pair_of(kKey, {"b", "", "5000", "1000", ""})}});
  EXPECT_EQ(arms[0].integer, 1);
  EXPECT_EQ(arms[1].integer, 0);
}

TEST_F(FuseScripts, OneKeyTwiceInACallHasOneLease) {
  const auto leases = redis.run_together({{&fuse::lease(), pair_of("a:1", {"t", "3000", "S"})},
                                          {&fuse::lease(), pair_of("b:1", {"u", "3000", "S"})},
                                          {&fuse::lease(), pair_of("a:1", {"v", "3000", "S"})}});
  ASSERT_EQ(leases.size(), 3U);
  EXPECT_EQ(verdict(leases[0]), "LEASE");
  EXPECT_EQ(verdict(leases[1]), "LEASE");
  EXPECT_EQ(verdict(leases[2]), "WAIT");
}

TEST_F(FuseScripts, WhatOneKeyHasIsNotTakenForWhatOthersHave) {
  redis.call({"SET", "b:1", "value"});
  lease("other");
  const auto leases = redis.run_together({{&fuse::lease(), pair_of("a:1", {"t", "3000", "S"})},
                                          {&fuse::lease(), pair_of("b:1", {"u", "3000", "S"})},
                                          {&fuse::lease(), pair_of(kKey, {"v", "3000", "S"})}});
  ASSERT_EQ(leases.size(), 3U);
  EXPECT_EQ(verdict(leases[0]), "LEASE");
  EXPECT_EQ(verdict(leases[1]), "HIT");
  EXPECT_EQ(verdict(leases[2]), "WAIT");
}

TEST_F(FuseScripts, TheErrorOfOneKeyIsItsReplyAndTheOthersAreDone) {
  redis.call({"RPUSH", "b:1", "x"});
  redis.call({"SET", side_key("c:1"), "not a hash"});
  std::vector<RedisCommand> arms;
  for (const char* key : {"a:1", "b:1", "c:1", "d:1"}) {
    arms.push_back({&fuse::arm(), pair_of(key, {"t", "", "5000", "1000", "hash"})});
  }
  const auto replies = redis.run_together(arms);
  ASSERT_EQ(replies.size(), 4U);
  const std::string wrong_type = redis.call({"GET", "b:1"}).text;
  EXPECT_EQ(replies[0].integer, 1);
  EXPECT_EQ(replies[1].text, wrong_type) << "said by the script";
  EXPECT_TRUE(replies[1].is_error());
  EXPECT_EQ(replies[2].text, wrong_type) << "raised by Redis";
  EXPECT_TRUE(replies[2].is_error());
  EXPECT_EQ(replies[3].integer, 1);
}

TEST_F(FuseScripts, ARedisWithoutMemorySaysSoForEachKey) {
  redis.call({"SET", "hit:1", "value"});
  redis.call({"CONFIG", "SET", "maxmemory", "1"});
  const auto replies = redis.run_together({{&fuse::lease(), pair_of("a:1", {"t", "3000", "S"})},
                                           {&fuse::lease(), pair_of("hit:1", {"t", "3000", "S"})},
                                           {&fuse::lease(), pair_of("b:1", {"t", "3000", "S"})}});
  const std::string refusal = redis.call({"SET", "x", "y"}).text;
  redis.call({"CONFIG", "SET", "maxmemory", "0"});
  ASSERT_EQ(replies.size(), 3U);
  EXPECT_EQ(replies[0].text, refusal);
  EXPECT_EQ(verdict(replies[1]), "HIT");
  EXPECT_EQ(replies[2].text, refusal);
}

TEST_F(FuseScripts, AFillOfARedisThatIsFullByNowGivesTheLeaseBack) {
  lease("r");
  redis.call({"CONFIG", "SET", "maxmemory", "1"});
  const resp::Reply filled = fill("r", "VALUE", {"row"});
  redis.call({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_EQ(verdict(filled), "STORED");
  EXPECT_FALSE(side_exists());
}

TEST_F(FuseScripts, AFillWithoutTtlStaysForEver) {
  lease("r");
  EXPECT_EQ(verdict(fill("r", "VALUE", {"row"}, "S", "0")), "STORED");
  EXPECT_EQ(value(), "row");
  EXPECT_EQ(pttl(), -1);
}

TEST_F(FuseScripts, AMistakeInTheScriptIsAnErrorOfItsKeyAlone) {
  const auto replies = redis.run_together({{&fuse::lease(), pair_of("a:1", {"t", "not a number", "S"})},
                                           {&fuse::lease(), pair_of("b:1", {"t", "3000", "S"})}});
  ASSERT_EQ(replies.size(), 2U);
  EXPECT_TRUE(replies[0].is_error());
  EXPECT_TRUE(replies[0].text.starts_with("ERR ")) << replies[0].text;
  EXPECT_EQ(verdict(replies[1]), "LEASE");
}

TEST_F(FuseScripts, ManyFieldsOfManyKeysAreStoredInOneCall) {
  std::vector<RedisCommand> arms, applies;
  for (const char* key : {"h:1", "h:2"}) {
    arms.push_back({&fuse::arm(), pair_of(key, {"t", "", "5000", "1000", "hash"})});
    applies.push_back({&fuse::apply(), pair_of(key, {"t", "", "HSET", "", kHour, "1"})});
    for (int i = 0; i < 10000; ++i) applies.back().args.insert(applies.back().args.end(), {std::to_string(i), key});
  }
  redis.run_together(arms);
  for (const auto& reply : redis.run_together(applies)) EXPECT_EQ(reply.integer, 1) << reply.text;
  for (const char* key : {"h:1", "h:2"}) {
    EXPECT_EQ(redis.call({"HLEN", key}).integer, 10000);
    EXPECT_EQ(redis.text({"HGET", key, "9999"}), key);
  }
}

// What Redis Cluster hashes, after the example in its specification.
std::string hashed(const std::string& key) {
  const auto open = key.find('{');
  if (open == std::string::npos) return key;
  const auto close = key.find('}', open + 1);
  return close == std::string::npos || close == open + 1 ? key : key.substr(open + 1, close - open - 1);
}

TEST(SideKey, SharesTheSlotOfItsKey) {
  EXPECT_EQ(side_key("fruit:1"), "__sluice:{fruit:1}:fruit:1");
  EXPECT_EQ(side_key("a{tag}b"), "__sluice:{tag}:a{tag}b");
  EXPECT_NE(side_key("x"), side_key("{x}"));
  for (const char* key : {"fruit:1", "a{tag}b", "{x}", "a{b", "{{a}b", "a{b}c{d}", "{a}}"}) {
    EXPECT_EQ(hashed(side_key(key)), hashed(key)) << key;
  }
}

TEST(SideKey, IsEmptyForKeysThatCannotBeWrapped) {
  EXPECT_EQ(side_key("a}b"), "");
  EXPECT_EQ(side_key("a{}b"), "");
}

}  // namespace
}  // namespace sluice::policies::testing

// Versions of tables: what was cached of their rows is good until somebody writes them. Against a real Redis.
#include "policies/tables.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "policies/fuse_scripts.h"
#include "policies/policy_metrics.h"
#include "policies/replies.h"
#include "tests/policies/proxy_double.h"
#include "tests/policies/step_test.h"

namespace sluice::policies::testing {
namespace {

constexpr const char* kKey = "q:1";
constexpr const char* kHour = "3600000";
constexpr std::int64_t kFuseMs = 1000;

std::string key_of(const std::string& table) { return "__sluice:table:" + table; }

TEST(TableNames, AreThoseWithoutSchemaInLowerCase) {
  EXPECT_EQ(tables::version_name("public.Fruit"), "fruit");
  EXPECT_EQ(tables::version_name("Fruit"), "fruit");
  EXPECT_EQ(tables::version_name("a,b"), "a_b");
  EXPECT_EQ(tables::version_names({"shop.Fruit", "users"}), "fruit,users");
  EXPECT_EQ(tables::version_names({}), "");
}

// --- The scripts

class TableScripts : public ::testing::Test {
 protected:
  void SetUp() override { redis.call({"FLUSHALL"}); }

  resp::Reply lease(const std::string& token, const std::string& names = "a,b", const std::string& ms = "3000") {
    return redis.run(fuse::lease_checked(), {"2", kKey, side, token, ms, names, "S"});
  }
  std::string verdict(const resp::Reply& reply) { return verdict_of(reply); }
  // The versions that a lease tells.
  std::string leased(const std::string& token, const std::string& names = "a,b") {
    const resp::Reply reply = lease(token, names);
    EXPECT_EQ(verdict(reply), "LEASE");
    return reply.items.size() > 1 ? reply.items[1].text : "";
  }
  std::string fill(const std::string& token, const std::string& versions, const std::string& names = "a,b",
                   const std::string& what = "VALUE") {
    std::vector<std::string> args{"2", kKey,  side,    token, "S", what, kHour, std::to_string(kFuseMs),
                                  "",  names, versions};
    if (what == "VALUE") args.emplace_back("row");
    return verdict(redis.run(fuse::fill_checked(), args));
  }
  // Cached, and good.
  void cache(const std::string& names = "a,b") {
    const std::string versions = leased("c0ffee", names);
    ASSERT_EQ(fill("c0ffee", versions, names), "STORED");
  }
  bool is_good(const std::string& names = "a,b") { return verdict(lease("100c", names, "0")) == "HIT"; }

  // A write of another key, a row of table `a`.
  RedisCommand arming(const std::string& token, const std::string& table = "a", const std::string& ms = "5000") {
    const std::string key = "row:" + token;
    return {&fuse::arm(), {"2", key, side_key(key), token, table, ms, "1000", ""}};
  }
  RedisCommand applying(const std::string& token, const std::string& table = "a") {
    const std::string key = "row:" + token;
    return {&fuse::apply(), {"2", key, side_key(key), token, table, "DEL"}};
  }
  RedisCommand aborting(const std::string& token, const std::string& table = "a") {
    const std::string key = "row:" + token;
    return {&fuse::abort(), {"2", key, side_key(key), token, table, "0"}};
  }
  void touch(const std::vector<std::string>& names) { redis.run(tables::touch(names, "70c8")); }

  std::int64_t version(const std::string& table = "a") {
    return std::strtoll(redis.text({"HGET", key_of(table), "v"}).c_str(), nullptr, 10);
  }
  std::int64_t arms(const std::string& table = "a") { return redis.call({"HLEN", key_of(table)}).integer - 1; }
  std::int64_t pttl(const std::string& key) { return redis.call({"PTTL", key}).integer; }

  RedisServer& redis = RedisServer::instance();
  const std::string side = side_key(kKey);
};

TEST_F(TableScripts, ACopyIsGoodUntilOneOfItsTablesIsTouched) {
  for (const char* table : {"a", "b"}) {
    cache();
    EXPECT_TRUE(is_good());
    touch({"c"});
    EXPECT_TRUE(is_good());
    touch({table});
    const resp::Reply reply = lease("1ea5e");
    EXPECT_EQ(verdict(reply), "LEASE");
    EXPECT_EQ(reply.items.at(2).integer, 1) << "there was a copy";
    EXPECT_EQ(redis.text({"GET", kKey}), "(nil)");
    redis.run(fuse::inval(), {"2", kKey, side});
  }
}

TEST_F(TableScripts, AFillThatBeganBeforeATouchIsNotStored) {
  const std::string versions = leased("1ea5e");
  touch({"b"});
  EXPECT_EQ(fill("1ea5e", versions), "REFUSED");
  EXPECT_EQ(redis.text({"GET", kKey}), "(nil)");
  EXPECT_EQ(fill("2ea5e", leased("2ea5e")), "STORED") << "its lease is gone with it";
  EXPECT_TRUE(is_good());
}

TEST_F(TableScripts, AWriteOutdatesWhenItBeginsAndWhenItEnds) {
  cache();
  redis.run(arming("aa"));
  EXPECT_FALSE(is_good());
  const std::string versions = leased("1ea5e");
  redis.run(applying("aa"));
  EXPECT_EQ(arms(), 0);
  EXPECT_EQ(fill("1ea5e", versions), "REFUSED");
  cache();
  EXPECT_TRUE(is_good());
  EXPECT_GT(pttl(kKey), kFuseMs);
}

TEST_F(TableScripts, WhatIsFilledDuringAWriteIsAFuse) {
  redis.run(arming("aa"));
  cache();
  EXPECT_LE(pttl(kKey), kFuseMs);
  EXPECT_TRUE(is_good());
  redis.call({"DEL", kKey});
  EXPECT_EQ(fill("1ea5e", leased("1ea5e"), "a,b", "ABSENT"), "STORED");
  EXPECT_EQ(verdict(lease("2ea5e")), "NEG");
  const auto time = redis.call({"TIME"});
  const std::int64_t now = std::stoll(time.items[0].text) * 1000 + std::stoll(time.items[1].text) / 1000;
  EXPECT_LE(std::stoll(redis.text({"HGET", side, "N"})), now + kFuseMs);
}

TEST_F(TableScripts, AWriteThatChangedNothingLeavesWhatWasFilledDuringIt) {
  redis.run(arming("aa"));
  const std::string versions = leased("1ea5e");
  redis.run(aborting("aa"));
  EXPECT_EQ(arms(), 0);
  EXPECT_EQ(fill("1ea5e", versions), "STORED");
  EXPECT_GT(pttl(kKey), kFuseMs);
}

TEST_F(TableScripts, AnArmPastItsDeadlineOutdatesWhatWasFilledDuringIt) {
  redis.run(arming("aa"));
  cache();
  EXPECT_TRUE(is_good());
  redis.call({"HSET", key_of("a"), "a:aa", "1"});
  EXPECT_FALSE(is_good());
  EXPECT_EQ(arms(), 0);
}

TEST_F(TableScripts, AFillFindsTheArmPastItsDeadlineToo) {
  redis.run(arming("aa"));
  const std::string versions = leased("1ea5e");
  redis.call({"HSET", key_of("a"), "a:aa", "1"});
  EXPECT_EQ(fill("1ea5e", versions), "REFUSED");
  EXPECT_EQ(arms(), 0);
}

TEST_F(TableScripts, WithoutAVersionNothingIsGood) {
  cache();
  redis.call({"DEL", key_of("a")});
  EXPECT_FALSE(is_good());
  const std::string versions = leased("1ea5e");
  redis.call({"DEL", key_of("b")});
  EXPECT_EQ(fill("1ea5e", versions), "REFUSED");
  EXPECT_EQ(redis.call({"EXISTS", key_of("b")}).integer, 0) << "a fill begins no version";
}

TEST_F(TableScripts, AVersionThatBeginsAgainIsAnother) {
  const std::string first = leased("1ea5e");
  redis.call({"DEL", key_of("a"), side});
  EXPECT_NE(leased("1ea5e"), first);
  redis.call({"HDEL", key_of("a"), "v"});
  redis.call({"DEL", side});
  EXPECT_NE(leased("1ea5e"), first);
  const std::int64_t before = version();
  redis.call({"DEL", key_of("a")});
  touch({"a"});
  EXPECT_GT(version(), 1000000) << "not 1";
  EXPECT_NE(version(), before);
  redis.call({"DEL", key_of("a")});
  redis.run(arming("aa"));
  EXPECT_GT(version(), 1000000);
  EXPECT_EQ(arms(), 1);
}

TEST_F(TableScripts, AMemoryOfAnAbsentRowIsGoodUntilTheTableIsTouched) {
  EXPECT_EQ(fill("1ea5e", leased("1ea5e"), "a,b", "ABSENT"), "STORED");
  EXPECT_EQ(verdict(lease("2ea5e")), "NEG");
  touch({"a"});
  const resp::Reply reply = lease("2ea5e");
  EXPECT_EQ(verdict(reply), "LEASE");
  EXPECT_EQ(reply.items.at(2).integer, 1);
  redis.call({"DEL", side});
  EXPECT_EQ(fill("1ea5e", leased("1ea5e"), "a,b", "ABSENT"), "STORED");
  redis.call({"DEL", key_of("b")});
  EXPECT_EQ(verdict(lease("2ea5e")), "LEASE");
}

TEST_F(TableScripts, AFillDoesNotAnswerWithACopyThatIsOutdated) {
  cache();
  touch({"a"});
  EXPECT_EQ(fill("nobody", ""), "REFUSED") << "and not PRESENT";
  EXPECT_EQ(redis.text({"GET", kKey}), "(nil)");
  cache();
  EXPECT_EQ(fill("nobody", ""), "PRESENT");
}

TEST_F(TableScripts, ACopyThatNobodyKnowsTheVersionsOfIsNotGood) {
  redis.call({"SET", kKey, "somebody's"});
  EXPECT_FALSE(is_good());
  cache();
  redis.call({"DEL", side});
  EXPECT_FALSE(is_good());
}

TEST_F(TableScripts, WhatAClientPutsThereIsNotGood) {
  const auto guarded = [&](const std::vector<std::string>& write) {
    redis.call({"HDEL", side, "L", "N", "V"});  // append_guard_command()
    redis.call(write);
  };
  cache();
  guarded({"SET", kKey, "somebody's"});
  EXPECT_FALSE(is_good());
  cache();
  guarded({"DEL", kKey});
  redis.call({"SET", kKey, "somebody's"});
  EXPECT_FALSE(is_good());
}

TEST_F(TableScripts, AVersionThatCannotBeToldIsNotEvenTheSameAsItself) {
  leased("1ea5e");
  redis.call({"DEL", key_of("a"), key_of("b")});
  EXPECT_EQ(fill("1ea5e", "-,-"), "REFUSED");
  redis.call({"SET", kKey, "old"});
  redis.call({"HSET", side, "V", "-,-"});
  EXPECT_EQ(fill("1ea5e", "-,-"), "REFUSED") << "what is there is no answer";
  EXPECT_EQ(redis.text({"GET", kKey}), "(nil)");
}

TEST_F(TableScripts, InvalReportsAWriteThatNobodyKnowsTheEndOf) {
  redis.run(arming("aa"));
  cache();
  redis.run(fuse::inval(), {"2", "row:aa", side_key("row:aa"), "aa", "a"});
  EXPECT_FALSE(is_good());
  EXPECT_EQ(arms(), 1) << "it may be under way still";
}

TEST_F(TableScripts, WritesOfOneCallRaiseAVersionOnce) {
  touch({"a", "b"});
  const std::int64_t a = version("a"), b = version("b");
  redis.run_together({arming("aa"), arming("bb", "b"), arming("cc"), arming("dd", "")});
  EXPECT_EQ(version("a"), a + 1);
  EXPECT_EQ(version("b"), b + 1);
  EXPECT_EQ(arms("a"), 2);
  redis.run_together({applying("aa"), applying("cc"), applying("dd", "")});
  EXPECT_EQ(version("a"), a + 2);
  EXPECT_EQ(arms("a"), 0);
  EXPECT_EQ(arms("b"), 1);
  redis.run_together({aborting("bb", "b")});
  EXPECT_EQ(version("b"), b + 1);
  EXPECT_EQ(arms("b"), 0);
}

TEST_F(TableScripts, AWriteThatFindsTheWrongTypeLeavesNoArm) {
  touch({"a"});
  const std::int64_t before = version();
  redis.call({"SET", "row:aa", "text"});
  RedisCommand command = arming("aa");
  command.args.back() = "hash";
  EXPECT_TRUE(redis.run(command).text.starts_with("WRONGTYPE"));
  EXPECT_EQ(version(), before);
  EXPECT_EQ(arms(), 0);
}

TEST_F(TableScripts, ArmsOfTheDeadAreSweptByTheLiving) {
  redis.run(arming("aa", "a", "0"));
  redis.run(arming("0b"));
  EXPECT_EQ(arms(), 1) << "by those whose token begins with 0";
}

TEST_F(TableScripts, AFullRedisForgetsAVersionThatItCannotRaise) {
  cache();
  redis.run(arming("aa"));
  redis.run(arming("bb"));
  const std::string versions = leased("1ea5e");
  redis.call({"HSET", key_of("a"), "a:aa", "1"});
  redis.call({"CONFIG", "SET", "maxmemory", "1"});
  touch({"b"});
  EXPECT_EQ(redis.text({"HGET", key_of("b"), "v"}), "(nil)");
  redis.run(applying("bb"));
  redis.call({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_EQ(fill("1ea5e", versions), "REFUSED");
}

TEST_F(TableScripts, AVersionOutlivesItsArmsAndGoesWhenNobodyUsesIt) {
  constexpr std::int64_t kDay = 86400000;
  touch({"a"});
  EXPECT_GT(pttl(key_of("a")), kDay - 60000);
  redis.call({"PEXPIRE", key_of("a"), "1000"});
  redis.run(arming("aa"));
  EXPECT_GT(pttl(key_of("a")), kDay - 60000);
  redis.run(arming("bb", "a", std::to_string(2 * kDay)));
  EXPECT_GT(pttl(key_of("a")), 2 * kDay - 60000);
  lease("0ea5e");
  EXPECT_GT(pttl(key_of("a")), 2 * kDay - 60000) << "there is an arm";
  redis.run_together({aborting("aa"), aborting("bb")});
  redis.call({"PEXPIRE", key_of("a"), "1000"});
  lease("0ea5e");
  EXPECT_GT(pttl(key_of("a")), kDay - 60000) << "now and then readers see to it";
}

TEST_F(TableScripts, TheVersionsOfACopyLiveAsLongAsIt) {
  cache();
  EXPECT_GE(pttl(side) + 1, pttl(kKey));
}

TEST_F(TableScripts, WithoutTablesNoVersionIsLookedAt) {
  redis.run(fuse::lease(), {"2", kKey, side, "1ea5e", "3000", "S"});
  redis.run(fuse::fill(), {"2", kKey, side, "1ea5e", "S", "VALUE", kHour, "1000", "", "row"});
  EXPECT_EQ(redis.text({"GET", kKey}), "row");
  EXPECT_EQ(redis.call({"DBSIZE"}).integer, 1);
  EXPECT_EQ(fuse::lease().text.find("__sluice:table"), std::string::npos);
  EXPECT_EQ(fuse::fill().text.find("__sluice:table"), std::string::npos);
}

// --- The operations: one policy writes the rows that another reads under other keys

class ReadersAndWriters : public ::testing::Test {
 protected:
  ReadersAndWriters() {
    RedisServer::instance().call({"FLUSHALL"});
    reading.key = key_template("view:{id:int}");
    reading.tables = {"Fruit"};
    writing.on_delete = conf::OnDelete::row;
    for (const std::int64_t id : {1, 2}) {
      sql.row(id) = {{"id", id}, {"name", std::string("apple")}, {"quantity", std::int64_t{1}}};
    }
  }

  std::string json(std::int64_t quantity) const {
    return R"({"id":1,"name":"apple","quantity":)" + std::to_string(quantity) + "}";
  }
  std::string bulk_of(std::int64_t quantity) const {
    return "$" + std::to_string(json(quantity).size()) + "\r\n" + json(quantity) + "\r\n";
  }
  std::string read(ProxyDouble& proxy) { return proxy.run(miss({"GET", "view:1"})); }
  Request write(std::int64_t quantity) const { return command({"SET", "fruit:1", json(quantity)}); }
  std::int64_t arms() { return RedisServer::instance().call({"HLEN", key_of("fruit")}).integer - 1; }
  std::int64_t version() {
    return std::strtoll(RedisServer::instance().text({"HGET", key_of("fruit"), "v"}).c_str(), nullptr, 10);
  }
  // As if so much time had passed for what the dead have left behind.
  void expire_arms() {
    const auto fields = RedisServer::instance().call({"HKEYS", key_of("fruit")});
    for (const auto& field : fields.items) {
      if (field.text != "v") RedisServer::instance().call({"HSET", key_of("fruit"), field.text, "1"});
    }
  }
  void burn() {
    const auto left = RedisServer::instance().call({"PTTL", "view:1"}).integer;
    if (left >= 0 && left <= kFuseMs) RedisServer::instance().call({"DEL", "view:1"});
  }

  SqlMap sql{fruit_table()};
  conf::PolicyOptions reading = fruit_options(), writing = written_options();
};

TEST_F(ReadersAndWriters, AnAcknowledgedWriteIsSeenThroughEveryProxy) {
  ProxyDouble one(reading, sql, 1), two(reading, sql, 2), writer(writing, sql, 3);
  EXPECT_EQ(read(one), bulk_of(1));
  EXPECT_EQ(read(two), bulk_of(1));
  EXPECT_EQ(sql.reads, 1);
  EXPECT_EQ(writer.run(write(2)), "+OK\r\n");
  EXPECT_EQ(read(one), bulk_of(2));
  EXPECT_EQ(read(two), bulk_of(2));
  EXPECT_EQ(sql.reads, 2);
  EXPECT_EQ(one.policy().metrics().stale.value(), 1U);
  EXPECT_EQ(two.policy().metrics().hits.value(), 2U);
}

TEST_F(ReadersAndWriters, AFillUnderWayDuringAWriteIsNotStored) {
  for (int before = 0; before < 4; ++before) {
    for (int after = 0; after < 8; ++after) {
      RedisServer::instance().call({"FLUSHALL"});
      sql.row(std::int64_t{1})["quantity"] = std::int64_t{1};
      ProxyDouble reader(reading, sql, 1), writer(writing, sql, 2);
      reader.run(miss({"GET", "view:2"}));  // the tables are known
      writer.run(command({"SET", "fruit:2", R"({"id":2,"name":"b","quantity":1})"}));
      const int fill = reader.begin(miss({"GET", "view:1"}));
      reader.answers_take_a_step = writer.answers_take_a_step = true;
      const int writing_it = writer.begin(write(2));
      for (int i = 0; i < before; ++i) reader.step(fill);
      for (int i = 0; i < after; ++i) writer.step(writing_it);
      reader.run(fill);
      writer.run(writing_it);
      EXPECT_EQ(read(reader), bulk_of(2)) << before << " " << after;
    }
  }
}

TEST_F(ReadersAndWriters, AWriterThatDiesAtAnyStepLeavesNothingThatOutlivesTheFuse) {
  for (int steps = 0; steps < 8; ++steps) {
    for (const bool filled_meanwhile : {false, true}) {
      RedisServer::instance().call({"FLUSHALL"});
      sql.row(std::int64_t{1})["quantity"] = std::int64_t{1};
      ProxyDouble reader(reading, sql, 1);
      read(reader);
      auto writer = std::make_unique<ProxyDouble>(writing, sql, 2);
      writer->run(command({"SET", "fruit:2", R"({"id":2,"name":"b","quantity":1})"}));
      read(reader);
      writer->answers_take_a_step = true;
      const int number = writer->begin(write(2));
      for (int i = 0; i < steps; ++i) {
        writer->step(number);
        if (filled_meanwhile) read(reader);
      }
      writer.reset();
      const std::int64_t now = std::get<std::int64_t>(sql.row(std::int64_t{1})["quantity"]);
      burn();
      EXPECT_EQ(read(reader), bulk_of(now)) << steps;
      expire_arms();
      EXPECT_EQ(read(reader), bulk_of(now)) << steps;
      EXPECT_LE(arms(), 0);
    }
  }
}

TEST_F(ReadersAndWriters, AWriteOfNothingRaisesNothingBehindItself) {
  ProxyDouble writer(writing, sql, 1);
  writer.run(write(2));
  const std::int64_t before = version();
  EXPECT_EQ(writer.run(command({"SETNX", "fruit:1", json(3)})), ":0\r\n");
  EXPECT_EQ(version(), before + 1) << "when it began only";
  EXPECT_EQ(arms(), 0);
}

TEST_F(ReadersAndWriters, OfSeveralKeysTheLastThatWritesTakesTheArmAway) {
  ProxyDouble writer(writing, sql, 1);
  writer.run(write(2));
  const std::int64_t before = version();
  Request request = command({"DEL", "fruit:1", "fruit:9", "fruit:2"});
  for (const char* key : {"fruit:1", "fruit:9", "fruit:2"}) request.keys.push_back({&writer.policy(), key});
  EXPECT_EQ(writer.run(std::move(request)), ":2\r\n");
  EXPECT_GE(version(), before + 2);
  EXPECT_EQ(arms(), 0);
}

TEST_F(ReadersAndWriters, AnArmIsNotTakenAwayBeforeTheVersionIsRaised) {
  ProxyDouble writer(writing, sql, 1);
  writer.run(write(2));
  Request request = command({"DEL", "fruit:1", "fruit:9"});
  for (const char* key : {"fruit:1", "fruit:9"}) request.keys.push_back({&writer.policy(), key});
  int aborts = 0, applies = 0;
  writer.intercept = [&](const Step& step) -> std::optional<Event> {
    const auto* call = std::get_if<CallRedis>(&step);
    if (call == nullptr) return {};
    for (const RedisCommand& each : call->commands) {
      if (each.script == &fuse::abort()) {
        ++aborts;
        EXPECT_EQ(each.args[4], "");
      }
      if (each.script == &fuse::apply()) {
        ++applies;
        EXPECT_EQ(each.args[4], "fruit");
      }
    }
    return {};
  };
  EXPECT_EQ(writer.run(std::move(request)), ":1\r\n");
  EXPECT_EQ(applies + aborts, 2);
  EXPECT_GE(applies, 1);
}

TEST_F(ReadersAndWriters, AnOutcomeThatNobodyKnowsOutdatesNowAndWhenTheArmIsOver) {
  ProxyDouble reader(reading, sql, 1), writer(writing, sql, 2);
  writer.run(write(1));
  writer.intercept = [](const Step& step) -> std::optional<Event> {
    if (!std::holds_alternative<CallSql>(step)) return {};
    return SqlDone{failed(sql::Failure::unknown)};
  };
  read(reader);
  EXPECT_TRUE(writer.run(write(2)).starts_with("-SQLUNKNOWN"));
  EXPECT_EQ(arms(), 1);
  EXPECT_EQ(read(reader), bulk_of(1));
  sql.row(std::int64_t{1})["quantity"] = std::int64_t{2};  // it took place after all
  burn();
  EXPECT_EQ(read(reader), bulk_of(2));
  expire_arms();
  EXPECT_EQ(read(reader), bulk_of(2));
}

TEST_F(ReadersAndWriters, AVersionThatCouldNotBeRaisedIsRaisedWhenRedisIsBack) {
  ProxyDouble reader(reading, sql, 1), writer(writing, sql, 2);
  writer.run(write(1));
  writer.intercept = [](const Step& step) -> std::optional<Event> {
    const auto* call = std::get_if<CallRedis>(&step);
    if (call == nullptr || call->commands[0].script != &fuse::apply()) return {};
    return RedisLost{false};
  };
  EXPECT_EQ(writer.run(write(2)), "+OK\r\n");
  const std::int64_t before = version();
  writer.intercept = nullptr;
  writer.clock += Milliseconds(1000);
  writer.run_background();
  EXPECT_EQ(version(), before + 1);
  EXPECT_EQ(read(reader), bulk_of(2));
}

TEST_F(ReadersAndWriters, APolicyThatReadsWhatOthersWriteDropsTheCopyOfWhatItWrites) {
  writing.tables = {"fruit"};
  ProxyDouble writer(writing, sql, 1);
  EXPECT_EQ(writer.run(miss({"GET", "fruit:1"})), bulk_of(1));
  EXPECT_EQ(writer.run(write(2)), "+OK\r\n");
  EXPECT_EQ(RedisServer::instance().text({"GET", "fruit:1"}), "(nil)");
  EXPECT_EQ(writer.run(miss({"GET", "fruit:1"})), bulk_of(2));
}

TEST_F(ReadersAndWriters, GetexDoesNotAnswerWithWhatIsOutdated) {
  ProxyDouble reader(reading, sql, 1), writer(writing, sql, 2);
  read(reader);
  writer.run(write(2));
  EXPECT_EQ(reader.run(command({"GETEX", "view:1", "EX", "7"})), bulk_of(2));
  EXPECT_EQ(RedisServer::instance().call({"TTL", "view:1"}).integer, 7);
  EXPECT_EQ(read(reader), bulk_of(2));
  EXPECT_EQ(reader.policy().metrics().hits.value(), 1U);
}

TEST_F(ReadersAndWriters, SourceTellsWhatAReadWouldAnswer) {
  ProxyDouble reader(reading, sql, 1);
  read(reader);
  EXPECT_EQ(reader.run(about(Verb::source, "view:1")), "*2\r\n" + bulk_of(1) + "$5\r\nredis\r\n");
  sql.row(std::int64_t{1})["quantity"] = std::int64_t{2};
  EXPECT_EQ(reader.run(reader.adopt(tables::make_touch({"FRUIT"}))), ":1\r\n");
  EXPECT_EQ(reader.run(about(Verb::source, "view:1")), "*2\r\n" + bulk_of(2) + "$3\r\nsql\r\n");
  EXPECT_EQ(reader.run(about(Verb::source, "view:1")), "*2\r\n" + bulk_of(2) + "$3\r\nsql\r\n") << "no lease is left";
}

TEST_F(ReadersAndWriters, InvalidateForgetsTheVersionsToo) {
  ProxyDouble reader(reading, sql, 1);
  read(reader);
  EXPECT_EQ(reader.run(about(Verb::invalidate, "view:1")), ":1\r\n");
  EXPECT_EQ(RedisServer::instance().call({"EXISTS", side_key("view:1")}).integer, 0);
}

TEST_F(ReadersAndWriters, WhoAsksAfterATouchDoesNotShareALoadFromBeforeIt) {
  ProxyDouble reader(reading, sql, 1);
  reader.run(miss({"GET", "view:2"}));
  const int first = reader.begin(miss({"GET", "view:1"}));
  reader.step(first);  // it has the lease
  reader.step(first);  // and what SQL says
  sql.row(std::int64_t{1})["quantity"] = std::int64_t{2};
  EXPECT_EQ(reader.run(reader.adopt(tables::make_touch({"fruit", "other"}))), ":2\r\n");
  const int second = reader.begin(miss({"GET", "view:1"}));
  EXPECT_EQ(reader.run(first), bulk_of(1)) << "it asked before";
  EXPECT_EQ(reader.run(second), bulk_of(2));
}

TEST_F(ReadersAndWriters, WhoAsksBeforeSqlIsAskedSharesWhatCannotBeStored) {
  ProxyDouble reader(reading, sql, 1);
  reader.run(miss({"GET", "view:2"}));
  const int before = sql.reads;
  const int first = reader.begin(miss({"GET", "view:1"}));
  const int second = reader.begin(miss({"GET", "view:1"}));
  reader.step(first);  // it has the lease, and asks SQL
  const int third = reader.begin(miss({"GET", "view:1"}));
  reader.step(first);
  sql.row(std::int64_t{1})["quantity"] = std::int64_t{2};
  RedisServer::instance().run(tables::touch({"fruit"}, "70c8"));
  reader.step(first);
  ASSERT_TRUE(reader.ended(first) && reader.ended(second));
  EXPECT_EQ(reader.finish(first).reply, bulk_of(1));
  EXPECT_EQ(reader.finish(second).reply, bulk_of(1));
  EXPECT_EQ(sql.reads, before + 1);
  EXPECT_EQ(reader.run(third), bulk_of(2)) << "it may have asked after the touch";
}

TEST_F(ReadersAndWriters, AFlushOfCountersTouchesTheirTableBeforeTheyAreClean) {
  SqlMap counts{counters_table()};
  RedisServer::instance().run(tables::touch({"counters"}, "70c8"));
  const auto counted = [] {
    return std::strtoll(RedisServer::instance().text({"HGET", key_of("counters"), "v"}).c_str(), nullptr, 10);
  };
  const std::int64_t before = counted();
  const conf::PolicyOptions counting = views_options();
  ProxyDouble counter(counting, counts, 1);
  counter.run(command({"INCR", "counter:home"}));
  EXPECT_EQ(counted(), before);
  bool lost = false;
  counter.intercept = [&](const Step& step) -> std::optional<Event> {
    const auto* call = std::get_if<CallRedis>(&step);
    if (lost || call == nullptr || call->commands[0].script != &tables::touch_script()) return {};
    lost = true;
    return RedisLost{false};
  };
  EXPECT_TRUE(counter.run(about(Verb::sync, "counter:home")).starts_with("-"));
  EXPECT_EQ(counter.run(about(Verb::sync, "counter:home")), ":1\r\n") << "it is dirty still";
  EXPECT_TRUE(lost);
  EXPECT_EQ(counted(), before + 1);
}

}  // namespace
}  // namespace sluice::policies::testing

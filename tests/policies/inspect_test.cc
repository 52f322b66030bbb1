// STATUS, SOURCE, DBGET and INVALIDATE of rows, against a real Redis and SQL in memory.
#include <gtest/gtest.h>

#include "policies/fuse_scripts.h"
#include "tests/policies/proxy_double.h"
#include "tests/policies/step_test.h"

namespace sluice::policies::testing {
namespace {

constexpr const char* kApple = R"({"id":1,"name":"apple","quantity":100})";
const std::string kAppleBulk = "$38\r\n" + std::string(kApple) + "\r\n";

class Inspect : public ::testing::Test {
 protected:
  Inspect() {
    redis.call({"FLUSHALL"});
    sql.row(std::int64_t{1}) = {
        {"id", std::int64_t{1}}, {"name", std::string("apple")}, {"quantity", std::int64_t{100}}};
  }

  std::string ask(Verb verb, const std::string& key = "fruit:1", resp::Version version = resp::Version::resp2) {
    Request request = about(verb, key);
    request.version = version;
    if (!proxy) proxy = std::make_unique<ProxyDouble>(options, sql);
    return proxy->run(std::move(request));
  }

  RedisServer& redis = RedisServer::instance();
  conf::PolicyOptions options = fruit_options();
  SqlMap sql{fruit_table()};
  std::unique_ptr<ProxyDouble> proxy;
};

TEST_F(Inspect, DbgetShowsSqlAndLeavesRedisAlone) {
  redis.call({"SET", "fruit:1", "cached"});
  EXPECT_EQ(ask(Verb::dbget), kAppleBulk);
  EXPECT_EQ(ask(Verb::dbget, "fruit:2"), "$-1\r\n");
  EXPECT_EQ(redis.call({"DBSIZE"}).integer, 1);
}

TEST_F(Inspect, DbgetOfAHashIsAMap) {
  options.value = conf::ValueMode::hash;
  const std::string fields = "$4\r\nname\r\n$5\r\napple\r\n$8\r\nquantity\r\n$3\r\n100\r\n";
  EXPECT_EQ(ask(Verb::dbget), "*4\r\n" + fields);
  EXPECT_EQ(ask(Verb::dbget, "fruit:1", resp::Version::resp3), "%2\r\n" + fields);
}

TEST_F(Inspect, DbgetRefusesAKeyThatIsNone) { EXPECT_EQ(ask(Verb::dbget, "fruit:x").substr(0, 13), "-ERR sluice: "); }

TEST_F(Inspect, SourceTellsWhereTheValueIs) {
  EXPECT_EQ(ask(Verb::source), "*2\r\n" + kAppleBulk + "$3\r\nsql\r\n");
  redis.call({"SET", "fruit:1", "cached"});
  EXPECT_EQ(ask(Verb::source), "*2\r\n$6\r\ncached\r\n$5\r\nredis\r\n");
  EXPECT_EQ(ask(Verb::source, "fruit:2"), "*2\r\n$-1\r\n$4\r\nnone\r\n");
}

TEST_F(Inspect, StatusComparesMeaningNotBytes) {
  redis.call({"SET", "fruit:1", R"({ "quantity":100, "name":"apple" , "id":1})"});
  EXPECT_NE(ask(Verb::status).find("synced\r\n:1\r\n"), std::string::npos);
  redis.call({"SET", "fruit:1", R"({"id":1,"name":"apple","quantity":99})"});
  EXPECT_NE(ask(Verb::status).find("synced\r\n:0\r\n"), std::string::npos);
}

TEST_F(Inspect, StatusIsAMapOfEightInBothVersions) {
  EXPECT_EQ(ask(Verb::status).substr(0, 5), "*16\r\n");
  EXPECT_EQ(ask(Verb::status, "fruit:1", resp::Version::resp3).substr(0, 4), "%8\r\n");
}

TEST_F(Inspect, StatusWithoutSqlSaysSo) {
  proxy = std::make_unique<ProxyDouble>(options, sql);
  proxy->intercept = [](const Step& step) -> std::optional<Event> {
    if (!std::holds_alternative<CallSql>(step)) return {};
    return SqlDone{failed(sql::Failure::unavailable)};
  };
  const std::string status = ask(Verb::status);
  EXPECT_NE(status.find("TRYAGAIN sluice: policy 'fruit': because"), std::string::npos) << status;
}

TEST_F(Inspect, RightsAreAskedFirst) {
  Request request = about(Verb::dbget, "fruit:1");
  request.acl_user = "bob";
  const auto policy = make_policy(options);
  for (const Verb verb : {Verb::dbget, Verb::status, Verb::source, Verb::invalidate}) {
    request.verb = verb;
    Stepper stepper(policy->begin(request));
    EXPECT_EQ(stepper.start(), Step(CallRedis{{{nullptr, {"ACL", "DRYRUN", "bob", "GET", "fruit:1"}}}}));
    EXPECT_EQ(stepper.redis({bulk("This user has no permissions to access the 'fruit:1' key")}),
              reply("-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"));
  }
}

TEST_F(Inspect, InvalidateForgetsCopyLeaseAndMarker) {
  proxy = std::make_unique<ProxyDouble>(options, sql);
  proxy->run(miss({"GET", "fruit:1"}));
  proxy->run(miss({"GET", "fruit:4"}));
  EXPECT_EQ(ask(Verb::invalidate), ":1\r\n");
  EXPECT_EQ(ask(Verb::invalidate, "fruit:4"), ":0\r\n");
  EXPECT_EQ(redis.call({"DBSIZE"}).integer, 0);
}

TEST_F(Inspect, InvalidateByPatternFindsMarkersToo) {
  proxy = std::make_unique<ProxyDouble>(options, sql);
  for (std::int64_t id = 1; id <= 1500; ++id) {
    redis.call({"SET", "fruit:" + std::to_string(id), "x"});
  }
  redis.call({"SET", "fruit:none", "not a key of the policy"});
  redis.call({"SET", "other:1", "x"});
  proxy->run(miss({"GET", "fruit:9999"}));
  EXPECT_EQ(ask(Verb::invalidate, "fruit:*"), ":1500\r\n");
  EXPECT_EQ(redis.call({"DBSIZE"}).integer, 2);
}

TEST_F(Inspect, InvalidateByPatternDropsWhatAFillStoresMeanwhile) {
  proxy = std::make_unique<ProxyDouble>(options, sql);
  ProxyDouble other(options, sql);
  const int read = other.begin(miss({"GET", "fruit:1"}));
  const auto fills = [&] {
    const auto* const call = std::get_if<CallRedis>(&other.waits_for(read));
    return call != nullptr && call->commands[0].script == &fuse::fill();
  };
  while (!fills()) ASSERT_TRUE(other.step(read));
  sql.row(std::int64_t{1})["name"] = std::string("pear");
  const int invalidation = proxy->begin(about(Verb::invalidate, "fruit:*"));
  ASSERT_TRUE(proxy->step(invalidation));  // a first scan has seen no more than a lease
  EXPECT_EQ(other.run(read), kAppleBulk);
  proxy->run(invalidation);
  EXPECT_NE(proxy->run(miss({"GET", "fruit:1"})).find("pear"), std::string::npos);
}

TEST_F(Inspect, WhatCannotBeDroppedIsToldAndKeepsNothingElse) {
  for (std::int64_t id = 1; id <= 1500; ++id) redis.call({"SET", "fruit:" + std::to_string(id), "x"});
  redis.call({"SET", "__sluice:{fruit:7}:fruit:7", "no hash"});
  EXPECT_EQ(ask(Verb::invalidate, "fruit:*").substr(0, 11), "-WRONGTYPE ");
  EXPECT_LE(redis.call({"DBSIZE"}).integer, 2) << "that key and its side key";
}

TEST_F(Inspect, APatternThatNoKeyOfThePolicyCanMatchIsNotLookedFor) {
  proxy = std::make_unique<ProxyDouble>(options, sql);
  for (const char* pattern : {"other:*", "fruits:*", "fru\\*t:?", "f?"}) {
    const int invalidation = proxy->begin(about(Verb::invalidate, pattern));
    const bool looks = std::string(pattern) == "fru\\*t:?" || std::string(pattern) == "f?";
    EXPECT_EQ(proxy->ended(invalidation), !looks) << pattern;
    EXPECT_EQ(proxy->run(invalidation), ":0\r\n");
  }
  redis.call({"SET", "fruit:1", "x"});
  EXPECT_EQ(ask(Verb::invalidate, "[f]ruit:*"), ":1\r\n");
}

TEST_F(Inspect, SourceIsNoneWhileItIsRememberedThatThereIsNoRow) {
  proxy = std::make_unique<ProxyDouble>(options, sql);
  EXPECT_EQ(proxy->run(miss({"GET", "fruit:2"})), "$-1\r\n");
  sql.row(std::int64_t{2}) = {{"id", std::int64_t{2}}, {"name", std::string("fig")}, {"quantity", std::int64_t{1}}};
  EXPECT_EQ(ask(Verb::source, "fruit:2"), "*2\r\n$-1\r\n$4\r\nnone\r\n") << "as a read would answer";
  EXPECT_NE(ask(Verb::dbget, "fruit:2").find("fig"), std::string::npos);
}

TEST_F(Inspect, SourceOfARowWhoseTimeIsOverIsNone) {
  sql::Table table = fruit_table();
  table.columns.push_back({"until", sql::ColumnType::integer});
  SqlMap timed(table);
  options = written_options();
  options.ttl_column = "until";
  ProxyDouble writer(options, timed);
  const std::int64_t now = std::stoll(redis.call({"TIME"}).items.at(0).text) * 1000;
  const auto put = [&](std::int64_t until) {
    timed.row(std::int64_t{1}) = {
        {"id", std::int64_t{1}}, {"name", std::string("fig")}, {"quantity", std::int64_t{1}}, {"until", until}};
  };
  put(now - 1);
  EXPECT_EQ(writer.run(about(Verb::source, "fruit:1")), "*2\r\n$-1\r\n$4\r\nnone\r\n");
  EXPECT_EQ(writer.run(miss({"GET", "fruit:1"})), "$-1\r\n") << "as it answers";
  EXPECT_NE(writer.run(about(Verb::dbget, "fruit:1")).find("fig"), std::string::npos);
  put(now + 3600000);
  writer.run(about(Verb::invalidate, "fruit:1"));
  EXPECT_NE(writer.run(about(Verb::source, "fruit:1")).find("$3\r\nsql\r\n"), std::string::npos);
}

// --- ROWS

class Listed : public Inspect {
 protected:
  Listed() {
    for (const std::int64_t id : {2, 3, 4}) {
      sql.row(id) = {{"id", id}, {"name", "fruit " + std::to_string(id)}, {"quantity", std::int64_t{1}}};
    }
  }

  std::string list(std::uint32_t count, const std::string& after = {}) {
    Request request = about(Verb::rows, after);
    request.count = count;
    if (!proxy) proxy = std::make_unique<ProxyDouble>(options, sql);
    return proxy->run(std::move(request));
  }
  static std::string shown(const std::string& id) {
    const std::string value = R"({"id":)" + id + R"(,"name":"fruit )" + id + R"(","quantity":1})";
    return "*2\r\n$7\r\nfruit:" + id + "\r\n$" + std::to_string(value.size()) + "\r\n" + value + "\r\n";
  }
  const std::string first = "*2\r\n$7\r\nfruit:1\r\n" + kAppleBulk;
};

TEST_F(Listed, RowsHaveTheirKeyAndValue) {
  EXPECT_EQ(list(100), "*4\r\n" + first + shown("2") + shown("3") + shown("4"));
  EXPECT_EQ(redis.call({"DBSIZE"}).integer, 0);
}

TEST_F(Listed, APageBeginsBehindTheLast) {
  EXPECT_EQ(list(2), "*2\r\n" + first + shown("2"));
  EXPECT_EQ(list(2, "fruit:2"), "*2\r\n" + shown("3") + shown("4"));
  EXPECT_EQ(list(2, "fruit:4"), "*0\r\n");
}

TEST_F(Listed, RowsThatNoKeyNamesAreLeftOutAndThePageIsFull) {
  conf::PolicyOptions by_name = views_options();
  by_name.value = conf::ValueMode::raw;
  SqlMap counters(counters_table());
  for (const char* id : {"a", "b:c", "b:d", "e"}) {
    counters.row(std::string(id)) = {{"id", std::string(id)}, {"value", std::int64_t{1}}};
  }
  ProxyDouble other(by_name, counters);
  Request request = about(Verb::rows, "");
  request.count = 2;
  EXPECT_EQ(other.run(request), "*2\r\n*2\r\n$9\r\ncounter:a\r\n$1\r\n1\r\n*2\r\n$9\r\ncounter:e\r\n$1\r\n1\r\n");
}

TEST_F(Listed, APageThatIsLargeEnoughEndsEarlyAndAnEmptyOneDoesNot) {
  proxy = std::make_unique<ProxyDouble>(options, sql);
  int calls = 0;
  proxy->intercept = [&](const Step& step) -> std::optional<Event> {
    const auto* const call = std::get_if<CallSql>(&step);
    if (call == nullptr || !std::holds_alternative<sql::ListRows>(call->op)) return {};
    auto list = std::get<sql::ListRows>(call->op);
    list.limit = 1;
    sql::Result result = sql.run(list);
    if (++calls == 1) result.rows[0][0] = sql::Value();  // of a row that no key names
    result.affected = 1;
    return SqlDone{std::move(result)};
  };
  EXPECT_EQ(list(100), "*1\r\n" + first) << "the first page has nothing to show";
  EXPECT_EQ(list(100, "fruit:2"), "*1\r\n" + shown("3"));
}

TEST_F(Listed, AKeyThatIsNoneIsRefused) { EXPECT_EQ(list(2, "fruit:x").substr(0, 13), "-ERR sluice: "); }

TEST_F(Listed, AQueryHasNoRows) {
  options.query = "SELECT * FROM fruit WHERE id = :id";
  EXPECT_EQ(list(2), "-ERR sluice: ROWS is not supported on policy 'fruit': it reads by a query\r\n");
}

TEST_F(Listed, WithoutSqlIsAnError) {
  proxy = std::make_unique<ProxyDouble>(options, sql);
  proxy->intercept = [](const Step& step) -> std::optional<Event> {
    if (!std::holds_alternative<CallSql>(step)) return {};
    return SqlDone{failed(sql::Failure::unavailable)};
  };
  EXPECT_EQ(list(2).substr(0, 17), "-TRYAGAIN sluice:");
}

TEST_F(Inspect, SyncOfRowsHasNothingToDo) { EXPECT_EQ(ask(Verb::sync), ":0\r\n"); }

}  // namespace
}  // namespace sluice::policies::testing

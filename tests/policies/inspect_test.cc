// STATUS, SOURCE, DBGET and INVALIDATE of rows, against a real Redis and SQL in memory.
#include <gtest/gtest.h>

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

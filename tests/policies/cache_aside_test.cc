// Cache-aside, step by step: misses, leases, single flight, and what becomes of every failure.
#include <gtest/gtest.h>

#include "policies/breaker.h"
#include "policies/fuse_scripts.h"
#include "policies/policy_metrics.h"
#include "tests/policies/proxy_double.h"
#include "tests/policies/step_test.h"

namespace sluice::policies::testing {
namespace {

constexpr const char* kToken = "0123456789abcdef00000001";
constexpr const char* kSide = "__sluice:{fruit:1}:fruit:1";
constexpr const char* kApple = R"({"id":1,"name":"apple","quantity":100})";
constexpr const char* kAppleReply = "$38\r\n{\"id\":1,\"name\":\"apple\",\"quantity\":100}\r\n";

class CacheAside : public ::testing::Test {
 protected:
  CacheAside() {
    options.ttl_jitter = 0;
    options.ttl = Milliseconds(60000);
  }

  Policy& policy() {
    if (!policy_) policy_ = make_policy(options);
    return *policy_;
  }
  Stepper get(std::uint32_t id = 1, const std::string& key = "fruit:1") {
    return Stepper(policy().begin(miss({"GET", key})), id);
  }
  Stepper get_without_redis(const std::string& user = "") {
    Request request = miss({"GET", "fruit:1"});
    request.redis_down = true;
    request.acl_user = user;
    return Stepper(policy().begin(std::move(request)));
  }
  Step lease_step() { return CallRedis{{{&fuse::lease(), {"2", "fruit:1", kSide, kToken, "3000", "S"}}}}; }
  Step fill_step(const std::string& what, const std::string& ttl, std::vector<std::string> payload = {}) {
    RedisCommand fill{&fuse::fill(), {"2", "fruit:1", kSide, kToken, "S", what, ttl, "1000", ""}};
    fill.args.insert(fill.args.end(), payload.begin(), payload.end());
    return CallRedis{{std::move(fill)}};
  }
  Step read_step(Milliseconds timeout = Milliseconds(3000)) {
    return CallSql{sql::ReadRow{"fruit", {{"id", std::int64_t{1}}}, {"id", "name", "quantity"}}, timeout};
  }
  // To where the lease is asked for.
  Step leasing(Stepper& load) {
    const Step first = load.start();
    return first == describe ? load.sql(described(fruit_table())) : first;
  }
  Step reading(Stepper& load) {
    leasing(load);
    return load.redis({array({bulk("LEASE")})});
  }

  // SQL does not answer so many reads.
  void break_circuit(unsigned reads = Breaker::kInRow) {
    for (unsigned i = 0; i < reads; ++i) {
      Stepper load = get();
      reading(load);
      load.sql(failed(sql::Failure::unavailable));
      load.redis({array({bulk("REFUSED")})});
    }
  }

  conf::PolicyOptions options = fruit_options();
  const std::string spared =
      "-TRYAGAIN sluice: policy 'fruit': the database has not answered, and is left alone for a while\r\n";
  const Step describe = CallSql{sql::Describe{"fruit"}, Milliseconds(3000)};
  const sql::Result apple = rows({{std::int64_t{1}, std::string("apple"), std::int64_t{100}}});
  const std::string loading = "-LOADING sluice: upstream unavailable: no connection to Redis\r\n";

 private:
  std::unique_ptr<Policy> policy_;
};

TEST_F(CacheAside, AMissLeasesReadsFillsAndReplies) {
  Stepper load = get();
  EXPECT_EQ(load.start(), describe);
  EXPECT_EQ(load.sql(described(fruit_table())), lease_step());
  EXPECT_EQ(load.redis({array({bulk("LEASE")})}), read_step());
  EXPECT_EQ(load.sql(apple), fill_step("VALUE", "60000", {kApple}));
  EXPECT_EQ(load.redis({array({bulk("STORED")})}), reply(kAppleReply));
  EXPECT_EQ(policy().metrics().misses.value(), 1U);
  EXPECT_EQ(policy().metrics().fills.value(), 1U);
}

TEST_F(CacheAside, TheTtlIsShortenedByUpToTheJitter) {
  options.ttl_jitter = 0.5;
  Stepper load = get();
  reading(load);
  const Step fill = load.sql(apple);
  const auto ttl = std::stoll(std::get<CallRedis>(fill).commands[0].args[6]);
  EXPECT_GT(ttl, 30000);
  EXPECT_LT(ttl, 60000);
}

TEST_F(CacheAside, AHashIsRepliedInTheClientsVersion) {
  options.value = conf::ValueMode::hash;
  for (const auto version : {resp::Version::resp2, resp::Version::resp3}) {
    Request request = miss({"HGETALL", "fruit:1"});
    request.version = version;
    Stepper load(policy().begin(std::move(request)));
    leasing(load);
    load.redis({array({bulk("LEASE")})});
    load.sql(rows({{std::string("apple"), std::int64_t{100}}}));
    const std::string fields = "$4\r\nname\r\n$5\r\napple\r\n$8\r\nquantity\r\n$3\r\n100\r\n";
    EXPECT_EQ(load.redis({array({bulk("STORED")})}),
              reply((version == resp::Version::resp2 ? "*4\r\n" : "%2\r\n") + fields));
  }
}

TEST_F(CacheAside, AnAbsentRowIsRememberedAndNil) {
  Stepper load = get();
  reading(load);
  EXPECT_EQ(load.sql(rows({})), fill_step("ABSENT", "10000"));
  EXPECT_EQ(load.redis({array({bulk("STORED")})}), reply("$-1\r\n"));
}

TEST_F(CacheAside, ANegativeMarkerAnswersWithoutSql) {
  Stepper load = get();
  leasing(load);
  EXPECT_EQ(load.redis({array({bulk("NEG")})}), reply("$-1\r\n"));
  EXPECT_EQ(policy().metrics().negative_hits.value(), 1U);
}

TEST_F(CacheAside, AValueThatCameMeanwhileIsTheAnswer) {
  Stepper load = get();
  leasing(load);
  EXPECT_EQ(load.redis({array({bulk("HIT"), bulk("v")})}), reply("$1\r\nv\r\n"));
  Stepper other = get();
  reading(other);
  other.sql(apple);
  EXPECT_EQ(other.redis({array({bulk("PRESENT"), bulk("newer")})}), reply("$5\r\nnewer\r\n"));
}

TEST_F(CacheAside, ARefusedFillStillAnswersWhoBeganIt) {
  Stepper load = get();
  reading(load);
  load.sql(apple);
  EXPECT_EQ(load.redis({array({bulk("REFUSED")})}), reply(kAppleReply));
  EXPECT_EQ(policy().metrics().fills_rejected.value(), 1U);
}

TEST_F(CacheAside, WaitsForTheLeaseOfAnotherProxyInGrowingPauses) {
  Stepper load = get();
  leasing(load);
  const std::vector<resp::Reply> wait{array({bulk("WAIT"), integer(2000)})};
  for (const int pause : {5, 10, 20, 40, 50, 50}) {
    EXPECT_EQ(load.redis(wait), Step(Sleep{Milliseconds(pause)}));
    EXPECT_EQ(load.resume(Elapsed{}), lease_step());
  }
  EXPECT_EQ(policy().metrics().waits.value(), 1U);
}

TEST_F(CacheAside, WhoWaitedTooLongReadsSqlAndDoesNotStore) {
  Stepper load = get();
  leasing(load);
  load.redis({array({bulk("WAIT"), integer(2000)})});
  load.clock += Milliseconds(3000);
  load.resume(Elapsed{});
  EXPECT_EQ(load.redis({array({bulk("WAIT"), integer(2000)})}), read_step());
  EXPECT_EQ(load.sql(apple), fill_step("VALUE", "60000", {kApple})) << "its token has no lease";
  EXPECT_EQ(load.redis({array({bulk("REFUSED")})}), reply(kAppleReply));
  EXPECT_EQ(policy().metrics().fills_rejected.value(), 0U);
}

TEST_F(CacheAside, MissesOfOneKeyShareAStoredFill) {
  Stepper first = get(1);
  leasing(first);
  Stepper second = get(2);
  EXPECT_EQ(second.start(), Step(Park{}));
  first.redis({array({bulk("LEASE")})});
  Stepper third = get(3);
  EXPECT_EQ(third.start(), Step(Park{}));
  first.sql(apple);
  first.redis({array({bulk("STORED")})});
  EXPECT_EQ(first.woken, (std::vector<OperationId>{{2, 1}, {3, 1}}));
  EXPECT_EQ(second.resume(Woken{}), reply(kAppleReply));
  EXPECT_EQ(third.resume(Woken{}), reply(kAppleReply));
}

TEST_F(CacheAside, WhoAskedAfterTheFillWasSentStartsOver) {
  Stepper first = get(1);
  reading(first);
  first.sql(apple);
  Stepper late = get(2);
  Stepper later = get(3);
  EXPECT_EQ(late.start(), Step(Park{}));
  EXPECT_EQ(later.start(), Step(Park{}));
  first.redis({array({bulk("STORED")})});
  EXPECT_EQ(first.woken, (std::vector<OperationId>{{2, 1}})) << "one leads, the others wait for it";
  EXPECT_TRUE(std::holds_alternative<CallRedis>(late.resume(Woken{})));
  late.redis({array({bulk("HIT"), bulk("v")})});
  EXPECT_EQ(late.woken, (std::vector<OperationId>{{3, 1}}));
  EXPECT_EQ(later.resume(Woken{}), reply("$1\r\nv\r\n"));
}

TEST_F(CacheAside, NobodySharesARefusedFill) {
  Stepper first = get(1);
  reading(first);
  Stepper second = get(2);
  second.start();
  first.sql(apple);
  first.redis({array({bulk("REFUSED")})});
  EXPECT_TRUE(std::holds_alternative<CallRedis>(second.resume(Woken{})));
}

TEST_F(CacheAside, AFailureIsSharedSoThatNobodyWaitsForTheNext) {
  Stepper first = get(1);
  reading(first);
  Stepper second = get(2);
  second.start();
  EXPECT_EQ(first.sql(failed(sql::Failure::unavailable)), fill_step("NONE", "10000"));
  const Step error = reply("-TRYAGAIN sluice: policy 'fruit': because\r\n");
  EXPECT_EQ(first.redis({array({bulk("REFUSED")})}), error);
  EXPECT_EQ(second.resume(Woken{}), error);
  EXPECT_EQ(policy().metrics().load_errors.value(), 1U);
}

TEST_F(CacheAside, ADatabaseThatDoesNotAnswerIsSpared) {
  break_circuit();
  Stepper load = get();
  leasing(load);
  EXPECT_EQ(load.redis({array({bulk("LEASE")})}), fill_step("NONE", "10000")) << "the lease is given back";
  EXPECT_EQ(load.redis({array({bulk("REFUSED")})}), reply(spared));
  EXPECT_EQ(policy().metrics().breaker_refusals.value(), 1U);
  Stepper hit = get();
  leasing(hit);
  EXPECT_EQ(hit.redis({array({bulk("NEG")})}), reply("$-1\r\n")) << "what needs no SQL is answered";
}

TEST_F(CacheAside, OneLoadTriesADatabaseThatIsSpared) {
  break_circuit();
  Stepper probe = get(1);
  probe.clock += Breaker::kPauseMin;
  EXPECT_EQ(reading(probe), read_step());
  Stepper other = get(2, "fruit:2");
  other.clock = probe.clock;
  other.start();
  EXPECT_EQ(std::get<CallRedis>(other.redis({array({bulk("LEASE")})})).commands[0].args[5], "NONE");
  EXPECT_EQ(probe.sql(apple), fill_step("VALUE", "60000", {kApple}));
  Stepper next = get(3, "fruit:3");
  next.clock = probe.clock;
  next.start();
  EXPECT_TRUE(std::holds_alternative<CallSql>(next.redis({array({bulk("LEASE")})})));
}

TEST_F(CacheAside, WhoWaitedForAFreePlaceIsSparedTheDatabaseToo) {
  options.max_concurrent_loads = 1;
  break_circuit(Breaker::kInRow - 1);
  Stepper last = get(1);
  reading(last);
  Stepper waiting = get(2, "fruit:2");
  waiting.start();
  EXPECT_EQ(waiting.redis({array({bulk("LEASE")})}), Step(Park{}));
  last.sql(failed(sql::Failure::unavailable));
  EXPECT_EQ(last.woken, (std::vector<OperationId>{{2, 1}}));
  EXPECT_EQ(std::get<CallRedis>(waiting.resume(Woken{})).commands[0].args[5], "NONE");
  waiting.redis({array({bulk("REFUSED")})});
  last.redis({array({bulk("REFUSED")})});
  Stepper next = get(3);
  next.clock += Breaker::kPauseMin;
  EXPECT_EQ(reading(next), read_step()) << "and gives the place back";
}

TEST_F(CacheAside, ADatabaseIsSparedTheDescriptionOfItsTableToo) {
  for (unsigned i = 0; i < Breaker::kInRow; ++i) {
    Stepper load = get();
    EXPECT_EQ(load.start(), describe);
    load.sql(failed(sql::Failure::unavailable));
  }
  EXPECT_EQ(get().start(), reply(spared));
  Stepper probe = get();
  probe.clock += Breaker::kPauseMin;
  EXPECT_EQ(probe.start(), describe);
}

TEST_F(CacheAside, OnSqlErrorMissAnswersNilForADatabaseThatIsSpared) {
  options.on_sql_error = conf::OnSqlError::miss;
  break_circuit();
  Stepper load = get();
  reading(load);
  EXPECT_EQ(load.redis({array({bulk("REFUSED")})}), reply("$-1\r\n"));
}

TEST_F(CacheAside, OnSqlErrorMissAnswersNil) {
  options.on_sql_error = conf::OnSqlError::miss;
  Stepper load = get();
  reading(load);
  load.sql(failed(sql::Failure::unavailable));
  EXPECT_EQ(load.redis({array({bulk("REFUSED")})}), reply("$-1\r\n"));
}

TEST_F(CacheAside, AFailedReadStillAnswersAValueThatIsThere) {
  Stepper load = get();
  reading(load);
  load.sql(failed(sql::Failure::unavailable));
  EXPECT_EQ(load.redis({array({bulk("PRESENT"), bulk("v")})}), reply("$1\r\nv\r\n"));
}

TEST_F(CacheAside, AMissingTableNamesThePolicyAndIsLookedAtAgain) {
  Stepper load = get();
  load.start();
  EXPECT_EQ(load.sql(failed(sql::Failure::schema)), reply("-ERR sluice: policy 'fruit': because\r\n"));
  EXPECT_EQ(get().start(), describe);
}

TEST_F(CacheAside, TheTableIsDescribedOnceForAll) {
  Stepper first = get(1);
  Stepper second = get(2, "fruit:2");
  EXPECT_EQ(first.start(), describe);
  EXPECT_EQ(second.start(), Step(Park{}));
  first.sql(described(fruit_table()));
  EXPECT_EQ(first.woken, (std::vector<OperationId>{{2, 1}}));
  EXPECT_TRUE(std::holds_alternative<CallRedis>(second.resume(Woken{})));
}

TEST_F(CacheAside, AKeyThatNoRowCanHaveIsNilWithoutSql) {
  options.key = key_template("fruit:{id}");
  Stepper load = get(1, "fruit:1 OR 1=1");
  load.start();
  EXPECT_EQ(load.sql(described(fruit_table())), reply("$-1\r\n"));
}

TEST_F(CacheAside, WithoutRedisTheConnectionEnds) {
  EXPECT_EQ(get_without_redis().start(), reply(loading, true));
  Stepper load = get();
  leasing(load);
  EXPECT_EQ(load.lost(true), reply(loading, true));
}

TEST_F(CacheAside, WithoutRedisSqlAnswersWhenConfigured) {
  options.on_redis_down = conf::OnRedisDown::sql;
  Stepper load = get_without_redis();
  load.start();
  EXPECT_EQ(load.sql(described(fruit_table())), read_step());
  EXPECT_EQ(load.sql(apple), reply(kAppleReply));
  Stepper other = get();
  leasing(other);
  EXPECT_EQ(other.lost(), read_step());
  EXPECT_EQ(other.sql(apple), reply(kAppleReply));
}

TEST_F(CacheAside, WithoutRedisNobodysRightsCanBeChecked) {
  options.on_redis_down = conf::OnRedisDown::sql;
  EXPECT_EQ(get_without_redis("bob").start(), reply(loading, true));
}

TEST_F(CacheAside, RedisLostAtTheFillStillAnswersTheRow) {
  Stepper load = get();
  reading(load);
  load.sql(apple);
  EXPECT_EQ(load.lost(true), reply(kAppleReply));
}

TEST_F(CacheAside, TheWrongTypeIsToldInRedisWords) {
  Stepper load = get();
  leasing(load);
  EXPECT_EQ(load.redis({error("WRONGTYPE Operation")}), reply("-WRONGTYPE Operation\r\n"));
}

TEST_F(CacheAside, LoadsBeyondTheLimitWaitTheirTurn) {
  options.max_concurrent_loads = 1;
  Stepper first = get(1);
  reading(first);
  Stepper second = get(2, "fruit:2");
  second.start();
  EXPECT_EQ(second.redis({array({bulk("LEASE")})}), Step(Park{}));
  first.sql(apple);
  EXPECT_EQ(first.woken, (std::vector<OperationId>{{2, 1}}));
  EXPECT_TRUE(std::holds_alternative<CallSql>(second.resume(Woken{})));
}

TEST_F(CacheAside, ALoadThatWaitedTooLongGivesItsLeaseBack) {
  options.max_concurrent_loads = 1;
  Stepper first = get(1);
  reading(first);
  Stepper second = get(2, "fruit:2");
  second.start();
  second.redis({array({bulk("LEASE")})});
  first.sql(apple);
  second.clock += Milliseconds(3000);
  const Step given_up = second.resume(Woken{});
  EXPECT_EQ(std::get<CallRedis>(given_up).commands[0].args[5], "NONE");
  EXPECT_EQ(second.redis({array({bulk("REFUSED")})}),
            reply("-TRYAGAIN sluice: policy 'fruit': too many loads wait for SQL\r\n"));
}

TEST_F(CacheAside, ALoadThatWaitedTooLongMayBeAMiss) {
  options.max_concurrent_loads = 1;
  options.on_sql_error = conf::OnSqlError::miss;
  Stepper first = get(1);
  reading(first);
  Stepper second = get(2, "fruit:2");
  second.start();
  second.redis({array({bulk("LEASE")})});
  first.sql(apple);
  second.clock += Milliseconds(3000);
  second.resume(Woken{});
  EXPECT_EQ(second.redis({array({bulk("REFUSED")})}), reply("$-1\r\n"));
}

TEST_F(CacheAside, TheReadGetsWhatIsLeftOfTheLease) {
  Stepper load = get();
  leasing(load);
  load.clock += Milliseconds(1000);
  EXPECT_EQ(load.redis({array({bulk("LEASE")})}), read_step(Milliseconds(2000)));
}

TEST_F(CacheAside, OnlyReadsThatCanBeFilledAreLoaded) {
  const auto handling = [&](const char* name) { return policy().handling(*resp::find_command(name)); };
  EXPECT_EQ(handling("get"), Handling::read);
  EXPECT_EQ(handling("hgetall"), Handling::read) << "WRONGTYPE";
  EXPECT_EQ(handling("mget"), Handling::read);
  EXPECT_EQ(handling("lrange"), Handling::forward);
  EXPECT_EQ(handling("set"), Handling::guard);
  EXPECT_EQ(handling("del"), Handling::guard);
  EXPECT_EQ(handling("ping"), Handling::forward);
}

}  // namespace
}  // namespace sluice::policies::testing

// Counters against a real Redis and SQL in memory: commands, loading, flushing, refusals.
#include <algorithm>

#include <gtest/gtest.h>

#include "policies/breaker.h"
#include "policies/counter_scripts.h"
#include "policies/policy_metrics.h"
#include "tests/policies/proxy_double.h"
#include "tests/policies/step_test.h"

namespace sluice::policies::testing {
namespace {

constexpr const char* kKey = "counter:t";
constexpr const char* kDirty = "__sluice:dirty:{views}";

class Counter : public ::testing::Test {
 protected:
  void SetUp() override { redis.call({"FLUSHALL"}); }

  ProxyDouble& proxy() {
    if (!proxy_) proxy_ = std::make_unique<ProxyDouble>(options, sql);
    return *proxy_;
  }
  std::string run(std::vector<std::string> args) { return proxy().run(command(std::move(args))); }
  std::string get(const std::string& key = kKey) { return proxy().run(miss({"GET", key})); }
  std::string ask(Verb verb, const std::string& key = kKey) { return proxy().run(about(verb, key)); }
  void flush() {
    proxy().clock += Milliseconds(60000);
    proxy().run_background();
  }
  // A flush that is about to be sent to SQL.
  static int begin_flush(ProxyDouble& by) {
    by.clock += Milliseconds(60000);
    const int number = by.adopt(by.policy().due(TimePoint(by.clock)));
    while (!flushes_next(by.waits_for(number))) by.step(number);
    return number;
  }
  static bool flushes_next(const Step& step) {
    const auto* const call = std::get_if<CallSql>(&step);
    return call != nullptr && std::holds_alternative<sql::FlushCounters>(call->op);
  }
  void store(const std::string& id, std::int64_t value) { sql.row(id) = {{"id", id}, {"value", value}}; }
  std::int64_t stored(const std::string& id) { return std::get<std::int64_t>(sql.row(id)["value"]); }
  std::int64_t dirty() { return redis.call({"ZCARD", kDirty}).integer; }
  // The first step of a command that Redis has been asked about.
  Stepper begin(std::vector<std::string> args) {
    policy_ = make_policy(options);
    return Stepper(policy_->begin(command(std::move(args))));
  }

  RedisServer& redis = RedisServer::instance();
  conf::PolicyOptions options = views_options();
  SqlMap sql{counters_table()};

 private:
  std::unique_ptr<ProxyDouble> proxy_;
  std::unique_ptr<Policy> policy_;
};

TEST_F(Counter, AnAbsentCounterBeginsAtWhatSqlHolds) {
  store("t", 1000);
  EXPECT_EQ(run({"INCR", kKey}), ":1001\r\n");
  EXPECT_EQ(redis.text({"GET", kKey}), "1001");
  EXPECT_EQ(sql.reads, 1);
}

TEST_F(Counter, ACounterThatNobodyKnowsBeginsAtZeroAndGetsItsRowLater) {
  EXPECT_EQ(run({"INCR", kKey}), ":1\r\n");
  EXPECT_FALSE(sql.has(std::string("t")));
  flush();
  EXPECT_EQ(stored("t"), 1);
  EXPECT_EQ(dirty(), 0);
}

TEST_F(Counter, CountsUpAndDown) {
  EXPECT_EQ(run({"INCRBY", kKey, "5"}), ":5\r\n");
  EXPECT_EQ(run({"DECR", kKey}), ":4\r\n");
  EXPECT_EQ(run({"DECRBY", kKey, "10"}), ":-6\r\n");
  EXPECT_EQ(run({"INCRBY", kKey, "-1"}), ":-7\r\n");
}

TEST_F(Counter, NumbersBeyondADoubleAreExact) {
  store("t", 9007199254740992);
  EXPECT_EQ(run({"INCR", kKey}), ":9007199254740993\r\n");
  EXPECT_EQ(run({"INCRBY", kKey, "9007199254740993"}), ":18014398509481986\r\n");
  redis.call({"DEL", kKey});
  EXPECT_EQ(run({"INCR", kKey}), ":18014398509481987\r\n");
  flush();
  EXPECT_EQ(stored("t"), 18014398509481987);
}

TEST_F(Counter, ErrorsAreRedisOwnAndLeaveTheSumAlone) {
  EXPECT_EQ(run({"INCRBY", kKey, "x"}), "-ERR value is not an integer or out of range\r\n");
  EXPECT_EQ(run({"DECRBY", kKey, "-9223372036854775808"}), "-ERR decrement would overflow\r\n");
  EXPECT_EQ(run({"INCR"}), "-ERR sluice: policy 'views': a key with '}' outside a hash tag cannot be guarded\r\n");
  EXPECT_EQ(run({"INCRBY", kKey}), "-ERR wrong number of arguments for 'incrby' command\r\n");
  store("t", INT64_MAX - 1);
  EXPECT_EQ(run({"INCR", kKey}), ":9223372036854775807\r\n");
  EXPECT_EQ(run({"INCR", kKey}), "-ERR increment or decrement would overflow\r\n");
  flush();
  EXPECT_EQ(stored("t"), INT64_MAX);
}

TEST_F(Counter, ASumThatOverflowsTakesTheIncrementBack) {
  store("t", -5);
  run({"INCRBY", kKey, "9223372036854775807"});
  run({"INCRBY", kKey, "-9223372036854775807"});
  EXPECT_EQ(run({"INCRBY", kKey, "-9223372036854775803"}), ":-9223372036854775808\r\n");
  store("t", -9223372036854775807);
  redis.call({"FLUSHALL"});
  EXPECT_EQ(run({"INCRBY", kKey, "9223372036854775807"}), ":0\r\n");
  EXPECT_EQ(run({"INCRBY", kKey, "5"}), "-ERR increment or decrement would overflow\r\n") << "the sum would not fit";
  EXPECT_EQ(redis.text({"GET", kKey}), "0");
}

TEST_F(Counter, AForeignValueGivesRedisErrors) {
  run({"INCR", kKey});
  redis.call({"SET", kKey, "abc"});
  EXPECT_EQ(run({"INCR", kKey}), "-ERR value is not an integer or out of range\r\n");
  redis.call({"DEL", kKey});
  redis.call({"RPUSH", kKey, "x"});
  EXPECT_EQ(run({"INCR", kKey}), "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
}

TEST_F(Counter, AnEvictedCounterIsLoadedWithWhatIsPending) {
  store("t", 10);
  run({"INCRBY", kKey, "5"});
  redis.call({"DEL", kKey});
  EXPECT_EQ(get(), "$2\r\n15\r\n");
  redis.call({"DEL", kKey});
  flush();
  EXPECT_EQ(run({"INCR", kKey}), ":16\r\n");
}

TEST_F(Counter, AReadOfNothingIsNilAndLeavesNothing) {
  EXPECT_EQ(get(), "$-1\r\n");
  EXPECT_EQ(redis.call({"DBSIZE"}).integer, 0);
  EXPECT_EQ(sql.size(), 0U);
}

TEST_F(Counter, AReadOfNothingIsZeroWhenConfigured) {
  options.missing = conf::Missing::zero;
  EXPECT_EQ(get(), "$1\r\n0\r\n");
  EXPECT_EQ(redis.call({"DBSIZE"}).integer, 0);
}

TEST_F(Counter, ASetIsAbsoluteAndReplacesWhatWasPending) {
  store("t", 10);
  run({"INCRBY", kKey, "5"});
  EXPECT_EQ(run({"SET", kKey, "1000"}), "+OK\r\n");
  EXPECT_EQ(run({"DECRBY", kKey, "1"}), ":999\r\n");
  redis.call({"DEL", kKey});
  EXPECT_EQ(get(), "$3\r\n999\r\n") << "restored without SQL, which still holds 10";
  flush();
  EXPECT_EQ(stored("t"), 999);
  EXPECT_EQ(dirty(), 0);
  EXPECT_EQ(redis.text({"HGET", side_key(kKey), "base"}), "(nil)") << "SQL knows it now";
}

TEST_F(Counter, ASetOutlivesAFlushThatWasReadBeforeIt) {
  run({"INCRBY", kKey, "7"});
  const int late = begin_flush(proxy());
  run({"SET", kKey, "5000"});
  ProxyDouble other(options, sql);
  other.run_background();
  EXPECT_EQ(stored("t"), 5000);
  proxy().run(late);
  EXPECT_EQ(stored("t"), 5000);
  EXPECT_EQ(redis.text({"GET", kKey}), "5000");
}

TEST_F(Counter, ASetTakesOnlyPlainIntegers) {
  EXPECT_EQ(run({"SET", kKey, "abc"}), "-ERR value is not an integer or out of range\r\n");
  EXPECT_EQ(run({"SET", kKey, "007"}), "-ERR value is not an integer or out of range\r\n");
  EXPECT_EQ(run({"SET", kKey, "5", "NX"}), "-ERR sluice: SET with options is not supported on policy 'views'\r\n");
  EXPECT_EQ(redis.call({"EXISTS", kKey}).integer, 0);
}

TEST_F(Counter, ADeletedCopyKeepsWhatIsPending) {
  run({"INCRBY", kKey, "7"});
  redis.call({"HDEL", side_key(kKey), "L", "N"});
  redis.call({"DEL", kKey});
  flush();
  EXPECT_EQ(stored("t"), 7);
  EXPECT_EQ(run({"INCR", kKey}), ":8\r\n");
}

TEST_F(Counter, AFlushOfSomethingOlderMakesTheCounterReload) {
  store("t", 10);
  run({"INCRBY", kKey, "5"});
  const int late = begin_flush(proxy());
  redis.call({"FLUSHALL"});
  EXPECT_EQ(run({"INCR", kKey}), ":11\r\n") << "Redis forgot five";
  proxy().run(late);
  EXPECT_EQ(redis.text({"GET", kKey}), "(nil)");
  EXPECT_EQ(get(), "$2\r\n16\r\n");
}

TEST_F(Counter, AFlushOfSomethingForgottenMakesWhoLoadsTheCounterLoadItAgain) {
  store("t", 10);
  run({"INCRBY", kKey, "5"});
  const int late = begin_flush(proxy());
  redis.call({"FLUSHALL"});
  ProxyDouble other(options, sql, 2);
  other.answers_take_a_step = true;
  const int load = other.begin(miss({"GET", kKey}));
  while (sql.reads < 2) other.step(load);  // it has read 10
  proxy().run(late);
  EXPECT_EQ(stored("t"), 15);
  EXPECT_EQ(other.run(load), "$2\r\n15\r\n");
  EXPECT_EQ(redis.text({"GET", kKey}), "15");
}

TEST_F(Counter, AFlushOfSomethingForgottenDropsACopyThatNothingGuards) {
  store("t", 10);
  run({"INCRBY", kKey, "5"});
  const int late = begin_flush(proxy());
  redis.call({"FLUSHALL"});
  EXPECT_EQ(get(), "$2\r\n10\r\n");
  redis.call({"DEL", side_key(kKey)});  // evicted
  proxy().run(late);
  EXPECT_EQ(get(), "$2\r\n15\r\n");
}

TEST_F(Counter, AFlushOfSomethingForgottenIsSeenBesideASet) {
  run({"INCRBY", kKey, "5"});
  const int late = begin_flush(proxy());
  redis.call({"FLUSHALL"});
  ProxyDouble other(options, sql, 2);
  EXPECT_EQ(other.run(command({"SET", kKey, "100"})), "+OK\r\n");
  const int setting = begin_flush(other);
  other.step(setting);
  for (int i = 0; i < 3; ++i) proxy().step(late);  // SQL, the version of the table, and the cleaning up
  EXPECT_EQ(stored("t"), 105) << "nobody remembers that the SET replaced the five";
  EXPECT_EQ(get(), "$3\r\n100\r\n") << "not known to be in SQL";
  other.run(setting);
  EXPECT_EQ(get(), "$3\r\n105\r\n");
}

TEST_F(Counter, AFullRedisDoesNotKeepCountersFromSql) {
  run({"INCR", kKey});
  redis.call({"CONFIG", "SET", "maxmemory", "1"});
  EXPECT_EQ(run({"INCR", kKey}).substr(0, 4), "-OOM");
  flush();
  redis.call({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_EQ(stored("t"), 1);
  EXPECT_EQ(dirty(), 0);
}

TEST_F(Counter, ACleanUpThatRedisRefusesIsRepeatedLater) {
  run({"INCR", kKey});
  proxy().intercept = [](const Step& step) -> std::optional<Event> {
    const auto* const call = std::get_if<CallRedis>(&step);
    if (call == nullptr || call->commands[0].script != &counters::clean()) return {};
    return RedisReplies{{error("READONLY You can't write against a read only replica.")}};
  };
  flush();
  EXPECT_EQ(stored("t"), 1);
  EXPECT_EQ(sql.flushes, 1);
  EXPECT_EQ(proxy().policy().unflushed(), 1U);
  proxy().intercept = nullptr;
  flush();
  EXPECT_EQ(dirty(), 0);
  EXPECT_EQ(proxy().policy().unflushed(), 0U);
}

TEST_F(Counter, BatchesAreFullAndEveryCounterIsFlushedOnce) {
  options.batch_size = 30;
  for (int i = 0; i < 100; ++i) run({"INCR", "counter:" + std::to_string(i)});
  sql.flushes = 0;
  flush();
  EXPECT_EQ(sql.flushes, 4);
  EXPECT_EQ(dirty(), 0);
  EXPECT_EQ(proxy().policy().metrics().flushed_rows.value(), 100U);
  EXPECT_EQ(proxy().policy().metrics().dirty.value(), 0U);
}

TEST_F(Counter, ARefusedCounterBlocksNobodyAndIsNotTriedAtOnceAgain) {
  options.batch_size = 2;
  sql.refused_key = "counter:bad";
  run({"INCR", "counter:bad"});
  for (const char* key : {"counter:a", "counter:b", "counter:c"}) run({"INCR", key});
  proxy().run_background();
  EXPECT_EQ(stored("c"), 1);
  EXPECT_EQ(dirty(), 1);
  EXPECT_EQ(proxy().policy().unflushed(), 1U);
  EXPECT_EQ(proxy().policy().metrics().flush_errors.value(), 1U);
  const int before = sql.flushes;
  options.retry_initial_delay = Milliseconds(3600000);
  EXPECT_EQ(proxy().policy().drain(), nullptr) << "draining again would not help";
  EXPECT_EQ(ask(Verb::sync, "counter:bad"), "-SQLREJECT 22001 too long\r\n");
  EXPECT_EQ(sql.flushes, before + 1);
  EXPECT_NE(ask(Verb::status, "counter:bad").find("SQLREJECT 22001 too long"), std::string::npos);
  proxy().clock += Milliseconds(1000);
  proxy().run_background();
  EXPECT_EQ(sql.flushes, before + 1) << "it rests";
}

TEST_F(Counter, AFlushThatFailsIsRepeatedLater) {
  run({"INCR", kKey});
  proxy().intercept = [](const Step& step) -> std::optional<Event> {
    if (!std::holds_alternative<CallSql>(step)) return {};
    return SqlDone{failed(sql::Failure::unavailable)};
  };
  flush();
  EXPECT_EQ(proxy().policy().unflushed(), 1U);
  EXPECT_NE(proxy().policy().drain(), nullptr);
  EXPECT_EQ(ask(Verb::sync), "-TRYAGAIN sluice: policy 'views': because\r\n");
  EXPECT_EQ(run({"INCR", kKey}), ":2\r\n") << "a loaded counter needs no SQL";
  proxy().intercept = nullptr;
  proxy().run(proxy().adopt(proxy().policy().drain()));
  EXPECT_EQ(stored("t"), 2);
  EXPECT_EQ(proxy().policy().drain(), nullptr);
  EXPECT_EQ(proxy().policy().unflushed(), 0U);
}

TEST_F(Counter, ACounterThatCannotBeLoadedIsNotCounted) {
  proxy().intercept = [](const Step& step) -> std::optional<Event> {
    if (!std::holds_alternative<CallSql>(step)) return {};
    return SqlDone{failed(sql::Failure::unavailable)};
  };
  EXPECT_EQ(run({"INCR", kKey}), "-TRYAGAIN sluice: policy 'views': because\r\n");
  EXPECT_EQ(redis.call({"EXISTS", kKey}).integer, 0);
}

TEST_F(Counter, ADatabaseThatDoesNotAnswerIsSpared) {
  store("t", 100);
  run({"INCR", "counter:other"});
  int asked = 0;
  proxy().intercept = [&](const Step& step) -> std::optional<Event> {
    if (!std::holds_alternative<CallSql>(step)) return {};
    ++asked;
    return SqlDone{failed(sql::Failure::unavailable)};
  };
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(run({"INCR", kKey}).starts_with("-TRYAGAIN sluice: policy 'views': "));
  EXPECT_EQ(asked, static_cast<int>(Breaker::kInRow));
  proxy().intercept = nullptr;
  proxy().clock += Breaker::kPauseMin;
  EXPECT_EQ(run({"INCR", kKey}), ":101\r\n");
}

TEST_F(Counter, ColdIncrementsLoadOnce) {
  store("t", 100);
  std::vector<int> numbers;
  numbers.reserve(50);
  for (int i = 0; i < 50; ++i) numbers.push_back(proxy().begin(command({"INCR", kKey})));
  std::vector<std::int64_t> values;
  values.reserve(50);
  for (const int number : numbers) values.push_back(std::stoll(proxy().run(number).substr(1)));
  std::sort(values.begin(), values.end());
  for (int i = 0; i < 50; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], 101 + i);
  EXPECT_EQ(sql.reads, 1);
}

TEST_F(Counter, SyncRepliesWithRowsAfterTheCommit) {
  for (const char* key : {"counter:a1", "counter:a2", "counter:b"}) run({"INCR", key});
  EXPECT_EQ(ask(Verb::sync, "counter:a*"), ":2\r\n");
  EXPECT_EQ(stored("a2"), 1);
  EXPECT_FALSE(sql.has(std::string("b")));
  EXPECT_EQ(ask(Verb::sync, "counter:b"), ":1\r\n");
  EXPECT_EQ(ask(Verb::sync, "counter:b"), ":0\r\n");
  run({"INCR", kKey});
  EXPECT_EQ(ask(Verb::sync, ""), ":1\r\n");
}

TEST_F(Counter, StatusTellsWhatIsPending) {
  store("t", 100);
  run({"INCRBY", kKey, "5"});
  std::string status = ask(Verb::status);
  EXPECT_NE(
      status.find("$5\r\nredis\r\n$3\r\n105\r\n$3\r\nsql\r\n$3\r\n100\r\n$7\r\npending\r\n:5\r\n$6\r\nsynced\r\n:0"),
      std::string::npos)
      << status;
  ask(Verb::sync);
  status = ask(Verb::status);
  EXPECT_NE(
      status.find("$3\r\nsql\r\n$3\r\n105\r\n$7\r\npending\r\n:0\r\n$6\r\nsynced\r\n:1\r\n$12\r\ndirty_age_ms\r\n$-1"),
      std::string::npos)
      << status;
  EXPECT_EQ(ask(Verb::dbget), "$3\r\n105\r\n");
}

TEST_F(Counter, StatusOfASetIsTheDistanceToSql) {
  store("t", 100);
  run({"SET", kKey, "40"});
  run({"INCR", kKey});
  EXPECT_NE(ask(Verb::status).find("pending\r\n:-59\r\n"), std::string::npos);
}

TEST_F(Counter, StatusOfNothingIsNilNotZero) {
  const std::string status = ask(Verb::status);
  EXPECT_NE(status.find("$5\r\nredis\r\n$-1\r\n$3\r\nsql\r\n$-1\r\n"), std::string::npos) << status;
}

TEST_F(Counter, InvalidatingKeepsWhatIsPending) {
  run({"INCRBY", kKey, "3"});
  EXPECT_EQ(ask(Verb::invalidate), ":1\r\n");
  EXPECT_EQ(redis.call({"EXISTS", kKey}).integer, 0);
  EXPECT_EQ(get(), "$1\r\n3\r\n");
}

TEST_F(Counter, SideKeysOfCleanCountersGoOneDay) {
  run({"INCR", kKey});
  EXPECT_EQ(redis.call({"PTTL", side_key(kKey)}).integer, -1) << "never while it guards unflushed data";
  flush();
  EXPECT_GT(redis.call({"PTTL", side_key(kKey)}).integer, 0);
  run({"INCR", kKey});
  EXPECT_EQ(redis.call({"PTTL", side_key(kKey)}).integer, -1);
}

TEST_F(Counter, AnIncrementThatMayHaveBeenAppliedIsNeverSentAgain) {
  Stepper sent = begin({"INCR", kKey});
  EXPECT_EQ(std::get<CallRedis>(sent.start()).commands[0].script, &counters::add());
  EXPECT_EQ(sent.lost(true), reply("", true));
  Stepper unsent = begin({"INCR", kKey});
  unsent.start();
  EXPECT_EQ(unsent.lost(false), reply("-LOADING sluice: upstream unavailable: no connection to Redis\r\n", true));
}

TEST_F(Counter, RightsAreAskedBeforeAnythingIsCounted) {
  Request request = command({"INCR", kKey});
  request.acl_user = "bob";
  const auto policy = make_policy(options);
  Stepper denied(policy->begin(request));
  EXPECT_EQ(denied.start(), Step(CallRedis{{{nullptr, {"ACL", "DRYRUN", "bob", "INCR", kKey}}}}));
  EXPECT_EQ(denied.redis({bulk("This user has no permissions to run the 'incr' command")}),
            reply("-NOPERM this user has no permissions to run the 'incr' command\r\n"));
  Stepper allowed(policy->begin(request));
  allowed.start();
  EXPECT_EQ(std::get<CallRedis>(allowed.redis({status("OK")})).commands[0].script, &counters::add());
}

TEST_F(Counter, HandlesItsCommandsAndRefusesFloats) {
  const auto handling = [&](const char* name) { return proxy().policy().handling(*resp::find_command(name)); };
  for (const char* name : {"incr", "incrby", "decr", "decrby", "set"}) EXPECT_EQ(handling(name), Handling::operate);
  EXPECT_EQ(handling("get"), Handling::read);
  EXPECT_EQ(handling("expire"), Handling::guard);
  EXPECT_EQ(handling("del"), Handling::guard);
  EXPECT_EQ(handling("append"), Handling::reject);
  EXPECT_EQ(handling("incrbyfloat"), Handling::reject);
  EXPECT_EQ(proxy().policy().rejection(*resp::find_command("incrbyfloat")),
            "ERR sluice: INCRBYFLOAT is not supported on policy 'views': a counter is an integer");
}

}  // namespace
}  // namespace sluice::policies::testing

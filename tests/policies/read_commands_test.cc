// The read commands that a policy fills: what each replies to a miss, of each kind of value, and how several keys are
// loaded together.
#include <algorithm>
#include <functional>
#include <pthread.h>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "policies/fuse_scripts.h"
#include "policies/policy_metrics.h"
#include "tests/policies/proxy_double.h"
#include "tests/policies/step_test.h"

namespace sluice::policies::testing {
namespace {

constexpr const char* kWrongTypeReply = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

// On which a few calls for each of some hundred queries would not fit.
void on_small_stack(std::function<void()> run) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256UL << 10);
  pthread_t thread{};
  const auto call = [](void* function) -> void* {
    (*static_cast<std::function<void()>*>(function))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, call, &run), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

// Against a real Redis, with a table in memory.
class ReadCommands : public ::testing::Test {
 protected:
  ReadCommands() {
    options.ttl = Milliseconds(60000);
    options.ttl_jitter = 0;
    RedisServer::instance().run({nullptr, {"FLUSHALL"}});
    for (const std::int64_t id : {1, 2, 3}) {
      sql.row(id) = {{"id", id}, {"name", "n" + std::to_string(id)}, {"quantity", sql::Value()}};
    }
    sql.row(std::int64_t{1})["name"] = std::string("apple");
  }

  ProxyDouble& proxy() {
    if (!proxy_) proxy_ = std::make_unique<ProxyDouble>(options, sql);
    return *proxy_;
  }
  void use(conf::ValueMode mode) {
    options.value = mode;
    if (mode == conf::ValueMode::raw) options.column = "name";
    proxy_.reset();
  }
  // The reply to a miss, with nothing in Redis before.
  std::string missed(std::vector<std::string> args, resp::Version version = resp::Version::resp2) {
    RedisServer::instance().run({nullptr, {"FLUSHALL"}});
    return missed_again(std::move(args), version);
  }
  std::string missed_again(std::vector<std::string> args, resp::Version version = resp::Version::resp2) {
    Request request = miss(std::move(args));
    request.version = version;
    return proxy().run(std::move(request));
  }
  resp::Reply redis(std::vector<std::string> args) { return RedisServer::instance().run({nullptr, std::move(args)}); }

  conf::PolicyOptions options = fruit_options();
  SqlMap sql{fruit_table()};

 private:
  std::unique_ptr<ProxyDouble> proxy_;
};

TEST_F(ReadCommands, OfAStringAreWhatRedisWouldSayOfIt) {
  use(conf::ValueMode::raw);
  EXPECT_EQ(missed({"GET", "fruit:1"}), "$5\r\napple\r\n");
  EXPECT_EQ(missed({"STRLEN", "fruit:1"}), ":5\r\n");
  EXPECT_EQ(missed({"EXISTS", "fruit:1"}), ":1\r\n");
  EXPECT_EQ(missed({"TYPE", "fruit:1"}), "+string\r\n");
  EXPECT_EQ(missed({"MGET", "fruit:1"}), "*1\r\n$5\r\napple\r\n");
  EXPECT_EQ(redis({"GET", "fruit:1"}).text, "apple") << "filled";
  for (const char* command : {"HGETALL", "HKEYS", "HVALS", "HLEN"}) {
    EXPECT_EQ(missed({command, "fruit:1"}), kWrongTypeReply) << command;
  }
  for (const char* command : {"HGET", "HMGET", "HEXISTS", "HSTRLEN"}) {
    EXPECT_EQ(missed({command, "fruit:1", "name"}), kWrongTypeReply) << command;
  }
}

TEST_F(ReadCommands, OfAHashAreWhatRedisWouldSayOfIt) {
  use(conf::ValueMode::hash);
  sql.row(std::int64_t{2})["quantity"] = std::int64_t{7};
  EXPECT_EQ(missed({"HGETALL", "fruit:1"}), "*2\r\n$4\r\nname\r\n$5\r\napple\r\n");
  EXPECT_EQ(missed({"HGETALL", "fruit:1"}, resp::Version::resp3), "%1\r\n$4\r\nname\r\n$5\r\napple\r\n");
  EXPECT_EQ(missed({"HKEYS", "fruit:2"}), "*2\r\n$4\r\nname\r\n$8\r\nquantity\r\n");
  EXPECT_EQ(missed({"HVALS", "fruit:2"}), "*2\r\n$2\r\nn2\r\n$1\r\n7\r\n");
  EXPECT_EQ(missed({"HLEN", "fruit:2"}), ":2\r\n");
  EXPECT_EQ(missed({"HGET", "fruit:1", "name"}), "$5\r\napple\r\n");
  EXPECT_EQ(missed({"HMGET", "fruit:1", "none", "name"}), "*2\r\n$-1\r\n$5\r\napple\r\n");
  EXPECT_EQ(missed({"HEXISTS", "fruit:1", "name"}), ":1\r\n");
  EXPECT_EQ(missed({"HSTRLEN", "fruit:1", "name"}), ":5\r\n");
  EXPECT_EQ(missed({"TYPE", "fruit:1"}), "+hash\r\n");
  EXPECT_EQ(missed({"EXISTS", "fruit:1"}), ":1\r\n");
  EXPECT_EQ(missed({"GET", "fruit:1"}), kWrongTypeReply);
  EXPECT_EQ(missed({"STRLEN", "fruit:1"}), kWrongTypeReply);
  EXPECT_EQ(redis({"HGET", "fruit:1", "name"}).text, "apple") << "filled";
}

TEST_F(ReadCommands, AFieldThatIsNullIsAbsent) {
  use(conf::ValueMode::hash);
  EXPECT_EQ(missed({"HGET", "fruit:1", "quantity"}), "$-1\r\n");
  EXPECT_EQ(missed({"HGET", "fruit:1", "quantity"}, resp::Version::resp3), "_\r\n");
  EXPECT_EQ(missed({"HMGET", "fruit:1", "quantity"}, resp::Version::resp3), "*1\r\n_\r\n");
  EXPECT_EQ(missed({"HEXISTS", "fruit:1", "quantity"}), ":0\r\n");
  EXPECT_EQ(missed({"HSTRLEN", "fruit:1", "quantity"}), ":0\r\n");
}

TEST_F(ReadCommands, AFieldThatACopyHasNotIsNoMiss) {
  use(conf::ValueMode::hash);
  missed({"HLEN", "fruit:1"});
  const int before = sql.reads;
  EXPECT_EQ(missed_again({"HGET", "fruit:1", "quantity"}), "$-1\r\n");
  EXPECT_EQ(sql.reads, before);
  EXPECT_EQ(proxy().policy().metrics().misses.value(), 1U);
  EXPECT_EQ(proxy().policy().metrics().hits.value(), 1U);
}

TEST_F(ReadCommands, OnlyTheFieldsThatAreAskedAreRead) {
  use(conf::ValueMode::hash);
  missed({"HLEN", "fruit:1"});
  redis({"HSET", "fruit:1", "quantity", "5"});
  std::vector<std::string> asked;
  proxy().intercept = [&](const Step& step) -> std::optional<Event> {
    const auto* call = std::get_if<CallRedis>(&step);
    if (call != nullptr) asked.assign(call->commands[0].args.begin() + 5, call->commands[0].args.end());
    return {};
  };
  EXPECT_EQ(missed_again({"HMGET", "fruit:1", "none", "quantity"}), "*2\r\n$-1\r\n$1\r\n5\r\n");
  EXPECT_EQ(asked, (std::vector<std::string>{"F", "none", "quantity"}));
  EXPECT_EQ(missed_again({"HEXISTS", "fruit:1", "none"}), ":0\r\n");
  EXPECT_EQ(missed_again({"HSTRLEN", "fruit:1", "quantity"}), ":1\r\n");
  EXPECT_EQ(missed_again({"EXISTS", "fruit:1"}), ":1\r\n");
  EXPECT_EQ(asked, std::vector<std::string>{"E"});
}

TEST_F(ReadCommands, OfARowThatIsAbsentAreWhatRedisSaysOfAnAbsentKey) {
  for (const auto mode : {conf::ValueMode::json, conf::ValueMode::hash}) {
    use(mode);
    EXPECT_EQ(missed({"GET", "fruit:9"}, resp::Version::resp3), "_\r\n");
    EXPECT_EQ(missed({"STRLEN", "fruit:9"}), ":0\r\n");
    EXPECT_EQ(missed({"EXISTS", "fruit:9", "fruit:9"}), ":0\r\n");
    EXPECT_EQ(missed({"TYPE", "fruit:9"}), "+none\r\n");
    EXPECT_EQ(missed({"TTL", "fruit:9"}), ":-2\r\n");
    EXPECT_EQ(missed({"HGETALL", "fruit:9"}, resp::Version::resp3), "%0\r\n");
    EXPECT_EQ(missed({"HKEYS", "fruit:9"}, resp::Version::resp3), "*0\r\n");
    EXPECT_EQ(missed({"HLEN", "fruit:9"}), ":0\r\n");
    EXPECT_EQ(missed({"HMGET", "fruit:9", "a", "b"}), "*2\r\n$-1\r\n$-1\r\n");
  }
}

TEST_F(ReadCommands, AnExpiryIsThatOfTheCopyJustStored) {
  const std::string ttl = missed({"PTTL", "fruit:1"});
  EXPECT_GT(std::stoll(ttl.substr(1)), 50000);
  EXPECT_LE(std::stoll(ttl.substr(1)), 60000);
  EXPECT_EQ(missed({"TTL", "fruit:1"}), ":60\r\n");
  for (const char* command : {"EXPIRETIME", "PEXPIRETIME"}) {
    const std::string at = missed({command, "fruit:1"});
    EXPECT_EQ(at, ":" + std::to_string(redis({command, "fruit:1"}).integer) + "\r\n");
  }
  options.ttl = Milliseconds(0);
  EXPECT_EQ(missed({"TTL", "fruit:1"}), ":-1\r\n");
}

TEST_F(ReadCommands, ARowWhoseCopyCannotBeKeptHasNoExpiry) {
  proxy().intercept = [](const Step& step) -> std::optional<Event> {
    const auto* call = std::get_if<CallRedis>(&step);
    if (call == nullptr || call->commands[0].script != &fuse::lease()) return {};
    return RedisReplies{{error("OOM command not allowed when used memory > 'maxmemory'.")}};
  };
  EXPECT_EQ(missed({"TTL", "fruit:1"}), ":-1\r\n");
  EXPECT_EQ(missed({"STRLEN", "fruit:1"}), ":39\r\n");
}

TEST_F(ReadCommands, AKeyThatHoldsAnotherTypeIsLeftToWhatRedisSaid) {
  redis({"HSET", "fruit:1", "f", "v"});
  EXPECT_EQ(missed_again({"HGET", "fruit:1", "g"}), "$-1\r\n") << "of this hash, which is none of the policy's";
  EXPECT_EQ(missed_again({"GET", "fruit:1"}), kWrongTypeReply);
  EXPECT_EQ(missed_again({"EXISTS", "fruit:1", "fruit:2"}), ":2\r\n");
  EXPECT_EQ(missed_again({"TYPE", "fruit:1"}), "+hash\r\n");
  EXPECT_EQ(missed_again({"TTL", "fruit:1"}), ":-1\r\n");
  EXPECT_EQ(missed_again({"MGET", "fruit:1", "fruit:9"}), "*2\r\n$-1\r\n$-1\r\n");
}

TEST_F(ReadCommands, GetexLoadsTheRowAndSetsTheExpiryOfTheCopy) {
  use(conf::ValueMode::raw);
  EXPECT_EQ(proxy().run(command({"GETEX", "fruit:1", "PERSIST"})), "$5\r\napple\r\n");
  EXPECT_EQ(redis({"TTL", "fruit:1"}).integer, -1);
  EXPECT_EQ(proxy().run(command({"GETEX", "fruit:9", "EX", "5"})), "$-1\r\n");
  EXPECT_EQ(proxy().run(command({"GETEX", "fruit:1", "EX", "5"})), "$5\r\napple\r\n");
  EXPECT_EQ(redis({"TTL", "fruit:1"}).integer, 5);
  EXPECT_EQ(sql.reads, 2);
}

TEST_F(ReadCommands, SeveralKeysAreReadByOneQuery) {
  use(conf::ValueMode::raw);
  EXPECT_EQ(missed({"MGET", "fruit:2", "fruit:9", "fruit:1", "fruit:2"}),
            "*4\r\n$2\r\nn2\r\n$-1\r\n$5\r\napple\r\n$2\r\nn2\r\n");
  EXPECT_EQ(sql.reads, 1);
  EXPECT_EQ(missed_again({"EXISTS", "fruit:2", "fruit:9", "fruit:2", "fruit:1"}), ":3\r\n") << "by what is stored now";
  EXPECT_EQ(sql.reads, 1) << "and remembered as absent";
}

TEST_F(ReadCommands, MoreKeysThanAQueryTakesAreReadInTurn) {
  use(conf::ValueMode::raw);
  std::vector<std::string> args{"MGET"};
  std::string reply = "*600\r\n";
  for (std::int64_t id = 1; id <= 600; ++id) {
    sql.row(id) = {{"id", id}, {"name", std::string("x")}, {"quantity", sql::Value()}};
    args.push_back("fruit:" + std::to_string(id));
    reply += "$1\r\nx\r\n";
  }
  EXPECT_EQ(missed(args), reply);
  EXPECT_EQ(sql.reads, 3);
}

TEST_F(ReadCommands, ARowThatSaysItsKeyOtherwiseIsReadByItself) {
  use(conf::ValueMode::raw);
  int together = 0;
  proxy().intercept = [&](const Step& step) -> std::optional<Event> {
    const auto* call = std::get_if<CallSql>(&step);
    if (call == nullptr || !std::holds_alternative<sql::ReadRows>(call->op)) return {};
    ++together;
    sql::Result result = sql.run(call->op);
    result.rows.back()[0] = std::int64_t{77};
    return SqlDone{result};
  };
  EXPECT_EQ(missed({"MGET", "fruit:1", "fruit:9", "fruit:2"}), "*3\r\n$5\r\napple\r\n$-1\r\n$2\r\nn2\r\n");
  EXPECT_EQ(together, 1);
  EXPECT_EQ(sql.reads, 3) << "one for all, one each for those it seemed to have nothing of";
}

TEST_F(ReadCommands, OneByOneEachHasTheTimeOfALoad) {
  use(conf::ValueMode::raw);
  missed({"GET", "fruit:3"});
  std::vector<Milliseconds> times;
  proxy().intercept = [&](const Step& step) -> std::optional<Event> {
    const auto* call = std::get_if<CallSql>(&step);
    if (call == nullptr) return {};
    times.push_back(call->timeout);
    proxy().clock += Milliseconds(1000);
    if (!std::holds_alternative<sql::ReadRows>(call->op)) return {};
    return SqlDone{failed(sql::Failure::refused, "22003")};
  };
  EXPECT_EQ(missed({"MGET", "fruit:1", "fruit:2", "fruit:3"}), "*3\r\n$5\r\napple\r\n$2\r\nn2\r\n$2\r\nn3\r\n");
  EXPECT_EQ(times,
            (std::vector<Milliseconds>{Milliseconds(3000), Milliseconds(2000), Milliseconds(3000), Milliseconds(3000)}))
      << "the lease lives no longer than the first two";
}

TEST_F(ReadCommands, ManyKeysThatNoRowCanHaveNeedNoDeepStack) {
  options.key = key_template("fruit:{id}");
  use(conf::ValueMode::raw);
  std::vector<std::string> args{"EXISTS"};
  for (int i = 0; i < 100000; ++i) args.push_back("fruit:x" + std::to_string(i));
  ProxyDouble& here = proxy();
  const int read = here.begin(miss(std::move(args)));
  on_small_stack([&] { here.step(read); });  // the table is described
  EXPECT_TRUE(here.ended(read));
  EXPECT_EQ(here.finish(read).reply, ":0\r\n");
}

TEST_F(ReadCommands, GetexOfAHashIsOfTheWrongTypeOnlyWhereThereIsARow) {
  use(conf::ValueMode::hash);
  EXPECT_EQ(proxy().run(command({"GETEX", "fruit:9", "EX", "5"})), "$-1\r\n");
  EXPECT_EQ(proxy().run(command({"GETEX", "fruit:1", "EX", "5"})), kWrongTypeReply);
  EXPECT_EQ(proxy().run(command({"GETEX", "fruit:1", "EX", "5"})), kWrongTypeReply) << "of the copy too";
  EXPECT_GT(redis({"TTL", "fruit:1"}).integer, 5);
}

TEST_F(ReadCommands, ACopyThatCouldNotBeDroppedIsNotTheAnswer) {
  use(conf::ValueMode::raw);
  redis({"SET", "fruit:1", "old"});
  proxy().intercept = [](const Step& step) -> std::optional<Event> {
    const auto* call = std::get_if<CallRedis>(&step);
    if (call == nullptr || call->commands[0].script != &fuse::inval()) return {};
    return RedisReplies{{call->commands.size(), error("READONLY You can't write against a read only replica.")}};
  };
  const auto distrusted = [&](Request request) {
    request.distrust = true;
    return proxy().run(std::move(request));
  };
  EXPECT_EQ(distrusted(miss({"GET", "fruit:1"})), "$5\r\napple\r\n");
  EXPECT_EQ(distrusted(miss({"MGET", "fruit:2", "fruit:1"})), "*2\r\n$2\r\nn2\r\n$5\r\napple\r\n");
  EXPECT_EQ(distrusted(miss({"TTL", "fruit:1"})), ":-1\r\n") << "not that of the old copy";
  EXPECT_TRUE(distrusted(command({"GETEX", "fruit:1"})).starts_with("-READONLY "));
  EXPECT_EQ(redis({"GET", "fruit:1"}).text, "old");
}

TEST_F(ReadCommands, AnExpiryThatRedisDoesNotSayIsAnError) {
  Event said = RedisReplies{{error("NOPERM this user has no permissions")}};
  proxy().intercept = [&](const Step& step) -> std::optional<Event> {
    const auto* call = std::get_if<CallRedis>(&step);
    if (call == nullptr || call->commands[0].script != nullptr) return {};
    return said;
  };
  EXPECT_EQ(missed({"TTL", "fruit:1"}), "-NOPERM this user has no permissions\r\n");
  said = RedisLost{true};
  const int lost = proxy().begin(miss({"TTL", "fruit:1"}));
  EXPECT_TRUE(proxy().run(lost).starts_with("-LOADING "));
  EXPECT_TRUE(proxy().finish(lost).close);
}

// --- Step by step

class SeveralKeys : public ::testing::Test {
 protected:
  SeveralKeys() {
    options.ttl_jitter = 0;
    options.value = conf::ValueMode::raw;
    options.column = "name";
  }
  Policy& policy() {
    if (!policy_) policy_ = make_policy(options);
    return *policy_;
  }
  Stepper begin(std::vector<std::string> args, std::uint32_t id = 1) {
    return Stepper(policy().begin(miss(std::move(args))), id);
  }
  // To where the leases are asked for.
  Step leasing(Stepper& load) {
    const Step first = load.start();
    return std::holds_alternative<CallSql>(first) ? load.sql(described(fruit_table())) : first;
  }
  static std::vector<std::string> keys_of(const Step& step, const Script& script) {
    std::vector<std::string> keys;
    for (const RedisCommand& command : std::get<CallRedis>(step).commands) {
      EXPECT_EQ(command.script, &script);
      keys.push_back(command.args[1]);
    }
    return keys;
  }
  static std::vector<std::int64_t> ids_of(const Step& step) {
    const sql::Op& op = std::get<CallSql>(step).op;
    if (const auto* one = std::get_if<sql::ReadRow>(&op)) return {std::get<std::int64_t>(one->key[0].value)};
    std::vector<std::int64_t> ids;
    for (const auto& key : std::get<sql::ReadRows>(op).keys) ids.push_back(std::get<std::int64_t>(key[0]));
    return ids;
  }
  using Keys = std::vector<std::string>;
  using Ids = std::vector<std::int64_t>;

  conf::PolicyOptions options = fruit_options();
  const resp::Reply lease = array({bulk("LEASE")});
  const resp::Reply stored = array({bulk("STORED")});

 private:
  std::unique_ptr<Policy> policy_;
};

TEST_F(SeveralKeys, AreLeasedReadAndFilledByOneCallEach) {
  Stepper load = begin({"MGET", "fruit:1", "fruit:2", "fruit:3"});
  EXPECT_EQ(keys_of(leasing(load), fuse::lease()), (Keys{"fruit:1", "fruit:2", "fruit:3"}));
  const Step read = load.redis({lease, array({bulk("HIT"), bulk("there")}), lease});
  EXPECT_EQ(ids_of(read), (Ids{1, 3}));
  const Step fill = load.sql(rows({{std::int64_t{3}, std::string("c")}}));
  EXPECT_EQ(keys_of(fill, fuse::fill()), (Keys{"fruit:1", "fruit:3"}));
  EXPECT_EQ(std::get<CallRedis>(fill).commands[0].args[5], "ABSENT");
  EXPECT_EQ(std::get<CallRedis>(fill).commands[1].args[5], "VALUE");
  EXPECT_EQ(load.redis({stored, stored}), reply("*3\r\n$-1\r\n$5\r\nthere\r\n$1\r\nc\r\n"));
  EXPECT_EQ(policy().metrics().misses.value(), 2U);
  EXPECT_EQ(policy().metrics().hits.value(), 1U);
}

TEST_F(SeveralKeys, WhatIsFilledTogetherDoesNotExpireTogether) {
  options.ttl_jitter = 0.5;
  Stepper load = begin({"MGET", "fruit:1", "fruit:2"});
  leasing(load);
  load.redis({lease, lease});
  const Step fill = load.sql(rows({{std::int64_t{1}, std::string("a")}, {std::int64_t{2}, std::string("b")}}));
  const auto& commands = std::get<CallRedis>(fill).commands;
  EXPECT_NE(commands[0].args[6], commands[1].args[6]);
}

TEST_F(SeveralKeys, ThatAnotherProxyReadsAreWaitedForOnceTheOthersAreFilled) {
  Stepper load = begin({"MGET", "fruit:1", "fruit:2"});
  leasing(load);
  EXPECT_EQ(ids_of(load.redis({array({bulk("WAIT"), integer(2000)}), lease})), (Ids{2}));
  EXPECT_EQ(keys_of(load.sql(rows({{std::string("b")}})), fuse::fill()), (Keys{"fruit:2"}));
  EXPECT_EQ(load.redis({stored}), Step(Sleep{Milliseconds(5)}));
  EXPECT_EQ(keys_of(load.resume(Elapsed{}), fuse::lease()), (Keys{"fruit:1"}));
  EXPECT_EQ(load.redis({array({bulk("HIT"), bulk("a")})}), reply("*2\r\n$1\r\na\r\n$1\r\nb\r\n"));
}

TEST_F(SeveralKeys, ThatOthersLeadAreWaitedForOnceItsOwnAreDone) {
  Stepper first = begin({"GET", "fruit:1"}, 1);
  leasing(first);
  Stepper both = begin({"MGET", "fruit:1", "fruit:2"}, 2);
  EXPECT_EQ(keys_of(leasing(both), fuse::lease()), Keys{"fruit:2"});
  Stepper reverse = begin({"MGET", "fruit:2", "fruit:1"}, 3);
  EXPECT_EQ(reverse.start(), Step(Park{}));
  const resp::Reply a = array({bulk("HIT"), bulk("a")}), b = array({bulk("HIT"), bulk("b")});
  EXPECT_EQ(both.redis({b}), Step(Park{}));
  EXPECT_EQ(both.woken, (std::vector<OperationId>{{3, 1}})) << "which came too late for this lease";
  EXPECT_EQ(keys_of(reverse.resume(Woken{}), fuse::lease()), Keys{"fruit:2"});
  EXPECT_EQ(reverse.redis({b}), Step(Park{}));
  first.redis({a});
  EXPECT_EQ(first.woken, (std::vector<OperationId>{{2, 1}}));
  EXPECT_EQ(keys_of(both.resume(Woken{}), fuse::lease()), Keys{"fruit:1"});
  EXPECT_EQ(both.redis({a}), reply("*2\r\n$1\r\na\r\n$1\r\nb\r\n"));
  EXPECT_EQ(reverse.resume(Woken{}), reply("*2\r\n$1\r\nb\r\n$1\r\na\r\n"));
}

TEST_F(SeveralKeys, AFailureOfSqlIsTheReply) {
  Stepper load = begin({"MGET", "fruit:1", "fruit:2"});
  leasing(load);
  load.redis({array({bulk("HIT"), bulk("a")}), lease});
  EXPECT_EQ(std::get<CallRedis>(load.sql(failed(sql::Failure::unavailable))).commands[0].args[5], "NONE");
  EXPECT_EQ(load.redis({array({bulk("REFUSED")})}), reply("-TRYAGAIN sluice: policy 'fruit': because\r\n"));
}

TEST_F(SeveralKeys, ThatAnotherLeadsAreWaitedForAllAtOnce) {
  Stepper first = begin({"MGET", "fruit:1", "fruit:2"}, 1);
  leasing(first);
  first.redis({lease, lease});
  Stepper second = begin({"MGET", "fruit:2", "fruit:1"}, 2);
  EXPECT_EQ(second.start(), Step(Park{}));
  const std::vector<resp::Reply> refused(2, array({bulk("REFUSED")}));
  first.sql(failed(sql::Failure::unavailable));
  first.redis(refused);
  EXPECT_EQ(first.woken, (std::vector<OperationId>{{2, 1}})) << "once";
  EXPECT_EQ(second.resume(Woken{}), reply("-TRYAGAIN sluice: policy 'fruit': because\r\n")) << "without a query";

  Stepper third = begin({"MGET", "fruit:1", "fruit:2"}, 3);
  leasing(third);
  third.redis({lease, lease});
  Stepper fourth = begin({"MGET", "fruit:1", "fruit:2"}, 4);
  EXPECT_EQ(fourth.start(), Step(Park{}));
  third.sql(rows({{std::int64_t{1}, std::string("a")}, {std::int64_t{2}, std::string("b")}}));
  third.redis({stored, stored});
  EXPECT_EQ(fourth.resume(Woken{}), reply("*2\r\n$1\r\na\r\n$1\r\nb\r\n"));
}

TEST_F(SeveralKeys, AnAnswerThatIsNotTheWholeValueIsForThoseWhoAskTheSame) {
  Stepper first = begin({"GET", "fruit:1"}, 1);
  leasing(first);
  Stepper exists = begin({"EXISTS", "fruit:1"}, 2), again = begin({"EXISTS", "fruit:1"}, 3);
  Stepper get = begin({"GET", "fruit:1"}, 4);
  exists.start();
  again.start();
  get.start();
  first.redis({array({bulk("HIT"), bulk("a")})});
  EXPECT_EQ(std::get<CallRedis>(exists.resume(Woken{})).commands[0].args.back(), "E");
  EXPECT_EQ(exists.redis({array({bulk("HIT"), bulk("")})}), reply(":1\r\n"));
  EXPECT_EQ(again.resume(Woken{}), reply(":1\r\n"));
  EXPECT_EQ(std::get<CallRedis>(get.resume(Woken{})).commands[0].args.back(), "S") << "the value itself is asked for";
  EXPECT_EQ(get.redis({array({bulk("HIT"), bulk("a")})}), reply("$1\r\na\r\n"));
}

TEST_F(SeveralKeys, WhoIsLeftOneKeyToLeadWaitsForNoOther) {
  Stepper one = begin({"GET", "fruit:1"}, 1), two = begin({"GET", "fruit:2"}, 2);
  leasing(one);
  leasing(two);
  Stepper both = begin({"MGET", "fruit:1", "fruit:2"}, 3);
  EXPECT_EQ(both.start(), Step(Park{}));
  one.redis({array({bulk("HIT"), bulk("a")})});
  EXPECT_EQ(one.woken, (std::vector<OperationId>{{3, 1}}));
  EXPECT_EQ(keys_of(both.resume(Woken{}), fuse::lease()), Keys{"fruit:1"});
  two.redis({array({bulk("HIT"), bulk("b")})});
  EXPECT_TRUE(two.woken.empty()) << "it waits for Redis";
  EXPECT_EQ(keys_of(both.redis({array({bulk("HIT"), bulk("a")})}), fuse::lease()), Keys{"fruit:2"});
  EXPECT_EQ(both.redis({array({bulk("HIT"), bulk("b")})}), reply("*2\r\n$1\r\na\r\n$1\r\nb\r\n"));
}

TEST_F(SeveralKeys, AKeyThatSqlRefusesFailsAlone) {
  options.on_sql_error = conf::OnSqlError::miss;
  Stepper load = begin({"MGET", "fruit:1", "fruit:2"});
  leasing(load);
  load.redis({lease, lease});
  EXPECT_EQ(ids_of(load.sql(failed(sql::Failure::refused, "22003"))), Ids{1});
  EXPECT_EQ(ids_of(load.sql(failed(sql::Failure::refused, "22003"))), Ids{2});
  const Step fill = load.sql(rows({{std::string("b")}}));
  EXPECT_EQ(std::get<CallRedis>(fill).commands[0].args[5], "NONE");
  EXPECT_EQ(std::get<CallRedis>(fill).commands[1].args[5], "VALUE");
  EXPECT_EQ(load.redis({array({bulk("REFUSED")}), stored}), reply("*2\r\n$-1\r\n$1\r\nb\r\n"));
}

TEST_F(SeveralKeys, AreNotReadOnceSqlHasFailed) {
  std::vector<std::string> args{"MGET"};
  for (int id = 1; id <= 300; ++id) args.push_back("fruit:" + std::to_string(id));
  const std::vector<resp::Reply> leases(256, lease), refused(256, array({bulk("REFUSED")}));
  Stepper load = begin(args);
  leasing(load);
  load.redis(leases);
  load.sql(failed(sql::Failure::unavailable));
  EXPECT_EQ(load.redis(refused), reply("-TRYAGAIN sluice: policy 'fruit': because\r\n"));

  options.on_sql_error = conf::OnSqlError::miss;
  Stepper missing = begin(args);
  leasing(missing);
  missing.redis(leases);
  missing.sql(failed(sql::Failure::unavailable));
  EXPECT_EQ(keys_of(missing.redis(refused), fuse::lease()).size(), 44U) << "Redis may have them";
  const Step fill = missing.redis(std::vector<resp::Reply>(44, lease));
  ASSERT_TRUE(std::holds_alternative<CallRedis>(fill)) << "the leases are given back, without a query";
  EXPECT_EQ(std::get<CallRedis>(fill).commands[0].args[5], "NONE");
}

TEST_F(SeveralKeys, AreGivenUpWhenSqlDoesNotDescribeTheTable) {
  options.on_sql_error = conf::OnSqlError::miss;
  std::vector<std::string> args{"MGET"};
  std::string nils = "*300\r\n";
  for (int id = 1; id <= 300; ++id) {
    args.push_back("fruit:" + std::to_string(id));
    nils += "$-1\r\n";
  }
  Stepper load = begin(args);
  EXPECT_TRUE(std::holds_alternative<CallSql>(load.start()));
  EXPECT_EQ(load.sql(failed(sql::Failure::unavailable)), reply(nils));
}

TEST_F(SeveralKeys, WaitForOthersFromWhereTheyAreLed) {
  Stepper first = begin({"GET", "fruit:1"}, 1);
  leasing(first);
  Stepper load = begin({"MGET", "fruit:1", "fruit:2"}, 2);
  leasing(load);
  load.clock += Milliseconds(4000);
  EXPECT_EQ(load.redis({array({bulk("HIT"), bulk("b")})}), Step(Park{}));
  first.redis({array({bulk("HIT"), bulk("a")})});
  EXPECT_EQ(keys_of(load.resume(Woken{}), fuse::lease()), Keys{"fruit:1"});
  EXPECT_EQ(load.redis({array({bulk("WAIT"), integer(2000)})}), Step(Sleep{Milliseconds(5)}));
}

TEST_F(SeveralKeys, CopiesThatMayBeOldAreDroppedBeforeAnythingIsRead) {
  Request request = miss({"MGET", "fruit:1", "fruit:2"});
  request.distrust = true;
  request.acl_user = "bob";
  Stepper load(policy().begin(std::move(request)));
  EXPECT_EQ(load.start(), Step(CallRedis{{{nullptr, {"ACL", "DRYRUN", "bob", "MGET", "fruit:1", "fruit:2"}}}}));
  EXPECT_EQ(keys_of(load.redis({status("OK")}), fuse::inval()), (Keys{"fruit:1", "fruit:2"}));
  load.redis({integer(1), integer(0)});
  EXPECT_EQ(keys_of(load.sql(described(fruit_table())), fuse::lease()), (Keys{"fruit:1", "fruit:2"}));
}

TEST_F(SeveralKeys, WithoutRedisSqlAnswersAllWhenConfigured) {
  options.on_redis_down = conf::OnRedisDown::sql;
  Request request = miss({"EXISTS", "fruit:1", "fruit:2"});
  request.redis_down = true;
  Stepper load(policy().begin(std::move(request)));
  load.start();
  EXPECT_EQ(ids_of(load.sql(described(fruit_table()))), (Ids{1, 2}));
  EXPECT_EQ(load.sql(rows({{std::int64_t{2}, std::string("b")}})), reply(":1\r\n"));
}

TEST_F(SeveralKeys, TakeOneSlotTogether) {
  options.max_concurrent_loads = 1;
  Stepper load = begin({"MGET", "fruit:1", "fruit:2"}, 1);
  leasing(load);
  EXPECT_EQ(ids_of(load.redis({lease, lease})), (Ids{1, 2}));
  Stepper other = begin({"GET", "fruit:3"}, 2);
  other.start();
  EXPECT_EQ(other.redis({lease}), Step(Park{}));
  load.sql(rows({}));
  EXPECT_EQ(load.woken, (std::vector<OperationId>{{2, 1}}));
}

// --- Policies that look before they answer from Redis

TEST_F(ReadCommands, ThoseWhoAskForOneKeyAtOnceShareACall) {
  options.tables = {"fruit"};
  missed({"GET", "fruit:1"});
  PolicyMetrics& metrics = proxy().policy().metrics();
  EXPECT_EQ(metrics.misses.value(), 1U);
  int calls = 0;
  proxy().intercept = [&](const Step&) -> std::optional<Event> {
    ++calls;
    return {};
  };
  const int first = proxy().begin(miss({"GET", "fruit:1"}));
  const int second = proxy().begin(miss({"GET", "fruit:1"}));
  const int third = proxy().begin(miss({"STRLEN", "fruit:1"}));
  const std::string reply = proxy().run(first);
  EXPECT_EQ(proxy().run(second), reply);
  EXPECT_EQ(proxy().run(third), ":39\r\n");
  EXPECT_EQ(calls, 2) << "the others asked when the first call was on its way";
  EXPECT_EQ(metrics.hits.value(), 3U);
  EXPECT_EQ(metrics.misses.value(), 1U);
  EXPECT_EQ(metrics.waits.value(), 0U);
}

TEST_F(ReadCommands, ThoseWhoShareALoadHaveMissed) {
  options.tables = {"fruit"};
  PolicyMetrics& metrics = proxy().policy().metrics();
  const int first = proxy().begin(miss({"GET", "fruit:1"}));
  proxy().step(first);
  const int second = proxy().begin(miss({"GET", "fruit:1"}));
  EXPECT_EQ(proxy().run(first), proxy().run(second));
  EXPECT_EQ(sql.reads, 1);
  EXPECT_EQ(metrics.misses.value(), 2U);
  EXPECT_EQ(metrics.hits.value(), 0U);
  EXPECT_EQ(metrics.waits.value(), 1U);
}

TEST_F(ReadCommands, WhoMayNotReadTheKeyIsToldBeforeItIsLookedAt) {
  options.tables = {"fruit"};
  missed({"GET", "fruit:1"});
  Request request = miss({"GET", "fruit:1"});
  request.acl_user = "nobody";
  std::vector<std::string> asked;
  proxy().intercept = [&](const Step& step) -> std::optional<Event> {
    asked = std::get<CallRedis>(step).commands[0].args;
    return RedisReplies{{{resp::Reply::Type::bulk, 0, "This user has no permissions to run the 'get' command", {}}}};
  };
  EXPECT_EQ(proxy().run(std::move(request)), "-NOPERM this user has no permissions to run the 'get' command\r\n");
  EXPECT_EQ(asked, (std::vector<std::string>{"ACL", "DRYRUN", "nobody", "GET", "fruit:1"}));
}

TEST_F(ReadCommands, OfAnExpiryTakeNoValue) {
  options.tables = {"fruit"};
  missed({"GET", "fruit:1"});
  std::string asked;
  proxy().intercept = [&](const Step& step) -> std::optional<Event> {
    const auto* call = std::get_if<CallRedis>(&step);
    if (call != nullptr && call->commands[0].script != nullptr) asked = call->commands[0].args.back();
    return {};
  };
  EXPECT_EQ(missed_again({"TTL", "fruit:1"}), ":60\r\n");
  EXPECT_EQ(asked, "E");
  EXPECT_EQ(sql.reads, 1);
}

}  // namespace
}  // namespace sluice::policies::testing

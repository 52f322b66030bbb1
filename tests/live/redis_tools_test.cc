// Redis' own tools: redis-benchmark and redis-cli behave through sluice as they do directly.
#include <algorithm>
#include <regex>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

const char* const kKeySchema = "CREATE TABLE kv(id TEXT PRIMARY KEY, v BLOB);";
const char* const kKeyPolicy = R"(
[[policy]]
name = "key"
key = "key:{id}"
backend = "shop"
table = "kv"
value = "raw"
column = "v"
write = "write-through"
)";

// Runs to the end without an error; its output is one line of results per test.
void benchmark(const Sluice& sluice, const std::string& tests) {
  const Output output = run({"redis-benchmark", "-p", std::to_string(sluice.tcp().port), "-t", tests, "-r", "100000",
                             "-n", "100000", "-c", "50", "-P", "16", "-q"},
                            {}, milliseconds{110000});
  EXPECT_EQ(output.status, 0) << output.text;
  EXPECT_EQ(output.text.find("rror"), std::string::npos) << output.text;
  EXPECT_NE(output.text.find("requests per second"), std::string::npos) << output.text;
}

TEST(RedisBenchmark, RunsWithoutPolicies) {
  RedisServer redis;
  SluiceOptions options;
  options.upstream = redis.url();
  Sluice sluice(options);
  benchmark(sluice, "set,get,incr,lpush,hset,mset");
}

TEST(RedisBenchmark, RunsWithPoliciesOnOtherKeys) {
  Rig rig(std::string(kFruitSchema) + kUsersSchema, std::string(kFruitPolicy) + kUsersPolicy);
  benchmark(rig.sluice, "set,get,incr,lpush,hset,mset");
}

TEST(RedisBenchmark, SetRunsWithItsKeysWrittenThrough) {
  Rig rig(kKeySchema, kKeyPolicy);
  benchmark(rig.sluice, "set");
  EXPECT_EQ(rig.db.query("SELECT COUNT(DISTINCT v), MIN(v) FROM kv"), "1|VXK");
  EXPECT_EQ(rig.sluice.metric("sluice_policy_writes_total", {"policy=\"key\"", "outcome=\"ok\""}), 100000);
}

TEST(RedisBenchmark, GetRunsWithItsKeysFilled) {
  Rig rig(kKeySchema, kKeyPolicy);
  rig.db.exec(
      "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)"
      "INSERT INTO kv SELECT printf('%012d', i * 10), 'VXK' FROM n");
  benchmark(rig.sluice, "get");
}

TEST(RedisBenchmark, IncrRunsWithItsKeysAsCounters) {
  Rig rig(kCountersSchema, kCountersPolicy);
  benchmark(rig.sluice, "incr");
  EXPECT_TRUE(eventually([&] { return rig.sluice.run({"SLUICE", "SYNC", "counter"}).starts_with("(integer) "); }));
  EXPECT_EQ(rig.db.query("SELECT SUM(Value) FROM Counters"), "100000");
}

TEST(RedisBenchmark, LpushAndHsetRunBesidePoliciesOnTheirPrefixes) {
  Rig rig(std::string(kKeySchema) + kCountersSchema, std::string(kKeyPolicy) + kCountersPolicy);
  benchmark(rig.sluice, "lpush,hset");
}

// --- redis-cli ------------------------------------------------------------------------------------------------------

struct RedisCli : testing::Test {
  Rig rig{std::string(kFruitSchema) + kUsersSchema, std::string(kFruitPolicy) + kUsersPolicy};

  static std::string without_port(const std::string& text, int port) {
    return std::regex_replace(text, std::regex("127.0.0.1:" + std::to_string(port)), "ADDRESS");
  }
  std::string typed(int port, const Args& lines) {
    return without_port(run_on_terminal({"redis-cli", "-p", std::to_string(port)}, lines, "> ").text, port);
  }
  void expect_same(const Args& lines) {
    rig.redis.run({"FLUSHALL"});
    const std::string direct = typed(rig.redis.tcp().port, lines);
    rig.redis.run({"FLUSHALL"});
    EXPECT_EQ(typed(rig.sluice.tcp().port, lines), direct);
    EXPECT_GT(direct.size(), lines.size());
  }
  Output piped(int port, const std::string& lines) const {
    return run({"redis-cli", "-p", std::to_string(port)}, lines);
  }
};

TEST_F(RedisCli, HelpTextsComeFromTheServer) {
  expect_same({"help set", "help hset", "help @list", "exit"});
  EXPECT_NE(typed(rig.sluice.tcp().port, {"help set", "exit"}).find("1.0.0"), std::string::npos);
}

TEST_F(RedisCli, CommandsAreShownAsUsual) {
  expect_same({"SET a 1", "GET a", "GET none", "LPUSH l a b", "LRANGE l 0 -1", "HSET h f v", "HGETALL h", "NOSUCH x",
               "SELECT 1", "GET a", "SELECT 0", "exit"});
}

TEST_F(RedisCli, TransactionsShowInThePrompt) {
  expect_same({"MULTI", "SET a 1", "INCR a", "EXEC", "MULTI", "DISCARD", "EXEC", "exit"});
}

TEST_F(RedisCli, Resp3IsShownAsUsual) {
  const std::string script = "HSET h f v\nHGETALL h\nZADD z 1.5 a\nZSCORE z a\nGET none\n";
  rig.redis.run({"FLUSHALL"});
  const Output direct = run({"redis-cli", "-3", "-p", std::to_string(rig.redis.tcp().port)}, script);
  rig.redis.run({"FLUSHALL"});
  EXPECT_EQ(run({"redis-cli", "-3", "-p", std::to_string(rig.sluice.tcp().port)}, script).text, direct.text);
}

TEST_F(RedisCli, InfoHasTheSameSectionsAndFields) {
  const auto names = [](std::string text) {
    text = std::regex_replace(text, std::regex(":[^\n]*"), "");
    return std::regex_replace(text, std::regex("(errorstat|cmdstat|latency_percentiles_usec)_[^\n]*\n"), "");
  };
  const Output direct = piped(rig.redis.tcp().port, "INFO everything\n");
  EXPECT_GT(direct.text.size(), 2000U);
  EXPECT_EQ(names(piped(rig.sluice.tcp().port, "INFO everything\n").text), names(direct.text));
}

// redis-cli itself says "Reading messages..." and goes on until it is killed.
TEST_F(RedisCli, SubscribeAndMonitorShowWhatComes) {
  const std::string port = std::to_string(rig.sluice.tcp().port);
  TempDir dir;
  Process subscriber;
  subscriber.start({"redis-cli", "-p", port, "SUBSCRIBE", "news"}, dir.file("subscriber"));
  Process monitor;
  monitor.start({"redis-cli", "-p", port, "MONITOR"}, dir.file("monitor"));
  ASSERT_TRUE(eventually([&] { return read_file(dir.file("monitor")).find("OK") != std::string::npos; }));
  ASSERT_TRUE(eventually([&] { return rig.redis.run({"PUBSUB", "NUMSUB", "news"}) == "[news, (integer) 1]"; }));
  EXPECT_EQ(rig.sluice.run({"PUBLISH", "news", "hello"}), "(integer) 1");
  EXPECT_TRUE(eventually(
      [&] { return read_file(dir.file("subscriber")).find("message\nnews\nhello\n") != std::string::npos; }));
  EXPECT_TRUE(eventually(
      [&] { return read_file(dir.file("monitor")).find(R"("PUBLISH" "news" "hello")") != std::string::npos; }));
}

TEST_F(RedisCli, ScansAndBigKeysRun) {
  for (int i = 0; i < 500; ++i) {
    rig.redis.run({"SET", "scan:" + std::to_string(i), "v"});
  }
  const std::string port = std::to_string(rig.sluice.tcp().port);
  const Output scan = run({"redis-cli", "-p", port, "--scan", "--pattern", "scan:*"});
  EXPECT_EQ(std::count(scan.text.begin(), scan.text.end(), '\n'), 500);
  EXPECT_EQ(run({"redis-cli", "-p", port, "--bigkeys"}).status, 0);
}

TEST_F(RedisCli, PipeModeLoadsEverything) {
  std::string commands;
  for (int i = 0; i < 1000; ++i) {
    commands += wire({"SET", "pipe:" + std::to_string(i), "v"});
  }
  const Output output = run({"redis-cli", "-p", std::to_string(rig.sluice.tcp().port), "--pipe"}, commands);
  EXPECT_NE(output.text.find("errors: 0, replies: 1000"), std::string::npos) << output.text;
}

}  // namespace
}  // namespace sluice::live

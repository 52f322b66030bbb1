// Acceptance scenario 004: counters counted in Redis and flushed to SQL.
#include <map>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

constexpr const char* kTotal = "SELECT Value FROM Counters WHERE Id = 't'";

// `flush_interval` long enough never to come in the way of a test.
std::string flushed_on_demand() {
  std::string policy = kCountersPolicy;
  return policy.replace(policy.find("\"1s\""), 4, "\"1h\"");
}

// SLUICE STATUS as field -> text, integers without their mark.
std::map<std::string, std::string> status(const Sluice& sluice, const std::string& key) {
  const std::vector<std::string> list = replies([&] {
    const std::string reply = Connection(sluice.tcp()).call({"SLUICE", "STATUS", key});
    return reply.substr(reply.find('\n') + 1);
  }());
  const auto text = [](const std::string& reply) {
    const std::size_t from = reply[0] == '$' && !reply.starts_with("$-1") ? reply.find('\n') + 1 : 1;
    return reply.starts_with("$-1") ? "nil" : reply.substr(from, reply.size() - from - 2);
  };
  std::map<std::string, std::string> fields;
  for (std::size_t i = 0; i + 1 < list.size(); i += 2) {
    fields[text(list[i])] = text(list[i + 1]);
  }
  return fields;
}

void count_many(const Sluice& sluice, const std::string& clients, const std::string& times) {
  const Output output = run({"redis-benchmark", "-p", std::to_string(sluice.tcp().port), "-c", clients, "-n", times,
                             "-q", "INCR", "counter:t"});
  EXPECT_EQ(output.status, 0) << output.text;
}

TEST(CounterScenario, Step1IncrementsReachSqlWithinTheInterval) {
  Rig rig(kCountersSchema, kCountersPolicy);
  count_many(rig.sluice, "20", "100");
  EXPECT_EQ(rig.redis.run({"GET", "counter:t"}), "100");
  EXPECT_TRUE(eventually([&] { return rig.db.query(kTotal) == "100"; }));
}

TEST(CounterScenario, Step2StatusTellsWhatIsPendingAndSyncFlushesIt) {
  Rig rig(kCountersSchema, flushed_on_demand());
  Client proxy(rig.sluice.tcp());
  EXPECT_EQ(proxy.run({"INCRBY", "counter:t", "100"}), "(integer) 100");
  EXPECT_EQ(proxy.run({"SLUICE", "SYNC", "counter:t"}), "(integer) 1");
  EXPECT_EQ(proxy.run({"INCRBY", "counter:t", "5"}), "(integer) 105");
  auto before = status(rig.sluice, "counter:t");
  EXPECT_EQ(before["policy"], "counter");
  EXPECT_EQ(before["redis"], "105");
  EXPECT_EQ(before["sql"], "100");
  EXPECT_EQ(before["pending"], "5");
  EXPECT_EQ(proxy.run({"SLUICE", "SYNC", "counter:t"}), "(integer) 1");
  EXPECT_EQ(rig.db.query(kTotal), "105");
  auto after = status(rig.sluice, "counter:t");
  EXPECT_EQ(after["sql"], "105");
  EXPECT_EQ(after["pending"], "0");
  EXPECT_EQ(proxy.run({"SLUICE", "DBGET", "counter:t"}), "105");
}

TEST(CounterScenario, Step3SetAndDecrbyGoDownToo) {
  Rig rig(kCountersSchema, kCountersPolicy);
  Client proxy(rig.sluice.tcp());
  proxy.run({"INCRBY", "counter:t", "105"});
  EXPECT_EQ(proxy.run({"SET", "counter:t", "1000"}), "OK");
  EXPECT_EQ(proxy.run({"DECRBY", "counter:t", "1"}), "(integer) 999");
  EXPECT_EQ(rig.redis.run({"GET", "counter:t"}), "999");
  EXPECT_TRUE(eventually([&] { return rig.db.query(kTotal) == "999"; }));
}

TEST(CounterScenario, Step4AnEmptiedRedisDoesNotRestartTheCounter) {
  Rig rig(kCountersSchema, kCountersPolicy);
  rig.db.exec("INSERT INTO Counters(Id, Value) VALUES ('t', 999)");
  rig.db.exec(
      "CREATE TABLE lowest(value INTEGER); INSERT INTO lowest VALUES (999);"
      "CREATE TRIGGER falls AFTER UPDATE ON Counters WHEN new.Value < (SELECT value FROM lowest)"
      " BEGIN UPDATE lowest SET value = new.Value; END");
  Client proxy(rig.sluice.tcp());
  EXPECT_EQ(proxy.run({"GET", "counter:t"}), "999");
  rig.redis.run({"FLUSHALL"});
  EXPECT_EQ(proxy.run({"INCR", "counter:t"}), "(integer) 1000");
  EXPECT_TRUE(eventually([&] { return rig.db.query(kTotal) == "1000"; }));
  EXPECT_EQ(rig.db.query("SELECT value FROM lowest"), "999");
}

TEST(CounterScenario, Step5ADeletedCopyIsLoadedAgainUnderFiftyClients) {
  Rig rig(kCountersSchema, kCountersPolicy);
  Client proxy(rig.sluice.tcp());
  proxy.run({"SET", "counter:t", "1000"});
  proxy.run({"SLUICE", "SYNC", "counter:t"});
  EXPECT_EQ(rig.db.query(kTotal), "1000");
  rig.redis.run({"DEL", "counter:t"});
  count_many(rig.sluice, "50", "5000");
  EXPECT_EQ(rig.redis.run({"GET", "counter:t"}), "6000");
  EXPECT_TRUE(eventually([&] { return rig.db.query(kTotal) == "6000"; }));
}

TEST(CounterScenario, Step6AReadDoesNotMakeACounter) {
  Rig rig(kCountersSchema, kCountersPolicy);
  EXPECT_EQ(rig.sluice.run({"GET", "counter:never"}), "(nil)");
  EXPECT_EQ(rig.redis.run({"EXISTS", "counter:never"}), "(integer) 0");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM Counters"), "0");
}

TEST(CounterScenario, Step10TheRowsAreListedInTheOrderOfTheirIds) {
  Rig rig(kCountersSchema, kCountersPolicy);
  rig.db.exec("INSERT INTO Counters(Id, Value) VALUES ('c', 3), ('a', 1), ('b', 2)");
  EXPECT_EQ(rig.sluice.run({"SLUICE", "ROWS", "counter", "COUNT", "2"}), "[[counter:a, 1], [counter:b, 2]]");
  EXPECT_EQ(rig.sluice.run({"SLUICE", "ROWS", "counter", "counter:b"}), "[[counter:c, 3]]");
  EXPECT_EQ(rig.sluice.run({"SLUICE", "ROWS", "counters"}), "(error) ERR sluice: there is no policy 'counters'");
}

TEST(CounterScenario, RedisOwnErrorsComeThrough) {
  Rig rig(kCountersSchema, kCountersPolicy);
  Client proxy(rig.sluice.tcp());
  proxy.run({"SET", "counter:t", "9223372036854775807"});
  EXPECT_EQ(proxy.run({"INCR", "counter:t"}), "(error) ERR increment or decrement would overflow");
  EXPECT_EQ(proxy.run({"INCRBY", "counter:t", "x"}), "(error) ERR value is not an integer or out of range");
  EXPECT_EQ(proxy.run({"GET", "counter:t"}), "9223372036854775807");
}

TEST(CounterScenario, TwoProxiesCountTogetherExactly) {
  Rig rig(kCountersSchema, kCountersPolicy);
  SluiceOptions options;
  options.upstream = rig.redis.url();
  options.policies = "[backend.shop]\nurl = \"sqlite:" + rig.db.path() + "\"\n" + kCountersPolicy;
  Sluice second(options);
  Connection one(rig.sluice.tcp());
  Connection two(second.tcp());
  std::string increments;
  for (int i = 0; i < 1000; ++i) {
    increments += wire({"INCR", "counter:t"});
  }
  one.send(increments);
  two.send(increments);
  one.read_replies(1000);
  two.read_replies(1000);
  EXPECT_EQ(rig.redis.run({"GET", "counter:t"}), "2000");
  EXPECT_TRUE(eventually([&] { return rig.db.query(kTotal) == "2000"; }));
}

}  // namespace
}  // namespace sluice::live

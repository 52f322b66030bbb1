// Group commit: writes that come together are armed, committed and applied together.
#include <string>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

constexpr int kWrites = 64;

std::string user(int number) { return "user:" + std::to_string(number); }
std::string value(int number) { return R"({"name":")" + std::to_string(number) + R"(","age":30})"; }

struct GroupCommit : testing::Test {
  Rig rig{kUsersSchema, kUsersPolicy};
  Connection client{rig.sluice.tcp()};

  // What Redis has counted since the last look.
  int evalshas() {
    const std::string stats = rig.redis.run({"INFO", "commandstats"});
    const std::string calls = "cmdstat_evalsha:calls=";
    const auto at = stats.find(calls);
    rig.redis.run({"CONFIG", "RESETSTAT"});
    return at == std::string::npos ? 0 : std::stoi(stats.substr(at + calls.size()));
  }
};

TEST_F(GroupCommit, PipelinedWritesOfOneClientShareScriptCallsAndTransactions) {
  EXPECT_EQ(client.call({"SET", "user:warm", R"({"name":"warm"})"}), "+OK\r\n");
  evalshas();
  const double transactions = rig.sluice.metric("sluice_sql_transactions_total");
  const double calls = rig.sluice.metric("sluice_script_calls_total");
  std::string pipeline;
  for (int i = 0; i < kWrites; ++i) pipeline += wire({"SET", user(i), value(i)});
  client.send(pipeline);
  for (int i = 0; i < kWrites; ++i) EXPECT_EQ(client.read_reply(), "+OK\r\n");
  const int seen = evalshas();
  EXPECT_LE(seen, kWrites / 8);
  EXPECT_EQ(rig.sluice.metric("sluice_script_calls_total") - calls, seen);
  EXPECT_EQ(rig.sluice.metric("sluice_script_runs_total", {"script=\"arm\""}), kWrites + 1);
  EXPECT_LE(rig.sluice.metric("sluice_sql_transactions_total") - transactions, kWrites / 16);
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), std::to_string(kWrites + 1));
  for (int i = 0; i < kWrites; ++i) EXPECT_EQ(rig.redis.run({"GET", user(i)}), value(i));
}

TEST_F(GroupCommit, OneOfManyThatIsWrongFailsAlone) {
  rig.db.exec(
      "DROP TABLE users; CREATE TABLE users(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, "
      "age INTEGER CHECK(age >= 18), occupation TEXT)");
  rig.redis.run({"RPUSH", user(7), "a list"});
  std::string pipeline;
  for (int i = 0; i < kWrites; ++i) {
    pipeline += wire({"SET", user(i), i == 9 ? R"({"name":"9","age":1})" : value(i)});
  }
  client.send(pipeline);
  for (int i = 0; i < kWrites; ++i) {
    const std::string reply = client.read_reply();
    EXPECT_EQ(reply.substr(0, 10), i == 9 ? "-SQLREJECT" : "+OK\r\n") << i;
  }
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), std::to_string(kWrites - 1));
  EXPECT_EQ(rig.redis.run({"EXISTS", user(9)}), "(integer) 0");
  EXPECT_EQ(rig.redis.run({"GET", user(7)}), value(7)) << "SET replaces whatever there is";
}

TEST_F(GroupCommit, AfterScriptFlushEveryWriteStillRunsOnce) {
  client.call({"SET", "user:warm", R"({"name":"warm"})"});
  rig.redis.run({"SCRIPT", "FLUSH"});
  std::string pipeline;
  for (int i = 0; i < kWrites; ++i) pipeline += wire({"SET", user(i), value(i)});
  client.send(pipeline);
  for (int i = 0; i < kWrites; ++i) EXPECT_EQ(client.read_reply(), "+OK\r\n");
  for (int i = 0; i < kWrites; ++i) EXPECT_EQ(rig.redis.run({"GET", user(i)}), value(i));
  EXPECT_EQ(rig.sluice.metric("sluice_policy_overlaps_total"), 0);
}

}  // namespace
}  // namespace sluice::live

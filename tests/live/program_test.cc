// The program: what it says about itself on the command line, over HTTP and through SLUICE.
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

TEST(Program, TellsItsVersionAndItsUse) {
  EXPECT_EQ(run({SLUICE_BINARY, "--version"}).status, 0);
  const Output help = run({SLUICE_BINARY, "--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_NE(help.text.find("--check"), std::string::npos);
  EXPECT_EQ(run({SLUICE_BINARY, "--nonsense"}).status, 2);
}

TEST(Program, CheckNamesEveryMistakeWithItsPlace) {
  TempDir dir;
  const std::string file = dir.file("bad.toml");
  write_file(file, "[proxy]\nlisten = [\"127.0.0.1:6380\"]\nthread = 2\nshutdown_timeout = \"10\"\n");
  const Output output = run({SLUICE_BINARY, "--check", "-c", file});
  EXPECT_EQ(output.status, 78);
  EXPECT_NE(output.text.find(file + ":3:1: "), std::string::npos) << output.text;
  EXPECT_NE(output.text.find(file + ":4:"), std::string::npos) << output.text;
  EXPECT_EQ(run({SLUICE_BINARY, "-c", file}).status, 78);
  EXPECT_EQ(run({SLUICE_BINARY, "--check", "-c", dir.file("none.toml")}).status, 78);
}

TEST(Program, CheckAcceptsTheExamples) {
  const Output output = run({SLUICE_BINARY, "--check", "-c", SLUICE_SOURCE_DIR "/examples/quickstart/sluice.toml"});
  EXPECT_EQ(output.status, 0) << output.text;
}

TEST(Program, PrintConfigHidesSecrets) {
  TempDir dir;
  write_file(dir.file("a.toml"),
             "[proxy]\nlisten = [\"127.0.0.1:1\"]\n[upstream]\nurl = \"redis://127.0.0.1:6379\"\n"
             "password = \"hunter2\"\n");
  const Output output = run({SLUICE_BINARY, "--print-config", "-c", dir.file("a.toml")});
  EXPECT_EQ(output.status, 0) << output.text;
  EXPECT_EQ(output.text.find("hunter2"), std::string::npos);
  EXPECT_NE(output.text.find("shutdown_timeout"), std::string::npos);
}

TEST(Program, APortThatIsTakenIsSaidSo) {
  RedisServer redis;
  RedisServer other;
  TempDir dir;
  const std::string port = std::to_string(other.tcp().port);
  write_file(dir.file("a.toml"), "[proxy]\nlisten = [\"127.0.0.1:" + port + "\"]\n[upstream]\nurl = \"" + redis.url() +
                                     "\"\n[admin]\nlisten = \"\"\n");
  const Output output = run({SLUICE_BINARY, "-c", dir.file("a.toml")}, {}, kPatience);
  EXPECT_EQ(output.status, 1);
  EXPECT_NE(output.text.find(port), std::string::npos) << output.text;
}

struct Admin : testing::Test {
  Rig rig{std::string(kFruitSchema) + kUsersSchema + kCountersSchema,
          std::string(kFruitPolicy) + kUsersPolicy + kCountersPolicy};
};

TEST_F(Admin, ProbesAnswer) {
  EXPECT_EQ(rig.sluice.get("/livez").status, 200);
  EXPECT_EQ(rig.sluice.get("/startupz").status, 200);
  EXPECT_TRUE(eventually([&] { return rig.sluice.get("/readyz").status == 200; }));
  const HttpReply ready = rig.sluice.get("/readyz");
  EXPECT_NE(ready.body.find("redis"), std::string::npos);
  EXPECT_NE(ready.body.find("shop"), std::string::npos);
  EXPECT_EQ(rig.sluice.get("/nonsense").status, 404);
}

TEST_F(Admin, ReadyzSaysThatRedisIsDown) {
  rig.redis.kill();
  EXPECT_TRUE(eventually([&] { return rig.sluice.get("/readyz").status == 503; }));
  EXPECT_EQ(rig.sluice.get("/livez").status, 200);
  rig.redis.start();
  EXPECT_TRUE(eventually([&] { return rig.sluice.get("/readyz").status == 200; }));
}

TEST_F(Admin, MetricsCountHitsMissesAndQueries) {
  Client proxy(rig.sluice.tcp());
  proxy.run({"GET", "fruit:1"});
  proxy.run({"GET", "fruit:1"});
  proxy.run({"GET", "fruit:9"});
  proxy.run({"SET", "user:E", R"({"name":"E"})"});
  const Args fruit{"policy=\"fruit\""};
  EXPECT_EQ(rig.sluice.metric("sluice_policy_hits_total", fruit), 1);
  EXPECT_EQ(rig.sluice.metric("sluice_policy_misses_total", fruit), 2);
  EXPECT_EQ(rig.sluice.metric("sluice_policy_fills_total", fruit), 2);
  EXPECT_EQ(rig.sluice.metric("sluice_sql_seconds_count", {"backend=\"shop\"", "op=\"read_row\""}), 2);
  EXPECT_GE(rig.sluice.metric("sluice_clients"), 1);
  const std::string text = rig.sluice.get("/metrics").body;
  EXPECT_EQ(text.find("fruit:1"), std::string::npos) << "a key in the metrics";
  EXPECT_NE(text.find("# TYPE "), std::string::npos);
}

TEST_F(Admin, MetricsCountTheHitsOfEachPolicy) {
  Client proxy(rig.sluice.tcp());
  proxy.run({"SET", "user:E", R"({"name":"E"})"});
  proxy.run({"GET", "fruit:1"});
  rig.redis.run({"RPUSH", "fruit:2", "no string"});
  EXPECT_EQ(proxy.run({"MGET", "fruit:1", "user:E", "fruit:1"}).find("(nil)"), std::string::npos);
  EXPECT_TRUE(proxy.run({"GET", "fruit:2"}).starts_with("(error) WRONGTYPE"));
  EXPECT_EQ(rig.sluice.metric("sluice_policy_hits_total", {"policy=\"fruit\""}), 2);
  EXPECT_EQ(rig.sluice.metric("sluice_policy_hits_total", {"policy=\"user\""}), 1);
}

// Of docs/metrics.md: the names in the first cells of its tables.
std::set<std::string> documented_metrics() {
  std::set<std::string> names;
  std::istringstream lines(read_file(SLUICE_SOURCE_DIR "/docs/metrics.md"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("| `")) names.insert(line.substr(3, line.find('`', 3) - 3));
  }
  return names;
}

TEST_F(Admin, EveryMetricIsDocumentedAndEveryDocumentedOneIsThere) {
  rig.sluice.run({"GET", "fruit:1"});  // commands, scripts and SQL operations that there were none of are left out
  std::set<std::string> names;
  std::istringstream lines(rig.sluice.get("/metrics").body);
  const std::string kind = "# TYPE ";
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(kind)) names.insert(line.substr(kind.size(), line.find(' ', kind.size()) - kind.size()));
  }
  EXPECT_EQ(names, documented_metrics());
}

TEST(Program, WithoutPoliciesPatternsAreAboutNoKeys) {
  RedisServer redis;
  SluiceOptions options;
  options.upstream = redis.url();
  Sluice sluice(options);
  Connection client(sluice.tcp());
  for (const char* command : {"INVALIDATE", "SYNC"}) EXPECT_EQ(client.call({"SLUICE", command, "a*"}), ":0\r\n");
}

TEST_F(Admin, SluiceCommandsTellAboutPolicies) {
  Client proxy(rig.sluice.tcp());
  EXPECT_NE(proxy.run({"SLUICE", "HELP"}).find("STATUS"), std::string::npos);
  EXPECT_EQ(proxy.run({"SLUICE", "VERSION"}).find("(error)"), std::string::npos);
  const std::string policies = proxy.run({"SLUICE", "POLICY"});
  EXPECT_NE(policies.find("fruit"), std::string::npos);
  EXPECT_NE(policies.find("user"), std::string::npos);
  EXPECT_NE(proxy.run({"SLUICE", "POLICY", "fruit"}).find("fruit:{id:int}"), std::string::npos);
  EXPECT_TRUE(proxy.run({"SLUICE", "POLICY", "none"}).starts_with("(error) "));
  EXPECT_NE(proxy.run({"SLUICE", "EXPLAIN", "fruit:1"}).find("fruit"), std::string::npos);
  EXPECT_EQ(proxy.run({"SLUICE", "DBGET", "fruit:1"}), R"({"id":1,"name":"apple","quantity":100})");
  EXPECT_EQ(rig.redis.run({"EXISTS", "fruit:1"}), "(integer) 0");
  EXPECT_EQ(proxy.run({"SLUICE", "DBGET", "fruit:9"}), "(nil)");
  EXPECT_TRUE(proxy.run({"SLUICE", "NONSENSE"}).starts_with("(error) ERR "));
}

TEST_F(Admin, InvalidateForgetsByPattern) {
  Client proxy(rig.sluice.tcp());
  for (const char* key : {"fruit:1", "fruit:2", "fruit:9"}) {
    proxy.run({"GET", key});
  }
  rig.db.exec("UPDATE fruit SET quantity = 7; INSERT INTO fruit VALUES (9, 'fig', 7)");
  EXPECT_TRUE(proxy.run({"SLUICE", "INVALIDATE", "fruit:*"}).starts_with("(integer)"));
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), R"({"id":1,"name":"apple","quantity":7})");
  EXPECT_EQ(proxy.run({"GET", "fruit:9"}), R"({"id":9,"name":"fig","quantity":7})");
}

}  // namespace
}  // namespace sluice::live

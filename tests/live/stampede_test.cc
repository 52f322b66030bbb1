// Stampedes: many clients that miss one key at once, and floods of keys that there are not.
#include <cstdlib>
#include <memory>
#include <string>
#include <sys/resource.h>
#include <vector>

#include "engines.h"

namespace sluice::live {
namespace {

constexpr const char* kApple = "$38\r\n{\"id\":1,\"name\":\"apple\",\"quantity\":100}\r\n";
constexpr const char* kPolicies = R"(
[[policy]]
name = "fruit"
key = "fruit:{id:int}"
backend = "shop"
table = "fruit"
value = "json"
read = "cache-aside"
max_concurrent_loads = 8
load_timeout = "60s"

[[policy]]
name = "veg"
key = "veg:{id:int}"
backend = "shop"
table = "veg"
value = "json"
read = "cache-aside"
)";
constexpr int kLoadsMax = 8;

std::string schema() {
  return std::string(kFruitSchema) +
         "CREATE TABLE veg(id INTEGER PRIMARY KEY, name VARCHAR(40)); INSERT INTO veg VALUES (1, 'leek'), (2, 'kale');";
}

void allow_open_files() {
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = files.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
}

struct Stampede : OnEveryEngine {
  static constexpr int kProxies = 3, kClients = 1000;

  Stampede() {
    allow_open_files();
    db.exec(schema());
    db.hold("fruit");
    SluiceOptions options;
    options.upstream = redis.url();
    options.policies = "[backend.shop]\nurl = \"" + db.url() + "\"\n" + kPolicies;
    options.wait_ready = false;  // SQLite's file is held
    for (int i = 0; i < kProxies; ++i) proxies.push_back(std::make_unique<Sluice>(options));
    for (const auto& proxy : proxies) EXPECT_TRUE(eventually([&] { return is_up(*proxy); }));
  }

  static bool is_up(const Sluice& proxy) { return Client(proxy.tcp()).run({"GET", "plain"}) == "(nil)"; }

  double sum(const std::string& metric) const {
    double all = 0;
    for (const auto& proxy : proxies) all += proxy->metric(metric);
    return all;
  }
  double sql_reads() const {
    double all = 0;
    for (const auto& proxy : proxies) all += proxy->sql_reads();
    return all;
  }

  EngineDatabase db{GetParam()};
  RedisServer redis;
  std::vector<std::unique_ptr<Sluice>> proxies;
};
ON_EVERY_ENGINE(Stampede);

TEST_P(Stampede, OfAThousandClientsOfThreeProxiesIsOneQuery) {
  std::vector<std::unique_ptr<Connection>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<Connection>(proxies[static_cast<std::size_t>(i % kProxies)]->tcp()));
    ASSERT_TRUE(clients.back()->send(wire({"GET", "fruit:1"})));
  }
  EXPECT_TRUE(eventually([&] { return sum("sluice_operations") == kClients; })) << "all of them miss at once";
  if (GetParam() != Engine::sqlite) {
    EXPECT_TRUE(eventually([&] { return db.queries_held() == 1; })) << db.queries_held();
  }
  db.release();
  for (const auto& client : clients) ASSERT_EQ(client->read_reply(), kApple);
  EXPECT_EQ(sql_reads(), 1);
  EXPECT_EQ(sum("sluice_policy_fills_total"), 1);
}

struct Flood : OnEveryEngine {
  static constexpr int kFirst = 1000;  // of the keys that there are not

  // Keys first, first + 1, ... by several clients that each send many before they read.
  void ask(int first, int count, const std::function<void()>& meanwhile) {
    constexpr int kClients = 8;
    std::vector<std::unique_ptr<Connection>> clients;
    clients.reserve(kClients);
    for (int i = 0; i < kClients; ++i) clients.push_back(std::make_unique<Connection>(rig.sluice.tcp()));
    for (int i = 0; i < kClients; ++i) {
      std::string commands;
      for (int key = i; key < count; key += kClients) commands += wire({"GET", "fruit:" + std::to_string(first + key)});
      ASSERT_TRUE(clients[static_cast<std::size_t>(i)]->send(commands));
    }
    meanwhile();
    for (int key = 0; key < count; ++key) {
      ASSERT_EQ(clients[static_cast<std::size_t>(key % kClients)]->read_reply(), "$-1\r\n") << key;
    }
  }

  double resident_mib() {
    const std::string text = read_file("/proc/" + std::to_string(rig.sluice.process().pid()) + "/smaps_rollup");
    return std::stod(text.substr(text.find("Rss:") + 4)) / 1024;
  }

  static SluiceOptions options() {
    SluiceOptions options;
    // AddressSanitizer keeps what is freed for a while: little of it, so that what is resident tells what is used.
    options.prepare = [] { ::setenv("ASAN_OPTIONS", "quarantine_size_mb=1", 1); };
    return options;
  }

  EngineRig rig{GetParam(), schema(), "connections = 32\n" + std::string(kPolicies), options()};
};
ON_EVERY_ENGINE(Flood);

TEST_P(Flood, OfAbsentKeysKeepsToItsQueriesAndLeavesOthersAlone) {
  if (GetParam() == Engine::sqlite) GTEST_SKIP() << "no reader of SQLite waits for another";
  EXPECT_EQ(rig.sluice.run({"GET", "fruit:3"}), R"({"id":3,"name":"pear","quantity":300})");
  EXPECT_EQ(rig.sluice.run({"GET", "veg:1"}), R"({"id":1,"name":"leek"})");
  rig.db.hold("fruit");
  ask(kFirst, 8000, [&] {
    EXPECT_TRUE(eventually([&] { return rig.db.queries_held() > 0; }));
    EXPECT_TRUE(eventually([&] { return rig.sluice.metric("sluice_sql_queue_depth") == kLoadsMax; }));
    Client other(rig.sluice.tcp());
    EXPECT_EQ(other.run({"SET", "plain", "1"}), "OK");
    EXPECT_EQ(other.run({"GET", "plain"}), "1");
    EXPECT_EQ(other.run({"GET", "fruit:3"}), R"({"id":3,"name":"pear","quantity":300})") << "a hit";
    EXPECT_EQ(other.run({"GET", "veg:2"}), R"({"id":2,"name":"kale"})") << "a miss";
    EXPECT_LE(rig.db.queries_held(), kLoadsMax) << "several rows share a query";
    EXPECT_EQ(rig.sluice.metric("sluice_sql_queue_depth"), kLoadsMax) << "nothing waits inside of sluice either";
    rig.db.release();
  });
}

// SLUICE_ABSENT_KEYS: how many.
TEST_P(Flood, OfAbsentKeysLeavesNothingInTheProxy) {
  constexpr int kAtOnce = 4000;
  const char* const chosen = std::getenv("SLUICE_ABSENT_KEYS");
  const int keys = chosen == nullptr ? 24000 : std::atoi(chosen);
  const auto see = [&] { EXPECT_LE(rig.sluice.metric("sluice_sql_queue_depth"), kLoadsMax); };
  int next = kFirst;
  for (; next < kFirst + keys / 3; next += kAtOnce) ask(next, kAtOnce, see);
  const double before = resident_mib();
  for (; next < kFirst + keys; next += kAtOnce) ask(next, kAtOnce, see);
  EXPECT_LT(resident_mib(), before + 24) << "MiB; what the allocator keeps varies";
  EXPECT_TRUE(eventually([&] { return rig.sluice.metric("sluice_operations") == 0; }));
  EXPECT_EQ(rig.sluice.sql_reads(), next - kFirst);
}

}  // namespace
}  // namespace sluice::live

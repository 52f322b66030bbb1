// Acceptance scenario 003: cached results of queries over two tables, which are stale as soon as either has changed.
#include <atomic>
#include <cstdlib>
#include <thread>

#include "engines.h"
#include "held_script.h"
#include "policies/fuse_scripts.h"

namespace sluice::live {
namespace {

constexpr const char* kSchema =
    "CREATE TABLE department(id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL);"
    "CREATE TABLE employee(id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL, department_id INTEGER NOT NULL);"
    "INSERT INTO department VALUES (1, 'sales'), (2, 'purchase');"
    "INSERT INTO employee VALUES (1, 'Ann', 1), (2, 'Ben', 1), (3, 'Cid', 2);";

constexpr const char* kPolicies = R"(
[[policy]]
name = "departments"
key = "q:departments"
backend = "shop"
query = "SELECT id, name FROM department ORDER BY id"
rows = "many"
tables = ["department"]
value = "json"
read = "cache-aside"

[[policy]]
name = "department-of"
key = "q:department:{id:int}"
backend = "shop"
query = "SELECT id, name FROM department WHERE id = :id"
tables = ["department"]
value = "json"
read = "cache-aside"

[[policy]]
name = "employee-of"
key = "q:employee:{id:int}"
backend = "shop"
query = """
SELECT e.id, e.name, d.name AS department FROM employee e JOIN department d ON d.id = e.department_id WHERE e.id = :id
"""
tables = ["employee", "department"]
value = "json"
read = "cache-aside"

[[policy]]
name = "employees-of"
key = "q:emps:{dept:int}"
backend = "shop"
query = """
SELECT e.id, e.name, d.name AS department FROM employee e JOIN department d ON d.id = e.department_id
WHERE d.id = :dept ORDER BY e.id
"""
rows = "many"
tables = ["employee", "department"]
value = "json"
read = "cache-aside"

[[policy]]
name = "employee-alone"
key = "q:name:{id:int}"
backend = "shop"
query = "SELECT name FROM employee WHERE id = :id"
tables = ["employee"]
value = "json"
read = "cache-aside"

[[policy]]
name = "department"
key = "department:{id:int}"
backend = "shop"
table = "department"
value = "hash"
write = "write-through"
)";

std::string ann(const std::string& department) { return R"({"id":1,"name":"Ann","department":")" + department + "\"}"; }

struct CompanyScenario : OnEveryEngine {
  double queries() const { return rig.sluice.metric("sluice_sql_seconds_count", {"op=\"read"}); }
  void rename(const std::string& name) { rig.db.exec("UPDATE department SET name = '" + name + "' WHERE id = 1"); }

  // Everything that shows the name of department 1.
  static void expect_name(Client& client, const std::string& name) {
    const std::string row = R"({"id":1,"name":")" + name + "\"}";
    EXPECT_EQ(client.run({"GET", "q:department:1"}), row);
    EXPECT_EQ(client.run({"GET", "q:departments"}), "[" + row + R"(,{"id":2,"name":"purchase"}])");
    EXPECT_EQ(client.run({"GET", "q:employee:1"}), ann(name));
    EXPECT_EQ(client.run({"GET", "q:emps:1"}),
              "[" + ann(name) + R"(,{"id":2,"name":"Ben","department":")" + name + R"("}])");
  }

  EngineRig rig{GetParam(), kSchema, kPolicies};
  Client proxy{rig.sluice.tcp()};
};
ON_EVERY_ENGINE(CompanyScenario);

TEST_P(CompanyScenario, Step1AResultIsQueriedOnce) {
  EXPECT_EQ(proxy.run({"GET", "q:employee:1"}), ann("sales"));
  EXPECT_EQ(proxy.run({"GET", "q:employee:1"}), ann("sales"));
  EXPECT_EQ(queries(), 1);
}

TEST_P(CompanyScenario, Step2ATouchedTableMakesItsResultsStaleAndNoOthers) {
  expect_name(proxy, "sales");
  EXPECT_EQ(proxy.run({"GET", "q:name:1"}), R"({"name":"Ann"})");
  rename("X");
  EXPECT_EQ(proxy.run({"SLUICE", "TOUCH", "department"}), "(integer) 1");
  expect_name(proxy, "X");
  const double before = queries();
  EXPECT_EQ(proxy.run({"GET", "q:name:1"}), R"({"name":"Ann"})");
  EXPECT_EQ(queries(), before);
}

TEST_P(CompanyScenario, Step3AWriteThroughOneProxyIsSeenThroughAnother) {
  const auto second = rig.second();
  Client other(second->tcp());
  expect_name(proxy, "sales");
  expect_name(other, "sales");
  EXPECT_EQ(proxy.run({"HSET", "department:1", "name", "Y"}), "(integer) 0");
  expect_name(proxy, "Y");
  expect_name(other, "Y");
}

TEST_P(CompanyScenario, Step4AQueryThatIsSlowerThanAChangeIsNotServedAfterIt) {
  history::FaultLink link(free_port(), rig.redis.tcp().port, history::FaultLink::Framing::redis);
  SluiceOptions options = rig.options;
  options.upstream = "redis://127.0.0.1:" + std::to_string(link.port());
  Sluice slow(options);
  HeldScript fill(link, policies::fuse::fill_checked());
  Connection client(slow.tcp());
  client.send(wire({"GET", "q:employee:1"}));
  ASSERT_TRUE(fill.await());
  rename("X");
  EXPECT_EQ(proxy.run({"SLUICE", "TOUCH", "department"}), "(integer) 1");
  fill.release();
  const auto bulk = [](const std::string& text) { return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n"; };
  EXPECT_EQ(client.read_reply(), bulk(ann("sales"))) << "as it was when it was asked for";
  EXPECT_EQ(client.call({"GET", "q:employee:1"}), bulk(ann("X")));
  expect_name(proxy, "X");
}

// The clock of a machine is in no decision: with one that is an hour slow, writes through either proxy are seen at
// once.
TEST_P(CompanyScenario, Step5AProxyWhoseClockIsSlowChangesNothing) {
  SluiceOptions options = rig.options;
  options.prepare = [] {
    ::setenv("LD_PRELOAD", SLUICE_FAKETIME, 1);
    ::setenv("FAKETIME", "-1h", 1);
    ::setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1);
    ::setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);  // what is preloaded comes before it
  };
  Sluice slow(options);
  Client other(slow.tcp());
  expect_name(proxy, "sales");
  expect_name(other, "sales");
  EXPECT_EQ(proxy.run({"HSET", "department:1", "name", "Y"}), "(integer) 0");
  expect_name(other, "Y");
  expect_name(proxy, "Y");
  EXPECT_EQ(other.run({"HSET", "department:1", "name", "Z"}), "(integer) 0");
  expect_name(proxy, "Z");
  expect_name(other, "Z");
}

TEST_P(CompanyScenario, Step5WithoutTheVersionOfATableNothingIsServedFromBefore) {
  expect_name(proxy, "sales");
  rename("X");
  EXPECT_EQ(rig.redis.run({"DEL", "__sluice:table:department"}), "(integer) 1");
  expect_name(proxy, "X");
}

TEST_P(CompanyScenario, Step6NoReadBegunAfterATouchSeesTheOlderRow) {
  constexpr int kReaders = 50, kRounds = 10;
  const auto second = rig.second();
  rename("0");
  proxy.run({"SLUICE", "TOUCH", "department"});
  std::atomic<int> touched{0}, stale{0}, reads{0};
  std::atomic<bool> over{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < kReaders; ++i) {
    readers.emplace_back([&, i] {
      Client client(i % 2 == 0 ? rig.sluice.tcp() : second->tcp());
      while (!over) {
        const int least = touched;
        const std::string row = client.run({"GET", "q:employee:1"});
        const std::string name = row.substr(std::min(row.size(), row.find("department\":\"") + 13));
        stale += std::atoi(name.c_str()) < least ? 1 : 0;
        ++reads;
      }
    });
  }
  for (int round = 1; round <= kRounds; ++round) {
    rename(std::to_string(round));
    EXPECT_EQ(proxy.run({"SLUICE", "TOUCH", "department"}), "(integer) 1");
    touched = round;
    const int before = reads;
    EXPECT_TRUE(eventually([&] { return reads >= before + kReaders; }));
  }
  over = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(stale, 0) << "of " << reads;
  EXPECT_EQ(proxy.run({"GET", "q:employee:99"}), "(nil)");
}

}  // namespace
}  // namespace sluice::live

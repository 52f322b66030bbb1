// Tables that several policies read: a write through one proxy outdates what another has cached.
#include <gtest/gtest.h>

#include "engines.h"

namespace sluice::live {
namespace {

constexpr const char* kSchema =
    "CREATE TABLE department(id INTEGER PRIMARY KEY, name VARCHAR(40));"
    "INSERT INTO department VALUES (1, 'Sales'), (2, 'Law');";

constexpr const char* kPolicies = R"(
[[policy]]
name = "departments"
key = "department:{id:int}"
backend = "shop"
table = "department"
value = "hash"
write = "write-through"
on_delete = "row"

[[policy]]
name = "names"
key = "name:{id:int}"
backend = "shop"
table = "department"
tables = ["department"]
value = "raw"
column = "name"
read = "cache-aside"
)";

struct Tables : OnEveryEngine {
  EngineRig rig{GetParam(), kSchema, kPolicies};
  std::unique_ptr<Sluice> second = rig.second();
};
ON_EVERY_ENGINE(Tables);

TEST_P(Tables, AWriteThroughOneProxyIsSeenAtOnceThroughAnother) {
  for (int i = 0; i < 30; ++i) {
    const std::string name = "N" + std::to_string(i);
    EXPECT_EQ(second->run({"GET", "name:1"}), i == 0 ? "Sales" : "N" + std::to_string(i - 1));
    EXPECT_EQ(rig.sluice.run({"HSET", "department:1", "name", name}), "(integer) 0");
    EXPECT_EQ(second->run({"GET", "name:1"}), name);
    EXPECT_EQ(rig.sluice.run({"GET", "name:1"}), name);
  }
  EXPECT_GE(second->metric("sluice_policy_stale_total", {"policy=\"names\""}), 1);
}

TEST_P(Tables, AnInsertIsSeenAndADeletionToo) {
  EXPECT_EQ(second->run({"GET", "name:3"}), "(nil)");
  EXPECT_EQ(rig.sluice.run({"HSET", "department:3", "name", "Art"}), "(integer) 1");
  EXPECT_EQ(second->run({"GET", "name:3"}), "Art");
  EXPECT_EQ(rig.sluice.run({"DEL", "department:3"}), "(integer) 1");
  EXPECT_EQ(second->run({"GET", "name:3"}), "(nil)");
  EXPECT_EQ(second->run({"EXISTS", "name:3"}), "(integer) 0");
}

TEST_P(Tables, ATouchIsSeenAtOnceThroughEveryProxy) {
  for (int i = 0; i < 10; ++i) {
    const std::string name = "N" + std::to_string(i);
    second->run({"GET", "name:1"});
    rig.db.exec("UPDATE department SET name = '" + name + "' WHERE id = 1");
    EXPECT_EQ(rig.sluice.run({"SLUICE", "TOUCH", "Department", "employee"}), "(integer) 2");
    EXPECT_EQ(second->run({"GET", "name:1"}), name);
  }
  EXPECT_EQ(rig.sluice.metric("sluice_tables_touched_total"), 20);
}

TEST_P(Tables, WithoutItsVersionNothingCachedIsAnswered) {
  EXPECT_EQ(second->run({"GET", "name:1"}), "Sales");
  rig.db.exec("UPDATE department SET name = 'X' WHERE id = 1");
  EXPECT_EQ(second->run({"GET", "name:1"}), "Sales");
  EXPECT_EQ(rig.redis.run({"DEL", "__sluice:table:department"}), "(integer) 1");
  EXPECT_EQ(second->run({"GET", "name:1"}), "X");
}

TEST_P(Tables, ATouchOfATableThatNobodyKnowsIsDoneAndLogged) {
  EXPECT_EQ(rig.sluice.run({"SLUICE", "TOUCH", "department", "departments"}), "(integer) 2");
  EXPECT_EQ(rig.redis.run({"EXISTS", "__sluice:table:departments"}), "(integer) 1");
  EXPECT_TRUE(eventually([&] { return rig.sluice.log().find("the table 'departments'") != std::string::npos; }));
  EXPECT_EQ(rig.sluice.log().find("the table 'department'"), std::string::npos);
}

TEST_P(Tables, OnlyAdministratorsTouch) {
  rig.redis.run({"ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all"});
  Client client(rig.sluice.tcp());
  EXPECT_EQ(client.run({"AUTH", "bob", "pw"}), "OK");
  EXPECT_TRUE(client.run({"SLUICE", "TOUCH", "department"}).starts_with("(error) NOPERM"));
}

TEST(TablesOfCounters, AFlushIsSeen) {
  const std::string reader = R"(
[[policy]]
name = "totals"
key = "total:{Id}"
backend = "shop"
table = "Counters"
tables = ["Counters"]
value = "raw"
column = "Value"
read = "cache-aside"
)";
  Rig rig(kCountersSchema, kCountersPolicy + reader);
  rig.db.exec("INSERT INTO Counters(Id, Value) VALUES ('t', 1)");
  EXPECT_EQ(rig.sluice.run({"GET", "total:t"}), "1");
  for (int value = 2; value < 10; ++value) {
    EXPECT_EQ(rig.sluice.run({"INCR", "counter:t"}), "(integer) " + std::to_string(value));
    rig.sluice.run({"SLUICE", "SYNC", "counter:t"});
    EXPECT_EQ(rig.sluice.run({"GET", "total:t"}), std::to_string(value));
  }
}

}  // namespace
}  // namespace sluice::live

// Acceptance scenario 000: users written through as JSON, and read back by name.
#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

struct UserScenario : testing::Test {
  Rig rig{kUsersSchema, kUsersPolicy};
  Client proxy{rig.sluice.tcp()};
};

TEST_F(UserScenario, Step1ASetIsInSqlAtOnceAndTheBytesSentAreInRedis) {
  const std::string value = R"({"name":"John Doe","age":30,"occupation":"Engineer"})";
  EXPECT_EQ(proxy.run({"SET", "user:John Doe", value}), "OK");
  EXPECT_EQ(rig.db.query("SELECT age, occupation FROM users WHERE name = 'John Doe'"), "30|Engineer");
  EXPECT_EQ(rig.redis.run({"GET", "user:John Doe"}), value);
}

TEST_F(UserScenario, Step2ASecondSetReplacesTheRow) {
  proxy.run({"SET", "user:John Doe", R"({"name":"John Doe","age":30,"occupation":"Engineer"})"});
  EXPECT_EQ(proxy.run({"SET", "user:John Doe", R"({"name":"John Doe","age":31,"occupation":"Engineer"})"}), "OK");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*), MAX(age) FROM users WHERE name = 'John Doe'"), "1|31");
}

TEST_F(UserScenario, Step3AGetLoadsTheRowOnce) {
  rig.db.exec("INSERT INTO users(name, age, occupation) VALUES ('Tarunn Gusain', 25, 'SWE')");
  EXPECT_EQ(rig.redis.run({"EXISTS", "user:Tarunn Gusain"}), "(integer) 0");
  const std::string loaded = R"({"name":"Tarunn Gusain","age":25,"occupation":"SWE"})";
  EXPECT_EQ(proxy.run({"GET", "user:Tarunn Gusain"}), loaded);
  EXPECT_EQ(rig.redis.run({"EXISTS", "user:Tarunn Gusain"}), "(integer) 1");
  const double before = rig.sluice.sql_reads();
  EXPECT_GT(before, 0);
  EXPECT_EQ(proxy.run({"GET", "user:Tarunn Gusain"}), loaded);
  EXPECT_EQ(rig.sluice.sql_reads(), before);
}

TEST_F(UserScenario, Step4AnAbsentUserIsNil) { EXPECT_EQ(proxy.run({"GET", "user:Nobody"}), "(nil)"); }

TEST_F(UserScenario, Step4WhatIsNotJsonIsRefusedAndStoredNowhere) {
  EXPECT_TRUE(proxy.run({"SET", "user:Bad", "not json"}).starts_with("(error) ERR sluice: "));
  EXPECT_EQ(rig.redis.run({"EXISTS", "user:Bad"}), "(integer) 0");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), "0");
}

TEST_F(UserScenario, AUnknownFieldIsRefusedAndStoredNowhere) {
  EXPECT_TRUE(proxy.run({"SET", "user:E", R"({"name":"E","shoe":43})"}).starts_with("(error) ERR sluice: "));
  EXPECT_EQ(rig.redis.run({"EXISTS", "user:E"}), "(integer) 0");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), "0");
}

TEST_F(UserScenario, ARowThatSqlRefusesIsStoredNowhere) {
  rig.db.exec("CREATE TRIGGER adults BEFORE INSERT ON users WHEN new.age < 18 BEGIN SELECT RAISE(ABORT, 'minor'); END");
  EXPECT_TRUE(proxy.run({"SET", "user:E", R"({"name":"E","age":1})"}).starts_with("(error) SQLREJECT "));
  EXPECT_EQ(rig.redis.run({"EXISTS", "user:E"}), "(integer) 0");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), "0");
  EXPECT_EQ(proxy.run({"SET", "user:F", R"({"name":"F","age":18})"}), "OK");
}

TEST(HashScenario, AnHsetChangesOnlyTheColumnsItNames) {
  Rig rig(
      "CREATE TABLE profiles(id INTEGER PRIMARY KEY, city TEXT, score INTEGER);"
      "INSERT INTO profiles VALUES (7, 'Rome', 1)",
      R"(
[[policy]]
name = "profile"
key = "profile:{id:int}"
backend = "shop"
table = "profiles"
value = "hash"
columns = { town = "city" }
write = "write-through"
)");
  Client proxy(rig.sluice.tcp());
  EXPECT_EQ(proxy.run({"HSET", "profile:7", "score", "4242"}), "(integer) 0");
  EXPECT_EQ(rig.db.query("SELECT * FROM profiles"), "7|Rome|4242");
  EXPECT_EQ(proxy.run({"HGETALL", "profile:7"}), "[town, Rome, score, 4242]");
  EXPECT_EQ(proxy.run({"HSET", "profile:8", "town", "Oslo"}), "(integer) 1");
  EXPECT_EQ(rig.db.query("SELECT * FROM profiles WHERE id = 8"), "8|Oslo|NULL");
  EXPECT_TRUE(proxy.run({"SET", "profile:7", "x"}).starts_with("(error) WRONGTYPE"));
  EXPECT_TRUE(proxy.run({"HSET", "profile:7", "score", "many"}).starts_with("(error) ERR sluice: "));
  EXPECT_EQ(rig.db.query("SELECT * FROM profiles WHERE id = 7"), "7|Rome|4242");
}

}  // namespace
}  // namespace sluice::live

// Write-through on SQLite: values that do not fit, and hashes with renamed fields.
#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

struct WrittenValue : testing::Test {
  Rig rig{kUsersSchema, kUsersPolicy};
  Client proxy{rig.sluice.tcp()};
};

TEST_F(WrittenValue, AUnknownFieldIsRefusedAndStoredNowhere) {
  EXPECT_TRUE(proxy.run({"SET", "user:E", R"({"name":"E","shoe":43})"}).starts_with("(error) ERR sluice: "));
  EXPECT_EQ(rig.redis.run({"EXISTS", "user:E"}), "(integer) 0");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), "0");
}

TEST_F(WrittenValue, ARowThatSqlRefusesIsStoredNowhere) {
  rig.db.exec("CREATE TRIGGER adults BEFORE INSERT ON users WHEN new.age < 18 BEGIN SELECT RAISE(ABORT, 'minor'); END");
  EXPECT_TRUE(proxy.run({"SET", "user:E", R"({"name":"E","age":1})"}).starts_with("(error) SQLREJECT "));
  EXPECT_EQ(rig.redis.run({"EXISTS", "user:E"}), "(integer) 0");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), "0");
  EXPECT_EQ(proxy.run({"SET", "user:F", R"({"name":"F","age":18})"}), "OK");
}

TEST(WrittenHash, AnHsetChangesOnlyTheColumnsItNames) {
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

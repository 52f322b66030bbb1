// Access: what Redis would refuse a client, sluice refuses too, and SQL is not touched for it.
#include <mutex>

#include <gtest/gtest.h>

#include "harness.h"
#include "tests/history/fault_link.h"

namespace sluice::live {
namespace {

struct Access : testing::Test {
  static SluiceOptions with_password() {
    SluiceOptions options;
    options.upstream_extra = "password = \"secret\"";
    return options;
  }
  Rig rig{std::string(kFruitSchema) + kUsersSchema + kCountersSchema,
          std::string(kFruitPolicy) + kUsersPolicy + kCountersPolicy,
          with_password(),
          {"--requirepass", "secret"}};
  Client admin{rig.redis.tcp()};
  void SetUp() override { ASSERT_EQ(admin.run({"AUTH", "secret"}), "OK"); }

  void expect_nothing_happened() {
    EXPECT_EQ(rig.sluice.sql_reads(), 0);
    EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), "0");
    EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM Counters"), "0");
    // Sluice's own note of which Redis process it knows is not the client's doing.
    EXPECT_EQ(admin.run({"DBSIZE"}), admin.run({"EXISTS", "__sluice:run"}));
  }
};

const std::vector<Args> kPolicyCommands{{"SET", "user:E", R"({"name":"E"})"},
                                        {"GET", "user:E"},
                                        {"GET", "fruit:1"},
                                        {"INCR", "counter:t"},
                                        {"GET", "counter:t"},
                                        {"SET", "counter:t", "5"},
                                        {"SLUICE", "DBGET", "fruit:1"},
                                        {"SLUICE", "STATUS", "fruit:1"},
                                        {"SLUICE", "INVALIDATE", "fruit:1"},
                                        {"SLUICE", "SYNC", "counter:t"}};

TEST_F(Access, SluiceItselfIsReady) {
  EXPECT_TRUE(eventually([&] { return rig.sluice.get("/readyz").status == 200; }));
}

TEST_F(Access, WithoutAuthNothingIsAnswered) {
  Client client(rig.sluice.tcp());
  EXPECT_EQ(client.run({"GET", "plain"}), "(error) NOAUTH Authentication required.");
  for (const Args& command : kPolicyCommands) {
    EXPECT_EQ(client.run(command), "(error) NOAUTH Authentication required.") << command[0] << " " << command[1];
  }
  EXPECT_TRUE(client.run({"SLUICE", "POLICY"}).starts_with("(error) NOAUTH"));
  EXPECT_TRUE(client.run({"AUTH", "wrong"}).starts_with("(error) WRONGPASS"));
  EXPECT_TRUE(client.run({"GET", "fruit:1"}).starts_with("(error) NOAUTH"));
  expect_nothing_happened();
}

TEST_F(Access, APasswordThatIsTakenAwayOpensThePoliciesAndNothingBesides) {
  Client early(rig.sluice.tcp());
  EXPECT_TRUE(early.run({"GET", "fruit:1"}).starts_with("(error) NOAUTH"));
  EXPECT_EQ(admin.run({"CONFIG", "SET", "requirepass", ""}), "OK");
  const std::string value = R"({"name":"E","age":1,"occupation":null})";
  EXPECT_TRUE(eventually([&] { return Client(rig.sluice.tcp()).run({"SET", "user:E", value}) == "OK"; }));
  EXPECT_EQ(rig.db.query("SELECT name FROM users"), "E");
}

TEST_F(Access, APasswordThatIsSetShutsOutNewClients) {
  EXPECT_EQ(admin.run({"CONFIG", "SET", "requirepass", ""}), "OK");
  EXPECT_TRUE(eventually([&] { return Client(rig.sluice.tcp()).run({"SET", "k", "1"}) == "OK"; }));
  EXPECT_EQ(admin.run({"CONFIG", "SET", "requirepass", "secret"}), "OK");
  EXPECT_TRUE(eventually([&] {
    return Client(rig.sluice.tcp()).run({"SET", "k", "2"}).starts_with("(error) NOAUTH");
  }));
}

TEST_F(Access, AuthOpensTheDoorForThatClientOnly) {
  Client client(rig.sluice.tcp());
  EXPECT_EQ(client.run({"AUTH", "secret"}), "OK");
  EXPECT_EQ(client.run({"SET", "user:E", R"({"name":"E","age":1})"}), "OK");
  EXPECT_EQ(client.run({"INCR", "counter:t"}), "(integer) 1");
  EXPECT_EQ(client.run({"GET", "fruit:1"}), R"({"id":1,"name":"apple","quantity":100})");
  EXPECT_EQ(rig.db.query("SELECT name, age FROM users"), "E|1");
  Client other(rig.sluice.tcp());
  EXPECT_TRUE(other.run({"GET", "fruit:1"}).starts_with("(error) NOAUTH"));
  EXPECT_TRUE(other.run({"GET", "user:E"}).starts_with("(error) NOAUTH"));
}

TEST_F(Access, AuthIsTakenBackByReset) {
  Connection client(rig.sluice.tcp());
  client.call({"AUTH", "secret"});
  EXPECT_EQ(client.call({"RESET"}), "+RESET\r\n");
  EXPECT_TRUE(client.call({"GET", "fruit:1"}).starts_with("-NOAUTH"));
}

TEST_F(Access, AUserWithoutTheKeysIsRefusedAndSqlUntouched) {
  admin.run({"ACL", "SETUSER", "limited", "on", ">pw", "~plain:*", "+@all"});
  Client client(rig.sluice.tcp());
  ASSERT_EQ(client.run({"AUTH", "limited", "pw"}), "OK");
  for (const Args& command : kPolicyCommands) {
    EXPECT_TRUE(client.run(command).starts_with("(error) NOPERM")) << command[0] << " " << command[1];
  }
  expect_nothing_happened();
  EXPECT_EQ(client.run({"SET", "plain:1", "x"}), "OK");
}

TEST_F(Access, AReaderReadsAndDoesNotWrite) {
  admin.run({"ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read"});
  Client client(rig.sluice.tcp());
  ASSERT_EQ(client.run({"AUTH", "reader", "pw"}), "OK");
  EXPECT_TRUE(client.run({"SET", "user:E", R"({"name":"E"})"}).starts_with("(error) NOPERM"));
  EXPECT_TRUE(client.run({"INCR", "counter:t"}).starts_with("(error) NOPERM"));
  expect_nothing_happened();
  EXPECT_EQ(client.run({"GET", "fruit:1"}), R"({"id":1,"name":"apple","quantity":100})");
}

// Else a fill might be stored between the write and the clearing of its lease: what it read is from before.
TEST_F(Access, AWriteOfAReaderWithFewRightsFindsNoLease) {
  admin.run({"ACL", "SETUSER", "few", "on", ">pw", "~fruit:*", "+@all"});
  history::FaultLink link(free_port(), rig.redis.tcp().port, history::FaultLink::Framing::redis);
  std::mutex mutex;
  std::vector<std::string> seen;
  link.watch([&](const history::FaultLink::Message& message) {
    const std::lock_guard lock(mutex);
    const std::string name = message.is_reply || message.command.empty() ? "" : message.command[0];
    if (name == "HDEL" || name == "DEL" || name == "EXEC") seen.push_back(name);
    return history::FaultLink::Verdict{};
  });
  SluiceOptions options = with_password();
  options.policies = "[backend.shop]\nurl = \"sqlite:" + rig.db.path() + "\"\n" + kFruitPolicy;
  options.upstream = "redis://127.0.0.1:" + std::to_string(link.port());
  Sluice sluice(options);
  Client client(sluice.tcp());
  ASSERT_EQ(client.run({"AUTH", "few", "pw"}), "OK");
  EXPECT_EQ(client.run({"GET", "fruit:1"}), R"({"id":1,"name":"apple","quantity":100})");
  EXPECT_EQ(client.run({"DEL", "fruit:1"}), "(integer) 1");
  client.run({"MULTI"});
  EXPECT_EQ(client.run({"DEL", "fruit:1"}), "QUEUED");
  EXPECT_EQ(client.run({"EXEC"}), "[(integer) 0]");
  const std::lock_guard lock(mutex);
  EXPECT_EQ(seen, (std::vector<std::string>{"HDEL", "DEL", "HDEL", "DEL", "HDEL", "EXEC", "HDEL"}));
}

TEST_F(Access, ARightThatIsTakenAwayIsGone) {
  admin.run({"ACL", "SETUSER", "worker", "on", ">pw", "~*", "+@all"});
  Client client(rig.sluice.tcp());
  ASSERT_EQ(client.run({"AUTH", "worker", "pw"}), "OK");
  EXPECT_EQ(client.run({"SET", "user:E", R"({"name":"E","age":1})"}), "OK");
  admin.run({"ACL", "SETUSER", "worker", "resetkeys", "~plain:*"});
  EXPECT_TRUE(eventually([&] {
    return client.run({"SET", "user:E", R"({"name":"E","age":2})"}).starts_with("(error) NOPERM");
  }));
  const std::string before = rig.db.query("SELECT age FROM users");
  EXPECT_TRUE(client.run({"SET", "user:E", R"({"name":"E","age":3})"}).starts_with("(error) NOPERM"));
  EXPECT_EQ(rig.db.query("SELECT age FROM users"), before);
}

TEST_F(Access, HelloWithAuthIsAsGoodAsAuth) {
  Connection client(rig.sluice.tcp());
  EXPECT_TRUE(client.call({"HELLO", "3"}).starts_with("-NOAUTH"));
  EXPECT_EQ(client.call({"HELLO", "3", "AUTH", "default", "secret"})[0], '%');
  EXPECT_EQ(client.call({"GET", "fruit:9"}), "_\r\n");
}

TEST(AccessWithoutRights, OnlyAdministratorsRunWhatIsNotAboutOneKey) {
  SluiceOptions options;
  options.admin = "users = [\"boss\"]";
  Rig rig(kFruitSchema, kFruitPolicy, options);
  rig.redis.run({"ACL", "SETUSER", "boss", "on", ">pw", "~*", "+@all"});
  Client client(rig.sluice.tcp());
  EXPECT_TRUE(client.run({"SLUICE", "INVALIDATE", "fruit:*"}).starts_with("(error) NOPERM"));
  EXPECT_EQ(client.run({"AUTH", "boss", "pw"}), "OK");
  EXPECT_TRUE(client.run({"SLUICE", "INVALIDATE", "fruit:*"}).starts_with("(integer)"));
}

}  // namespace
}  // namespace sluice::live

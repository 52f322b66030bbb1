// Trust: what a client must not get by asking in an odd way, and what must not hold up others.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

const std::string kAda = R"({"name":"ada","age":36,"occupation":null})";
const std::string kApple = R"({"id":1,"name":"apple","quantity":100})";

std::string bulk(const std::string& text) { return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n"; }

// One reply, or nothing if the peer closes instead; a failure when it does neither.
std::string reply_or_close(Connection& client) {
  std::string& bytes = client.pending();
  EXPECT_TRUE(eventually([&] {
    const bool open = client.read_available();
    return reply_size(bytes) > 0 || !open;
  })) << "neither answered nor closed";
  std::string reply = bytes.substr(0, reply_size(bytes));
  bytes.erase(0, reply.size());
  return reply;
}

std::string call_or_close(Connection& client, const Args& command) {
  client.send(wire(command));
  return reply_or_close(client);
}

bool refused(const std::string& reply_or_nothing) {
  return reply_or_nothing.empty() || reply_or_nothing.starts_with("-");
}

// What EXEC answers to a transaction of these commands; the errors on the way go into it.
std::string transaction(Connection& client, const std::vector<Args>& commands) {
  std::string all = call_or_close(client, {"MULTI"});
  for (const Args& command : commands) all += call_or_close(client, command);
  return all + call_or_close(client, {"EXEC"});
}

struct Trust : testing::Test {
  Rig rig{std::string(kFruitSchema) + kUsersSchema, std::string(kFruitPolicy) + kUsersPolicy};
  Client admin{rig.redis.tcp()};

  void SetUp() override {
    admin.run({"ACL", "SETUSER", "bob", "on", ">pw", "~*", "&*", "+@all"});
    admin.run({"ACL", "SETUSER", "alice", "on", ">old", "~*", "&*", "+@all"});
  }
  std::string rows() { return rig.db.query("SELECT name FROM users"); }
  int connected() {
    const std::string info = admin.run({"INFO", "clients"});
    return std::atoi(info.c_str() + info.find("connected_clients:") + 18);
  }
  bool nobody_is_pinned() const {
    return eventually([&] { return rig.sluice.metric("sluice_pinned_clients") == 0; });
  }
  void expect_ada_is_nowhere() {
    EXPECT_EQ(admin.run({"EXISTS", "user:ada"}), "(integer) 0");
    EXPECT_EQ(rows(), "");
  }
};

struct TrustWithPassword : testing::Test {
  static SluiceOptions with_password() {
    SluiceOptions options;
    options.upstream_extra = "password = \"secret\"";
    return options;
  }
  Rig rig{kUsersSchema, kUsersPolicy, with_password(), {"--requirepass", "secret"}};
  Client admin{rig.redis.tcp()};
  void SetUp() override { ASSERT_EQ(admin.run({"AUTH", "secret"}), "OK"); }
};

// Redis believes the first password and refuses the command for the second.
TEST_F(TrustWithPassword, AHelloThatIsRefusedLeavesNobodysRightsToOthers) {
  admin.run({"ACL", "SETUSER", "alice", "on", ">apw", "~*", "&*", "+@all"});
  Connection client(rig.sluice.tcp());
  EXPECT_TRUE(client.call({"HELLO", "2", "AUTH", "alice", "apw", "AUTH", "alice", "bad"}).starts_with("-WRONGPASS"));
  for (int i = 0; i < 3; ++i) {
    Connection stranger(rig.sluice.tcp());
    EXPECT_EQ(transaction(stranger, {{"ACL", "WHOAMI"}}).find("alice"), std::string::npos);
    EXPECT_TRUE(stranger.call({"ACL", "WHOAMI"}).starts_with("-NOAUTH"));
  }
}

TEST_F(TrustWithPassword, AConnectionThatRedisHasNoRoomForLetsNobodyIn) {
  const Args write{"SET", "user:ada", kAda};
  ASSERT_TRUE(Client(rig.sluice.tcp()).run({"GET", "plain"}).starts_with("(error) NOAUTH"));
  ASSERT_EQ(admin.run({"CONFIG", "SET", "maxclients", "1"}), "OK");
  std::istringstream list(admin.run({"CLIENT", "LIST"}));
  for (std::string line; std::getline(list, line);) {  // those of clients, and not sluice's own
    if (line.find("cmd=get ") != std::string::npos || line.find("cmd=ping ") != std::string::npos) {
      admin.run({"CLIENT", "KILL", "ID", line.substr(3, line.find(' ') - 3)});
    }
  }
  EXPECT_TRUE(eventually([&] {
    EXPECT_NE(Client(rig.sluice.tcp()).run(write), "OK");
    return admin.run({"INFO", "stats"}).find("rejected_connections:0\r") == std::string::npos;
  }));
  for (int i = 0; i < 20; ++i) EXPECT_NE(Client(rig.sluice.tcp()).run(write), "OK");
  EXPECT_EQ(rig.db.query("SELECT name FROM users"), "");
  EXPECT_EQ(admin.run({"CONFIG", "SET", "maxclients", "1000"}), "OK");
}

TEST_F(TrustWithPassword, WhatWasOpenBeforeThePasswordIsNotForStrangers) {
  EXPECT_EQ(admin.run({"CONFIG", "SET", "requirepass", ""}), "OK");
  EXPECT_TRUE(eventually([&] { return Client(rig.sluice.tcp()).run({"SET", "user:ada", kAda}) == "OK"; }));
  EXPECT_EQ(admin.run({"SET", "treasure", "42"}), "OK");
  Connection two(rig.sluice.tcp());
  Connection three(rig.sluice.tcp());
  EXPECT_EQ(three.call({"HELLO", "3"})[0], '%');
  for (Connection* client : {&two, &three}) {
    EXPECT_EQ(client->call({"GET", "treasure"}), bulk("42"));
    EXPECT_EQ(client->call({"MULTI"}), "+OK\r\n");
  }
  for (Connection* client : {&two, &three}) EXPECT_EQ(client->call({"EXEC"}), "*0\r\n");
  EXPECT_EQ(admin.run({"CONFIG", "SET", "requirepass", "secret"}), "OK");
  // What sluice has seen counts for a second; of the connections, that of MULTI was made while there was no password.
  EXPECT_TRUE(eventually([&] { return Client(rig.sluice.tcp()).run({"MULTI"}).starts_with("(error) NOAUTH"); }));
  for (const Args& first : std::vector<Args>{{"PING"}, {"HELLO", "2"}, {"HELLO", "3"}}) {
    Connection stranger(rig.sluice.tcp());
    EXPECT_TRUE(stranger.call(first).starts_with("-NOAUTH"));
    EXPECT_TRUE(stranger.call({"EVAL", "return redis.call('GET', 'treasure')", "0"}).starts_with("-NOAUTH"));
    for (const Args& command : std::vector<Args>{{"MULTI"}, {"GET", "treasure"}, {"EXEC"}}) {
      const std::string reply = stranger.call(command);
      EXPECT_TRUE(reply.starts_with("-") && reply.find("NOAUTH") != std::string::npos) << command[0] << ": " << reply;
    }
  }
}

TEST(TrustWithoutReset, AConnectionThatCannotBeResetIsNotHandedOn) {
  Rig rig("", "", {}, {"--rename-command", "RESET", ""});
  rig.redis.run({"ACL", "SETUSER", "bob", "on", ">pw", "~*", "&*", "+@all"});
  Connection first(rig.sluice.tcp());
  EXPECT_EQ(first.call({"AUTH", "bob", "pw"}), "+OK\r\n");
  EXPECT_EQ(first.call({"MULTI"}), "+OK\r\n");
  EXPECT_TRUE(first.call({"RESET"}).starts_with("-ERR"));
  first.close();
  for (int i = 0; i < 3; ++i) {
    Connection other(rig.sluice.tcp());
    EXPECT_EQ(other.call({"EVAL", "return 1", "0"}), ":1\r\n");
    EXPECT_EQ(transaction(other, {{"ACL", "WHOAMI"}}), "+OK\r\n+QUEUED\r\n*1\r\n" + bulk("default"));
  }
}

TEST_F(Trust, ASelectThatFailsInATransactionDoesNotLeadPastThePolicies) {
  Connection client(rig.sluice.tcp());
  EXPECT_EQ(client.call({"MULTI"}), "+OK\r\n");
  EXPECT_EQ(client.call({"SELECT", "99"}), "+QUEUED\r\n");
  EXPECT_TRUE(client.call({"SET", "user:ada", "junk"}).starts_with("-"));
  EXPECT_TRUE(client.call({"EXEC"}).starts_with("-EXECABORT"));
  expect_ada_is_nowhere();
  EXPECT_TRUE(client.call({"SET", "user:ada", "junk"}).starts_with("-"));
  expect_ada_is_nowhere();
  EXPECT_EQ(client.call({"SELECT", "0"}), "+OK\r\n");
  EXPECT_EQ(client.call({"SET", "user:ada", kAda}), "+OK\r\n");
  EXPECT_EQ(rows(), "ada");
}

TEST_F(Trust, ASelectThatFailsUnseenDoesNotLeadPastThePolicies) {
  Connection client(rig.sluice.tcp());
  client.send(wire({"CLIENT", "REPLY", "SKIP"}) + wire({"SELECT", "99"}) + wire({"SET", "user:ada", "junk"}));
  EXPECT_TRUE(client.read_reply().starts_with("-"));
  expect_ada_is_nowhere();
  EXPECT_EQ(client.call({"SELECT", "0"}), "+OK\r\n");
  EXPECT_EQ(client.call({"SET", "user:ada", kAda}), "+OK\r\n");
  EXPECT_EQ(rows(), "ada");
}

TEST_F(Trust, WhoSpeaksLikeAReplicaDoesNotGetPastThePolicies) {
  Connection client(rig.sluice.tcp());
  EXPECT_EQ(client.call({"REPLCONF", "capa", "eof"}), "+OK\r\n");
  EXPECT_TRUE(refused(call_or_close(client, {"SET", "user:ada", "junk"})));
  EXPECT_TRUE(refused(call_or_close(client, {"SET", "__sluice:x", "1"})));
  expect_ada_is_nowhere();
  EXPECT_EQ(admin.run({"EXISTS", "__sluice:x"}), "(integer) 0");
}

TEST_F(Trust, AHelloInATransactionDoesNotChangeTheDatabaseUnseen) {
  Connection client(rig.sluice.tcp());
  EXPECT_EQ(client.call({"SELECT", "5"}), "+OK\r\n");
  transaction(client, {{"HELLO", "2"}});
  call_or_close(client, {"SELECT", "0"});
  EXPECT_TRUE(refused(call_or_close(client, {"SET", "user:ada", "junk"})));
  expect_ada_is_nowhere();
}

TEST_F(Trust, WhoWasDeletedIsNotTheUserWhoGotTheNameLater) {
  Connection writer(rig.sluice.tcp());
  Connection reader(rig.sluice.tcp());
  Connection witness(rig.sluice.tcp());
  for (Connection* client : {&writer, &reader, &witness}) {
    ASSERT_EQ(client->call({"AUTH", "alice", "old"}), "+OK\r\n");
    EXPECT_EQ(client->call({"GET", "plain"}), "$-1\r\n");
  }
  EXPECT_EQ(writer.call({"GET", "user:ada"}), "$-1\r\n");
  EXPECT_EQ(admin.run({"ACL", "DELUSER", "alice"}), "(integer) 1");
  EXPECT_EQ(admin.run({"ACL", "SETUSER", "alice", "on", ">new", "~*", "+@all"}), "OK");
  EXPECT_TRUE(eventually([&] { return refused(call_or_close(witness, {"GET", "plain"})); }));
  EXPECT_TRUE(refused(call_or_close(writer, {"SET", "user:ada", kAda})));
  EXPECT_TRUE(refused(call_or_close(reader, {"SLUICE", "DBGET", "fruit:1"})));
  EXPECT_EQ(rows(), "");
}

TEST_F(TrustWithPassword, AStrangersCommandsHoldUpNobody) {
  Connection stranger(rig.sluice.tcp());
  stranger.send(wire({"CLIENT", "REPLY", "OFF"}) + wire({"CLIENT", "PAUSE", "31536000000"}));
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(stranger.read_reply().starts_with("-NOAUTH"));
  Connection client(rig.sluice.tcp());
  EXPECT_EQ(client.call({"AUTH", "secret"}), "+OK\r\n");
  EXPECT_EQ(client.call({"GET", "plain"}), "$-1\r\n");
  EXPECT_EQ(rig.sluice.metric("sluice_pins_total", {"reason=\"paused\""}), 0);
}

TEST(TrustInADatabase, AUserWithoutTheRightToSelectDoesNotLandInAnother) {
  RedisServer redis({"--requirepass", "secret"});
  SluiceOptions options;
  options.upstream = redis.url() + "/5";
  options.upstream_extra = "password = \"secret\"";
  Sluice sluice(options);
  Client admin(redis.tcp());
  ASSERT_EQ(admin.run({"AUTH", "secret"}), "OK");
  admin.run({"ACL", "SETUSER", "poor", "on", ">pw", "~*", "&*", "+@all", "-select"});
  for (int i = 0; i < 3; ++i) {
    Connection client(sluice.tcp());
    call_or_close(client, {"AUTH", "poor", "pw"});
    call_or_close(client, {"SET", "k", "v"});
    transaction(client, {{"SET", "k", "v"}});
  }
  EXPECT_EQ(admin.run({"DBSIZE"}), "(integer) 0");
}

// A replica that has acknowledged nothing.
struct FakeReplica {
  explicit FakeReplica(const RedisServer& redis, Client& admin) : connection(redis.tcp()) {
    admin.run({"CONFIG", "SET", "repl-diskless-sync-delay", "0"});
    connection.call({"REPLCONF", "capa", "eof", "capa", "psync2"});
    connection.send(wire({"PSYNC", "?", "-1"}));
    EXPECT_TRUE(eventually([&] {
      connection.read_available();
      connection.send(wire({"REPLCONF", "ACK", "0"}));
      return admin.run({"INFO", "replication"}).find("state=online") != std::string::npos;
    }));
  }
  Connection connection;
};

TEST_F(Trust, AUserWithoutChannelsIsNotToldThatReplicasHaveWhatTheyHaveNot) {
  admin.run({"ACL", "SETUSER", "quiet", "on", ">pw", "~*", "resetchannels", "+@all"});
  const FakeReplica replica(rig.redis, admin);
  Connection client(rig.sluice.tcp());
  EXPECT_EQ(client.call({"AUTH", "quiet", "pw"}), "+OK\r\n");
  EXPECT_EQ(client.call({"EVAL", "return 1", "0"}), ":1\r\n");
  EXPECT_EQ(client.call({"SET", "k", "v"}), "+OK\r\n");
  EXPECT_EQ(client.call({"WAIT", "1", "100"}), ":0\r\n");
}

TEST_F(Trust, NobodyBecomesSomebodyElseInATransactionOnPolicyKeys) {
  for (const char* key : {"user:bob", "fruit:1"}) {
    Connection client(rig.sluice.tcp());
    client.send(wire({"MULTI"}) + wire({"DEL", key}) + wire({"AUTH", "alice", "old"}));
    client.read_replies(3);
    EXPECT_TRUE(client.call({"EXEC"}).starts_with("-")) << key;
    EXPECT_EQ(client.call({"ACL", "WHOAMI"}), bulk("default")) << key;
  }
}

TEST_F(Trust, WithoutTheRightToMultiTheDatabaseIsStillKnown) {
  admin.run({"ACL", "SETUSER", "single", "on", ">pw", "~*", "&*", "+@all", "-multi"});
  Connection client(rig.sluice.tcp());
  EXPECT_EQ(client.call({"AUTH", "single", "pw"}), "+OK\r\n");
  EXPECT_TRUE(client.call({"MULTI"}).starts_with("-NOPERM"));
  EXPECT_EQ(client.call({"SELECT", "5"}), "+OK\r\n");
  EXPECT_EQ(client.call({"GET", "fruit:1"}), "$-1\r\n");
  EXPECT_EQ(client.call({"SELECT", "0"}), "+OK\r\n");
  EXPECT_EQ(client.call({"GET", "fruit:1"}), bulk(kApple));
}

TEST_F(Trust, ThoseWhoLeaveInAWaitAreGone) {
  Connection asking(rig.sluice.tcp());
  EXPECT_EQ(transaction(asking, {}), "+OK\r\n*0\r\n");
  const int before = connected();
  std::vector<std::unique_ptr<Connection>> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(std::make_unique<Connection>(rig.sluice.tcp()));
    waiting.back()->send(wire({"WAIT", "1", "0"}));
  }
  EXPECT_TRUE(eventually([&] {
    return admin.run({"INFO", "clients"}).find("blocked_clients:3") != std::string::npos;
  }));
  waiting.clear();
  EXPECT_TRUE(eventually([&] {
    const std::string clients = asking.call({"SLUICE", "CLIENTS"});
    return clients.find("addr") == clients.rfind("addr");
  }));
  EXPECT_TRUE(eventually([&] { return connected() <= before; })) << before;
}

TEST_F(Trust, AListThatLooksLikeAMessageIsAReply) {
  Connection client(rig.sluice.tcp());
  EXPECT_EQ(client.call({"CLIENT", "ID"})[0], ':');
  EXPECT_EQ(client.call({"SUBSCRIBE", "c"}), "*3\r\n" + bulk("subscribe") + bulk("c") + ":1\r\n");
  EXPECT_EQ(client.call({"UNSUBSCRIBE", "c"}), "*3\r\n" + bulk("unsubscribe") + bulk("c") + ":0\r\n");
  EXPECT_EQ(client.call({"RPUSH", "l", "message", "x"}), ":2\r\n");
  EXPECT_EQ(client.call({"LRANGE", "l", "0", "-1"}), "*2\r\n" + bulk("message") + bulk("x"));
  EXPECT_EQ(client.call({"GET", "nosuch"}), "$-1\r\n");
  EXPECT_EQ(client.call({"QUIT"}), "+OK\r\n");
  EXPECT_EQ(client.read_to_end(), "");
}

// Redis takes any password of a user who has none.
TEST_F(Trust, ManyPasswordsAreNotManyConnections) {
  Connection client(rig.sluice.tcp());
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(client.call({"AUTH", "default", "r" + std::to_string(i)}), "+OK\r\n");
    ASSERT_EQ(client.call({"PING"}), "+PONG\r\n");
  }
  EXPECT_LT(connected(), 60);
}

TEST_F(Trust, AfterAPauseNobodyIsPinned) {
  Connection idle(rig.sluice.tcp());
  Connection silent(rig.sluice.tcp());
  Connection active(rig.sluice.tcp());
  EXPECT_EQ(idle.call({"GET", "k"}), "$-1\r\n");
  EXPECT_EQ(active.call({"CLIENT", "PAUSE", "31536000000", "WRITE"}), "+OK\r\n");
  EXPECT_EQ(idle.call({"GET", "k"}), "$-1\r\n");
  EXPECT_EQ(active.call({"GET", "k"}), "$-1\r\n");
  EXPECT_EQ(active.call({"CLIENT", "UNPAUSE"}), "+OK\r\n");
  EXPECT_TRUE(nobody_is_pinned());
  for (Connection* client : {&idle, &silent, &active}) EXPECT_EQ(client->call({"SET", "k", "v"}), "+OK\r\n");
  EXPECT_TRUE(nobody_is_pinned());
}

TEST_F(Trust, ANameThatCannotBeTakenBackIsNotSeenByOthers) {
  admin.run({"ACL", "SETUSER", "mute", "on", ">pw", "~*", "&*", "+@all", "-client"});
  Connection named(rig.sluice.tcp());
  EXPECT_EQ(named.call({"CLIENT", "SETNAME", "spy"}), "+OK\r\n");
  EXPECT_EQ(named.call({"AUTH", "mute", "pw"}), "+OK\r\n");
  EXPECT_EQ(transaction(named, {}), "+OK\r\n*0\r\n");
  for (const char* user : {"default", "bob", "mute"}) {
    Connection other(rig.sluice.tcp());
    EXPECT_EQ(other.call({"AUTH", user, "pw"}), "+OK\r\n");
    EXPECT_EQ(other.call({"MULTI"}), "+OK\r\n");
    EXPECT_EQ(other.call({"DISCARD"}), "+OK\r\n");
    if (std::string_view(user) != "mute") {
      EXPECT_EQ(other.call({"CLIENT", "GETNAME"}), "$-1\r\n") << user;
    }
  }
  named.close();
  EXPECT_TRUE(eventually([&] { return admin.run({"CLIENT", "LIST"}).find("name=spy") == std::string::npos; }));
}

TEST_F(Trust, NobodyWaitsForAConnectionThatWasKilled) {
  Connection writer(rig.sluice.tcp());
  Connection reader(rig.sluice.tcp());
  Connection killer(rig.redis.tcp());
  for (Connection* client : {&writer, &reader}) {
    ASSERT_EQ(client->call({"AUTH", "bob", "pw"}), "+OK\r\n");
    EXPECT_EQ(client->call({"GET", "k"}), "$-1\r\n");
  }
  const std::string write = wire({"SET", "k", std::string(100000, 'x')});
  std::string writes;
  for (int i = 0; i < 400; ++i) writes += write;
  std::string_view rest = writes;
  rig.redis.process().signal(SIGSTOP);
  int looks_without_progress = 0;
  eventually([&] {  // until sluice takes no more for a Redis that reads nothing
    const std::size_t before = rest.size();
    if (!writer.send_some(rest)) return true;
    looks_without_progress = rest.size() < before ? 0 : looks_without_progress + 1;
    return looks_without_progress == 100;
  });
  reader.send(wire({"GET", "k"}));
  killer.send(wire({"CLIENT", "KILL", "USER", "bob"}));
  rig.redis.process().signal(SIGCONT);
  EXPECT_EQ(killer.read_reply()[0], ':');
  reply_or_close(writer);
  reply_or_close(reader);
  Connection late(rig.sluice.tcp());
  EXPECT_EQ(late.call({"AUTH", "bob", "pw"}), "+OK\r\n");
  EXPECT_EQ(late.call({"SET", "other", "v"}), "+OK\r\n");
}

// Redis lets in a connection made while there is no password, for as long as it lives.
TEST(TrustInAPassword, OneThatWasMissingForAMomentLetsNobodyInLater) {
  RedisServer redis({"--requirepass", "secret"});
  SluiceOptions options;
  options.upstream = redis.url();
  Sluice sluice(options);
  Client admin(redis.tcp());
  ASSERT_EQ(admin.run({"AUTH", "secret"}), "OK");
  Client early(sluice.tcp());
  EXPECT_TRUE(early.run({"GET", "k"}).starts_with("(error) NOAUTH"));
  ASSERT_EQ(admin.run({"CONFIG", "SET", "requirepass", ""}), "OK");
  Client lucky(sluice.tcp());
  lucky.run({"MULTI"});
  lucky.run({"EXEC"});
  ASSERT_EQ(admin.run({"CONFIG", "SET", "requirepass", "secret"}), "OK");
  EXPECT_TRUE(eventually([&] { return Client(sluice.tcp()).run({"GET", "k"}).starts_with("(error) NOAUTH"); }));
  EXPECT_TRUE(Client(sluice.tcp()).run({"MULTI"}).starts_with("(error) NOAUTH"));
}

// The shared connection is made anew, and finds out by itself; the idle ones are those from before.
TEST(TrustInAPassword, OneThatIsFoundByReconnectingShutsTheIdleConnectionsToo) {
  RedisServer redis;
  SluiceOptions options;
  options.upstream = redis.url();
  Sluice sluice(options);
  Client admin(redis.tcp());
  Client early(sluice.tcp());
  EXPECT_EQ(early.run({"MULTI"}), "OK");
  early.run({"EXEC"});
  ASSERT_EQ(admin.run({"CONFIG", "SET", "requirepass", "secret"}), "OK");
  // Both of sluice's connections are as old as the admin's or older; the shared one is the first.
  const std::string list = admin.run({"CLIENT", "LIST"});
  ASSERT_EQ(admin.run({"CLIENT", "KILL", "ID", list.substr(3, list.find(' ') - 3)}), "(integer) 1");
  EXPECT_TRUE(eventually([&] { return Client(sluice.tcp()).run({"GET", "k"}).starts_with("(error) NOAUTH"); }));
  EXPECT_TRUE(Client(sluice.tcp()).run({"MULTI"}).starts_with("(error) NOAUTH"));
}

TEST(TrustInAPassword, TheFirstClientAfterAQuietTimeIsAskedForIt) {
  RedisServer redis;
  SluiceOptions options;
  options.upstream = redis.url();
  Sluice sluice(options);
  EXPECT_EQ(sluice.run({"SET", "k", "1"}), "OK");
  Client admin(redis.tcp());
  ASSERT_EQ(admin.run({"CONFIG", "SET", "requirepass", "secret"}), "OK");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // what sluice saw a second ago counts for that long
  EXPECT_TRUE(sluice.run({"GET", "k"}).starts_with("(error) NOAUTH"));
}

}  // namespace
}  // namespace sluice::live

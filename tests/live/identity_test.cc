// Identities: users, databases and protocols share upstream connections among their like, and with nobody else.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

struct Identities : testing::Test {
  Rig rig{kFruitSchema, kFruitPolicy};
  Client admin{rig.redis.tcp()};

  void SetUp() override {
    admin.run({"ACL", "SETUSER", "bob", "on", ">pw", ">other", "~*", "&*", "+@all"});
    admin.run({"ACL", "SETUSER", "eve", "on", ">pw", "~eve:*", "+@all"});
  }
  double pinned() const { return rig.sluice.metric("sluice_pinned_clients"); }
  double upstream_connections() const { return rig.sluice.metric("sluice_upstream_connections"); }
  bool nobody_is_pinned() const {
    return eventually([&] { return pinned() == 0; });
  }
};

TEST_F(Identities, WhatClientLibrariesSendAtFirstPinsNobody) {
  for (const Args& first : std::vector<Args>{{"HELLO", "3"},
                                             {"HELLO", "3", "AUTH", "bob", "pw", "SETNAME", "n"},
                                             {"AUTH", "bob", "pw"},
                                             {"SELECT", "2"},
                                             {"CLIENT", "SETNAME", "n"},
                                             {"CLIENT", "SETINFO", "LIB-NAME", "x"},
                                             {"CLIENT", "GETNAME"}}) {
    Connection client(rig.sluice.tcp());
    client.call(first);
    client.call({"GET", "k"});
    EXPECT_TRUE(nobody_is_pinned()) << first[0];
  }
}

TEST_F(Identities, AHundredClientsOfOneUserShareOneConnection) {
  std::vector<std::unique_ptr<Connection>> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(std::make_unique<Connection>(rig.sluice.tcp()));
    ASSERT_EQ(clients.back()->call({"AUTH", "bob", "pw"}), "+OK\r\n");
    ASSERT_EQ(clients.back()->call({"SET", "k" + std::to_string(i), std::to_string(i)}), "+OK\r\n");
  }
  EXPECT_TRUE(nobody_is_pinned());
  for (auto& client : clients) client->send(wire({"ACL", "WHOAMI"}));
  for (auto& client : clients) EXPECT_EQ(client->read_reply(), "$3\r\nbob\r\n");
  // One for everybody, one of bob's; up to 64 of his wait to be lent.
  EXPECT_LE(upstream_connections(), 68);
}

TEST_F(Identities, NobodyRunsACommandAsSomebodyElse) {
  std::vector<std::unique_ptr<Connection>> clients;
  std::vector<std::string> expected;
  for (int i = 0; i < 40; ++i) {
    clients.push_back(std::make_unique<Connection>(rig.sluice.tcp()));
    const char* user = i % 4 == 0 ? "bob" : i % 4 == 1 ? "eve" : "default";
    if (i % 4 < 2) {
      EXPECT_EQ(clients.back()->call({"AUTH", user, "pw"}), "+OK\r\n");
    }
    if (i % 4 == 2) {
      EXPECT_EQ(clients.back()->call({"HELLO", "3"})[0], '%');
    }
    expected.push_back("$" + std::to_string(std::string(user).size()) + "\r\n" + user + "\r\n");
  }
  for (int round = 0; round < 5; ++round) {
    for (auto& client : clients) client->send(wire({"ACL", "WHOAMI"}));
    for (std::size_t i = 0; i < clients.size(); ++i) EXPECT_EQ(clients[i]->read_reply(), expected[i]) << i;
  }
}

TEST_F(Identities, TwoPasswordsOfOneUserAreCheckedEach) {
  Connection one(rig.sluice.tcp());
  Connection two(rig.sluice.tcp());
  EXPECT_EQ(one.call({"AUTH", "bob", "pw"}), "+OK\r\n");
  EXPECT_EQ(two.call({"AUTH", "bob", "wrong"}).substr(0, 10), "-WRONGPASS");
  EXPECT_EQ(two.call({"ACL", "WHOAMI"}), "$7\r\ndefault\r\n");
  admin.run({"ACL", "SETUSER", "bob", "<pw"});
  Connection late(rig.sluice.tcp());
  EXPECT_EQ(late.call({"AUTH", "bob", "pw"}).substr(0, 10), "-WRONGPASS");
  EXPECT_EQ(late.call({"ACL", "WHOAMI"}), "$7\r\ndefault\r\n");
  EXPECT_EQ(one.call({"ACL", "WHOAMI"}), "$3\r\nbob\r\n");  // as on a connection that Redis let in before
}

TEST_F(Identities, WithARevokedPasswordNoNewConnectionIsMade) {
  Connection one(rig.sluice.tcp());
  ASSERT_EQ(one.call({"AUTH", "bob", "pw"}), "+OK\r\n");
  ASSERT_EQ(one.call({"SET", "k", "1"}), "+OK\r\n");
  admin.run({"ACL", "DELUSER", "bob"});  // closes bob's connections
  // Closed at once if the command was on its way when Redis closed, else told why there is no other connection.
  one.send(wire({"SET", "k", "2"}));
  const std::string last = one.read_to_end();
  EXPECT_TRUE(last.empty() || last.starts_with("-LOADING")) << last;
  EXPECT_EQ(admin.run({"GET", "k"}), "1");
}

TEST_F(Identities, DatabasesAreKeptApart) {
  Connection zero(rig.sluice.tcp());
  Connection three(rig.sluice.tcp());
  EXPECT_EQ(three.call({"SELECT", "3"}), "+OK\r\n");
  EXPECT_TRUE(nobody_is_pinned());
  EXPECT_EQ(three.call({"SET", "k", "three"}), "+OK\r\n");
  EXPECT_EQ(zero.call({"GET", "k"}), "$-1\r\n");
  EXPECT_EQ(three.call({"MULTI"}), "+OK\r\n");
  EXPECT_EQ(three.call({"GET", "k"}), "+QUEUED\r\n");
  EXPECT_EQ(three.call({"EXEC"}), "*1\r\n$5\r\nthree\r\n");
  EXPECT_EQ(three.call({"SELECT", "99"}).substr(0, 4), "-ERR");
  EXPECT_EQ(three.call({"GET", "k"}), "$5\r\nthree\r\n");
  EXPECT_EQ(three.call({"SELECT", "0"}), "+OK\r\n");
  EXPECT_EQ(three.call({"GET", "k"}), "$-1\r\n");
}

TEST_F(Identities, ANameIsShownWhereItCanBeSeenAndGoesWithItsClient) {
  Connection named(rig.sluice.tcp());
  EXPECT_EQ(named.call({"CLIENT", "SETNAME", "me"}), "+OK\r\n");
  EXPECT_EQ(named.call({"CLIENT", "SETNAME", "two words"}).substr(0, 4), "-ERR");
  EXPECT_TRUE(nobody_is_pinned());
  EXPECT_EQ(named.call({"CLIENT", "GETNAME"}), "$2\r\nme\r\n");
  Connection other(rig.sluice.tcp());
  EXPECT_EQ(other.call({"CLIENT", "GETNAME"}), "$-1\r\n");
  EXPECT_EQ(named.call({"MULTI"}), "+OK\r\n");
  EXPECT_NE(admin.run({"CLIENT", "LIST"}).find("name=me"), std::string::npos);
  EXPECT_EQ(named.call({"DISCARD"}), "+OK\r\n");
  EXPECT_TRUE(eventually([&] { return admin.run({"CLIENT", "LIST"}).find("name=me") == std::string::npos; }));
}

// HELLO gives a name without asking whether the user may run CLIENT SETNAME, which takes it away.
TEST_F(Identities, AUserWithoutTheRightToNameConnectionsIsServedAndItsNameGoesToNobody) {
  admin.run({"ACL", "SETUSER", "poor", "on", ">pw", "~*", "+@all", "-client"});
  Connection named(rig.sluice.tcp());
  EXPECT_EQ(named.call({"HELLO", "2", "AUTH", "poor", "pw", "SETNAME", "mine"})[0], '*');
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(named.call({"SET", "k", "v"}), "+OK\r\n");
    EXPECT_EQ(named.call({"MULTI"}), "+OK\r\n");
    EXPECT_EQ(named.call({"EXEC"}), "*0\r\n");
  }
  EXPECT_TRUE(eventually([&] { return admin.run({"CLIENT", "LIST"}).find("name=mine") == std::string::npos; }));
  EXPECT_EQ(named.call({"GET", "k"}), "$1\r\nv\r\n");
}

TEST_F(Identities, ResetMakesAnybodyOfAClientAgain) {
  Connection client(rig.sluice.tcp());
  ASSERT_EQ(client.call({"HELLO", "3", "AUTH", "bob", "pw"})[0], '%');
  EXPECT_EQ(client.call({"RESET"}), "+RESET\r\n");
  EXPECT_EQ(client.call({"GET", "none"}), "$-1\r\n");
  EXPECT_EQ(client.call({"ACL", "WHOAMI"}), "$7\r\ndefault\r\n");
}

TEST_F(Identities, ProgramOrderHoldsOverEveryChange) {
  Connection client(rig.sluice.tcp());
  client.send(wire({"SET", "k", "a"}) + wire({"SELECT", "1"}) + wire({"SET", "k", "b"}) + wire({"HELLO", "3"}) +
              wire({"GET", "k"}) + wire({"AUTH", "bob", "pw"}) + wire({"SELECT", "0"}) + wire({"GET", "k"}) +
              wire({"GET", "none"}) + wire({"RESET"}) + wire({"GET", "none"}));
  EXPECT_EQ(client.read_reply(), "+OK\r\n");
  EXPECT_EQ(client.read_reply(), "+OK\r\n");
  EXPECT_EQ(client.read_reply(), "+OK\r\n");
  EXPECT_EQ(client.read_reply()[0], '%');
  EXPECT_EQ(client.read_reply(), "$1\r\nb\r\n");
  EXPECT_EQ(client.read_reply(), "+OK\r\n");
  EXPECT_EQ(client.read_reply(), "+OK\r\n");
  EXPECT_EQ(client.read_reply(), "$1\r\na\r\n");
  EXPECT_EQ(client.read_reply(), "_\r\n");
  EXPECT_EQ(client.read_reply(), "+RESET\r\n");
  EXPECT_EQ(client.read_reply(), "$-1\r\n");
}

// The database is selected for them before they authenticate.
TEST_F(Identities, AUserWithoutTheRightToSelectStaysWhereTheClientWas) {
  admin.run({"ACL", "SETUSER", "poor", "on", ">pw", "~*", "+@all", "-select"});
  Connection client(rig.sluice.tcp());
  EXPECT_EQ(client.call({"SELECT", "3"}), "+OK\r\n");
  EXPECT_EQ(client.call({"AUTH", "poor", "pw"}), "+OK\r\n");
  EXPECT_EQ(client.call({"SET", "k", "v"}), "+OK\r\n");
  EXPECT_EQ(client.call({"MULTI"}), "+OK\r\n");
  EXPECT_EQ(client.call({"GET", "k"}), "+QUEUED\r\n");
  EXPECT_EQ(client.call({"EXEC"}), "*1\r\n$1\r\nv\r\n");
}

// Redis reads nothing more from a connection whose command it holds back.
TEST_F(Identities, APausedWriteHoldsUpNobodyElse) {
  Connection pauser(rig.sluice.tcp());
  Connection writer(rig.sluice.tcp());
  Connection reader(rig.sluice.tcp());
  EXPECT_EQ(reader.call({"GET", "k"}), "$-1\r\n");
  EXPECT_EQ(pauser.call({"CLIENT", "PAUSE", "100000", "WRITE"}), "+OK\r\n");
  writer.send(wire({"SET", "k", "v"}));
  EXPECT_EQ(reader.call({"GET", "k"}), "$-1\r\n");
  EXPECT_EQ(reader.call({"CLIENT", "UNPAUSE"}), "+OK\r\n");
  EXPECT_EQ(writer.read_reply(), "+OK\r\n");
  EXPECT_EQ(reader.call({"GET", "k"}), "$1\r\nv\r\n");
  EXPECT_EQ(writer.call({"GET", "k"}), "$1\r\nv\r\n");
  EXPECT_TRUE(nobody_is_pinned());
}

// CLIENT REPLY OFF hides whether AUTH succeeded: no policy acts for somebody it cannot know.
TEST_F(Identities, WhoAuthenticatesUnseenGetsNoPolicy) {
  Connection client(rig.sluice.tcp());
  client.send(wire({"CLIENT", "REPLY", "OFF"}) + wire({"AUTH", "bob", "wrong"}) + wire({"CLIENT", "REPLY", "ON"}));
  EXPECT_EQ(client.read_reply(), "+OK\r\n");
  EXPECT_EQ(client.call({"GET", "fruit:1"}).substr(0, 11), "-ERR sluice");
  EXPECT_EQ(rig.sluice.sql_reads(), 0);
}

TEST_F(Identities, ARestartOfRedisIsSurvivedByThoseWhoWereNotInTheMiddleOfSomething) {
  Connection client(rig.sluice.tcp());
  ASSERT_EQ(client.call({"HELLO", "3"})[0], '%');
  ASSERT_EQ(client.call({"SELECT", "2"}), "+OK\r\n");
  rig.redis.kill();
  rig.redis.start();
  ASSERT_TRUE(eventually([&] { return rig.sluice.get("/readyz").status == 200; }));
  EXPECT_EQ(client.call({"SET", "k", "v"}), "+OK\r\n");
  Client direct(rig.redis.tcp());
  EXPECT_EQ(direct.run({"SELECT", "2"}), "OK");
  EXPECT_EQ(direct.run({"GET", "k"}), "v");
}

TEST_F(Identities, WhatRedisRefusesPinsNobody) {
  Connection client(rig.sluice.tcp());
  EXPECT_EQ(client.call({"CLIENT", "MAINT_NOTIFICATIONS", "ON"}).substr(0, 4), "-ERR");
  EXPECT_EQ(client.call({"NOSUCH", "x"}).substr(0, 4), "-ERR");
  EXPECT_TRUE(nobody_is_pinned());
  EXPECT_EQ(client.call({"CLIENT", "ID"})[0], ':');
  EXPECT_EQ(rig.sluice.metric("sluice_pinned_clients", {"reason=\"client\""}), 1);
}

TEST_F(Identities, SluiceClientsAndPinsTellWhoIsThereAndWhoIsPinned) {
  Connection plain(rig.sluice.tcp());
  plain.call({"AUTH", "bob", "pw"});
  Connection watcher(rig.sluice.unix_socket());
  watcher.call({"WATCH", "k"});
  Client asking(rig.sluice.tcp());
  const std::string clients = asking.run({"SLUICE", "CLIENTS"});
  EXPECT_NE(clients.find("user, bob"), std::string::npos) << clients;
  EXPECT_NE(clients.find("127.0.0.1:"), std::string::npos) << clients;
  const std::string pins = asking.run({"SLUICE", "PINS"});
  EXPECT_NE(pins.find("addr, unix, user, (nil), pinned, watch"), std::string::npos) << pins;
  EXPECT_EQ(pins.find("bob"), std::string::npos) << pins;
}

// Every loop has clients of its own; whoever asks sees them all.
TEST(IdentitiesOfTwoLoops, SluiceClientsShowsThoseOfEveryLoop) {
  SluiceOptions options;
  options.loops = 2;
  Rig rig("", "", options);
  std::vector<std::unique_ptr<Connection>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Connection>(rig.sluice.tcp()));
    clients.back()->call({"CLIENT", "SETNAME", "n" + std::to_string(100 + i)});
  }
  const std::string shown = clients.front()->call({"SLUICE", "CLIENTS"});
  for (int i = 0; i < 20; ++i) EXPECT_NE(shown.find("n" + std::to_string(100 + i)), std::string::npos) << i;
}

}  // namespace
}  // namespace sluice::live

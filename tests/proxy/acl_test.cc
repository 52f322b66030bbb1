// Acl: who may do everything, from what ACL GETUSER replies on Redis 6 and 7.
#include "proxy/acl.h"

#include <map>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "tests/proxy/peer.h"

namespace sluice::proxy {
namespace {

std::string bulk(const std::string& text) { return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n"; }

std::string array(const Words& items) {
  std::string reply = "*" + std::to_string(items.size()) + "\r\n";
  for (const std::string& item : items) reply += bulk(item);
  return reply;
}

std::string redis7(const Words& flags, const std::string& commands, const std::string& keys) {
  return "*12\r\n" + bulk("flags") + array(flags) + bulk("passwords") + array({}) + bulk("commands") + bulk(commands) +
         bulk("keys") + bulk(keys) + bulk("channels") + bulk("&*") + bulk("selectors") + array({});
}

std::string redis6(const Words& flags, const std::string& commands, const Words& keys) {
  return "*10\r\n" + bulk("flags") + array(flags) + bulk("passwords") + array({}) + bulk("commands") + bulk(commands) +
         bulk("keys") + array(keys) + bulk("channels") + array({"*"});
}

class AclTest : public ::testing::Test {
 protected:
  void start(const std::map<std::string, std::string>& users) {
    users_ = users;
    peer_.answer_with([this](const Words& command) -> std::string {
      if (command[0] != "ACL") return "+OK\r\n";
      ++looked_up_;
      const auto user = users_.find(command[2]);
      return user == users_.end() ? "$-1\r\n" : user->second;
    });
    redis_.connect();
    acl_.start();
  }
  bool until(const std::function<bool()>& done) { return run_until(loop_, peer_, done); }
  // Whether the user comes to be trusted with everything: it is looked up, which it is at most a second later.
  bool trusted(const std::string& user) {
    acl_.must_ask(user);
    acl_.start();
    const int before = looked_up_;
    EXPECT_TRUE(until([&] { return looked_up_ > before && redis_.in_flight() == 0; }));
    run_some(loop_, peer_);
    return acl_.must_ask(user).empty();
  }

  EventLoop loop_;
  Peer peer_;
  std::map<std::string, std::string> users_;
  int looked_up_ = 0;
  policies::Count sent_;
  std::vector<ScriptCounts> scripts_ = std::vector<ScriptCounts>(policies::all_scripts().size());
  PolicyRedis redis_{loop_, upstream_at(peer_.endpoint()), kPatience, sent_, scripts_};
  Acl acl_{loop_, redis_};
};

TEST_F(AclTest, AUserNotYetSeenMustBeAskedAbout) {
  EXPECT_EQ(acl_.must_ask("bob"), "bob");
  EXPECT_EQ(acl_.must_ask(""), "default");
}

TEST_F(AclTest, TheDefaultUserOfRedis7MayDoEverything) {
  start({{"default", redis7({"on", "nopass", "sanitize-payload"}, "+@all", "~*")}});
  EXPECT_TRUE(until([&] { return acl_.must_ask("").empty(); }));
  EXPECT_EQ(acl_.must_ask("default"), "");
}

TEST_F(AclTest, TheDefaultUserOfRedis6MayDoEverything) {
  start({{"default", redis6({"on", "allkeys", "allchannels", "allcommands", "nopass"}, "+@all", {"*"})}});
  EXPECT_TRUE(until([&] { return acl_.must_ask("").empty(); }));
}

TEST_F(AclTest, Redis6WithoutTheFlagIsReadFromTheListOfKeys) {
  start({{"bob", redis6({"on"}, "+@all", {"*"})}});
  EXPECT_TRUE(trusted("bob"));
}

TEST_F(AclTest, AServerWithoutAclsRestrictsNobody) {
  start({{"default", "-ERR unknown command `ACL`, with args beginning with: `GETUSER`\r\n"}});
  EXPECT_TRUE(until([&] { return acl_.must_ask("").empty(); }));
}

TEST_F(AclTest, AUserWithFewerCommandsMustBeAskedAbout) {
  start({{"bob", redis7({"on"}, "+@all -flushall", "~*")}});
  EXPECT_FALSE(trusted("bob"));
}

TEST_F(AclTest, AUserWithFewerKeysMustBeAskedAbout) {
  start({{"bob", redis7({"on"}, "+@all", "~fruit:*")}, {"eve", redis6({"on"}, "+@all", {"fruit:*"})}});
  EXPECT_FALSE(trusted("bob"));
  EXPECT_FALSE(trusted("eve"));
}

TEST_F(AclTest, AUserThatMayOnlyReadEveryKeyMustBeAskedAbout) {
  start({{"bob", redis7({"on"}, "+@all", "%R~*")}});
  EXPECT_FALSE(trusted("bob"));
}

TEST_F(AclTest, AUserThatIsOffMustBeAskedAbout) {
  start({{"bob", redis7({"off"}, "+@all", "~*")}});
  EXPECT_FALSE(trusted("bob"));
}

TEST_F(AclTest, AUserThatIsGoneMustBeAskedAbout) {
  start({{"bob", redis7({"on"}, "+@all", "~*")}});
  EXPECT_TRUE(trusted("bob"));
  users_.erase("bob");
  EXPECT_FALSE(trusted("bob"));
}

TEST_F(AclTest, ARightTakenAwayCountsOnceLookedUpAgain) {
  start({{"bob", redis7({"on"}, "+@all", "~*")}});
  EXPECT_TRUE(trusted("bob"));
  users_["bob"] = redis7({"on"}, "+@all -@write", "~*");
  EXPECT_FALSE(trusted("bob"));
}

TEST_F(AclTest, WhenAclGetuserIsForbiddenEverybodyMustBeAskedAbout) {
  start({{"default", "-NOPERM this user has no permissions to run the 'acl|getuser' command\r\n"}});
  ASSERT_TRUE(until([&] { return looked_up_ != 0 && redis_.in_flight() == 0; }));
  EXPECT_EQ(acl_.must_ask(""), "default");
}

TEST_F(AclTest, ForgettingMakesEverybodyAskedAboutAgain) {
  start({{"default", redis7({"on", "nopass"}, "+@all", "~*")}});
  ASSERT_TRUE(until([&] { return acl_.must_ask("").empty(); }));
  acl_.forget();
  EXPECT_EQ(acl_.must_ask(""), "default");
}

TEST_F(AclTest, ALostConnectionMakesEverybodyAskedAboutAgain) {
  start({{"default", redis7({"on", "nopass"}, "+@all", "~*")}});
  ASSERT_TRUE(until([&] { return acl_.must_ask("").empty(); }));
  peer_.stop_listening();
  peer_.hang_up();
  EXPECT_TRUE(until([&] { return acl_.must_ask("") == "default"; }));
}

TEST_F(AclTest, WhoMayDoEverythingIsRememberedWhileNobodyCanBeAskedAbout) {
  start({{"default", redis7({"on", "nopass"}, "+@all", "~*")}, {"bob", redis7({"on"}, "+@all", "~fruit:*")}});
  EXPECT_FALSE(trusted("bob"));
  peer_.stop_listening();
  peer_.hang_up();
  ASSERT_TRUE(until([&] { return acl_.must_ask("") == "default"; }));
  EXPECT_EQ(acl_.last_seen(""), "");
  EXPECT_EQ(acl_.last_seen("bob"), "bob");
  EXPECT_EQ(acl_.last_seen("stranger"), "stranger");
}

}  // namespace
}  // namespace sluice::proxy

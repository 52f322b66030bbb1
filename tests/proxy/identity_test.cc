// Identity: the commands that give it to a connection, and take its labels away again.
#include "proxy/identity.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/proxy/peer.h"

namespace sluice::proxy {
namespace {

using List = std::vector<Words>;

TEST(Identity, TheFirstOneNeedsNoCommand) { EXPECT_EQ(commands_to_become({}).needed.count, 0U); }

TEST(Identity, AUserOfResp2Authenticates) {
  const Commands commands = commands_to_become({resp::Version::resp2, "bob", "se cret", 0}).needed;
  EXPECT_EQ(commands_in(commands.wire), (List{{"AUTH", "bob", "se cret"}}));
  EXPECT_EQ(commands.count, 1U);
}

TEST(Identity, AUserOfResp3SaysHelloAndSelectsBeforeAndAfter) {
  const Transformation commands = commands_to_become({resp::Version::resp3, "bob", "x", 4});
  EXPECT_EQ(commands_in(commands.attempt.wire), (List{{"SELECT", "4"}}));
  EXPECT_EQ(commands_in(commands.needed.wire), (List{{"HELLO", "3", "AUTH", "bob", "x"}, {"SELECT", "4"}}));
  EXPECT_EQ(commands.needed.count, 2U);
}

TEST(Identity, Resp3NeedsNoUser) {
  const Transformation commands = commands_to_become({resp::Version::resp3, "", "", 1});
  EXPECT_EQ(commands.attempt.count, 0U);
  EXPECT_EQ(commands_in(commands.needed.wire), (List{{"HELLO", "3"}, {"SELECT", "1"}}));
}

TEST(Identity, DiffersByUserPasswordDatabaseAndProtocol) {
  const Identity bob{resp::Version::resp2, "bob", "x", 0};
  EXPECT_EQ(bob, (Identity{resp::Version::resp2, "bob", "x", 0}));
  EXPECT_NE(bob, (Identity{resp::Version::resp3, "bob", "x", 0}));
  EXPECT_NE(bob, (Identity{resp::Version::resp2, "eve", "x", 0}));
  EXPECT_NE(bob, (Identity{resp::Version::resp2, "bob", "y", 0}));
  EXPECT_NE(bob, (Identity{resp::Version::resp2, "bob", "x", 1}));
}

TEST(Labels, OnlyThoseThatDifferAreSent) {
  const Labels some{"n", "l", ""};
  EXPECT_EQ(commands_in(commands_to_relabel({}, some).wire),
            (List{{"CLIENT", "SETNAME", "n"}, {"CLIENT", "SETINFO", "LIB-NAME", "l"}}));
  EXPECT_EQ(commands_in(commands_to_relabel(some, {"n", "", "2"}).wire),
            (List{{"CLIENT", "SETINFO", "LIB-NAME", ""}, {"CLIENT", "SETINFO", "LIB-VER", "2"}}));
  EXPECT_EQ(commands_to_relabel(some, some).count, 0U);
}

}  // namespace
}  // namespace sluice::proxy

// SplitRead: who is asked for which keys, and the one reply made of theirs.
#include "proxy/split_read.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conf/load.h"
#include "proxy/router.h"

namespace sluice::proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view kPolicies = R"(
[backend.shop]
url = "sqlite:shop.db"

[[policy]]
name = "fruit"
key = "fruit:{id:int}"
alias = "f/{id}"
backend = "shop"
table = "fruit"
value = "json"
read = "cache-aside"

[[policy]]
name = "notes"
key = "note:{id:int}"
backend = "shop"
table = "notes"
value = "raw"
column = "text"
read = "cache-aside"

[[policy]]
name = "users"
key = "user:{id:int}"
backend = "shop"
table = "users"
value = "hash"
read = "cache-aside"
)";

class SplitReadTest : public ::testing::Test {
 protected:
  using Words = std::vector<std::string>;
  SplitRead split(const Words& args, std::string_view reply = {}) {
    return SplitRead(router_, *resp::find_command(args[0]), args, reply);
  }

 private:
  conf::Loaded loaded_ = conf::load_text(std::string(kPolicies));
  Router router_{loaded_.config};
};

TEST_F(SplitReadTest, EveryPolicyIsAskedOnceAndRedisForTheRest) {
  const SplitRead read = split({"MGET", "fruit:1", "plain", "note:1", "f/2", "user:1", "fruit:x"});
  ASSERT_EQ(read.parts().size(), 3U);
  EXPECT_EQ(read.parts()[0].policy, 0U);
  EXPECT_THAT(read.parts()[0].args, ElementsAre("mget", "fruit:1", "fruit:2"));
  EXPECT_EQ(read.parts()[1].policy, std::nullopt);
  EXPECT_THAT(read.parts()[1].args, ElementsAre("mget", "plain", "user:1", "fruit:x")) << "MGET of a hash is nil";
  EXPECT_EQ(read.parts()[2].policy, 1U);
  EXPECT_THAT(read.parts()[2].args, ElementsAre("mget", "note:1"));
}

TEST_F(SplitReadTest, OfAnMgetOnlyTheMissesOfPoliciesAreAskedFor) {
  SplitRead read =
      split({"MGET", "fruit:1", "plain", "fruit:2", "note:1"}, "*4\r\n$1\r\na\r\n$-1\r\n$-1\r\n$1\r\nn\r\n");
  ASSERT_EQ(read.parts().size(), 1U);
  EXPECT_THAT(read.parts()[0].args, ElementsAre("mget", "fruit:2"));
  EXPECT_EQ(read.take(0, {"*1\r\n$1\r\nb\r\n"})->reply, "*4\r\n$1\r\na\r\n$-1\r\n$1\r\nb\r\n$1\r\nn\r\n");
}

TEST_F(SplitReadTest, NobodyIsAskedForWhatIsMissingWithoutAPolicy) {
  EXPECT_THAT(split({"MGET", "fruit:1", "plain"}, "*2\r\n$1\r\na\r\n$-1\r\n").parts(), IsEmpty());
}

TEST_F(SplitReadTest, TheReplyIsWholeWithItsLastPart) {
  SplitRead read = split({"MGET", "note:1", "fruit:1", "note:2"}, "*3\r\n$-1\r\n$-1\r\n$-1\r\n");
  ASSERT_EQ(read.parts().size(), 2U);
  EXPECT_EQ(read.take(1, {"*1\r\n$1\r\nf\r\n"}), std::nullopt);
  EXPECT_EQ(read.take(0, {"*2\r\n_\r\n$1\r\nn\r\n"})->reply, "*3\r\n_\r\n$1\r\nf\r\n$1\r\nn\r\n");
}

TEST_F(SplitReadTest, TellsWhatItKeepsAndWhatRedisFound) {
  const std::string said = "*4\r\n$1\r\na\r\n$1\r\np\r\n$-1\r\n$-1\r\n";
  SplitRead read = split({"MGET", "note:1", "plain", "note:2", "fruit:1"}, said);
  EXPECT_THAT(read.hits(), ElementsAre(1U));
  EXPECT_EQ(read.bytes(), said.size());
  read.take(0, {"*1\r\n$1\r\nb\r\n"});
  EXPECT_EQ(read.bytes(), said.size() + 11);
}

TEST_F(SplitReadTest, TheKeysThatExistAreAddedUp) {
  SplitRead read = split({"EXISTS", "fruit:1", "plain", "user:1", "fruit:1"}, ":1\r\n");
  ASSERT_EQ(read.parts().size(), 3U);
  EXPECT_THAT(read.parts()[0].args, ElementsAre("exists", "fruit:1", "fruit:1"));
  EXPECT_THAT(read.parts()[1].args, ElementsAre("exists", "plain")) << "Redis' sum does not tell which are missing";
  read.take(0, {":2\r\n"});
  read.take(2, {":1\r\n"});
  EXPECT_EQ(read.take(1, {":0\r\n"})->reply, ":3\r\n");
}

TEST_F(SplitReadTest, AFailureIsTheReplyOfTheWhole) {
  SplitRead read = split({"MGET", "note:1", "fruit:1"});
  EXPECT_EQ(read.take(0, {"-TRYAGAIN sluice\r\n", true}), std::nullopt);
  const auto whole = read.take(1, {"*1\r\n$1\r\nf\r\n"});
  EXPECT_EQ(whole->reply, "-TRYAGAIN sluice\r\n");
  EXPECT_TRUE(whole->close);
}

}  // namespace
}  // namespace sluice::proxy

// Router: what is done with a command, from the templates of a configuration.
#include "proxy/router.h"

#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conf/load.h"
#include "policies/policy_metrics.h"
#include "tests/proxy/peer.h"

namespace sluice::proxy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Kind = Route::Kind;

constexpr std::string_view kFruit = R"(
[backend.shop]
url = "sqlite:shop.db"

[[policy]]
name = "fruit"
key = "fruit:{id:int}"
backend = "shop"
table = "fruit"
value = "json"
read = "cache-aside"
)";

constexpr std::string_view kUsers = R"(
[[policy]]
name = "users"
key = "users:{id:int}"
alias = "__{{users:{id}}}"
backend = "shop"
table = "users"
value = "hash"
write = "write-through"
)";

constexpr std::string_view kViews = R"(
[[policy]]
name = "views"
key = "counter:{Id}"
backend = "shop"
table = "Counters"
value = "counter"
column = "Value"
)";

constexpr std::string_view kJoined = R"(
[[policy]]
name = "joined"
key = "joined:{id:int}"
backend = "shop"
table = "joined"
tables = ["joined", "fruit"]
value = "json"
read = "cache-aside"
)";

class RouterTest : public ::testing::Test {
 protected:
  explicit RouterTest(const std::string& text = std::string(kFruit) + std::string(kUsers) + std::string(kViews))
      : loaded_(conf::load_text(text)), router_(loaded_.config) {
    for (const auto& mistake : loaded_.mistakes) ADD_FAILURE() << conf::to_string(mistake, "text");
  }

  Route route(const Words& words, bool in_multi = false) {
    words_ = words;
    views_.assign(words_.begin(), words_.end());
    command_ = {};
    command_.args = views_;
    return router_.route(*resp::find_command(words_[0]), command_, in_multi);
  }
  Kind unknown(const Words& words) {
    const std::vector<std::string_view> args(words.begin(), words.end());
    resp::Command command;
    command.args = args;
    return router_.route_unknown(command).kind;
  }
  Kind kind(const Words& words, bool in_multi = false) { return route(words, in_multi).kind; }
  std::string rejected(const Words& words, bool in_multi = false) {
    EXPECT_EQ(kind(words, in_multi), Kind::reject) << words[0];
    return router_.rejection();
  }
  Words args() const { return router_.args(command_); }

  conf::Loaded loaded_;
  Router router_;
  Words words_;
  std::vector<std::string_view> views_;
  resp::Command command_;
};

// --- Keys of nobody --------------------------------------------------------------------------------------------------

TEST_F(RouterTest, AKeyOfNoPolicyIsForwarded) {
  for (const Words& words : std::vector<Words>{{"GET", "other"},
                                               {"SET", "other", "1"},
                                               {"DEL", "other", "another"},
                                               {"EVAL", "return 1", "1", "other"},
                                               {"PING"},
                                               {"INFO"},
                                               {"GET", ""}}) {
    const Route to = route(words);
    EXPECT_EQ(to.kind, Kind::forward) << words[0];
    EXPECT_FALSE(to.renamed);
  }
}

TEST_F(RouterTest, ACommandWithTheWrongNumberOfArgumentsIsForwarded) {
  EXPECT_EQ(kind({"HSET", "users:1"}), Kind::forward);
  EXPECT_EQ(kind({"GET", "fruit:1", "x"}), Kind::forward);
}

TEST_F(RouterTest, WithoutPoliciesItIsEmpty) {
  const conf::Config none;
  const Router router(none);
  EXPECT_TRUE(router.empty());
}

// --- One key ---------------------------------------------------------------------------------------------------------

TEST_F(RouterTest, AReadIsGivenToItsPolicyWhenItFindsNothing) {
  const Route fruit = route({"GET", "fruit:1"});
  EXPECT_EQ(fruit.kind, Kind::read);
  EXPECT_EQ(router_.policy(fruit.policy).options().name, "fruit");
  EXPECT_EQ(kind({"HGETALL", "users:1"}), Kind::read);
  EXPECT_EQ(kind({"GET", "counter:home"}), Kind::read);
}

TEST_F(RouterTest, OtherReadsAreForwarded) {
  EXPECT_EQ(kind({"GETRANGE", "fruit:1", "0", "1"}), Kind::forward);
  EXPECT_EQ(kind({"MGET", "users:1", "counter:a"}), Kind::forward);
  EXPECT_EQ(kind({"MGET", "fruit:1", "fruit:2"}, true), Kind::forward) << "inside MULTI";
}

TEST_F(RouterTest, GetexOfAPolicyThatOnlyReadsPassesInsideMulti) {
  EXPECT_EQ(kind({"GETEX", "fruit:1"}), Kind::operate);
  EXPECT_EQ(kind({"GETEX", "fruit:1"}, true), Kind::guard);
}

TEST_F(RouterTest, OneKeyOfAPolicyIsEnoughForAReadOfSeveral) {
  EXPECT_EQ(kind({"MGET", "plain", "fruit:1", "users:1"}), Kind::read);
  EXPECT_EQ(kind({"EXISTS", "users:1", "plain"}), Kind::read);
  EXPECT_TRUE(route({"EXISTS", "users:1", "plain"}).mixed);
  EXPECT_FALSE(route({"EXISTS", "users:1", "fruit:1"}).mixed);
}

TEST_F(RouterTest, AReadOfSeveralPoliciesIsAHitOfEach) {
  EXPECT_EQ(route({"MGET", "fruit:1", "plain", "fruit:2"}).keys, 2U);
  EXPECT_EQ(route({"EXISTS", "fruit:1", "users:1", "fruit:2", "plain"}).keys, 0U);
  router_.count_hits(command_);
  EXPECT_EQ(router_.policy(0).metrics().hits.value(), 2U);
  EXPECT_EQ(router_.policy(1).metrics().hits.value(), 1U);
}

TEST(RouterWithTables, ReadsAreThePolicysToAnswer) {
  const auto loaded = conf::load_text(std::string(kFruit) + std::string(kJoined));
  Router router(loaded.config);
  const auto at_once = [&](const Words& words, bool in_multi = false) {
    const std::vector<std::string_view> args(words.begin(), words.end());
    resp::Command command;
    command.args = args;
    const Route route = router.route(*resp::find_command(words[0]), command, in_multi);
    return route.kind == Kind::read && route.at_once;
  };
  EXPECT_TRUE(at_once({"GET", "joined:1"}));
  EXPECT_TRUE(at_once({"MGET", "joined:1", "fruit:1"}));
  EXPECT_TRUE(at_once({"MGET", "fruit:1", "joined:1", "fruit:2", "plain"}));
  EXPECT_FALSE(at_once({"MGET", "fruit:1", "plain"}));
  EXPECT_FALSE(at_once({"GETRANGE", "joined:1", "0", "1"}));
  EXPECT_FALSE(at_once({"GET", "joined:1"}, true)) << "inside MULTI";
}

TEST_F(RouterTest, AManagedWriteIsThePolicysToAnswer) {
  const Route to = route({"HSET", "users:1", "first", "Ann"});
  EXPECT_EQ(to.kind, Kind::operate);
  EXPECT_EQ(router_.policy(to.policy).options().name, "users");
  EXPECT_EQ(router_.key(), "users:1");
  EXPECT_THAT(args(), ElementsAre("HSET", "users:1", "first", "Ann"));
  EXPECT_EQ(kind({"INCR", "counter:home"}), Kind::operate);
}

TEST_F(RouterTest, AWriteThatOnlyTouchesTheCopyIsGuarded) {
  EXPECT_EQ(kind({"SET", "fruit:1", "x"}), Kind::guard);
  EXPECT_THAT(router_.guarded(), ElementsAre("fruit:1"));
  EXPECT_EQ(kind({"DEL", "users:1"}), Kind::guard);
  EXPECT_THAT(router_.guarded(), ElementsAre("users:1"));
  EXPECT_EQ(kind({"LPUSH", "fruit:2", "x"}), Kind::guard);
  EXPECT_THAT(router_.guarded(), ElementsAre("fruit:2"));
}

TEST_F(RouterTest, AnUnmanagedWriteOnAWritePolicyIsRejectedWithTheOptionThatChangesIt) {
  EXPECT_THAT(rejected({"LPUSH", "users:1", "x"}), HasSubstr("unmanaged_writes"));
  EXPECT_THAT(router_.rejection(), HasSubstr("'users'"));
  EXPECT_THAT(rejected({"APPEND", "counter:home", "x"}), HasSubstr("'views'"));
}

TEST_F(RouterTest, ACommandThatIsNotKnownMayNotNameAKeyThatAPolicyWrites) {
  EXPECT_EQ(unknown({"HSETEX", "users:1", "EX", "5"}), Kind::reject);
  EXPECT_THAT(router_.rejection(), HasSubstr("unmanaged_writes"));
  EXPECT_EQ(unknown({"NEWCMD", "1", "counter:t"}), Kind::reject);
  EXPECT_EQ(unknown({"NEWCMD", "__sluice:x"}), Kind::reject);
  EXPECT_EQ(unknown({"NEWCMD", "fruit:1"}), Kind::forward);  // a policy that only reads
  EXPECT_EQ(unknown({"JSON.SET", "plain:1", "$", "1"}), Kind::forward);
}

TEST_F(RouterTest, AKeyOffTheTemplateMayBeReadAndOnAWritePolicyNotWritten) {
  EXPECT_EQ(kind({"HGETALL", "users:007"}), Kind::forward);
  EXPECT_THAT(rejected({"HSET", "users:007", "a", "b"}), HasSubstr("users:{id:int}"));
  EXPECT_EQ(kind({"SET", "fruit:banana", "x"}), Kind::forward);
}

TEST_F(RouterTest, SideKeysMayBeReadAndNotWritten) {
  EXPECT_EQ(kind({"HGETALL", "__sluice:{users:1}:users:1"}), Kind::forward);
  EXPECT_THAT(rejected({"DEL", "__sluice:{users:1}:users:1"}), HasSubstr("__sluice:"));
  rejected({"DEL", "other", "__sluice:x"});
  rejected({"EVAL", "return 1", "1", "__sluice:x"});
  rejected({"DEL", "__sluice:x"}, true);
}

TEST_F(RouterTest, RejectionsBeginWithACodeWord) {
  EXPECT_THAT(rejected({"LPUSH", "users:1", "x"}), testing::StartsWith("ERR sluice: "));
  EXPECT_THAT(rejected({"DEL", "__sluice:x"}), testing::StartsWith("ERR sluice: "));
}

// --- Aliases ---------------------------------------------------------------------------------------------------------

TEST_F(RouterTest, AnAliasIsResolvedBeforeAnythingElse) {
  const Route to = route({"HGETALL", "__{users:5}"});
  EXPECT_EQ(to.kind, Kind::read);
  EXPECT_TRUE(to.renamed);
  EXPECT_EQ(router_.key(), "users:5");
  EXPECT_EQ(router_.wire(), "*2\r\n$7\r\nHGETALL\r\n$7\r\nusers:5\r\n");
  EXPECT_THAT(args(), ElementsAre("HGETALL", "users:5"));
}

TEST_F(RouterTest, AnAliasIsRenamedInCommandsNoPolicyMinds) {
  const Route to = route({"DUMP", "__{users:5}"});
  EXPECT_EQ(to.kind, Kind::forward);
  EXPECT_TRUE(to.renamed);
  EXPECT_EQ(router_.wire(), "*2\r\n$4\r\nDUMP\r\n$7\r\nusers:5\r\n");
}

TEST_F(RouterTest, EveryAliasAmongSeveralKeysIsRenamed) {
  const Route to = route({"MGET", "a", "__{users:5}", "users:6", "__{users:7}"});
  EXPECT_TRUE(to.renamed);
  EXPECT_THAT(args(), ElementsAre("MGET", "a", "users:5", "users:6", "users:7"));
}

TEST_F(RouterTest, TheKeyAfterAnAliasIsNotRenamed) {
  route({"HGETALL", "__{users:5}"});
  EXPECT_FALSE(route({"HGETALL", "users:6"}).renamed);
  EXPECT_THAT(args(), ElementsAre("HGETALL", "users:6"));
}

TEST_F(RouterTest, AWatchedAliasIsTheRealKey) {
  EXPECT_TRUE(route({"WATCH", "__{users:5}"}).renamed);
  EXPECT_EQ(router_.wire(), "*2\r\n$5\r\nWATCH\r\n$7\r\nusers:5\r\n");
}

// --- Several keys ---------------------------------------------------------------------------------------------------

TEST_F(RouterTest, SeveralKeysAreAllGuarded) {
  EXPECT_EQ(kind({"DEL", "fruit:1", "other", "users:2"}), Kind::guard);
  EXPECT_THAT(router_.guarded(), ElementsAre("fruit:1", "users:2"));
}

TEST_F(RouterTest, GuardsOfTheLastCommandAreForgotten) {
  kind({"DEL", "fruit:1", "fruit:2"});
  EXPECT_EQ(kind({"DEL", "fruit:3"}), Kind::guard);
  EXPECT_THAT(router_.guarded(), ElementsAre("fruit:3"));
}

TEST_F(RouterTest, OneRejectedKeyRejectsTheCommand) {
  EXPECT_THAT(rejected({"MSET", "other", "1", "users:1", "2"}), HasSubstr("'users'"));
  rejected({"RENAME", "fruit:1", "users:1"});
}

constexpr std::string_view kPets = R"(
[backend.zoo]
url = "sqlite:zoo.db"

[[policy]]
name = "cats"
key = "cat:{id:int}"
backend = "zoo"
table = "cats"
value = "json"
write = "write-through"
on_delete = "row"

[[policy]]
name = "dogs"
key = "dog:{id:int}"
alias = "hound:{id:int}"
backend = "zoo"
table = "dogs"
value = "raw"
column = "name"
write = "write-through"
on_delete = "row"
unmanaged_writes = "invalidate"

[[policy]]
name = "notes"
key = "note:{id:int}"
backend = "shop"
table = "notes"
value = "raw"
column = "text"
write = "write-through"
)";

class SeveralKeys : public RouterTest {
 protected:
  SeveralKeys() : RouterTest(std::string(kFruit) + std::string(kPets)) {}
  std::vector<std::string> keys() const {
    std::vector<std::string> keys;
    for (const auto& key : router_.keys()) keys.push_back(key.policy->options().name + "/" + key.key);
    return keys;
  }
};

TEST_F(SeveralKeys, OfPoliciesThatWriteAreOneOperation) {
  EXPECT_EQ(kind({"MSET", "cat:1", "{}", "hound:2", "rex"}), Kind::operate);
  EXPECT_THAT(keys(), ElementsAre("cats/cat:1", "dogs/dog:2"));
  EXPECT_EQ(kind({"DEL", "cat:1", "cat:1"}), Kind::operate);
  EXPECT_THAT(keys(), ElementsAre("cats/cat:1", "cats/cat:1"));
}

TEST_F(SeveralKeys, OneKeyIsNotSeveral) {
  EXPECT_EQ(kind({"DEL", "cat:1"}), Kind::operate);
  EXPECT_THAT(keys(), ElementsAre());
  EXPECT_EQ(router_.key(), "cat:1");
}

TEST_F(SeveralKeys, OfSeveralDatabasesAreRefused) {
  EXPECT_THAT(rejected({"MSET", "cat:1", "{}", "note:2", "x"}), HasSubstr("several databases"));
}

TEST_F(SeveralKeys, WithAndWithoutAPolicyThatWritesAreRefused) {
  EXPECT_THAT(rejected({"MSET", "cat:1", "{}", "other", "x"}), HasSubstr("send the others apart"));
  EXPECT_THAT(rejected({"DEL", "cat:1", "fruit:1"}), HasSubstr("send the others apart"));
}

TEST_F(SeveralKeys, OnlyTheCopiesOfAPolicyThatSaysSoAreDropped) {
  EXPECT_EQ(kind({"SETRANGE", "dog:1", "0", "x"}), Kind::script) << "cleared before the reply is passed on";
  const std::vector<Guard> guards = router_.guards_of({"dog:1", "cat:1", "other"});
  EXPECT_TRUE(guards[0].drop);
  EXPECT_FALSE(guards[1].drop || guards[2].drop);
}

TEST_F(RouterTest, KeysNamedByOptionsAreSeen) {
  EXPECT_EQ(kind({"SORT", "other", "STORE", "fruit:1"}), Kind::guard);
  EXPECT_THAT(router_.guarded(), ElementsAre("fruit:1"));
}

// --- MULTI -----------------------------------------------------------------------------------------------------------

TEST_F(RouterTest, InsideMultiReadsSeeOnlyRedis) {
  EXPECT_EQ(kind({"GET", "fruit:1"}, true), Kind::forward);
  EXPECT_EQ(kind({"HGETALL", "users:1"}, true), Kind::forward);
}

TEST_F(RouterTest, InsideMultiManagedWritesAreRejectedWithTheOptionThatChangesIt) {
  EXPECT_THAT(rejected({"HSET", "users:1", "a", "b"}, true), HasSubstr("multi = \"forward\""));
  rejected({"INCR", "counter:home"}, true);
}

TEST_F(RouterTest, InsideMultiGuardedWritesStayGuarded) {
  EXPECT_EQ(kind({"DEL", "fruit:1"}, true), Kind::guard);
  EXPECT_THAT(router_.guarded(), ElementsAre("fruit:1"));
}

class MultiForward : public RouterTest {
 protected:
  MultiForward() : RouterTest(std::string(kFruit) + std::string(kUsers) + "multi = \"forward\"\n") {}
};

TEST_F(MultiForward, WritesInsideMultiPassAndAreGuarded) {
  EXPECT_EQ(kind({"HSET", "users:1", "a", "b"}, true), Kind::guard);
  EXPECT_THAT(router_.guarded(), ElementsAre("users:1"));
}

TEST_F(MultiForward, ScriptsPassAndTheirKeysAreGuarded) {
  EXPECT_EQ(kind({"EVAL", "...", "2", "users:1", "other"}), Kind::script);
  EXPECT_THAT(router_.guarded(), ElementsAre("users:1"));
}

// --- Scripts --------------------------------------------------------------------------------------------------------

TEST_F(RouterTest, AScriptOnAKeyOfAReadPolicyIsGuardedAfterwards) {
  EXPECT_EQ(kind({"EVAL", "...", "1", "fruit:1", "arg"}), Kind::script);
  EXPECT_THAT(router_.guarded(), ElementsAre("fruit:1"));
  EXPECT_EQ(kind({"FCALL", "f", "1", "fruit:1"}), Kind::script);
}

TEST_F(RouterTest, AScriptOnAKeyOfAWritePolicyIsRejected) {
  EXPECT_THAT(rejected({"EVALSHA", "abc", "1", "users:1"}), HasSubstr("EVALSHA not supported on policy 'users'"));
  rejected({"EVAL", "...", "1", "counter:home"});
}

TEST_F(RouterTest, AScriptThatCannotWriteIsForwarded) {
  EXPECT_EQ(kind({"EVAL_RO", "...", "1", "users:1"}), Kind::forward);
}

TEST_F(RouterTest, AnArgumentOfAScriptIsNoKey) { EXPECT_EQ(kind({"EVAL", "...", "0", "users:1"}), Kind::forward); }

// --- The whole server -----------------------------------------------------------------------------------------------

TEST_F(RouterTest, FlushingAsksTheCounters) {
  EXPECT_EQ(kind({"FLUSHALL"}), Kind::flush);
  EXPECT_EQ(kind({"FLUSHDB", "ASYNC"}), Kind::flush);
  EXPECT_THAT(rejected({"FLUSHALL"}, true), HasSubstr("FLUSHALL inside MULTI"));
}

TEST_F(RouterTest, SwappingDatabasesIsRejectedWhereUnmanagedWritesAre) {
  EXPECT_THAT(rejected({"SWAPDB", "0", "1"}), HasSubstr("unmanaged_writes"));
}

class ReadOnly : public RouterTest {
 protected:
  ReadOnly() : RouterTest(std::string(kFruit)) {}
};

TEST_F(ReadOnly, WithoutCountersFlushingIsForwarded) {
  EXPECT_EQ(kind({"FLUSHALL"}), Kind::forward);
  EXPECT_EQ(kind({"FLUSHDB"}, true), Kind::forward);
  EXPECT_EQ(kind({"SWAPDB", "0", "1"}), Kind::forward);
}

TEST_F(RouterTest, FlushingHasItsOwnArgumentsAfterAnAlias) {
  route({"HGETALL", "__{users:5}"});
  EXPECT_EQ(kind({"FLUSHALL", "ASYNC"}), Kind::flush);
  EXPECT_THAT(args(), ElementsAre("FLUSHALL", "ASYNC"));
}

TEST_F(RouterTest, AShardChannelIsNoKey) { EXPECT_FALSE(route({"SPUBLISH", "__{users:5}", "hi"}).renamed); }

// --- Owners ----------------------------------------------------------------------------------------------------------

TEST_F(RouterTest, TellsTheOwnerOfAKeyAndOfAnAlias) {
  std::uint32_t index = 99;
  std::string key = "__{users:5}";
  ASSERT_NE(router_.owner(key, index), nullptr);
  EXPECT_EQ(key, "users:5");
  EXPECT_EQ(router_.policy(index).options().name, "users");
  key = "fruit:banana";
  EXPECT_EQ(router_.owner(key, index), nullptr);
  key = "__sluice:x";
  EXPECT_EQ(router_.owner(key, index), nullptr);
}

}  // namespace
}  // namespace sluice::proxy

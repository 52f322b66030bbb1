// Session: which commands need a connection of their own, and when it may be given back.
#include "proxy/session.h"

#include <algorithm>
#include <deque>
#include <initializer_list>
#include <map>
#include <ostream>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using Plan = Session::Plan;
using Where = Session::Plan::Where;
using Words = std::vector<std::string>;

// A command and the storage of its words.
struct Sent {
  explicit Sent(Words command) : words(std::move(command)), views(words.begin(), words.end()) {
    command_view.args = views;
  }
  Sent(const Sent&) = delete;
  Sent& operator=(const Sent&) = delete;

  Words words;
  std::vector<std::string_view> views;
  resp::Command command_view;
};

Plan plan_of(const Session& session, const Words& words) {
  const Sent sent(words);
  return session.plan(resp::find_command(sent.words[0]), sent.command_view);
}

Plan send(Session& session, const Words& words) {
  const Plan plan = plan_of(session, words);
  session.began(plan);
  return plan;
}

void identify(Session& session, const Words& words) {
  const Sent sent(words);
  session.identify_done(sent.command_view);
}

// --- Classes of connections.md -----------------------------------------------------------------------------------

class Stateless : public ::testing::TestWithParam<Words> {};

TEST_P(Stateless, MayShareAConnectionAndLeavesNoTrace) {
  Session session;
  const Plan plan = send(session, GetParam());
  EXPECT_EQ(plan.where, Where::any);
  EXPECT_EQ(plan.effect, Effect::none);
  EXPECT_EQ(plan.replies, 1U);
  EXPECT_TRUE(session.shareable());
}

INSTANTIATE_TEST_SUITE_P(Session, Stateless,
                         ::testing::Values(Words{"GET", "k"}, Words{"set", "k", "v"},
                                           Words{"SCRIPT", "LOAD", "return 1"}, Words{"SCRIPT", "KILL"},
                                           Words{"SCAN", "0"}, Words{"PUBLISH", "c", "m"}, Words{"SPUBLISH", "c", "m"},
                                           Words{"INFO"}, Words{"CONFIG", "GET", "*"}, Words{"DEBUG", "JMAP"},
                                           Words{"SLOWLOG", "GET"}, Words{"PING"}, Words{"ECHO", "x"},
                                           Words{"XREAD", "STREAMS", "s", "0"},
                                           Words{"XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"},
                                           Words{"PUBSUB", "CHANNELS"}, Words{"CLIENT", "HELP"}, Words{"ACL", "WHOAMI"},
                                           Words{"EXEC"}, Words{"DISCARD"}, Words{"LMOVE", "a", "b", "LEFT", "LEFT"}));

class Sticky : public ::testing::TestWithParam<Words> {};

TEST_P(Sticky, KeepsItsConnectionForEver) {
  Session session;
  const Plan plan = send(session, GetParam());
  EXPECT_EQ(plan.where, Where::own);
  if (plan.effect == Effect::sticky_once_done) session.stick();
  EXPECT_FALSE(session.shareable());
  send(session, {"MULTI"});
  send(session, {"EXEC"});
  EXPECT_FALSE(session.shareable());
}

INSTANTIATE_TEST_SUITE_P(
    Session, Sticky,
    ::testing::Values(Words{"CLIENT", "TRACKING", "ON"}, Words{"client", "tracking", "on"},
                      Words{"CLIENT", "REPLY", "OFF"}, Words{"CLIENT", "REPLY", "SKIP"}, Words{"CLIENT", "REPLY", "ON"},
                      Words{"CLIENT", "REPLY", "nonsense"}, Words{"CLIENT", "NO-EVICT", "ON"},
                      Words{"CLIENT", "NO-TOUCH", "ON"}, Words{"CLIENT", "ID"}, Words{"CLIENT", "INFO"},
                      Words{"CLIENT", "LIST"}, Words{"CLIENT", "SETNAME"}, Words{"CLIENT", "KILL", "ID", "1"},
                      Words{"CLIENT", "UNBLOCK", "1"}, Words{"CLIENT", "GETREDIR"}, Words{"CLIENT", "CACHING", "YES"},
                      Words{"MONITOR"}, Words{"WAIT", "0", "0"}, Words{"READONLY"}, Words{"READWRITE"}, Words{"ASKING"},
                      Words{"SYNC"}, Words{"PSYNC", "?", "-1"}, Words{"REPLCONF", "ack", "0"},
                      Words{"SCRIPT", "DEBUG", "YES"}, Words{"JSON.SET", "k", "$", "1"}, Words{""}));

TEST(Session, WhatMayBeRefusedIsStickyOnlyOnceItIsDone) {
  for (const Words& words : std::vector<Words>{{"CLIENT", "ID"}, {"CLIENT", "TRACKING", "ON"}, {"FOO"}}) {
    Session session;
    EXPECT_EQ(send(session, words).effect, Effect::sticky_once_done) << words[0];
    EXPECT_TRUE(session.shareable()) << words[0];
  }
}

TEST(Session, InsideMultiItIsStickyAtOnce) {
  Session session;
  send(session, {"MULTI"});
  EXPECT_EQ(send(session, {"CLIENT", "ID"}).effect, Effect::sticky);
}

TEST(Session, APauseTellsHowLongItLasts) {
  Session session;
  const Plan plan = send(session, {"CLIENT", "PAUSE", "1500", "WRITE"});
  EXPECT_EQ(plan.where, Where::any);
  EXPECT_EQ(plan.effect, Effect::pause);
  EXPECT_TRUE(session.shareable());
  EXPECT_EQ(plan.pause, std::chrono::milliseconds(1500));
  EXPECT_EQ(send(session, {"CLIENT", "UNPAUSE"}).effect, Effect::unpause);
}

TEST(Session, APauseInsideMultiCountsFromExecOn) {
  Session session;
  send(session, {"MULTI"});
  send(session, {"CLIENT", "PAUSE", "1500"});
  send(session, {"EXEC"});
  EXPECT_EQ(session.queued_pause(), std::chrono::milliseconds(1500));
  send(session, {"MULTI"});
  EXPECT_EQ(session.queued_pause(), std::chrono::milliseconds(0));
}

TEST(Session, TellsWhyAConnectionIsNeeded) {
  const std::map<std::string, std::pair<Words, PinReason>> expected{
      {"multi", {{"MULTI"}, PinReason::multi}},
      {"watch", {{"WATCH", "k"}, PinReason::watch}},
      {"blocking", {{"BLPOP", "k", "0"}, PinReason::blocking}},
      {"subscribe", {{"SUBSCRIBE", "c"}, PinReason::subscribe}},
      {"monitor", {{"MONITOR"}, PinReason::monitor}},
      {"select", {{"SELECT", "1"}, PinReason::select}},
      {"auth", {{"AUTH", "x"}, PinReason::auth}},
      {"hello", {{"HELLO"}, PinReason::hello}},
      {"client", {{"CLIENT", "ID"}, PinReason::client}},
      {"tracking", {{"CLIENT", "TRACKING", "ON"}, PinReason::tracking}},
      {"wait", {{"WAIT", "1", "0"}, PinReason::wait}},
      {"unknown", {{"FOO"}, PinReason::unknown}},
      {"raw", {{"PSYNC", "?", "-1"}, PinReason::raw}},
  };
  for (const auto& [name, command] : expected) {
    const Plan plan = plan_of(Session{}, command.first);
    EXPECT_EQ(plan.where, Where::own) << name;
    EXPECT_EQ(plan.reason, command.second) << name;
    EXPECT_EQ(kPinReasonNames[static_cast<std::size_t>(plan.reason)], name);
  }
}

TEST(Session, ACommandWithTheWrongNumberOfArgumentsChangesNothing) {
  for (const Words& words : std::vector<Words>{{"MULTI", "x"},
                                               {"WATCH"},
                                               {"SUBSCRIBE"},
                                               {"BLPOP", "k"},
                                               {"SELECT"},
                                               {"AUTH"},
                                               {"RESET", "x"},
                                               {"MONITOR", "x"},
                                               {"WAIT", "1"},
                                               {"CLIENT"},
                                               {"PSYNC"}}) {
    Session session;
    EXPECT_EQ(send(session, words).where, Where::any) << words[0];
    EXPECT_TRUE(session.shareable()) << words[0];
  }
}

TEST(Session, QuitAndResetAreTakenByTheProxy) {
  EXPECT_EQ(plan_of(Session{}, {"QUIT"}).where, Where::quit);
  EXPECT_EQ(plan_of(Session{}, {"QUIT", "now"}).where, Where::quit);
  EXPECT_EQ(plan_of(Session{}, {"RESET"}).where, Where::reset);
}

TEST(Session, ResetForgetsEverything) {
  Session session;
  send(session, {"CLIENT", "REPLY", "OFF"});
  session.select_done(3);
  identify(session, {"AUTH", "bob", "secret"});
  session.began(plan_of(session, {"RESET"}));
  EXPECT_TRUE(session.shareable());
  EXPECT_EQ(session.db(), -1);
  EXPECT_EQ(session.user(), "");
  EXPECT_FALSE(session.replies_suppressed());
}

TEST(Session, PlainCommandsAreThoseThatNeverTouchAConnection) {
  for (const char* name : {"get", "set", "del", "mget", "scan", "publish"}) {
    const auto* info = resp::find_command(name);
    const bool pubsub = info->has(resp::flag::pubsub);
    EXPECT_EQ(Session::is_plain(*info), !pubsub) << name;
  }
  for (const char* name : {"blpop", "subscribe", "multi", "exec", "auth", "select", "client", "script", "monitor",
                           "psync", "quit", "reset", "hello", "wait", "eval", "fcall_ro"}) {
    EXPECT_FALSE(Session::is_plain(*resp::find_command(name))) << name;
  }
}

// SCRIPT KILL, and everybody else, must get past a script that does not end.
TEST(Session, AScriptHasAConnectionOfItsOwnWhileItRuns) {
  for (const char* name : {"EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"}) {
    Session session;
    const Plan plan = plan_of(session, {name, "x", "0"});
    EXPECT_EQ(plan.where, Where::own) << name;
    session.began(plan);
    EXPECT_TRUE(session.shareable()) << name;
  }
}

TEST(Session, UnpauseDoesNotWaitBehindAPausedCommand) {
  Session session;
  const Plan plan = plan_of(session, {"CLIENT", "UNPAUSE"});
  EXPECT_EQ(plan.where, Where::own);
  session.began(plan);
  EXPECT_TRUE(session.shareable());
}

// A plain command skips plan(): what it would say must be the plan of every stateless command.
TEST(Session, EveryPlainCommandIsPlannedAsStateless) {
  for (std::uint16_t id = 0; id < static_cast<std::uint16_t>(resp::CommandId::count); ++id) {
    const auto& info = resp::command_info(static_cast<resp::CommandId>(id));
    if (!Session::is_plain(info)) continue;
    Words words{std::string(info.name)};
    words.resize(static_cast<std::size_t>(std::abs(info.arity)), "1");
    const Plan plan = plan_of(Session{}, words);
    EXPECT_EQ(plan.where, Where::any) << info.name;
    EXPECT_EQ(plan.effect, Effect::none) << info.name;
  }
}

// --- MULTI and WATCH ---------------------------------------------------------------------------------------------

TEST(Session, ATransactionEndsWithExecOrDiscard) {
  for (const char* end : {"EXEC", "DISCARD", "exec"}) {
    Session session;
    send(session, {"MULTI"});
    EXPECT_TRUE(session.in_multi());
    EXPECT_FALSE(session.shareable());
    send(session, {end});
    EXPECT_FALSE(session.in_multi());
    EXPECT_TRUE(session.shareable());
  }
}

TEST(Session, AnExecWithTooManyWordsIsNotPlannedAsTheEnd) {
  Session session;
  send(session, {"MULTI"});
  EXPECT_EQ(plan_of(session, {"EXEC", "x"}).where, Where::any);
}

TEST(Session, WatchIsHeldUntilUnwatchExecOrDiscard) {
  Session session;
  send(session, {"WATCH", "k"});
  EXPECT_TRUE(session.watching());
  EXPECT_FALSE(session.shareable());
  send(session, {"UNWATCH"});
  EXPECT_TRUE(session.shareable());
  send(session, {"WATCH", "k"});
  send(session, {"MULTI"});
  send(session, {"EXEC"});
  EXPECT_TRUE(session.shareable());
}

TEST(Session, UnwatchNeedsNoConnectionOfItsOwn) {
  Session session;
  EXPECT_EQ(send(session, {"UNWATCH"}).where, Where::any);
  EXPECT_TRUE(session.shareable());
}

TEST(Session, UnwatchInsideMultiIsOnlyQueued) {
  Session session;
  send(session, {"WATCH", "k"});
  send(session, {"MULTI"});
  send(session, {"UNWATCH"});
  EXPECT_TRUE(session.watching());
}

TEST(Session, ExecWithoutMultiKeepsTheWatch) {
  Session session;
  send(session, {"WATCH", "k"});
  send(session, {"EXEC"});
  EXPECT_TRUE(session.watching());
}

TEST(Session, ANestedMultiAndAWatchInsideMultiAreRefusedByRedis) {
  Session session;
  send(session, {"MULTI"});
  EXPECT_EQ(plan_of(session, {"MULTI"}).effect, Effect::none);
  EXPECT_EQ(plan_of(session, {"WATCH", "k"}).effect, Effect::none);
}

TEST(Session, ABlockingCommandInsideMultiDoesNotBlock) {
  Session session;
  send(session, {"MULTI"});
  send(session, {"BLPOP", "k", "0"});
  EXPECT_FALSE(session.blocked());
  send(session, {"EXEC"});
  EXPECT_TRUE(session.shareable());
}

TEST(Session, ASelectInsideMultiLeavesTheDatabaseInDoubt) {
  Session session;
  send(session, {"MULTI"});
  send(session, {"SELECT", "4"});
  EXPECT_EQ(session.db(), -1);
  send(session, {"EXEC"});
  session.exec_select_done(true);
  EXPECT_FALSE(session.shareable());
  EXPECT_TRUE(session.unsure());  // the SELECT itself may have failed
  session.select_done(0);
  EXPECT_FALSE(session.unsure());
}

TEST(Session, ADiscardedSelectNeverCounts) {
  Session session;
  send(session, {"MULTI"});
  send(session, {"SELECT", "4"});
  send(session, {"DISCARD"});
  EXPECT_EQ(session.db(), -1);
  EXPECT_FALSE(session.outside(0));
}

// Redis 7.0 allows SUBSCRIBE inside MULTI.
TEST(Session, ASubscribeInsideMultiKeepsTheConnectionAfterExec) {
  Session session;
  send(session, {"MULTI"});
  send(session, {"SUBSCRIBE", "c"});
  send(session, {"EXEC"});
  EXPECT_FALSE(session.shareable());
}

TEST(Session, ASilencedSelectLeavesTheDatabaseInDoubt) {
  Session session;
  send(session, {"CLIENT", "REPLY", "SKIP"});
  send(session, {"SELECT", "1"});
  EXPECT_TRUE(session.unsure());
}

// Redis discards the transaction of an EXEC with too many arguments.
TEST(Session, AnExecWithTooManyWordsEndsTheTransaction) {
  Session session;
  send(session, {"MULTI"});
  send(session, {"EXEC", "x"});
  EXPECT_FALSE(session.in_multi());
}

// --- Blocking ----------------------------------------------------------------------------------------------------

TEST(Session, BlockingCommandsHoldTheConnectionUntilEachIsAnswered) {
  Session session;
  EXPECT_EQ(send(session, {"BLPOP", "k", "0"}).where, Where::own);
  send(session, {"BRPOP", "k", "0"});
  EXPECT_TRUE(session.blocked());
  session.block_done();
  EXPECT_FALSE(session.shareable());
  session.block_done();
  EXPECT_FALSE(session.blocked());
  EXPECT_TRUE(session.shareable());
}

TEST(Session, StreamReadsBlockOnlyWithTheOption) {
  EXPECT_EQ(plan_of(Session{}, {"XREAD", "BLOCK", "0", "STREAMS", "s", "$"}).effect, Effect::block);
  EXPECT_EQ(plan_of(Session{}, {"XREADGROUP", "GROUP", "g", "c", "block", "0", "STREAMS", "s", ">"}).effect,
            Effect::block);
  EXPECT_EQ(plan_of(Session{}, {"XREAD", "STREAMS", "s", "$"}).effect, Effect::none);
}

TEST(Session, EveryBlockingListCommandBlocks) {
  for (const Words& words : std::vector<Words>{{"BLPOP", "k", "0"},
                                               {"BRPOP", "k", "0"},
                                               {"BRPOPLPUSH", "a", "b", "0"},
                                               {"BLMOVE", "a", "b", "LEFT", "LEFT", "0"},
                                               {"BLMPOP", "0", "1", "k", "LEFT"},
                                               {"BZPOPMIN", "k", "0"},
                                               {"BZPOPMAX", "k", "0"},
                                               {"BZMPOP", "0", "1", "k", "MIN"}}) {
    EXPECT_EQ(plan_of(Session{}, words).effect, Effect::block) << words[0];
  }
}

// --- Subscriptions -----------------------------------------------------------------------------------------------

TEST(Session, ASubscribeIsConfirmedOncePerChannelAndHoldsWhatFollows) {
  const Plan plan = plan_of(Session{}, {"SUBSCRIBE", "a", "b", "c"});
  EXPECT_EQ(plan.replies, 3U);
  EXPECT_TRUE(plan.barrier);
}

TEST(Session, IsSubscribedUntilTheLastConfirmationSaysNone) {
  Session session;
  send(session, {"SUBSCRIBE", "a", "b"});
  session.subscribe_done("subscribe", 1);
  session.subscribe_done("subscribe", 2);
  EXPECT_TRUE(session.subscribed());
  session.subscribe_done("unsubscribe", 1);
  EXPECT_FALSE(session.shareable());
  session.subscribe_done("unsubscribe", 0);
  EXPECT_FALSE(session.subscribed());
  EXPECT_TRUE(session.shareable());
}

TEST(Session, ChannelsAndPatternsAreCountedTogetherByRedisAndApartHere) {
  Session session;
  session.subscribe_done("subscribe", 1);
  session.subscribe_done("psubscribe", 2);
  session.subscribe_done("psubscribe", 3);
  EXPECT_EQ(plan_of(session, {"UNSUBSCRIBE"}).replies, 1U);
  EXPECT_EQ(plan_of(session, {"PUNSUBSCRIBE"}).replies, 2U);
  session.subscribe_done("punsubscribe", 2);
  session.subscribe_done("punsubscribe", 1);
  EXPECT_TRUE(session.subscribed());
  session.subscribe_done("unsubscribe", 0);
  EXPECT_FALSE(session.subscribed());
}

TEST(Session, ShardChannelsAreCountedByThemselves) {
  Session session;
  session.subscribe_done("subscribe", 1);
  session.subscribe_done("ssubscribe", 1);
  session.subscribe_done("ssubscribe", 2);
  EXPECT_EQ(plan_of(session, {"SUNSUBSCRIBE"}).replies, 2U);
  session.subscribe_done("sunsubscribe", 0);
  EXPECT_TRUE(session.subscribed());
  session.subscribe_done("unsubscribe", 0);
  EXPECT_FALSE(session.subscribed());
}

TEST(Session, ABareUnsubscribeIsConfirmedAtLeastOnce) {
  EXPECT_EQ(plan_of(Session{}, {"UNSUBSCRIBE"}).replies, 1U);
  EXPECT_EQ(plan_of(Session{}, {"PUNSUBSCRIBE"}).replies, 1U);
  EXPECT_EQ(plan_of(Session{}, {"SUNSUBSCRIBE"}).replies, 1U);
}

// --- Replayable state ----------------------------------------------------------------------------------------------

class Replayable : public ::testing::TestWithParam<Words> {};

TEST_P(Replayable, NeedsItsOwnConnectionOnlyUntilItIsAnswered) {
  Session session;
  const Plan plan = send(session, GetParam());
  EXPECT_EQ(plan.where, Where::own);
  EXPECT_TRUE(plan.barrier || plan.effect == Effect::none);
  EXPECT_TRUE(session.shareable());
}

INSTANTIATE_TEST_SUITE_P(Session, Replayable,
                         ::testing::Values(Words{"SELECT", "1"}, Words{"AUTH", "secret"},
                                           Words{"AUTH", "bob", "secret"}, Words{"HELLO"}, Words{"HELLO", "3"},
                                           Words{"CLIENT", "SETNAME", "n"}, Words{"client", "setinfo", "lib-name", "x"},
                                           Words{"CLIENT", "GETNAME"}));

TEST(Session, InsideMultiTheSameHoldsTheConnection) {
  for (const Words& words : std::vector<Words>{{"CLIENT", "SETNAME", "n"}, {"AUTH", "x"}, {"SELECT", "1"}}) {
    Session session;
    send(session, {"MULTI"});
    send(session, words);
    send(session, {"EXEC"});
    EXPECT_FALSE(session.shareable()) << words[0];
  }
}

TEST(Session, AnIdentityIsWhatRedisHasGranted) {
  Session session;
  EXPECT_EQ(session.identity(7), (Identity{resp::Version::resp2, "", "", 7}));
  identify(session, {"HELLO", "3", "AUTH", "bob", "secret"});
  session.select_done(2);
  EXPECT_EQ(session.identity(7), (Identity{resp::Version::resp3, "bob", "secret", 2}));
  identify(session, {"AUTH", "other"});
  EXPECT_EQ(session.identity(7), (Identity{resp::Version::resp3, "default", "other", 2}));
}

TEST(Session, LabelsAreRememberedAndResetForgetsTheName) {
  Session session;
  for (const Words& words : std::vector<Words>{
           {"CLIENT", "SETNAME", "n"}, {"CLIENT", "SETINFO", "lib-name", "l"}, {"CLIENT", "SETINFO", "LIB-VER", "1"}}) {
    const Sent sent(words);
    session.label_done(sent.command_view);
  }
  EXPECT_EQ(session.labels(), (Labels{"n", "l", "1"}));
  session.reset();
  EXPECT_EQ(session.labels(), (Labels{"", "l", "1"}));
}

// Redis applies the options of HELLO one by one.
TEST(Session, AHelloThatFailsAfterItsAuthLeavesTheUserInDoubt) {
  Session session;
  const Sent sent({"HELLO", "3", "AUTH", "bob", "x", "SETNAME", "not a name"});
  session.identify_refused(sent.command_view,
                           "-ERR Client names cannot contain spaces, newlines or special characters.");
  EXPECT_TRUE(session.user_unsure());
  EXPECT_FALSE(session.shareable());
}

TEST(Session, AHelloWithTwoPasswordsMayHaveTakenTheFirst) {
  Session session;
  const Sent sent({"HELLO", "2", "AUTH", "bob", "good", "auth", "bob", "bad"});
  session.identify_refused(sent.command_view, "-WRONGPASS invalid username-password pair or user is disabled.");
  EXPECT_TRUE(session.user_unsure());
  EXPECT_FALSE(session.shareable());
}

TEST(Session, AHelloThatSetANameAndWasRefusedKeepsItsConnection) {
  Session session;
  const Sent sent({"HELLO", "2", "SETNAME", "n"});
  session.identify_refused(sent.command_view, "-NOAUTH HELLO must be called with the client already authenticated");
  EXPECT_FALSE(session.shareable());
}

TEST(Session, AMultiThatIsRefusedLeavesInDoubtWhatSeemedQueued) {
  Session session;
  send(session, {"MULTI"});
  send(session, {"SELECT", "5"});
  session.multi_refused();
  EXPECT_FALSE(session.in_multi());
  EXPECT_TRUE(session.unsure());
}

TEST(Session, APauseThatRedisWillRefuseIsNone) {
  for (const Words& words : std::vector<Words>{{"CLIENT", "PAUSE"},
                                               {"CLIENT", "PAUSE", "x"},
                                               {"CLIENT", "PAUSE", "-1"},
                                               {"CLIENT", "PAUSE", "5", "SOME"}}) {
    EXPECT_EQ(plan_of(Session{}, words).pause.count(), 0) << words.back();
  }
}

TEST(Session, WaitingForReplicasBlocksAndSticks) {
  for (const Words& words : std::vector<Words>{{"WAIT", "1", "0"}, {"WAITAOF", "1", "0", "0"}}) {
    Session session;
    EXPECT_EQ(send(session, words).reason, PinReason::wait);
    EXPECT_TRUE(session.blocked());
    session.block_done();
    EXPECT_FALSE(session.blocked());
    EXPECT_FALSE(session.shareable());
  }
}

TEST(Session, ARefusedPasswordChangesNothing) {
  Session session;
  const Sent hello({"HELLO", "3", "AUTH", "bob", "x"});
  session.identify_refused(hello.command_view, "-WRONGPASS invalid username-password pair or user is disabled.");
  const Sent auth({"AUTH", "bob", "x"});
  session.identify_refused(auth.command_view, "-WRONGPASS invalid username-password pair or user is disabled.");
  EXPECT_FALSE(session.user_unsure());
  EXPECT_TRUE(session.shareable());
  EXPECT_EQ(session.user(), "");
}

TEST(Session, ADatabaseCountsOnceItsSelectHasSucceeded) {
  Session session;
  const Plan plan = send(session, {"SELECT", "2"});
  EXPECT_TRUE(plan.barrier);
  EXPECT_EQ(plan.db, 2);
  EXPECT_FALSE(session.outside(0));
  session.select_done(2);
  EXPECT_TRUE(session.outside(0));
  EXPECT_FALSE(session.outside(2));
}

TEST(Session, HelloSetsVersionAndUser) {
  Session session;
  EXPECT_TRUE(send(session, {"HELLO", "3"}).barrier);
  identify(session, {"HELLO", "3", "AUTH", "bob", "secret", "SETNAME", "n"});
  EXPECT_EQ(session.version(), resp::Version::resp3);
  EXPECT_EQ(session.user(), "bob");
  identify(session, {"HELLO", "2", "SETNAME", "n", "auth", "eve", "secret"});
  EXPECT_EQ(session.version(), resp::Version::resp2);
  EXPECT_EQ(session.user(), "eve");
}

TEST(Session, ABareHelloChangesNeitherVersionNorUser) {
  Session session;
  identify(session, {"HELLO", "3"});
  identify(session, {"HELLO"});
  EXPECT_EQ(session.version(), resp::Version::resp3);
  EXPECT_EQ(session.user(), "");
}

// --- CLIENT REPLY --------------------------------------------------------------------------------------------------

TEST(Session, ReplyOffSilencesEverythingUntilOn) {
  Session session;
  EXPECT_EQ(send(session, {"CLIENT", "REPLY", "OFF"}).replies, 0U);
  EXPECT_EQ(send(session, {"GET", "k"}).replies, 0U);
  EXPECT_EQ(send(session, {"FOO"}).replies, 0U);
  EXPECT_EQ(send(session, {"CLIENT", "REPLY", "SKIP"}).replies, 0U);
  EXPECT_EQ(send(session, {"GET", "k"}).replies, 0U);
  EXPECT_EQ(send(session, {"CLIENT", "REPLY", "ON"}).replies, 1U);
  EXPECT_EQ(send(session, {"GET", "k"}).replies, 1U);
}

TEST(Session, ReplySkipSilencesTheNextCommandOnly) {
  Session session;
  EXPECT_EQ(send(session, {"CLIENT", "REPLY", "SKIP"}).replies, 0U);
  EXPECT_TRUE(session.replies_suppressed());
  EXPECT_EQ(send(session, {"GET", "k"}).replies, 0U);
  EXPECT_FALSE(session.replies_suppressed());
  EXPECT_EQ(send(session, {"GET", "k"}).replies, 1U);
}

TEST(Session, ASecondSkipSilencesTheCommandAfterIt) {
  Session session;
  send(session, {"CLIENT", "REPLY", "SKIP"});
  EXPECT_EQ(send(session, {"CLIENT", "REPLY", "SKIP"}).replies, 0U);
  EXPECT_EQ(send(session, {"GET", "k"}).replies, 0U);
  EXPECT_EQ(send(session, {"GET", "k"}).replies, 1U);
}

TEST(Session, QuitIsStillPlannedWhenRepliesAreOff) {
  Session session;
  send(session, {"CLIENT", "REPLY", "OFF"});
  EXPECT_EQ(plan_of(session, {"QUIT"}).where, Where::quit);
}

TEST(Session, ABlockingCommandWithoutAReplyIsNotWaitedFor) {
  Session session;
  send(session, {"CLIENT", "REPLY", "OFF"});
  send(session, {"BLPOP", "k", "0"});
  EXPECT_FALSE(session.blocked());
}

// --- Model ---------------------------------------------------------------------------------------------------------

// What Redis keeps for one connection, written from its documentation and not from Session.
class Connection {
 public:
  struct Answer {
    bool ok = true;
    std::uint32_t replies = 1;
    std::vector<std::pair<std::string, std::int64_t>> confirmed;
  };

  Answer execute(const Words& words) {
    const bool skipped = skip_;
    Answer answer = perform(words);
    if (skipped) skip_ = false;
    if (std::exchange(skip_next_, false)) skip_ = true;
    return answer;
  }

  // A client of the same identity would notice nothing once the name is taken away.
  bool is_of(const Identity& identity, const Labels& labels) const {
    const bool clean = !multi_ && !watch_ && !identity_ && !off_ && !skip_ && channels_.empty() && patterns_.empty() &&
                       shards_.empty();
    return clean && db_ == identity.db && user_ == identity.user && name_ == labels.name &&
           (protocol_ == "3") == (identity.version == resp::Version::resp3);
  }
  bool multi() const { return multi_; }
  bool silent() const { return off_ || skip_; }

 private:
  Answer perform(const Words& words) {
    Answer answer = run(words);
    const bool turns_on = answer.ok && words.size() == 3 && words[1] == "REPLY" && words[2] == "ON" && !multi_;
    if (answer.replies != 0 && !turns_on && (off_ || skip_)) answer.replies = 0;
    return answer;
  }

  bool subscribed() const { return !channels_.empty() || !patterns_.empty() || !shards_.empty(); }

  // In RESP2 nothing else is allowed while there are subscriptions.
  Answer run(const Words& words) {
    const std::string& name = words[0];
    if (protocol_ == "2" && subscribed() && name.find("SUBSCRIBE") == std::string::npos) return {false, 1, {}};
    if (multi_ && name != "EXEC" && name != "DISCARD" && name != "MULTI" && name != "WATCH") {
      if (name == "FOO") aborted_ = true;
      queue_.push_back(words);
      return {name != "FOO", 1, {}};
    }
    if (name == "MULTI") return begin_multi();
    if (name == "EXEC" || name == "DISCARD") return end_multi(name == "EXEC");
    if (name == "WATCH") return watch();
    if (name == "UNWATCH") watch_ = false;
    if (name == "SELECT") db_ = std::stoi(words[1]);
    if (name == "AUTH") user_ = words[1];
    if (name == "HELLO") protocol_ = words[1];
    if (name == "CLIENT") return client(words);
    if (name == "FOO") return {false, 1, {}};
    return subscriptions(words);
  }

  Answer begin_multi() {
    if (multi_) return {false, 1, {}};
    multi_ = true;
    return {};
  }
  Answer end_multi(bool run_them) {
    if (!multi_) return {false, 1, {}};
    multi_ = watch_ = false;
    const auto queue = std::exchange(queue_, {});
    const bool aborted = std::exchange(aborted_, false);
    if (run_them && !aborted) {
      for (const Words& words : queue) run(words);
    }
    return {!aborted, 1, {}};
  }
  Answer watch() {
    if (multi_) return {false, 1, {}};
    watch_ = true;
    return {};
  }
  Answer client(const Words& words) {
    if (words[1] == "REPLY") {
      if (words[2] == "ON") off_ = skip_ = false;
      if (words[2] == "OFF") off_ = true;
      if (words[2] == "SKIP" && !off_) skip_next_ = true;
      return {true, words[2] == "ON" ? 1U : 0U, {}};
    }
    if (words[1] == "SETNAME") {
      name_ = words[2];
    } else {
      identity_ = true;
    }
    return {};
  }

  Answer subscriptions(const Words& words) {
    static const std::map<std::string, std::set<std::string> Connection::*> family{
        {"SUBSCRIBE", &Connection::channels_},  {"UNSUBSCRIBE", &Connection::channels_},
        {"PSUBSCRIBE", &Connection::patterns_}, {"PUNSUBSCRIBE", &Connection::patterns_},
        {"SSUBSCRIBE", &Connection::shards_},   {"SUNSUBSCRIBE", &Connection::shards_},
    };
    const auto found = family.find(words[0]);
    if (found == family.end()) return {};
    auto& names = this->*found->second;
    Answer answer;
    const bool adds = words[0].find("UNSUB") == std::string::npos;
    Words subjects(words.begin() + 1, words.end());
    if (subjects.empty()) subjects.assign(names.begin(), names.end());
    if (subjects.empty()) subjects.emplace_back();
    std::string kind = words[0];
    std::transform(kind.begin(), kind.end(), kind.begin(), [](char c) { return static_cast<char>(c - 'A' + 'a'); });
    for (const std::string& subject : subjects) {
      if (adds) names.insert(subject);
      if (!adds) names.erase(subject);
      const auto left = kind[0] == 's' && kind[1] != 'u' ? shards_.size()
                        : kind.starts_with("sun")        ? shards_.size()
                                                         : channels_.size() + patterns_.size();
      answer.confirmed.emplace_back(kind, static_cast<std::int64_t>(left));
    }
    answer.replies = static_cast<std::uint32_t>(answer.confirmed.size());
    return answer;
  }

  bool multi_ = false, watch_ = false, identity_ = false, off_ = false, skip_ = false, skip_next_ = false;
  bool aborted_ = false;
  int db_ = 0;
  std::string user_, name_, protocol_ = "2";
  std::set<std::string> channels_, patterns_, shards_;
  std::vector<Words> queue_;
};

// One client that sends at random; replies come late and in order.
class Walk {
 public:
  explicit Walk(std::uint32_t seed) : random_(seed) {}

  void step() {
    switch (random_() % 8) {
      case 0:
        return disconnect();
      case 1:
      case 2:
        return deliver_all();
      default:
        return send_one();
    }
  }
  int times_shared() const { return times_shared_; }

 private:
  struct InFlight {
    Words words;
    Plan plan;
    Connection::Answer answer;
  };

  void send_one() {
    const Words words = any_command();
    if (barrier_) deliver_all();
    const Plan plan = plan_of(session_, words);
    barrier_ = plan.barrier;
    session_.began(plan);
    InFlight sent{words, plan, connection_.execute(words)};
    ASSERT_EQ(sent.answer.replies, plan.replies) << words[0] << " " << words.back();
    in_flight_.push_back(std::move(sent));
    if (in_flight_.back().plan.replies == 0) in_flight_.pop_back();
  }

  void deliver_all() {
    while (!in_flight_.empty()) {
      deliver(in_flight_.front());
      in_flight_.pop_front();
    }
    if (!session_.shareable()) return;
    ++times_shared_;
    ASSERT_TRUE(connection_.is_of(session_.identity(0), session_.labels()));
  }

  void deliver(const InFlight& reply) {
    for (const auto& [kind, left] : reply.answer.confirmed) session_.subscribe_done(kind, left);
    if (reply.plan.effect == Effect::block) session_.block_done();
    if (!reply.answer.ok) return;
    if (reply.plan.effect == Effect::sticky_once_done) session_.stick();
    if (reply.plan.effect == Effect::select) session_.select_done(reply.plan.db);
    if (reply.plan.effect == Effect::auth) identify(session_, reply.words);
    if (reply.plan.effect == Effect::hello) identify(session_, reply.words);
    if (reply.plan.effect == Effect::label) {
      const Sent sent(reply.words);
      session_.label_done(sent.command_view);
    }
  }

  void disconnect() {
    if (in_flight_.empty() && session_.shareable()) {
      ASSERT_TRUE(connection_.is_of(session_.identity(0), session_.labels()));
    }
    connection_ = Connection{};
    session_ = Session{};
    in_flight_.clear();
    barrier_ = false;
  }

  Words any_command() {
    static const std::vector<Words> harmless{
        {"GET", "k"},   {"SET", "k", "v"}, {"MULTI"},           {"MULTI"}, {"EXEC"},     {"EXEC"}, {"DISCARD"},
        {"WATCH", "k"}, {"UNWATCH"},       {"BLPOP", "k", "0"}, {"EXEC"},  {"GET", "k"}, {"EXEC"}, {"UNWATCH"},
    };
    static const std::vector<Words> subscribing{
        {"SUBSCRIBE", "a"},    {"SUBSCRIBE", "a", "b"}, {"PSUBSCRIBE", "p"}, {"SSUBSCRIBE", "s", "t"},
        {"UNSUBSCRIBE"},       {"UNSUBSCRIBE", "a"},    {"PUNSUBSCRIBE"},    {"SUNSUBSCRIBE"},
        {"SUNSUBSCRIBE", "s"}, {"UNSUBSCRIBE"},         {"PUNSUBSCRIBE"},    {"SUNSUBSCRIBE"},
    };
    static const std::vector<Words> lasting{
        {"SELECT", "1"},
        {"SELECT", "0"},
        {"AUTH", "bob", "x"},
        {"HELLO", "3"},
        {"CLIENT", "SETNAME", "n"},
        {"CLIENT", "REPLY", "OFF"},
        {"CLIENT", "REPLY", "SKIP"},
        {"CLIENT", "REPLY", "ON"},
        {"FOO"},
        {"CLIENT", "TRACKING", "ON"},
    };
    const bool outside = !connection_.multi();
    if (outside && !connection_.silent() && random_() % 4 == 0) return subscribing[random_() % subscribing.size()];
    if (outside && random_() % 16 == 0) return lasting[random_() % lasting.size()];
    return harmless[random_() % harmless.size()];
  }

  std::mt19937 random_;
  Session session_;
  Connection connection_;
  std::deque<InFlight> in_flight_;
  bool barrier_ = false;
  int times_shared_ = 0;
};

TEST(SessionModel, AConnectionIsOnlyGivenBackWhenTheNextClientWouldNoticeNothing) {
  int times_shared = 0;
  for (std::uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Walk walk(seed);
    for (int step = 0; step < 400; ++step) {
      walk.step();
      if (::testing::Test::HasFatalFailure()) return;
    }
    times_shared += walk.times_shared();
  }
  EXPECT_GT(times_shared, 1000);
}

}  // namespace
}  // namespace sluice::proxy

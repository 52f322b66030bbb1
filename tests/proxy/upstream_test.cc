// Upstream: each reply goes to the one who waits for it, however the bytes are cut.
#include "proxy/upstream.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/proxy/peer.h"

namespace sluice::proxy {
namespace {

using resp::Absence;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr ClientId kOne{1, 1};
constexpr ClientId kTwo{2, 1};

// Writes down what it is told.
class Recorder final : public UpstreamUser {
 public:
  void on_bytes(ClientId client, std::string_view bytes) override { this->bytes[client.index].append(bytes); }
  void on_replies(ClientId client, std::uint32_t count) override { replies[client.index] += count; }
  void on_hit(std::uint32_t policy, std::uint32_t keys) override {
    note("hit", {}, std::to_string(policy) + (keys == 1 ? "" : " x" + std::to_string(keys)));
  }
  void on_hits(std::string_view command) override { note("hits", {}, std::string(command)); }
  bool on_kept(ClientId, std::size_t bytes) override {
    kept = std::max(kept, bytes);
    kept_now = bytes;
    return bytes <= kept_max;
  }
  void on_miss(ClientId client, std::uint32_t policy, std::string_view command, std::string_view reply) override {
    missed = reply;
    note("miss", client, std::to_string(policy) + " " + std::string(command));
  }
  void on_read_lost(ClientId client, std::uint32_t policy, std::string_view command, bool sent,
                    const std::string&) override {
    note(sent ? "read lost" : "read not sent", client, std::to_string(policy) + " " + std::string(command));
  }
  void on_effect(ClientId client, std::string_view command, std::string_view reply) override {
    note("effect", client, std::string(command) + " -> " + std::string(reply));
  }
  void on_held(ClientId client, std::string_view text, std::string_view reply) override {
    note("held", client, std::string(text) + " -> " + std::string(reply));
  }
  void on_again(ClientId client, std::string_view reply) override { note("again", client, std::string(reply)); }
  void on_held_lost(std::string_view text) override { note("held lost", {}, std::string(text)); }
  void on_subscription(ClientId client, std::string_view kind, std::int64_t remaining) override {
    note("subscription", client, std::string(kind) + " " + std::to_string(remaining));
  }
  void on_lost(ClientId client, bool sent, const std::string&) override {
    note(sent ? "lost" : "not sent", client, "");
  }
  void on_up(Upstream&) override { note("up", {}, ""); }
  void on_ready(Upstream&) override { note("ready", {}, ""); }
  void on_down(Upstream&, const std::string& reason) override {
    down = true;
    why = reason;
  }
  void on_uncongested(Upstream&) override { note("uncongested", {}, ""); }

  std::map<std::uint32_t, std::string> bytes;
  std::map<std::uint32_t, std::uint32_t> replies;
  std::vector<std::string> events;
  bool down = false;
  std::string why;
  std::string missed;    // the reply of the last miss
  std::size_t kept = 0;  // the most that was kept of a reply
  std::size_t kept_now = 0;
  std::size_t kept_max = SIZE_MAX;

 private:
  void note(const std::string& what, ClientId client, const std::string& text) {
    events.push_back(what + (client.generation == 0 ? "" : " " + std::to_string(client.index)) +
                     (text.empty() ? "" : ": " + text));
  }
};

class UpstreamTest : public ::testing::Test {
 protected:
  ~UpstreamTest() override { upstream_.close(); }

  void connect() {
    upstream_.connect();
    ASSERT_TRUE(run_until(loop_, peer_, [&] { return upstream_.up() && peer_.connected(); }));
    seen_.events.clear();
  }
  // Waits until everything asked for has reached the peer, then answers in pieces of `piece` bytes.
  void answer(std::string_view bytes, std::size_t piece = std::string_view::npos) {
    run_some(loop_, peer_);
    while (!bytes.empty()) {
      const auto part = bytes.substr(0, piece);
      peer_.send(part);
      bytes.remove_prefix(part.size());
      run_some(loop_, peer_);
    }
  }
  bool goes_down() {
    return run_until(loop_, peer_, [&] { return seen_.down; });
  }

  EventLoop loop_;
  Peer peer_;
  Recorder seen_;
  policies::Count sent_;
  Upstream upstream_{loop_, upstream_at(peer_.endpoint()), seen_, sent_};
};

// --- Forwarding --------------------------------------------------------------------------------------------------

TEST_F(UpstreamTest, WritesRunsOfOneTurnBackToBackAndGivesEachClientItsReplies) {
  connect();
  upstream_.forward(kOne, "A\r\nB\r\n", 2);
  upstream_.forward(kTwo, "C\r\n", 1);
  upstream_.forward(kOne, "D\r\n", 1);
  answer("+a\r\n:1\r\n$1\r\nc\r\n+d\r\n");
  EXPECT_EQ(peer_.received(), "A\r\nB\r\nC\r\nD\r\n");
  EXPECT_EQ(seen_.bytes[1], "+a\r\n:1\r\n+d\r\n");
  EXPECT_EQ(seen_.bytes[2], "$1\r\nc\r\n");
  EXPECT_EQ(seen_.replies[1], 3U);
  EXPECT_EQ(seen_.replies[2], 1U);
}

TEST_F(UpstreamTest, MergesNeighbouringRunsOfOneClient) {
  connect();
  upstream_.forward(kOne, "A\r\n", 1);
  upstream_.forward(kOne, "B\r\n", 1);
  EXPECT_EQ(upstream_.outstanding(), 1U);
  upstream_.forward(kTwo, "C\r\n", 1);
  upstream_.forward(kOne, "D\r\n", 1);
  EXPECT_EQ(upstream_.outstanding(), 3U);
}

TEST_F(UpstreamTest, ForwardsWhatGetsNoReplyWithoutWaitingForOne) {
  connect();
  upstream_.forward(kOne, "SILENT\r\n", 0);
  EXPECT_EQ(upstream_.outstanding(), 0U);
  upstream_.forward(kTwo, "A\r\n", 1);
  answer("+a\r\n");
  EXPECT_EQ(seen_.bytes[2], "+a\r\n");
  EXPECT_EQ(peer_.received(), "SILENT\r\nA\r\n");
}

TEST_F(UpstreamTest, SendsWhatWasForwardedWhileItConnected) {
  upstream_.connect();
  upstream_.forward(kOne, "A\r\n", 1);
  ASSERT_TRUE(run_until(loop_, peer_, [&] { return peer_.received() == "A\r\n"; }));
  answer("+a\r\n");
  EXPECT_EQ(seen_.bytes[1], "+a\r\n");
}

TEST_F(UpstreamTest, PassesOnAReplyBeforeItIsComplete) {
  connect();
  upstream_.forward(kOne, "A\r\n", 1);
  answer("$10\r\n12345");
  EXPECT_EQ(seen_.bytes[1], "$10\r\n12345");
  EXPECT_EQ(seen_.replies[1], 0U);
  answer("67890\r\n");
  EXPECT_EQ(seen_.replies[1], 1U);
}

TEST_F(UpstreamTest, IsReadyOnceAllThatPreparesItHasSucceeded) {
  upstream_.connect();
  EXPECT_TRUE(upstream_.ready());
  upstream_.prepare({{}, {"AUTH\r\nSELECT\r\n", 2}});
  EXPECT_FALSE(upstream_.ready());
  answer("+OK\r\n");
  EXPECT_FALSE(upstream_.ready());
  answer("+OK\r\n");
  EXPECT_TRUE(upstream_.ready());
  EXPECT_THAT(seen_.events, ElementsAre("up", "ready"));
  EXPECT_THAT(seen_.bytes, IsEmpty());
}

TEST_F(UpstreamTest, TheLastThatPreparesItMayFailIfItWasAttemptedBefore) {
  upstream_.connect();
  upstream_.prepare({{"SELECT\r\n", 1}, {"AUTH\r\nSELECT\r\n", 2}});
  answer("+OK\r\n+OK\r\n-NOPERM\r\n");
  EXPECT_TRUE(upstream_.ready());
  EXPECT_FALSE(seen_.down);
}

TEST_F(UpstreamTest, AnAttemptThatFailedMakesTheLastNecessary) {
  upstream_.connect();
  upstream_.prepare({{"SELECT\r\n", 1}, {"AUTH\r\nSELECT\r\n", 2}});
  answer("-NOAUTH\r\n+OK\r\n-NOPERM\r\n");
  EXPECT_TRUE(seen_.down);
}

TEST_F(UpstreamTest, NothingButTheLastMayFail) {
  upstream_.connect();
  upstream_.prepare({{"SELECT\r\n", 1}, {"AUTH\r\nSELECT\r\n", 2}});
  answer("+OK\r\n-WRONGPASS\r\n+OK\r\n");
  EXPECT_TRUE(seen_.down);
}

TEST_F(UpstreamTest, FailsWhenRedisRefusesWhatPreparesIt) {
  upstream_.connect();
  upstream_.prepare({{}, {"AUTH\r\nSELECT\r\n", 2}});
  answer("-WRONGPASS no\r\n+OK\r\n");
  EXPECT_TRUE(seen_.down);
  EXPECT_THAT(seen_.why, testing::HasSubstr("WRONGPASS no"));
  EXPECT_FALSE(upstream_.ready());
  EXPECT_FALSE(upstream_.prepared());
}

// --- Reads of policies -------------------------------------------------------------------------------------------

TEST_F(UpstreamTest, PassesOnAReadThatFindsSomethingAndCountsAHit) {
  connect();
  upstream_.expect_read(kOne, "GET k\r\n", 7, 1, Absence::nil);
  answer("$1\r\nv\r\n");
  EXPECT_EQ(seen_.bytes[1], "$1\r\nv\r\n");
  EXPECT_EQ(seen_.replies[1], 1U);
  EXPECT_THAT(seen_.events, ElementsAre("hit: 7"));
}

class NothingFound : public UpstreamTest,
                     public ::testing::WithParamInterface<std::pair<resp::Absence, std::string>> {};

TEST_P(NothingFound, IsGivenToThePolicyWithTheCommandAndPassedToNobody) {
  connect();
  upstream_.expect_read(kOne, "GET k\r\n", 7, 1, GetParam().first);
  upstream_.forward(kOne, "PING\r\n", 1);
  answer(GetParam().second + "+PONG\r\n", 1);
  EXPECT_THAT(seen_.events, ElementsAre("miss 1: 7 GET k\r\n"));
  EXPECT_EQ(seen_.bytes[1], "+PONG\r\n");
  EXPECT_EQ(seen_.replies[1], 1U);
}

INSTANTIATE_TEST_SUITE_P(Upstream, NothingFound,
                         ::testing::Values(std::pair(Absence::nil, "$-1\r\n"), std::pair(Absence::nil, "_\r\n"),
                                           std::pair(Absence::empty, "*0\r\n"), std::pair(Absence::empty, "%0\r\n"),
                                           std::pair(Absence::zero, ":0\r\n"), std::pair(Absence::none, "+none\r\n"),
                                           std::pair(Absence::no_key, ":-2\r\n"),
                                           std::pair(Absence::all_nil, "*2\r\n$-1\r\n_\r\n"),
                                           std::pair(Absence::some_nil, "*2\r\n$1\r\nv\r\n$-1\r\n")));

class SomethingFound : public UpstreamTest,
                       public ::testing::WithParamInterface<std::pair<resp::Absence, std::string>> {};

TEST_P(SomethingFound, IsPassedOnHoweverItIsCut) {
  connect();
  for (const std::size_t piece : {std::size_t{1}, std::string::npos}) {
    seen_.bytes.clear();
    seen_.events.clear();
    upstream_.expect_read(kOne, "GET k\r\n", 7, 1, GetParam().first);
    answer(GetParam().second, piece);
    EXPECT_THAT(seen_.events, ElementsAre("hit: 7"));
    EXPECT_EQ(seen_.bytes[1], GetParam().second);
  }
}

INSTANTIATE_TEST_SUITE_P(Upstream, SomethingFound,
                         ::testing::Values(std::pair(Absence::nil, "$0\r\n\r\n"),
                                           std::pair(Absence::empty, "*1\r\n$1\r\nv\r\n"),
                                           std::pair(Absence::zero, ":01\r\n"), std::pair(Absence::none, "+string\r\n"),
                                           std::pair(Absence::no_key, ":-1\r\n"),
                                           std::pair(Absence::all_nil, "*2\r\n$-1\r\n$1\r\nv\r\n"),
                                           std::pair(Absence::all_nil, "*2\r\n$1\r\nv\r\n$-1\r\n"),
                                           std::pair(Absence::some_nil, "*1\r\n$6\r\n$-1\r\n\n\r\n")));

TEST_F(UpstreamTest, AnErrorIsPassedOnAndIsNoHit) {
  connect();
  for (const Absence absence : {Absence::nil, Absence::zero, Absence::empty, Absence::some_nil, Absence::fewer}) {
    for (const std::size_t piece : {std::size_t{1}, std::string::npos}) {
      seen_.bytes.clear();
      upstream_.expect_read(kOne, "GET k\r\n", 7, 1, absence);
      upstream_.expect_read(kOne, "GET k\r\n", 7, 0, absence);
      answer("-WRONGTYPE no\r\n-ERR no\r\n", piece);
      EXPECT_EQ(seen_.bytes[1], "-WRONGTYPE no\r\n-ERR no\r\n");
    }
  }
  EXPECT_THAT(seen_.events, IsEmpty());
}

TEST_F(UpstreamTest, AHitOfSeveralPoliciesComesWithTheCommand) {
  connect();
  upstream_.expect_read(kOne, "MGET a b\r\n", 7, 0, Absence::some_nil);
  answer("*2\r\n$1\r\nv\r\n$1\r\nw\r\n");
  EXPECT_THAT(seen_.events, ElementsAre("hits: MGET a b\r\n"));
}

TEST_F(UpstreamTest, AMissComesWithTheReplyThatShowedIt) {
  connect();
  upstream_.expect_read(kOne, "MGET a b\r\n", 7, 2, Absence::some_nil);
  answer("*2\r\n$1\r\nv\r\n$-1\r\n", 3);
  EXPECT_EQ(seen_.missed, "*2\r\n$1\r\nv\r\n$-1\r\n");
}

TEST_F(UpstreamTest, AHitOfSeveralKeysIsSoMany) {
  connect();
  upstream_.expect_read(kOne, "MGET a b\r\n", 7, 2, Absence::some_nil);
  answer("*2\r\n$1\r\nv\r\n$1\r\nw\r\n");
  EXPECT_THAT(seen_.events, ElementsAre("hit: 7 x2"));
}

TEST_F(UpstreamTest, TellsHowMuchItKeepsOfAReply) {
  connect();
  upstream_.expect_read(kOne, "MGET a b\r\n", 7, 2, Absence::some_nil);
  const std::string reply = "*2\r\n$3000\r\n" + std::string(3000, 'v') + "\r\n$1\r\nw\r\n";
  answer(reply, 100);
  EXPECT_EQ(seen_.bytes[1], reply);
  EXPECT_GE(seen_.kept, 3000U);
  EXPECT_EQ(seen_.kept_now, 0U);
}

TEST_F(UpstreamTest, WhatNobodyWantsIsNotKept) {
  connect();
  seen_.kept_max = 1000;
  upstream_.expect_read(kOne, "MGET a b\r\n", 7, 2, Absence::some_nil);
  upstream_.forward(kTwo, "PING\r\n", 1);
  answer("*2\r\n$3000\r\n" + std::string(3000, 'v') + "\r\n$-1\r\n+PONG\r\n", 100);
  EXPECT_LT(seen_.kept, 1200U);
  EXPECT_THAT(seen_.events, IsEmpty());
  EXPECT_EQ(seen_.bytes[1], "");
  EXPECT_EQ(seen_.bytes[2], "+PONG\r\n");
}

TEST_F(UpstreamTest, AReplyToWhatIsRunAgainIsGivenWhole) {
  connect();
  upstream_.expect(kOne, "GET k\r\n", Expect::again, 1, {});
  answer("$1\r\nv\r\n", 1);
  EXPECT_THAT(seen_.events, ElementsAre("again 1: $1\r\nv\r\n"));
  EXPECT_EQ(seen_.bytes[1], "");
}

TEST_F(UpstreamTest, FewerKeysThanTheCommandHasAreAMiss) {
  connect();
  const std::string exists = "*3\r\n$6\r\nEXISTS\r\n$1\r\na\r\n$1\r\nb\r\n";
  upstream_.expect_read(kOne, exists, 7, 1, Absence::fewer);
  answer(":2\r\n", 1);
  EXPECT_THAT(seen_.events, ElementsAre("hit: 7"));
  upstream_.expect_read(kOne, exists, 7, 1, Absence::fewer);
  answer(":1\r\n", 1);
  EXPECT_EQ(seen_.missed, ":1\r\n");
}

TEST_F(UpstreamTest, AnEmptyStringIsFound) {
  connect();
  upstream_.expect_read(kOne, "GET k\r\n", 7, 1, Absence::nil);
  answer("$0\r\n\r\n", 1);
  EXPECT_THAT(seen_.events, ElementsAre("hit: 7"));
  EXPECT_EQ(seen_.bytes[1], "$0\r\n\r\n");
}

// --- Commands whose reply is looked at -----------------------------------------------------------------------------

TEST_F(UpstreamTest, ShowsTheReplyOfAnEffectWithItsCommandAndPassesItOn) {
  connect();
  upstream_.expect(kOne, "SELECT 1\r\n", Expect::effect, 1, "SELECT 1\r\n");
  answer("+OK\r\n", 1);
  EXPECT_THAT(seen_.events, ElementsAre("effect 1: SELECT 1\r\n -> +OK\r\n"));
  EXPECT_EQ(seen_.bytes[1], "+OK\r\n");
  EXPECT_EQ(seen_.replies[1], 1U);
}

TEST_F(UpstreamTest, ShowsHowTheLargeReplyOfAnEffectBeginsAndKeepsNoneOfIt) {
  connect();
  const std::string value(100000, 'x');
  upstream_.expect(kOne, "EXEC\r\n", Expect::effect, 1, "note");
  upstream_.forward(kOne, "A\r\n", 1);
  answer("*1\r\n$100000\r\n" + value.substr(0, 50000));
  EXPECT_EQ(seen_.bytes[1].size(), 50013U);
  ASSERT_EQ(seen_.events.size(), 1U);
  EXPECT_TRUE(seen_.events[0].starts_with("effect 1: note -> *1\r\n$100000\r\n"));
  EXPECT_EQ(seen_.replies[1], 0U);
  answer(value.substr(50000) + "\r\n+a\r\n");
  EXPECT_EQ(seen_.replies[1], 2U);
  EXPECT_EQ(seen_.bytes[1], "*1\r\n$100000\r\n" + value + "\r\n+a\r\n");
}

TEST_F(UpstreamTest, PassesOnTheNoteInPlaceOfAReplacedReply) {
  connect();
  upstream_.expect(kOne, "X\r\n", Expect::replaced, 1, "-ERR sluice: no\r\n");
  answer("-ERR unknown command\r\n", 1);
  EXPECT_EQ(seen_.bytes[1], "-ERR sluice: no\r\n");
  EXPECT_EQ(seen_.replies[1], 1U);
}

TEST_F(UpstreamTest, HandsOverAHeldReplyAndPassesNothingOn) {
  connect();
  upstream_.expect(kOne, "X\r\n", Expect::held, 1, "keys");
  answer("*2\r\n:1\r\n:2\r\n", 1);
  EXPECT_THAT(seen_.events, ElementsAre("held 1: keys -> *2\r\n:1\r\n:2\r\n"));
  EXPECT_EQ(seen_.bytes[1], "");
  EXPECT_EQ(seen_.replies[1], 0U);
}

TEST_F(UpstreamTest, KeepsDroppedRepliesToItself) {
  connect();
  upstream_.expect({}, "X\r\nY\r\n", Expect::dropped, 2, {});
  upstream_.forward(kOne, "A\r\n", 1);
  answer("+x\r\n-ERR y\r\n+a\r\n", 1);
  EXPECT_EQ(seen_.bytes[1], "+a\r\n");
  EXPECT_THAT(seen_.events, IsEmpty());
}

// --- Guarded commands ----------------------------------------------------------------------------------------------

class GuardedTest : public UpstreamTest {
 protected:
  void send_guarded() { upstream_.expect(kOne, "MULTI HDEL DEL EXEC\r\n", Expect::guarded, 4, "1"); }
};

TEST_F(GuardedTest, PassesOnTheCommandsReplyOutOfExec) {
  connect();
  send_guarded();
  answer("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:0\r\n:1\r\n", 1);
  EXPECT_EQ(seen_.bytes[1], ":1\r\n");
  EXPECT_EQ(seen_.replies[1], 1U);
}

TEST_F(GuardedTest, LeavesOutAsManyRepliesAsThereAreGuards) {
  connect();
  upstream_.expect(kOne, "...\r\n", Expect::guarded, 5, "2");
  answer("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n:0\r\n-WRONGTYPE x\r\n*2\r\n$1\r\na\r\n$-1\r\n");
  EXPECT_EQ(seen_.bytes[1], "*2\r\n$1\r\na\r\n$-1\r\n");
}

TEST_F(GuardedTest, PassesOnTheErrorOfACommandThatWasNotQueued) {
  connect();
  send_guarded();
  answer("+OK\r\n+QUEUED\r\n-NOPERM no del\r\n-EXECABORT discarded\r\n", 1);
  EXPECT_EQ(seen_.bytes[1], "-NOPERM no del\r\n");
  EXPECT_EQ(seen_.replies[1], 1U);
}

TEST_F(GuardedTest, ARefusalDoesNotReachTheNextCommand) {
  connect();
  send_guarded();
  send_guarded();
  answer("+OK\r\n+QUEUED\r\n-NOPERM x\r\n-EXECABORT y\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:0\r\n:1\r\n");
  EXPECT_EQ(seen_.bytes[1], "-NOPERM x\r\n:1\r\n");
}

TEST_F(GuardedTest, ARefusalIsForgottenWithTheConnectionItCameOn) {
  connect();
  send_guarded();
  answer("+OK\r\n+QUEUED\r\n-NOPERM old\r\n");
  peer_.hang_up();
  ASSERT_TRUE(goes_down());
  connect();
  send_guarded();
  answer("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:0\r\n:1\r\n");
  EXPECT_EQ(seen_.bytes[1], ":1\r\n");
}

TEST_F(GuardedTest, PassesOnTheErrorOfExecItself) {
  connect();
  send_guarded();
  answer("+OK\r\n-NOPERM no guard\r\n+QUEUED\r\n-EXECABORT discarded\r\n");
  EXPECT_EQ(seen_.bytes[1], "-EXECABORT discarded\r\n");
}

TEST_F(GuardedTest, PassesOnTheErrorOfTheCommandInsideExec) {
  connect();
  send_guarded();
  answer("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:0\r\n-WRONGTYPE x\r\n", 1);
  EXPECT_EQ(seen_.bytes[1], "-WRONGTYPE x\r\n");
}

// A client in RESP3 that listens to what happens to keys hears of its own doings inside EXEC's reply.
TEST_F(GuardedTest, PassesOnMessagesAmongTheRepliesInsideExec) {
  const std::string message = ">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$3\r\ndel\r\n";
  connect();
  upstream_.bind(kOne);
  upstream_.inspect(true);
  upstream_.expect(kOne, "...\r\n", Expect::guarded, 5, "2");
  upstream_.forward(kOne, "PING\r\n", 1);
  answer("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n" + message + ":0\r\n" + message + ":0\r\n" + message +
         "*1\r\n" + message + "$1\r\na\r\n" + message + "+PONG\r\n");
  EXPECT_EQ(seen_.bytes[1], message + message + message + "*1\r\n" + message + "$1\r\na\r\n" + message + "+PONG\r\n");
  EXPECT_EQ(seen_.replies[1], 2U);
  EXPECT_EQ(upstream_.outstanding(), 0U);
}

// --- Cuts ------------------------------------------------------------------------------------------------------------

class Cut : public UpstreamTest, public ::testing::WithParamInterface<std::size_t> {};

TEST_P(Cut, ChangesNothingAboutWhoGetsWhat) {
  connect();
  upstream_.bind(kOne);
  upstream_.forward(kOne, "A\r\n", 1);
  upstream_.expect_read(kOne, "GET a\r\n", 3, 1, Absence::nil);
  upstream_.expect_read(kOne, "GET b\r\n", 3, 1, Absence::nil);
  upstream_.expect(kOne, "SELECT\r\n", Expect::effect, 1, "SELECT\r\n");
  upstream_.expect(kOne, "DEL\r\n", Expect::guarded, 4, "1");
  upstream_.expect(kOne, "NO\r\n", Expect::replaced, 1, "-no\r\n");
  upstream_.expect(kOne, "EVAL\r\n", Expect::held, 1, "keys");
  upstream_.expect({}, "FENCE\r\n", Expect::dropped, 1, {});
  upstream_.forward(kOne, "Z\r\n", 1);
  const std::string replies =
      "%1\r\n+k\r\n*2\r\n:1\r\n$3\r\na\r\n\r\n"
      ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
      "$2\r\nok\r\n$-1\r\n+OK\r\n"
      "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:0\r\n:1\r\n"
      "-ERR unknown\r\n*1\r\n+e\r\n:0\r\n=5\r\ntxt:z\r\n";
  const std::size_t at = GetParam() % replies.size();
  answer(replies.substr(0, at));
  answer(replies.substr(at));
  EXPECT_EQ(seen_.bytes[1],
            "%1\r\n+k\r\n*2\r\n:1\r\n$3\r\na\r\n\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n$2\r\nok\r\n+OK\r\n"
            ":1\r\n-no\r\n=5\r\ntxt:z\r\n");
  EXPECT_EQ(seen_.replies[1], 6U);
  EXPECT_THAT(seen_.events, ElementsAre("hit: 3", "miss 1: 3 GET b\r\n", "effect 1: SELECT\r\n -> +OK\r\n",
                                        "held 1: keys -> *1\r\n+e\r\n"));
  EXPECT_EQ(upstream_.outstanding(), 0U);
  EXPECT_FALSE(seen_.down);
}

INSTANTIATE_TEST_SUITE_P(Upstream, Cut, ::testing::Range<std::size_t>(0, 160));

// --- Subscriptions, pushes -------------------------------------------------------------------------------------------

class Subscribed : public UpstreamTest, public ::testing::WithParamInterface<char> {
 protected:
  std::string array(const std::string& rest) { return GetParam() + rest; }
};

TEST_P(Subscribed, ConfirmationsAreCountedAndMessagesAnswerNothing) {
  connect();
  upstream_.bind(kOne);
  upstream_.inspect(GetParam() == '>');
  upstream_.expect(kOne, "SUBSCRIBE a b\r\n", Expect::confirm, 2, {});
  const std::string first = array("3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
  const std::string message = array("3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n");
  const std::string second = array("3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n");
  answer(first + message, 1);
  EXPECT_EQ(seen_.replies[1], 0U);
  answer(second + message, 1);
  EXPECT_EQ(seen_.bytes[1], first + message + second + message);
  EXPECT_EQ(seen_.replies[1], 1U);
  EXPECT_THAT(seen_.events, ElementsAre("subscription 1: subscribe 1", "subscription 1: subscribe 2"));
}

INSTANTIATE_TEST_SUITE_P(Upstream, Subscribed, ::testing::Values('*', '>'));

TEST_F(UpstreamTest, ARefusedSubscribeIsOneReply) {
  connect();
  upstream_.bind(kOne);
  upstream_.inspect(false);
  upstream_.expect(kOne, "SUBSCRIBE a b\r\n", Expect::confirm, 2, {});
  upstream_.forward(kOne, "PING\r\n", 1);
  answer("-NOPERM no\r\n+PONG\r\n");
  EXPECT_EQ(seen_.bytes[1], "-NOPERM no\r\n+PONG\r\n");
  EXPECT_EQ(seen_.replies[1], 2U);
  EXPECT_THAT(seen_.events, IsEmpty());
}

TEST_F(UpstreamTest, AnArrayThatIsNoMessageAnswersACommandOfASubscriber) {
  connect();
  upstream_.bind(kOne);
  upstream_.inspect(false);
  upstream_.forward(kOne, "PING\r\n", 1);
  answer("*2\r\n$4\r\npong\r\n$0\r\n\r\n", 1);
  EXPECT_EQ(seen_.bytes[1], "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
  EXPECT_EQ(seen_.replies[1], 1U);
}

// RESP3: messages are pushes; an array answers the command, whatever its elements are.
TEST_F(UpstreamTest, AnArrayThatLooksLikeAMessageAnswersItsCommandInResp3) {
  connect();
  upstream_.bind(kOne);
  upstream_.inspect(true);
  upstream_.forward(kOne, "LRANGE l 0 -1\r\n", 1);
  answer("*2\r\n$7\r\nmessage\r\n$1\r\nx\r\n");
  EXPECT_EQ(seen_.replies[1], 1U);
  EXPECT_EQ(upstream_.outstanding(), 0U);
}

TEST_F(UpstreamTest, OnlyTheFirstElementMakesAMessage) {
  connect();
  upstream_.bind(kOne);
  upstream_.inspect(false);
  upstream_.forward(kOne, "EXEC\r\n", 1);
  answer("*2\r\n:1\r\n$7\r\nmessage\r\n");
  EXPECT_EQ(seen_.replies[1], 1U);
}

TEST_F(UpstreamTest, BytesNobodyAskedForGoToTheClientItBelongsTo) {
  connect();
  upstream_.bind(kTwo);
  answer("+message of a monitor\r\n", 1);
  EXPECT_EQ(seen_.bytes[2], "+message of a monitor\r\n");
  EXPECT_EQ(seen_.replies[2], 0U);
}

TEST_F(UpstreamTest, ARelayPassesOnWhatIsNotEvenAReply) {
  connect();
  upstream_.bind(kTwo);
  upstream_.send_raw("PSYNC\r\n");
  upstream_.relay();
  answer("\n\nnot a reply");
  EXPECT_EQ(seen_.bytes[2], "\n\nnot a reply");
  EXPECT_FALSE(seen_.down);
}

// --- Loss -----------------------------------------------------------------------------------------------------------

TEST_F(UpstreamTest, TellsEveryClientWhoseCommandsWereLostThenThatItIsDown) {
  connect();
  upstream_.forward(kOne, "A\r\n", 1);
  upstream_.expect_read(kTwo, "GET k\r\n", 7, 1, Absence::nil);
  upstream_.expect(kOne, "B\r\n", Expect::effect, 1, "B\r\n");
  run_some(loop_, peer_);
  peer_.hang_up();
  ASSERT_TRUE(goes_down());
  EXPECT_THAT(seen_.events, ElementsAre("lost 1", "read lost 2: 7 GET k\r\n", "lost 1"));
  EXPECT_FALSE(upstream_.usable());
  EXPECT_EQ(upstream_.outstanding(), 0U);
}

TEST_F(UpstreamTest, WhatWasQueuedBeforeItEverConnectedWasNotSent) {
  peer_.stop_listening();
  upstream_.connect();
  upstream_.forward(kOne, "A\r\n", 1);
  upstream_.expect_read(kTwo, "GET k\r\n", 7, 1, Absence::nil);
  ASSERT_TRUE(goes_down());
  EXPECT_THAT(seen_.events, ElementsAre("not sent 1", "read not sent 2: 7 GET k\r\n"));
}

TEST_F(UpstreamTest, BeginsAReplyAnewAfterALossInTheMiddleOfOne) {
  connect();
  upstream_.forward(kOne, "A\r\n", 1);
  upstream_.expect(kOne, "B\r\n", Expect::effect, 1, "B\r\n");
  answer("+a\r\n$10\r\n123");
  peer_.hang_up();
  ASSERT_TRUE(goes_down());
  connect();
  upstream_.forward(kTwo, "C\r\n", 1);
  answer("+c\r\n");
  EXPECT_EQ(seen_.bytes[2], "+c\r\n");
}

TEST_F(UpstreamTest, GivesUpAConnectionThatSendsWhatIsNoReply) {
  connect();
  upstream_.forward(kOne, "A\r\n", 1);
  answer("hello\r\n");
  EXPECT_TRUE(seen_.down);
  EXPECT_THAT(seen_.events, ElementsAre("lost 1"));
  EXPECT_EQ(seen_.why, "Redis sent what is not a reply");
}

TEST_F(UpstreamTest, GivesUpASharedConnectionThatSendsAReplyNobodyWaitsFor) {
  connect();
  answer("+surprise\r\n");
  EXPECT_TRUE(seen_.down);
}

TEST_F(UpstreamTest, GivesUpWhenACapturedReplyIsMalformed) {
  connect();
  upstream_.expect(kOne, "B\r\n", Expect::held, 1, "n");
  answer("*1\r\n$x\r\n", 1);
  EXPECT_TRUE(seen_.down);
  EXPECT_THAT(seen_.events, ElementsAre("held lost: n", "lost 1"));
}

// The user may close the connection during any call.
TEST_F(UpstreamTest, StopsReadingWhenItIsClosedInTheMiddle) {
  class Closer final : public UpstreamUser {
   public:
    Upstream* upstream = nullptr;
    int calls = 0;
    void on_bytes(ClientId, std::string_view) override {
      ++calls;
      upstream->close();
    }
    void on_replies(ClientId, std::uint32_t) override {}
    void on_hit(std::uint32_t, std::uint32_t) override {}
    void on_hits(std::string_view) override {}
    bool on_kept(ClientId, std::size_t) override { return true; }
    void on_again(ClientId, std::string_view) override {}
    void on_miss(ClientId, std::uint32_t, std::string_view, std::string_view) override {}
    void on_read_lost(ClientId, std::uint32_t, std::string_view, bool, const std::string&) override {}
    void on_effect(ClientId, std::string_view, std::string_view) override {}
    void on_held(ClientId, std::string_view, std::string_view) override {}
    void on_held_lost(std::string_view) override {}
    void on_subscription(ClientId, std::string_view, std::int64_t) override {}
    void on_lost(ClientId, bool, const std::string&) override {}
    void on_up(Upstream&) override {}
    void on_ready(Upstream&) override {}
    void on_down(Upstream&, const std::string&) override {}
    void on_uncongested(Upstream&) override {}
  } closer;
  Upstream other(loop_, upstream_at(peer_.endpoint()), closer, sent_);
  closer.upstream = &other;
  other.connect();
  other.forward(kOne, "A\r\n", 1);
  other.expect(kTwo, "B\r\n", Expect::effect, 1, "B\r\n");
  answer("+a\r\n+b\r\n");
  EXPECT_EQ(closer.calls, 1);
}

// --- Congestion -----------------------------------------------------------------------------------------------------

TEST_F(UpstreamTest, IsCongestedUntilEverythingHasReachedTheKernel) {
  connect();
  peer_.pause(true);
  upstream_.forward(kOne, std::string(20UL << 20, 'x'), 1);
  EXPECT_TRUE(upstream_.congested());
  run_some(loop_, peer_);
  EXPECT_TRUE(upstream_.congested());
  EXPECT_THAT(seen_.events, IsEmpty());
  peer_.pause(false);
  EXPECT_TRUE(run_until(loop_, peer_, [&] { return !upstream_.congested(); }));
  EXPECT_THAT(seen_.events, ElementsAre("uncongested"));
}

TEST_F(UpstreamTest, IsCongestedByRunsThatRedisDoesNotAnswer) {
  constexpr int kRuns = 150000;
  connect();
  for (int i = 0; i < kRuns; ++i) {
    EXPECT_FALSE(upstream_.congested());
    upstream_.forward(kOne, "A\r\n", 1);
    upstream_.forward(kTwo, "B\r\n", 1);
    if (i % 10000 == 0) run_some(loop_, peer_);
    if (upstream_.outstanding() > 1UL << 18) break;
  }
  EXPECT_TRUE(upstream_.congested());
  run_some(loop_, peer_);
  EXPECT_THAT(seen_.events, IsEmpty());
  answer("+a\r\n+b\r\n");
  EXPECT_THAT(seen_.events, ElementsAre("uncongested"));
}

TEST_F(UpstreamTest, LeavesRepliesUnreadWhilePaused) {
  connect();
  upstream_.forward(kOne, "A\r\n", 1);
  upstream_.pause_reading();
  answer("+a\r\n");
  EXPECT_EQ(seen_.bytes[1], "");
  upstream_.resume_reading();
  run_some(loop_, peer_);
  EXPECT_EQ(seen_.bytes[1], "+a\r\n");
}

TEST_F(UpstreamTest, ReadsAgainForTheNextClientItBelongsTo) {
  connect();
  upstream_.bind(kOne);
  upstream_.pause_reading();
  upstream_.bind(kTwo);
  upstream_.forward(kTwo, "A\r\n", 1);
  answer("+a\r\n");
  EXPECT_EQ(seen_.bytes[2], "+a\r\n");
}

TEST_F(UpstreamTest, IsNotCongestedByALittle) {
  connect();
  upstream_.forward(kOne, std::string(1UL << 20, 'x'), 1);
  EXPECT_FALSE(upstream_.congested());
}

TEST_F(UpstreamTest, ALossEndsCongestion) {
  connect();
  peer_.pause(true);
  upstream_.forward(kOne, std::string(20UL << 20, 'x'), 1);
  EXPECT_TRUE(upstream_.congested());
  run_some(loop_, peer_);
  peer_.hang_up();
  ASSERT_TRUE(goes_down());
  EXPECT_FALSE(upstream_.congested());
}

}  // namespace
}  // namespace sluice::proxy

// The checker on histories written by hand: good ones pass, and each promise has one that breaks it.
#include "tests/history/checker.h"

#include <gtest/gtest.h>

namespace sluice::history {
namespace {

Time ms(int count) { return Time(count * 1000); }

// Both fields from the same write, or none.
Cells row(const std::string& write) { return write.empty() ? Cells{} : Cells{{"a", write}, {"b", write}}; }

struct Story {
  History history{"key", {"a", "b"}, {}, {}, {}};
  Rules rules{ms(2000), true};

  Operation& add(int client, Kind kind, int invoked, int returned, Cells cells, Outcome outcome = Outcome::ok) {
    Operation operation;
    operation.client = client;
    operation.kind = kind;
    operation.cells = std::move(cells);
    operation.invoked = ms(invoked);
    operation.returned = ms(returned);
    operation.outcome = outcome;
    history.operations.push_back(std::move(operation));
    return history.operations.back();
  }
  Operation& write(int client, int invoked, int returned, const std::string& name, Outcome outcome = Outcome::ok) {
    return add(client, Kind::write, invoked, returned, row(name), outcome);
  }
  Operation& read(int client, int invoked, int returned, const std::string& name) {
    return add(client, Kind::read, invoked, returned, row(name));
  }
  Operation& copy(int client, int invoked, int returned, const std::string& name) {
    return add(client, Kind::copy, invoked, returned, row(name));
  }
  void end(const std::string& name) { history.after = row(name); }

  std::vector<Violation> violations() const { return check(history, rules); }
};

void expect_good(const Story& story) {
  for (const Violation& violation : story.violations()) {
    ADD_FAILURE() << print(violation) << "\n" << print(story.history, violation.operations);
  }
}

void expect_broken(const Story& story, Invariant invariant) {
  const auto violations = story.violations();
  ASSERT_FALSE(violations.empty()) << print(story.history);
  EXPECT_EQ(violations[0].invariant, invariant) << print(violations[0]);
}

TEST(Checker, AnEmptyHistoryIsFine) { expect_good({}); }

TEST(Checker, AReadOfOneFieldTellsOnlyOfThatField) {
  Story story;
  story.write(1, 0, 1, "w1");
  story.add(2, Kind::read, 2, 3, {{"a", "w1"}}).shown = {"a"};
  story.end("w1");
  expect_good(story);
  story.add(2, Kind::read, 4, 5, {}).shown = {"b"};
  expect_broken(story, Invariant::freshness);
}

TEST(Checker, WritesAndReadsInOrderAreFine) {
  Story story;
  story.read(1, 0, 1, "");
  story.write(1, 2, 3, "w1");
  story.read(2, 4, 5, "w1");
  story.copy(3, 4, 5, "w1");
  story.write(2, 6, 9, "w2");
  story.read(1, 7, 8, "w1");  // the write is under way
  story.read(1, 10, 11, "w2");
  story.end("w2");
  expect_good(story);
}

TEST(Checker, ConcurrentWritesMayBeInEitherOrder) {
  for (const char* last : {"w1", "w2"}) {
    Story story;
    story.write(1, 0, 10, "w1");
    story.write(2, 0, 10, "w2");
    story.read(3, 11, 12, last);
    story.end(last);
    expect_good(story);
  }
}

TEST(Checker, TheRowOfTheBeginningIsKnown) {
  Story story;
  story.history.before = row("initial");
  story.read(1, 0, 1, "initial");
  story.end("initial");
  expect_good(story);
}

// --- 1: durable acknowledgement -------------------------------------------------------------------------------------

TEST(Checker, AnAcknowledgedWriteThatSqlLacksIsFound) {
  Story story;
  story.write(1, 0, 1, "w1");
  story.end("");
  expect_broken(story, Invariant::durable_ack);
}

TEST(Checker, AnOlderWriteAtTheEndIsFound) {
  Story story;
  story.write(1, 0, 1, "w1");
  story.write(1, 2, 3, "w2");
  story.end("w1");
  expect_broken(story, Invariant::durable_ack);
}

// --- 2: no phantom --------------------------------------------------------------------------------------------------

TEST(Checker, AValueFromNowhereIsFound) {
  Story read;
  read.read(1, 0, 1, "w9");
  expect_broken(read, Invariant::no_phantom);
  Story stored;
  stored.end("w9");
  expect_broken(stored, Invariant::no_phantom);
}

TEST(Checker, AValueFromTheFutureIsFound) {
  Story story;
  story.read(1, 0, 1, "w1");
  story.write(2, 2, 3, "w1");
  story.end("w1");
  expect_broken(story, Invariant::no_phantom);
}

TEST(Checker, AValueInAFieldThatItWasNotWrittenToIsFound) {
  Story story;
  story.add(1, Kind::write, 0, 1, {{"a", "w1"}});
  story.history.after = {{"b", "w1"}};
  expect_broken(story, Invariant::no_phantom);
}

// --- 3: a definite error has no effect ------------------------------------------------------------------------------

TEST(Checker, ARefusedWriteThatIsSeenIsFound) {
  Story read;
  read.write(1, 0, 1, "w1", Outcome::refused);
  read.read(2, 2, 3, "w1");
  expect_broken(read, Invariant::refusal_has_no_effect);
  Story stored;
  stored.write(1, 0, 1, "w1", Outcome::refused);
  stored.end("w1");
  expect_broken(stored, Invariant::refusal_has_no_effect);
}

TEST(Checker, ARefusedWriteThatNobodySeesIsFine) {
  Story story;
  story.write(1, 0, 1, "w1", Outcome::refused);
  story.read(2, 2, 3, "");
  expect_good(story);
}

// --- 4: unknown outcome ---------------------------------------------------------------------------------------------

TEST(Checker, AWriteOfUnknownOutcomeMayBeThereOrNot) {
  for (const char* last : {"", "w1"}) {
    Story story;
    story.write(1, 0, 1, "w1", Outcome::unknown);
    story.read(2, 5, 6, "");  // it may still come
    story.end(last);
    expect_good(story);
  }
}

TEST(Checker, AWriteOfUnknownOutcomeThatComesBackIsFound) {
  Story story;
  story.write(1, 0, 1, "w1", Outcome::unknown);
  story.read(2, 2, 3, "w1");
  story.write(2, 4, 5, "w2");
  story.read(2, 6, 7, "w1");
  story.end("w1");
  expect_broken(story, Invariant::unknown_at_most_once);
}

TEST(Checker, AWriteOfUnknownOutcomeThatIsThereInPartIsFound) {
  Story story;
  story.write(1, 0, 1, "w1");
  story.write(2, 2, 3, "w2", Outcome::unknown);
  story.history.after = {{"a", "w1"}, {"b", "w2"}};
  expect_broken(story, Invariant::unknown_at_most_once);
}

// --- 5: freshness ---------------------------------------------------------------------------------------------------

TEST(Checker, AReadThatIsOlderThanAnAcknowledgedWriteIsFound) {
  Story story;
  story.write(1, 0, 1, "w1");
  story.write(1, 2, 3, "w2");
  story.read(2, 4, 5, "w1");
  story.end("w2");
  expect_broken(story, Invariant::freshness);
}

TEST(Checker, AnAbsentRowAfterAnAcknowledgedInsertIsFound) {
  Story story;
  story.write(1, 0, 1, "w1");
  story.read(2, 2, 3, "");
  story.end("w1");
  expect_broken(story, Invariant::negative);
}

TEST(Checker, OnlyAWriteThatLostRedisMayBeMissedAndOnlyForTheAllowance) {
  for (const int later : {10, 1999, 2100}) {
    Story story;
    story.rules.strict = false;
    story.write(1, 0, 1, "w1");
    story.write(1, 2, 3, "w2").redis_lost = true;
    story.read(2, later, later + 1, "w1");
    story.end("w2");
    later < 2000 ? expect_good(story) : expect_broken(story, Invariant::freshness);
  }
}

TEST(Checker, AWriteThatIsSeenInTheEndMayBeMissedUntilThen) {
  Story story;
  story.write(1, 0, 1, "w1");
  story.write(1, 2, 3, "w2").in_the_end = true;
  story.read(2, 5000, 5001, "w1");
  story.end("w2");
  expect_good(story);
  EXPECT_TRUE(check_end("key", row("w2"), row("w2")).empty());
  for (const char* seen : {"w1", ""}) EXPECT_EQ(check_end("key", row("w2"), row(seen)).size(), 1u);
  story.end("w1");
  expect_broken(story, Invariant::durable_ack);
}

TEST(Checker, ReadsThatAgreeOnNoOrderOfConcurrentWritesAreFound) {
  Story story;
  story.write(1, 0, 20, "w1");
  story.write(2, 0, 20, "w2");
  story.read(3, 1, 2, "w1");
  story.read(4, 3, 4, "w2");
  story.read(5, 5, 6, "w1");
  story.end("w2");
  expect_broken(story, Invariant::freshness);
}

// A chain: w2 is known to be the later one only because of what another client saw.
TEST(Checker, AStaleReadIsFoundThroughWhatOthersSaw) {
  Story story;
  story.write(1, 0, 10, "w1");
  story.write(2, 0, 10, "w2");
  story.read(3, 1, 2, "w1");
  story.read(3, 3, 4, "w2");
  story.read(4, 12, 13, "w1");
  story.end("w2");
  expect_broken(story, Invariant::freshness);
}

// --- 6: monotone ----------------------------------------------------------------------------------------------------

TEST(Checker, AClientThatGoesBackInTimeIsFound) {
  Story story;
  story.write(1, 0, 1, "w1");
  story.write(1, 2, 20, "w2");  // under way: not a matter of freshness
  story.read(2, 4, 5, "w2");
  story.read(2, 6, 7, "w1");
  story.end("w2");
  expect_broken(story, Invariant::monotone);
}

// --- 8: whole rows --------------------------------------------------------------------------------------------------

TEST(Checker, FieldsOfTwoWritesTogetherAreFound) {
  Story story;
  story.write(1, 0, 10, "w1");
  story.write(2, 0, 10, "w2");
  story.add(3, Kind::read, 5, 6, {{"a", "w1"}, {"b", "w2"}});
  story.end("w2");
  expect_broken(story, Invariant::atomic_row);
}

TEST(Checker, APartOfARowIsFound) {
  Story story;
  story.write(1, 0, 10, "w1");
  story.add(3, Kind::read, 5, 6, {{"a", "w1"}});
  story.end("w1");
  expect_broken(story, Invariant::atomic_row);
}

TEST(Checker, ARowThatWasThereAndIsShownInPartIsFound) {
  Story story;
  story.history.before = row("initial");
  story.add(3, Kind::read, 0, 1, {{"a", "initial"}});
  story.end("initial");
  expect_broken(story, Invariant::atomic_row);
}

TEST(Checker, WritesOfSingleFieldsMix) {
  Story story;
  story.add(1, Kind::write, 0, 1, {{"a", "w1"}});
  story.add(2, Kind::write, 2, 3, {{"b", "w2"}});
  story.add(3, Kind::read, 4, 5, {{"a", "w1"}, {"b", "w2"}});
  story.history.after = {{"a", "w1"}, {"b", "w2"}};
  expect_good(story);
}

// a=w1 was over before b=w4 began.
TEST(Checker, FieldsThatWereNeverThereTogetherAreFound) {
  Story story;
  story.write(1, 0, 1, "w1");
  story.add(1, Kind::write, 2, 3, {{"a", "w2"}});
  story.add(2, Kind::write, 4, 20, {{"b", "w4"}});
  story.add(3, Kind::read, 1, 19, {{"a", "w1"}, {"b", "w4"}});
  story.history.after = {{"a", "w2"}, {"b", "w4"}};
  expect_broken(story, Invariant::atomic_row);
}

// --- 7 and 9: copies ------------------------------------------------------------------------------------------------

TEST(Checker, ACopyThatIsOlderThanAnAcknowledgedWriteIsFound) {
  Story story;
  story.write(1, 0, 1, "w1");
  story.write(1, 2, 3, "w2");
  story.copy(2, 4, 5, "w1");
  story.end("w2");
  expect_broken(story, Invariant::no_stale_fill);
}

TEST(Checker, ACopyThatIsNotItsRowIsFoundInTheEnd) {
  EXPECT_TRUE(check_copy("key", row("w2"), row("w2")).empty());
  EXPECT_TRUE(check_copy("key", row("w2"), {}).empty());
  EXPECT_EQ(check_copy("key", row("w2"), row("w1")).at(0).invariant, Invariant::convergence);
  EXPECT_EQ(check_copy("key", row("w2"), {{"a", "w2"}}).at(0).invariant, Invariant::convergence);
}

}  // namespace
}  // namespace sluice::history

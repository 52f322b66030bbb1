// ReplyQueue: replies leave in the order of the commands, whatever order they come in.
#include "proxy/reply_queue.h"

#include <gtest/gtest.h>

#include "resp/command_table.h"

namespace sluice::proxy {
namespace {

const resp::CommandInfo& command(std::string_view name) { return *resp::find_command(name); }

struct ReplyQueueTest : testing::Test {
  ReplyQueue queue;
  Buffer out;
  std::uint64_t read(std::size_t row = 1) { return queue.open(row, &command("get"), false, false); }
  std::uint64_t write(std::size_t row = 1) { return queue.open(row, &command("set"), true, false); }
  std::string settled() {
    queue.settle(out);
    return std::string(out.view());
  }
};

TEST_F(ReplyQueueTest, AReplyWaitsForTheOneBeforeIt) {
  const auto first = read();
  const auto second = read();
  queue.fill(second, "2", false);
  EXPECT_EQ(settled(), "");
  queue.fill(first, "1", false);
  EXPECT_EQ(settled(), "12");
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.bytes(), 0U);
}

TEST_F(ReplyQueueTest, BytesStayBehindTheSlotTheyCameAfter) {
  const auto first = read();
  queue.append("a");
  const auto second = read();
  queue.append("b");
  EXPECT_EQ(queue.bytes(), 2U);
  queue.fill(first, "1", false);
  EXPECT_EQ(settled(), "1a");
  queue.fill(second, "2", false);
  EXPECT_EQ(settled(), "1a2b");
}

TEST_F(ReplyQueueTest, AMutedSlotGivesNoReplyButKeepsItsPlace) {
  const auto muted = queue.open(1, &command("set"), true, true);
  queue.append("after");
  queue.fill(muted, "+OK", false);
  EXPECT_EQ(settled(), "after");
}

TEST_F(ReplyQueueTest, KnowsWhetherAWriteIsUnderWay) {
  const auto slot = write();
  read();
  EXPECT_TRUE(queue.writing());
  queue.fill(slot, "+OK", false);
  EXPECT_FALSE(queue.writing());
}

TEST_F(ReplyQueueTest, CommandsOnOneRowWaitUnlessBothAreTheSameWrite) {
  const auto slot = write(7);
  EXPECT_TRUE(queue.is_row_busy(7, command("get")));
  EXPECT_TRUE(queue.is_row_busy(7, command("incr")));
  EXPECT_FALSE(queue.is_row_busy(7, command("set")));
  EXPECT_FALSE(queue.is_row_busy(8, command("get")));
  queue.fill(slot, "+OK", false);
  EXPECT_FALSE(queue.is_row_busy(7, command("get")));
  read(9);
  EXPECT_TRUE(queue.is_row_busy(9, command("set")));
}

TEST_F(ReplyQueueTest, ARowIsBusyWhileAnythingOnItIs) {
  EXPECT_FALSE(queue.is_row_busy(7));
  const auto slot = write(7);
  EXPECT_TRUE(queue.is_row_busy(7));
  EXPECT_FALSE(queue.is_row_busy(8));
  queue.fill(slot, "+OK", false);
  EXPECT_FALSE(queue.is_row_busy(7));
  queue.open(ReplyQueue::kEveryRow, nullptr, false, false);
  EXPECT_TRUE(queue.is_row_busy(8));
}

TEST_F(ReplyQueueTest, WhatIsKeptForASlotCountsUntilItIsFilled) {
  const auto slot = read(7);
  EXPECT_TRUE(queue.is_row_busy(7));
  EXPECT_FALSE(queue.is_row_busy(8));
  queue.hold(slot, 100);
  queue.hold(slot, 150);
  EXPECT_EQ(queue.bytes(), 150U);
  queue.fill(slot, "+OK", false);
  EXPECT_EQ(queue.bytes(), 3U);
  EXPECT_FALSE(queue.is_row_busy(7));
  EXPECT_EQ(settled(), "+OK");
  queue.hold(slot, 100);
  EXPECT_EQ(queue.bytes(), 0U);
}

TEST_F(ReplyQueueTest, AReplyThatClosesDropsWhatComesAfterItAndLaterFillsAreIgnored) {
  const auto first = read();
  queue.append("a");
  const auto second = write();
  queue.fill(first, "1", true);
  EXPECT_TRUE(queue.settle(out));
  EXPECT_EQ(out.view(), "1");
  EXPECT_TRUE(queue.empty());
  queue.fill(second, "2", false);
  EXPECT_FALSE(queue.writing());
  EXPECT_EQ(settled(), "1");
}

TEST_F(ReplyQueueTest, ACommandOnSeveralRowsOverlapsWithNothing) {
  write(1);
  EXPECT_TRUE(queue.is_row_busy(ReplyQueue::kEveryRow, command("mset")));
  const auto several = queue.open(ReplyQueue::kEveryRow, &command("mset"), true, false);
  EXPECT_TRUE(queue.is_row_busy(2, command("set")));
  queue.fill(several, "+OK", false);
  EXPECT_FALSE(queue.is_row_busy(2, command("set")));
}

}  // namespace
}  // namespace sluice::proxy

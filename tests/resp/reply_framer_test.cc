// Tests of ReplyFramer: every type, splits, what it tells of a reply, malformed input.
#include "resp/reply_framer.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framed_replies.h"
#include "heap_count.h"

namespace sluice::resp {
namespace {

using ::testing::ElementsAre;
using Status = ReplyFramer::Status;

FramedReplies frame(std::string_view stream) { return frame_replies(stream, stream.size()); }

// One reply of each kind, both protocol versions.
const std::vector<std::string> kReplies = {
    "+OK\r\n",
    "+\r\n",
    "+PONG\r\n",
    "+a line\rwith\nodd bytes\r\r\n",
    "-ERR unknown command\r\n",
    ":0\r\n",
    ":-9223372036854775808\r\n",
    "$-1\r\n",
    "$0\r\n\r\n",
    "$5\r\na\r\nbc\r\n",
    "$12\r\nhello, world\r\n",
    "*-1\r\n",
    "*0\r\n",
    "*1\r\n*1\r\n*0\r\n",
    "*3\r\n$3\r\nfoo\r\n$-1\r\n:5\r\n",
    "*2\r\n*2\r\n+a\r\n*-1\r\n*1\r\n$2\r\nxy\r\n",
    "_\r\n",
    ",1.5e10\r\n",
    ",inf\r\n",
    "#t\r\n",
    "(3492890328409238509324850943850943825024385\r\n",
    "!21\r\nSYNTAX invalid syntax\r\n",
    "=15\r\ntxt:Some string\r\n",
    "%2\r\n+first\r\n:1\r\n+second\r\n*2\r\n:2\r\n_\r\n",
    "%0\r\n",
    "~2\r\n#t\r\n#f\r\n",
    "~0\r\n",
    ">3\r\n+message\r\n$2\r\nch\r\n$3\r\nfoo\r\n",
    "|1\r\n+ttl\r\n:3600\r\n:5\r\n",
    "|1\r\n+key-popularity\r\n%2\r\n$1\r\na\r\n,0.19\r\n$1\r\nb\r\n,0.01\r\n*2\r\n:1\r\n:2\r\n",
    "|0\r\n|1\r\n*0\r\n*0\r\n$1\r\nx\r\n",
    "*2\r\n|1\r\n+ttl\r\n:1\r\n:1\r\n:2\r\n",
    "*3\r\n+a\r\n>3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\nm\r\n:1\r\n+b\r\n",
    "*1\r\n>0\r\n:1\r\n",
    "%1\r\n>1\r\n+m\r\n+k\r\n>2\r\n+m\r\n*1\r\n+n\r\n*1\r\n>1\r\n+m\r\n+v\r\n",
};

TEST(ReplyFramer, FindsTheEndOfEveryType) {
  for (const std::string& reply : kReplies) {
    EXPECT_THAT(sizes_of(frame(reply)), ElementsAre(reply.size())) << reply;
    EXPECT_THAT(sizes_of(frame(reply + "+OK\r\n")), ElementsAre(reply.size(), 5U)) << reply;
  }
}

TEST(ReplyFramer, FindsTheSameAtEveryByteSplit) {
  std::string stream;
  for (const std::string& reply : kReplies) stream += reply;
  stream += "*2\r\n$10\r\nunfin";
  const FramedReplies whole = frame(stream);
  ASSERT_EQ(whole.replies.size(), kReplies.size());
  EXPECT_EQ(whole.rest, 14U);
  for (std::size_t piece = 1; piece < stream.size(); ++piece) EXPECT_EQ(frame_replies(stream, piece), whole) << piece;
}

TEST(ReplyFramer, WantsMoreUntilTheLastByte) {
  for (const std::string& reply : kReplies) {
    for (std::size_t size = 0; size < reply.size(); ++size) {
      ReplyFramer framer;
      const ReplyFramer::Progress head = framer.feed(reply.substr(0, size));
      ASSERT_EQ(head.status, Status::more) << reply << size;
      ASSERT_EQ(head.size, size) << reply;
      ASSERT_EQ(framer.idle(), size == 0) << reply;
      const ReplyFramer::Progress tail = framer.feed(reply.substr(size));
      ASSERT_EQ(tail.status, Status::complete) << reply << size;
      ASSERT_EQ(tail.size, reply.size() - size) << reply;
      ASSERT_TRUE(framer.idle());
    }
  }
}

ReplyFramer after(std::string_view bytes) {
  ReplyFramer framer;
  framer.feed(bytes);
  return framer;
}

TEST(ReplyFramer, KnowsTheTypeFromTheFirstByte) {
  for (const char type : std::string("+-:$*_,#!=(%~>")) {
    const ReplyFramer framer = after(std::string(1, type));
    EXPECT_EQ(framer.type(), type);
    EXPECT_FALSE(framer.header_done());
    EXPECT_EQ(framer.is_push(), type == '>');
    EXPECT_EQ(framer.is_error(), type == '-' || type == '!');
  }
}

TEST(ReplyFramer, KnowsNothingBeforeTheFirstByte) {
  const ReplyFramer framer = after("");
  EXPECT_TRUE(framer.idle());
  EXPECT_EQ(framer.type(), '\0');
  EXPECT_FALSE(framer.header_done());
}

TEST(ReplyFramer, IsDoneWithTheHeaderAfterTheFirstLine) {
  EXPECT_FALSE(after("$10").header_done());
  EXPECT_FALSE(after("$10\r").header_done());
  EXPECT_TRUE(after("$10\r\n").header_done());
  EXPECT_TRUE(after("*2\r\n").header_done());
  EXPECT_FALSE(after("+OK\r").header_done());
  EXPECT_TRUE(after("+OK\r\n").header_done());
}

TEST(ReplyFramer, LooksThroughAttributes) {
  const std::string attribute = "|2\r\n+a\r\n*0\r\n$1\r\nb\r\n*-1\r\n";
  for (std::size_t size = 1; size <= attribute.size(); ++size) {
    const ReplyFramer framer = after(attribute.substr(0, size));
    EXPECT_EQ(framer.type(), '\0') << size;
    EXPECT_FALSE(framer.header_done() || framer.is_null() || framer.is_empty()) << size;
  }
  EXPECT_EQ(after(attribute + ">").type(), '>');
  EXPECT_TRUE(after(attribute + "$-1\r\n").is_null());
}

TEST(ReplyFramer, DoesNotCountAPushInsideAReply) {
  const std::string push = ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n";
  const std::string array = "*2\r\n" + push + "+a\r\n" + push + ":1\r\n";
  EXPECT_THAT(sizes_of(frame(array + push + "+OK\r\n")), ElementsAre(array.size(), push.size(), 5U));
  EXPECT_EQ(after("*2\r\n" + push).type(), '*');
  EXPECT_FALSE(after("*2\r\n" + push).idle());
}

TEST(ReplyFramer, TellsNullAndEmptyOfTheReplyItself) {
  for (const char* null : {"$-1\r\n", "*-1\r\n", "_\r\n"}) {
    EXPECT_TRUE(after(null).is_null()) << null;
    EXPECT_FALSE(after(null).is_empty()) << null;
  }
  for (const char* empty : {"*0\r\n", "%0\r\n", "~0\r\n", "$0\r\n"}) {
    EXPECT_TRUE(after(empty).is_empty()) << empty;
    EXPECT_FALSE(after(empty).is_null()) << empty;
  }
  for (const char* neither : {"*1\r\n*0\r\n", "*1\r\n$-1\r\n", "$1\r\n0\r\n", ":0\r\n", ":-1\r\n", ">0\r\n", "+\r\n"}) {
    EXPECT_FALSE(after(neither).is_null()) << neither;
    EXPECT_FALSE(after(neither).is_empty()) << neither;
  }
}

TEST(ReplyFramer, ForgetsTheReplyBefore) {
  ReplyFramer framer;
  framer.feed("$-1\r\n");
  framer.feed("$");
  EXPECT_FALSE(framer.is_null());
  EXPECT_FALSE(framer.header_done());
}

TEST(ReplyFramer, RefusesWhatIsNotResp) {
  for (const std::string bad :
       {"OK\r\n",    "\r\n",       " +OK\r\n", "$\r\n",   "$x\r\n",  "$+1\r\n", "$01\r\n",
        "$-2\r\n",   "$-11\r\n",   "$--1\r\n", "$-0\r\n", "$1 \r\n", "$1\rx",   "$1\n",
        "$1\r\nabc", "$1\r\na\rb", "$0\r\nx",  "*x\r\n",  "*-2\r\n", "*01\r\n", "%-1\r\n",
        "~-1\r\n",   ">-1\r\n",    "|-1\r\n",  "!-1\r\n", "=-1\r\n", "*1\r\nx", "*1\r\n*2\r\n:1\r\nx"}) {
    EXPECT_TRUE(frame(bad).malformed) << bad;
    EXPECT_EQ(frame_replies(bad, 1), frame(bad)) << bad;
  }
}

TEST(ReplyFramer, RefusesStreamedTypes) {
  for (const std::string bad : {"$?\r\n", "*?\r\n", "%?\r\n", ";4\r\n", ".\r\n"})
    EXPECT_TRUE(frame(bad).malformed) << bad;
}

TEST(ReplyFramer, RefusesLengthsBeyondReason) {
  const std::string deep = [] {
    std::string stream;
    for (int i = 0; i < 100; ++i) stream += "%4294967296\r\n";
    return stream;
  }();
  EXPECT_FALSE(frame(deep).malformed);
  for (const std::string bad : {"*4294967297\r\n", "%99999999999\r\n", "*9223372036854775807\r\n",
                                "$9223372036854775807\r\n", "$99999999999999999999999\r\n"})
    EXPECT_TRUE(frame(bad).malformed) << bad;
}

TEST(ReplyFramer, StaysMalformed) {
  ReplyFramer framer;
  ASSERT_EQ(framer.feed("?").status, Status::malformed);
  EXPECT_EQ(framer.feed("+OK\r\n").status, Status::malformed);
}

TEST(ReplyFramer, NestingCostsNoMemory) {
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "*1\r\n";
  deep += ":1\r\n";
  const std::size_t before = heap_allocations();
  ReplyFramer framer;
  const ReplyFramer::Progress progress = framer.feed(deep);
  EXPECT_EQ(heap_allocations(), before);
  EXPECT_EQ(progress.status, Status::complete);
  EXPECT_EQ(progress.size, deep.size());
}

TEST(ReplyFramer, CountsBulksBeyondFourGigabytes) {
  ReplyFramer framer;
  const std::string mebibyte(1 << 20, 'x');
  ASSERT_EQ(framer.feed("$5368709120\r\n").status, Status::more);
  for (int i = 0; i < 5120; ++i) ASSERT_EQ(framer.feed(mebibyte).status, Status::more);
  EXPECT_EQ(framer.feed("\r").status, Status::more);
  EXPECT_EQ(framer.feed("\n+").status, Status::complete);
}

}  // namespace
}  // namespace sluice::resp

// Tests of CommandParser: arrays, inline lines, limits, splits, memory.
#include "resp/command_parser.h"

#include <algorithm>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "heap_count.h"
#include "parsed_commands.h"
#include "resp/encode.h"

namespace sluice::resp {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Args = std::vector<std::string>;
using Status = CommandParser::Status;
using namespace std::string_literals;

std::vector<Args> parse(std::string_view stream) { return args_of(parse_commands(stream, stream.size())); }

std::string error_of(std::string_view stream, CommandLimits limits = {}) {
  return parse_commands(stream, stream.size(), limits).error;
}

TEST(CommandParser, FindsTheArgumentsOfAnArray) {
  EXPECT_THAT(parse("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nbc\r\n"), ElementsAre(Args{"SET", "k", "a\r\nbc"}));
}

TEST(CommandParser, FindsPipelinedCommandsOneByOne) {
  const std::string stream = "*1\r\n$4\r\nPING\r\nGET a\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n";
  EXPECT_THAT(parse(stream), ElementsAre(Args{"PING"}, Args{"GET", "a"}, Args{"GET", ""}));
}

TEST(CommandParser, GivesTheBytesOfEachCommand) {
  const ParsedCommands parsed = parse_commands("*1\r\n$4\r\nPING\r\n\r\n  echo  'x' \r\n", 100);
  ASSERT_EQ(parsed.commands.size(), 2U);
  EXPECT_EQ(parsed.commands[0].wire, "*1\r\n$4\r\nPING\r\n");
  EXPECT_FALSE(parsed.commands[0].is_inline);
  EXPECT_EQ(parsed.skipped, "\r\n");
  EXPECT_EQ(parsed.commands[1].wire, "  echo  'x' \r\n");
  EXPECT_TRUE(parsed.commands[1].is_inline);
}

TEST(CommandParser, ArgumentsOfAnArrayPointIntoTheInput) {
  const std::string input = "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
  CommandParser parser;
  Command command;
  ASSERT_EQ(parser.next(input, command), Status::command);
  EXPECT_EQ(command.args[1].data(), input.data() + 17);
  EXPECT_EQ(command.wire.data(), input.data());
}

TEST(CommandParser, FindsTheSameAtEveryByteSplit) {
  const std::string stream =
      "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello\r\nworld\r\n*0\r\n*-1\r\nPING\r\n\r\n"
      "SET \"a \\x41\\n\" "
      "'it\\'s'\n*1\r\n$0\r\n\r\n*12\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n"
      "6\r\n$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n$2\r\n10\r\n$2\r\n11\r\n$2\r\n12\r\n*2\r\n$3\r\nGET\r\n$4\r\nunfi";
  const ParsedCommands whole = parse_commands(stream, stream.size());
  ASSERT_EQ(whole.commands.size(), 5U);
  ASSERT_EQ(whole.rest, "*2\r\n$3\r\nGET\r\n$4\r\nunfi");
  for (std::size_t piece = 1; piece < stream.size(); ++piece) EXPECT_EQ(parse_commands(stream, piece), whole) << piece;
}

TEST(CommandParser, FindsTheSameForBothHalvesOfEverySplit) {
  const std::string stream = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nhello\r\nworld\r\n";
  for (std::size_t split = 0; split < stream.size(); ++split) {
    CommandParser parser;
    Command command;
    const std::string first = stream.substr(0, split);
    ASSERT_EQ(parser.next(first, command), Status::incomplete) << split;
    ASSERT_EQ(parser.next(first, command), Status::incomplete) << "nothing new at " << split;
    ASSERT_EQ(parser.next(stream, command), Status::command) << split;
    EXPECT_THAT(command.args, ElementsAre("SET", "k", "hello\r\nworld")) << split;
  }
}

TEST(CommandParser, SkipsArraysWithoutElementsAndEmptyLines) {
  for (const std::string skip : {"*0\r\n", "*-1\r\n", "*-7\r\n", "\r\n", "\n", " \t\v\f\r\n"}) {
    const ParsedCommands parsed = parse_commands(skip + "PING\r\n", 100);
    EXPECT_EQ(parsed.skipped, skip);
    EXPECT_THAT(args_of(parsed), ElementsAre(Args{"PING"})) << skip;
  }
}

TEST(CommandParser, IsIdleOnlyBetweenCommands) {
  CommandParser parser;
  Command command;
  EXPECT_TRUE(parser.idle());
  parser.next("", command);
  EXPECT_TRUE(parser.idle());
  parser.next("*", command);
  EXPECT_FALSE(parser.idle());
  parser.next("*1\r\n$4\r\nPING\r\n", command);
  EXPECT_TRUE(parser.idle());
}

TEST(CommandParser, TellsHowManyBytesTheBulkStillNeeds) {
  CommandParser parser;
  Command command;
  parser.next("*2\r\n$3\r\nGET\r\n$100", command);
  EXPECT_EQ(parser.bytes_missing(), 0U);
  parser.next("*2\r\n$3\r\nGET\r\n$1000\r\nabcd", command);
  EXPECT_EQ(parser.bytes_missing(), 998U);
  parser.next("*2\r\n$3\r\nGET\r\n$1000\r\n" + std::string(1002, 'x'), command);
  EXPECT_EQ(parser.bytes_missing(), 0U);
}

// Redis does not look at the bytes where it expects line ends after a CR or a bulk.
TEST(CommandParser, TakesAnyBytesForTheLineEndsThatRedisDoesNotCheck) {
  EXPECT_THAT(parse("*1\rX$4\rYPINGab"), ElementsAre(Args{"PING"}));
}

TEST(CommandParser, InlineEndsAtLineFeedWithOrWithoutCarriageReturn) {
  EXPECT_THAT(parse("GET a\nGET b\r\n"), ElementsAre(Args{"GET", "a"}, Args{"GET", "b"}));
}

struct InlineCase {
  std::string line;
  Args args;
};

TEST(CommandParser, SplitsInlineLinesAsRedisDoes) {
  const InlineCase cases[] = {
      {R"(set "a b" 'c d')", {"set", "a b", "c d"}},
      {R"("\x41\x7a\xFf\xfg\x1")",
       {"Az\xff"
        "xfgx1"}},
      {R"("\n\r\t\b\a\\\"\q")", {"\n\r\t\b\a\\\"q"}},
      {R"('\n\'\\x')", {"\\n'\\\\x"}},
      {R"(a"b c"'')", {}},
      {R"(a"b c" d'e f')", {"ab c", "de f"}},
      {R"("" '')", {"", ""}},
      {"  a \t b\v\fc  ", {"a", "b\v\fc"}},
      {"\v\fa", {"a"}},
      {"a\rb", {"a", "b"}},
      {"\xc3\xa9t\xe9", {"\xc3\xa9t\xe9"}},
  };
  for (const InlineCase& one : cases) {
    const ParsedCommands parsed = parse_commands(one.line + "\r\n", 100);
    if (one.args.empty()) {
      EXPECT_EQ(parsed.error, "Protocol error: unbalanced quotes in request") << one.line;
    } else {
      EXPECT_THAT(args_of(parsed), ElementsAre(one.args)) << one.line;
    }
  }
}

TEST(CommandParser, ReportsUnbalancedQuotes) {
  for (const char* line : {"\"abc", "'abc", "\"abc\"x", "'abc'\"", "\"abc\\\"", "a\""})
    EXPECT_EQ(error_of(line + "\r\n"s), "Protocol error: unbalanced quotes in request") << line;
}

TEST(CommandParser, ReportsTheArrayLengthThatIsNoNumber) {
  for (const char* size : {"", "+1", "01", "1 ", " 1", "-0", "1x", "-", "2147483648", "99999999999999999999", "$1"})
    EXPECT_EQ(error_of("*"s + size + "\r\n"), "Protocol error: invalid multibulk length") << size;
}

TEST(CommandParser, ReportsTheBulkLengthThatIsNoNumber) {
  for (const char* size : {"", "-1", "+1", "01", "1 ", "00", "9223372036854775808", "x"})
    EXPECT_EQ(error_of("*1\r\n$"s + size + "\r\n"), "Protocol error: invalid bulk length") << size;
}

TEST(CommandParser, ReportsTheBulkThatIsTooLong) {
  EXPECT_EQ(error_of("*1\r\n$536870912\r\n"), "");
  EXPECT_EQ(error_of("*1\r\n$536870913\r\n"), "Protocol error: invalid bulk length");
  EXPECT_EQ(error_of("*1\r\n$11\r\n", {.bulk_bytes_max = 10}), "Protocol error: invalid bulk length");
}

TEST(CommandParser, ReportsWhatStandsWhereABulkShould) {
  EXPECT_EQ(error_of("*1\r\n:4\r\n"), "Protocol error: expected '$', got ':'");
  EXPECT_EQ(error_of("*1\r\n\r\n"), "Protocol error: expected '$', got ' '");
  EXPECT_EQ(error_of("*1\r\nPING"), "") << "judged only when the line is complete";
}

TEST(CommandParser, ReportsLinesThatAreTooLong) {
  const std::string fits(65536, '1');
  const std::string too_long(65537, '1');
  EXPECT_EQ(error_of(fits), "");
  EXPECT_EQ(error_of(too_long), "Protocol error: too big inline request");
  EXPECT_EQ(error_of("*" + fits), "Protocol error: too big mbulk count string");
  EXPECT_EQ(error_of("*1\r\n$" + fits), "Protocol error: too big bulk count string");
  EXPECT_EQ(error_of("*1\r\n$" + fits.substr(1)), "");
}

TEST(CommandParser, JudgesLongLinesTheSameHoweverTheyAreSplit) {
  const std::string line = "ECHO " + std::string(65532, 'x') + "\r\n";
  EXPECT_EQ(parse_commands(line, line.size()), parse_commands(line, 1000));
  EXPECT_EQ(error_of(line), "Protocol error: too big inline request");
}

// Redis looks for line ends with strchr.
TEST(CommandParser, NeverFindsALineEndBehindANulByte) {
  for (const std::string& start : {"GET\0a\r\n"s, "*\0001\r\n"s, "*1\r\n$\0004\r\nPING\r\n"s}) {
    EXPECT_THAT(parse(start), IsEmpty());
    EXPECT_EQ(error_of(start), "");
    EXPECT_NE(error_of(start + std::string(65537, '\n')), "");
  }
}

TEST(CommandParser, HoldsUnauthenticatedClientsToSmallCommands) {
  const CommandLimits limits{.authenticated = false};
  EXPECT_EQ(error_of("*10\r\n", limits), "");
  EXPECT_EQ(error_of("*11\r\n", limits), "Protocol error: unauthenticated multibulk length");
  EXPECT_EQ(error_of("*1\r\n$16384\r\n", limits), "");
  EXPECT_EQ(error_of("*1\r\n$16385\r\n", limits), "Protocol error: unauthenticated bulk length");
}

TEST(CommandParser, LiftsTheLimitsOnceAuthenticated) {
  CommandParser parser({.authenticated = false});
  parser.set_authenticated(true);
  Command command;
  EXPECT_EQ(parser.next("*11\r\n$16385\r\n", command), Status::incomplete);
}

TEST(CommandParser, StaysInErrorForGood) {
  CommandParser parser;
  Command command;
  ASSERT_EQ(parser.next("*x\r\n", command), Status::error);
  EXPECT_EQ(parser.next("PING\r\n", command), Status::error);
  EXPECT_EQ(parser.error(), "Protocol error: invalid multibulk length");
}

std::string mset(std::size_t args) {
  std::string stream;
  append_array_header(stream, args);
  append_bulk(stream, "MSET");
  for (std::size_t i = 1; i < args; ++i) append_bulk(stream, std::to_string(i));
  return stream;
}

TEST(CommandParser, FindsAMillionArgumentsThatArriveInManyReads) {
  const std::string stream = mset(1'000'000);
  CommandParser parser;
  Command command;
  std::size_t reads = 0;
  Status status = Status::incomplete;
  for (std::size_t size = 0; status == Status::incomplete; ++reads) {
    size = std::min(size + 65536, stream.size());
    status = parser.next(std::string_view(stream).substr(0, size), command);
  }
  ASSERT_EQ(status, Status::command);
  EXPECT_GT(reads, 100U);
  EXPECT_EQ(command.args.size(), 1'000'000U);
  EXPECT_EQ(command.args.back(), "999999");
  EXPECT_EQ(command.wire.size(), stream.size());
}

TEST(CommandParser, DoesNotReadAgainWhatItHasUnderstood) {
  const std::string stream = mset(1000);
  CommandParser parser;
  Command command;
  for (std::size_t size = 100; size < stream.size(); size += 100) {
    // Only the argument that was cut off, at most 12 bytes, may be looked at again.
    const std::size_t garbage = size - std::min<std::size_t>(size, 112);
    const std::string input = std::string(garbage, '!') + stream.substr(garbage, size - garbage);
    ASSERT_EQ(parser.next(input, command), Status::incomplete) << size;
  }
  EXPECT_EQ(parser.next(stream, command), Status::command);
}

TEST(CommandParser, StreamedCommandsEndWhereBufferedOnesDo) {
  for (const std::string& stream :
       {"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nbc\r\nPING\r\n*1\r\n$4\r\nPING\r\n"s,
        "*4\r\n$4\r\nMSET\r\n$0\r\n\r\n$0\r\n\r\n$11\r\nhello world\r\n*0\r\n*2\r\n$3\r\nGET\r\n$1\r\nk"s,
        "*3\r\n$3\r\nSET\r\n$1\r\nkxx$2\r\nvvxx*1\r\n$4\r\nPING\r\n"s, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n!1\r\nv\r\n"s,
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$99999999999\r\n"s, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$-1\r\n"s}) {
    const ParsedCommands buffered = parse_commands(stream, stream.size());
    for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
      EXPECT_EQ(parse_commands(stream, piece, {}, true), buffered) << piece << " of " << stream;
    }
  }
}

TEST(CommandParser, StreamsWithoutHoldingWhatItHasPassedOn) {
  const std::string stream = mset(100'000);
  const std::size_t before = heap_bytes();
  CommandParser parser;
  Command command;
  ASSERT_EQ(parser.next(std::string_view(stream).substr(0, 1000), command), Status::incomplete);
  EXPECT_EQ(parser.argument(stream, 0), "MSET");
  EXPECT_EQ(parser.argument(stream, 1), "1");
  EXPECT_EQ(parser.argument(stream, 900), std::nullopt);
  parser.stream();
  std::size_t passed = 0;
  for (std::size_t size = 1000; passed < stream.size(); size = std::min(size + 1000, stream.size())) {
    ASSERT_EQ(parser.next(std::string_view(stream).substr(passed, size - passed), command), Status::part);
    passed += parser.skipped();
    EXPECT_GT(passed + 20, size);
    ASSERT_LE(heap_bytes(), before + std::size_t{32} * 1024);
  }
  EXPECT_TRUE(parser.idle());
}

TEST(CommandParser, TellsHowManyBytesTheStreamedBulkStillNeeds) {
  CommandParser parser;
  Command command;
  const std::string start = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\nabc";
  ASSERT_EQ(parser.next(start, command), Status::incomplete);
  parser.stream();
  ASSERT_EQ(parser.next(start, command), Status::part);
  EXPECT_EQ(parser.skipped(), start.size());
  EXPECT_EQ(parser.bytes_missing(), 999U);
  ASSERT_EQ(parser.next("", command), Status::incomplete);
}

TEST(CommandParser, AllocatesNothingInTheSteadyState) {
  const std::string stream = mset(20);
  CommandParser parser;
  Command command;
  ASSERT_EQ(parser.next(stream, command), Status::command);
  const std::size_t before = heap_allocations();
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(parser.next(stream, command), Status::command);
    ASSERT_EQ(parser.next("", command), Status::incomplete);
  }
  EXPECT_EQ(heap_allocations(), before);
}

TEST(CommandParser, HoldsLittleMemoryAfterSmallCommands) {
  const std::size_t before = heap_bytes();
  CommandParser parser;
  Command command;
  EXPECT_EQ(heap_bytes(), before);
  ASSERT_EQ(parser.next("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", command), Status::command);
  ASSERT_EQ(parser.next("", command), Status::incomplete);
  EXPECT_LE(heap_bytes(), before + 150);
}

TEST(CommandParser, GivesBackTheMemoryOfAVeryLargeCommand) {
  const std::string stream = mset(100'000);
  const std::string quoted = "ECHO \"" + std::string(60'000, 'x') + "\"\n";
  const std::size_t before = heap_bytes();
  CommandParser parser;
  Command command;
  ASSERT_EQ(parser.next(stream.substr(0, stream.size() / 2), command), Status::incomplete);
  ASSERT_EQ(parser.next(stream, command), Status::command);
  ASSERT_EQ(parser.next(quoted, command), Status::command);
  EXPECT_GT(heap_bytes(), before + 2048);
  ASSERT_EQ(parser.next("", command), Status::incomplete);
  EXPECT_LE(heap_bytes(), before + 2048);
}

TEST(CommandParser, ReservesNothingForAnArrayThatOnlyClaimsToBeLarge) {
  const std::size_t before = heap_bytes();
  CommandParser parser;
  Command command;
  ASSERT_EQ(parser.next("*2147483647\r\n", command), Status::incomplete);
  EXPECT_LE(heap_bytes(), before + std::size_t{32} * 1024);
}

}  // namespace
}  // namespace sluice::resp

// Tests of the command table: lookup, arity, and the key positions that need a look at the arguments.
#include "resp/command_table.h"

#include <algorithm>
#include <iterator>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::resp {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> keys_of(const std::string& line) {
  std::istringstream words(line);
  const std::vector<std::string> args{std::istream_iterator<std::string>(words), {}};
  std::vector<std::string_view> views;
  std::transform(args.begin(), args.end(), std::back_inserter(views),
                 [](const std::string& arg) { return arg == "''" ? std::string_view() : std::string_view(arg); });
  std::vector<std::uint32_t> found{99};
  find_keys(*find_command(args[0]), Command{.wire = {}, .args = views}, found);
  std::vector<std::string> keys;
  std::transform(found.begin(), found.end(), std::back_inserter(keys), [&](std::uint32_t at) { return args.at(at); });
  return keys;
}

TEST(CommandTable, FindsEveryCommandInAnyCase) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(CommandId::count); ++i) {
    const CommandInfo& info = command_info(static_cast<CommandId>(i));
    std::string name(info.name);
    EXPECT_EQ(static_cast<std::size_t>(info.id), i) << name;
    EXPECT_EQ(find_command(name), &info);
    for (std::size_t c = 0; c < name.size(); c += 2) name[c] = static_cast<char>(std::toupper(name[c]));
    EXPECT_EQ(find_command(name), &info) << name;
  }
}

TEST(CommandTable, DoesNotKnowOtherNames) {
  for (const char* name : {"", "ge", "gett", "get ", "hget|x", "restore_asking", "config|get", "FT.SEARCH", "sluice",
                           "zrevrangebyscorezrevrangebyscore"})
    EXPECT_EQ(find_command(name), nullptr) << name;
  EXPECT_EQ(find_command(std::string_view("get\0", 4)), nullptr);
}

TEST(CommandTable, ChecksTheNumberOfArguments) {
  const CommandInfo& get = command_info(CommandId::get);
  EXPECT_FALSE(get.arity_fits(1));
  EXPECT_TRUE(get.arity_fits(2));
  EXPECT_FALSE(get.arity_fits(3));
  const CommandInfo& set = command_info(CommandId::set);
  EXPECT_FALSE(set.arity_fits(2));
  EXPECT_TRUE(set.arity_fits(3));
  EXPECT_TRUE(set.arity_fits(9));
}

TEST(CommandTable, KnowsWhatACommandIsAbout) {
  EXPECT_TRUE(command_info(CommandId::set).has(flag::write));
  EXPECT_FALSE(command_info(CommandId::set).has(flag::readonly));
  EXPECT_TRUE(command_info(CommandId::blpop).has(flag::blocking));
  EXPECT_TRUE(command_info(CommandId::wait).has(flag::blocking));
  EXPECT_TRUE(command_info(CommandId::subscribe).has(flag::pubsub));
  EXPECT_TRUE(command_info(CommandId::exec).has(flag::transaction));
  EXPECT_TRUE(command_info(CommandId::fcall).has(flag::scripting));
  EXPECT_TRUE(command_info(CommandId::hello).has(flag::no_auth));
}

TEST(CommandTable, MergesTheFlagsOfSubcommands) {
  EXPECT_TRUE(command_info(CommandId::client).has(flag::connection));
  EXPECT_TRUE(command_info(CommandId::config).has(flag::admin));
  EXPECT_TRUE(command_info(CommandId::xgroup).has(flag::write));
  EXPECT_TRUE(command_info(CommandId::xgroup).has(flag::movable_keys));
  EXPECT_TRUE(command_info(CommandId::object).has(flag::readonly));
  EXPECT_FALSE(command_info(CommandId::function).has(flag::readonly));
}

TEST(FindKeys, OfFixedPositions) {
  EXPECT_THAT(keys_of("GET a"), ElementsAre("a"));
  EXPECT_THAT(keys_of("PFMERGE a"), ElementsAre("a"));
  EXPECT_THAT(keys_of("MSET a 1 b 2"), ElementsAre("a", "b"));
  EXPECT_THAT(keys_of("BLPOP a b 0"), ElementsAre("a", "b"));
  EXPECT_THAT(keys_of("BITOP AND d a b"), ElementsAre("d", "a", "b"));
  EXPECT_THAT(keys_of("PING"), IsEmpty());
}

TEST(FindKeys, NoneWhenTheNumberOfArgumentsIsWrong) {
  EXPECT_THAT(keys_of("GET"), IsEmpty());
  EXPECT_THAT(keys_of("GET a b"), IsEmpty());
}

TEST(FindKeys, NoneForChannels) {
  EXPECT_THAT(keys_of("SSUBSCRIBE a b"), IsEmpty());
  EXPECT_THAT(keys_of("SPUBLISH a b"), IsEmpty());
}

TEST(FindKeys, OfCountedKeys) {
  EXPECT_THAT(keys_of("EVAL s 2 a b c"), ElementsAre("a", "b"));
  EXPECT_THAT(keys_of("EVAL s 0 a"), IsEmpty());
  EXPECT_THAT(keys_of("EVAL s 3 a b"), IsEmpty());
  EXPECT_THAT(keys_of("EVAL s -1 a b"), IsEmpty());
  EXPECT_THAT(keys_of("EVAL s 2x a b"), IsEmpty());
  EXPECT_THAT(keys_of("EVAL s 02 a b"), IsEmpty());
  EXPECT_THAT(keys_of("EVAL s 9223372036854775807 a b"), IsEmpty());
  EXPECT_THAT(keys_of("ZINTERSTORE d 2 a b WEIGHTS 1 2"), ElementsAre("d", "a", "b"));
  EXPECT_THAT(keys_of("ZINTERSTORE d 0 a"), IsEmpty());
  EXPECT_THAT(keys_of("BLMPOP 0 1 a LEFT"), ElementsAre("a"));
}

TEST(FindKeys, OfStreams) {
  EXPECT_THAT(keys_of("XREAD COUNT 2 STREAMS a b 0 0"), ElementsAre("a", "b"));
  EXPECT_THAT(keys_of("XREADGROUP GROUP streams c STREAMS a >"), ElementsAre("a"));
  EXPECT_THAT(keys_of("XREAD STREAMS a b 0"), IsEmpty());
  EXPECT_THAT(keys_of("XREAD COUNT 2 a 0"), IsEmpty());
  EXPECT_THAT(keys_of("XREAD junk STREAMS a 0"), IsEmpty());
}

TEST(FindKeys, OfADestinationBehindAnOption) {
  EXPECT_THAT(keys_of("SORT a"), ElementsAre("a"));
  EXPECT_THAT(keys_of("SORT a BY store LIMIT 0 1 GET store store d"), ElementsAre("a", "d"));
  EXPECT_THAT(keys_of("SORT a STORE x STORE d"), ElementsAre("a", "d"));
  EXPECT_THAT(keys_of("SORT a STORE limit STORE d"), ElementsAre("a", "d"));
  EXPECT_THAT(keys_of("GEORADIUS a 1 2 3 km STORE d"), ElementsAre("a", "d"));
  EXPECT_THAT(keys_of("GEORADIUSBYMEMBER a m 3 km COUNT 2 STOREDIST d"), ElementsAre("a", "d"));
}

TEST(FindKeys, OfMigrate) {
  EXPECT_THAT(keys_of("MIGRATE h 1 a 0 5 COPY"), ElementsAre("a"));
  EXPECT_THAT(keys_of("MIGRATE h 1 '' 0 5 AUTH keys KEYS a b"), ElementsAre("a", "b"));
  EXPECT_THAT(keys_of("MIGRATE h 1 x 0 5 KEYS a b"), IsEmpty());
}

TEST(FindKeys, OfSubcommands) {
  EXPECT_THAT(keys_of("XGROUP CREATE s g $"), ElementsAre("s"));
  EXPECT_THAT(keys_of("OBJECT HELP"), IsEmpty());
  EXPECT_THAT(keys_of("OBJECT encoding a"), ElementsAre("a"));
  EXPECT_THAT(keys_of("MEMORY DOCTOR"), IsEmpty());
  EXPECT_THAT(keys_of("MEMORY USAGE a SAMPLES 0"), ElementsAre("a"));
}

}  // namespace
}  // namespace sluice::resp

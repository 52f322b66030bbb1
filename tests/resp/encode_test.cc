// Tests of encoding: the bytes of each type, and what a parser makes of an encoded command.
#include "resp/encode.h"

#include <array>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parsed_commands.h"

namespace sluice::resp {
namespace {

template <typename... Args>
std::string encoded(void (*append)(std::string&, Args...), std::type_identity_t<Args>... args) {
  std::string out = "before ";
  append(out, args...);
  return out.substr(7);
}

TEST(Encode, WritesStatusesAndErrorsAsLines) {
  EXPECT_EQ(encoded(append_status, "OK"), "+OK\r\n");
  EXPECT_EQ(encoded(append_error, "ERR no"), "-ERR no\r\n");
}

TEST(Encode, KeepsALineOneLine) {
  EXPECT_EQ(encoded(append_error, "ERR a\r\nb\n"), "-ERR a  b \r\n");
  EXPECT_EQ(encoded(append_status, "a\rb"), "+a b\r\n");
}

TEST(Encode, WritesIntegersOfAnySize) {
  EXPECT_EQ(encoded(append_integer, 0), ":0\r\n");
  EXPECT_EQ(encoded(append_integer, std::numeric_limits<std::int64_t>::max()), ":9223372036854775807\r\n");
  EXPECT_EQ(encoded(append_integer, std::numeric_limits<std::int64_t>::min()), ":-9223372036854775808\r\n");
}

TEST(Encode, WritesBulksOfAnyBytes) {
  EXPECT_EQ(encoded(append_bulk, ""), "$0\r\n\r\n");
  EXPECT_EQ(encoded(append_bulk, std::string_view("a\0\r\n", 4)), std::string("$4\r\na\0\r\n\r\n", 10));
}

TEST(Encode, WritesNilAndMapsInTheClientsVersion) {
  EXPECT_EQ(encoded(append_nil, Version::resp2), "$-1\r\n");
  EXPECT_EQ(encoded(append_nil, Version::resp3), "_\r\n");
  EXPECT_EQ(encoded(append_map_header, 3, Version::resp2), "*6\r\n");
  EXPECT_EQ(encoded(append_map_header, 3, Version::resp3), "%3\r\n");
  EXPECT_EQ(encoded(append_array_header, 0), "*0\r\n");
}

TEST(Encode, WritesCommandsThatTheParserReads) {
  const std::vector<std::string> args{"SET", "k\r\n", std::string(1000, 'x'), ""};
  std::string from_strings;
  append_command(from_strings, std::span<const std::string>(args));
  std::string from_views;
  append_command(from_views, std::vector<std::string_view>(args.begin(), args.end()));
  EXPECT_EQ(from_strings, from_views);
  EXPECT_THAT(args_of(parse_commands(from_strings, 7)), testing::ElementsAre(args));
}

}  // namespace
}  // namespace sluice::resp

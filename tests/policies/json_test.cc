// JSON objects: those that are read without the library are read as the library reads them.
#include "policies/json.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::policies::json {
namespace {

using testing::ElementsAre;
using Type = Member::Type;

// A member that is nested makes the library read the whole.
constexpr std::string_view kNested = R"("nested":[])";

std::vector<Member> read(const std::string& text) {
  auto members = parse_object(text);
  EXPECT_TRUE(members) << text << ": " << members.why();
  return members ? *std::move(members) : std::vector<Member>{};
}

TEST(Json, PlainMembersHaveTheirTypesAndTexts) {
  EXPECT_THAT(read(R"({"s":"text","i":-12,"t":true,"f":false,"n":null,"e":""})"),
              ElementsAre(Member{"s", Type::string, "text"}, Member{"i", Type::integer, "-12"},
                          Member{"t", Type::boolean, "true"}, Member{"f", Type::boolean, "false"},
                          Member{"n", Type::null, "null"}, Member{"e", Type::string, ""}));
  EXPECT_THAT(read(" {\t\"a\" :\r\n1 , \"b\":\"x\" } "),
              ElementsAre(Member{"a", Type::integer, "1"}, Member{"b", Type::string, "x"}));
  EXPECT_TRUE(read("{}").empty());
  EXPECT_TRUE(read(" { } ").empty());
}

TEST(Json, PlainValuesReadAsTheLibraryReadsThem) {
  for (const std::string value : {"0",
                                  "7",
                                  "-7",
                                  "-0",
                                  "10",
                                  "123456789012345678",
                                  "-123456789012345678",
                                  "1234567890123456789",
                                  "9223372036854775808",
                                  "-9223372036854775809",
                                  "1.5",
                                  "1e3",
                                  "0.0",
                                  "true",
                                  "false",
                                  "null",
                                  R"("")",
                                  R"("a b")",
                                  R"("é€😀")",
                                  R"("a\"b")",
                                  R"("\u0041")",
                                  "\"\x7f\"",
                                  R"("/")"}) {
    const auto plain = read("{\"v\":" + value + "}");
    const auto library = read("{\"v\":" + value + "," + std::string(kNested) + "}");
    ASSERT_EQ(library.size(), 2U);
    EXPECT_THAT(plain, ElementsAre(library[0])) << value;
  }
}

TEST(Json, WhatIsNotValidIsRefused) {
  for (const std::string text : {"",
                                 "{",
                                 "}",
                                 "{\"a\"",
                                 "{\"a\":",
                                 "{\"a\":1",
                                 "{\"a\":1,",
                                 "{\"a\":1,}",
                                 "{,}",
                                 "{\"a\":1}x",
                                 "{\"a\":1}{}",
                                 "{\"a\" 1}",
                                 "{a:1}",
                                 "{\"a\":01}",
                                 "{\"a\":-}",
                                 "{\"a\":+1}",
                                 "{\"a\":-01}",
                                 "{\"a\":1.}",
                                 "{\"a\":1 2}",
                                 "{\"a\":tru}",
                                 "{\"a\":truex}",
                                 "{\"a\":nul}",
                                 "{\"a\":\"x}",
                                 "{\"a\":\"\x01\"}",
                                 "{\"a\":\"\xff\"}",
                                 "{\"\xc3\":1}",
                                 "{\"a\":\"\\x\"}",
                                 "{\"a\":1;\"b\":2}"}) {
    EXPECT_FALSE(parse_object(text)) << text;
  }
}

TEST(Json, AStringThatIsNotUtf8IsNotSkippedForWhatFollowsIt) {
  EXPECT_FALSE(parse_object("{\"a\":\"\xff\"0}"));
  EXPECT_FALSE(parse_object("{\"a\":\"\xff\"null}"));
}

TEST(Json, ANameMayComeOnlyOnce) {
  for (const int count : {1, 5, 31, 32, 33, 200}) {
    std::string text = "{";
    for (int i = 0; i < count; ++i) text.append("\"m").append(std::to_string(i)).append("\":1,");
    EXPECT_EQ(read(text + "\"last\":2}").size(), static_cast<std::size_t>(count) + 1);
    EXPECT_EQ(parse_object(text + "\"m0\":2}").why(), "a name appears twice in the JSON object");
  }
}

}  // namespace
}  // namespace sluice::policies::json

// Log: one line per message, in text or JSON.
#include "proxy/log.h"

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
using testing::MatchesRegex;

class Log : public testing::Test {
 protected:
  ~Log() override {
    set_level(Level::info);
    set_format(LogFormat::text);
  }
  template <class Write>
  static std::string captured(Write write) {
    testing::internal::CaptureStdout();
    write();
    return testing::internal::GetCapturedStdout();
  }
};

constexpr const char* kTime = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z";

TEST_F(Log, TextIsTimeLevelAndMessage) {
  const std::string line = captured([] { log(Level::warning, "it is late"); });
  EXPECT_THAT(line, MatchesRegex(std::string(kTime) + " warning it is late\n"));
}

TEST_F(Log, JsonIsOneObjectPerLine) {
  set_format(LogFormat::json);
  const std::string line = captured([] { log(Level::error, "a \"quoted\" \\ word"); });
  EXPECT_THAT(line, MatchesRegex("\\{\"time\":\"" + std::string(kTime) +
                                 R"(","level":"error","message":"a \\"quoted\\" \\\\ word"\})" + "\n"));
}

TEST_F(Log, MessagesBelowTheLevelAreDropped) {
  EXPECT_EQ(captured([] { log(Level::debug, "x"); }), "");
  set_level(Level::error);
  EXPECT_EQ(captured([] { log(Level::warning, "x"); }), "");
  EXPECT_THAT(captured([] { log(Level::error, "x"); }), HasSubstr("x"));
  set_level(Level::debug);
  EXPECT_THAT(captured([] { log(Level::debug, "x"); }), HasSubstr("debug x"));
}

TEST_F(Log, AMessageCannotLookLikeTwo) {
  EXPECT_THAT(captured([] { log(Level::info, "a\nb\r\x01"); }), HasSubstr("a\\nb\\r\\u0001\n"));
}

TEST_F(Log, FormatCharactersAreNotInterpreted) {
  EXPECT_THAT(captured([] { log(Level::info, "{} %v {0}"); }), HasSubstr("info {} %v {0}\n"));
}

TEST_F(Log, LinesOfThreadsDoNotMix) {
  const std::string text = captured([] {
    std::vector<std::thread> threads;
    for (const char c : {'a', 'b', 'c', 'd'}) {
      threads.emplace_back([c] {
        for (int i = 0; i < 100; ++i) log(Level::info, std::string(50, c));
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 400);
  for (const char c : {'a', 'b', 'c', 'd'}) EXPECT_THAT(text, HasSubstr("info " + std::string(50, c) + "\n"));
}

TEST_F(Log, ARepeatedWarningIsWrittenOnce) {
  const std::string text = captured([] {
    for (int i = 0; i < 3; ++i) log_rarely(Level::warning, "log_test", "again", seconds(3600));
  });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

class RateLimited : public testing::Test {
 protected:
  RateLimit limit;
  const RateLimit::TimePoint start{seconds(1000)};
};

TEST_F(RateLimited, TheFirstIsAllowed) { EXPECT_EQ(limit.allow("a", start, seconds(10)), 0U); }

TEST_F(RateLimited, TheNextIsRefusedUntilTheTimeIsOver) {
  limit.allow("a", start, seconds(10));
  EXPECT_EQ(limit.allow("a", start + seconds(9), seconds(10)), std::nullopt);
  EXPECT_EQ(limit.allow("a", start + seconds(10), seconds(10)), 1U);
}

TEST_F(RateLimited, TheRefusedAreCountedFromTheLastAllowed) {
  for (const int at : {0, 1, 2}) limit.allow("a", start + seconds(at), seconds(10));
  EXPECT_EQ(limit.allow("a", start + seconds(20), seconds(10)), 2U);
  EXPECT_EQ(limit.allow("a", start + seconds(40), seconds(10)), 0U);
}

TEST_F(RateLimited, KeysDoNotAffectEachOther) {
  limit.allow("a", start, seconds(10));
  EXPECT_EQ(limit.allow("b", start, seconds(10)), 0U);
}

TEST(JsonEscaped, LeavesUtf8Alone) {
  EXPECT_EQ(json_escaped("gr\xc3\xbc\xc3\x9f \xf0\x9f\x8d\x8e"), "gr\xc3\xbc\xc3\x9f \xf0\x9f\x8d\x8e");
}

TEST(JsonEscaped, ReplacesWhatIsNotUtf8) {
  const std::string replaced = "\xef\xbf\xbd";
  EXPECT_EQ(json_escaped("a\xff"), "a" + replaced);
  EXPECT_EQ(json_escaped("\xc3"), replaced);                                               // cut short
  EXPECT_EQ(json_escaped("\xc0\x80"), replaced + replaced);                                // overlong
  EXPECT_EQ(json_escaped("\xe0\x80\x80"), replaced + replaced + replaced);                 // overlong
  EXPECT_EQ(json_escaped("\xed\xa0\x80"), replaced + replaced + replaced);                 // a surrogate
  EXPECT_EQ(json_escaped("\xf4\x90\x80\x80"), replaced + replaced + replaced + replaced);  // above U+10FFFF
}

TEST(JsonEscaped, EscapesControlCharacters) {
  EXPECT_EQ(json_escaped(std::string_view("\n\t\r\0\x1f\x7f", 6)), "\\n\\t\\r\\u0000\\u001f\\u007f");
}

}  // namespace
}  // namespace sluice::proxy

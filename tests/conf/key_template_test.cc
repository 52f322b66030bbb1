// KeyTemplate: what templates match, what they refuse, and when two of them meet.
#include "conf/key_template.h"

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::conf {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

KeyTemplate make(std::string_view text) {
  KeyTemplate::ParseError error;
  auto parsed = KeyTemplate::parse(text, error);
  EXPECT_TRUE(parsed) << text << ": " << error.message;
  return parsed.value_or(KeyTemplate());
}

std::string error_of(std::string_view text) {
  KeyTemplate::ParseError error;
  return KeyTemplate::parse(text, error) ? "accepted" : error.message + " @" + std::to_string(error.offset);
}

bool matches(std::string_view text, std::string_view key) {
  std::vector<std::string_view> values;
  return make(text).match(key, values);
}

std::vector<std::string> values_of(std::string_view text, std::string_view key) {
  std::vector<std::string_view> values;
  if (!make(text).match(key, values)) return {"no match"};
  return {values.begin(), values.end()};
}

bool overlap(std::string_view a, std::string_view b) {
  const bool forth = make(a).overlaps(make(b));
  EXPECT_EQ(forth, make(b).overlaps(make(a))) << a << " and " << b;
  return forth;
}

TEST(KeyTemplate, TextTakesOneOrMoreBytesButNoColon) {
  EXPECT_THAT(values_of("user:{id}", "user:John Doe"), ElementsAre("John Doe"));
  EXPECT_THAT(values_of("user:{id}", std::string_view("user:\0\xff", 7)), ElementsAre(std::string("\0\xff", 2)));
  EXPECT_FALSE(matches("user:{id}", "user:"));
  EXPECT_FALSE(matches("user:{id}", "user:a:b"));
  EXPECT_FALSE(matches("user:{id}", "usr:a"));
  EXPECT_FALSE(matches("user:{id}", ""));
}

TEST(KeyTemplate, IntegersAreCanonical) {
  for (const char* key : {"n:0", "n:7", "n:-7", "n:9223372036854775807", "n:-9223372036854775808"}) {
    EXPECT_TRUE(matches("n:{id:int}", key)) << key;
  }
  for (const char* key : {"n:", "n:-", "n:007", "n:-0", "n:-07", "n:+7", "n: 7", "n:7 ", "n:7.0", "n:0x7", "n:1e3",
                          "n:9223372036854775808", "n:-9223372036854775809", "n:10000000000000000000",
                          "n:18446744073709551617", "n:7:"}) {
    EXPECT_FALSE(matches("n:{id:int}", key)) << key;
  }
}

TEST(KeyTemplate, UuidsAreLowerCase) {
  EXPECT_TRUE(matches("u:{id:uuid}", "u:0123abcd-4567-89ef-0123-456789abcdef"));
  EXPECT_FALSE(matches("u:{id:uuid}", "u:0123ABCD-4567-89ef-0123-456789abcdef"));
  EXPECT_FALSE(matches("u:{id:uuid}", "u:0123abcd-4567-89ef-0123-456789abcde"));
  EXPECT_FALSE(matches("u:{id:uuid}", "u:0123abcd-4567-89ef-0123-456789abcdef0"));
  EXPECT_FALSE(matches("u:{id:uuid}", "u:0123abcd04567-89ef-0123-456789abcdef"));
}

TEST(KeyTemplate, TheRestTakesColonsToo) {
  EXPECT_THAT(values_of("path:{name*}", "path:a:b:{c}"), ElementsAre("a:b:{c}"));
  EXPECT_FALSE(matches("path:{name*}", "path:"));
}

TEST(KeyTemplate, BindsSeveralPlaceholdersInOrder) {
  EXPECT_THAT(values_of("order:{tenant}:{id:int}", "order:acme:12"), ElementsAre("acme", "12"));
  EXPECT_THAT(values_of("o:{a:int}-{b}:lines:{c*}", "o:-1-x-y:lines:p:q"), ElementsAre("-1", "x-y", "p:q"));
  EXPECT_THAT(values_of("o:{a}x{b:int}", "o:qx1x2"), ElementsAre("qx1", "2"));
  EXPECT_THAT(values_of("o:{a:uuid}{b:int}", "o:0123abcd-4567-89ef-0123-456789abcdef-5"),
              ElementsAre("0123abcd-4567-89ef-0123-456789abcdef", "-5"));
  EXPECT_FALSE(matches("order:{tenant}:{id:int}", "order:acme:x"));
  EXPECT_FALSE(matches("order:{tenant}:{id:int}", "order:12"));
}

TEST(KeyTemplate, DoubledBracesAreLiteral) {
  const KeyTemplate alias = make("__{{users:{id}}}");
  EXPECT_EQ(alias.prefix(), "__{users:");
  EXPECT_THAT(values_of("__{{users:{id}}}", "__{users:7}"), ElementsAre("7"));
  EXPECT_THAT(values_of("__{{users:{id}}}", "__{users:7}}"), ElementsAre("7}"));
  EXPECT_FALSE(matches("__{{users:{id}}}", "__{users:7"));
  EXPECT_FALSE(matches("__{{users:{id}}}", "__{users:}"));
}

TEST(KeyTemplate, TellsItsPrefixAndPlaceholders) {
  const KeyTemplate key = make("order:{tenant}:{id:int}");
  EXPECT_EQ(key.text(), "order:{tenant}:{id:int}");
  EXPECT_EQ(key.prefix(), "order:");
  EXPECT_THAT(key.placeholders(), ElementsAre("tenant", "id"));
  EXPECT_EQ(key.format({"acme", "12"}), "order:acme:12");
}

TEST(KeyTemplate, WithoutAPlaceholderIsOneKey) {
  EXPECT_THAT(values_of("q:departments", "q:departments"), ElementsAre());
  EXPECT_FALSE(matches("q:departments", "q:departments:"));
  EXPECT_FALSE(matches("q:departments", "q:department"));
  EXPECT_EQ(make("q:departments").format({}), "q:departments");
  EXPECT_TRUE(overlap("q:departments", "q:departments"));
  EXPECT_TRUE(overlap("q:departments", "q:{name}"));
  EXPECT_FALSE(overlap("q:departments", "q:department"));
}

TEST(KeyTemplate, MatchReplacesTheValuesOfTheKeyBefore) {
  std::vector<std::string_view> values{"old"};
  EXPECT_FALSE(make("user:{id}").match("order:1", values));
  EXPECT_THAT(values, ElementsAre());
  values.assign({"old"});
  EXPECT_TRUE(make("user:{id}").match("user:1", values));
  EXPECT_THAT(values, ElementsAre("1"));
}

TEST(KeyTemplate, AFailedReadingLeavesNoValuesBehind) {
  std::vector<std::string_view> values;
  EXPECT_FALSE(make("o:{a}:{b:int}").match("o:x:y", values));
  EXPECT_THAT(values, ElementsAre());
}

TEST(KeyTemplate, MatchAllocatesNothingBeyondTheCapacity) {
  std::vector<std::string_view> values;
  values.reserve(2);
  const auto* before = values.data();
  EXPECT_TRUE(make("order:{tenant}:{id:int}").match("order:acme:12", values));
  EXPECT_EQ(values.data(), before);
}

TEST(KeyTemplate, LongKeysThatDoNotMatchAreRefusedQuickly) {
  std::string key = "o:";
  for (int i = 0; i < 200000; ++i) key += "x1-";
  EXPECT_FALSE(matches("o:{a}-{b:uuid}", key));
  EXPECT_FALSE(matches("o:{a}x{b:int}x{c:int}:{d}", key));
}

TEST(KeyTemplate, RefusesWhatIsNoTemplate) {
  EXPECT_THAT(error_of(""), HasSubstr("must begin with a literal prefix"));
  EXPECT_THAT(error_of("{id}"), HasSubstr("must begin with a literal prefix"));
  EXPECT_THAT(error_of("user:{id"), HasSubstr("'{' without '}'"));
  EXPECT_THAT(error_of("user:{id"), HasSubstr("@5"));
  EXPECT_THAT(error_of("user:id}"), HasSubstr("'}' without '{'"));
  EXPECT_THAT(error_of("user:{}"), HasSubstr("needs the name of a column"));
  EXPECT_THAT(error_of("user:{*}"), HasSubstr("needs the name of a column"));
  EXPECT_THAT(error_of("user:{a*b}"), HasSubstr("cannot be the name"));
  EXPECT_THAT(error_of("user:{id:integer}"), HasSubstr("unknown type 'integer'"));
  EXPECT_THAT(error_of("user:{id:int*}"), HasSubstr("unknown type 'int*'"));
  EXPECT_THAT(error_of("user:{id*}:x"), HasSubstr("must come last"));
  EXPECT_THAT(error_of("user:{id}:{id}"), HasSubstr("{id} is there twice"));
  EXPECT_THAT(error_of("__sluice:{id}"), HasSubstr("sluice's own"));
}

TEST(KeyTemplate, RefusesKeysThatReadTwoWays) {
  for (const char* text : {"o:{a}{b}", "o:{a}-{b}", "o:{a}-{b:int}", "o:{a:int}{b:int}", "o:{a:int}0{b}", "o:{a}.{b*}",
                           "o:{a}-{b:uuid}-{c}"}) {
    EXPECT_THAT(error_of(text), HasSubstr("two ways")) << text;
  }
  for (const char* text :
       {"o:{a}:{b}", "o:{a}-:-{b}", "o:{a:int}-{b}", "o:{a}-{b:uuid}", "o:{a:uuid}{b}", "o:{a}:{b*}"}) {
    EXPECT_EQ(error_of(text), "accepted") << text;
  }
}

TEST(KeyTemplate, OverlapsWhenOneKeyFitsBoth) {
  EXPECT_TRUE(overlap("x:{a}", "x:{b}"));
  EXPECT_TRUE(overlap("x:{a:int}", "x:{b}"));
  EXPECT_TRUE(overlap("x:{a:uuid}", "x:{b}"));
  EXPECT_TRUE(overlap("x:{a}:{b}", "x:{a*}"));
  EXPECT_TRUE(overlap("x:{a}:y", "x:z:{a}"));
  EXPECT_TRUE(overlap("x:{a:int}", "x:922337203685477580{b:int}"));
}

TEST(KeyTemplate, DoesNotOverlapWhenNoKeyFitsBoth) {
  EXPECT_FALSE(overlap("x:{a:int}", "x:{b:uuid}"));
  EXPECT_FALSE(overlap("x:{a}", "x:{a}:{b}"));
  EXPECT_FALSE(overlap("x:{a}", "y:{a}"));
  EXPECT_FALSE(overlap("x:{a}:y", "x:{a}:z"));
  EXPECT_FALSE(overlap("x:{a:int}", "x:0{b:int}"));
  EXPECT_FALSE(overlap("x:{a:int}", "x:9223372036854775808{b*}"));
  EXPECT_FALSE(overlap("x:{a:int}",
                       "x:-9223372036854775809"
                       "{b*}"));
}

// Random templates and keys made from few symbols, so that they meet often.
class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(engine_); }
  template <class Choices>
  std::string pick(const Choices& choices) {
    return choices[below(choices.size())];
  }
  std::string text() {
    static const std::vector<std::string> parts{"{a}", "{b:int}", "{c:uuid}", ":",  "-",   "x",
                                                "1",   "0",       "{{",       "}}", "{d*}"};
    std::string result = "p:";
    for (std::size_t i = 0, n = 1 + below(5); i < n; ++i) result += pick(parts);
    return result;
  }
  std::string key() {
    static const std::vector<std::string> parts{":",
                                                "-",
                                                "x",
                                                "1",
                                                "0",
                                                "{",
                                                "}",
                                                "9223372036854775807",
                                                "92233720368547758",
                                                "00000000-0000-0000-0000-000000000000",
                                                "1-"};
    std::string result = "p:";
    for (std::size_t i = 0, n = below(7); i < n; ++i) result += pick(parts);
    return result;
  }

 private:
  std::mt19937 engine_;
};

// Making a template costs far more than matching, so the random tests share some.
std::vector<KeyTemplate> some_templates() {
  Random random(1);
  std::vector<KeyTemplate> templates;
  while (templates.size() < 60) {
    KeyTemplate::ParseError error;
    if (auto parsed = KeyTemplate::parse(random.text(), error)) templates.push_back(std::move(*parsed));
  }
  return templates;
}

TEST(KeyTemplate, FormatOfAMatchIsTheKeyAgain) {
  Random random(2);
  int matched = 0;
  for (const KeyTemplate& key_template : some_templates()) {
    for (int i = 0; i < 1000; ++i) {
      const std::string key = random.key();
      std::vector<std::string_view> values;
      if (!key_template.match(key, values)) continue;
      ++matched;
      ASSERT_EQ(key_template.format(values), key) << key_template.text();
      ASSERT_EQ(values.size(), key_template.placeholders().size());
    }
  }
  EXPECT_GT(matched, 500);
}

TEST(KeyTemplate, TwoTemplatesThatMatchOneKeyOverlap) {
  Random random(3);
  const std::vector<KeyTemplate> templates = some_templates();
  int met = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::string key = random.key();
    std::vector<std::string_view> values;
    const KeyTemplate* first = nullptr;
    for (const KeyTemplate& other : templates) {
      if (!other.match(key, values)) continue;
      if (first != nullptr && met++ < 100) {
        ASSERT_TRUE(first->overlaps(other)) << first->text() << " " << other.text();
      }
      first = &other;
    }
  }
  EXPECT_GE(met, 100);
}

}  // namespace
}  // namespace sluice::conf

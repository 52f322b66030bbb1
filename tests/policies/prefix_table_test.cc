// PrefixTable: which policy owns a key.
#include "policies/prefix_table.h"

#include <gtest/gtest.h>

#include "tests/policies/proxy_double.h"

namespace sluice::policies::testing {
namespace {

using Kind = PrefixTable::Match::Kind;

PrefixTable::Entry entry(std::string_view text, std::uint32_t policy, bool is_alias = false) {
  return {key_template(text), policy, is_alias};
}

class PrefixTableTest : public ::testing::Test {
 protected:
  Kind kind(std::string_view key) const { return table.find(key).kind; }
  std::uint32_t policy(std::string_view key) const { return table.find(key).policy; }

  const PrefixTable table{{entry("fruit:{id:int}", 0), entry("fruit:big:{id:int}", 1), entry("f{name*}", 2),
                           entry("users:{id}", 3), entry("__{{users:{id}}}", 3, true), entry("zoo:{a}:{b}", 4)}};
};

TEST_F(PrefixTableTest, FindsTheOwner) {
  EXPECT_EQ(table.find("fruit:12"), (PrefixTable::Match{Kind::owned, 0, table.find("fruit:12").entry}));
  EXPECT_EQ(policy("zoo:x:y"), 4U);
}

TEST_F(PrefixTableTest, TheLongestPrefixThatMatchesWins) {
  EXPECT_EQ(policy("fruit:big:1"), 1U);
  EXPECT_EQ(policy("fruit:1"), 0U);
  EXPECT_EQ(policy("fast"), 2U);
}

TEST_F(PrefixTableTest, AShorterPrefixOwnsWhatALongerOneDoesNotMatch) {
  EXPECT_EQ(kind("fruit:1 OR 1=1"), Kind::owned);
  EXPECT_EQ(policy("fruit:1 OR 1=1"), 2U);
}

TEST_F(PrefixTableTest, AKeyThatOnlyHasThePrefixIsOffGrid) {
  EXPECT_EQ(kind("zoo:x"), Kind::off_grid);
  EXPECT_EQ(policy("zoo:x"), 4U);
}

TEST_F(PrefixTableTest, KnowsNothingOfOtherKeys) {
  for (const char* key : {"", "a", "zo", "zooo", "usersx", "g", "\xff", "_", "__", "__{orders:9}", "user", "~"}) {
    EXPECT_EQ(kind(key), Kind::none) << key;
  }
}

TEST_F(PrefixTableTest, AnAliasGivesTheRealKey) {
  const auto match = table.find("__{users:7}");
  EXPECT_EQ(match.kind, Kind::alias);
  EXPECT_EQ(match.policy, 3U);
  EXPECT_EQ(table.real_key(match, "__{users:7}"), "users:7");
}

TEST_F(PrefixTableTest, ReservesItsOwnSideKeys) {
  EXPECT_EQ(kind("__sluice:x"), Kind::reserved);
  EXPECT_EQ(PrefixTable({}).find("__sluice:x").kind, Kind::reserved);
}

// The first list is short enough to be scanned, the second is searched.
class PrefixTableSearch : public ::testing::TestWithParam<std::vector<const char*>> {};

TEST_P(PrefixTableSearch, AgreesWithALinearSearch) {
  std::vector<PrefixTable::Entry> entries;
  std::uint32_t policy = 0;
  for (const char* text : GetParam()) {
    entries.push_back(entry(text, policy++));
  }
  const PrefixTable table(entries);
  for (int number = 0; number < 6 * 6 * 6 * 6 * 6; ++number) {
    std::string key;
    for (int rest = number; rest > 0; rest /= 6) key += static_cast<char>('a' + rest % 6);
    const PrefixTable::Entry* best = nullptr;
    for (const auto& e : entries) {
      const bool longer = best == nullptr || e.key.prefix().size() > best->key.prefix().size();
      if (key.size() > e.key.prefix().size() && key.starts_with(e.key.prefix()) && longer) best = &e;
    }
    const auto match = table.find(key);
    ASSERT_EQ(match.kind == Kind::owned, best != nullptr) << key;
    if (best != nullptr) {
      ASSERT_EQ(match.policy, best->policy) << key;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Lists, PrefixTableSearch,
    ::testing::Values(std::vector<const char*>{"a{x*}", "ab{x*}", "abc{x*}", "abd{x*}", "ac{x*}", "b{x*}", "abcde{x*}"},
                      std::vector<const char*>{"aa{x*}", "ab{x*}", "aba{x*}", "abc{x*}", "abd{x*}", "abde{x*}",
                                               "ac{x*}", "acb{x*}", "ad{x*}", "ada{x*}", "ae{x*}", "b{x*}"}));

}  // namespace
}  // namespace sluice::policies::testing

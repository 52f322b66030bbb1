// Tests of sql.h: names and kinds of operations.
#include "backends/sql.h"

#include <set>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace sluice::sql {
namespace {

template <std::size_t... I>
std::set<std::string> names(std::index_sequence<I...>) {
  return {name(Op(std::in_place_index<I>))...};
}

TEST(Sql, EveryOperationHasItsOwnName) {
  const auto all = names(std::make_index_sequence<std::variant_size_v<Op>>{});
  EXPECT_EQ(all.size(), std::variant_size_v<Op>);
  EXPECT_TRUE(all.contains("read_row"));
  EXPECT_TRUE(all.contains("flush_counters"));
}

TEST(Sql, RowWritesAndFlushesAreWritesAndOnlyRowWritesShareATransaction) {
  EXPECT_TRUE(is_row_write(ReplaceRow{}));
  EXPECT_TRUE(is_row_write(MergeRow{}));
  EXPECT_TRUE(is_row_write(DeleteRow{}));
  EXPECT_FALSE(is_row_write(FlushCounters{}));
  EXPECT_TRUE(is_write(FlushCounters{}));
  EXPECT_TRUE(is_write(ReplaceRow{}));
  EXPECT_FALSE(is_write(ReadCounter{}));
  EXPECT_FALSE(is_write(Ping{}));
}

TEST(Sql, ATableFindsAColumnByItsExactName) {
  Table table;
  table.columns.push_back({.name = "Id"});
  ASSERT_NE(table.find("Id"), nullptr);
  EXPECT_EQ(table.find("Id")->name, "Id");
  EXPECT_EQ(table.find("id"), nullptr);
}

}  // namespace
}  // namespace sluice::sql

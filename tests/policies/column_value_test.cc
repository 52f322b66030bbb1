// Column values: what a client sends is stored as it is read back, or refused.
#include "policies/column_value.h"

#include <string>

#include <gtest/gtest.h>

namespace sluice::policies {
namespace {

using sql::Column;
using sql::ColumnType;
using sql::Value;

Value stored(std::string_view text, const Column& column) {
  const auto value = value_of_text(text, column);
  EXPECT_TRUE(value) << value.why();
  return value ? *value : Value();
}
std::string why_not(std::string_view text, const Column& column) {
  const auto value = value_of_text(text, column);
  return value ? "" : value.why();
}
Value text(const std::string& value) { return value; }

TEST(ColumnValue, ADecimalOfAnyScaleHasNoExponentAndNoNegativeZero) {
  const Column column{"d", ColumnType::decimal};
  EXPECT_EQ(stored("1e5", column), text("100000"));
  EXPECT_EQ(stored("-0", column), text("0"));
  EXPECT_EQ(stored("-0.00", column), text("0.00"));
  EXPECT_EQ(stored("1.50", column), text("1.50"));
  EXPECT_EQ(stored("1.50e1", column), text("15.0"));
}

TEST(ColumnValue, ADecimalWhereZerosAreDroppedHasNoneAtTheEndOfItsFraction) {
  Column column{"d", ColumnType::decimal};
  column.drops_zeros = true;
  EXPECT_EQ(stored("1.50", column), text("1.5"));
  EXPECT_EQ(stored("100.00", column), text("100"));
  EXPECT_EQ(stored("100", column), text("100"));
  EXPECT_EQ(stored("-0.0", column), text("0"));
  EXPECT_EQ(stored("0.050", column), text("0.05"));
}

TEST(ColumnValue, TextWhoseLastSpacesTheDatabaseWouldDropIsRefused) {
  Column column{"s", ColumnType::text};
  column.max_characters = 3;
  for (const char* fits : {"", "   ", "ab ", "abc", "\xc3\xa9\xc3\xa9\xf0\x9f\x8d\x8e"}) {
    EXPECT_EQ(stored(fits, column), text(fits));
  }
  for (const char* loses : {"    ", "ab  ", "abc ", "abc\t\n\v\f\r", "\xc3\xa9\xc3\xa9\xf0\x9f\x8d\x8e "}) {
    EXPECT_EQ(why_not(loses, column), "longer than 3 characters") << loses;
  }
  EXPECT_EQ(stored("abcd", column), text("abcd")) << "the database itself refuses it";
  EXPECT_EQ(stored("abcd  ", column), text("abcd  "));
}

TEST(ColumnValue, TextOfLimitedBytesKeepsItsSpacesToo) {
  Column column{"s", ColumnType::text};
  column.max_bytes = 4;
  EXPECT_EQ(stored("\xc3\xa9  ", column), text("\xc3\xa9  "));
  EXPECT_EQ(why_not("\xc3\xa9   ", column), "longer than 4 bytes");
}

}  // namespace
}  // namespace sluice::policies

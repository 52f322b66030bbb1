// TableCheck: what is said about tables that do not fit their policies, and what is proposed for those without one.
#include "policies/table_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policies/proposed_table.h"
#include "tests/policies/proxy_double.h"

namespace sluice::policies::testing {
namespace {

using conf::ValueMode;
using sql::ColumnType;
using Holds = sql::NewColumn::Holds;

class TableCheckTest : public ::testing::Test {
 protected:
  TableCheckTest() {
    options.name = "t";
    options.table = "t";
    options.key = key_template("t:{id:int}");
    options.write = conf::WriteMode::write_through;
  }
  // All findings, one a line; warnings begin with "warning: ".
  std::string findings() const {
    std::string lines;
    for (const Finding& finding : check_table(options, table)) {
      lines += (lines.empty() ? "" : "\n") + std::string(finding.warning ? "warning: " : "") + finding.text;
    }
    return lines;
  }
  sql::Column& key() { return table.columns[0]; }
  sql::Column& value() { return table.columns[1]; }

  sql::Table table{
      "t", {{"id", ColumnType::integer, false, false, false, true}, {"v", ColumnType::integer, true}}, {{"id"}}};
  conf::PolicyOptions options;
};

TEST_F(TableCheckTest, ATableThatFitsIsFineAndSoIsOneOfACounter) {
  EXPECT_EQ(findings(), "");
  options.value = ValueMode::counter;
  options.column = "v";
  EXPECT_EQ(findings(), "");
}

TEST_F(TableCheckTest, WhatTheMappingRefusesIsAMistake) {
  table.unique_keys.clear();
  EXPECT_EQ(findings(), "table 't': the placeholders of the key are not the columns of a unique key");
}

TEST_F(TableCheckTest, AKeyThatFoldsDistinctValuesIsAMistake) {
  options.key = key_template("t:{id}");
  key().type = ColumnType::text;
  EXPECT_EQ(findings(), "");
  key().exact = false;
  EXPECT_THAT(findings(), ::testing::StartsWith("table 't': the key column 'id' takes different values for one"));
  options.key = key_template("t:{id:uuid}");
  EXPECT_EQ(findings(), "") << "all are in lower case";
}

TEST_F(TableCheckTest, APlaceholderOfAnotherTypeThanItsColumnIsAMistake) {
  key().type = ColumnType::text;
  EXPECT_EQ(findings(), "table 't': column 'id' is not an integer, as {id:int} says");
  options.key = key_template("t:{id:uuid}");
  EXPECT_EQ(findings(), "");
  key().type = ColumnType::integer;
  EXPECT_EQ(findings(), "table 't': column 'id' is neither a UUID nor text, as {id:uuid} says");
  options.key = key_template("t:{id}");
  EXPECT_EQ(findings(), "table 't': column 'id' is an integer: write {id:int} in the key");
  options.key = key_template("t:{id*}");
  key().type = ColumnType::uuid;
  EXPECT_EQ(findings(), "table 't': column 'id' is a UUID: write {id:uuid} in the key");
  key().type = ColumnType::date;
  EXPECT_EQ(findings(), "");
}

TEST_F(TableCheckTest, ATotalNeedsEveryIntegerOf64Bits) {
  options.value = ValueMode::counter;
  options.column = "v";
  value().narrow = true;
  EXPECT_EQ(findings(),
            "table 't': column 'v' does not hold every integer of 64 bits: make it BIGINT, and not UNSIGNED");
}

TEST_F(TableCheckTest, AColumnThatNewRowsWouldLackIsAWarning) {
  table.columns.push_back({"extra", ColumnType::text, false});
  EXPECT_EQ(findings(), "");
  options.only_columns = {"v"};
  EXPECT_THAT(findings(), ::testing::StartsWith("warning: table 't': column 'extra' is NOT NULL"));
  table.columns.back().has_default = true;
  EXPECT_EQ(findings(), "");
  table.columns.back().has_default = false;
  options.write = conf::WriteMode::none;
  EXPECT_EQ(findings(), "") << "nothing is inserted";
}

TEST_F(TableCheckTest, TheBookkeepingOfCountersHasToBeAsItIsMade) {
  sql::Table source{"sluice_counter_src", {}, {{"key", "inc"}}};
  for (const char* name : {"key", "inc", "n", "t", "retired", "updated_at"}) source.columns.push_back({name});
  const auto wrong = [&] {
    const auto found = check_counter_source(source, "CREATE ...");
    return found.empty() ? std::string() : found[0].text;
  };
  EXPECT_EQ(wrong(), "");
  source.columns[0].exact = false;
  EXPECT_EQ(wrong(),
            "table 'sluice_counter_src' is not as sluice needs it: column 'key' takes different values for one; create "
            "it with: CREATE ...");
  source.columns[0].exact = true;
  source.unique_keys = {{"key"}};
  EXPECT_THAT(wrong(), ::testing::HasSubstr("(key, inc) is not its primary key"));
  source.columns.pop_back();
  EXPECT_THAT(wrong(), ::testing::HasSubstr("no column 'updated_at'"));
}

TEST_F(TableCheckTest, WhatTheConfigurationNamesIsProposed) {
  options.key = key_template("t:{tenant}:{id:int}:{part:uuid}");
  options.renames = {{"pw", "password"}};
  options.ttl_column = "until";
  std::vector<std::pair<std::string, Holds>> columns;
  std::string keys;
  for (const sql::NewColumn& column : proposed_table(options).columns) {
    columns.emplace_back(column.name, column.holds);
    keys += column.is_key ? column.name + " " : "";
    EXPECT_EQ(column.remark.empty(), column.is_key) << column.name;
  }
  EXPECT_EQ(keys, "tenant id part ");
  EXPECT_THAT(columns, ::testing::ElementsAre(std::pair("tenant", Holds::text), std::pair("id", Holds::integer),
                                              std::pair("part", Holds::uuid), std::pair("password", Holds::text),
                                              std::pair("until", Holds::moment)));
}

TEST_F(TableCheckTest, ARawValueIsBytesAndATotalAnInteger) {
  options.column = "v";
  options.value = ValueMode::raw;
  EXPECT_EQ(proposed_table(options).columns.at(1), (sql::NewColumn{"v", Holds::bytes}));
  options.value = ValueMode::counter;
  EXPECT_EQ(proposed_table(options).columns.at(1), (sql::NewColumn{"v", Holds::integer}));
}

TEST_F(TableCheckTest, AKeyColumnThatIsListedIsProposedOnce) {
  options.only_columns = {"id", "v"};
  EXPECT_EQ(proposed_table(options).columns.size(), 2U);
}

}  // namespace
}  // namespace sluice::policies::testing

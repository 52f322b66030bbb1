// Mapping: rows to values and values to rows, with every type.
#include "policies/mapping.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "resp/ascii.h"
#include "tests/policies/proxy_double.h"

namespace sluice::policies::testing {
namespace {

using conf::UnknownFields;
using conf::ValueMode;
using sql::ColumnType;

sql::Table all_types() {
  sql::Table table{"t", {{"id", ColumnType::integer, false, true, false, true}}, {{"id"}}};
  const std::pair<const char*, ColumnType> columns[] = {
      {"i", ColumnType::integer},    {"r", ColumnType::real},         {"d", ColumnType::decimal},
      {"s", ColumnType::text},       {"b", ColumnType::boolean},      {"day", ColumnType::date},
      {"at", ColumnType::timestamp}, {"tz", ColumnType::timestamptz}, {"t", ColumnType::time},
      {"u", ColumnType::uuid},       {"j", ColumnType::json},         {"x", ColumnType::bytes}};
  for (const auto& [name, type] : columns) table.columns.push_back({name, type, true, false, false, false});
  return table;
}

class MappingTest : public ::testing::Test {
 protected:
  MappingTest() {
    options.name = "t";
    options.table = "t";
    options.key = key_template("t:{id}");
  }
  Mapping mapping() { return *Mapping::make(options, table); }
  std::string why_not() { return Mapping::make(options, table).why(); }
  std::string refused(const std::string& value) {
    const auto change = mapping().replace("t:1", value);
    return change ? "" : change.why();
  }
  // The value that column `name` would get from one field.
  sql::Value stored(const std::string& name, const std::string& text) {
    const std::vector<std::string> fields{name, text};
    const auto change = mapping().merge("t:1", fields);
    EXPECT_TRUE(change) << change.why();
    return change ? change->values.at(0).value : sql::Value();
  }
  std::string field_error(const std::string& name, const std::string& text) {
    const std::vector<std::string> fields{name, text};
    const auto change = mapping().merge("t:1", fields);
    return change ? "" : change.why();
  }

  sql::Table table = all_types();
  conf::PolicyOptions options;
};

std::string key_of(const Mapping& mapping, const std::vector<std::string>& texts) {
  return mapping.redis_key(texts).value_or("none");
}

TEST_F(MappingTest, ARowsKeyIsMadeOfItsTexts) {
  options.key = key_template("t:{id:int}:{s*}");
  table.unique_keys = {{"id", "s"}};
  const Mapping mapping = this->mapping();
  EXPECT_EQ(key_of(mapping, {"-7", "a:{b} \"'"}), "t:-7:a:{b} \"'");
  EXPECT_EQ(key_of(mapping, {"007", "007"}), "t:7:007") << "ZEROFILL";
  EXPECT_EQ(key_of(mapping, {"000", "a"}), "t:0:a");
  for (const auto& none : std::vector<std::vector<std::string>>{
           {}, {"7"}, {"7", "a", "b"}, {"7", ""}, {"x", "a"}, {"99999999999999999999", "a"}, {"7", "\xff"}}) {
    EXPECT_EQ(key_of(mapping, none), "none");
  }
  options.key = key_template("t:{s}:x-{id:int}");
  EXPECT_EQ(key_of(this->mapping(), {"a", "7"}), "t:a:x-7");
  EXPECT_EQ(key_of(this->mapping(), {"a:b", "7"}), "none") << "no key of the template";
}

TEST_F(MappingTest, ARowsKeyIsTheOneThatClientsUseHoweverTheDatabaseWritesIt) {
  const auto with = [&](const std::string& column, const std::string& placeholder, const std::string& text) {
    options.key = key_template("t:{" + placeholder + "}");
    table.unique_keys = {{column}};
    return key_of(mapping(), {text});
  };
  EXPECT_EQ(with("b", "b", "true"), "t:1");
  EXPECT_EQ(with("b", "b", "0"), "t:0");
  EXPECT_EQ(with("day", "day", "2024-02-29"), "t:2024-02-29");
  const std::string uuid = "00000000-0000-4000-8000-00000000000A";
  EXPECT_EQ(with("u", "u:uuid", uuid), "t:00000000-0000-4000-8000-00000000000a");
  EXPECT_EQ(with("s", "s:uuid", uuid), "none") << "the column tells it from the key's, which finds no row";
  EXPECT_EQ(with("s", "s:uuid", resp::lower(uuid)), "t:00000000-0000-4000-8000-00000000000a");
  std::find_if(table.columns.begin(), table.columns.end(), [](const auto& c) { return c.name == "s"; })->exact = false;
  EXPECT_EQ(with("s", "s:uuid", uuid), "t:00000000-0000-4000-8000-00000000000a");
  EXPECT_EQ(with("x", "x*", std::string("\xff\0:", 3)), std::string("t:\xff\0:", 5));
}

const char* const kJson =
    R"({"id":1,"i":9007199254740993,"r":0.1,"d":123456789012345678901.50,"s":"a\"\n\u0001é","b":true,)"
    R"("day":"2024-02-29","at":"2024-06-21T00:00:00","tz":"2024-06-21T10:00:00.000500Z","t":"12:00:00",)"
    R"("u":"00000000-0000-4000-8000-00000000000a","j":{"a":[1,{"b":null}],"c":"x"},"x":"AP8="})";

sql::Row full_row() {
  return {std::int64_t{1},
          std::int64_t{9007199254740993},
          0.1,
          std::string("123456789012345678901.50"),
          std::string("a\"\n\x01é"),
          std::int64_t{1},
          std::string("2024-02-29"),
          std::string("2024-06-21T00:00:00"),
          std::string("2024-06-21T10:00:00.000500Z"),
          std::string("12:00:00"),
          std::string("00000000-0000-4000-8000-00000000000a"),
          std::string("{\"a\": [1, {\"b\": null}], \"c\": \"x\"}"),
          sql::Blob{std::string("\0\xff", 2)}};
}

TEST_F(MappingTest, ARowBecomesCanonicalJson) { EXPECT_EQ(mapping().copy(full_row())->text, kJson); }

TEST_F(MappingTest, TheJsonOfARowGivesItsValuesBack) {
  const auto change = mapping().replace("t:1", kJson);
  ASSERT_TRUE(change) << change.why();
  sql::Row row = full_row();
  row[11] = std::string(R"({"a":[1,{"b":null}],"c":"x"})");
  ASSERT_EQ(change->values.size() + 1, row.size());
  for (std::size_t i = 0; i < change->values.size(); ++i) EXPECT_EQ(change->values[i].value, row[i + 1]) << i;
  EXPECT_TRUE(change->reset.empty());
  EXPECT_EQ(change->copy.text, kJson);
}

TEST_F(MappingTest, NullsAreNullInJsonAndAbsentInAHash) {
  const sql::Row nulls(13);
  EXPECT_TRUE(mapping().copy(nulls)->text.ends_with(R"("j":null,"x":null})"));
  options.value = ValueMode::hash;
  EXPECT_FALSE(mapping().copy(sql::Row(12)).has_value());
}

TEST_F(MappingTest, AHashHasTextsAndNoKey) {
  options.value = ValueMode::hash;
  options.only_columns = {"id", "i", "b", "x"};
  EXPECT_EQ(mapping().columns(), (std::vector<std::string>{"i", "b", "x"}));
  const auto copy = mapping().copy({std::int64_t{5}, std::int64_t{1}, sql::Blob{"raw"}});
  EXPECT_EQ(copy->fields, (std::vector<std::string>{"i", "5", "b", "1", "x", "raw"}));
}

TEST_F(MappingTest, AbsentColumnsGetTheirDefault) {
  options.only_columns = {"id", "i", "s"};
  const auto change = mapping().replace("t:1", R"({"s":null})");
  EXPECT_EQ(change->values, (std::vector<sql::Bound>{{"s", {}}}));
  EXPECT_EQ(change->reset, (std::vector<std::string>{"i"}));
}

TEST_F(MappingTest, RefusesJsonThatDoesNotFit) {
  EXPECT_EQ(refused("not json"), "not valid JSON (at byte 2)");
  EXPECT_EQ(refused("[1]"), "not a JSON object");
  EXPECT_EQ(refused("7"), "not a JSON object");
  EXPECT_EQ(refused(R"({"i":1,"i":2})"), "a name appears twice in the JSON object");
  EXPECT_EQ(refused(R"({"nosuch":1})"), "no column for the field 'nosuch' (see unknown_fields)");
  EXPECT_EQ(refused(R"({"i":"1"})"), "field 'i' is not an integer");
  EXPECT_EQ(refused(R"({"i":1.0})"), "field 'i' is not an integer");
  EXPECT_EQ(refused(R"({"i":9223372036854775808})"), "field 'i' is not an integer of 64 bits");
  EXPECT_EQ(refused(R"({"s":1})"), "field 's' is not a string");
  EXPECT_EQ(refused(R"({"s":"a\u0000b"})"), "field 's' is text with a NUL byte");
  EXPECT_EQ(refused(R"({"b":1})"), "field 'b' is not true or false");
  EXPECT_EQ(refused(R"({"day":"2023-02-29"})"), "field 'day' is not a date (YYYY-MM-DD)");
  EXPECT_EQ(refused(R"({"u":"x"})"), "field 'u' is not a UUID");
  EXPECT_EQ(refused(R"({"x":"%"})"), "field 'x' is not a string of base64");
  EXPECT_EQ(refused(R"({"id":2})"), "field 'id' is not what the key says");
  EXPECT_EQ(refused(std::string("{\"s\":\"\xff\"}")).substr(0, 14), "not valid JSON");
}

TEST_F(MappingTest, IgnoredFieldsAreNeitherStoredNorCached) {
  options.unknown_fields = UnknownFields::ignore;
  const auto change = mapping().replace("t:1", R"({ "id":1, "extra":[1,2], "s":"x" })");
  EXPECT_EQ(change->values, (std::vector<sql::Bound>{{"s", std::string("x")}}));
  EXPECT_EQ(change->copy.text, R"({"id":1,"s":"x"})");
}

TEST_F(MappingTest, FieldsAreCheckedAndMadeCanonical) {
  options.value = ValueMode::hash;
  EXPECT_EQ(stored("i", "-5"), sql::Value(std::int64_t{-5}));
  EXPECT_EQ(stored("b", "true"), sql::Value(std::int64_t{1}));
  EXPECT_EQ(stored("at", "2024-06-21"), sql::Value(std::string("2024-06-21T00:00:00")));
  EXPECT_EQ(stored("at", "2024-06-21 10:00:00.5"), sql::Value(std::string("2024-06-21T10:00:00.500000")));
  EXPECT_EQ(stored("tz", "2024-06-21T00:30:00+02:00"), sql::Value(std::string("2024-06-20T22:30:00Z")));
  EXPECT_EQ(stored("u", "00000000-0000-4000-8000-00000000000A"),
            sql::Value(std::string("00000000-0000-4000-8000-00000000000a")));
  EXPECT_EQ(stored("x", std::string("\0\xff", 2)), sql::Value(sql::Blob{std::string("\0\xff", 2)}));
  EXPECT_EQ(field_error("i", "12abc"), "field 'i' is not an integer of 64 bits");
  EXPECT_EQ(field_error("i", "9223372036854775808"), "field 'i' is not an integer of 64 bits");
  EXPECT_EQ(field_error("r", "inf"), "field 'r' is not a number that a double holds");
  EXPECT_EQ(field_error("d", "1."), "field 'd' is not a decimal number");
  EXPECT_EQ(field_error("b", "yes"), "field 'b' is not a boolean (true, false, 1, 0)");
  EXPECT_EQ(field_error("s", "\xc0\xaf"), "field 's' is not valid UTF-8");
  EXPECT_EQ(field_error("j", "{"), "field 'j' is not valid JSON");
  EXPECT_EQ(field_error("at", "2024-06-21T10:00:00Z").substr(0, 35), "field 'at' is not a timestamp witho");
  EXPECT_EQ(field_error("id", "2"), "field 'id' is not what the key says");
}

TEST_F(MappingTest, TheLastOfRepeatedFieldsCounts) {
  options.value = ValueMode::hash;
  const std::vector<std::string> fields{"i", "1", "i", "2"};
  const auto change = mapping().merge("t:1", fields);
  EXPECT_EQ(change->values, (std::vector<sql::Bound>{{"i", std::int64_t{2}}}));
}

TEST_F(MappingTest, KnowsWhenAllFieldsAreThere) {
  options.value = ValueMode::hash;
  options.only_columns = {"i", "s"};
  const std::vector<std::string> all{"i", "1", "s", "x"};
  EXPECT_TRUE(mapping().merge("t:1", all)->complete);
  EXPECT_FALSE(mapping().merge("t:1", std::span(all).first(2))->complete);
}

TEST_F(MappingTest, RenamesFields) {
  options.renames = {{"name", "s"}};
  options.only_columns = {"s"};
  EXPECT_EQ(mapping().copy({std::string("x")})->text, R"({"name":"x"})");
  EXPECT_NE(refused(R"({"s":"x"})"), "");
}

TEST_F(MappingTest, RawIsOneColumnByteForByte) {
  options.value = ValueMode::raw;
  options.column = "x";
  const std::string bytes("\0\r\n\xff", 4);
  EXPECT_EQ(mapping().replace("t:1", bytes)->values, (std::vector<sql::Bound>{{"x", sql::Blob{bytes}}}));
  EXPECT_EQ(mapping().copy({sql::Blob{bytes}})->text, bytes);
  EXPECT_FALSE(mapping().copy({sql::Value()}).has_value());
}

TEST_F(MappingTest, AKeyIsTheOneItsRowWouldGet) {
  EXPECT_EQ(*mapping().key("t:7"), (std::vector<sql::Bound>{{"id", std::int64_t{7}}}));
  EXPECT_FALSE(mapping().key("t:007"));
  EXPECT_FALSE(mapping().key("t:1 OR 1=1"));
  EXPECT_FALSE(mapping().key("t:"));
}

TEST_F(MappingTest, ColumnsThatTheDatabaseComputesCannotBeSent) {
  table.columns[1].generated = true;
  EXPECT_TRUE(mapping().computed());
  EXPECT_EQ(refused(R"({"i":1})"), "field 'i' is computed by the database");
}

TEST_F(MappingTest, ATableThatDoesNotFitIsSaidToNot) {
  options.key = key_template("t:{nosuch}");
  EXPECT_EQ(why_not(), "table 't': no column 'nosuch' for the placeholder of that name");
  options.key = key_template("t:{s}");
  EXPECT_EQ(why_not(), "table 't': the placeholders of the key are not the columns of a unique key");
  options.key = key_template("t:{id}");
  table.columns[0].exact = false;
  EXPECT_THAT(why_not(), ::testing::HasSubstr("the key column 'id' takes different values for one"));
  table.columns[0].exact = true;
  options.only_columns = {"gone"};
  EXPECT_EQ(why_not(), "table 't': no column 'gone'");
  options.only_columns.clear();
  options.renames = {{"i", "s"}};
  EXPECT_EQ(why_not(), "table 't': two columns for the field 'i'");
  options.renames.clear();
  options.value = ValueMode::counter;
  options.column = "s";
  EXPECT_EQ(why_not(), "table 't': column 's' is not an integer");
}

}  // namespace
}  // namespace sluice::policies::testing

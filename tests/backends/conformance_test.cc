// Tests of what every backend does alike: rows, groups, decisions, several writes as one, errors.
#include "conformance.h"

#include <array>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::sql {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAre;
constexpr std::int64_t kBig = 9007199254740993;  // 2^53 + 1: no double holds it

class Rows : public Conformance {
 protected:
  Rows() {
    query(
        "CREATE TABLE fruit (id BIGINT PRIMARY KEY, name VARCHAR(40) NOT NULL UNIQUE, colour VARCHAR(40) DEFAULT"
        " 'green', weight DOUBLE PRECISION, stock BIGINT, note VARCHAR(200))");
    query("INSERT INTO fruit (id, name, colour, note) VALUES (1, 'apple', 'red', 'kept')");
  }

  static ReplaceRow replace(std::int64_t id, std::vector<Bound> values, std::vector<std::string> reset = {}) {
    return {"fruit", {{"id", id}}, std::move(values), std::move(reset)};
  }
  static MergeRow merge(std::int64_t id, std::vector<Bound> values) {
    return {"fruit", {{"id", id}}, std::move(values)};
  }
  static DeleteRow remove(std::int64_t id) { return {"fruit", {{"id", id}}}; }
  static ModifyRow modify(std::int64_t id, std::vector<std::string> columns,
                          std::function<RowChange(const Row*)> decide) {
    return {"fruit", {{"id", id}}, std::move(columns), std::make_shared<Decision>(std::move(decide))};
  }
  // Inserts a row of this name unless there is one with the key: SET NX.
  static ModifyRow insert_only(std::int64_t id, const std::string& name) {
    return modify(id, {"name"}, [name](const Row* row) {
      if (row != nullptr) return RowChange{};
      return RowChange{RowChange::Kind::write, {{"name", name}}, {}};
    });
  }
  // Adds one to the row's stock: HINCRBY.
  static ModifyRow increment(std::int64_t id) {
    return modify(id, {"stock"}, [id](const Row* row) {
      const auto* stock = row == nullptr ? nullptr : std::get_if<std::int64_t>(&(*row)[0]);
      RowChange change{RowChange::Kind::write, {{"stock", (stock == nullptr ? 0 : *stock) + 1}}, {}};
      if (row == nullptr) change.values.push_back({"name", "fruit " + std::to_string(id)});
      return change;
    });
  }
  Row read(std::int64_t id, std::vector<std::string> columns) {
    const Result result = run(ReadRow{"fruit", {{"id", id}}, std::move(columns)});
    EXPECT_TRUE(is_ok(result));
    return result.rows.size() == 1 ? result.rows[0] : Row{};
  }
  std::string fruit() { return query("SELECT id, name, colour, note FROM fruit ORDER BY id"); }
};

INSTANTIATE_TEST_SUITE_P(Every, Rows, every_engine(), engine_name);

TEST_P(Rows, PingReachesTheDatabase) { EXPECT_TRUE(is_ok(run(Ping{}))); }

TEST_P(Rows, ReadRowGivesTheColumnsInTheirOrderAndNothingOfAnAbsentKey) {
  EXPECT_EQ(read(1, {"colour", "id", "weight"}), (Row{std::string("red"), std::int64_t{1}, std::monostate{}}));
  EXPECT_TRUE(run(ReadRow{"fruit", {{"id", std::int64_t{9}}}, {"name"}}).rows.empty());
}

TEST_P(Rows, ReadRowsGivesTheRowsThatThereAreEachWithItsKey) {
  query("INSERT INTO fruit (id, name) VALUES (2, 'pear'), (4, 'fig')");
  const std::vector<std::vector<Value>> keys{{std::int64_t{1}}, {std::int64_t{3}}, {std::int64_t{4}}};
  const Result result = run(ReadRows{"fruit", {"id"}, keys, {"name", "colour"}});
  EXPECT_TRUE(is_ok(result));
  EXPECT_THAT(result.rows, UnorderedElementsAre(Row{std::int64_t{1}, std::string("apple"), std::string("red")},
                                                Row{std::int64_t{4}, std::string("fig"), std::string("green")}));
  EXPECT_TRUE(run(ReadRows{"fruit", {"id"}, {{std::int64_t{3}}}, {"name"}}).rows.empty());
}

TEST_P(Rows, ReadRowsTellsKeysOfSeveralColumnsApart) {
  query("CREATE TABLE seats (hall VARCHAR(20), seat BIGINT, who VARCHAR(20), PRIMARY KEY (hall, seat))");
  query("INSERT INTO seats VALUES ('a', 1, 'ann'), ('a', 2, 'bob'), ('b', 1, 'cid')");
  const std::vector<std::vector<Value>> keys{
      {std::string("a"), std::int64_t{2}}, {std::string("b"), std::int64_t{1}}, {std::string("b"), std::int64_t{2}}};
  EXPECT_THAT(run(ReadRows{"seats", {"hall", "seat"}, keys, {"who"}}).rows,
              UnorderedElementsAre(Row{std::string("a"), std::int64_t{2}, std::string("bob")},
                                   Row{std::string("b"), std::int64_t{1}, std::string("cid")}));
}

TEST_P(Rows, ReadRowsTakesAsManyKeysAsItMay) {
  for (std::int64_t i = 2; i <= static_cast<std::int64_t>(kReadRowsMax); i += 50) {
    query("INSERT INTO fruit (id, name) VALUES (" + std::to_string(i) + ", 'n" + std::to_string(i) + "')");
  }
  ReadRows read{"fruit", {"id"}, {}, {"name"}};
  for (std::size_t i = 1; i <= kReadRowsMax; ++i) read.keys.push_back({static_cast<std::int64_t>(i)});
  const Result result = run(read);
  EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(result.rows.size(), 7U);
}

TEST_P(Rows, ReadRowsFindsTextsAndBytesByTheirKey) {
  query("CREATE TABLE notes (id " + database->bytes_type() + " NOT NULL, t VARCHAR(20))");
  query(std::string("INSERT INTO notes VALUES (") + (is("postgresql") ? "'\\x00ff'" : "x'00ff'") + ", 'raw')");
  const Blob id{std::string("\0\xff", 2)};
  EXPECT_EQ(run(ReadRows{"notes", {"id"}, {{id}, {Blob{"no"}}}, {"t"}}).rows,
            (std::vector<Row>{Row{id, std::string("raw")}}));
}

TEST_P(Rows, AMissingTableOrColumnIsASchemaErrorForEveryOperation) {
  const std::vector<Bound> key{{"id", std::int64_t{1}}};
  for (const Op& op : std::vector<Op>{Describe{"nuts"}, ReadRow{"nuts", key, {"id"}}, ReplaceRow{"nuts", key, {}, {}},
                                      ReadRows{"nuts", {"id"}, {{std::int64_t{1}}}, {"id"}}, MergeRow{"nuts", key, {}},
                                      DeleteRow{"nuts", key}, ListRows{"nuts", {"id"}, {"id"}, {}, 1}}) {
    const Result result = run(op);
    EXPECT_TRUE(fails(result, Failure::schema, "42P01")) << name(op);
    EXPECT_THAT(result.error.message, HasSubstr("shop"));
    EXPECT_THAT(result.error.message, HasSubstr("nuts"));
  }
  EXPECT_TRUE(fails(run(ReadRow{"fruit", key, {"flavour"}}), Failure::schema, "42703"));
  EXPECT_TRUE(fails(run(merge(1, {{"flavour", std::string("x")}})), Failure::schema, "42703"));
  EXPECT_TRUE(is_ok(run(Ping{})));
}

TEST_P(Rows, ValuesAreNeverPartOfTheSql) {
  const std::string nasty = "'; DROP TABLE fruit; -- \\ \" ` $1 ?";
  EXPECT_TRUE(is_ok(run(replace(2, {{"name", nasty}}))));
  EXPECT_EQ(read(2, {"name"}), Row{nasty});
  EXPECT_TRUE(fails(run(merge(1, {{"name = 'x', note", nasty}})), Failure::schema, "42703"));
}

TEST_P(Rows, ReplaceRowInsertsWhatIsAbsent) {
  const Result result = run(replace(2, {{"name", std::string("pear")}}, {"colour", "note"}));
  EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(result.affected, 1);
  EXPECT_EQ(fruit(), "1|apple|red|kept;2|pear|green|NULL");
}

TEST_P(Rows, ReplaceRowResetsListedColumnsAndKeepsTheOthers) {
  const Result result = run(replace(1, {{"name", std::string("pear")}}, {"colour", "weight"}));
  EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(result.affected, 0);
  EXPECT_EQ(fruit(), "1|pear|green|kept");
}

TEST_P(Rows, ReplaceRowThatChangesNothingStillFindsItsRow) {
  const Op op = replace(1, {{"name", std::string("apple")}});
  EXPECT_EQ(run(op).affected, 0);
  EXPECT_EQ(run(op).affected, 0);
  EXPECT_EQ(fruit(), "1|apple|red|kept");
}

TEST_P(Rows, ReplaceRowThatMeetsAnotherRowsUniqueKeyIsRefusedAndChangesNothing) {
  query("INSERT INTO fruit (id, name) VALUES (2, 'pear')");
  const auto before = fruit();
  EXPECT_TRUE(fails(run(replace(2, {{"name", std::string("apple")}})), Failure::refused, "23505"));
  EXPECT_TRUE(fails(run(replace(3, {{"name", std::string("apple")}})), Failure::refused, "23505"));
  EXPECT_EQ(fruit(), before);
}

TEST_P(Rows, ReplaceRowDoesNotAskForTheNotNullColumnsOfARowThatExists) {
  EXPECT_TRUE(is_ok(run(replace(1, {{"colour", std::string("blue")}}))));
  EXPECT_TRUE(fails(run(replace(2, {{"colour", std::string("blue")}})), Failure::refused, "23502"));
  EXPECT_EQ(fruit(), "1|apple|blue|kept");
}

TEST_P(Rows, ReplaceRowOfOnlyAKeyInsertsItOnce) {
  query("CREATE TABLE members (name VARCHAR(20) PRIMARY KEY)");
  const Op op = ReplaceRow{"members", {{"name", std::string("a")}}, {}, {}};
  EXPECT_EQ(run(op).affected, 1);
  const Result again = run(op);
  EXPECT_TRUE(is_ok(again));
  EXPECT_EQ(again.affected, 0);
}

TEST_P(Rows, AKeyThatSeveralRowsHaveIsASchemaErrorAndChangesNone) {
  query("CREATE TABLE loose (k VARCHAR(20), v VARCHAR(20))");
  query("INSERT INTO loose VALUES ('a', '1'), ('a', '2')");
  const std::vector<Bound> key{{"k", std::string("a")}};
  EXPECT_TRUE(fails(run(ReplaceRow{"loose", key, {{"v", std::string("3")}}, {}}), Failure::schema, "21000"));
  EXPECT_TRUE(fails(run(MergeRow{"loose", key, {{"v", std::string("3")}}}), Failure::schema, "21000"));
  EXPECT_TRUE(fails(run(DeleteRow{"loose", key}), Failure::schema, "21000"));
  EXPECT_EQ(query("SELECT * FROM loose ORDER BY v"), "a|1;a|2");
  query("UPDATE loose SET v = NULL WHERE v = '2'");
  EXPECT_TRUE(fails(run(MergeRow{"loose", key, {{"v", std::string("3")}}}), Failure::schema, "21000"));
  EXPECT_EQ(query("SELECT count(*), min(v), max(v) FROM loose"), "2|1|1");
}

TEST_P(Rows, ASecondHasSixDigitsOfFractionOrNone) {
  if (is("postgresql")) {
    query("CREATE TABLE moments (id BIGINT PRIMARY KEY, d TIMESTAMP, z TIMESTAMPTZ, t TIME)");
  } else if (is("mysql")) {
    query("CREATE TABLE moments (id BIGINT PRIMARY KEY, d DATETIME(3), z TIMESTAMP(6) NULL, t TIME(2))");
  } else {
    query("CREATE TABLE moments (id BIGINT PRIMARY KEY, d DATETIME, z TIMESTAMPTZ, t TIME)");
  }
  const std::string zone = is("mysql") ? "" : is("sqlite") ? "Z" : "+00";
  const auto add = [&](int id, const std::string& fraction) {
    query("INSERT INTO moments VALUES (" + std::to_string(id) + ", '2024-06-21 10:20:30" + fraction +
          "', '2024-06-21 10:20:30" + fraction + zone + "', '10:20:30" + fraction + "')");
  };
  add(1, ".5");
  add(2, ".050");
  add(3, "");
  add(4, ".00");
  const std::vector<std::string> fractions{".500000", ".050000", "", ""};
  for (std::size_t i = 0; i < fractions.size(); ++i) {
    const Result result =
        run(ReadRow{"moments", {{"id", static_cast<std::int64_t>(i + 1)}}, std::vector<std::string>{"d", "z", "t"}});
    const std::string time = "10:20:30" + fractions[i];
    EXPECT_EQ(result.rows, (std::vector<Row>{Row{"2024-06-21T" + time, "2024-06-21T" + time + "Z", time}})) << i;
  }
}

TEST_P(Rows, DescribeTellsWhereSpacesAreDroppedWithoutAnError) {
  query("CREATE TABLE short (id BIGINT PRIMARY KEY, s VARCHAR(3), t TEXT)");
  const Table table = *run(Describe{"short"}).table;
  const auto write = [&](const std::string& column, const std::string& value) {
    return run(ReplaceRow{"short", {{"id", std::int64_t{1}}}, {{column, value}}, {}});
  };
  const auto stored = [&](const std::string& column) {
    return run(ReadRow{"short", {{"id", std::int64_t{1}}}, {column}}).rows;
  };
  const std::int32_t characters = table.find("s")->max_characters;
  const std::int32_t bytes = table.find("t")->max_bytes;
  EXPECT_EQ(characters, is("sqlite") ? -1 : 3);
  EXPECT_EQ(bytes, is("mysql") ? 65535 : -1);
  const std::string three = "\xc3\xa9\xc3\xa9\xc3\xa9";
  EXPECT_TRUE(is_ok(write("s", three + " ")));
  EXPECT_EQ(stored("s"), std::vector<Row>{Row{characters < 0 ? three + " " : three}});
  for (const char* longer : {"abcd", "abc\xc2\xa0"}) EXPECT_EQ(write("s", longer).ok(), characters < 0) << longer;
  // MariaDB's spaces are also these.
  for (const char* longer : {"abc\t", "abc\n", "abc\v\f\r"}) {
    EXPECT_EQ(write("s", longer).ok(), !is("postgresql")) << longer;
  }
  const std::string full(65535, 'x');
  EXPECT_EQ(write("t", full + "x").ok(), bytes < 0);
  EXPECT_TRUE(is_ok(write("t", full + " ")));
  EXPECT_EQ(stored("t"), std::vector<Row>{Row{bytes < 0 ? full + " " : full}});
}

TEST_P(Rows, ADecimalOfAnyScaleComesBackAsItWent) {
  query("CREATE TABLE prices (id BIGINT PRIMARY KEY, d NUMERIC" + std::string(is("mysql") ? "(40, 2)" : "") + ")");
  const Table table = *run(Describe{"prices"}).table;
  EXPECT_EQ(table.find("d")->scale, is("mysql") ? 2 : -1);
  EXPECT_EQ(table.find("d")->drops_zeros, is("sqlite"));
  std::vector<std::string> numbers{"100000", "0", "-12.5", "0.00000001", "999999999999999", "1000000000000000000"};
  if (is("postgresql")) numbers.insert(numbers.end(), {"1.50", "1" + std::string(300, '0'), "0.00"});
  if (is("mysql")) numbers = {"100000.00", "0.00", "-12.50", "999999999999999.00"};
  for (const std::string& number : numbers) {
    ASSERT_TRUE(is_ok(run(ReplaceRow{"prices", {{"id", std::int64_t{1}}}, {{"d", number}}, {}}))) << number;
    EXPECT_EQ(run(ReadRow{"prices", {{"id", std::int64_t{1}}}, {"d"}}).rows, std::vector<Row>{Row{number}});
  }
  if (!is("sqlite")) return;
  const Bound inexact{"d", std::string("123456789012345000000")};
  EXPECT_TRUE(fails(run(ReplaceRow{"prices", {{"id", std::int64_t{1}}}, {inexact}, {}}), Failure::refused, "22003"));
}

TEST_P(Rows, AStatementOfTheUsersOwnTakesTheTimestampsOfItsTable) {
  query("CREATE TABLE log (id BIGINT PRIMARY KEY, at " +
        std::string(is("mysql") ? "TIMESTAMP(6) NULL" : "TIMESTAMPTZ") + ", note VARCHAR(40))");
  const std::string at = "2024-06-21T10:00:00.500000Z";
  const RunStatement op{"INSERT INTO log (id, at, note) VALUES (:id, :at, :note)",
                        {{"id", std::int64_t{1}}, {"at", at}, {"note", at}},
                        "log"};
  ASSERT_TRUE(is_ok(run(op)));
  EXPECT_EQ(run(ReadRow{"log", {{"id", std::int64_t{1}}}, {"at", "note"}}).rows, (std::vector<Row>{Row{at, at}}));
}

TEST_P(Rows, ATriggerOfOthersMakesEveryColumnUncertain) {
  const auto is_rewritten = [&] { return run(Describe{"fruit"}).table->find("stock")->rewritten; };
  const auto add_trigger = [&](const std::string& name, const std::string& each) {
    if (is("postgresql")) {
      query("CREATE TRIGGER " + name + " AFTER UPDATE ON fruit FOR EACH " + each + " EXECUTE FUNCTION nothing()");
    } else {
      query("CREATE TRIGGER " + name + " AFTER UPDATE ON fruit FOR EACH ROW " +
            (is("sqlite") ? "BEGIN SELECT 1; END" : "SET @x = 1"));
    }
  };
  if (is("postgresql")) {
    query("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'");
  }
  EXPECT_FALSE(is_rewritten());
  add_trigger("sluice_fruit", "ROW");
  EXPECT_FALSE(is_rewritten());
  add_trigger("mine", "STATEMENT");
  EXPECT_TRUE(is_rewritten());
}

TEST_P(Rows, MergeRowCountsTheColumnsItAdds) {
  const Result result = run(merge(1, {{"colour", std::string("blue")}, {"weight", 1.5}, {"note", std::monostate{}}}));
  EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(result.affected, 1);
  EXPECT_EQ(fruit(), "1|apple|blue|NULL");
  const Result absent = run(merge(2, {{"name", std::string("pear")}, {"weight", 2.0}, {"note", std::monostate{}}}));
  EXPECT_TRUE(is_ok(absent));
  EXPECT_EQ(absent.affected, 2);
  EXPECT_EQ(read(2, {"name", "colour", "weight"}), (Row{std::string("pear"), std::string("green"), 2.0}));
}

TEST_P(Rows, AWriteTellsWhetherItHasMadeItsRow) {
  const auto write = [](std::int64_t id) {
    return modify(id, {"name"}, [id](const Row*) {
      return RowChange{RowChange::Kind::write, {{"name", "fruit " + std::to_string(id)}}, {}};
    });
  };
  const auto named = [](std::int64_t id) { return std::vector<Bound>{{"name", "fruit " + std::to_string(id)}}; };
  const std::vector<Op> ops{
      replace(1, named(1)), replace(10, named(10)), merge(1, named(1)), merge(11, named(11)), write(1), write(12),
      insert_only(1, "x")};
  for (const Op& op : ops) {
    const bool is_new = &op == &ops[1] || &op == &ops[3] || &op == &ops[5];
    const Result first = run(op);
    EXPECT_TRUE(is_ok(first));
    EXPECT_EQ(first.inserted, is_new) << &op - ops.data();
    EXPECT_FALSE(run(op).inserted) << &op - ops.data();
  }
  EXPECT_FALSE(run(replace(20, {{"name", std::string("fruit 1")}})).inserted);
  const Result all = run(WriteRows{{replace(21, named(21)), replace(1, named(1))}});
  ASSERT_EQ(all.parts.size(), 2U);
  EXPECT_TRUE(all.parts[0].inserted);
  EXPECT_FALSE(all.parts[1].inserted);
}

TEST_P(Rows, EachWriteOfAGroupTellsWhetherItHasMadeItsRow) {
  query("INSERT INTO fruit (id, name) VALUES (2, 'two'), (3, 'three')");
  std::vector<Op> replacements, merges;
  for (std::int64_t id = 1; id <= 6; ++id) {
    const std::vector<Bound> values{{"name", "fruit " + std::to_string(id)}, {"note", std::string("n")}};
    replacements.emplace_back(replace(id, values));
    merges.emplace_back(merge(id, values));
  }
  for (const auto* group : {&replacements, &merges}) {
    const auto results = run_group(*group);
    for (std::size_t i = 0; i < results.size(); ++i) {
      EXPECT_TRUE(is_ok(results[i]));
      EXPECT_EQ(results[i].inserted, i >= 3) << i;
    }
    query("DELETE FROM fruit WHERE id > 3");
  }
}

TEST_P(Rows, MergeRowWithoutANotNullColumnUpdatesButDoesNotInsert) {
  EXPECT_TRUE(is_ok(run(merge(1, {{"colour", std::string("blue")}}))));
  EXPECT_TRUE(fails(run(merge(2, {{"colour", std::string("blue")}})), Failure::refused, "23502"));
  EXPECT_EQ(fruit(), "1|apple|blue|kept");
}

TEST_P(Rows, DeleteRowTellsWhetherThereWasOne) {
  EXPECT_EQ(run(remove(1)).affected, 1);
  EXPECT_EQ(fruit(), "");
  const Result again = run(remove(1));
  EXPECT_TRUE(is_ok(again));
  EXPECT_EQ(again.affected, 0);
}

TEST_P(Rows, ListRowsPagesInKeyOrder) {
  query("CREATE TABLE orders (tenant VARCHAR(20), id BIGINT, PRIMARY KEY (tenant, id))");
  query("INSERT INTO orders VALUES ('b', 1), ('a', 10), ('a', 9), ('b', 0)");
  ListRows op{"orders", {"tenant", "id"}, {"tenant", "id"}, {}, 2};
  const auto row = [](const char* tenant, std::int64_t id) { return Row{std::string(tenant), id}; };
  EXPECT_EQ(run(op).rows, (std::vector<Row>{row("a", 9), row("a", 10)}));
  op.after = row("a", 10);
  EXPECT_EQ(run(op).rows, (std::vector<Row>{row("b", 0), row("b", 1)}));
  op.after = row("b", 1);
  EXPECT_TRUE(run(op).rows.empty());
}

TEST_P(Rows, ListRowsEndsAPageThatIsLargeEnough) {
  query(std::string("CREATE TABLE pages (id BIGINT PRIMARY KEY, text ") + (is("mysql") ? "LONGTEXT)" : "TEXT)"));
  constexpr std::int64_t kRows = 40;
  const std::string text(1 << 20, 'x');
  for (std::int64_t id = 1; id <= kRows; ++id) {
    ASSERT_TRUE(is_ok(run(ReplaceRow{"pages", {{"id", id}}, {{"text", text}}, {}})));
  }
  ListRows op{"pages", {"id"}, {"id", "text"}, {}, 1000};
  const Result page = run(op);
  ASSERT_TRUE(is_ok(page));
  EXPECT_EQ(page.affected, 1);
  EXPECT_EQ(page.rows.size(), kQueryBytesMax / text.size());
  op.after = {page.rows.back()[0]};
  const Result rest = run(op);
  ASSERT_TRUE(is_ok(rest));
  EXPECT_EQ(rest.affected, 0);
  EXPECT_EQ(page.rows.size() + rest.rows.size(), std::size_t{kRows});
}

// PostgreSQL takes the type of a parameter from the column, and refuses what is beyond it.
TEST_P(Rows, AKeyBeyondTheRangeOfItsColumnIsThatOfNoRow) {
  query("CREATE TABLE small (id INT, flag BOOLEAN, name VARCHAR(40), PRIMARY KEY (id, flag))");
  query(is("postgresql") ? "INSERT INTO small VALUES (7, true, 'seven'), (1, false, 'one')"
                         : "INSERT INTO small VALUES (7, 1, 'seven'), (1, 0, 'one')");
  const auto key = [](std::int64_t id, std::int64_t flag) { return std::vector<Bound>{{"id", id}, {"flag", flag}}; };
  const auto keep = std::make_shared<Decision>([](const Row* row) {
    EXPECT_EQ(row, nullptr);
    return RowChange{};
  });
  for (const std::int64_t id : {std::int64_t{3000000000}, INT64_MIN, INT64_MAX}) {
    const Result read = run(ReadRow{"small", key(id, 1), {"name"}});
    EXPECT_TRUE(is_ok(read));
    EXPECT_TRUE(read.rows.empty());
    const Result several =
        run(ReadRows{"small", {"id", "flag"}, {{std::int64_t{1}, std::int64_t{0}}, {id, std::int64_t{0}}}, {"name"}});
    EXPECT_TRUE(is_ok(several));
    EXPECT_EQ(several.rows, (std::vector<Row>{{std::int64_t{1}, std::int64_t{0}, std::string("one")}}));
    const Result removed = run(DeleteRow{"small", key(id, 1)});
    EXPECT_TRUE(is_ok(removed));
    EXPECT_EQ(removed.affected, 0);
    EXPECT_TRUE(is_ok(run(ModifyRow{"small", key(id, 1), {"name"}, keep})));
    const Result listed = run(ListRows{"small", {"id", "flag"}, {"id"}, {id, std::int64_t{1}}, 10});
    EXPECT_TRUE(is_ok(listed));
    EXPECT_EQ(listed.rows.size(), id > 0 ? 0U : 2U);
    if (is("sqlite")) continue;  // whose integers have 64 bits whatever they are called
    EXPECT_TRUE(fails(run(MergeRow{"small", key(id, 1), {{"name", std::string("x")}}}), Failure::refused, "22003"));
  }
  EXPECT_EQ(run(ReadRow{"small", key(7, 1), {"name"}}).rows, (std::vector<Row>{{std::string("seven")}}));
}

TEST_P(Rows, ListRowsLeavesOutThoseWithoutAKey) {
  query("CREATE TABLE badges (id BIGINT PRIMARY KEY, code VARCHAR(20) UNIQUE)");
  query("INSERT INTO badges VALUES (1, NULL), (2, 'b'), (3, NULL), (4, 'a')");
  ListRows op{"badges", {"code"}, {"id"}, {}, 1};
  EXPECT_EQ(run(op).rows, (std::vector<Row>{{std::int64_t{4}}}));
  op.after = {std::string("a")};
  EXPECT_EQ(run(op).rows, (std::vector<Row>{{std::int64_t{2}}}));
  op.after = {std::string("b")};
  EXPECT_TRUE(run(op).rows.empty());
}

TEST_P(Rows, ANullKeyIsRefused) {
  const Op op = ReplaceRow{"fruit", {{"id", std::monostate{}}}, {{"name", std::string("pear")}}, {}};
  EXPECT_TRUE(fails(run(op), Failure::refused, "23502"));
}

TEST_P(Rows, ValuesComeBackAsTheyWent) {
  query(
      "CREATE TABLE kinds (id BIGINT PRIMARY KEY, n BIGINT, r DOUBLE PRECISION, d DECIMAL(20,2), b BOOLEAN, t TEXT, "
      "x " +
      database->bytes_type() + ")");
  const std::string bytes("\0\xff'\\\n", 5);
  const Row row{kBig,       0.1, std::string("12345.67"), std::int64_t{1}, std::string("caf\xc3\xa9 \xf0\x9f\x8d\x8e"),
                Blob{bytes}};
  const std::vector<std::string> columns{"n", "r", "d", "b", "t", "x"};
  std::vector<Bound> values;
  for (std::size_t i = 0; i < row.size(); ++i) values.push_back({columns[i], row[i]});
  ASSERT_TRUE(is_ok(run(ReplaceRow{"kinds", {{"id", kBig}}, values, {}})));
  EXPECT_EQ(run(ReadRow{"kinds", {{"id", kBig}}, columns}).rows, std::vector<Row>{row});
  for (Bound& bound : values) bound.value = std::monostate{};
  ASSERT_TRUE(is_ok(run(ReplaceRow{"kinds", {{"id", kBig}}, values, {}})));
  EXPECT_EQ(run(ReadRow{"kinds", {{"id", kBig}}, columns}).rows, std::vector<Row>{Row(6)});
  ASSERT_TRUE(is_ok(run(MergeRow{"kinds", {{"id", kBig}}, {{"t", std::string()}, {"x", Blob{}}}})));
  EXPECT_EQ(run(ReadRow{"kinds", {{"id", kBig}}, {"t", "x"}}).rows, (std::vector<Row>{Row{std::string(), Blob{}}}));
}

TEST_P(Rows, AValueThatDoesNotFitIsRefusedAndNotToldToAnybody) {
  const auto before = fruit();
  const Result result = run(merge(1, {{"stock", std::string("secret")}}));
  EXPECT_TRUE(fails(result, Failure::refused, result.error.sqlstate)) << result.error.sqlstate;
  EXPECT_THAT(result.error.sqlstate, testing::StartsWith("22"));
  EXPECT_THAT(result.error.message, testing::Not(HasSubstr("secret")));
  EXPECT_EQ(fruit(), before);
}

TEST_P(Rows, DescribeTellsColumnsAndKeys) {
  const Result result = run(Describe{"fruit"});
  ASSERT_TRUE(is_ok(result));
  const Table& table = *result.table;
  std::vector<std::string> names;
  std::vector<ColumnType> types;
  for (const Column& column : table.columns) {
    names.push_back(column.name);
    types.push_back(column.type);
  }
  using enum ColumnType;
  EXPECT_EQ(names, (std::vector<std::string>{"id", "name", "colour", "weight", "stock", "note"}));
  EXPECT_EQ(types, (std::vector<ColumnType>{integer, text, text, real, integer, text}));
  EXPECT_EQ(table.unique_keys, (std::vector<std::vector<std::string>>{{"id"}, {"name"}}));
  EXPECT_FALSE(table.find("name")->nullable);
  EXPECT_TRUE(table.find("colour")->nullable);
  EXPECT_TRUE(table.find("colour")->has_default);
  EXPECT_FALSE(table.find("name")->has_default);
  EXPECT_TRUE(table.find("name")->in_unique_key);
  EXPECT_FALSE(table.find("note")->in_unique_key);
}

TEST_P(Rows, ASchemaChangeIsSeenByTheNextOperation) {
  EXPECT_TRUE(is_ok(run(merge(1, {{"stock", std::int64_t{5}}}))));
  EXPECT_EQ(read(1, {"stock"}), Row{std::int64_t{5}});
  query("ALTER TABLE fruit ADD COLUMN origin VARCHAR(20) DEFAULT 'here'");
  EXPECT_TRUE(is_ok(run(replace(1, {{"origin", std::string("there")}}))));
  EXPECT_TRUE(is_ok(run(replace(1, {}, {"origin"}))));
  EXPECT_EQ(read(1, {"origin"}), Row{std::string("here")});
  query("DROP TABLE fruit");
  query("CREATE TABLE fruit (id VARCHAR(20) PRIMARY KEY, stock VARCHAR(20))");
  EXPECT_TRUE(is_ok(run(ReplaceRow{"fruit", {{"id", std::string("a")}}, {{"stock", std::string("many")}}, {}})));
  EXPECT_EQ(run(ReadRow{"fruit", {{"id", std::string("a")}}, {"stock"}}).rows,
            std::vector<Row>{Row{std::string("many")}});
}

// --- Time

TEST_P(Rows, AnOperationWithoutTimeLeftDoesNotBegin) {
  const Deadline past = in(std::chrono::milliseconds(-1));
  EXPECT_TRUE(fails(run(remove(1), past), Failure::unavailable, "57014"));
  EXPECT_TRUE(fails(run(Ping{}, past), Failure::unavailable, "57014"));
  for (const Result& result : run_group({remove(1), remove(1)}, past)) {
    EXPECT_TRUE(fails(result, Failure::unavailable, "57014"));
  }
  EXPECT_EQ(fruit(), "1|apple|red|kept");
}

// --- Groups

TEST_P(Rows, ARefusedWriteOfAGroupFailsAlone) {
  const auto results =
      run_group({replace(2, {{"name", std::string("pear")}}), replace(3, {{"name", std::string("apple")}}),
                 DeleteRow{"nuts", {{"id", std::int64_t{1}}}}, merge(1, {{"colour", std::string("blue")}})});
  EXPECT_TRUE(is_ok(results[0]));
  EXPECT_TRUE(fails(results[1], Failure::refused, "23505"));
  EXPECT_TRUE(fails(results[2], Failure::schema, "42P01"));
  EXPECT_TRUE(is_ok(results[3]));
  EXPECT_EQ(results[0].affected, 1);
  EXPECT_EQ(fruit(), "1|apple|blue|kept;2|pear|green|NULL");
}

TEST_P(Rows, ManyRefusedWritesOfAGroupFailAlone) {
  std::vector<Op> ops;
  for (std::int64_t id = 10; id < 30; ++id) {
    ops.emplace_back(replace(id, {{"name", id % 2 == 0 ? "fruit " + std::to_string(id) : std::string("apple")}}));
  }
  const auto results = run_group(ops);
  for (std::size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i].ok(), i % 2 == 0) << i;
  EXPECT_EQ(query("SELECT count(*) FROM fruit"), "11");
}

TEST_P(Rows, WritesOfOneRowKeepTheirOrderInAGroup) {
  const auto results = run_group({replace(2, {{"name", std::string("a")}}), remove(2),
                                  replace(2, {{"name", std::string("b")}}), replace(2, {{"name", std::string("c")}}),
                                  increment(2), increment(2), merge(2, {{"note", std::string("last")}})});
  const std::vector<std::int64_t> affected{1, 1, 1, 0, 1, 1, 1};
  for (std::size_t i = 0; i < results.size(); ++i) {
    EXPECT_TRUE(is_ok(results[i]));
    EXPECT_EQ(results[i].affected, affected[i]) << i;
  }
  EXPECT_EQ(query("SELECT name, stock, note FROM fruit WHERE id = 2"), "c|2|last");
}

TEST_P(Rows, EveryWriteOfALargeGroupHasItsOwnResult) {
  std::vector<Op> ops;
  for (std::int64_t id = 300; id > 0; --id) ops.emplace_back(replace(id, {{"name", "fruit " + std::to_string(id)}}));
  const auto results = run_group(ops);
  for (std::size_t i = 0; i < results.size(); ++i) {
    EXPECT_TRUE(is_ok(results[i]));
    EXPECT_EQ(results[i].affected, i + 1 == results.size() ? 0 : 1) << i;
  }
  EXPECT_EQ(query("SELECT count(*), min(name), max(id) FROM fruit"), "300|fruit 1|300");
}

// --- ModifyRow

TEST_P(Rows, ADecisionSeesTheRowAndItsChangeIsMade) {
  const Result kept = run(insert_only(1, "pear"));
  EXPECT_TRUE(is_ok(kept));
  EXPECT_EQ(kept.affected, 0);
  EXPECT_EQ(kept.rows, std::vector<Row>{Row{std::string("apple")}});
  const Result inserted = run(insert_only(2, "pear"));
  EXPECT_TRUE(is_ok(inserted));
  EXPECT_EQ(inserted.affected, 1);
  EXPECT_TRUE(inserted.rows.empty());
  const Result reset = run(modify(1, {"note", "colour"}, [](const Row*) {
    return RowChange{RowChange::Kind::write, {{"note", std::string("new")}}, {"colour"}};
  }));
  EXPECT_EQ(reset.rows, (std::vector<Row>{Row{std::string("kept"), std::string("red")}}));
  EXPECT_EQ(fruit(), "1|apple|green|new;2|pear|green|NULL");
  const auto drop = [](const Row*) { return RowChange{RowChange::Kind::remove, {}, {}}; };
  EXPECT_EQ(run(modify(2, {}, drop)).affected, 1);
  EXPECT_EQ(run(modify(2, {}, drop)).affected, 0);
  EXPECT_EQ(fruit(), "1|apple|green|new");
}

TEST_P(Rows, OfTwoSessionsThatDecideAboutOneRowTheSecondSeesWhatTheFirstHasDone) {
  constexpr int kEach = 40;
  const auto work = [&](Session& own, std::int64_t id) {
    for (int i = 0; i < kEach; ++i) EXPECT_TRUE(is_ok(own.run(increment(id), soon())));
  };
  const auto other = backend->session();
  std::thread racer([&] { work(*other, 7); });  // the row is not there yet
  work(*session, 7);
  racer.join();
  EXPECT_EQ(query("SELECT stock FROM fruit WHERE id = 7"), std::to_string(2 * kEach));
}

TEST_P(Rows, OnlyOneOfTwoSessionsInsertsARow) {
  constexpr std::int64_t kRows = 60;
  std::array<std::int64_t, 2> won{};
  const auto other = backend->session();
  const auto work = [&](Session& own, std::int64_t& count) {
    for (std::int64_t id = 100; id < 100 + kRows; ++id) {
      const Result result = own.run(insert_only(id, "fruit " + std::to_string(id)), soon());
      EXPECT_TRUE(is_ok(result));
      count += result.affected;
    }
  };
  std::thread racer([&] { work(*other, won[0]); });
  work(*session, won[1]);
  racer.join();
  EXPECT_EQ(won[0] + won[1], kRows);
}

TEST_P(Rows, GroupsOfTwoSessionsOnTheSameRowsLoseNothing) {
  constexpr int kRounds = 15;
  const auto other = backend->session();
  const auto work = [&](Session& own, bool forwards) {
    for (int round = 0; round < kRounds; ++round) {
      std::vector<Op> ops;
      for (std::int64_t i = 0; i < 20; ++i) ops.emplace_back(increment(forwards ? 100 + i : 119 - i));
      const auto results = own.run_group(pointers_to(ops), soon());
      for (std::size_t i = 0; i < ops.size(); ++i) {
        EXPECT_TRUE(is_ok(results[i].locked ? own.run(ops[i], soon()) : results[i]));
      }
    }
  };
  std::thread racer([&] { work(*other, true); });
  work(*session, false);
  racer.join();
  EXPECT_EQ(query("SELECT count(*), min(stock), max(stock) FROM fruit WHERE id >= 100"), "20|30|30");
}

// --- WriteRows

TEST_P(Rows, SeveralWritesAreAllDoneOrNone) {
  const Result all = run(
      WriteRows{{replace(2, {{"name", std::string("pear")}}), merge(1, {{"note", std::string("new")}}), remove(9)}});
  ASSERT_TRUE(is_ok(all));
  EXPECT_EQ(all.affected, 1);
  ASSERT_EQ(all.parts.size(), 3U);
  EXPECT_EQ(all.parts[0].affected, 1);
  EXPECT_EQ(all.parts[1].affected, 0);
  EXPECT_EQ(all.parts[2].affected, 0);
  const auto before = fruit();
  EXPECT_EQ(before, "1|apple|red|new;2|pear|green|NULL");
  const Result none = run(WriteRows{{remove(2), replace(3, {{"name", std::string("apple")}})}});
  EXPECT_TRUE(fails(none, Failure::refused, "23505"));
  EXPECT_EQ(fruit(), before);
}

TEST_P(Rows, ADecisionThatRefusesUndoesWhatItIsPartOf) {
  const auto absent_only = [](const Row* row) {
    return RowChange{
        row == nullptr ? RowChange::Kind::write : RowChange::Kind::refuse, {{"name", std::string("x")}}, {}};
  };
  const Result result = run(WriteRows{{replace(2, {{"name", std::string("pear")}}), modify(1, {"id"}, absent_only)}});
  EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(result.affected, 0);
  EXPECT_EQ(fruit(), "1|apple|red|kept");
  EXPECT_EQ(run(WriteRows{{modify(3, {"id"}, absent_only)}}).affected, 1);
  EXPECT_EQ(query("SELECT name FROM fruit WHERE id = 3"), "x");
}

// --- RunStatement

TEST_P(Rows, AStatementOfTheUsersOwnTakesItsParametersByName) {
  const RunStatement op{"UPDATE fruit SET colour = :colour, note = :colour WHERE id = :id",
                        {{"id", std::int64_t{1}}, {"colour", std::string("blue")}}};
  const Result result = run(op);
  EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(result.affected, 1);
  EXPECT_EQ(fruit(), "1|apple|blue|blue");
  EXPECT_TRUE(fails(run(RunStatement{"DELETE FROM fruit WHERE id = :other", {}}), Failure::schema, "42P02"));
  EXPECT_TRUE(fails(run(RunStatement{"INSERT INTO fruit (id, name) VALUES (:id, 'apple')", {{"id", std::int64_t{2}}}}),
                    Failure::refused, "23505"));
  const auto group = run_group({op, remove(9), RunStatement{"DELETE FROM fruit WHERE id < :n", {{"n", kBig}}}});
  EXPECT_EQ(group[2].affected, 1);
  EXPECT_EQ(fruit(), "");
}

TEST_P(Rows, MoreStatementsThanAreKeptStillWork) {
  constexpr std::int64_t kTables = 300;
  for (std::int64_t i = 0; i < kTables; i += 100) {
    std::string columns;
    for (std::int64_t c = i; c < i + 100; ++c) columns += ", c" + std::to_string(c) + " BIGINT";
    query("CREATE TABLE wide" + std::to_string(i) + " (id BIGINT PRIMARY KEY" + columns + ")");
  }
  for (std::int64_t i = 0; i < kTables; ++i) {
    const std::string table = "wide" + std::to_string(i / 100 * 100);
    const std::string column = "c" + std::to_string(i);
    ASSERT_TRUE(is_ok(run(ReplaceRow{table, {{"id", i}}, {{column, i}}, {}})));
    ASSERT_EQ(run(ReadRow{table, {{"id", i}}, {column}}).rows, std::vector<Row>{Row{i}});
  }
}

using Holds = NewColumn::Holds;

// Names are data: nothing in them ends the statement.
TEST_P(Rows, AProposedTableIsTakenAndTellsKeysApart) {
  const NewTable proposed{"odd \"`' table",
                          {{"tenant", Holds::text, true},
                           {"id", Holds::integer, true},
                           {"part", Holds::uuid, true},
                           {"rest\"`", Holds::text, true},
                           {"note", Holds::text, false, "a remark"},
                           {"content", Holds::bytes},
                           {"until", Holds::moment}}};
  query(backend->table_ddl(proposed));
  const Result described = run(Describe{proposed.name});
  ASSERT_TRUE(is_ok(described));
  const Table& table = *described.table;
  EXPECT_EQ(table.unique_keys, (std::vector<std::vector<std::string>>{{"tenant", "id", "part", "rest\"`"}}));
  ASSERT_EQ(table.columns.size(), proposed.columns.size());
  for (const NewColumn& column : proposed.columns) {
    const Column* const real = table.find(column.name);
    ASSERT_NE(real, nullptr) << column.name;
    EXPECT_EQ(real->nullable, !column.is_key) << column.name;
    EXPECT_FALSE(real->rewritten || real->narrow) << column.name;
    EXPECT_TRUE(real->exact || !column.is_key) << column.name;
  }
  EXPECT_EQ(table.find("content")->type, ColumnType::bytes);
  EXPECT_EQ(table.find("id")->type, ColumnType::integer);
}

TEST_P(Rows, DescribeTellsIntegersOfLessThan64Bits) {
  query("CREATE TABLE sizes (big BIGINT, small INTEGER" + std::string(is("mysql") ? ", u BIGINT UNSIGNED)" : ")"));
  const Table table = *run(Describe{"sizes"}).table;
  EXPECT_FALSE(table.find("big")->narrow);
  EXPECT_EQ(table.find("small")->narrow, !is("sqlite"));
  EXPECT_TRUE(!is("mysql") || table.find("u")->narrow);
}

}  // namespace
}  // namespace sluice::sql

// Tests of the operations on rows, on a real SQLite file.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sqlite_fixture.h"

namespace sluice::sql {
namespace {

using testing::HasSubstr;
using testing::Not;
constexpr auto kMax = std::numeric_limits<std::int64_t>::max();

class SqliteRows : public SqliteTest {
 protected:
  SqliteRows() {
    outside.run(
        "CREATE TABLE fruit (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, colour TEXT DEFAULT 'green',"
        " weight REAL, price DECIMAL(10,2), ripe BOOLEAN, picked TIMESTAMP, photo BLOB, note TEXT)");
    outside.run("INSERT INTO fruit (id, name, colour, note) VALUES (1, 'apple', 'red', 'kept')");
  }

  static ReplaceRow replace(std::int64_t id, std::vector<Bound> values, std::vector<std::string> reset = {}) {
    return {"fruit", {{"id", id}}, std::move(values), std::move(reset)};
  }
  static MergeRow merge(std::int64_t id, std::vector<Bound> values) {
    return {"fruit", {{"id", id}}, std::move(values)};
  }
  Row read(std::int64_t id, std::vector<std::string> columns) {
    const Result result = run(ReadRow{"fruit", {{"id", id}}, std::move(columns)});
    EXPECT_TRUE(is_ok(result));
    return result.rows.size() == 1 ? result.rows[0] : Row{};
  }
};

TEST_F(SqliteRows, PingReachesTheFile) { EXPECT_TRUE(is_ok(run(Ping{}))); }

TEST_F(SqliteRows, ReadRowGivesTheColumnsInTheirOrder) {
  const Row expected{std::string("red"), std::int64_t{1}, std::monostate{}};
  EXPECT_EQ(read(1, {"colour", "id", "weight"}), expected);
}

TEST_F(SqliteRows, ReadRowOfAnAbsentKeyHasNoRow) {
  const Result result = run(ReadRow{"fruit", {{"id", std::int64_t{9}}}, {"name"}});
  EXPECT_TRUE(is_ok(result));
  EXPECT_TRUE(result.rows.empty());
}

TEST_F(SqliteRows, ReadRowSeesWhatWasCommittedAMomentAgo) {
  read(1, {"name"});
  outside.run("UPDATE fruit SET name = 'pear'");
  EXPECT_EQ(read(1, {"name"}), Row{std::string("pear")});
}

TEST_F(SqliteRows, ReadRowOfAMissingColumnIsASchemaErrorAndNotText) {
  EXPECT_TRUE(fails(run(ReadRow{"fruit", {{"id", std::int64_t{1}}}, {"flavour"}}), Failure::schema, "42703"));
}

TEST_F(SqliteRows, AMissingTableIsASchemaErrorForEveryOperation) {
  const std::vector<Bound> key{{"id", std::int64_t{1}}};
  for (const Op& op :
       std::vector<Op>{Describe{"nuts"}, ReadRow{"nuts", key, {"id"}}, ReplaceRow{"nuts", key, {}, {}},
                       MergeRow{"nuts", key, {}}, DeleteRow{"nuts", key}, ListRows{"nuts", {"id"}, {"id"}, {}, 1}}) {
    const Result result = run(op);
    EXPECT_TRUE(fails(result, Failure::schema, "42P01")) << name(op);
    EXPECT_THAT(result.error.message, HasSubstr("shop"));
    EXPECT_THAT(result.error.message, HasSubstr("nuts"));
  }
}

TEST_F(SqliteRows, IdentifiersWithQuotesAreOnlyNames) {
  outside.run(R"(CREATE TABLE "a""b" ("k""1" TEXT PRIMARY KEY, "v;--" TEXT))");
  const std::vector<Bound> key{{"k\"1", std::string("x")}};
  EXPECT_TRUE(is_ok(run(ReplaceRow{"a\"b", key, {{"v;--", std::string("'; DROP TABLE fruit; --")}}, {}})));
  const Result result = run(ReadRow{"a\"b", key, {"v;--"}});
  ASSERT_TRUE(is_ok(result));
  EXPECT_EQ(result.rows, std::vector<Row>{Row{std::string("'; DROP TABLE fruit; --")}});
}

// --- ReplaceRow

TEST_F(SqliteRows, ReplaceRowInsertsWhatIsAbsent) {
  const Result result = run(replace(2, {{"name", std::string("pear")}}, {"colour", "weight"}));
  EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(result.affected, 1);
  EXPECT_EQ(outside.run("SELECT id, name, colour, weight FROM fruit WHERE id = 2"), "2|pear|green|~");
}

TEST_F(SqliteRows, ReplaceRowResetsListedColumnsAndKeepsTheOthers) {
  const Result result = run(replace(1, {{"name", std::string("pear")}}, {"colour", "weight"}));
  EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(result.affected, 0);
  EXPECT_EQ(outside.run("SELECT * FROM fruit"), "1|pear|green|~|~|~|~|~|kept");
}

TEST_F(SqliteRows, ReplaceRowUnderstandsEveryFormOfDefault) {
  outside.run(
      "CREATE TABLE d (id INTEGER PRIMARY KEY, a DEFAULT -5, b TEXT DEFAULT bare, c TEXT DEFAULT \"a\", e DEFAULT (1 + "
      "2),"
      " f TEXT DEFAULT 'it''s', g DEFAULT TRUE, h DEFAULT NULL, i, j TEXT DEFAULT CURRENT_DATE)");
  outside.run("INSERT INTO d VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0, 0)");
  EXPECT_TRUE(
      is_ok(run(ReplaceRow{"d", {{"id", std::int64_t{1}}}, {}, {"a", "b", "c", "e", "f", "g", "h", "i", "j"}})));
  outside.run("INSERT INTO d (id) VALUES (2)");
  EXPECT_EQ(outside.run("SELECT a, b, c, e, f, g, h, i, j = CURRENT_DATE FROM d WHERE id = 1"),
            outside.run("SELECT a, b, c, e, f, g, h, i, j = CURRENT_DATE FROM d WHERE id = 2"));
}

TEST_F(SqliteRows, ReplaceRowThatMeetsAnotherRowsUniqueKeyIsRefusedAndChangesNothing) {
  outside.run("INSERT INTO fruit (id, name) VALUES (2, 'pear')");
  const auto before = outside.run("SELECT * FROM fruit");
  EXPECT_TRUE(fails(run(replace(2, {{"name", std::string("apple")}})), Failure::refused, "23505"));
  EXPECT_TRUE(fails(run(replace(3, {{"name", std::string("apple")}})), Failure::refused, "23505"));
  EXPECT_EQ(outside.run("SELECT * FROM fruit"), before);
}

TEST_F(SqliteRows, ConflictClausesOfTheSchemaNeitherDeleteAnotherRowNorDropTheWrite) {
  outside.run("CREATE TABLE r (id INTEGER PRIMARY KEY, name TEXT UNIQUE ON CONFLICT REPLACE)");
  outside.run("CREATE TABLE i (id INTEGER PRIMARY KEY, name TEXT UNIQUE ON CONFLICT IGNORE)");
  for (const std::string table : {"r", "i"}) {
    outside.run("INSERT INTO " + table + " VALUES (1, 'apple'), (2, 'pear')");
    for (const std::int64_t id : {2, 3}) {
      const Op op = ReplaceRow{table, {{"id", id}}, {{"name", std::string("apple")}}, {}};
      EXPECT_TRUE(fails(run(op), Failure::refused, "23505")) << table << id;
    }
    EXPECT_EQ(outside.run("SELECT * FROM " + table), "1|apple\n2|pear");
  }
}

TEST_F(SqliteRows, ReplaceRowWorksOnAKeyWithoutAUniqueIndex) {
  outside.run("CREATE TABLE loose (k TEXT, v TEXT)");
  const std::vector<Bound> key{{"k", std::string("a")}};
  EXPECT_EQ(run(ReplaceRow{"loose", key, {{"v", std::string("1")}}, {}}).affected, 1);
  EXPECT_EQ(run(ReplaceRow{"loose", key, {{"v", std::string("2")}}, {}}).affected, 0);
  EXPECT_EQ(outside.run("SELECT * FROM loose"), "a|2");
}

TEST_F(SqliteRows, AKeyThatSeveralRowsHaveIsASchemaErrorAndChangesNone) {
  outside.run("CREATE TABLE loose (k TEXT, v TEXT); INSERT INTO loose VALUES ('a', '1'), ('a', '2')");
  const std::vector<Bound> key{{"k", std::string("a")}};
  EXPECT_TRUE(fails(run(ReplaceRow{"loose", key, {{"v", std::string("3")}}, {}}), Failure::schema, "21000"));
  EXPECT_TRUE(fails(run(MergeRow{"loose", key, {{"v", std::string("3")}}}), Failure::schema, "21000"));
  EXPECT_TRUE(fails(run(DeleteRow{"loose", key}), Failure::schema, "21000"));
  EXPECT_EQ(outside.run("SELECT * FROM loose"), "a|1\na|2");
}

TEST_F(SqliteRows, ReplaceRowOfOnlyAKeyInsertsItOnce) {
  outside.run("CREATE TABLE members (name TEXT PRIMARY KEY)");
  const Op op = ReplaceRow{"members", {{"name", std::string("a")}}, {}, {}};
  EXPECT_EQ(run(op).affected, 1);
  const Result again = run(op);
  EXPECT_TRUE(is_ok(again));
  EXPECT_EQ(again.affected, 0);
}

TEST_F(SqliteRows, ASchemaChangeIsSeenByTheNextWrite) {
  run(replace(1, {{"colour", std::string("red")}}));
  outside.run("ALTER TABLE fruit ADD COLUMN origin TEXT DEFAULT 'here'");
  EXPECT_TRUE(is_ok(run(replace(1, {{"colour", std::string("red")}, {"origin", std::string("there")}}))));
  EXPECT_TRUE(is_ok(run(replace(1, {{"colour", std::string("red")}}, {"origin"}))));
  EXPECT_EQ(outside.run("SELECT origin FROM fruit"), "here");
}

// --- MergeRow

TEST_F(SqliteRows, MergeRowCountsTheColumnsItAdds) {
  const Result result = run(merge(1, {{"colour", std::string("blue")}, {"weight", 1.5}, {"note", std::monostate{}}}));
  EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(result.affected, 1);
  EXPECT_EQ(outside.run("SELECT name, colour, weight, note FROM fruit"), "apple|blue|1.5|~");
}

TEST_F(SqliteRows, MergeRowOfAnAbsentRowInsertsIt) {
  const Result result = run(merge(2, {{"name", std::string("pear")}, {"weight", 2.0}, {"note", std::monostate{}}}));
  EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(result.affected, 2);
  EXPECT_EQ(outside.run("SELECT name, colour, weight, note FROM fruit WHERE id = 2"), "pear|green|2.0|~");
}

TEST_F(SqliteRows, MergeRowWithoutANotNullColumnUpdatesButDoesNotInsert) {
  EXPECT_TRUE(is_ok(run(merge(1, {{"colour", std::string("blue")}}))));
  EXPECT_TRUE(fails(run(merge(2, {{"colour", std::string("blue")}})), Failure::refused, "23502"));
  EXPECT_EQ(outside.run("SELECT id, name, colour FROM fruit"), "1|apple|blue");
}

// --- DeleteRow, ListRows

TEST_F(SqliteRows, DeleteRowTellsWhetherThereWasOne) {
  const Op op = DeleteRow{"fruit", {{"id", std::int64_t{1}}}};
  EXPECT_EQ(run(op).affected, 1);
  EXPECT_EQ(outside.run("SELECT count(*) FROM fruit"), "0");
  const Result again = run(op);
  EXPECT_TRUE(is_ok(again));
  EXPECT_EQ(again.affected, 0);
}

TEST_F(SqliteRows, ListRowsPagesInKeyOrder) {
  outside.run("CREATE TABLE orders (tenant TEXT, id INTEGER, PRIMARY KEY (tenant, id))");
  outside.run("INSERT INTO orders VALUES ('b', 1), ('a', 10), ('a', 9), ('b', 0)");
  ListRows op{"orders", {"tenant", "id"}, {"tenant", "id"}, {}, 2};
  const auto row = [](const char* tenant, std::int64_t id) { return Row{std::string(tenant), id}; };
  EXPECT_EQ(run(op).rows, (std::vector<Row>{row("a", 9), row("a", 10)}));
  op.after = row("a", 10);
  EXPECT_EQ(run(op).rows, (std::vector<Row>{row("b", 0), row("b", 1)}));
  op.after = row("b", 1);
  EXPECT_TRUE(run(op).rows.empty());
}

// --- Values

TEST_F(SqliteRows, ValuesComeBackAsTheyWent) {
  const std::string zeros("\0a\0", 3);
  const std::vector<Bound> values{{"name", std::string()},
                                  {"weight", 0.1},
                                  {"price", std::string("1234567890123.45")},
                                  {"ripe", std::int64_t{1}},
                                  {"picked", std::string("2024-06-21T00:00:00")},
                                  {"photo", Blob{zeros}},
                                  {"note", std::string("\xc3\xa9\0x", 4)}};
  ASSERT_TRUE(is_ok(run(replace(kMax, values))));
  std::vector<std::string> columns;
  Row expected;
  for (const auto& bound : values) {
    columns.push_back(bound.column);
    expected.push_back(bound.value);
  }
  EXPECT_EQ(read(kMax, columns), expected);
}

TEST_F(SqliteRows, AnEmptyBlobIsNotNull) {
  ASSERT_TRUE(is_ok(run(replace(1, {{"photo", Blob{}}}))));
  EXPECT_EQ(read(1, {"photo"}), Row{Blob{}});
}

TEST_F(SqliteRows, TheDeclaredTypeDecidesWhatAReaderSees) {
  outside.run(
      "UPDATE fruit SET weight = 3, price = 0.00001, picked = '2024-06-21 10:00:00.5', photo = 'text', note = 7");
  const Row expected{3.0, std::string("0.00001"), std::string("2024-06-21T10:00:00.500000"), Blob{"text"},
                     std::string("7")};
  EXPECT_EQ(read(1, {"weight", "price", "picked", "photo", "note"}), expected);
}

struct Misfit {
  const char* column;
  Value value;
  const char* sqlstate;
};

TEST_F(SqliteRows, ValuesThatSqliteWouldStoreAsSomethingElseAreRefused) {
  const auto before = outside.run("SELECT * FROM fruit");
  const std::vector<Misfit> misfits{
      {"name", std::int64_t{5}, "22P02"},        {"name", Blob{"x"}, "22P02"},
      {"weight", std::string("12abc"), "22P02"}, {"weight", std::nan(""), "22003"},
      {"price", std::string("12abc"), "22P02"},  {"price", std::string("12345678901234.567"), "22003"},
      {"ripe", std::int64_t{2}, "22003"},        {"ripe", std::string("true"), "22P02"},
      {"photo", std::string("text"), "22P02"}};
  for (const auto& misfit : misfits) {
    const Result result = run(merge(1, {{misfit.column, misfit.value}}));
    EXPECT_TRUE(fails(result, Failure::refused, misfit.sqlstate)) << misfit.column;
    EXPECT_THAT(result.error.message, HasSubstr(misfit.column));
    EXPECT_THAT(result.error.message, Not(HasSubstr("12abc")));
  }
  EXPECT_EQ(outside.run("SELECT * FROM fruit"), before);
}

TEST_F(SqliteRows, TextThatItsColumnWouldTurnIntoANumberIsRefused) {
  outside.run("CREATE TABLE codes (id INTEGER PRIMARY KEY, code STRING)");
  const auto write = [&](const char* text) {
    return run(ReplaceRow{"codes", {{"id", std::int64_t{1}}}, {{"code", std::string(text)}}, {}});
  };
  EXPECT_TRUE(fails(write("007"), Failure::refused, "22003"));
  EXPECT_TRUE(is_ok(write("7")));
  EXPECT_TRUE(is_ok(write("007a")));
}

TEST_F(SqliteRows, ANullKeyIsRefusedRatherThanNumbered) {
  const Op op = ReplaceRow{"fruit", {{"id", std::monostate{}}}, {{"name", std::string("pear")}}, {}};
  EXPECT_TRUE(fails(run(op), Failure::refused, "23502"));
}

// --- Describe

TEST_F(SqliteRows, DescribeTellsTypesDefaultsAndNullability) {
  outside.run(
      "CREATE TABLE all_types (id INTEGER PRIMARY KEY, a BIGINT NOT NULL, b BOOL, c DOUBLE PRECISION, d NUMERIC, e "
      "DATE,"
      " f DATETIME, g TIMESTAMP, h UUID, i JSON, j BLOB, k VARCHAR(20) DEFAULT 'x', l, m TIME,"
      " n INTEGER GENERATED ALWAYS AS (a + 1))");
  const Result result = run(Describe{"all_types"});
  ASSERT_TRUE(is_ok(result));
  std::vector<ColumnType> types;
  for (const auto& column : result.table->columns) types.push_back(column.type);
  using enum ColumnType;
  EXPECT_EQ(types, (std::vector<ColumnType>{integer, integer, boolean, real, decimal, date, timestamp, timestamp, uuid,
                                            json, bytes, text, text, time, integer}));
  EXPECT_TRUE(result.table->find("id")->has_default);
  EXPECT_FALSE(result.table->find("id")->nullable);
  EXPECT_FALSE(result.table->find("a")->nullable);
  EXPECT_FALSE(result.table->find("a")->has_default);
  EXPECT_TRUE(result.table->find("k")->has_default);
  EXPECT_TRUE(result.table->find("k")->nullable);
  EXPECT_TRUE(result.table->find("n")->generated);
  EXPECT_FALSE(result.table->find("k")->generated);
}

TEST_F(SqliteRows, DescribeTellsUniqueKeysPrimaryKeyFirst) {
  outside.run("CREATE TABLE keys (a TEXT, b TEXT UNIQUE, c TEXT, d TEXT, e TEXT, PRIMARY KEY (c, a))");
  outside.run("CREATE UNIQUE INDEX partial ON keys (d) WHERE d > 'm'");
  outside.run("CREATE INDEX plain ON keys (e)");
  const Table table = *run(Describe{"keys"}).table;
  EXPECT_EQ(table.unique_keys, (std::vector<std::vector<std::string>>{{"c", "a"}, {"b"}}));
  EXPECT_TRUE(table.find("a")->in_unique_key);
  EXPECT_TRUE(table.find("d")->in_unique_key);
  EXPECT_FALSE(table.find("e")->in_unique_key);
}

TEST_F(SqliteRows, DescribeCountsTheRowidAliasAsUniqueKey) {
  const Table table = *run(Describe{"fruit"}).table;
  EXPECT_EQ(table.unique_keys, (std::vector<std::vector<std::string>>{{"id"}, {"name"}}));
}

TEST_F(SqliteRows, DescribeFindsTablesWithoutRowid) {
  outside.run("CREATE TABLE w (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID");
  const Table table = *run(Describe{"w"}).table;
  EXPECT_EQ(table.unique_keys, (std::vector<std::vector<std::string>>{{"k"}}));
  EXPECT_FALSE(table.find("k")->nullable);
  EXPECT_FALSE(table.find("k")->has_default);
}

TEST_F(SqliteRows, DescribeTellsWhichColumnsFoldDistinctValues) {
  outside.run("CREATE TABLE folds (a TEXT, b TEXT COLLATE NOCASE, c STRING, d INTEGER, e UUID)");
  const Table table = *run(Describe{"folds"}).table;
  EXPECT_TRUE(table.find("a")->exact);
  EXPECT_FALSE(table.find("b")->exact);
  EXPECT_FALSE(table.find("c")->exact);
  EXPECT_TRUE(table.find("d")->exact);
  EXPECT_TRUE(table.find("e")->exact);
}

// --- Errors of one row

TEST_F(SqliteRows, EveryKindOfConstraintHasItsSqlstate) {
  outside.run("CREATE TABLE farm (id INTEGER PRIMARY KEY)");
  outside.run(
      "CREATE TABLE crate (id INTEGER PRIMARY KEY, farm INTEGER REFERENCES farm (id), size INTEGER NOT NULL"
      " CHECK (size < 10), label TEXT)");
  outside.run(
      "CREATE TRIGGER no_mud BEFORE INSERT ON crate WHEN new.label = 'mud' BEGIN SELECT raise(ABORT, 'no mud'); END");
  const auto write = [&](std::vector<Bound> values) {
    return run(ReplaceRow{"crate", {{"id", std::int64_t{1}}}, std::move(values), {}});
  };
  EXPECT_TRUE(fails(write({{"size", std::monostate{}}}), Failure::refused, "23502"));
  EXPECT_TRUE(fails(write({{"size", std::int64_t{11}}}), Failure::refused, "23514"));
  EXPECT_TRUE(fails(write({{"size", std::int64_t{1}}, {"farm", std::int64_t{5}}}), Failure::refused, "23503"));
  EXPECT_TRUE(fails(write({{"size", std::int64_t{1}}, {"label", std::string("mud")}}), Failure::refused, "P0001"));
  EXPECT_EQ(outside.run("SELECT count(*) FROM crate"), "0");
}

TEST_F(SqliteRows, AStrictTableRefusesTheWrongType) {
  outside.run("CREATE TABLE s (id INTEGER PRIMARY KEY, a ANY CHECK (typeof(a) = 'text')) STRICT");
  outside.run("CREATE TRIGGER t BEFORE INSERT ON s BEGIN INSERT INTO s2 VALUES (new.a); END");
  outside.run("CREATE TABLE s2 (a INTEGER) STRICT");
  const Op op = ReplaceRow{"s", {{"id", std::int64_t{1}}}, {{"a", std::string("x")}}, {}};
  EXPECT_TRUE(fails(run(op), Failure::refused, "22P02"));
}

TEST_F(SqliteRows, AForeignKeyCheckedAtCommitIsRefused) {
  outside.run("CREATE TABLE farm (id INTEGER PRIMARY KEY)");
  outside.run(
      "CREATE TABLE crate (id INTEGER PRIMARY KEY, farm INTEGER REFERENCES farm (id) DEFERRABLE INITIALLY DEFERRED)");
  const Op op = ReplaceRow{"crate", {{"id", std::int64_t{1}}}, {{"farm", std::int64_t{5}}}, {}};
  EXPECT_TRUE(fails(run(op), Failure::refused, "23503"));
  EXPECT_EQ(outside.run("SELECT count(*) FROM crate"), "0");
  EXPECT_TRUE(is_ok(run(replace(1, {{"note", std::string("x")}}))));
}

TEST_F(SqliteRows, AValueBeyondSqlitesLimitIsRefused) {
  outside.run("CREATE TRIGGER t AFTER UPDATE ON fruit BEGIN SELECT length(zeroblob(1000000001)); END");
  EXPECT_TRUE(fails(run(merge(1, {{"note", std::string("x")}})), Failure::refused, "22001"));
}

// --- Groups

TEST_F(SqliteRows, ARefusedWriteOfAGroupFailsAlone) {
  const auto results =
      run_group({replace(2, {{"name", std::string("pear")}}), replace(3, {{"name", std::string("apple")}}),
                 DeleteRow{"nuts", {{"id", std::int64_t{1}}}}, merge(1, {{"colour", std::string("blue")}})});
  EXPECT_TRUE(is_ok(results[0]));
  EXPECT_TRUE(fails(results[1], Failure::refused, "23505"));
  EXPECT_TRUE(fails(results[2], Failure::schema, "42P01"));
  EXPECT_TRUE(is_ok(results[3]));
  EXPECT_EQ(outside.run("SELECT id, name, colour FROM fruit"), "1|apple|blue\n2|pear|green");
}

TEST_F(SqliteRows, AGroupRunsInOrder) {
  const auto results =
      run_group({replace(2, {{"name", std::string("a")}}), DeleteRow{"fruit", {{"id", std::int64_t{2}}}},
                 replace(2, {{"name", std::string("b")}}), replace(2, {{"name", std::string("c")}})});
  EXPECT_EQ(results[0].affected, 1);
  EXPECT_EQ(results[1].affected, 1);
  EXPECT_EQ(results[2].affected, 1);
  EXPECT_EQ(results[3].affected, 0);
  EXPECT_EQ(outside.run("SELECT name FROM fruit WHERE id = 2"), "c");
}

TEST_F(SqliteRows, AConstraintCheckedAtCommitFailsOnlyItsOwnWriteOfTheGroup) {
  outside.run("CREATE TABLE farm (id INTEGER PRIMARY KEY)");
  outside.run(
      "CREATE TABLE crate (id INTEGER PRIMARY KEY, farm INTEGER REFERENCES farm (id) DEFERRABLE INITIALLY DEFERRED)");
  const auto results = run_group({ReplaceRow{"crate", {{"id", std::int64_t{1}}}, {{"farm", std::int64_t{5}}}, {}},
                                  replace(2, {{"name", std::string("pear")}})});
  EXPECT_TRUE(fails(results[0], Failure::refused, "23503"));
  EXPECT_TRUE(is_ok(results[1]));
  EXPECT_EQ(outside.run("SELECT count(*) FROM crate"), "0");
  EXPECT_EQ(outside.run("SELECT name FROM fruit WHERE id = 2"), "pear");
}

TEST_F(SqliteRows, ATriggerThatRollsBackFailsOnlyItsOwnWriteOfTheGroup) {
  outside.run(
      "CREATE TRIGGER t BEFORE INSERT ON fruit WHEN new.name = 'mud' BEGIN SELECT raise(ROLLBACK, 'no mud'); END");
  const auto results =
      run_group({replace(2, {{"name", std::string("pear")}}), replace(3, {{"name", std::string("mud")}})});
  EXPECT_TRUE(is_ok(results[0]));
  EXPECT_TRUE(fails(results[1], Failure::refused, "P0001"));
  EXPECT_EQ(outside.run("SELECT name FROM fruit WHERE id > 1"), "pear");
}

TEST_F(SqliteRows, MoreStatementsThanAreKeptStillWork) {
  constexpr std::int64_t kTables = 140;
  outside.run("BEGIN");
  for (std::int64_t i = 0; i < kTables; ++i) {
    outside.run("CREATE TABLE t" + std::to_string(i) + " (k TEXT PRIMARY KEY, v INTEGER)");
  }
  outside.run("COMMIT");
  for (std::int64_t i = 0; i < 2 * kTables; ++i) {
    const std::string table = "t" + std::to_string(i % kTables);
    ASSERT_TRUE(is_ok(run(ReplaceRow{table, {{"k", std::string("a")}}, {{"v", i}}, {}})));
    ASSERT_EQ(run(ReadRow{table, {{"k", std::string("a")}}, {"v"}}).rows, std::vector<Row>{Row{i}});
  }
}

}  // namespace
}  // namespace sluice::sql

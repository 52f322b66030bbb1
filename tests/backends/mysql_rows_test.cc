// Tests of what is MySQL's own in the operations on rows: keys, groups, types, collations.
#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mysql_fixture.h"

namespace sluice::sql {
namespace {

using testing::HasSubstr;
using testing::Not;

class MysqlRows : public MysqlTest {
 protected:
  MysqlRows() {
    database.exec(
        "CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(40) UNIQUE, name VARCHAR(40) NOT NULL, "
        "age INT DEFAULT 18, note TEXT)");
    database.exec("INSERT INTO users VALUES (1, 'a@x', 'Ann', 30, NULL), (2, 'b@x', 'Bob', 40, 'kept')");
  }

  static Value text(const std::string& value) { return value; }
  static ReplaceRow replace(std::int64_t id, std::vector<Bound> values, std::vector<std::string> reset = {}) {
    return {"users", {{"id", id}}, std::move(values), std::move(reset)};
  }
  static MergeRow merge(std::int64_t id, std::vector<Bound> values) {
    return {"users", {{"id", id}}, std::move(values)};
  }
  std::string users() { return see("SELECT id, email, name, age, note FROM users ORDER BY id"); }
};

TEST_F(MysqlRows, PingReachesTheServer) { EXPECT_TRUE(is_ok(run(Ping{}))); }

TEST_F(MysqlRows, AMergeThatMeetsAnotherRowsUniqueKeyIsRefusedAndTurnsNoRowIntoAnother) {
  const std::string before = users();
  for (const std::int64_t id : {2, 3}) {
    const Result result = run(merge(id, {{"email", text("a@x")}, {"name", text("Cid")}}));
    EXPECT_TRUE(fails(result, Failure::refused, "23000"));
    EXPECT_THAT(result.error.message, HasSubstr("email"));
    EXPECT_THAT(result.error.message, Not(HasSubstr("a@x")));
  }
  EXPECT_TRUE(fails(run(replace(3, {{"email", text("a@x")}, {"name", text("Cid")}})), Failure::refused, "23000"));
  EXPECT_EQ(users(), before);
}

TEST_F(MysqlRows, AMergeDoesNotNeedTheColumnsThatItLeavesAlone) {
  EXPECT_EQ(run(merge(2, {{"age", std::int64_t{41}}})).affected, 0);
  EXPECT_EQ(run(merge(1, {{"age", std::int64_t{31}}, {"note", text("n")}})).affected, 1);
  EXPECT_EQ(users(), "1|a@x|Ann|31|n;2|b@x|Bob|41|kept");
  EXPECT_TRUE(fails(run(merge(3, {{"age", std::int64_t{5}}})), Failure::refused));
}

TEST_F(MysqlRows, AReplaceSetsItsColumnsResetsOthersAndTellsWhetherItInserted) {
  EXPECT_EQ(run(replace(2, {{"name", text("Bo")}}, {"age", "email"})).affected, 0);
  EXPECT_EQ(run(replace(3, {{"name", text("Cid")}}, {"age", "email"})).affected, 1);
  EXPECT_EQ(users(), "1|a@x|Ann|30|NULL;2|NULL|Bo|18|kept;3|NULL|Cid|18|NULL");
}

TEST_F(MysqlRows, AGroupHasTheResultsThatItsWritesWouldHaveOneByOne) {
  std::vector<Op> ops;
  for (std::int64_t id = 1; id <= 70; ++id) {
    ops.push_back(merge(id, {{"name", text("N" + std::to_string(id))}, {"note", text("n")}, {"age", Value()}}));
  }
  std::reverse(ops.begin(), ops.end());
  const auto results = run_group(ops);
  for (std::size_t i = 0; i < results.size(); ++i) EXPECT_TRUE(is_ok(results[i]));
  EXPECT_EQ(results[69].affected, 1);  // of 1: the note
  EXPECT_EQ(results[68].affected, 0);
  EXPECT_EQ(results[67].affected, 2);
  EXPECT_EQ(see("SELECT count(*), sum(name = concat('N', id)), sum(note = 'n'), sum(age IS NULL) FROM users"),
            "70|70|70|70");
  EXPECT_EQ(see("SELECT group_concat(email ORDER BY id) FROM users"), "a@x,b@x");
}

TEST_F(MysqlRows, AGroupOfReplacementsTellsWhichInserted) {
  std::vector<Op> ops;
  for (std::int64_t id = 1; id <= 5; ++id) ops.push_back(replace(id, {{"name", text("x")}}, {"age"}));
  const auto results = run_group(ops);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(results[i].affected, i < 2 ? 0 : 1) << i;
  EXPECT_EQ(see("SELECT sum(name = 'x'), sum(age = 18), count(*) FROM users"), "5|5|5");
}

TEST_F(MysqlRows, ARefusedWriteOfAGroupFailsAlone) {
  const auto results = run_group({merge(1, {{"name", text("A")}}), merge(2, {{"name", text(std::string(50, 'b'))}}),
                                  merge(3, {{"name", text("C")}}), merge(4, {{"name", Value()}}),
                                  merge(5, {{"name", text("E")}, {"email", text("a@x")}}),
                                  DeleteRow{"nuts", {{"id", std::int64_t{1}}}}, merge(6, {{"name", text("F")}})});
  EXPECT_TRUE(is_ok(results[0]));
  EXPECT_TRUE(fails(results[1], Failure::refused, "22001"));
  EXPECT_TRUE(is_ok(results[2]));
  EXPECT_TRUE(fails(results[3], Failure::refused, "23000"));
  EXPECT_TRUE(fails(results[4], Failure::refused, "23000"));
  EXPECT_TRUE(fails(results[5], Failure::schema, "42S02"));
  EXPECT_TRUE(is_ok(results[6]));
  EXPECT_EQ(results[6].affected, 1);
  EXPECT_EQ(see("SELECT group_concat(id, name ORDER BY id) FROM users"), "1A,2Bob,3C,6F");
}

TEST_F(MysqlRows, ALockedRowOfAGroupIsHandedBackAndTheOthersGoOn) {
  const auto holder = database.connect();
  holder->query("BEGIN; UPDATE users SET age = 1 WHERE id = 2");
  std::vector<Op> ops;
  for (std::int64_t id = 1; id <= 4; ++id) ops.push_back(merge(id, {{"name", text("x")}}));
  const auto results = run_group(ops);
  EXPECT_TRUE(fails(results[1], Failure::unavailable));
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(results[i].ok(), i != 1) << i << results[i].error.message;
    EXPECT_EQ(results[i].locked, i == 1) << i;
  }
  holder->query("ROLLBACK");
  EXPECT_EQ(see("SELECT group_concat(id, name ORDER BY id) FROM users"), "1x,2Bob,3x,4x");
}

TEST_F(MysqlRows, WhenTheTimeOfAGroupEndsAtARefusedWriteItsErrorIsNotThatOfTheOthers) {
  database.exec(
      "CREATE TRIGGER slow BEFORE INSERT ON users FOR EACH ROW BEGIN IF new.id > 100 THEN DO SLEEP(0.02); SIGNAL "
      "SQLSTATE '45000' SET message_text = 'no'; END IF; END");
  std::vector<Op> ops{merge(1, {{"name", text("x")}})};
  for (std::int64_t id = 101; id <= 160; ++id) ops.push_back(replace(id, {{"name", text("x")}}));
  EXPECT_TRUE(is_ok(run(Ping{})));
  const auto results = run_group(ops, in(std::chrono::milliseconds(500)));
  EXPECT_TRUE(fails(results[0], Failure::unavailable, "57014"));
  EXPECT_TRUE(fails(results[1], Failure::refused, "45000"));
  EXPECT_TRUE(fails(results.back(), Failure::unavailable, "57014"));
  EXPECT_EQ(see("SELECT name FROM users WHERE id = 1"), "Ann");
}

TEST_F(MysqlRows, ALargeValueOfAGroupHasTheTimeThatItTakes) {
  database.exec(
      "CREATE TABLE large (id INT PRIMARY KEY, v LONGBLOB); CREATE TRIGGER slow BEFORE INSERT ON large FOR EACH ROW "
      "DO SLEEP(length(new.v) / 1048576 * 0.08)");
  const auto large = [](std::int64_t id, std::size_t bytes) {
    return ReplaceRow{"large", {{"id", id}}, {{"v", Blob{std::string(bytes, 'x')}}}, {}};
  };
  for (const Result& result : run_group({large(1, 10), large(2, std::size_t{5} << 20)})) EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(see("SELECT count(*) FROM large"), "2");
}

TEST_F(MysqlRows, ARowOfKeyZeroIsNotGivenTheNextNumber) {
  database.exec("CREATE TABLE numbered (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(9))");
  const Op op = MergeRow{"numbered", {{"id", std::int64_t{0}}}, {{"name", text("zero")}}};
  for (int round = 0; round < 2; ++round) EXPECT_TRUE(is_ok(run(op)));
  EXPECT_EQ(see("SELECT * FROM numbered"), "0|zero");
}

TEST_F(MysqlRows, ARowThatIsTooLargeIsRefused) {
  std::string columns;
  for (int i = 0; i < 190; ++i) columns += ", c" + std::to_string(i) + " VARCHAR(60) CHARACTER SET latin1";
  database.exec("SET innodb_strict_mode = 0; CREATE TABLE wide (id INT PRIMARY KEY" + columns + ")");
  std::vector<Bound> values;
  for (int i = 0; i < 190; ++i) values.push_back({"c" + std::to_string(i), text(std::string(60, 'x'))});
  EXPECT_TRUE(fails(run(ReplaceRow{"wide", {{"id", std::int64_t{1}}}, values, {}}), Failure::refused, "42000"));
}

TEST_F(MysqlRows, AGroupWritesARowOfSeveralWritesInTheirOrder) {
  const auto results = run_group({replace(3, {{"name", text("a")}}), DeleteRow{"users", {{"id", std::int64_t{3}}}},
                                  replace(3, {{"name", text("b")}}), replace(3, {{"name", text("c")}}),
                                  merge(1, {{"name", text("d")}})});
  EXPECT_EQ(results[0].affected, 1);
  EXPECT_EQ(results[1].affected, 1);
  EXPECT_EQ(results[2].affected, 1);
  EXPECT_EQ(results[3].affected, 0);
  EXPECT_EQ(see("SELECT name FROM users WHERE id IN (1, 3) ORDER BY id"), "d;c");
}

TEST_F(MysqlRows, AGroupOnACollationThatMergesKeysWritesOneRow) {
  database.exec(
      "CREATE TABLE words (w VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, n INT);"
      "INSERT INTO words VALUES ('Abc', 1)");
  const auto word = [](const char* w, std::int64_t n) {
    return ReplaceRow{"words", {{"w", std::string(w)}}, {{"n", n}}, {}};
  };
  const auto results = run_group({word("abc", 5), word("ABC", 6), word("new", 7), word("NEW", 8)});
  for (const Result& result : results) EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(see("SELECT count(*) FROM words"), "2");
}

TEST_F(MysqlRows, AGroupHasKeysOfSeveralColumns) {
  database.exec("CREATE TABLE o (tenant VARCHAR(9), id INT, v VARBINARY(9), PRIMARY KEY (tenant, id))");
  std::vector<Op> ops;
  for (std::int64_t id = 0; id < 6; ++id) {
    ops.push_back(ReplaceRow{
        "o", {{"id", id % 3}, {"tenant", text(id < 3 ? "a" : "b")}}, {{"v", Blob{std::string("\0\xff", 2)}}}, {}});
  }
  for (int round = 0; round < 2; ++round) {
    for (const Result& result : run_group(ops)) {
      EXPECT_TRUE(is_ok(result));
      EXPECT_EQ(result.affected, round == 0 ? 1 : 0);
    }
  }
  EXPECT_EQ(see("SELECT tenant, id, hex(v) FROM o ORDER BY 1, 2"),
            "a|0|00FF;a|1|00FF;a|2|00FF;b|0|00FF;b|1|00FF;b|2|00FF");
}

TEST_F(MysqlRows, AKeyOfAnotherKindThanItsColumnMatchesNothingByChance) {
  database.exec("CREATE TABLE t (k VARCHAR(20) PRIMARY KEY, v INT); INSERT INTO t VALUES ('5abc', 1)");
  EXPECT_TRUE(fails(run(ReadRow{"t", {{"k", std::int64_t{5}}}, {"v"}}), Failure::refused));
  EXPECT_TRUE(fails(run(DeleteRow{"users", {{"id", text("1x")}}}), Failure::refused));
  EXPECT_EQ(see("SELECT count(*) FROM users"), "2");
}

TEST_F(MysqlRows, ATableMayBeNamedWithItsDatabase) {
  const std::string table = database.name() + ".users";
  const Result result = run(ReadRow{table, {{"id", std::int64_t{1}}}, {"name"}});
  ASSERT_TRUE(is_ok(result));
  EXPECT_EQ(result.rows, std::vector<Row>{Row{text("Ann")}});
  EXPECT_EQ(run(Describe{table}).table->unique_keys.size(), 2U);
}

TEST_F(MysqlRows, ValuesOfEveryTypeComeBackAsTheyWent) {
  database.exec(
      "CREATE TABLE v (id BIGINT UNSIGNED PRIMARY KEY, a BIGINT, b DOUBLE, c FLOAT, d DECIMAL(30,10), e BOOL, "
      "f VARBINARY(300), g LONGTEXT CHARACTER SET utf8mb4, h DATE, i DATETIME(6), j TIMESTAMP NULL, k TIME(6), "
      "l JSON, m UUID, n BIT(40), o LONGBLOB, p BIGINT UNSIGNED, q YEAR, r SET('x', 'y'), s TIMESTAMP(3) NULL)");
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  const std::vector<Bound> values{{"a", std::numeric_limits<std::int64_t>::min()},
                                  {"b", 0.1},
                                  {"c", 0.1},
                                  {"d", text("-12345678901234567890.1234567891")},
                                  {"e", std::int64_t{1}},
                                  {"f", Blob{bytes}},
                                  {"g", text("\xf0\x9f\x8d\x8e '\"\\ ; --")},
                                  {"h", text("2024-02-29")},
                                  {"i", text("2024-06-21T10:20:30.000007")},
                                  {"j", text("2024-06-21T00:00:00Z")},
                                  {"k", text("23:59:59.500000")},
                                  {"l", text("{\"a\": [1, 2]}")},
                                  {"m", text("123e4567-e89b-12d3-a456-426614174000")},
                                  {"n", std::int64_t{1} << 39},
                                  {"o", Blob{}},
                                  {"p", text("18446744073709551614")},
                                  {"q", text("1999")},
                                  {"r", text("x,y")},
                                  {"s", text("2024-06-21T00:00:00.123000Z")}};
  std::vector<std::string> columns;
  Row expected;
  for (const Bound& bound : values) {
    columns.push_back(bound.column);
    expected.push_back(bound.value);
  }
  const std::vector<Value> keys{text("18446744073709551615"), std::int64_t{7}, text("18446744073709551614")};
  std::vector<Op> ops;
  for (const Value& key : keys) ops.push_back(ReplaceRow{"v", {{"id", key}}, values, {}});
  for (int round = 0; round < 2; ++round) {
    for (const Result& result : run_group(ops)) ASSERT_TRUE(is_ok(result));
    for (const Value& key : keys) {
      const Result read = run(ReadRow{"v", {{"id", key}}, columns});
      ASSERT_TRUE(is_ok(read));
      EXPECT_EQ(read.rows, std::vector<Row>{expected});
    }
  }
  EXPECT_EQ(see("SELECT count(*) FROM v"), "3");
}

TEST_F(MysqlRows, ALongTextIsReadWhole) {
  const std::string long_text(60000, 'x');
  ASSERT_TRUE(is_ok(run(merge(1, {{"note", text(long_text)}}))));
  EXPECT_EQ(run(ReadRow{"users", {{"id", std::int64_t{1}}}, {"note", "id"}}).rows,
            (std::vector<Row>{Row{text(long_text), std::int64_t{1}}}));
}

TEST_F(MysqlRows, ValuesThatTheServerWouldBendAreRefused) {
  database.exec(
      "CREATE TABLE z (id INT PRIMARY KEY, d DATE, t TIMESTAMP NULL, i TINYINT, b BOOL, n DECIMAL(4,2), "
      "e ENUM('x'), v VARCHAR(3))");
  const std::vector<Bound> misfits{{"d", text("0000-00-00")}, {"d", text("2024-00-01")}, {"d", text("2024-02-30")},
                                   {"i", std::int64_t{128}},  {"b", std::int64_t{2}},    {"n", text("1000")},
                                   {"n", text("12abc")},      {"e", text("y")},          {"v", text("long")},
                                   {"v", text("\xff")},       {"i", text("5")},          {"d", std::int64_t{20240101}}};
  for (const Bound& misfit : misfits) {
    const Result result = run(ReplaceRow{"z", {{"id", std::int64_t{1}}}, {misfit}, {}});
    EXPECT_TRUE(fails(result, Failure::refused)) << misfit.column;
    EXPECT_THAT(result.error.message, Not(HasSubstr("12abc")));
    EXPECT_THAT(result.error.message, Not(HasSubstr("2024-02-30")));
  }
  EXPECT_EQ(see("SELECT count(*) FROM z"), "0");
}

// --- Describe

TEST_F(MysqlRows, DescribeTellsTypesAndWhatTheDatabaseDoesToValues) {
  database.exec(
      "CREATE TABLE d (id INT AUTO_INCREMENT PRIMARY KEY, a BIGINT UNSIGNED NOT NULL, b BOOL, c FLOAT, d DECIMAL(10,2)"
      " DEFAULT 3, e VARCHAR(20) DEFAULT 'x', f TEXT, g INT AS (id + 1) VIRTUAL, h JSON, i CHAR(3), j TIMESTAMP(3)"
      " NULL, k DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, l UUID, m VARBINARY(9), n YEAR,"
      " o ENUM('a'), p TIME(2), q DATE, r DOUBLE)");
  const Result result = run(Describe{"d"});
  ASSERT_TRUE(is_ok(result));
  const Table& table = *result.table;
  std::vector<ColumnType> types;
  std::string rewritten, defaults, generated;
  for (const Column& column : table.columns) {
    types.push_back(column.type);
    rewritten += column.rewritten ? column.name : "";
    defaults += column.has_default ? column.name : "";
    generated += column.generated ? column.name : "";
  }
  using enum ColumnType;
  EXPECT_EQ(types, (std::vector<ColumnType>{integer, integer, boolean, real, decimal, text, text, integer, json, text,
                                            timestamptz, timestamp, uuid, bytes, text, text, time, date, real}));
  EXPECT_EQ(rewritten, "ikno");
  EXPECT_EQ(defaults, "iddek");
  EXPECT_EQ(generated, "g");
  EXPECT_TRUE(table.find("c")->single);
  EXPECT_FALSE(table.find("r")->single);
  EXPECT_EQ(table.find("d")->scale, 2);
  EXPECT_EQ(table.find("j")->scale, 3);
  EXPECT_EQ(table.find("k")->scale, 0);
  EXPECT_EQ(table.find("p")->scale, 2);
  EXPECT_FALSE(table.find("a")->nullable);
  EXPECT_TRUE(table.find("b")->nullable);
}

TEST_F(MysqlRows, DescribeTellsUniqueKeysPrimaryKeyFirst) {
  database.exec(
      "CREATE TABLE k (a INT, b VARCHAR(20), c INT, d INT NOT NULL, UNIQUE aa (d), UNIQUE part (b(3)), "
      "PRIMARY KEY (c, a), KEY plain (b))");
  const Table table = *run(Describe{"k"}).table;
  EXPECT_EQ(table.unique_keys, (std::vector<std::vector<std::string>>{{"c", "a"}, {"d"}}));
  EXPECT_TRUE(table.find("b")->in_unique_key);
}

TEST_F(MysqlRows, DescribeTellsWhichColumnsFoldDistinctValues) {
  database.exec(
      "CREATE TABLE c (a VARCHAR(9) COLLATE utf8mb4_general_ci, b VARCHAR(9) COLLATE utf8mb4_bin, "
      "c VARCHAR(9) COLLATE utf8mb4_nopad_bin, d VARBINARY(9), e INT, f CHAR(3) COLLATE utf8mb4_nopad_bin, g UUID)");
  std::string exact;
  const Table table = *run(Describe{"c"}).table;
  for (const Column& column : table.columns) exact += column.exact ? column.name : "";
  EXPECT_EQ(exact, "cdeg");
}

TEST_F(MysqlRows, ATriggerMakesEveryColumnUncertainUnlessItIsSluicesOwn) {
  database.exec("CREATE TRIGGER sluice_users AFTER UPDATE ON users FOR EACH ROW SET @x = 1");
  EXPECT_FALSE(run(Describe{"users"}).table->find("name")->rewritten);
  database.exec("CREATE TRIGGER mine BEFORE UPDATE ON users FOR EACH ROW SET new.age = 1");
  EXPECT_TRUE(run(Describe{"users"}).table->find("name")->rewritten);
}

TEST_F(MysqlRows, WritesOfAPolicyWithAnOutboxAreMarkedForTriggers) {
  database.exec(
      "CREATE TABLE seen (w VARCHAR(20)); CREATE TRIGGER t AFTER UPDATE ON users FOR EACH ROW INSERT INTO seen VALUES "
      "(@sluice_writer)");
  MergeRow guarded = merge(1, {{"age", std::int64_t{1}}});
  guarded.guard = "user";
  run(guarded);
  run(merge(1, {{"age", std::int64_t{2}}}));
  database.exec("UPDATE users SET age = 3 WHERE id = 1");
  EXPECT_EQ(see("SELECT * FROM seen"), ",user,;;NULL");
}

// --- Statements of the user's own, several writes

TEST_F(MysqlRows, AStatementOfTheUsersOwnHasNamedParameters) {
  const RunStatement op{
      "INSERT INTO users (id, name) VALUES (:id, :n) ON DUPLICATE KEY UPDATE name = concat(:n, ':id')",
      {{"id", std::int64_t{1}}, {"n", text("'; --")}}};
  EXPECT_TRUE(is_ok(run(op)));
  EXPECT_EQ(see("SELECT name FROM users WHERE id = 1"), "'; --:id");
  EXPECT_TRUE(fails(run(RunStatement{"DELETE FROM users WHERE id = :x", {}}), Failure::schema));
}

TEST_F(MysqlRows, SeveralWritesAreAllOrNothing) {
  EXPECT_TRUE(fails(run(WriteRows{{merge(1, {{"age", std::int64_t{1}}}), merge(9, {{"age", std::int64_t{1}}})}}),
                    Failure::refused));
  EXPECT_EQ(see("SELECT age FROM users WHERE id = 1"), "30");
  const Result result = run(WriteRows{{merge(1, {{"age", std::int64_t{1}}}), replace(9, {{"name", text("I")}})}});
  ASSERT_TRUE(is_ok(result));
  EXPECT_EQ(result.parts.size(), 2U);
  EXPECT_EQ(see("SELECT count(*), min(age) FROM users"), "3|1");
}

TEST_F(MysqlRows, ListRowsPagesInKeyOrder) {
  database.exec(
      "CREATE TABLE orders (tenant VARCHAR(9), id INT, x INT, PRIMARY KEY (tenant, id, x));"
      "INSERT INTO orders VALUES ('b', 1, 1), ('a', 10, 1), ('a', 9, 2), ('a', 9, 1), ('b', 0, 1)");
  ListRows op{"orders", {"tenant", "id", "x"}, {"tenant", "id", "x"}, {}, 1};
  std::string pages;
  for (Result result = run(op); result.ok() && !result.rows.empty(); result = run(op)) {
    op.after = result.rows[0];
    pages += std::get<std::string>(op.after[0]) + std::to_string(std::get<std::int64_t>(op.after[1])) +
             std::to_string(std::get<std::int64_t>(op.after[2])) + " ";
  }
  EXPECT_EQ(pages, "a91 a92 a101 b01 b11 ");
}

}  // namespace
}  // namespace sluice::sql

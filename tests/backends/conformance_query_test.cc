// Tests of what every backend does alike with queries of the user's own.
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conformance.h"

namespace sluice::sql {
namespace {

using testing::HasSubstr;
constexpr std::int64_t kBig = 9007199254740993;  // 2^53 + 1: no double holds it

class Queries : public Conformance {
 protected:
  Queries() {
    query("CREATE TABLE department (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL)");
    query("CREATE TABLE employee (id BIGINT PRIMARY KEY, name VARCHAR(400), department_id INT)");
    query("INSERT INTO department VALUES (1, 'sales'), (2, 'it')");
    query("INSERT INTO employee VALUES (1, 'ann', 1), (2, 'bob', 2), (9007199254740993, NULL, 2)");
  }

  // With the two columns of every text that is told apart.
  std::vector<std::pair<std::string, ColumnType>> columns_of(const Result& result) {
    EXPECT_TRUE(is_ok(result));
    std::vector<std::pair<std::string, ColumnType>> columns;
    for (const Column& column : result.columns) columns.emplace_back(column.name, column.type);
    return columns;
  }
  std::vector<Row> rows_of(const std::string& sql, std::vector<Bound> parameters = {}) {
    const Result result = run(ReadQuery{sql, std::move(parameters)});
    EXPECT_TRUE(is_ok(result)) << sql;
    return result.rows;
  }
  // So many rows of one text each.
  std::string many(int rows, const std::string& text) const {
    if (is("mysql")) return "SELECT " + text + " AS v FROM seq_1_to_" + std::to_string(rows);
    return "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " + std::to_string(rows) +
           ") SELECT " + text + " AS v FROM n";
  }
  std::string endless() const {
    if (is("mysql")) return "SELECT SLEEP(60) AS v";
    if (is("postgresql")) return "SELECT pg_sleep(60) AS v";
    return "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS v FROM n";
  }
};

INSTANTIATE_TEST_SUITE_P(Every, Queries, every_engine(), engine_name);

TEST_P(Queries, GiveTheirColumnsAndRowsInTheirOrder) {
  const Result result = run(ReadQuery{
      "SELECT e.id, e.name AS who, d.name AS department FROM employee e JOIN department d ON d.id = e.department_id "
      "ORDER BY e.id DESC",
      {}});
  using Columns = std::vector<std::pair<std::string, ColumnType>>;
  EXPECT_EQ(columns_of(result),
            (Columns{{"id", ColumnType::integer}, {"who", ColumnType::text}, {"department", ColumnType::text}}));
  EXPECT_EQ(result.rows, (std::vector<Row>{{kBig, {}, std::string("it")},
                                           {std::int64_t{2}, std::string("bob"), std::string("it")},
                                           {std::int64_t{1}, std::string("ann"), std::string("sales")}}));
}

TEST_P(Queries, OfNoRowsStillTellTheirColumns) {
  const Result result = run(ReadQuery{"SELECT id, name FROM department WHERE id = 9", {}});
  EXPECT_EQ(columns_of(result).size(), 2U);
  EXPECT_TRUE(result.rows.empty());
}

TEST_P(Queries, TakeIntegersForEveryKindOfIntegerColumnAndTexts) {
  const std::vector<Row> ann{{std::string("ann")}};
  const std::vector<Bound> one{{"id", std::int64_t{1}}};
  EXPECT_EQ(rows_of("SELECT name FROM employee WHERE id = :id", one), ann);
  EXPECT_EQ(rows_of("SELECT name FROM employee WHERE department_id = :id", one), ann);
  EXPECT_EQ(rows_of("SELECT name FROM employee WHERE id = :id AND department_id = :id", one), ann);
  EXPECT_EQ(rows_of("SELECT department_id FROM employee WHERE id = :id", {{"id", kBig}}),
            (std::vector<Row>{{std::int64_t{2}}}));
  EXPECT_EQ(rows_of("SELECT e.name FROM employee e JOIN department d ON d.id = e.department_id WHERE d.name = :dept",
                    {{"dept", std::string("sales")}}),
            ann);
  EXPECT_EQ(rows_of("SELECT name FROM employee ORDER BY id LIMIT :n", {{"n", std::int64_t{1}}}), ann);
}

TEST_P(Queries, ValuesAreNeverPartOfTheSql) {
  const std::string nasty = "x' OR '1' = '1'; -- \\ \" ` $1 ? :id";
  EXPECT_TRUE(rows_of("SELECT id FROM employee WHERE name = :name", {{"name", nasty}}).empty());
}

TEST_P(Queries, GiveEveryTypeInTheFormThatRowsReadByTableHave) {
  query("CREATE TABLE kinds (i BIGINT, r DOUBLE PRECISION, d DECIMAL(30,4), t VARCHAR(20), b " +
        std::string(is("mysql") ? "TINYINT(1)" : "BOOLEAN") + ", day DATE, at " +
        std::string(is("mysql") ? "DATETIME(6)" : "TIMESTAMP") + ", clock TIME, x " + database->bytes_type() + ")");
  const std::string bytes = is("postgresql") ? "'\\x00ff'" : "x'00ff'";
  query("INSERT INTO kinds VALUES (9007199254740993, 0.5, 1234567890.25, 'a', " +
        std::string(is("postgresql") ? "true" : "1") + ", '2024-06-21', '2024-06-21 10:00:00.5', '10:00:01', " + bytes +
        "), (7, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)");
  const std::vector<std::string> names{"i", "r", "d", "t", "b", "day", "at", "clock", "x"};
  const Result table = run(Describe{"kinds"});
  const Result by_table = run(ListRows{"kinds", {"i"}, names, {}, 9});
  ASSERT_TRUE(is_ok(table));
  const Result result = run(ReadQuery{"SELECT i, r, d, t, b, day, at, clock, x FROM kinds", {}});
  const auto columns = columns_of(result);
  ASSERT_EQ(columns.size(), names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(columns[i].second, table.table->find(names[i])->type) << names[i];
  }
  EXPECT_THAT(result.rows, testing::UnorderedElementsAreArray(by_table.rows));
  EXPECT_EQ(result.rows.size(), 2U);
}

TEST_P(Queries, GiveComputedNumbersAsNumbers) {
  const auto rows = rows_of("SELECT COUNT(*) AS n, SUM(id) AS total, MAX(id) AS top FROM employee");
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0][0], Value(std::int64_t{3}));
  const std::string total = std::to_string(kBig + 3);  // some engines add integers up to a decimal
  EXPECT_TRUE(rows[0][1] == Value(kBig + 3) || rows[0][1] == Value(total));
  EXPECT_EQ(rows[0][2], Value(kBig));
}

TEST_P(Queries, OfTwoColumnsOfOneNameAreRefusedByName) {
  const std::string sql = "SELECT e.id, d.id FROM employee e JOIN department d ON d.id = e.department_id";
  for (const Op& op : std::vector<Op>{ReadQuery{sql, {}}, ReadQuery{sql + " WHERE d.id = 9", {}}, DescribeQuery{sql}}) {
    const Result result = run(op);
    EXPECT_TRUE(fails(result, Failure::schema, "42701"));
    EXPECT_THAT(result.error.message, HasSubstr("'id'"));
    EXPECT_THAT(result.error.message, HasSubstr("shop"));
  }
  EXPECT_EQ(rows_of("SELECT name FROM department WHERE id = 1").size(), 1U);
}

TEST_P(Queries, ChangeNothing) {
  for (const std::string sql : {"INSERT INTO department VALUES (3, 'hr')", "DELETE FROM department"}) {
    EXPECT_EQ(run(ReadQuery{sql, {}}).error.failure, Failure::schema) << sql;
  }
  if (is("postgresql")) {
    query("CREATE SEQUENCE numbers");
    EXPECT_TRUE(fails(run(ReadQuery{"SELECT nextval('numbers') AS n", {}}), Failure::schema, "25006"));
    const std::string hidden = "WITH gone AS (DELETE FROM department RETURNING id) SELECT id FROM gone";
    EXPECT_TRUE(fails(run(ReadQuery{hidden, {}}), Failure::schema, "25006"));
    const std::string undone = "SELECT set_config('transaction_read_only', 'off', true) AS v";
    EXPECT_FALSE(run(ReadQuery{undone, {}}).ok());
  }
  EXPECT_EQ(query("SELECT id FROM department ORDER BY id"), "1;2");
  // The session still writes.
  EXPECT_TRUE(is_ok(run(ReplaceRow{"department", {{"id", std::int64_t{3}}}, {{"name", std::string("hr")}}, {}})));
  EXPECT_EQ(rows_of("SELECT id FROM department ORDER BY id").size(), 3U);
  EXPECT_TRUE(is_ok(run(DeleteRow{"department", {{"id", std::int64_t{3}}}})));
  EXPECT_EQ(query("SELECT id FROM department ORDER BY id"), "1;2");
}

TEST_P(Queries, OfTooManyRowsAreRefused) {
  ReadQuery op{many(1000, "1"), {}};
  op.rows_max = 999;
  const Result result = run(op);
  EXPECT_TRUE(fails(result, Failure::refused, "54000"));
  EXPECT_TRUE(result.rows.empty());
  EXPECT_THAT(result.error.message, HasSubstr("more than 999 rows"));
  op.rows_max = 1000;
  EXPECT_EQ(run(op).rows.size(), 1000U);
}

TEST_P(Queries, OfTooManyBytesAreRefusedAndTheSessionGoesOn) {
  const std::string text = "'" + std::string(1000, 'x') + "'";
  ReadQuery op{many(2000, text), {}};
  op.bytes_max = 1000000;
  EXPECT_TRUE(fails(run(op), Failure::refused, "54000"));
  op.bytes_max = 10000000;
  const Result result = run(op);
  ASSERT_TRUE(is_ok(result));
  ASSERT_EQ(result.rows.size(), 2000U);
  EXPECT_EQ(result.rows[1999], Row{std::string(1000, 'x')});
}

TEST_P(Queries, EndWithTheirDeadline) {
  const auto begun = std::chrono::steady_clock::now();
  const Result result = run(ReadQuery{endless(), {}}, in(std::chrono::milliseconds(300)));
  EXPECT_TRUE(fails(result, Failure::unavailable, "57014"));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(30));
  EXPECT_EQ(rows_of("SELECT name FROM department WHERE id = 1").size(), 1U);
}

TEST_P(Queries, ThatTheDatabaseDoesNotUnderstandAreSchemaErrors) {
  for (const bool described : {false, true}) {
    const auto ask = [&](const std::string& sql) {
      return run(described ? Op(DescribeQuery{sql}) : Op(ReadQuery{sql, {}}));
    };
    EXPECT_TRUE(fails(ask("SELECT id FROM nowhere"), Failure::schema, "42P01"));
    EXPECT_TRUE(fails(ask("SELECT flavour FROM department"), Failure::schema, "42703"));
    EXPECT_EQ(ask("SELECT FROM WHERE").error.failure, Failure::schema);
    EXPECT_EQ(ask("DROP TABLE nowhere").error.failure, Failure::schema);
  }
  EXPECT_TRUE(fails(run(ReadQuery{"SELECT :x AS v", {}}), Failure::schema, "42P02"));
  EXPECT_TRUE(is_ok(run(Ping{})));
}

TEST_P(Queries, AreDescribedWithoutBeingRun) {
  const std::string sql =
      "SELECT e.id, e.name AS who, COUNT(*) AS n FROM employee e WHERE e.id = :id AND e.name <> :name "
      "GROUP BY e.id, e.name";
  const auto described = columns_of(run(DescribeQuery{sql}));
  EXPECT_EQ(described, columns_of(run(ReadQuery{sql, {{"id", std::int64_t{1}}, {"name", std::string("x")}}})));
  ASSERT_EQ(described.size(), 3U);
  EXPECT_EQ(described[1].first, "who");
  EXPECT_TRUE(is_ok(run(DescribeQuery{endless()})));
}

// Elsewhere an integer is of 64 bits.
TEST_P(Queries, OnPostgresqlTakeTheTypeOfAParameterFromWhereItStands) {
  const std::vector<Bound> large{{"id", std::int64_t{3000000000}}};
  const std::string sql = "SELECT name FROM department WHERE id = :id";
  EXPECT_EQ(run(ReadQuery{sql, large}).error.sqlstate, is("postgresql") ? "22003" : "");
  if (is("postgresql")) {
    EXPECT_TRUE(rows_of(sql + "::bigint", large).empty());
  }
}

TEST_P(Queries, FollowAChangeOfTheTable) {
  const std::string sql = "SELECT * FROM department WHERE id = :id";
  const std::vector<Bound> one{{"id", std::int64_t{1}}};
  EXPECT_EQ(rows_of(sql, one).size(), 1U);
  query("ALTER TABLE department ADD COLUMN floor INT");
  EXPECT_EQ(rows_of(sql, one), (std::vector<Row>{{std::int64_t{1}, std::string("sales"), {}}}));
}

}  // namespace
}  // namespace sluice::sql

// Tests of what PostgreSQL's row writes do to cost little: rows that share a statement, and writes of one exchange.
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/pool.h"
#include "postgres_fixture.h"
#include "tests/servers/tcp_proxy.h"

namespace sluice::sql {
namespace {

using servers::Engine;
using servers::TcpProxy;
using std::chrono::milliseconds;
using testing::HasSubstr;

Op drop(std::int64_t id) { return DeleteRow{"fruit", {{"id", id}}}; }

class PostgresGroup : public PostgresTest {
 protected:
  PostgresGroup() { query("ALTER TABLE fruit ADD note TEXT DEFAULT 'none'"); }

  Result run_one(const Op& op, Deadline deadline = soon()) { return run_group({op}, deadline)[0]; }
  void expect_written(const std::vector<Op>& ops) {
    for (const Result& result : run_group(ops)) EXPECT_TRUE(is_ok(result));
  }
  // From here on every row notes the statement that writes it, and how often.
  void note_statements(const std::string& table) {
    query("CREATE TABLE IF NOT EXISTS log (statement TEXT)");
    query(
        "CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES "
        "(current_query()); RETURN new; END'");
    query("CREATE TRIGGER t BEFORE UPDATE ON " + table + " FOR EACH ROW EXECUTE FUNCTION note()");
  }
  std::string shared() {  // rows written since the last call: by shared statements, by others
    std::string rows = query(
        "SELECT count(*) FILTER (WHERE statement LIKE '%unnest%'), count(*) FILTER (WHERE statement NOT LIKE "
        "'%unnest%') FROM log");
    query("DELETE FROM log");
    return rows;
  }
};

// --- Rows that share a statement

TEST_F(PostgresGroup, RowsOfOneShapeShareAStatementAndThoseThatAreAbsentAreInserted) {
  expect_written({write_fruit(1), write_fruit(3)});
  note_statements("fruit");
  const auto results = run_group({write_fruit(4, std::string("d")), write_fruit(3, std::string("c")),
                                  write_fruit(2, std::string("b")), write_fruit(1, std::string("a"))});
  for (std::size_t i = 0; i < results.size(); ++i) {
    EXPECT_TRUE(is_ok(results[i]));
    EXPECT_EQ(results[i].inserted, i % 2 == 0) << i;
    EXPECT_EQ(results[i].affected, i % 2 == 0 ? 1 : 0) << i;
  }
  EXPECT_EQ(fruit(), "1|a;2|b;3|c;4|d");
  EXPECT_EQ(shared(), "2|0");
}

TEST_F(PostgresGroup, EachShapeOfAGroupHasItsStatement) {
  for (std::int64_t id = 1; id <= 10; ++id) run_group({write_fruit(id)});
  query("UPDATE fruit SET note = 'old'");
  note_statements("fruit");
  const auto full = [](std::int64_t id, std::vector<std::string> reset) {
    return ReplaceRow{"fruit", {{"id", id}}, {{"name", std::string("full")}}, std::move(reset)};
  };
  const auto note = [](std::int64_t id) { return ReplaceRow{"fruit", {{"id", id}}, {{"note", std::string("n")}}, {}}; };
  expect_written({full(1, {"note"}), note(2), write_fruit(3), full(4, {"note"}), note(5),
                  write_fruit(6, std::monostate{}),
                  MergeRow{"fruit", {{"id", std::int64_t{7}}}, {{"note", std::string("m")}}}, write_fruit(3), drop(7),
                  full(8, {"note"}), note(9), write_fruit(10)});
  EXPECT_EQ(query("SELECT * FROM fruit ORDER BY id"),
            "1|full|none;2|apple|n;3|apple|old;4|full|none;5|apple|n;6|NULL|old;8|full|none;9|apple|n;10|apple|old");
  EXPECT_EQ(shared(), "9|2");
}

TEST_F(PostgresGroup, ABadRowFailsAloneWithTheErrorThatItHasAlone) {
  query("ALTER TABLE fruit ADD CHECK (name <> 'bad'), ADD weight NUMERIC(4,1)");
  const auto weigh = [](std::int64_t id, const std::string& weight) -> Op {
    return ReplaceRow{"fruit", {{"id", id}}, {{"weight", weight}}, {}};
  };
  expect_written({weigh(1, "1"), weigh(2, "2"), weigh(3, "3")});
  for (const auto& [bad, sqlstate] : {std::pair{write_fruit(2, std::string("bad")), "23514"},
                                      {write_fruit(2, std::string("a\0b", 3)), "22021"},
                                      {write_fruit(2, std::string("\xff")), "22021"},
                                      {weigh(2, "12345.6"), "22003"},
                                      {weigh(2, "{1}"), "22P02"}}) {
    const bool weighs = std::get<ReplaceRow>(bad).values[0].column == "weight";
    const auto good = [&](std::int64_t id) { return weighs ? weigh(id, "7.0") : write_fruit(id, std::string("good")); };
    const auto results = run_group({good(1), bad, good(3), good(4)});
    const Result alone = session->run(bad, soon());
    EXPECT_TRUE(fails(results[1], Failure::refused, sqlstate));
    EXPECT_EQ(results[1].error, alone.error);
    for (const std::size_t i : {0, 2, 3}) EXPECT_TRUE(is_ok(results[i])) << sqlstate;
  }
  EXPECT_EQ(query("SELECT id, name, weight FROM fruit ORDER BY id"), "1|good|7.0;2|NULL|2.0;3|good|7.0;4|good|7.0");
}

TEST_F(PostgresGroup, AfterFailuresRowsShareStatementsAgain) {
  expect_written({write_fruit(1), write_fruit(2), write_fruit(3)});
  query("ALTER TABLE fruit ADD CHECK (name <> 'bad')");
  for (int i = 0; i < 3; ++i)
    EXPECT_FALSE(run_group({write_fruit(1), write_fruit(2, std::string("bad")), write_fruit(3)})[1].ok());
  note_statements("fruit");
  for (int i = 0; i < 8; ++i) expect_written({write_fruit(1), write_fruit(2), write_fruit(3)});
  EXPECT_THAT(shared(), testing::Not(testing::StartsWith("0|")));
}

TEST_F(PostgresGroup, ALockedRowLeavesTheGroup) {
  expect_written({write_fruit(1), write_fruit(2), write_fruit(3)});
  const auto holder = database.connect();
  holder->query("BEGIN; SELECT * FROM fruit WHERE id = 2 FOR UPDATE");
  const auto results =
      run_group({write_fruit(1, std::string("a")), write_fruit(2, std::string("b")), write_fruit(3, std::string("c"))});
  EXPECT_TRUE(results[1].locked);
  EXPECT_TRUE(fails(results[1], Failure::unavailable, "55P03"));
  EXPECT_TRUE(is_ok(results[0]));
  EXPECT_TRUE(is_ok(results[2]));
  EXPECT_EQ(fruit(), "1|a;2|apple;3|c");
}

TEST_F(PostgresGroup, ValuesAreNotTakenForPartsOfAnArray) {
  const std::vector<Value> values{std::string(""),
                                  std::string("NULL"),
                                  std::string("null"),
                                  std::monostate{},
                                  std::string("a,b"),
                                  std::string("{}"),
                                  std::string("}{"),
                                  std::string("\""),
                                  std::string("\\"),
                                  std::string("\\\""),
                                  std::string("\"a\",\"b\""),
                                  std::string(" spaces "),
                                  std::string("\t\n\r\v\f"),
                                  std::string("it's $1 -- ;"),
                                  std::string("\xc3\xa9\xe2\x82\xac\xf0\x9f\x8d\x8e"),
                                  std::string("\\x41"),
                                  std::string("(1,2)"),
                                  std::int64_t{-5},
                                  0.1};
  query("CREATE TABLE texts (k TEXT PRIMARY KEY, v TEXT)");
  std::vector<Op> ops;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto* text = std::get_if<std::string>(&values[i]);
    const std::string key = text == nullptr ? "key " + std::to_string(i) : *text;
    ops.emplace_back(ReplaceRow{"texts", {{"k", key}}, {{"v", values[i]}}, {}});
  }
  expect_written(ops);
  query("UPDATE texts SET v = 'old'");
  note_statements("texts");
  expect_written(ops);
  EXPECT_EQ(shared(), std::to_string(values.size()) + "|0");
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Result result = session->run(ReadRow{"texts", std::get<ReplaceRow>(ops[i]).key, {"v"}}, soon());
    ASSERT_EQ(result.rows.size(), 1U) << i;
    const bool is_text = std::holds_alternative<std::string>(values[i]) || values[i] == Value{};
    EXPECT_EQ(result.rows[0][0], is_text ? values[i] : Value{std::string(i + 1 == values.size() ? "0.1" : "-5")}) << i;
  }
}

// What each column keeps of a value must not depend on how many rows are written.
TEST_F(PostgresGroup, EveryTypeKeepsWhatItKeepsOfARowAlone) {
  query(
      "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN short AS VARCHAR(5);"
      "CREATE DOMAIN list AS INT[]; CREATE TYPE pair AS (a INT, b TEXT)");
  const std::vector<std::pair<std::string, Value>> values{
      {"SMALLINT", std::int64_t{-32768}},
      {"INT", std::int64_t{2147483647}},
      {"BIGINT", std::int64_t{9007199254740993}},
      {"REAL", 0.1},
      {"DOUBLE PRECISION", 0.1},
      {"NUMERIC(30,5)", std::string("1234567890123456789012345.678905")},
      {"NUMERIC", std::string("1.500")},
      {"BOOLEAN", std::int64_t{1}},
      {"DATE", std::string("2024-06-21")},
      {"TIMESTAMP(3)", std::string("2024-06-21T10:00:00.123456")},
      {"TIMESTAMPTZ", std::string("2024-06-21T10:00:00.500000Z")},
      {"TIME", std::string("10:00:00.500000")},
      {"INTERVAL", std::string("1 day 02:00:00")},
      {"UUID", std::string("123e4567-e89b-12d3-a456-426614174000")},
      {"JSON", std::string("{\"a\": 1,  \"a\": \"\\\"2\\\\\"}")},
      {"JSONB", std::string("{\"a\": 1, \"b\": [\"\\u00e9\", null]}")},
      {"BYTEA", std::string("\\x00ff")},
      {"TEXT", std::string("a ")},
      {"VARCHAR(3)", std::string("abc  ")},
      {"CHAR(4)", std::string("ab")},
      {"CHAR", std::string("a")},
      {"\"char\"", std::string("a")},
      {"NAME", std::string("a name")},
      {"BIT(3)", std::string("101")},
      {"BIT VARYING", std::string("10")},
      {"INET", std::string("10.0.0.1/8")},
      {"POINT", std::string("(1,2)")},
      {"BOX", std::string("(1,1),(0,0)")},
      {"INT4RANGE", std::string("[1,5)")},
      {"XML", std::string("<a b=\"c\"/>")},
      {"mood", std::string("happy")},
      {"short", std::string("abcde ")},
      {"list", std::string("{1,2}")},
      {"pair", std::string("(1,\"x,y\")")},
      {"TEXT[]", std::string("{a,\"b,c\",NULL}")},
  };
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::string& type = values[i].first;
    const std::string table = "t" + std::to_string(i);
    query(std::string("CREATE TABLE ").append(table).append(" (id BIGINT PRIMARY KEY, v ").append(type).append(")"));
    const auto put = [&](std::int64_t id) -> Op {
      return ReplaceRow{table, {{"id", id}}, {{"v", id == 4 ? Value{} : values[i].second}}, {}};
    };
    EXPECT_TRUE(is_ok(session->run(put(1), soon()))) << type;
    query("INSERT INTO " + table + " SELECT g, NULL FROM generate_series(2, 4) g");
    note_statements(table);
    expect_written({put(2), put(3), put(4)});
    EXPECT_EQ(query("SELECT count(*), count(v), count(DISTINCT v::text) FROM " + table), "4|3|1") << type;
    EXPECT_EQ(query("SELECT octet_length(v::text) FROM " + table + " WHERE id = 2"),
              query("SELECT octet_length(v::text) FROM " + table + " WHERE id = 1"))
        << type;
    EXPECT_EQ(shared(), type == "BOX" || type == "pair" || type == "TEXT[]" ? "0|3" : "3|0") << type;
  }
}

TEST_F(PostgresGroup, KeysOfEveryTypeFindTheirRows) {
  query(
      "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN short AS VARCHAR(5);"
      "CREATE TABLE many (k UUID, n NUMERIC, at TIMESTAMPTZ, d DATE, m mood, s short, c CHAR(4), t TEXT, v TEXT,"
      " PRIMARY KEY (t, k, n, at, d, m, s, c))");
  const auto put = [&](const std::string& t, const std::string& v) -> Op {
    return ReplaceRow{"many",
                      {{"k", std::string("123e4567-e89b-12d3-a456-426614174000")},
                       {"n", std::string("1.5")},
                       {"at", std::string("2024-06-21T10:00:00Z")},
                       {"d", std::string("2024-06-21")},
                       {"m", std::string("sad")},
                       {"s", std::string("abcde")},
                       {"c", std::string("ab")},
                       {"t", t}},
                      {{"v", v}},
                      {}};
  };
  expect_written({put("1", "a"), put("2", "a")});
  note_statements("many");
  expect_written({put("1", "b"), put("2", "c"), put("3", "d")});
  EXPECT_EQ(query("SELECT t, v FROM many ORDER BY t"), "1|b;2|c;3|d");
  EXPECT_EQ(shared(), "2|0");
}

TEST_F(PostgresGroup, KeysThatAreEqualThoughTheirTextsDifferAreWrittenOneAfterTheOther) {
  query("CREATE TABLE prices (p NUMERIC PRIMARY KEY, v TEXT)");
  const auto put = [](const std::string& p) -> Op { return ReplaceRow{"prices", {{"p", p}}, {{"v", p}}, {}}; };
  expect_written({put("1"), put("2")});
  expect_written({put("1"), put("1.0"), put("2"), put("1.00")});
  EXPECT_EQ(query("SELECT * FROM prices ORDER BY p"), "1|1.00;2|2");
}

TEST_F(PostgresGroup, SeveralRowsWithOneKeyAreASchemaErrorThatLeavesTheOthersAlone) {
  query("CREATE TABLE loose (k TEXT, v TEXT)");
  query("INSERT INTO loose VALUES ('a', '1'), ('b', '1'), ('b', '2'), ('c', '1')");
  const auto put = [](const std::string& k) -> Op { return ReplaceRow{"loose", {{"k", k}}, {{"v", k}}, {}}; };
  const auto results = run_group({put("a"), put("b"), put("c"), put("d")});
  EXPECT_TRUE(fails(results[1], Failure::schema, "21000"));
  for (const std::size_t i : {0, 2, 3}) EXPECT_TRUE(is_ok(results[i])) << i;
  EXPECT_EQ(query("SELECT * FROM loose ORDER BY k, v"), "a|a;b|1;b|2;c|c;d|d");
  EXPECT_TRUE(fails(run_one(put("b")), Failure::schema, "21000"));
  // A table that inherits from it has rows of its own under its key.
  query("CREATE TABLE more (extra TEXT) INHERITS (fruit)");
  expect_written({write_fruit(1), write_fruit(2)});
  query("INSERT INTO more VALUES (1, 'other')");
  EXPECT_TRUE(fails(run_one(write_fruit(1, std::string("x"))), Failure::schema, "21000"));
  EXPECT_TRUE(fails(run_group({write_fruit(1, std::string("x")), write_fruit(2), write_fruit(3)})[0], Failure::schema,
                    "21000"));
  EXPECT_EQ(query("SELECT name FROM fruit WHERE id = 1 ORDER BY name"), "apple;other");
}

TEST_F(PostgresGroup, AColumnMayChangeItsTypeUnderWay) {
  query("CREATE TABLE moving (id BIGINT PRIMARY KEY, v INT)");
  const auto put = [](std::int64_t id, const std::string& v) -> Op {
    return ReplaceRow{"moving", {{"id", id}}, {{"v", v}}, {}};
  };
  expect_written({put(1, "1"), put(2, "2"), put(3, "3")});
  for (int i = 0; i < 8; ++i) expect_written({put(1, "1"), put(2, "2"), put(3, "3")});
  query("ALTER TABLE moving ALTER v TYPE TEXT");
  expect_written({put(1, "one"), put(2, "two"), put(3, "three")});
  EXPECT_EQ(query("SELECT * FROM moving ORDER BY id"), "1|one;2|two;3|three");
  query("ALTER TABLE moving ALTER v TYPE DATE USING NULL");
  expect_written({put(1, "2024-06-21"), put(2, "2024-06-22"), put(3, "2024-06-23")});
  EXPECT_TRUE(
      fails(run_group({put(1, "2024-06-21"), put(2, "two"), put(3, "2024-06-21")})[1], Failure::refused, "22007"));
  query("ALTER TABLE moving RENAME v TO w");
  for (const Result& result : run_group({put(1, "1"), put(2, "2"), put(3, "3")})) {
    EXPECT_TRUE(fails(result, Failure::schema, "42703"));
  }
  query("DROP TABLE moving; CREATE TABLE moving (id TEXT PRIMARY KEY, v BOOLEAN)");
  expect_written({put(1, "true"), put(2, "false"), put(3, "true")});
  expect_written({put(1, "false"), put(2, "true"), put(3, "false")});
  EXPECT_EQ(query("SELECT * FROM moving ORDER BY id"), "1|f;2|t;3|f");
}

TEST_F(PostgresGroup, AStatementOfTheUsersOwnIsPlannedAsUsual) {
  query("CREATE TABLE plans (scan TEXT)");
  expect_written({write_fruit(1), write_fruit(2)});
  const RunStatement note{"INSERT INTO plans VALUES (current_setting('enable_seqscan'))", {}};
  expect_written({note});
  expect_written({write_fruit(1), write_fruit(2)});
  expect_written({note, write_fruit(1), write_fruit(2)});
  EXPECT_EQ(query("SELECT DISTINCT scan FROM plans"), "on");
}

TEST_F(PostgresGroup, MoreThanFitsInOneStatementIsWritten) {
  const std::string large(std::size_t{400} << 10, 'x');
  std::vector<Op> ops;
  for (std::int64_t id = 0; id < 300; ++id) ops.push_back(write_fruit(id, id < 6 ? large : std::string("small")));
  expect_written(ops);
  expect_written(ops);
  EXPECT_EQ(query("SELECT count(*), sum(length(name)) FROM fruit"),
            "300|" + std::to_string(6 * large.size() + std::size_t{294} * 5));
}

// --- Writes of one exchange

TEST_F(PostgresGroup, ALoneWriteAndItsCommitTravelTogether) {
  TcpProxy proxy(database.port());
  options.endpoint.port = static_cast<std::uint16_t>(proxy.port());
  query("INSERT INTO fruit VALUES (1, 'old')");
  for (const auto& [op, word] :
       {std::pair{write_fruit(1), "UPDATE"}, {write_fruit(2), "INSERT INTO"}, {drop(2), "DELETE"}}) {
    session = make_session();
    const std::string before = fruit();
    proxy.arm(TcpProxy::Fault::drop_answer, word);
    const Result result = run_one(op);
    EXPECT_EQ(result.error.failure, Failure::unknown) << word;
    EXPECT_THAT(result.error.message, HasSubstr("COMMIT"));
    EXPECT_TRUE(servers::wait_until([&] { return fruit() != before; }, 20000)) << word;
  }
  EXPECT_EQ(fruit(), "1|apple");
  EXPECT_TRUE(is_ok(run_one(write_fruit(3))));
}

TEST_F(PostgresGroup, ALoneWriteThatNobodyAnswersIsUnknown) {
  TcpProxy proxy(database.port());
  options.endpoint.port = static_cast<std::uint16_t>(proxy.port());
  session = make_session();
  proxy.arm(TcpProxy::Fault::hang, "COMMIT");
  EXPECT_EQ(run_one(write_fruit(1), in(milliseconds{300})).error.failure, Failure::unknown);
  EXPECT_EQ(fruit(), "");
}

TEST_F(PostgresGroup, ALoneWriteTellsWhatItHasDone) {
  const Result inserted = run_one(write_fruit(1));
  EXPECT_TRUE(inserted.ok() && inserted.inserted);
  EXPECT_EQ(inserted.affected, 1);
  const Result replaced = run_one(write_fruit(1, std::string("pear")));
  EXPECT_TRUE(replaced.ok() && !replaced.inserted);
  EXPECT_EQ(replaced.affected, 0);
  EXPECT_EQ(fruit(), "1|pear");
  EXPECT_EQ(run_one(drop(1)).affected, 1);
  EXPECT_EQ(run_one(drop(1)).affected, 0);
  EXPECT_TRUE(fails(run_one(ReplaceRow{"fruit", {{"id", Value{}}}, {{"name", std::string("x")}}, {}}), Failure::refused,
                    "23502"));
  EXPECT_TRUE(fails(run_one(ReplaceRow{"nuts", {{"id", std::int64_t{1}}}, {{"name", std::string("x")}}, {}}),
                    Failure::schema, "42P01"));
}

TEST_F(PostgresGroup, ALoneWriteThatIsRefusedLeavesNothingBehind) {
  query("CREATE TABLE farm (id BIGINT PRIMARY KEY)");
  query("ALTER TABLE fruit ADD farm BIGINT REFERENCES farm DEFERRABLE INITIALLY DEFERRED, ADD UNIQUE (name)");
  EXPECT_TRUE(is_ok(run_one(write_fruit(1))));
  EXPECT_TRUE(fails(run_one(ReplaceRow{"fruit", {{"id", std::int64_t{1}}}, {{"farm", std::int64_t{5}}}, {}}),
                    Failure::refused, "23503"));
  EXPECT_TRUE(fails(run_one(write_fruit(2)), Failure::refused, "23505"));
  EXPECT_TRUE(fails(run_one(write_fruit(2, std::string("a\0b", 3))), Failure::refused, "22021"));
  EXPECT_TRUE(is_ok(run_one(write_fruit(2, std::string("pear")))));
  EXPECT_EQ(query("SELECT id, name, farm FROM fruit ORDER BY id"), "1|apple|NULL;2|pear|NULL");
}

TEST_F(PostgresGroup, AConnectionThatWasEndedWhileIdleIsReplacedForALoneWrite) {
  for (std::int64_t id = 1; id <= 3; ++id) {
    ASSERT_TRUE(is_ok(run_one(write_fruit(id))));
    query(
        "SELECT count(pg_terminate_backend(pid, 20000)) FROM pg_stat_activity WHERE application_name = 'sluice' AND "
        "datname = current_database()");
  }
  EXPECT_TRUE(is_ok(run_one(drop(1))));
  EXPECT_EQ(fruit(), "2|apple;3|apple");
}

TEST_F(PostgresGroup, ALoneWriteWhoseConnectionTheServerEndsBeforeItIsDoneIsUnavailable) {
  query(
      "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid());"
      " RETURN new; END'");
  query("CREATE TRIGGER t BEFORE INSERT ON fruit FOR EACH ROW EXECUTE FUNCTION die()");
  EXPECT_TRUE(fails(run_one(write_fruit(1)), Failure::unavailable, "57P01"));
  EXPECT_EQ(fruit(), "");
}

TEST_F(PostgresGroup, ALoneInsertThatAnotherSessionHasForestalledIsDoneAgain) {
  const auto other = database.connect();
  other->query("BEGIN; INSERT INTO fruit VALUES (1, 'theirs')");
  Result result = run_one(write_fruit(1, std::string("ours")));
  EXPECT_TRUE(result.locked);
  std::thread writer([&] {
    do result = run_one(write_fruit(1, std::string("ours")));
    while (result.locked);
  });
  EXPECT_TRUE(servers::wait_until([&] { return waiting() == "1"; }, 20000));
  other->query("COMMIT");
  writer.join();
  EXPECT_TRUE(is_ok(result));
  EXPECT_FALSE(result.inserted);
  EXPECT_EQ(fruit(), "1|ours");
}

TEST_F(PostgresGroup, ALoneWriteThatWaitsForALockLetsOthersPassAndGetsIt) {
  expect_written({write_fruit(1), write_fruit(2)});
  const auto holder = database.connect();
  holder->query("BEGIN; SELECT * FROM fruit WHERE id = 1 FOR UPDATE");
  options.connections = 2;
  Pool pool("shop", make_backend(options));
  const auto submit = [&](const Op& op) {
    auto promise = std::make_shared<std::promise<Result>>();
    pool.submit({op, soon(), [promise](Result result) { promise->set_value(std::move(result)); }});
    return promise->get_future();
  };
  auto locked = submit(write_fruit(1, std::string("pear")));
  EXPECT_TRUE(is_ok(submit(write_fruit(2, std::string("plum"))).get()));
  EXPECT_TRUE(servers::wait_until([&] { return waiting() == "1"; }, 20000));
  EXPECT_EQ(fruit(), "1|apple;2|plum");
  holder->query("COMMIT");
  EXPECT_TRUE(is_ok(locked.get()));
  EXPECT_EQ(fruit(), "1|pear;2|plum");
}

}  // namespace
}  // namespace sluice::sql

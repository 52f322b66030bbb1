// Tests of what is special about PostgreSQL: its types, its errors, and connections that break at the worst moment.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <pwd.h>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "postgres_fixture.h"
#include "tests/servers/tcp_proxy.h"

namespace sluice::sql {
namespace {

using servers::Engine;
using servers::TcpProxy;
using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

constexpr milliseconds kShort{300};

Op read(std::int64_t id) { return ReadRow{"fruit", {{"id", id}}, {"name"}}; }

class Postgres : public PostgresTest {
 protected:
  Result run(const Op& op, Deadline deadline = soon()) { return session->run(op, deadline); }
  Value read_back(const std::string& table, const std::string& column) {
    const Result result = run(ReadRow{table, {{"id", std::int64_t{1}}}, {column}});
    EXPECT_TRUE(is_ok(result));
    return result.rows.size() == 1 ? result.rows[0][0] : Value{};
  }
};

// --- Locks and time

TEST_F(Postgres, AWriteToALockedRowIsUnavailableAtItsDeadlineAndLeavesNothing) {
  run(write_fruit(1));
  const auto holder = database.connect();
  holder->query("BEGIN; SELECT * FROM fruit WHERE id = 1 FOR UPDATE");
  EXPECT_EQ(run(write_fruit(1, "pear"), in(kShort)).error.failure, Failure::unavailable);
  EXPECT_TRUE(is_ok(run(write_fruit(2))));
  EXPECT_TRUE(is_ok(run(read(1))));
  holder->query("COMMIT");
  EXPECT_EQ(fruit(), "1|apple;2|apple");
  EXPECT_TRUE(is_ok(run(write_fruit(1, "pear"))));
}

TEST_F(Postgres, AWriteWaitsForALockUntilItsDeadline) {
  run(write_fruit(1));
  const auto holder = database.connect();
  holder->query("BEGIN; SELECT * FROM fruit WHERE id = 1 FOR UPDATE");
  Result result;
  std::thread writer([&] { result = run(write_fruit(1, "pear")); });
  EXPECT_TRUE(servers::wait_until([&] { return busy() == "1"; }, 20000));
  holder->query("COMMIT");
  writer.join();
  EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(fruit(), "1|pear");
}

TEST_F(Postgres, ALockedRowOfAGroupIsSetAsideAndTheOthersGoOn) {
  run(write_fruit(1));
  const auto holder = database.connect();
  holder->query("BEGIN; SELECT * FROM fruit WHERE id = 1 FOR UPDATE");
  const auto results = run_group({write_fruit(2), write_fruit(1, "pear"), write_fruit(3), write_fruit(3, "plum")});
  EXPECT_TRUE(results[1].locked);
  EXPECT_TRUE(fails(results[1], Failure::unavailable, "55P03"));
  for (const std::size_t i : {0, 2, 3}) {
    EXPECT_TRUE(is_ok(results[i]));
    EXPECT_FALSE(results[i].locked);
  }
  EXPECT_EQ(fruit(), "1|apple;2|apple;3|plum");
  holder->query("COMMIT");
  EXPECT_TRUE(is_ok(run_group({write_fruit(1, "pear"), write_fruit(2)})[0]));
}

TEST_F(Postgres, ManyLockedRowsOfAGroupAreSetAsideEach) {
  std::vector<Op> ops;
  for (std::int64_t id = 0; id < 12; ++id) ops.push_back(write_fruit(id));
  run_group(ops);
  const auto holder = database.connect();
  holder->query("BEGIN; SELECT * FROM fruit WHERE id % 2 = 0 FOR UPDATE");
  const auto results = run_group(ops);
  for (std::size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i].locked, i % 2 == 0) << i;
  for (std::size_t i = 1; i < results.size(); i += 2) EXPECT_TRUE(is_ok(results[i]));
}

TEST_F(Postgres, AStatementEndsAtItsDeadlineOnTheServerToo) {
  query("CREATE VIEW slow AS SELECT pg_sleep(600)::text AS n");
  EXPECT_TRUE(fails(run(ListRows{"slow", {"n"}, {"n"}, {}, 1}, in(kShort)), Failure::unavailable, "57014"));
  EXPECT_TRUE(servers::wait_until([&] { return busy() == "0"; }, 20000));
  EXPECT_TRUE(is_ok(run(Ping{})));
}

TEST_F(Postgres, AnInsertThatAnotherSessionHasForestalledIsDoneAgainOnTheRowThatIsThere) {
  const auto only_if_absent = [](const Row* row) {
    if (row != nullptr) return RowChange{};
    return RowChange{RowChange::Kind::write, {{"name", std::string("ours")}}, {}};
  };
  const ModifyRow modify{"fruit", {{"id", std::int64_t{1}}}, {"name"}, std::make_shared<Decision>(only_if_absent)};
  const std::vector<Op> ops{write_fruit(2, "ours"),
                            MergeRow{"fruit", {{"id", std::int64_t{3}}}, {{"name", std::string("x")}}}, modify,
                            WriteRows{{modify}}};
  for (const Op& op : ops) {
    query("DELETE FROM fruit");
    const auto other = database.connect();
    other->query("BEGIN; INSERT INTO fruit VALUES (1, 'theirs'), (2, 'theirs'), (3, 'theirs')");
    Result result;
    std::thread writer([&] { result = run(op); });
    EXPECT_TRUE(servers::wait_until([&] { return waiting() == "1"; }, 20000));
    other->query("COMMIT");
    writer.join();
    EXPECT_TRUE(is_ok(result)) << name(op);
    EXPECT_EQ(result.affected, std::holds_alternative<WriteRows>(op) ? 1 : 0) << name(op);
    EXPECT_EQ(query("SELECT count(*), max(name) FROM fruit WHERE id = 1"), "1|theirs");
  }
}

TEST_F(Postgres, TheVictimOfADeadlockTriesAgain) {
  run_group({write_fruit(1), write_fruit(2)});
  const auto other = database.connect();
  other->query("SET deadlock_timeout = '60s'");  // so that it is not the one who gives way
  other->query("BEGIN; UPDATE fruit SET name = 'theirs' WHERE id = 2");
  Result result;
  std::thread writer([&] {
    result =
        run(WriteRows{{std::get<ReplaceRow>(write_fruit(1, "ours")), std::get<ReplaceRow>(write_fruit(2, "ours"))}});
  });
  EXPECT_TRUE(servers::wait_until([&] { return busy() == "1"; }, 20000));
  other->query("UPDATE fruit SET name = 'theirs' WHERE id = 1");
  other->query("COMMIT");
  writer.join();
  EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(fruit(), "1|ours;2|ours");
}

// --- Connections

TEST_F(Postgres, AConnectionThatWasEndedWhileIdleIsReplaced) {
  ASSERT_TRUE(is_ok(run(write_fruit(1))));
  const std::string end =
      "SELECT count(pg_terminate_backend(pid, 20000)) FROM pg_stat_activity WHERE application_name = 'sluice' AND "
      "datname = current_database()";
  EXPECT_EQ(query(end), "1");
  EXPECT_TRUE(is_ok(run(write_fruit(2))));
  EXPECT_EQ(query(end), "1");
  EXPECT_TRUE(is_ok(run(read(1))));
  EXPECT_EQ(query(end), "1");
  EXPECT_TRUE(is_ok(run_group({write_fruit(3), write_fruit(4)})[1]));
  EXPECT_EQ(query("SELECT count(*) FROM fruit"), "4");
}

TEST_F(Postgres, AConnectionThatEndsInTheTransactionAppliesNothing) {
  ASSERT_TRUE(is_ok(run(write_fruit(1))));
  query(
      "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid());"
      " RETURN new; END'");
  query("CREATE TRIGGER t BEFORE INSERT ON fruit FOR EACH ROW WHEN (new.name = 'bad') EXECUTE FUNCTION die()");
  for (const Result& result : run_group({write_fruit(2), write_fruit(3, "bad")})) {
    EXPECT_TRUE(fails(result, Failure::unavailable, "57P01"));
  }
  EXPECT_EQ(fruit(), "1|apple");
  EXPECT_TRUE(is_ok(run(write_fruit(2))));
}

TEST_F(Postgres, WithTheAnswerToCommitLostTheOutcomeIsUnknown) {
  TcpProxy proxy(database.port());
  options.endpoint.port = static_cast<std::uint16_t>(proxy.port());
  const auto through = make_session();
  ASSERT_TRUE(is_ok(through->run(read(1), soon())));
  proxy.arm(TcpProxy::Fault::drop_answer, "COMMIT");
  const std::vector<Op> ops{write_fruit(1), write_fruit(2)};
  for (const Result& result : through->run_group(pointers_to(ops), soon())) {
    EXPECT_EQ(result.error.failure, Failure::unknown);
    EXPECT_THAT(result.error.message, HasSubstr("COMMIT"));
  }
  EXPECT_EQ(proxy.faults(), 1);
  EXPECT_EQ(fruit(), "1|apple;2|apple");
  EXPECT_TRUE(is_ok(through->run(write_fruit(3), soon())));
}

TEST_F(Postgres, ACommitThatNobodyAnswersIsUnknownToo) {
  TcpProxy proxy(database.port());
  options.endpoint.port = static_cast<std::uint16_t>(proxy.port());
  for (const Op& op : std::vector<Op>{write_fruit(1), WriteRows{{std::get<ReplaceRow>(write_fruit(2))}}}) {
    const auto through = make_session();
    proxy.arm(TcpProxy::Fault::hang, "COMMIT");
    EXPECT_EQ(through->run(op, in(kShort)).error.failure, Failure::unknown);
  }
  EXPECT_EQ(fruit(), "");
}

TEST_F(Postgres, AConnectionLostBeforeCommitIsReplacedAndTheWriteDoneOnce) {
  query("CREATE TABLE log (id BIGINT)");
  query(
      "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (new.id); RETURN new; "
      "END'");
  query("CREATE TRIGGER t AFTER INSERT OR UPDATE ON fruit FOR EACH ROW EXECUTE FUNCTION note()");
  TcpProxy proxy(database.port());
  options.endpoint.port = static_cast<std::uint16_t>(proxy.port());
  const auto through = make_session();
  ASSERT_TRUE(is_ok(through->run(Ping{}, soon())));
  proxy.arm(TcpProxy::Fault::drop_answer, "INSERT INTO");
  EXPECT_TRUE(is_ok(through->run(write_fruit(1), soon())));
  EXPECT_EQ(proxy.faults(), 1);
  EXPECT_EQ(query("SELECT * FROM log"), "1");
}

TEST_F(Postgres, AFreshConnectionThatIsLostIsUnavailableRatherThanTriedForEver) {
  TcpProxy proxy(database.port());
  options.endpoint.port = static_cast<std::uint16_t>(proxy.port());
  proxy.arm(TcpProxy::Fault::cut, "UPDATE");
  EXPECT_TRUE(fails(make_session()->run(write_fruit(1), soon()), Failure::unavailable, "08006"));
  EXPECT_EQ(fruit(), "");
}

TEST_F(Postgres, TheWrongPasswordAndAMissingDatabaseAreForTheOperator) {
  options.password = "wrong";
  const Result refused = make_session()->run(Ping{}, soon());
  EXPECT_TRUE(fails(refused, Failure::schema, "28P01"));
  EXPECT_THAT(refused.error.message, HasSubstr("shop"));
  EXPECT_THAT(refused.error.message, Not(HasSubstr("wrong")));
  options = server_options(database);
  options.database = "no_such_database";
  EXPECT_TRUE(fails(make_session()->run(write_fruit(1), soon()), Failure::schema, "3D000"));
}

TEST_F(Postgres, AServerThatIsNotThereIsUnavailableUntilItIs) {
  const auto own = servers::start_server(Engine::postgresql, {.durable = true, .arguments = {}});
  options.endpoint.port = static_cast<std::uint16_t>(own->port());
  options.database = "postgres";
  const auto theirs = make_session();
  ASSERT_TRUE(is_ok(theirs->run(Ping{}, soon())));
  EXPECT_TRUE(theirs->run(CheckDurability{}, soon()).rows.empty());
  own->stop();
  const Result gone = theirs->run(Ping{}, soon());
  EXPECT_EQ(gone.error.failure, Failure::unavailable);
  // It is not asked again at once, but what it said is.
  const Result again = theirs->run(write_fruit(1), soon());
  EXPECT_EQ(again.error.failure, Failure::unavailable);
  EXPECT_THAT(again.error.message, HasSubstr("writing a row of 'fruit'"));
  own->start();
  EXPECT_TRUE(servers::wait_until([&] { return theirs->run(Ping{}, soon()).ok(); }, 20000));
  own->freeze();  // connections are taken by the kernel, and nobody greets them
  EXPECT_TRUE(fails(make_session()->run(Ping{}, in(kShort)), Failure::unavailable, "08001"));
  own->thaw();
}

TEST_F(Postgres, TlsIsUsedAndTheServerIsVerifiedAsAsked) {
  const TemporaryFolder folder;
  const std::string key = folder.file("server.key");
  const std::string certificate = folder.file("server.crt");
  const std::string command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout " + key +
                              " -out " + certificate + " 2>/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);
  if (const passwd* owner = geteuid() == 0 ? getpwnam("postgres") : nullptr; owner != nullptr) {
    std::filesystem::permissions(folder.path(), std::filesystem::perms::others_exec,
                                 std::filesystem::perm_options::add);
    ASSERT_EQ(chown(key.c_str(), owner->pw_uid, owner->pw_gid), 0);
    std::filesystem::permissions(certificate, std::filesystem::perms::others_read, std::filesystem::perm_options::add);
  }
  const auto own = servers::start_server(Engine::postgresql, {.durable = false,
                                                              .arguments = {"-c", "ssl=on", "-c", "ssl_key_file=" + key,
                                                                            "-c", "ssl_cert_file=" + certificate}});
  servers::SqlDatabase theirs(Engine::postgresql, own->port());
  theirs.exec("CREATE VIEW tls AS SELECT 1 AS id, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
  options = server_options(theirs);
  const auto tls = [&](const std::string& host, std::vector<std::pair<std::string, std::string>> parameters) {
    options.endpoint.host = host;
    options.parameters = std::move(parameters);
    const Result result = make_session()->run(ReadRow{"tls", {{"id", std::int64_t{1}}}, {"ssl"}}, soon());
    return result.ok() ? result.rows[0][0] == Value{std::int64_t{1}} ? "tls" : "plain" : result.error.sqlstate;
  };
  EXPECT_EQ(tls("127.0.0.1", {{"sslmode", "disable"}}), "plain");
  EXPECT_EQ(tls("127.0.0.1", {{"sslmode", "require"}}), "tls");
  theirs.exec("CREATE TABLE fruit (id BIGINT PRIMARY KEY, name TEXT)");
  const auto encrypted = make_session();
  for (std::int64_t i = 0; i < 3; ++i) EXPECT_TRUE(is_ok(encrypted->run(write_fruit(i), soon())));
  EXPECT_EQ(tls("localhost", {{"sslmode", "verify-full"}, {"sslrootcert", certificate}}), "tls");
  EXPECT_EQ(tls("127.0.0.1", {{"sslmode", "verify-full"}, {"sslrootcert", certificate}}), "08001");
  EXPECT_EQ(tls("localhost", {{"sslmode", "verify-full"}, {"sslrootcert", folder.file("none.crt")}}), "08001");
}

TEST_F(Postgres, AUnixSocketLeadsToTheServer) {
  options.endpoint = {conf::Endpoint::Kind::unix_socket,
                      {},
                      static_cast<std::uint16_t>(database.port()),
                      query("SHOW unix_socket_directories")};
  EXPECT_TRUE(is_ok(make_session()->run(write_fruit(1), soon())));
}

TEST_F(Postgres, ItsSessionsDoNotDependOnTheServersDefaults) {
  query("ALTER DATABASE " + database.name() + " SET timezone = 'Asia/Tokyo'");
  query("ALTER DATABASE " + database.name() + " SET datestyle = 'German'");
  query("ALTER DATABASE " + database.name() + " SET synchronous_commit = off");
  query("ALTER DATABASE " + database.name() + " SET bytea_output = 'escape'");
  query("ALTER DATABASE " + database.name() + " SET extra_float_digits = -5");
  query(
      "CREATE VIEW settings AS SELECT 1 AS id, current_setting('synchronous_commit') AS synchronous, "
      "current_setting('application_name') AS name,"
      " timestamptz '2024-06-21 00:00:00+00' AS at, '\\x00ff'::bytea AS x, 0.1::float8 + 0.2 AS r");
  const auto fresh = make_session();
  const Result result =
      fresh->run(ReadRow{"settings", {{"id", std::int64_t{1}}}, {"synchronous", "name", "at", "x", "r"}}, soon());
  ASSERT_TRUE(is_ok(result));
  EXPECT_EQ(result.rows[0], (Row{std::string("on"), std::string("sluice"), std::string("2024-06-21T00:00:00Z"),
                                 Blob{std::string("\0\xff", 2)}, 0.1 + 0.2}));
}

TEST_F(Postgres, SettingsThatMayLoseACommitAreTold) {
  const Result result = run(CheckDurability{});
  ASSERT_TRUE(is_ok(result));
  EXPECT_EQ(result.rows,
            (std::vector<Row>{Row{std::string("fsync is off")}, Row{std::string("full_page_writes is off")}}));
}

// --- Errors of one row

TEST_F(Postgres, TextThatPostgresCannotHoldIsRefusedAlone) {
  const auto results =
      run_group({write_fruit(1), write_fruit(2, std::string("a\0b", 3)), write_fruit(3, "\xff\xfe"), write_fruit(4)});
  EXPECT_TRUE(is_ok(results[0]));
  EXPECT_TRUE(fails(results[1], Failure::refused, "22021"));
  EXPECT_TRUE(fails(results[2], Failure::refused, "22021"));
  EXPECT_TRUE(is_ok(results[3]));
  EXPECT_EQ(fruit(), "1|apple;4|apple");
  EXPECT_TRUE(fails(run(ReadRow{"fruit", {{"id", std::string("1\0", 2)}}, {"name"}}), Failure::refused, "22021"));
}

TEST_F(Postgres, EveryKindOfConstraintIsRefusedWithItsSqlstate) {
  query("CREATE TABLE farm (id BIGINT PRIMARY KEY)");
  query(
      "CREATE TABLE crate (id BIGINT PRIMARY KEY, farm BIGINT REFERENCES farm, size SMALLINT NOT NULL CHECK (size < "
      "10),"
      " label VARCHAR(3), EXCLUDE USING btree (label WITH =))");
  query("CREATE FUNCTION mud() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no mud''; END'");
  query("CREATE TRIGGER t BEFORE INSERT ON crate FOR EACH ROW WHEN (new.label = 'mud') EXECUTE FUNCTION mud()");
  const auto put = [&](std::int64_t id, std::vector<Bound> values) {
    return run(ReplaceRow{"crate", {{"id", id}}, std::move(values), {}});
  };
  const Value one = std::int64_t{1};
  EXPECT_TRUE(is_ok(put(9, {{"size", one}, {"label", std::string("x")}})));
  EXPECT_TRUE(fails(put(1, {{"size", std::monostate{}}}), Failure::refused, "23502"));
  EXPECT_TRUE(fails(put(1, {{"size", std::int64_t{11}}}), Failure::refused, "23514"));
  EXPECT_TRUE(fails(put(1, {{"size", std::int64_t{70000}}}), Failure::refused, "22003"));
  EXPECT_TRUE(fails(put(1, {{"size", one}, {"farm", std::int64_t{5}}}), Failure::refused, "23503"));
  EXPECT_TRUE(fails(put(1, {{"size", one}, {"label", std::string("long")}}), Failure::refused, "22001"));
  EXPECT_TRUE(fails(put(1, {{"size", one}, {"label", std::string("x")}}), Failure::refused, "23P01"));
  const Result raised = put(1, {{"size", one}, {"label", std::string("mud")}});
  EXPECT_TRUE(fails(raised, Failure::refused, "P0001"));
  EXPECT_THAT(raised.error.message, HasSubstr("no mud"));
  EXPECT_EQ(query("SELECT count(*) FROM crate"), "1");
}

TEST_F(Postgres, AConstraintCheckedAtCommitFailsOnlyItsOwnWriteOfTheGroup) {
  query("CREATE TABLE farm (id BIGINT PRIMARY KEY)");
  query("CREATE TABLE crate (id BIGINT PRIMARY KEY, farm BIGINT REFERENCES farm DEFERRABLE INITIALLY DEFERRED)");
  const auto results =
      run_group({write_fruit(2), ReplaceRow{"crate", {{"id", std::int64_t{1}}}, {{"farm", std::int64_t{5}}}, {}},
                 write_fruit(3)});
  EXPECT_TRUE(is_ok(results[0]));
  EXPECT_TRUE(fails(results[1], Failure::refused, "23503"));
  EXPECT_TRUE(is_ok(results[2]));
  EXPECT_EQ(fruit(), "2|apple;3|apple");
}

TEST_F(Postgres, AStatementThatEndsTheTransactionIsNotTakenForACommit) {
  const Result result = run(RunStatement{"COMMIT", {}});
  EXPECT_EQ(result.error.failure, Failure::unknown);
  EXPECT_TRUE(is_ok(run(write_fruit(1))));
}

TEST_F(Postgres, WithoutTheRightToATableAnOperatorMustAct) {
  const std::string role = "role_" + database.name();
  query("CREATE ROLE " + role + " LOGIN PASSWORD 'secret'");
  options.user = role;
  EXPECT_TRUE(fails(make_session()->run(write_fruit(1), soon()), Failure::schema, "42501"));
  query("DROP ROLE " + role);
}

TEST_F(Postgres, AReadOnlyServerIsUnavailableForWrites) {
  query("ALTER DATABASE " + database.name() + " SET default_transaction_read_only = on");
  const auto fresh = make_session();
  EXPECT_TRUE(fails(fresh->run(write_fruit(1), soon()), Failure::unavailable, "25006"));
  EXPECT_TRUE(is_ok(fresh->run(read(1), soon())));
}

TEST_F(Postgres, ATableMayBeInAnotherSchema) {
  query("CREATE SCHEMA store; CREATE TABLE store.fruit (id BIGINT PRIMARY KEY, name TEXT)");
  EXPECT_EQ(run(ReplaceRow{"store.fruit", {{"id", std::int64_t{1}}}, {{"name", std::string("pear")}}, {}}).affected, 1);
  EXPECT_EQ(query("SELECT * FROM store.fruit"), "1|pear");
  EXPECT_EQ(fruit(), "");
  EXPECT_EQ(run(Describe{"store.fruit"}).table->columns.size(), 2U);
}

TEST_F(Postgres, AnInsertDoesNotRunIntoARuleForRowsThatExist) {
  query("CREATE TABLE limits (id BIGINT PRIMARY KEY, low INT NOT NULL DEFAULT 10, high INT, CHECK (low < high))");
  query("INSERT INTO limits VALUES (1, 0, 5)");
  const Op op = ReplaceRow{"limits", {{"id", std::int64_t{1}}}, {{"high", std::int64_t{7}}}, {}};
  EXPECT_TRUE(is_ok(run(op)));  // as a new row it would break the rule
  EXPECT_EQ(query("SELECT * FROM limits"), "1|0|7");
}

// --- Values and types

TEST_F(Postgres, AValueOfSixteenMegabytesTravelsBothWays) {
  query("CREATE TABLE large (id BIGINT PRIMARY KEY, t TEXT, x BYTEA)");
  const std::string text(std::size_t{16} << 20, 'x');
  std::string bytes = text;
  bytes[5] = '\0';
  ASSERT_TRUE(is_ok(run(ReplaceRow{"large", {{"id", std::int64_t{1}}}, {{"t", text}, {"x", Blob{bytes}}}, {}})));
  EXPECT_TRUE(read_back("large", "t") == Value{text});
  EXPECT_TRUE(read_back("large", "x") == (Value{Blob{bytes}}));
}

TEST_F(Postgres, EveryTypeComesBackInItsForm) {
  query("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN short AS VARCHAR(5)");
  query(
      "CREATE TABLE kinds (id BIGINT PRIMARY KEY, i2 SMALLINT, i4 INT, i8 BIGINT, f4 REAL, f8 DOUBLE PRECISION,"
      " d NUMERIC(30,5), b BOOLEAN, day DATE, ts TIMESTAMP, tz TIMESTAMPTZ, t TIME, u UUID, j JSON, jb JSONB, x BYTEA,"
      " txt TEXT, m mood, s short, a INT[], ch CHAR(4))");
  const std::vector<std::pair<std::string, Value>> values{
      {"i2", std::int64_t{-32768}},
      {"i4", std::int64_t{2147483647}},
      {"i8", std::int64_t{9007199254740993}},
      {"f4", 0.5},
      {"f8", 0.1},
      {"d", std::string("1234567890123456789012345.67890")},
      {"b", std::int64_t{1}},
      {"day", std::string("2024-06-21")},
      {"ts", std::string("2024-06-21T10:00:00.123456")},
      {"tz", std::string("2024-06-21T10:00:00.500000Z")},
      {"t", std::string("10:00:00.500000")},
      {"u", std::string("123e4567-e89b-12d3-a456-426614174000")},
      {"j", std::string("{\"a\": 1,  \"a\": 2}")},
      {"jb", std::string("{\"a\": 1}")},
      {"x", Blob{std::string("\0\xff\\", 3)}},
      {"txt", std::string("it's \\x41 $1")},
      {"m", std::string("happy")},
      {"s", std::string("abcde")},
      {"a", std::string("{1,2}")},
      {"ch", std::string("ab  ")},
  };
  for (const auto& [column, value] : values) {
    EXPECT_TRUE(is_ok(run(ReplaceRow{"kinds", {{"id", std::int64_t{1}}}, {{column, value}}, {}}))) << column;
    EXPECT_EQ(read_back("kinds", column), value) << column;
    EXPECT_TRUE(is_ok(run(MergeRow{"kinds", {{"id", std::int64_t{1}}}, {{column, std::monostate{}}}}))) << column;
    EXPECT_EQ(read_back("kinds", column), Value{}) << column;
  }
  query("UPDATE kinds SET tz = 'infinity', day = '0044-03-15 BC', ts = '12024-01-01 00:00:00', d = 'NaN'");
  EXPECT_EQ(read_back("kinds", "tz"), Value{std::string("infinity")});
  EXPECT_EQ(read_back("kinds", "day"), Value{std::string("0044-03-15 BC")});
  EXPECT_EQ(read_back("kinds", "ts"), Value{std::string("12024-01-01 00:00:00")});
  EXPECT_EQ(read_back("kinds", "d"), Value{std::string("NaN")});
}

TEST_F(Postgres, EveryTypeMayBeAKey) {
  query("CREATE TABLE by_uuid (k UUID, n NUMERIC, at TIMESTAMPTZ, x BYTEA, v TEXT, PRIMARY KEY (k, n, at, x))");
  const std::vector<Bound> key{{"k", std::string("123e4567-e89b-12d3-a456-426614174000")},
                               {"n", std::string("1.5")},
                               {"at", std::string("2024-06-21T10:00:00Z")},
                               {"x", Blob{std::string("\0", 1)}}};
  EXPECT_EQ(run(ReplaceRow{"by_uuid", key, {{"v", std::string("a")}}, {}}).affected, 1);
  EXPECT_EQ(run(ReplaceRow{"by_uuid", key, {{"v", std::string("b")}}, {}}).affected, 0);
  EXPECT_EQ(run(MergeRow{"by_uuid", key, {{"v", std::string("c")}}}).affected, 0);
  EXPECT_EQ(run(ReadRow{"by_uuid", key, {"v"}}).rows, std::vector<Row>{Row{std::string("c")}});
  ListRows list{"by_uuid", {"k", "n", "at", "x"}, {"v"}, {}, 5};
  EXPECT_EQ(run(list).rows.size(), 1U);
  for (const Bound& part : key) list.after.push_back(part.value);
  EXPECT_TRUE(run(list).rows.empty());
  EXPECT_EQ(run(DeleteRow{"by_uuid", key}).affected, 1);
}

TEST_F(Postgres, DescribeTellsTypesAndWhatTheDatabaseDoesToThem) {
  query("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN short AS VARCHAR(5) NOT NULL DEFAULT 'x'");
  query("CREATE COLLATION folds (provider = icu, locale = 'und-u-ks-level2', deterministic = false)");
  query(
      "CREATE TABLE kinds (id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, i2 SMALLINT, f4 REAL, f8 FLOAT8,"
      " d NUMERIC(10,2), plain NUMERIC, b BOOLEAN, day DATE, ts TIMESTAMP, tz TIMESTAMPTZ(3), t TIME(0), u UUID,"
      " j JSON, jb JSONB, x BYTEA, txt TEXT, m mood, s short, a INT[], ch CHAR(4), f TEXT COLLATE folds,"
      " sum NUMERIC GENERATED ALWAYS AS (d + 1) STORED, no BIGINT GENERATED ALWAYS AS IDENTITY)");
  const Result result = run(Describe{"kinds"});
  ASSERT_TRUE(is_ok(result));
  const Table& table = *result.table;
  using enum ColumnType;
  const std::vector<ColumnType> expected{integer,   integer,     real, real, decimal, decimal, boolean, date,
                                         timestamp, timestamptz, time, uuid, json,    json,    bytes,   text,
                                         text,      text,        text, text, text,    decimal, integer};
  std::vector<ColumnType> types;
  std::vector<std::string> rewritten, inexact, generated, defaults;
  for (const Column& column : table.columns) {
    types.push_back(column.type);
    if (column.rewritten) rewritten.push_back(column.name);
    if (!column.exact) inexact.push_back(column.name);
    if (column.generated) generated.push_back(column.name);
    if (column.has_default) defaults.push_back(column.name);
  }
  EXPECT_EQ(types, expected);
  EXPECT_THAT(rewritten, testing::ElementsAre("jb", "a", "ch"));
  EXPECT_THAT(inexact, testing::ElementsAre("f4", "f8", "d", "plain", "j", "jb", "a", "ch", "f", "sum"));
  EXPECT_THAT(generated, testing::ElementsAre("sum", "no"));
  EXPECT_THAT(defaults, testing::ElementsAre("id", "s", "no"));
  EXPECT_FALSE(table.find("s")->nullable);
  EXPECT_TRUE(table.find("f4")->single);
  EXPECT_FALSE(table.find("f8")->single);
  EXPECT_EQ(table.find("d")->scale, 2);
  EXPECT_EQ(table.find("plain")->scale, -1);
  EXPECT_EQ(table.find("ts")->scale, 6);
  EXPECT_EQ(table.find("tz")->scale, 3);
  EXPECT_EQ(table.find("t")->scale, 0);
}

TEST_F(Postgres, DescribeTellsUniqueKeysAndNotThoseOfSomeRowsOnly) {
  query("CREATE TABLE keys (a TEXT, b TEXT UNIQUE, c TEXT, d TEXT, e TEXT, f TEXT, gone TEXT, PRIMARY KEY (c, a))");
  query("ALTER TABLE keys DROP COLUMN gone");
  query(
      "CREATE UNIQUE INDEX part ON keys (d) WHERE d > 'm'; CREATE UNIQUE INDEX folded ON keys (lower(e));"
      "CREATE INDEX plain ON keys (f); CREATE UNIQUE INDEX more ON keys (f) INCLUDE (a)");
  const Table table = *run(Describe{"keys"}).table;
  EXPECT_EQ(table.unique_keys, (std::vector<std::vector<std::string>>{{"c", "a"}, {"b"}, {"f"}}));
  EXPECT_TRUE(table.find("d")->in_unique_key);
  EXPECT_EQ(table.columns.size(), 6U);
}

TEST_F(Postgres, WhatATriggerMayChangeIsToldUnlessTheTriggerIsOurs) {
  const auto rewritten = [&] { return run(Describe{"fruit"}).table->find("name")->rewritten; };
  query("CREATE FUNCTION same() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'");
  query("CREATE TRIGGER sluice_outbox AFTER INSERT OR UPDATE ON fruit FOR EACH ROW EXECUTE FUNCTION same()");
  query("CREATE TRIGGER gone BEFORE DELETE ON fruit FOR EACH ROW EXECUTE FUNCTION same()");
  EXPECT_FALSE(rewritten());
  query("CREATE TRIGGER audit BEFORE UPDATE ON fruit FOR EACH ROW EXECUTE FUNCTION same()");
  EXPECT_TRUE(rewritten());
  query("ALTER TABLE fruit DISABLE TRIGGER audit");
  EXPECT_FALSE(rewritten());
}

TEST_F(Postgres, ACounterThatIsNoIntegerIsRefused) {
  query("CREATE TABLE counters (id TEXT PRIMARY KEY, value TEXT)");
  query(make_backend(options)->counter_ddl());
  query("INSERT INTO counters VALUES ('a', 'abc')");
  const CounterTable where{"counters", {"id"}, "value"};
  EXPECT_TRUE(fails(run(ReadCounter{where, {std::string("a")}, "counter:a", "i1"}), Failure::refused, "22P02"));
  const Result flush = run(FlushCounters{where, {{{std::string("a")}, "counter:a", "i1", 1, 1, {}, {}}}});
  ASSERT_TRUE(is_ok(flush));
  EXPECT_EQ(flush.rows[0][1], Value{std::string("22P02")});
}

}  // namespace
}  // namespace sluice::sql

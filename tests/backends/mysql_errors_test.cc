// Tests of what goes wrong between the MySQL backend and its server: locks, deadlines, losses, log-ins, settings.
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mysql_fixture.h"
#include "tests/servers/tcp_proxy.h"

namespace sluice::sql {
namespace {

using servers::TcpProxy;
using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;
using Fault = TcpProxy::Fault;

class MysqlErrors : public MysqlTest {
 protected:
  MysqlErrors() {
    database.exec("CREATE TABLE t (id INT PRIMARY KEY, v LONGBLOB, c BIGINT)");
    database.exec("INSERT INTO t VALUES (1, 'a', 0), (2, 'b', 0)");
  }

  static MergeRow merge(std::int64_t id, const std::string& v) { return {"t", {{"id", id}}, {{"v", Blob{v}}}}; }
  std::string value(int id) { return see("SELECT v FROM t WHERE id = " + std::to_string(id)); }
  // The server's number for the session's connection.
  std::string connection_of(Session& session) {
    EXPECT_TRUE(is_ok(session.run(RunStatement{"UPDATE t SET c = connection_id() WHERE id = 1", {}}, soon())));
    return see("SELECT c FROM t WHERE id = 1");
  }
  bool somebody_waits() {
    return see("SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND command = 'Execute' AND "
               "time_ms > 20 AND info LIKE '%FOR UPDATE'") != "0";
  }
  std::unique_ptr<Session> session_at(const std::string& url) { return mysql_backend(url)->session(); }
  // What the session answers when the server has become reachable again.
  Result run_until_reached(Session& session, const Op& op) {
    Result result;
    EXPECT_TRUE(servers::wait_until(
        [&] {
          result = session.run(op, soon());
          return result.error.failure != Failure::unavailable;
        },
        20000));
    return result;
  }
};

TEST_F(MysqlErrors, AWaitForALockEndsWithTheDeadlineByTheServersOwnHand) {
  const std::string connection = connection_of(*session);
  const auto holder = database.connect();
  holder->query("BEGIN; UPDATE t SET v = 'held' WHERE id = 2");
  EXPECT_TRUE(fails(run(merge(2, "x"), in(milliseconds(200))), Failure::unavailable, "57014"));
  holder->query("ROLLBACK");
  EXPECT_TRUE(is_ok(run(merge(2, "y"))));
  EXPECT_EQ(connection_of(*session), connection);
  EXPECT_EQ(value(2), "y");
}

TEST_F(MysqlErrors, AQueryThatTakesTooLongEndsWithTheDeadline) {
  EXPECT_TRUE(
      fails(run(RunStatement{"UPDATE t SET v = 'slow' WHERE id = 1 AND sleep(20) = 0", {}}, in(milliseconds(200))),
            Failure::unavailable, "57014"));
  EXPECT_EQ(value(1), "a");
}

TEST_F(MysqlErrors, AnOperationAfterItsDeadlineDoesNothing) {
  EXPECT_TRUE(fails(run(merge(1, "x"), in(milliseconds(-1))), Failure::unavailable, "57014"));
  EXPECT_EQ(value(1), "a");
}

TEST_F(MysqlErrors, AServerThatFallsSilentIsGivenUpAtTheDeadline) {
  TcpProxy proxy(database.port());
  const auto through = session_at(database.url_through(proxy.port()));
  ASSERT_TRUE(is_ok(through->run(Ping{}, soon())));
  proxy.arm(Fault::hang, "UPDATE");
  EXPECT_TRUE(fails(through->run(merge(1, "x"), in(milliseconds(300))), Failure::unavailable, "57014"));
  EXPECT_EQ(proxy.faults(), 1);
  EXPECT_EQ(value(1), "a");
  EXPECT_TRUE(is_ok(through->run(merge(1, "y"), soon())));
}

TEST_F(MysqlErrors, ACommitWhoseAnswerIsLostIsUnknownAndNotSentAgain) {
  TcpProxy proxy(database.port());
  const auto through = session_at(database.url_through(proxy.port()));
  for (const Fault fault : {Fault::drop_answer, Fault::cut}) {
    const std::string before = value(1);
    const std::string after = fault == Fault::cut ? "cut" : "dropped";
    const int faults = proxy.faults();
    ASSERT_TRUE(is_ok(through->run(Ping{}, soon())));  // the words of a new session hold READ COMMITTED
    proxy.arm(fault, "COMMIT");
    const Result result = through->run(merge(1, after), soon());
    EXPECT_TRUE(fails(result, Failure::unknown));
    EXPECT_THAT(result.error.message, HasSubstr("COMMIT"));
    EXPECT_EQ(proxy.faults(), faults + 1);
    EXPECT_EQ(value(1), fault == Fault::cut ? before : after);
  }
}

TEST_F(MysqlErrors, ALostCommitOfAGroupIsUnknownForEachOfItsWrites) {
  TcpProxy proxy(database.port());
  const auto through = session_at(database.url_through(proxy.port()));
  const std::vector<Op> ops{merge(1, "x"), MergeRow{"t", {{"id", std::int64_t{2}}}, {{"v", Value()}, {"c", Value()}}},
                            MergeRow{"t", {{"id", std::int64_t{3}}}, {{"c", std::string("bad")}}}};
  ASSERT_TRUE(is_ok(through->run(Ping{}, soon())));
  proxy.arm(Fault::drop_answer, "COMMIT");
  const auto results = through->run_group(pointers_to(ops), soon());
  EXPECT_TRUE(fails(results[0], Failure::unknown));
  EXPECT_TRUE(fails(results[1], Failure::unknown));
  EXPECT_TRUE(fails(results[2], Failure::refused));
  EXPECT_EQ(value(1), "x");
}

TEST_F(MysqlErrors, ALossBeforeCommitAppliesNothing) {
  TcpProxy proxy(database.port());
  const auto through = session_at(database.url_through(proxy.port()));
  proxy.arm(Fault::cut, "UPDATE");
  EXPECT_TRUE(fails(through->run(merge(1, "x"), soon()), Failure::unavailable));
  EXPECT_EQ(value(1), "a");
  EXPECT_TRUE(is_ok(through->run(merge(1, "y"), soon())));
}

TEST_F(MysqlErrors, AConnectionLostWhileItWasIdleIsReplacedUnseen) {
  for (int round = 0; round < 2; ++round) {
    const std::string connection = connection_of(*session);
    see("KILL " + connection);
    ASSERT_TRUE(servers::wait_until(
        [&] { return see("SELECT count(*) FROM information_schema.processlist WHERE id = " + connection) == "0"; },
        20000));
    if (round == 0) {
      EXPECT_TRUE(is_ok(run(merge(1, "x"))));
    } else {
      for (const Result& result : run_group({merge(1, "y"), merge(2, "y")})) EXPECT_TRUE(is_ok(result));
    }
  }
  EXPECT_EQ(value(1), "y");
}

TEST_F(MysqlErrors, ADeadlockIsTriedAgain) {
  const auto holder = database.connect();
  // The server ends the transaction that has changed fewer rows.
  holder->query(
      "CREATE TABLE many (id INT PRIMARY KEY); BEGIN; UPDATE t SET v = 'h' WHERE id = 2;"
      "INSERT INTO many SELECT seq FROM seq_1_to_500");
  Result result;
  std::thread writer([&] { result = run(WriteRows{{merge(1, "w"), merge(2, "w")}}); });
  EXPECT_TRUE(servers::wait_until([&] { return somebody_waits(); }, 20000));
  holder->query("UPDATE t SET v = 'h' WHERE id = 1; COMMIT");
  writer.join();
  EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(see("SELECT v FROM t"), "w;w");
}

TEST_F(MysqlErrors, GroupsOfTheSameRowsInAnyOrderAllSucceed) {
  constexpr int kRounds = 40;
  std::vector<std::thread> writers;
  for (int w = 0; w < 3; ++w) {
    writers.emplace_back([&, w] {
      const auto own = backend->session();
      for (int round = 0; round < kRounds; ++round) {
        std::vector<Op> ops;
        for (std::int64_t id = 0; id < 20; ++id) {
          const std::int64_t key = w == 0 ? id : 19 - id;
          if (w == 2 && id % 3 == 0) {
            ops.push_back(DeleteRow{"t", {{"id", key}}});
          } else {
            ops.push_back(merge(key, "w"));
          }
        }
        for (const Result& result : own->run_group(pointers_to(ops), soon())) {
          EXPECT_TRUE(result.ok() || result.locked) << result.error.message;
        }
      }
    });
  }
  for (auto& writer : writers) writer.join();
}

// --- Sizes

TEST_F(MysqlErrors, AValueLargerThanThePacketsOfTheServerIsRefusedAndTheConnectionLives) {
  const std::string connection = connection_of(*session);
  ASSERT_EQ(see("SELECT @@max_allowed_packet"), "16777216");
  const Result result = run(merge(1, std::string(std::size_t{16} << 20, '\0')));
  EXPECT_TRUE(fails(result, Failure::refused, "22001"));
  EXPECT_THAT(result.error.message, HasSubstr("max_allowed_packet"));
  const std::string large(std::size_t{15} << 20, '\xff');
  ASSERT_TRUE(is_ok(run(merge(2, large))));
  EXPECT_EQ(run(ReadRow{"t", {{"id", std::int64_t{2}}}, {"v"}}).rows, std::vector<Row>{Row{Blob{large}}});
  EXPECT_EQ(connection_of(*session), connection);
}

TEST_F(MysqlErrors, MoreStatementsThanAreKeptStillWork) {
  for (int i = 0; i < 250; ++i) {
    const std::string sql = "UPDATE t SET c = " + std::to_string(i) + " WHERE id = :id";
    ASSERT_TRUE(is_ok(run(RunStatement{sql, {{"id", std::int64_t{2}}}})));
  }
  EXPECT_EQ(see("SELECT c FROM t WHERE id = 2"), "249");
}

// --- Log-ins

TEST_F(MysqlErrors, AWrongPasswordIsForTheOperatorAndNotShown) {
  std::string url = database.url();
  url.replace(url.find(servers::kPassword), std::string(servers::kPassword).size(), "guessed");
  const auto stranger = session_at(url);
  for (int i = 0; i < 2; ++i) {
    const Result result = stranger->run(merge(1, "x"), soon());
    EXPECT_TRUE(fails(result, Failure::schema, "28000"));
    EXPECT_THAT(result.error.message, HasSubstr("shop"));
    EXPECT_THAT(result.error.message, Not(HasSubstr("guessed")));
  }
}

TEST_F(MysqlErrors, AMissingDatabaseIsForTheOperator) {
  const Result result = session_at(database.url() + "_not")->run(Ping{}, soon());
  EXPECT_TRUE(fails(result, Failure::schema, "42000"));
  EXPECT_THAT(result.error.message, HasSubstr("_not"));
}

TEST_F(MysqlErrors, WithoutTheRightTheTableIsForTheOperator) {
  database.exec(
      "CREATE TABLE own (id INT PRIMARY KEY, v INT); CREATE OR REPLACE USER reader@'%' IDENTIFIED BY 'r';"
      "GRANT SELECT ON " +
      database.name() + ".own TO reader@'%'");
  std::string url = database.url();
  url.replace(url.find(servers::kUser), std::string(servers::kUser).size() + 1 + std::string(servers::kPassword).size(),
              "reader:r");
  const auto reader = session_at(url);
  EXPECT_TRUE(is_ok(reader->run(ReadRow{"own", {{"id", std::int64_t{1}}}, {"v"}}, soon())));
  EXPECT_TRUE(fails(reader->run(ReplaceRow{"own", {{"id", std::int64_t{1}}}, {{"v", std::int64_t{1}}}, {}}, soon()),
                    Failure::schema, "42000"));
  database.exec("DROP USER reader@'%'");
}

TEST_F(MysqlErrors, LocalhostIsReachedOverTcpAndASocketByItsFile) {
  std::string url = database.url();
  url.replace(url.find("127.0.0.1"), 9, "localhost");
  EXPECT_TRUE(is_ok(session_at(url)->run(Ping{}, soon())));
  database.exec("CREATE OR REPLACE USER local@localhost IDENTIFIED BY 'l'; GRANT ALL ON *.* TO local@localhost");
  url = "mysql://local:l@nowhere/" + database.name() + "?socket=" + see("SELECT @@socket");
  EXPECT_TRUE(is_ok(session_at(url)->run(Ping{}, soon())));
  database.exec("DROP USER local@localhost");
}

// --- A server of the test's own

TEST(MysqlServer, ACrashIsUnavailableAndTheNextServerIsFound) {
  const auto server = servers::start_server(servers::Engine::mysql);
  servers::SqlDatabase database(servers::Engine::mysql, server->port());
  database.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1)");
  const auto session = mysql_backend(database.url())->session();
  const Op op = ReplaceRow{"t", {{"id", std::int64_t{1}}}, {{"v", std::int64_t{2}}}, {}};
  ASSERT_TRUE(is_ok(session->run(op, soon())));
  server->kill();
  for (int i = 0; i < 3; ++i) {
    const Result result = session->run(op, soon());
    EXPECT_EQ(result.error.failure, Failure::unavailable);
    EXPECT_THAT(result.error.message, HasSubstr("127.0.0.1"));
  }
  server->start();
  EXPECT_TRUE(servers::wait_until([&] { return session->run(op, soon()).ok(); }, 20000));
}

TEST(MysqlServer, SettingsThatMayLoseACommitAreNamed) {
  for (const bool durable : {false, true}) {
    servers::ServerOptions options;
    options.durable = durable;
    if (!durable) options.arguments = {"--log-bin=log", "--sync-binlog=0", "--innodb-doublewrite=0"};
    const auto server = servers::start_server(servers::Engine::mysql, options);
    servers::SqlDatabase database(servers::Engine::mysql, server->port());
    const Result result = mysql_backend(database.url())->session()->run(CheckDurability{}, soon());
    ASSERT_TRUE(is_ok(result));
    EXPECT_EQ(result.rows.size(), durable ? 0U : 3U);
  }
}

TEST(MysqlServer, TlsIsUsedAndVerifiedAsAsked) {
  const TemporaryFolder folder;
  const auto make = [&](const std::string& arguments) {
    ASSERT_EQ(std::system(("cd " + folder.path().string() + " && openssl " + arguments + " 2>/dev/null").c_str()), 0);
  };
  const std::string key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes ";
  make("req -x509 " + key + "-days 2 -subj /CN=ca -keyout ca.key -out ca.crt");
  make("req -x509 " + key + "-days 2 -subj /CN=other -keyout other.key -out other.crt");
  make("req " + key + "-subj /CN=localhost -keyout server.key -out server.csr");
  make("x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out server.crt");
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0755));
  for (const char* file : {"server.key", "server.crt", "ca.crt"}) {
    std::filesystem::permissions(folder.file(file), std::filesystem::perms(0644));
  }
  servers::ServerOptions options;
  options.arguments = {"--ssl-ca=" + folder.file("ca.crt"), "--ssl-cert=" + folder.file("server.crt"),
                       "--ssl-key=" + folder.file("server.key")};
  const auto server = servers::start_server(servers::Engine::mysql, options);
  servers::SqlDatabase database(servers::Engine::mysql, server->port());
  database.exec("CREATE USER safe@'%' IDENTIFIED BY 'secret' REQUIRE SSL; GRANT ALL ON *.* TO safe@'%'");
  std::string url = database.url();
  url.replace(url.find(servers::kUser), std::string(servers::kUser).size(), "safe");
  const auto reaches = [&](const std::string& parameters) {
    return mysql_backend(url + parameters)->session()->run(Ping{}, soon()).ok();
  };
  EXPECT_FALSE(reaches(""));
  EXPECT_FALSE(reaches("?ssl-mode=disabled"));
  EXPECT_TRUE(reaches("?ssl-mode=required"));
  EXPECT_TRUE(reaches("?ssl-mode=verify-ca&ssl-ca=" + folder.file("ca.crt")));
  EXPECT_FALSE(reaches("?ssl-mode=verify-ca&ssl-ca=" + folder.file("other.crt")));
  EXPECT_FALSE(reaches("?ssl-mode=verify-ca"));
  EXPECT_FALSE(reaches("?ssl-mode=verify-identity&ssl-ca=" + folder.file("ca.crt")));
  url.replace(url.find("127.0.0.1"), 9, "localhost");
  EXPECT_TRUE(reaches("?ssl-mode=verify-identity&ssl-ca=" + folder.file("ca.crt")));
  EXPECT_FALSE(reaches("?ssl-mode=verify-identity"));
}

}  // namespace
}  // namespace sluice::sql

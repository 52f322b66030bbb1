// Tests of the outbox: what triggers record of others' changes, on every engine, and how it is read and emptied.
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conformance.h"
#include "tests/servers/sql_client.h"

namespace sluice::sql {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

using Keys = std::vector<std::vector<std::string>>;
const Recorded kOrders{"orders", "orders", {"tenant", "id"}};
const std::vector<Bound> kKey{{"tenant", std::string("acme")}, {"id", std::int64_t{7}}};

class OutboxTable : public Conformance {
 protected:
  OutboxTable() {
    query("CREATE TABLE orders (tenant " + key_text() + ", id BIGINT, item VARCHAR(40), PRIMARY KEY (tenant, id))");
    query(backend->outbox_ddl(kOrders));
  }

  std::string key_text() const {
    return is("mysql") ? "VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin" : "VARCHAR(40)";
  }
  std::vector<Row> entries(const std::string& policy = "orders", std::uint32_t limit = 500) {
    const Result result = run(ReadOutbox{policy, limit});
    EXPECT_TRUE(is_ok(result));
    return result.rows;
  }
  Keys recorded(const std::string& policy = "orders") {
    Keys keys;
    for (const Row& row : entries(policy)) {
      std::vector<std::string>& key = keys.emplace_back();
      for (std::size_t i = 2; i < row.size(); ++i) key.push_back(std::get<std::string>(row[i]));
    }
    return keys;
  }
  static std::int64_t number(const Row& entry) { return std::get<std::int64_t>(entry.at(0)); }
  std::int64_t forget(const std::vector<Row>& entries) {
    ForgetOutbox op;
    for (const Row& entry : entries) op.entries.push_back(number(entry));
    const Result result = run(op);
    EXPECT_TRUE(is_ok(result));
    return result.affected;
  }
  std::vector<std::string> findings(const Recorded& of) {
    const Result result = run(CheckOutbox{of});
    EXPECT_TRUE(is_ok(result));
    std::vector<std::string> texts;
    for (const Row& row : result.rows) texts.push_back(std::get<std::string>(row.at(0)));
    return texts;
  }
  // Another connection of an application's.
  std::unique_ptr<servers::SqlClient> connect() const {
    const conf::BackendOptions options = database->options();
    return servers::connect(is("postgresql") ? servers::Engine::postgresql : servers::Engine::mysql,
                            options.endpoint.port, options.database);
  }
};

INSTANTIATE_TEST_SUITE_P(Every, OutboxTable, every_engine(), engine_name);

TEST_P(OutboxTable, EveryChangeOfOthersIsRecordedUnderItsKey) {
  query("INSERT INTO orders VALUES ('acme', 7, 'nuts')");
  query("UPDATE orders SET item = 'bolts'");
  query("DELETE FROM orders");
  EXPECT_EQ(recorded(), (Keys{{"acme", "7"}, {"acme", "7"}, {"acme", "7"}}));
  EXPECT_EQ(query("SELECT policy, tbl, op FROM sluice_outbox ORDER BY seq"),
            "orders|orders|insert;orders|orders|update;orders|orders|delete");
}

TEST_P(OutboxTable, TriggersOnTheTableThatThePolicyHadBeforeAreGone) {
  query("CREATE TABLE parcels (code " + key_text() + ", PRIMARY KEY (code))");
  query(backend->outbox_ddl({"orders", "parcels", {"code"}}));
  query("INSERT INTO orders VALUES ('acme', 7, 'nuts')");
  EXPECT_THAT(recorded(), IsEmpty());
  query("INSERT INTO parcels VALUES ('p')");
  EXPECT_EQ(recorded(), (Keys{{"p"}}));
}

TEST_P(OutboxTable, NamesOfTablesDoNotDependOnTheDatabasesCharacterSet) {
  if (!is("mysql")) GTEST_SKIP() << "a database has the one character set";
  query("DROP TABLE sluice_outbox");
  query("ALTER DATABASE CHARACTER SET latin1");
  const std::string table = "\xe6\xb3\xa8\xe6\x96\x87";
  query("CREATE TABLE `" + table + "` (id INT PRIMARY KEY)");
  query(backend->outbox_ddl({"chu", table, {"id"}}));
  query("INSERT INTO `" + table + "` VALUES (1)");
  EXPECT_EQ(recorded("chu"), (Keys{{"1"}}));
}

TEST_P(OutboxTable, EveryRowOfAStatementIsRecorded) {
  query("INSERT INTO orders VALUES ('acme', 1, 'nuts'), ('acme', 2, 'bolts'), ('b', 1, 'nuts')");
  EXPECT_THAT(recorded(),
              UnorderedElementsAre(ElementsAre("acme", "1"), ElementsAre("acme", "2"), ElementsAre("b", "1")));
}

TEST_P(OutboxTable, AChangeOfTheKeyIsRecordedUnderTheOldAndTheNew) {
  query("INSERT INTO orders VALUES ('acme', 7, 'nuts')");
  forget(entries());
  query("UPDATE orders SET id = 8");
  EXPECT_THAT(recorded(), UnorderedElementsAre(ElementsAre("acme", "7"), ElementsAre("acme", "8")));
}

TEST_P(OutboxTable, WhatIsRolledBackIsNotRecorded) {
  query("BEGIN");
  query("INSERT INTO orders VALUES ('acme', 7, 'nuts')");
  query("ROLLBACK");
  EXPECT_THAT(recorded(), IsEmpty());
}

TEST_P(OutboxTable, WhatIsNotYetCommittedIsNotSeenAndWhatIsCommittedLateIsNotLost) {
  if (is("sqlite")) GTEST_SKIP() << "one transaction writes at a time";
  query("BEGIN");
  query("INSERT INTO orders VALUES ('early', 1, 'nuts')");
  connect()->query("INSERT INTO orders VALUES ('late', 2, 'nuts')");
  const std::vector<Row> first = entries();
  EXPECT_EQ(recorded(), (Keys{{"late", "2"}}));
  EXPECT_EQ(forget(first), 1);
  query("COMMIT");
  EXPECT_EQ(recorded(), (Keys{{"early", "1"}}));
  EXPECT_LT(number(entries().at(0)), number(first.at(0))) << "it took its number first";
}

TEST_P(OutboxTable, WritesOfThePolicyItselfAreNotRecordedForIt) {
  EXPECT_TRUE(is_ok(run(MergeRow{"orders", kKey, {{"item", std::string("nuts")}}, "orders"})));
  EXPECT_TRUE(is_ok(run(ReplaceRow{"orders", kKey, {{"item", std::string("bolts")}}, {}, "orders"})));
  const auto write = std::make_shared<Decision>([](const Row*) {
    return RowChange{RowChange::Kind::write, {{"item", std::string("screws")}}, {}};
  });
  EXPECT_TRUE(is_ok(run(ModifyRow{"orders", kKey, {"item"}, write, "orders"})));
  EXPECT_TRUE(is_ok(run(WriteRows{{DeleteRow{"orders", kKey, "orders"}}})));
  EXPECT_THAT(recorded(), IsEmpty());
  query("INSERT INTO orders VALUES ('acme', 7, 'nuts')");
  EXPECT_TRUE(is_ok(run(DeleteRow{"orders", kKey, "orders"})));
  EXPECT_EQ(recorded(), (Keys{{"acme", "7"}})) << "of the others' write";
}

TEST_P(OutboxTable, OtherWritesOfSluiceAreRecorded) {
  EXPECT_TRUE(is_ok(run(MergeRow{"orders", kKey, {{"item", std::string("nuts")}}, "items"})));
  EXPECT_TRUE(is_ok(run(MergeRow{"orders", kKey, {{"item", std::string("bolts")}}})));
  EXPECT_TRUE(is_ok(run(RunStatement{"DELETE FROM orders", {}})));
  EXPECT_THAT(recorded(), SizeIs(3));
}

TEST_P(OutboxTable, PoliciesOnOneTableRecordWhatTheOtherWrites) {
  query(backend->outbox_ddl({"items", "orders", {"item"}}));
  EXPECT_TRUE(is_ok(run(MergeRow{"orders", kKey, {{"item", std::string("nuts")}}, "orders"})));
  EXPECT_THAT(recorded("orders"), IsEmpty());
  EXPECT_EQ(recorded("items"), (Keys{{"nuts"}}));
}

// Each has one mark only, if any.
TEST_P(OutboxTable, WritesThatShareATransactionAreRecordedForTheOthers) {
  query(backend->outbox_ddl({"items", "orders", {"item"}}));
  const std::vector<Bound> other{{"tenant", std::string("acme")}, {"id", std::int64_t{8}}};
  const std::vector<Op> group{ReplaceRow{"orders", kKey, {{"item", std::string("nuts")}}, {}, "orders"},
                              ReplaceRow{"orders", other, {{"item", std::string("bolts")}}, {}, "items"}};
  for (const Result& result : run_group(group)) EXPECT_TRUE(is_ok(result));
  EXPECT_THAT(recorded("orders"), testing::Contains(ElementsAre("acme", "8")));
  EXPECT_THAT(recorded("items"), testing::Contains(ElementsAre("nuts")));
}

// It has recorded a row, and waits for another one.
TEST_P(OutboxTable, AStatementThatTakesLongKeepsNobodyFromRecording) {
  if (!is("mysql")) GTEST_SKIP() << "numbers are not locked";
  query("INSERT INTO orders VALUES ('acme', 1, 'nuts'), ('acme', 2, 'nuts')");
  const auto blocker = connect(), second = connect();
  blocker->query("BEGIN; SELECT * FROM orders WHERE tenant = 'acme' AND id = 2 FOR UPDATE");
  std::thread slow([&] { connect()->query("UPDATE orders SET item = 'bolts'"); });
  // The server keeps what it shows for as long as it is asked more often than every 100 ms.
  const std::string waiting =
      "SELECT count(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p ON p.id = "
      "t.trx_mysql_thread_id WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()";
  while (second->query(waiting) == "0") std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_NO_THROW(second->query("SET innodb_lock_wait_timeout = 1; INSERT INTO orders VALUES ('acme', 3, 'nuts')"));
  blocker->query("COMMIT");
  slow.join();
}

TEST_P(OutboxTable, EntriesAreForgottenBesideATransactionThatIsNotOver) {
  if (is("sqlite")) GTEST_SKIP() << "one transaction writes at a time";
  query("BEGIN");
  query("INSERT INTO orders VALUES ('open', 1, 'nuts')");
  const auto other = connect();
  for (int i = 1; i <= 12; ++i) other->query("INSERT INTO orders VALUES ('acme', " + std::to_string(i) + ", 'nuts')");
  EXPECT_EQ(forget(entries()), 12);
  query("COMMIT");
  EXPECT_EQ(recorded(), (Keys{{"open", "1"}}));
}

TEST_P(OutboxTable, APageBeginsBehindTheLastOne) {
  for (int i = 1; i <= 3; ++i) query("INSERT INTO orders VALUES ('acme', " + std::to_string(i) + ", 'nuts')");
  const std::vector<Row> all = entries();
  const Result rest = run(ReadOutbox{"orders", 500, number(all.at(1))});
  ASSERT_THAT(rest.rows, SizeIs(1));
  EXPECT_EQ(number(rest.rows[0]), number(all.at(2)));
}

// Nor do their own schemas and temporary tables get between the trigger and the outbox.
TEST_P(OutboxTable, WhoMayWriteTheTableNeedsNoRightToRecord) {
  if (!is("postgresql")) GTEST_SKIP() << "there triggers have the rights of who made them";
  const std::string role = "writer_of_" + database->options().database;
  query("CREATE ROLE " + role);
  query("GRANT INSERT, UPDATE ON orders TO " + role);
  query("SET ROLE " + role);
  query("SET search_path = pg_temp");
  query("CREATE TEMPORARY TABLE sluice_outbox (policy TEXT)");
  query("INSERT INTO public.orders VALUES ('acme', 7, 'nuts')");
  query("RESET ROLE");
  query("RESET search_path");
  query("DROP TABLE pg_temp.sluice_outbox");
  query("DROP OWNED BY " + role);
  query("DROP ROLE " + role);
  EXPECT_EQ(recorded(), (Keys{{"acme", "7"}}));
}

TEST_P(OutboxTable, AFileThatIsNotInUtf8IsRefused) {
  if (!is("sqlite")) GTEST_SKIP() << "of SQLite";
  TemporaryFolder folder;
  Outsider outside(folder.file("wide.db"));
  outside.run("PRAGMA encoding = 'UTF-16le'");
  outside.run("CREATE TABLE orders (tenant TEXT, id BIGINT, PRIMARY KEY (tenant, id))");
  conf::BackendOptions options = database->options();
  options.path = folder.file("wide.db");
  const auto wide = make_backend(options)->session();
  for (const Op& op : {Op(ReadOutbox{"orders"}), Op(CheckOutbox{kOrders})}) {
    EXPECT_TRUE(sql::fails(wide->run(op, soon()), Failure::schema, "0A000"));
  }
}

TEST_P(OutboxTable, KeysWhoseTextIsNoneOfAKeyAreNamed) {
  if (!is("mysql")) GTEST_SKIP() << "of MySQL";
  query("CREATE TABLE things (b BIT(8), t TIMESTAMP, n BIGINT ZEROFILL, PRIMARY KEY (b, t, n))");
  const Recorded things{"things", "things", {"b", "t", "n"}};
  query(backend->outbox_ddl(things));
  EXPECT_THAT(findings(things),
              UnorderedElementsAre(HasSubstr("'b' is of the type bit"), HasSubstr("'t' is of the type timestamp")));
}

// Others know nothing of these rows: no copy of theirs was changed along.
TEST_P(OutboxTable, WhatAForeignKeyDoesForSluiceIsRecorded) {
  if (is("mysql")) GTEST_SKIP() << "there it runs no triggers";
  query("CREATE TABLE tenants (name VARCHAR(40) PRIMARY KEY)");
  query("CREATE TABLE carts (tenant VARCHAR(40) PRIMARY KEY REFERENCES tenants (name) ON DELETE CASCADE)");
  query(backend->outbox_ddl({"carts", "carts", {"tenant"}}));
  query("INSERT INTO tenants VALUES ('acme')");
  query("INSERT INTO carts VALUES ('acme')");
  forget(entries("carts"));
  EXPECT_TRUE(is_ok(run(DeleteRow{"tenants", {{"name", std::string("acme")}}})));
  EXPECT_EQ(recorded("carts"), (Keys{{"acme"}}));
}

TEST_P(OutboxTable, TextsOfAllKindsComeBackAsTheyAre) {
  const std::vector<std::string> texts{
      "it's", "a:b", "a.b", "50%", "\"", "\\", "Abc", "abc ", "\xc3\xa9\xf0\x9f\x8d\x8e", " "};
  for (const std::string& text : texts) {
    EXPECT_TRUE(is_ok(run(ReplaceRow{"orders", {{"tenant", text}, {"id", std::int64_t{-1}}}, {}, {}})));
  }
  run(ForgetOutbox{});
  forget(entries());
  query("UPDATE orders SET item = 'x'");
  Keys expected;
  for (const std::string& text : texts) expected.push_back({text, "-1"});
  EXPECT_THAT(recorded(), testing::UnorderedElementsAreArray(expected));
}

TEST_P(OutboxTable, KeysOfAllTypesComeBackAsText) {
  const std::string uuid = "00000000-0000-4000-8000-00000000000a";
  query("CREATE TABLE things (id BIGINT PRIMARY KEY, bytes " + database->bytes_type() + ", u " +
        (is("mysql")    ? "VARCHAR(36)"
         : is("sqlite") ? "TEXT"
                        : "UUID") +
        ", d " + (is("sqlite") ? "TEXT" : "DATE") + ")");
  query(backend->outbox_ddl({"things", "things", {"id", "bytes", "u", "d"}}));
  const std::string bytes = is("postgresql") ? "'\\x00ff27412e'" : "X'00ff27412e'";
  if (is("postgresql")) query("SET bytea_output = 'escape'; SET datestyle = 'SQL, DMY'");
  query("INSERT INTO things VALUES (-9223372036854775807, " + bytes + ", '" + uuid + "', '2024-06-21')");
  const std::string expected("\x00\xff\x27\x41\x2e", 5);
  EXPECT_EQ(recorded("things"), (Keys{{"-9223372036854775807", expected, uuid, "2024-06-21"}}));
}

TEST_P(OutboxTable, AKeyThatIsNullKeepsNobodyFromWriting) {
  query("CREATE TABLE things (id BIGINT, note VARCHAR(9))");
  query(backend->outbox_ddl({"things", "things", {"note", "id"}}));
  query("INSERT INTO things VALUES (1, NULL)");
  EXPECT_EQ(recorded("things"), (Keys{{"", "1"}}));
}

TEST_P(OutboxTable, PoliciesOnOneTableHaveEntriesOfTheirOwn) {
  query(backend->outbox_ddl({"items", "orders", {"item"}}));
  query("INSERT INTO orders VALUES ('acme', 7, 'nuts')");
  EXPECT_EQ(recorded("orders"), (Keys{{"acme", "7"}}));
  EXPECT_EQ(recorded("items"), (Keys{{"nuts"}}));
  forget(entries("orders"));
  query("UPDATE orders SET item = 'bolts'");
  EXPECT_EQ(recorded("orders"), (Keys{{"acme", "7"}}));
  EXPECT_THAT(recorded("items"), UnorderedElementsAre(ElementsAre("nuts"), ElementsAre("nuts"), ElementsAre("bolts")));
}

TEST_P(OutboxTable, ExactlyTheEntriesThatAreNamedAreForgotten) {
  for (int i = 1; i <= 7; ++i) query("INSERT INTO orders VALUES ('acme', " + std::to_string(i) + ", 'nuts')");
  const std::vector<Row> all = entries();
  ASSERT_THAT(all, SizeIs(7));
  EXPECT_THAT(entries("orders", 3),
              ElementsAre(testing::Contains(all[0][0]), testing::Contains(all[1][0]), testing::Contains(all[2][0])));
  EXPECT_EQ(forget({all[1], all[3], all[4]}), 3);
  EXPECT_EQ(forget({all[1], all[5]}), 1) << "one of them was forgotten before";
  EXPECT_EQ(recorded(), (Keys{{"acme", "1"}, {"acme", "3"}, {"acme", "7"}}));
}

TEST_P(OutboxTable, ManyEntriesAreForgottenAtOnce) {
  query("BEGIN");
  for (int i = 1; i <= 1100; ++i) query("INSERT INTO orders VALUES ('acme', " + std::to_string(i) + ", 'nuts')");
  query("COMMIT");
  EXPECT_EQ(forget(entries("orders", 2000)), 1100);
  EXPECT_THAT(recorded(), IsEmpty());
}

// Or one that is read, and then forgotten by somebody else, would be another when it is forgotten again.
TEST_P(OutboxTable, ANumberIsNotUsedAgain) {
  query("INSERT INTO orders VALUES ('acme', 1, 'nuts')");
  const std::vector<Row> first = entries();
  forget(first);
  query("INSERT INTO orders VALUES ('acme', 2, 'nuts')");
  EXPECT_GT(number(entries().at(0)), number(first.at(0)));
  EXPECT_EQ(forget(first), 0);
  EXPECT_THAT(recorded(), SizeIs(1));
}

TEST_P(OutboxTable, AnEntryHasAnAge) {
  query("INSERT INTO orders VALUES ('acme', 1, 'nuts')");
  const auto age = std::get<std::int64_t>(entries().at(0).at(1));
  EXPECT_GE(age, 0);
  EXPECT_LT(age, 60000);
}

TEST_P(OutboxTable, AnEntryThatNoTriggerOfOursMadeHasNoKey) {
  query(std::string("INSERT INTO sluice_outbox (policy, tbl, op, ") + (is("mysql") ? "`key`" : "key") +
        ", at) VALUES ('orders', 'orders', 'insert', 'acme', " +
        (is("sqlite")  ? "0"
         : is("mysql") ? "UTC_TIMESTAMP()"
                       : "now()") +
        ")");
  EXPECT_EQ(recorded(), (Keys{{}}));
  EXPECT_EQ(forget(entries()), 1);
}

TEST_P(OutboxTable, WhatIsMissingIsNamed) {
  EXPECT_THAT(findings(kOrders), IsEmpty());
  Recorded other = kOrders;
  other.key_columns = {"id"};
  EXPECT_THAT(findings(other), testing::Contains(HasSubstr("is not the one for this policy")));
  other.policy = "others";
  EXPECT_THAT(findings(other), testing::Contains(HasSubstr("there is no trigger 'sluice_outbox_others")));
  query(std::string("DROP TRIGGER ") +
        (is("postgresql") ? "sluice_outbox_orders ON orders" : "sluice_outbox_orders_update"));
  EXPECT_THAT(findings(kOrders), ElementsAre(HasSubstr("there is no trigger 'sluice_outbox_orders")));
  query(backend->outbox_ddl(kOrders));
  query("DROP TABLE sluice_outbox");
  EXPECT_THAT(findings(kOrders), ElementsAre(HasSubstr("there is no table 'sluice_outbox'; sluice --print-schema")));
  const Result result = run(ReadOutbox{"orders"});
  EXPECT_TRUE(fails(result, Failure::schema, "42P01"));
  EXPECT_THAT(result.error.message, HasSubstr("sluice --print-schema"));
}

TEST_P(OutboxTable, TheStatementsMayBeRunAgain) {
  query("INSERT INTO orders VALUES ('acme', 1, 'nuts')");
  query(backend->outbox_ddl(kOrders));
  query("INSERT INTO orders VALUES ('acme', 2, 'nuts')");
  EXPECT_EQ(recorded(), (Keys{{"acme", "1"}, {"acme", "2"}}));
}

// Names are data: nothing in them ends the statement.
TEST_P(OutboxTable, NamesMayBeOdd) {
  const NewTable table{"odd \"`' \\table", {{"rest\"`'", NewColumn::Holds::text, true}}};
  const Recorded odd{"odd.policy-1", table.name, {"rest\"`'"}};
  query(backend->table_ddl(table));
  query(backend->outbox_ddl(odd));
  EXPECT_THAT(findings(odd), IsEmpty());
  const std::string quoted = is("mysql") ? "`odd \"``' \\table`" : "\"odd \"\"`' \\table\"";
  query("INSERT INTO " + quoted + " VALUES ('x')");
  EXPECT_EQ(recorded("odd.policy-1"), (Keys{{"x"}}));
  EXPECT_EQ(query("SELECT tbl FROM sluice_outbox"), table.name);
}

}  // namespace
}  // namespace sluice::sql

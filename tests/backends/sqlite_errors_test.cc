// Tests of what the SQLite backend says when the database cannot be used: never more and never less than is true.
#include <chrono>
#include <fstream>
#include <string>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sqlite_faults.h"
#include "sqlite_fixture.h"

namespace sluice::sql {
namespace {

using testing::HasSubstr;
constexpr std::chrono::milliseconds kShort{50};

constexpr const char* kTable = "CREATE TABLE fruit (id INTEGER PRIMARY KEY, name TEXT)";

Op write(std::int64_t id, std::string name = "apple") {
  return ReplaceRow{"fruit", {{"id", id}}, {{"name", std::move(name)}}, {}};
}
Op read(std::int64_t id) { return ReadRow{"fruit", {{"id", id}}, {"name"}}; }

std::unique_ptr<Session> session_on(const std::string& path) { return sqlite_backend(path)->session(); }

void overwrite(const std::string& path, std::streamoff at, const std::string& bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(at);
  file << bytes;
}

class SqliteErrors : public SqliteTest {
 protected:
  SqliteErrors() { outside.run(kTable); }
  std::string names() { return outside.run("SELECT id, name FROM fruit ORDER BY id"); }
};

// --- Locks and time

TEST_F(SqliteErrors, AWriteToALockedDatabaseIsUnavailableAndReadsGoOn) {
  ASSERT_TRUE(is_ok(run(write(1))));
  outside.run("BEGIN EXCLUSIVE");
  EXPECT_TRUE(fails(run(write(2), in(kShort)), Failure::unavailable, "55P03"));
  EXPECT_TRUE(is_ok(run(read(1))));
  outside.run("COMMIT");
  EXPECT_TRUE(is_ok(run(write(3))));
  EXPECT_EQ(names(), "1|apple\n3|apple");
}

TEST_F(SqliteErrors, AWriteWaitsForALockUntilItsDeadline) {
  outside.run("BEGIN IMMEDIATE");
  Result result;
  std::thread writer([&] { result = run(write(1)); });
  outside.run("COMMIT");
  writer.join();
  EXPECT_TRUE(is_ok(result));
}

TEST_F(SqliteErrors, EveryWriteOfAGroupIsUnavailableWhenTheDatabaseIsLocked) {
  outside.run("BEGIN IMMEDIATE");
  for (const auto& result : run_group({write(1), write(2)}, in(kShort))) {
    EXPECT_TRUE(fails(result, Failure::unavailable, "55P03"));
  }
  outside.run("COMMIT");
  EXPECT_EQ(names(), "");
}

TEST(SqliteOtherProcess, ALockHeldByAnotherProcessMakesTheDatabaseUnavailable) {
  const TemporaryFolder folder;
  const std::string path = folder.file("shop.db");
  int ready[2];
  int release[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(release), 0);
  const pid_t child = fork();
  if (child == 0) {  // the only process that has opened this file so far
    ::close(release[1]);
    Outsider holder(path);
    holder.run(kTable);
    holder.run("BEGIN EXCLUSIVE");
    char byte = 'x';
    const bool told = ::write(ready[1], &byte, 1) == 1;
    _exit(told && ::read(release[0], &byte, 1) == 0 ? 0 : 1);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const auto session = session_on(path);
  // A database that is not in WAL mode yet: its writer shuts out readers too.
  EXPECT_TRUE(fails(session->run(write(1), in(kShort)), Failure::unavailable, "55P03"));
  EXPECT_TRUE(fails(session->run(read(1), in(kShort)), Failure::unavailable, "55P03"));
  for (const int fd : {release[1], release[0], ready[0], ready[1]}) ::close(fd);
  int status = 1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(is_ok(session->run(write(1), soon())));
}

TEST_F(SqliteErrors, AnOperationWithoutTimeLeftDoesNotBegin) {
  EXPECT_TRUE(fails(run(write(1), in(std::chrono::milliseconds(-1))), Failure::unavailable, "57014"));
  EXPECT_TRUE(fails(run(read(1), in(std::chrono::milliseconds(-1))), Failure::unavailable, "57014"));
  EXPECT_EQ(names(), "");
}

constexpr const char* kEndless =
    "SELECT count(*) FROM (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n)";

TEST_F(SqliteErrors, AStatementIsStoppedAtItsDeadlineAndLeavesNothing) {
  outside.run("CREATE TRIGGER slow AFTER INSERT ON fruit WHEN new.id = 2 BEGIN " + std::string(kEndless) + "; END");
  for (const auto& result : run_group({write(1), write(2)}, in(kShort))) {
    EXPECT_TRUE(fails(result, Failure::unavailable, "57014"));
  }
  EXPECT_EQ(names(), "");
  EXPECT_TRUE(is_ok(run(write(3))));
}

TEST_F(SqliteErrors, AReadIsStoppedAtItsDeadline) {
  outside.run("CREATE VIEW slow (n) AS " + std::string(kEndless));
  EXPECT_TRUE(fails(run(ListRows{"slow", {"n"}, {"n"}, {}, 1}, in(kShort)), Failure::unavailable, "57014"));
  EXPECT_TRUE(is_ok(run(read(1))));
}

// --- The file

TEST(SqliteFile, AMissingFileIsUnavailableAndNeverCreated) {
  const TemporaryFolder folder;
  const std::string path = folder.file("shop.db");
  const auto session = session_on(path);
  for (const Op& op : {write(1), read(1), Op(Ping{}), Op(Describe{"fruit"})}) {
    const Result result = session->run(op, soon());
    EXPECT_TRUE(fails(result, Failure::unavailable, "08001"));
    EXPECT_THAT(result.error.message, HasSubstr(path));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  Outsider(path).run(kTable);
  EXPECT_TRUE(is_ok(session->run(write(1), soon())));
}

TEST(SqliteFile, ANameWithoutAFileIsRefusedAtOnce) {
  for (const char* path : {"", ":memory:"}) {
    EXPECT_TRUE(fails(session_on(path)->run(write(1), soon()), Failure::schema, "08001")) << path;
  }
}

TEST(SqliteFile, AFileThatIsNoDatabaseIsForTheOperator) {
  const TemporaryFolder folder;
  const std::string path = folder.file("shop.db");
  std::ofstream(path) << std::string(4096, 'x');
  EXPECT_TRUE(fails(session_on(path)->run(write(1), soon()), Failure::schema, "XX001"));
  EXPECT_TRUE(fails(session_on(path)->run(read(1), soon()), Failure::schema, "XX001"));
}

TEST(SqliteFile, ADamagedDatabaseIsForTheOperator) {
  const TemporaryFolder folder;
  const std::string path = folder.file("shop.db");
  Outsider(path).run(std::string(kTable) + "; INSERT INTO fruit VALUES (1, 'apple')");
  overwrite(path, 4096, std::string(4096, '\x7f'));
  EXPECT_TRUE(fails(session_on(path)->run(read(1), soon()), Failure::schema, "XX001"));
  EXPECT_TRUE(fails(session_on(path)->run(write(1), soon()), Failure::schema, "XX001"));
}

TEST(SqliteFile, AReadOnlyDatabaseTakesReadsOnly) {
  const TemporaryFolder folder;
  const std::string path = folder.file("shop.db");
  Outsider(path).run(std::string(kTable) + "; INSERT INTO fruit VALUES (1, 'apple')");
  overwrite(path, 18, "\x09");  // a format that this SQLite may read but not write
  const auto session = session_on(path);
  EXPECT_TRUE(fails(session->run(write(2), soon()), Failure::unavailable, "25006"));
  EXPECT_EQ(session->run(read(1), soon()).rows, std::vector<Row>{Row{std::string("apple")}});
}

TEST_F(SqliteErrors, AFileThatTookThePlaceOfTheOpenOneIsUsed) {
  ASSERT_TRUE(is_ok(run(write(1))));
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::rename(path + suffix, path + ".old" + suffix);
  Outsider fresh(path);
  fresh.run("CREATE TABLE fruit (id INTEGER PRIMARY KEY, name BLOB)");  // the same number of changes to the schema
  EXPECT_TRUE(fails(run(write(2)), Failure::refused, "22P02"));
  EXPECT_TRUE(is_ok(run(ReplaceRow{"fruit", {{"id", std::int64_t{2}}}, {}, {}})));
  EXPECT_EQ(fresh.run("SELECT id FROM fruit"), "2");
}

TEST(SqliteFile, ADatabaseInUtf16IsReadAndWrittenAsUtf8) {
  const TemporaryFolder folder;
  const std::string path = folder.file("shop.db");
  Outsider(path).run(std::string("PRAGMA encoding = 'UTF-16'; ") + kTable);
  const auto session = session_on(path);
  ASSERT_TRUE(is_ok(session->run(write(1, "caf\xc3\xa9"), soon())));
  EXPECT_EQ(session->run(read(1), soon()).rows, std::vector<Row>{Row{std::string("caf\xc3\xa9")}});
}

TEST_F(SqliteErrors, NothingIsAcknowledgedOnceTheFileIsGone) {
  ASSERT_TRUE(is_ok(run(write(1))));
  ASSERT_TRUE(is_ok(run(read(1))));
  for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
  EXPECT_TRUE(fails(run(write(2)), Failure::unavailable, "08001"));
  EXPECT_TRUE(fails(run(read(1)), Failure::unavailable, "08001"));
}

// --- The disk

class SqliteDisk : public testing::Test {
 protected:
  SqliteDisk() : faults(sqlite_faults()), path(folder.file("shop.db")), outside(path), session(session_on(path)) {
    outside.run("PRAGMA journal_mode = WAL");
    outside.run(kTable);
    EXPECT_TRUE(is_ok(session->run(write(1), soon())));
  }
  ~SqliteDisk() override { sqlite_faults(); }
  std::vector<Result> run_group(const std::vector<Op>& ops) { return session->run_group(pointers_to(ops), soon()); }
  std::string ids() { return outside.run("SELECT id FROM fruit ORDER BY id"); }

  SqliteFaults& faults;
  TemporaryFolder folder;
  std::string path;
  Outsider outside;
  std::unique_ptr<Session> session;
};

TEST_F(SqliteDisk, EveryCommitIsSyncedBeforeItIsAcknowledged) {
  const int before = faults.syncs;
  ASSERT_TRUE(is_ok(session->run(write(2), soon())));
  EXPECT_GT(faults.syncs, before);
}

TEST_F(SqliteDisk, AFullDiskIsUnavailableAndNothingIsApplied) {
  faults.write = SQLITE_FULL;
  EXPECT_TRUE(fails(session->run(write(2), soon()), Failure::unavailable, "53100"));
  for (const auto& result : run_group({write(3), write(4)})) {
    EXPECT_TRUE(fails(result, Failure::unavailable, "53100"));
  }
  faults.write = 0;
  EXPECT_EQ(ids(), "1");
  EXPECT_TRUE(is_ok(session->run(write(5), soon())));
  EXPECT_EQ(ids(), "1\n5");
}

TEST_F(SqliteDisk, ADiskThatFillsUpInTheMiddleOfATransactionIsUnavailableForAllOfIt) {
  faults.write = SQLITE_FULL;
  const std::string more_than_the_cache(std::size_t{8} << 20, 'x');
  for (const auto& result : run_group({write(2), write(3, more_than_the_cache), write(4, more_than_the_cache)})) {
    EXPECT_TRUE(fails(result, Failure::unavailable, "53100"));
  }
  faults.write = 0;
  EXPECT_EQ(ids(), "1");
}

TEST_F(SqliteDisk, AFailedSyncAtCommitLeavesTheOutcomeUnknown) {
  faults.sync = SQLITE_IOERR_FSYNC;
  for (const auto& result : run_group({write(2), write(3)})) {
    EXPECT_TRUE(fails(result, Failure::unknown, "58030"));
  }
  faults.sync = 0;
  EXPECT_TRUE(is_ok(session->run(write(4), soon())));
}

TEST_F(SqliteDisk, AWriteThatWasRefusedBeforeAFailedCommitKeepsItsOwnError) {
  const Op refused = write(std::int64_t{1} << 40, "x");
  outside.run("CREATE TRIGGER t BEFORE INSERT ON fruit WHEN new.id > 100 BEGIN SELECT raise(ABORT, 'no'); END");
  const auto check = [&](Failure failure, const char* sqlstate) {
    const auto results = run_group({write(2), refused, write(3)});
    EXPECT_TRUE(fails(results[0], failure, sqlstate));
    EXPECT_TRUE(fails(results[1], Failure::refused, "P0001"));
    EXPECT_TRUE(fails(results[2], failure, sqlstate));
  };
  faults.write = SQLITE_FULL;
  check(Failure::unavailable, "53100");
  faults.write = 0;
  faults.sync = SQLITE_IOERR_FSYNC;
  check(Failure::unknown, "58030");
}

TEST_F(SqliteDisk, AnErrorBeforeCommitIsUnavailableAndTheConnectionComesBack) {
  outside.run("PRAGMA wal_checkpoint(TRUNCATE)");
  const auto fresh = session_on(path);
  faults.read = SQLITE_IOERR_READ;
  EXPECT_TRUE(fails(fresh->run(write(2), soon()), Failure::unavailable, "58030"));
  EXPECT_TRUE(fails(fresh->run(read(1), soon()), Failure::unavailable, "58030"));
  faults.read = 0;
  EXPECT_TRUE(is_ok(fresh->run(write(3), soon())));
  EXPECT_TRUE(is_ok(fresh->run(read(1), soon())));
  EXPECT_EQ(ids(), "1\n3");
}

TEST(SqliteFullDisk, OnARealFullDiskEveryAcknowledgedRowIsThere) {
  const TemporaryFolder folder;
  if (mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=512k") != 0) GTEST_SKIP() << "needs the right to mount";
  {
    const std::string path = folder.file("shop.db");
    Outsider outside(path);
    outside.run(kTable);
    const auto session = session_on(path);
    std::int64_t acknowledged = 0;
    Result last;
    while ((last = session->run(write(acknowledged + 1, std::string(3000, 'x')), soon())).ok()) ++acknowledged;
    EXPECT_TRUE(fails(last, Failure::unavailable, "53100"));
    EXPECT_GT(acknowledged, 10);
    EXPECT_EQ(outside.run("SELECT count(*), max(id) FROM fruit"),
              std::to_string(acknowledged) + "|" + std::to_string(acknowledged));
  }
  umount(folder.path().c_str());
}

}  // namespace
}  // namespace sluice::sql

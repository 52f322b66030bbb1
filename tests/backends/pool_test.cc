// Tests of the pool: order, groups, deadlines, stopping. Most use a scripted database, the last ones SQLite.
#include "backends/pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <pthread.h>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sqlite_fixture.h"

namespace sluice::sql {
namespace {

using testing::ElementsAre;
using testing::SizeIs;
using testing::UnorderedElementsAre;
using Names = std::vector<std::string>;

// What the scripted database saw and is to do. An operation's table is its name in these tests.
class Script {
 public:
  void close_gate() { set_gate(false); }
  void open_gate() { set_gate(true); }

  std::vector<Names> transactions() {
    const std::lock_guard lock(mutex_);
    return transactions_;
  }
  void wait_for_transactions(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return transactions_.size() >= count; });
  }

  // Called by sessions; writes wait at the gate.
  void enter(Names names, bool is_write) {
    std::unique_lock lock(mutex_);
    transactions_.push_back(std::move(names));
    changed_.notify_all();
    if (is_write) changed_.wait(lock, [&] { return open_; });
  }

  std::atomic<Failure> outcome{Failure::none};  // of every operation
  std::atomic<int> writers{1};

 private:
  void set_gate(bool open) {
    const std::lock_guard lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  std::vector<Names> transactions_;
};

struct TableOf {
  std::string operator()(const Ping&) const { return "ping"; }
  std::string operator()(const CheckDurability&) const { return "settings"; }
  std::string operator()(const ReadOutbox& op) const { return op.policy; }
  std::string operator()(const ForgetOutbox&) const { return "outbox"; }
  std::string operator()(const CheckOutbox& op) const { return op.recorded.table; }
  std::string operator()(const RunStatement& op) const { return op.sql; }
  std::string operator()(const ReadQuery& op) const { return op.sql; }
  std::string operator()(const DescribeQuery& op) const { return op.sql; }
  std::string operator()(const WriteRows&) const { return "several"; }
  std::string operator()(const ReadCounter& op) const { return op.where.table; }
  std::string operator()(const FlushCounters& op) const { return op.where.table; }
  template <class Other>
  std::string operator()(const Other& op) const {
    return op.table;
  }
};

// A group that holds a write named "hurried" is still at work when its deadline comes.
class ScriptedSession final : public Session {
 public:
  explicit ScriptedSession(Script& script) : script_(script) {}

  Result run(const Op& op, Deadline) override {
    script_.enter({std::visit(TableOf{}, op)}, is_write(op));
    return result_of(op);
  }

  std::vector<Result> run_group(std::span<const Op* const> ops, Deadline deadline) override {
    Names names;
    for (const Op* op : ops) names.push_back(std::visit(TableOf{}, *op));
    script_.enter(names, true);
    std::vector<Result> results;
    for (const Op* op : ops) results.push_back(result_of(*op));
    if (std::find(names.begin(), names.end(), "hurried") != names.end()) {
      std::this_thread::sleep_until(deadline);
      for (auto& result : results) result.error = {Failure::unavailable, "57014", "too slow"};
    }
    return results;
  }

 private:
  Result result_of(const Op& op) const {
    Result result;
    const std::string table = std::visit(TableOf{}, op);
    char thread[16] = "";
    pthread_getname_np(pthread_self(), thread, sizeof thread);
    result.rows = {{table, std::string(thread)}};
    const Failure failure = table == "bad" ? Failure::refused : script_.outcome.load();
    if (failure != Failure::none) result.error = {failure, "XXXXX", "the script says so"};
    return result;
  }

  Script& script_;
};

class ScriptedBackend final : public Backend {
 public:
  explicit ScriptedBackend(Script& script) : script_(script) {}
  std::unique_ptr<Session> session() override { return std::make_unique<ScriptedSession>(script_); }
  int writers() const override { return script_.writers; }
  int readers() const override { return 2; }
  int lone_writers() const override { return 0; }
  std::string counter_ddl() const override { return {}; }
  std::string table_ddl(const NewTable&) const override { return {}; }
  std::string outbox_ddl(const Recorded&) const override { return {}; }

 private:
  Script& script_;
};

// The results in the order they came.
class Results {
 public:
  std::function<void(Result)> sink() {
    return [this](Result result) {
      const std::lock_guard lock(mutex_);
      results_.push_back(std::move(result));
      changed_.notify_all();
    };
  }
  std::vector<Result> wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return results_.size() >= count; });
    return results_;
  }
  std::size_t size() {
    const std::lock_guard lock(mutex_);
    return results_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Result> results_;
};

Op write(const std::string& name) { return ReplaceRow{name, {}, {}, {}}; }
Op read(const std::string& name) { return ReadRow{name, {}, {}}; }
Op read(const std::string& name, const std::string& key) { return ReadRow{name, {{"key", key}}, {"thread"}}; }
Op flush(const std::string& name) { return FlushCounters{{name, {}, {}}, {}}; }

class PoolTest : public testing::Test {
 protected:
  std::unique_ptr<Pool> pool(Pool::Limits limits = {}) {
    return std::make_unique<Pool>("shop", std::make_unique<ScriptedBackend>(script), limits);
  }
  void submit(Pool& pool, Op op, Deadline deadline = soon()) { pool.submit({std::move(op), deadline, results.sink()}); }
  void submit_together(Pool& pool, std::vector<Op> ops) {
    std::vector<Job> jobs;
    for (Op& op : ops) jobs.push_back({std::move(op), soon(), results.sink()});
    pool.submit(std::move(jobs));
  }
  // Submits a write and returns when the database holds it at the gate.
  void block_writes(Pool& pool) {
    script.close_gate();
    const auto before = script.transactions().size();
    submit(pool, write("first"));
    script.wait_for_transactions(before + 1);
  }

  Script script;
  Results results;
};

const Pool::Stats& stats_of(const std::vector<Pool::Stats>& all, const std::string& op) {
  return *std::find_if(all.begin(), all.end(), [&](const auto& stats) { return stats.op == op; });
}

// --- Groups and order

TEST_F(PoolTest, AnIdlePoolRunsAWriteAlone) {
  const auto p = pool();
  submit(*p, write("a"));
  EXPECT_TRUE(is_ok(results.wait_for(1)[0]));
  EXPECT_THAT(script.transactions(), ElementsAre(Names{"a"}));
  EXPECT_EQ(p->transactions(), 1U);
}

TEST_F(PoolTest, WritesThatWaitShareTheNextTransactionInOrder) {
  const auto p = pool();
  block_writes(*p);
  for (const char* name : {"a", "b", "c"}) submit(*p, write(name));
  EXPECT_EQ(p->queued(), 4U);
  script.open_gate();
  results.wait_for(4);
  EXPECT_THAT(script.transactions(), ElementsAre(Names{"first"}, Names{"a", "b", "c"}));
  EXPECT_EQ(p->transactions(), 2U);
}

TEST_F(PoolTest, AGroupHasAtMostItsLimit) {
  const auto p = pool({.group_ops_max = 2});
  block_writes(*p);
  for (const char* name : {"a", "b", "c"}) submit(*p, write(name));
  script.open_gate();
  results.wait_for(4);
  EXPECT_THAT(script.transactions(), ElementsAre(Names{"first"}, Names{"a", "b"}, Names{"c"}));
}

TEST_F(PoolTest, AFlushRunsAloneAndKeepsItsPlace) {
  const auto p = pool();
  block_writes(*p);
  submit(*p, write("a"));
  submit(*p, flush("f"));
  submit(*p, write("b"));
  submit(*p, write("c"));
  script.open_gate();
  results.wait_for(5);
  EXPECT_THAT(script.transactions(), ElementsAre(Names{"first"}, Names{"a"}, Names{"f"}, Names{"b", "c"}));
}

// The scripted database has one row, whose key is the table's name.
TEST_F(PoolTest, ReadsThatComeTogetherShareAQueryAndGetTheirOwnRows) {
  const auto p = pool();
  submit_together(*p, {read("t", "t"), read("t", "absent"), read("t", "t")});
  const auto all = results.wait_for(3);
  EXPECT_THAT(script.transactions(), ElementsAre(Names{"t"}));
  EXPECT_THAT(all[0].rows, SizeIs(1));
  EXPECT_THAT(all[0].rows[0], SizeIs(1)) << "the key is not among the columns that were asked for";
  EXPECT_THAT(all[1].rows, SizeIs(0));
  EXPECT_EQ(all[2].rows, all[0].rows);
}

TEST_F(PoolTest, ReadsOfSeveralTablesDoNotShareAQuery) {
  const auto p = pool();
  submit_together(*p, {read("t", "t"), read("u", "u"), read("u", "v")});
  results.wait_for(3);
  EXPECT_THAT(script.transactions(), UnorderedElementsAre(Names{"t"}, Names{"u"}));
}

TEST_F(PoolTest, AReadWithLittleTimeLeftCutsNoOthersShort) {
  const auto p = pool();
  const Deadline hurried = in(std::chrono::minutes(2)), patient = in(std::chrono::hours(1));
  std::vector<Job> jobs;
  for (const Deadline deadline : {hurried, patient, patient}) {
    jobs.push_back({read("t", "t"), deadline, results.sink()});
  }
  p->submit(std::move(jobs));
  for (const auto& result : results.wait_for(3)) EXPECT_TRUE(is_ok(result));
  EXPECT_THAT(script.transactions(), SizeIs(2)) << "the others share theirs";
}

TEST_F(PoolTest, WhoHasItsResultIsNotWaitingAnyMore) {
  const auto p = pool();
  std::vector<std::size_t> queued;
  const auto look = [&, sink = results.sink()](Result result) {
    queued.push_back(p->queued());
    sink(std::move(result));
  };
  p->submit({read("t", "t"), soon(), look});
  results.wait_for(1);
  p->submit({write("a"), soon(), look});
  results.wait_for(2);
  p->submit({write("late"), std::chrono::steady_clock::now() - std::chrono::seconds(1), look});
  results.wait_for(3);
  EXPECT_THAT(queued, ElementsAre(0U, 0U, 0U));
}

TEST_F(PoolTest, AQueryHasAtMostItsLimitOfReads) {
  const auto p = pool({.group_reads_max = 2});
  submit_together(*p, {read("t", "a"), read("t", "t"), read("t", "t")});
  results.wait_for(3);
  EXPECT_THAT(script.transactions(), SizeIs(2));
}

TEST_F(PoolTest, ARowThatNoReadOfAQueryAskedForHasThemReadAlone) {
  const auto p = pool();
  submit_together(*p, {read("t", "T"), read("t", "other")});
  for (const auto& result : results.wait_for(2)) EXPECT_THAT(result.rows, SizeIs(1));
  EXPECT_THAT(script.transactions(), SizeIs(3));
}

TEST_F(PoolTest, ReadsOfAQueryThatIsRefusedAreReadAlone) {
  const auto p = pool();
  submit_together(*p, {read("bad", "1"), read("bad", "2")});
  for (const auto& result : results.wait_for(2)) EXPECT_EQ(result.error.failure, Failure::refused);
  EXPECT_THAT(script.transactions(), SizeIs(3));
}

TEST_F(PoolTest, ReadsOfAQueryThatFailsOtherwiseFail) {
  const auto p = pool();
  script.outcome = Failure::unavailable;
  submit_together(*p, {read("t", "t"), read("t", "u")});
  for (const auto& result : results.wait_for(2)) EXPECT_EQ(result.error.failure, Failure::unavailable);
  EXPECT_THAT(script.transactions(), SizeIs(1));
}

TEST_F(PoolTest, ReadsDoNotWaitForWrites) {
  const auto p = pool();
  block_writes(*p);
  submit(*p, read("r"));
  EXPECT_EQ(results.wait_for(1)[0].rows[0][0], Value{std::string("r")});
  script.open_gate();
  results.wait_for(2);
}

TEST_F(PoolTest, EveryJobGetsItsOwnResult) {
  const auto p = pool();
  block_writes(*p);
  for (const char* name : {"a", "bad", "c"}) submit(*p, write(name));
  script.open_gate();
  const auto all = results.wait_for(4);
  const Names expected{"first", "a", "bad", "c"};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(all[i].rows[0][0], Value{expected[i]});
    EXPECT_EQ(all[i].error.failure, expected[i] == "bad" ? Failure::refused : Failure::none);
  }
}

TEST_F(PoolTest, AnUnknownOutcomeIsUnknownForTheWholeGroupAndIsNotTriedAgain) {
  const auto p = pool();
  block_writes(*p);
  script.outcome = Failure::unknown;
  for (const char* name : {"a", "b"}) submit(*p, write(name));
  script.open_gate();
  for (const auto& result : results.wait_for(3)) EXPECT_EQ(result.error.failure, Failure::unknown);
  EXPECT_THAT(script.transactions(), SizeIs(2));
  EXPECT_EQ(p->transactions(), 0U);
}

TEST_F(PoolTest, ThreadsAreNamedAfterTheirLane) {
  const auto p = pool();
  submit(*p, write("a"));
  EXPECT_EQ(results.wait_for(1)[0].rows[0][1], Value{std::string("sql-w-shop")});
  submit(*p, read("a"));
  EXPECT_EQ(results.wait_for(2)[1].rows[0][1], Value{std::string("sql-r-shop")});
}

// Notes how many results were there each time.
class CountingWaker final : public Waker {
 public:
  explicit CountingWaker(Results& results) : results_(results) {}
  void wake() override { seen.push_back(results_.size()); }
  std::vector<std::size_t> seen;

 private:
  Results& results_;
};

TEST_F(PoolTest, JobsThatEndTogetherAreWokenForOnce) {
  const auto p = pool();
  const auto waker = std::make_shared<CountingWaker>(results);
  block_writes(*p);
  for (const char* name : {"a", "b", "c"}) p->submit({write(name), soon(), results.sink(), waker});
  script.open_gate();
  results.wait_for(4);
  p->stop();
  EXPECT_THAT(waker->seen, ElementsAre(4U));
}

TEST_F(PoolTest, AJobThatIsTurnedAwayIsWokenFor) {
  const auto p = pool();
  const auto waker = std::make_shared<CountingWaker>(results);
  p->stop();
  p->submit({write("a"), soon(), results.sink(), waker});
  EXPECT_THAT(waker->seen, ElementsAre(1U));
}

// --- Deadlines and limits

TEST_F(PoolTest, AJobWhoseDeadlinePassedWhileItWaitedDoesNotRun) {
  const auto p = pool();
  block_writes(*p);
  submit(*p, write("late"), std::chrono::steady_clock::now());
  submit(*p, write("in time"));
  script.open_gate();
  const auto all = results.wait_for(3);
  EXPECT_TRUE(fails(all[1], Failure::unavailable, "57014"));
  EXPECT_TRUE(is_ok(all[2]));
  EXPECT_THAT(script.transactions(), ElementsAre(Names{"first"}, Names{"in time"}));
}

TEST_F(PoolTest, AGroupThatOneDeadlineCutShortRunsAgainWithoutThatJob) {
  const auto p = pool();
  block_writes(*p);
  submit(*p, write("a"));
  submit(*p, write("hurried"), in(std::chrono::milliseconds(200)));
  submit(*p, write("c"));
  script.open_gate();
  const auto all = results.wait_for(4);
  EXPECT_EQ(all[1].error.failure, Failure::unavailable);
  EXPECT_TRUE(is_ok(all[2]));
  EXPECT_TRUE(is_ok(all[3]));
  EXPECT_THAT(script.transactions().back(), ElementsAre("a", "c"));
}

TEST_F(PoolTest, AJobThatFindsItsLaneFullFailsAtOnce) {
  const auto p = pool({.lane_jobs_max = 1});
  block_writes(*p);
  submit(*p, write("waits"));
  submit(*p, write("too many"));
  EXPECT_TRUE(fails(results.wait_for(1)[0], Failure::unavailable, "57P03"));
  submit(*p, read("another lane"));
  EXPECT_TRUE(is_ok(results.wait_for(2)[1]));
  script.open_gate();
  results.wait_for(4);
}

// --- Stopping

TEST_F(PoolTest, StopFailsWhatWaitsAndFinishesWhatRuns) {
  const auto p = pool();
  block_writes(*p);
  submit(*p, write("waits"));
  std::thread stopper([&] { p->stop(); });
  EXPECT_TRUE(fails(results.wait_for(1)[0], Failure::unavailable, "57P03"));
  EXPECT_EQ(p->queued(), 1U);
  script.open_gate();
  stopper.join();
  ASSERT_EQ(results.size(), 2U);
  EXPECT_TRUE(is_ok(results.wait_for(2)[1]));
  EXPECT_EQ(p->queued(), 0U);
  EXPECT_THAT(script.transactions(), ElementsAre(Names{"first"}));
}

TEST_F(PoolTest, AStoppedPoolRefusesJobsAndMayBeStoppedAgain) {
  const auto p = pool();
  p->stop();
  p->stop();
  submit(*p, write("a"));
  submit(*p, read("a"));
  for (const auto& result : results.wait_for(2)) EXPECT_TRUE(fails(result, Failure::unavailable, "57P03"));
  EXPECT_TRUE(script.transactions().empty());
}

TEST_F(PoolTest, EveryJobIsAnsweredOnceWhileThreadsSubmitAndThePoolStops) {
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kJobs = 500;
  script.writers = 2;
  std::vector<std::atomic<int>> answers(kThreads * kJobs);
  {
    const auto p = pool({.lane_jobs_max = 200, .group_ops_max = 8});
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (std::size_t i = 0; i < kJobs; ++i) {
          auto& answer = answers[t * kJobs + i];
          Op op = i % 3 == 0 ? read("r") : i % 7 == 0 ? flush("f") : write("w");
          p->submit({std::move(op), soon(), [&answer](const Result&) { ++answer; }});
          if (i == kJobs / 2 && t == 0) p->stop();
        }
      });
    }
    for (auto& thread : threads) thread.join();
  }
  for (const auto& answer : answers) EXPECT_EQ(answer, 1);
}

// --- What operators see

TEST_F(PoolTest, HealthFollowsTheLastOperationThatRan) {
  const auto p = pool();
  EXPECT_FALSE(p->healthy());
  submit(*p, write("a"));
  results.wait_for(1);
  EXPECT_TRUE(p->healthy());
  EXPECT_EQ(p->last_error(), "");
  script.outcome = Failure::unavailable;
  submit(*p, read("b"));
  results.wait_for(2);
  EXPECT_FALSE(p->healthy());
  EXPECT_EQ(p->last_error(), "the script says so");
  script.outcome = Failure::refused;
  submit(*p, write("c"));
  results.wait_for(3);
  EXPECT_TRUE(p->healthy());
}

TEST_F(PoolTest, AJobThatDidNotRunSaysNothingAboutHealth) {
  const auto p = pool();
  submit(*p, write("a"));
  results.wait_for(1);
  submit(*p, write("late"), std::chrono::steady_clock::now() - std::chrono::seconds(1));
  results.wait_for(2);
  EXPECT_TRUE(p->healthy());
}

TEST_F(PoolTest, StatisticsCountEachOperationAndItsFailures) {
  const auto p = pool();
  submit(*p, write("a"));
  submit(*p, write("bad"));
  submit(*p, read("r"));
  results.wait_for(3);
  script.outcome = Failure::schema;
  submit(*p, read("r"));
  results.wait_for(4);
  const auto all = p->stats();
  EXPECT_THAT(all, SizeIs(std::variant_size_v<Op>));
  const auto& writes = stats_of(all, "replace_row");
  EXPECT_EQ(writes.count, 2U);
  EXPECT_EQ(writes.refused, 1U);
  EXPECT_GT(writes.seconds, 0);
  std::uint64_t in_buckets = 0;
  for (const auto bucket : writes.buckets) in_buckets += bucket;
  EXPECT_EQ(in_buckets, 2U);
  EXPECT_EQ(stats_of(all, "read_row").schema, 1U);
  EXPECT_EQ(stats_of(all, "ping").count, 0U);
}

// --- On SQLite

class SqlitePool : public SqliteTest {
 protected:
  SqlitePool() { outside.run("CREATE TABLE fruit (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"); }
  void submit(Pool& pool, std::int64_t id, const std::string& name, Deadline deadline = soon()) {
    pool.submit({ReplaceRow{"fruit", {{"id", id}}, {{"name", name}}, {}}, deadline, results.sink()});
  }
  Results results;
};

TEST_F(SqlitePool, QueuedWritesUseFewTransactionsAndARefusedOneFailsAlone) {
  Pool pool("shop", sqlite_backend(path));
  outside.run("BEGIN IMMEDIATE");
  for (std::int64_t id = 1; id <= 50; ++id) submit(pool, id, id == 25 ? "name 7" : "name " + std::to_string(id));
  outside.run("COMMIT");
  const auto all = results.wait_for(50);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (i == 24) {
      EXPECT_TRUE(fails(all[i], Failure::refused, "23505"));
    } else {
      EXPECT_TRUE(is_ok(all[i]));
    }
  }
  EXPECT_LE(pool.transactions(), 2U);
  EXPECT_EQ(outside.run("SELECT count(*) FROM fruit"), "49");
}

TEST_F(SqlitePool, ALockedDatabaseIsUnavailableForAllThatWait) {
  Pool pool("shop", sqlite_backend(path));
  outside.run("BEGIN IMMEDIATE");
  const auto deadline = in(std::chrono::milliseconds(100));
  for (std::int64_t id = 1; id <= 5; ++id) submit(pool, id, std::to_string(id), deadline);
  for (const auto& result : results.wait_for(5)) EXPECT_EQ(result.error.failure, Failure::unavailable);
  EXPECT_FALSE(pool.healthy());
  outside.run("COMMIT");
  EXPECT_EQ(outside.run("SELECT count(*) FROM fruit"), "0");
}

TEST_F(SqlitePool, ReadersAndTheWriterWorkAtTheSameTime) {
  Pool pool("shop", sqlite_backend(path));
  constexpr std::int64_t kRows = 200;
  for (std::int64_t id = 1; id <= kRows; ++id) {
    submit(pool, id, std::to_string(id));
    pool.submit({ReadRow{"fruit", {{"id", id}}, {"name"}}, soon(), results.sink()});
  }
  for (const auto& result : results.wait_for(2 * kRows)) EXPECT_TRUE(is_ok(result));
  EXPECT_EQ(outside.run("SELECT count(*) FROM fruit"), "200");
}

}  // namespace
}  // namespace sluice::sql

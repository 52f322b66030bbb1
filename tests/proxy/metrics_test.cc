// Metrics: the sums of all loops, as Prometheus reads them.
#include "proxy/metrics.h"

#include <future>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/pool.h"

namespace sluice::proxy {
namespace {

using testing::HasSubstr;
using testing::Not;

// Refuses DeleteRow, does everything else.
class FakeBackend final : public sql::Backend {
 public:
  std::unique_ptr<sql::Session> session() override { return std::make_unique<FakeSession>(); }
  int writers() const override { return 1; }
  int readers() const override { return 1; }
  int lone_writers() const override { return 0; }
  std::string counter_ddl() const override { return {}; }
  std::string table_ddl(const sql::NewTable&) const override { return {}; }
  std::string outbox_ddl(const sql::Recorded&) const override { return {}; }

 private:
  class FakeSession final : public sql::Session {
   public:
    sql::Result run(const sql::Op& op, sql::Deadline) override {
      sql::Result result;
      if (std::holds_alternative<sql::DeleteRow>(op)) result.error.failure = sql::Failure::refused;
      return result;
    }
    std::vector<sql::Result> run_group(std::span<const sql::Op* const> ops, sql::Deadline deadline) override {
      std::vector<sql::Result> results;
      for (const sql::Op* op : ops) results.push_back(run(*op, deadline));
      return results;
    }
  };
};

void run(sql::Pool& pool, sql::Op op) {
  std::promise<void> done;
  pool.submit({std::move(op), std::chrono::steady_clock::now() + std::chrono::minutes(1),
               [&](const sql::Result&) { done.set_value(); }});
  done.get_future().wait();
}

TEST(Metrics, SumTheLoops) {
  LoopMetrics first, second;
  first.clients.set(2);
  second.clients.set(3);
  first.client_bytes_in.add(10);
  const std::string text = render({{&first, &second}, {}, {}});
  EXPECT_THAT(text, HasSubstr("# TYPE sluice_clients gauge\nsluice_clients 5\n"));
  EXPECT_THAT(text,
              HasSubstr("# TYPE sluice_client_received_bytes_total counter\nsluice_client_received_bytes_total 10\n"));
}

TEST(Metrics, KeepLargeCountsExact) {
  LoopMetrics loop;
  loop.client_bytes_out.set((std::uint64_t{1} << 53) - 1);
  EXPECT_THAT(render({{&loop}, {}, {}}), HasSubstr("sluice_client_sent_bytes_total 9007199254740991\n"));
}

TEST(Metrics, CommandsHaveTheirLowerCaseName) {
  LoopMetrics loop;
  loop.count_command(resp::find_command("GET"), 7);
  loop.count_command(nullptr);
  const std::string text = render({{&loop}, {}, {}});
  EXPECT_THAT(text, HasSubstr("sluice_commands_total{cmd=\"get\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("sluice_commands_total{cmd=\"other\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("cmd=\"set\""))) << "never used, not listed";
}

TEST(Metrics, PinsAreCountedByReason) {
  LoopMetrics loop;
  loop.pin(PinReason::multi);
  loop.pin(PinReason::multi);
  loop.pin(PinReason::watch);
  loop.unpin(PinReason::multi);
  const std::string text = render({{&loop}, {}, {}});
  EXPECT_THAT(text, HasSubstr("sluice_pinned_clients{reason=\"multi\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("sluice_pinned_clients{reason=\"monitor\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("sluice_pins_total{reason=\"multi\"} 2\n"));
}

TEST(Metrics, PoliciesAreSummedOverTheLoopsAndKeptApart) {
  policies::PolicyMetrics a0, a1, b0;
  a0.hits.add(1);
  a1.hits.add(2);
  b0.hits.add(4);
  const std::string text = render({{}, {{"a", {&a0, &a1}}, {"b", {&b0}}}, {}});
  EXPECT_THAT(text, HasSubstr("# TYPE sluice_policy_hits_total counter\nsluice_policy_hits_total{policy=\"a\"} 3\n"
                              "sluice_policy_hits_total{policy=\"b\"} 4\n"));
}

TEST(Metrics, WritesAreOneFamilyByOutcome) {
  policies::PolicyMetrics policy;
  policy.writes_ok.add(5);
  policy.writes_unknown.add(1);
  const std::string text = render({{}, {{"a", {&policy}}}, {}});
  EXPECT_THAT(text, HasSubstr("sluice_policy_writes_total{policy=\"a\",outcome=\"ok\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("sluice_policy_writes_total{policy=\"a\",outcome=\"unknown\"} 1\n"));
  const std::string type = "# TYPE sluice_policy_writes_total counter";
  EXPECT_EQ(text.find(type), text.rfind(type));
}

TEST(Metrics, WhatEveryLoopFindsIsCountedOnce) {
  policies::PolicyMetrics a, b;
  a.outbox_gaps.set(1);
  b.outbox_gaps.set(3);
  EXPECT_THAT(render({{}, {{"orders", {&a, &b}}}, {}}), HasSubstr("sluice_outbox_gaps{policy=\"orders\"} 3\n"));
}

TEST(Metrics, TheOldestDirtyCounterIsThatOfAnyLoop) {
  policies::PolicyMetrics a, b;
  a.oldest_dirty_ms.set(1500);
  b.oldest_dirty_ms.set(250);
  a.dirty.set(2);
  b.dirty.set(1);
  const std::string text = render({{}, {{"views", {&a, &b}}}, {}});
  EXPECT_THAT(text, HasSubstr("sluice_policy_oldest_dirty_seconds{policy=\"views\"} 1.5\n"));
  EXPECT_THAT(text, HasSubstr("sluice_policy_dirty_counters{policy=\"views\"} 3\n"));
}

TEST(Metrics, ScriptsAreCountedByNameAndThoseNeverCalledAreLeftOut) {
  LoopMetrics first, second;
  first.scripts[0].calls.add(2);
  first.scripts[0].runs.add(50);
  second.scripts[0].calls.add(1);
  second.scripts[0].runs.add(14);
  const std::string text = render({{&first, &second}, {}, {}});
  EXPECT_THAT(text, HasSubstr("sluice_script_calls_total{script=\"arm\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("sluice_script_runs_total{script=\"arm\"} 64\n"));
  EXPECT_THAT(text, Not(HasSubstr("script=\"apply\"")));
}

TEST(Metrics, SqlIsCountedByBackendOperationAndOutcome) {
  sql::Pool pool("shop", std::make_unique<FakeBackend>());
  run(pool, sql::ReadRow{});
  run(pool, sql::ReadRow{});
  run(pool, sql::DeleteRow{});
  const std::string text = render({{}, {}, {&pool}});
  EXPECT_THAT(text, HasSubstr("sluice_sql_operations_total{backend=\"shop\",op=\"read_row\",outcome=\"ok\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("sluice_sql_operations_total{backend=\"shop\",op=\"delete_row\",outcome=\"ok\"} 0\n"));
  EXPECT_THAT(text,
              HasSubstr("sluice_sql_operations_total{backend=\"shop\",op=\"delete_row\",outcome=\"refused\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("sluice_sql_queue_depth{backend=\"shop\"} "));
  EXPECT_THAT(text, Not(HasSubstr("replace_row"))) << "never used, not listed";
}

TEST(Metrics, SqlLatencyIsACumulativeHistogram) {
  sql::Pool pool("shop", std::make_unique<FakeBackend>());
  run(pool, sql::ReadRow{});
  run(pool, sql::ReadRow{});
  const std::string text = render({{}, {}, {&pool}});
  EXPECT_THAT(text, HasSubstr("# TYPE sluice_sql_seconds histogram\n"));
  EXPECT_THAT(text, HasSubstr("sluice_sql_seconds_count{backend=\"shop\",op=\"read_row\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("sluice_sql_seconds_sum{backend=\"shop\",op=\"read_row\"} "));
  EXPECT_THAT(text, HasSubstr("sluice_sql_seconds_bucket{backend=\"shop\",op=\"read_row\",le=\"+Inf\"} 2\n"));
}

TEST(Metrics, TellTheVersion) {
  EXPECT_THAT(render({}), testing::ContainsRegex("sluice_build_info\\{version=\"[0-9.]+\"\\} 1\n"));
}

TEST(Metrics, NamesAndLabelsAreEscaped) {
  policies::PolicyMetrics policy;
  EXPECT_THAT(render({{}, {{"a\"b\\c", {&policy}}}, {}}), HasSubstr("policy=\"a\\\"b\\\\c\""));
}

TEST(Metrics, TotalsAreTheSameSums) {
  LoopMetrics first, second;
  first.clients_accepted.add(2);
  second.clients_accepted.add(3);
  second.pin(PinReason::auth);
  std::uint64_t accepted = 0;
  for (const Total& total : totals(std::vector<const LoopMetrics*>{&first, &second})) {
    if (total.name == "clients_accepted") accepted = total.value;
  }
  EXPECT_EQ(accepted, 5U);
  const std::vector<Total> reasons = pinned({&first, &second});
  ASSERT_EQ(reasons.size(), 1U);
  EXPECT_EQ(reasons[0].name, "auth");
  EXPECT_EQ(reasons[0].value, 1U);
}

}  // namespace
}  // namespace sluice::proxy

// Tests of the counters on every backend: each increment counts once, whatever comes twice, late or out of range.
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conformance.h"

namespace sluice::sql {
namespace {

using testing::HasSubstr;
constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
constexpr auto kMin = std::numeric_limits<std::int64_t>::min();

const CounterTable kCounters{"counters", {"id"}, "value"};

CounterDelta delta(const std::string& id, const std::string& inc, std::int64_t n, std::int64_t t) {
  return {{id}, "counter:" + id, inc, n, t, {}, {}};
}

CounterDelta set(const std::string& id, const std::string& inc, std::int64_t base, std::vector<std::string> retired) {
  return {{id}, "counter:" + id, inc, 1, 0, base, std::move(retired)};
}

class Counters : public Conformance {
 protected:
  Counters() {
    query("CREATE TABLE counters (id VARCHAR(20) PRIMARY KEY CHECK (length(id) <= 8), value BIGINT, note VARCHAR(20))");
    query(backend->counter_ddl());
  }

  Result flush(std::vector<CounterDelta> deltas) { return run(FlushCounters{kCounters, std::move(deltas)}); }
  // The change that one delta made.
  Value change(CounterDelta one) {
    const Result result = flush({std::move(one)});
    EXPECT_TRUE(is_ok(result));
    return result.rows.size() == 1 && !result.rows[0].empty() ? result.rows[0][0] : Value{};
  }
  Result seed(const std::string& id, const std::string& inc) {
    return run(ReadCounter{kCounters, {id}, "counter:" + id, inc});
  }
  std::string totals() { return query("SELECT id, value FROM counters ORDER BY id"); }
};

INSTANTIATE_TEST_SUITE_P(Every, Counters, every_engine(), engine_name);

Value number(std::int64_t n) { return n; }

TEST_P(Counters, AFlushAddsWhatIsNewAndOnlyOnce) {
  query("INSERT INTO counters VALUES ('a', 1000, 'kept')");
  EXPECT_EQ(change(delta("a", "i1", 1, 7)), number(7));
  EXPECT_EQ(change(delta("a", "i1", 1, 7)), number(0));
  EXPECT_EQ(change(delta("a", "i1", 2, 5)), number(-2));
  EXPECT_EQ(change(delta("a", "i1", 1, 7)), number(0));
  EXPECT_EQ(query("SELECT * FROM counters"), "a|1005|kept");
}

TEST_P(Counters, AFlushInsertsAnAbsentRow) {
  EXPECT_EQ(change(delta("a", "i1", 1, 7)), number(7));
  EXPECT_EQ(totals(), "a|7");
}

TEST_P(Counters, ANullTotalCountsAsZero) {
  query("INSERT INTO counters VALUES ('a', NULL, NULL)");
  EXPECT_EQ(change(delta("a", "i1", 1, 7)), number(7));
  EXPECT_EQ(totals(), "a|7");
}

TEST_P(Counters, IncarnationsOfOneCounterAddUp) {
  flush({delta("a", "i1", 1, 7), delta("a", "i2", 1, 5)});
  EXPECT_EQ(change(delta("a", "i1", 2, 8)), number(1));
  EXPECT_EQ(totals(), "a|13");
}

TEST_P(Counters, ABaseReplacesTheTotalOnItsFirstFlushOnly) {
  flush({delta("a", "i1", 1, 7)});
  CounterDelta first = set("a", "i2", 1000, {"i1"});
  first.t = -1;
  EXPECT_EQ(change(first), number(992));
  EXPECT_EQ(change(first), number(0));
  CounterDelta second = first;
  second.n = 2;
  second.t = 4;
  EXPECT_EQ(change(second), number(5));
  EXPECT_EQ(totals(), "a|1004");
}

TEST_P(Counters, ALateFlushOfARetiredIncarnationDoesNothing) {
  flush({delta("a", "i1", 1, 7)});
  flush({set("a", "i2", 5000, {"i1", "never flushed"})});
  EXPECT_EQ(change(delta("a", "i1", 2, 20)), number(0));
  EXPECT_EQ(change(delta("a", "never flushed", 1, 20)), number(0));
  EXPECT_EQ(totals(), "a|5000");
}

TEST_P(Counters, TheFlushOfAnOlderSetComesTooLate) {
  flush({set("a", "i3", 200, {"i1", "i2"})});
  EXPECT_EQ(change(set("a", "i2", 100, {"i1"})), number(0));
  EXPECT_EQ(totals(), "a|200");
}

TEST_P(Counters, ASetOfAnAbsentCounterInsertsIt) {
  EXPECT_EQ(change(set("a", "i1", 1000, {})), number(1000));
  EXPECT_EQ(totals(), "a|1000");
}

TEST_P(Counters, OneBadDeltaFailsAloneAndLeavesNothing) {
  query("INSERT INTO counters VALUES ('full', 9223372036854775807, NULL)");
  CounterDelta bad_set = set("much too long", "i2", 5, {"i0"});
  const Result result = flush({delta("a", "i1", 1, 1), delta("much too long", "i1", 1, 1), delta("full", "i1", 1, 1),
                               bad_set, delta("b", "i1", 1, 2)});
  ASSERT_TRUE(is_ok(result));
  ASSERT_EQ(result.rows.size(), 5U);
  EXPECT_EQ(result.rows[0], Row{number(1)});
  EXPECT_EQ(result.rows[4], Row{number(2)});
  const std::vector<std::string> states{"23514", "22003", "23514"};
  for (std::size_t i = 0; i < states.size(); ++i) {
    const Row& row = result.rows[i + 1];
    ASSERT_EQ(row.size(), 3U);
    EXPECT_EQ(row[0], Value{});
    EXPECT_EQ(row[1], Value{sqlstate(states[i])});
    EXPECT_THAT(std::get<std::string>(row[2]), HasSubstr("shop"));
  }
  EXPECT_EQ(totals(), "a|1;b|2;full|9223372036854775807");
  EXPECT_EQ(query("SELECT count(*), min(inc), max(inc), sum(n) FROM sluice_counter_src"), "2|i1|i1|2");
}

TEST_P(Counters, TwoFlushersOfTheSameCountersCountEverythingOnce) {
  const auto other = backend->session();
  const auto work = [&](Session& own, bool forwards) {
    for (std::int64_t n = 1; n <= 30; ++n) {
      FlushCounters op{kCounters, {}};
      for (int i = 0; i < 10; ++i) {
        const std::string id(1, static_cast<char>(forwards ? 'a' + i : 'j' - i));
        op.deltas.push_back(delta(id, "i1", n, n));                              // both flush this one
        op.deltas.push_back(delta(id, forwards ? "mine" : "theirs", n, 2 * n));  // and each its own
      }
      const Result result = own.run(op, soon());
      EXPECT_TRUE(is_ok(result));
    }
  };
  std::thread racer([&] { work(*other, true); });
  work(*session, false);
  racer.join();
  EXPECT_EQ(query("SELECT count(*), min(value), max(value) FROM counters"), "10|150|150");
}

TEST_P(Counters, TheWholeRangeOf64BitsCounts) {
  EXPECT_EQ(change(delta("a", "i1", 1, kMax)), number(kMax));
  EXPECT_EQ(change(delta("b", "i1", 1, kMin)), number(kMin));
  EXPECT_EQ(totals(), "a|9223372036854775807;b|-9223372036854775808");
}

TEST_P(Counters, ReadCounterGivesTheTotalAndWhatIsAppliedOfOneIncarnation) {
  flush({delta("a", "i1", 3, 7), delta("a", "i2", 1, 5)});
  const Result result = seed("a", "i1");
  ASSERT_TRUE(is_ok(result));
  EXPECT_EQ(result.rows, (std::vector<Row>{Row{number(12), number(7), number(3)}}));
}

TEST_P(Counters, ReadCounterOfWhatWasNeverFlushedHasZeros) {
  const Result result = seed("a", "");
  ASSERT_TRUE(is_ok(result));
  EXPECT_EQ(result.rows, (std::vector<Row>{Row{Value{}, number(0), number(0)}}));
}

TEST_P(Counters, KeysOfAnyBytesAreTold) {
  const std::string odd("counter:\0\xff", 10);
  CounterDelta first = delta("a", "i1", 1, 1);
  first.redis_key = odd;
  CounterDelta second = delta("b", "i1", 1, 2);
  second.redis_key = odd + "x";
  flush({first, second});
  EXPECT_EQ(change(first), number(0));
  EXPECT_EQ(change(second), number(0));
}

TEST_P(Counters, AMissingBookkeepingTableIsNamedWithTheStatementThatCreatesIt) {
  query("DROP TABLE sluice_counter_src");
  for (const Result& result : {flush({delta("a", "i1", 1, 1)}), seed("a", "i1")}) {
    EXPECT_TRUE(fails(result, Failure::schema, "42P01"));
    EXPECT_THAT(result.error.message, HasSubstr(backend->counter_ddl()));
  }
  EXPECT_EQ(totals(), "");
  query(backend->counter_ddl());
  EXPECT_EQ(change(delta("a", "i1", 1, 1)), number(1));
}

TEST_P(Counters, ACounterMayHaveAKeyOfSeveralColumns) {
  query("CREATE TABLE hits (tenant VARCHAR(20), page INTEGER, n INTEGER NOT NULL, PRIMARY KEY (tenant, page))");
  const CounterTable hits{"hits", {"tenant", "page"}, "n"};
  const CounterDelta one{{std::string("a"), std::int64_t{5}}, "hits:a:5", "i1", 1, 3, {}, {}};
  ASSERT_TRUE(is_ok(run(FlushCounters{hits, {one}})));
  EXPECT_EQ(query("SELECT * FROM hits"), "a|5|3");
  EXPECT_EQ(run(ReadCounter{hits, one.key, one.redis_key, "i1"}).rows[0][0], number(3));
}

}  // namespace
}  // namespace sluice::sql

// Refresh ahead: copies that are read late in their life are renewed before they expire, and by nobody who lost the
// right to.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "policies/breaker.h"
#include "policies/fuse_scripts.h"
#include "policies/policy_metrics.h"
#include "policies/refreshes.h"
#include "policies/tables.h"
#include "tests/policies/proxy_double.h"
#include "tests/policies/step_test.h"

namespace sluice::policies::testing {
namespace {

constexpr const char* kKey = "fruit:1";
constexpr const char* kSide = "__sluice:{fruit:1}:fruit:1";

// Against a real Redis, with a table in memory. A copy lives for a minute and is renewed in its second half.
class Refresh : public ::testing::Test {
 protected:
  Refresh() {
    options.value = conf::ValueMode::raw;
    options.column = "name";
    options.ttl = Milliseconds(60000);
    options.ttl_jitter = 0;
    options.refresh_ahead = 0.5;
    redis({"FLUSHALL"});
    store("old");
  }

  ProxyDouble& proxy() {
    if (!proxy_) proxy_ = std::make_unique<ProxyDouble>(options, sql);
    return *proxy_;
  }
  void store(const std::string& name) { sql.row(std::int64_t{1}) = {{"id", std::int64_t{1}}, {"name", name}}; }
  std::string get(ProxyDouble& by) { return by.run(miss({"GET", kKey})); }
  std::string get() { return get(proxy()); }
  // A copy of `old` with half a minute less to live, which has been read; SQL has `new` by now.
  void read_late() {
    get();
    redis({"PEXPIRE", kKey, "29000"});
    EXPECT_EQ(get(), "$3\r\nold\r\n");
    store("new");
  }
  // The refresh that is due, up to where SQL has been asked and Redis is to be told.
  int begin_refresh() {
    const int number = proxy().adopt(proxy().policy().refresh(TimePoint(proxy().clock)));
    while (!fills(proxy().waits_for(number))) proxy().step(number);
    return number;
  }
  static bool fills(const Step& step) {
    const auto* call = std::get_if<CallRedis>(&step);
    return call != nullptr && call->commands[0].script == &fuse::fill();
  }
  bool is_due() { return proxy().policy().refresh(TimePoint(proxy().clock)) != nullptr; }
  const PolicyMetrics& metrics() { return proxy().policy().metrics(); }
  static resp::Reply redis(std::vector<std::string> args) {
    return RedisServer::instance().run({nullptr, std::move(args)});
  }

  conf::PolicyOptions options = fruit_options();
  SqlMap sql{fruit_table()};

 private:
  std::unique_ptr<ProxyDouble> proxy_;
};

TEST_F(Refresh, ACopyThatIsReadLateIsRenewed) {
  read_late();
  EXPECT_EQ(sql.reads, 1);
  proxy().run_background();
  EXPECT_EQ(sql.reads, 2);
  EXPECT_EQ(redis({"GET", kKey}).text, "new");
  EXPECT_GT(redis({"PTTL", kKey}).integer, 50000);
  EXPECT_EQ(redis({"HEXISTS", kSide, "L"}).integer, 0);
  EXPECT_EQ(metrics().refreshes.value(), 1U);
  EXPECT_EQ(metrics().refreshes_stored.value(), 1U);
  EXPECT_EQ(metrics().misses.value(), 1U);
  EXPECT_EQ(metrics().hits.value(), 1U);
  EXPECT_FALSE(is_due());
}

TEST_F(Refresh, ACopyThatIsReadEarlyIsNot) {
  get();
  get();
  EXPECT_FALSE(is_due());
}

TEST_F(Refresh, ACopyWithoutEndIsNot) {
  get();
  redis({"PERSIST", kKey});
  get();
  EXPECT_FALSE(is_due());
}

TEST_F(Refresh, ManyReadsOfACopyRenewItOnce) {
  read_late();
  for (int i = 0; i < 10; ++i) get();
  proxy().run_background();
  EXPECT_FALSE(is_due());
  EXPECT_EQ(sql.reads, 2);
}

TEST_F(Refresh, ManyCopiesAreRenewedByOneQuery) {
  for (std::int64_t id = 1; id <= 5; ++id) {
    const std::string key = "fruit:" + std::to_string(id);
    sql.row(id) = {{"id", id}, {"name", "old"}};
    proxy().run(miss({"GET", key}));
    redis({"PEXPIRE", key, "29000"});
    proxy().run(miss({"GET", key}));
    sql.row(id)["name"] = "new" + std::to_string(id);
  }
  proxy().run_background();
  EXPECT_EQ(sql.reads, 6);
  EXPECT_EQ(redis({"GET", "fruit:5"}).text, "new5");
}

TEST_F(Refresh, AHashLosesTheFieldsThatAreNullNow) {
  options.value = conf::ValueMode::hash;
  options.column.clear();
  sql.row(std::int64_t{1})["quantity"] = std::int64_t{5};
  const auto read = [&] { return proxy().run(miss({"HGETALL", kKey})); };
  read();
  redis({"PEXPIRE", kKey, "29000"});
  read();
  sql.row(std::int64_t{1})["quantity"] = sql::Value();
  proxy().run_background();
  EXPECT_EQ(read(), "*2\r\n$4\r\nname\r\n$3\r\nold\r\n");
}

TEST_F(Refresh, ReadsGoOnMeanwhile) {
  read_late();
  const int refresh = begin_refresh();
  EXPECT_EQ(get(), "$3\r\nold\r\n");
  proxy().run(refresh);
  EXPECT_EQ(get(), "$3\r\nnew\r\n");
  EXPECT_EQ(sql.reads, 2);
}

TEST_F(Refresh, OfTwoProxiesOneAsksSql) {
  ProxyDouble other(options, sql, 2);
  read_late();
  get(other);
  const int refresh = begin_refresh();
  other.run_background();
  EXPECT_EQ(sql.reads, 2);
  EXPECT_EQ(other.policy().metrics().refreshes_refused.value(), 1U);
  proxy().run(refresh);
  EXPECT_EQ(redis({"GET", kKey}).text, "new");
}

TEST_F(Refresh, WhatAnotherProxyHasRenewedIsNotRenewedAgain) {
  ProxyDouble other(options, sql, 2);
  read_late();
  get(other);
  proxy().run_background();
  other.run_background();
  EXPECT_EQ(sql.reads, 2);
}

TEST_F(Refresh, AWriteThatComesMeanwhileStands) {
  read_late();
  const int refresh = begin_refresh();
  redis({"HDEL", kSide, "L", "N"});  // the guard of a forwarded SET
  redis({"SET", kKey, "newest"});
  proxy().run(refresh);
  EXPECT_EQ(redis({"GET", kKey}).text, "newest");
  EXPECT_EQ(metrics().refreshes_refused.value(), 1U);
}

// The leases of a write in a transaction or a script, or of a user with few rights, are cleared a moment after it.
TEST_F(Refresh, AWriteWhoseLeasesAreNotClearedYetStands) {
  read_late();
  const int refresh = begin_refresh();
  redis({"SET", kKey, "newest"});
  proxy().run(refresh);
  EXPECT_EQ(redis({"GET", kKey}).text, "newest");
}

TEST_F(Refresh, ACopyThatEndsWithItsRowIsRenewedOnce) {
  sql::Table table = fruit_table();
  table.columns.push_back({"until", sql::ColumnType::integer});
  sql = SqlMap(table);
  store("old");
  options.ttl_column = "until";
  const auto end = std::stoll(redis({"TIME"}).items[0].text) * 1000 + 20000;
  sql.row(std::int64_t{1})["until"] = std::int64_t{end};
  for (int i = 0; i < 5; ++i) {
    get();
    proxy().run_background();
  }
  EXPECT_EQ(sql.reads, 2);
  EXPECT_EQ(redis({"PEXPIRETIME", kKey}).integer, end);
}

TEST_F(Refresh, AWriteThatIsUnderWayIsNotDisturbed) {
  read_late();
  RedisServer::instance().run({&fuse::arm(), {"2", kKey, kSide, "writer", "", "5000", "1000", ""}});
  proxy().run_background();
  EXPECT_EQ(sql.reads, 1);
  EXPECT_EQ(redis({"GET", kKey}).text, "old");
  EXPECT_LE(redis({"PTTL", kKey}).integer, 1000) << "the fuse burns";
}

TEST_F(Refresh, AnInvalidationIsNotUndone) {
  read_late();
  const int refresh = begin_refresh();
  RedisServer::instance().run({&fuse::inval(), {"2", kKey, kSide}});
  proxy().run(refresh);
  EXPECT_EQ(redis({"EXISTS", kKey}).integer, 0);
}

TEST_F(Refresh, ARowThatIsGoneTakesItsCopyWithIt) {
  read_late();
  sql.erase(std::int64_t{1});
  proxy().run_background();
  EXPECT_EQ(redis({"EXISTS", kKey}).integer, 0);
  EXPECT_EQ(get(), "$-1\r\n");
  EXPECT_EQ(sql.reads, 2) << "and is remembered as absent";
}

TEST_F(Refresh, WithoutAnAnswerOfSqlTheCopyStays) {
  read_late();
  proxy().intercept = [](const Step& step) -> std::optional<Event> {
    if (!std::holds_alternative<CallSql>(step)) return {};
    return SqlDone{failed(sql::Failure::unavailable)};
  };
  proxy().run_background();
  EXPECT_EQ(redis({"GET", kKey}).text, "old");
  EXPECT_EQ(redis({"HEXISTS", kSide, "L"}).integer, 0) << "the lease is given back";
  for (unsigned i = 1; i < Breaker::kInRow; ++i) {
    get();
    proxy().run_background();
  }
  get();
  EXPECT_FALSE(is_due()) << "a database that does not answer is spared";
  proxy().clock += Breaker::kPauseMin;
  EXPECT_TRUE(is_due());
}

TEST_F(Refresh, NothingIsRenewedWithoutTheOption) {
  options.refresh_ahead = 0;
  get();
  redis({"PEXPIRE", kKey, "1000"});
  get();
  EXPECT_FALSE(is_due());
}

// --- Of what depends on tables

class RefreshOfTables : public Refresh {
 protected:
  RefreshOfTables() { options.tables = {"fruit", "shop"}; }
  static bool fills_checked(const Step& step) {
    const auto* call = std::get_if<CallRedis>(&step);
    return call != nullptr && call->commands[0].script == &fuse::fill_checked();
  }
  static void touch() { RedisServer::instance().run(tables::touch({"shop"}, "70c8")); }
};

TEST_F(RefreshOfTables, ACopyIsRenewedAndGoodAfterwards) {
  read_late();
  proxy().run_background();
  EXPECT_EQ(redis({"GET", kKey}).text, "new");
  EXPECT_EQ(get(), "$3\r\nnew\r\n");
  EXPECT_EQ(sql.reads, 2);
  EXPECT_EQ(metrics().stale.value(), 0U);
}

TEST_F(RefreshOfTables, ARefreshFromBeforeATouchIsNotStored) {
  read_late();
  const int refresh = proxy().adopt(proxy().policy().refresh(TimePoint(proxy().clock)));
  while (!fills_checked(proxy().waits_for(refresh))) proxy().step(refresh);
  touch();
  proxy().run(refresh);
  EXPECT_EQ(redis({"EXISTS", kKey}).integer, 0);
  EXPECT_EQ(metrics().refreshes_stored.value(), 0U);
  EXPECT_EQ(get(), "$3\r\nnew\r\n");
  EXPECT_EQ(sql.reads, 3);
}

TEST_F(RefreshOfTables, WhatIsOutdatedIsLoadedByWhoReadsIt) {
  read_late();
  touch();
  proxy().run_background();
  EXPECT_EQ(sql.reads, 1);
  EXPECT_EQ(get(), "$3\r\nnew\r\n");
}

TEST(Refreshes, AreFewAtATime) {
  Refreshes keys;
  for (std::size_t i = 0; i <= Refreshes::kAtOnce; ++i) keys.add(std::to_string(i));
  for (std::size_t i = 0; i < Refreshes::kAtOnce; ++i) EXPECT_EQ(keys.begin(1).size(), 1U);
  EXPECT_TRUE(keys.begin(1).empty());
  keys.end();
  EXPECT_EQ(keys.begin(1).size(), 1U);
  EXPECT_TRUE(keys.begin(1).empty());
}

TEST(Refreshes, AreKeptInOrderOnceAndNotWithoutEnd) {
  Refreshes keys;
  for (std::size_t i = 0; i < Refreshes::kKeysMax; ++i) EXPECT_TRUE(keys.add(std::to_string(i)));
  EXPECT_TRUE(keys.add("7")) << "known";
  EXPECT_FALSE(keys.add("more"));
  EXPECT_EQ(keys.begin(2), (std::vector<std::string>{"0", "1"}));
  EXPECT_TRUE(keys.add("0"));
  EXPECT_EQ(keys.begin(Refreshes::kKeysMax).size(), Refreshes::kKeysMax - 1);
  EXPECT_TRUE(keys.begin(1).empty());
}

}  // namespace
}  // namespace sluice::policies::testing

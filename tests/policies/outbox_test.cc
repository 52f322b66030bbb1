// The outbox, step by step: copies are dropped before entries are deleted, whatever fails.
#include "policies/outbox.h"

#include <gtest/gtest.h>

#include "policies/fuse_scripts.h"
#include "policies/policy_metrics.h"
#include "policies/shared.h"
#include "policies/tables.h"
#include "tests/policies/proxy_double.h"
#include "tests/policies/step_test.h"

namespace sluice::policies::testing {
namespace {

using sql::Failure;

sql::Row entry(std::int64_t number, const std::string& id, std::int64_t age_ms = 5) { return {number, age_ms, id}; }

// The version of the table is raised first: what depends on it is outdated when its copies are dropped.
Step drops(const std::vector<std::string>& keys) {
  CallRedis call{{tables::touch({"fruit"}, "0123456789abcdef00000001")}};
  for (const std::string& key : keys) call.commands.push_back({&fuse::inval(), {"2", key, side_key(key)}});
  return call;
}

class OutboxTest : public ::testing::Test {
 protected:
  OutboxTest() { options.invalidation = conf::Invalidation::outbox; }

  Policy& policy() {
    if (!policy_) policy_ = make_policy(options);
    return *policy_;
  }
  const PolicyMetrics& metrics() { return policy().metrics(); }
  // What is due, when it is not a check; that finds nothing.
  std::unique_ptr<Operation> due(int ms) {
    while (auto operation = policy().due(TimePoint(Milliseconds(ms)))) {
      if (dynamic_cast<OutboxCheck*>(operation.get()) == nullptr) return operation;
      check(std::move(operation), ms).sql(rows({}));
    }
    return nullptr;
  }
  bool is_due(int ms) { return due(ms) != nullptr; }
  // To where SQL is asked.
  Stepper check(std::unique_ptr<Operation> operation, int ms) {
    Stepper check(std::move(operation));
    check.clock = Milliseconds(ms);
    EXPECT_EQ(check.start(), Step(CallSql{sql::CheckOutbox{{"fruit", "fruit", {"id"}}}, Milliseconds(3000)}));
    return check;
  }
  // A look at the outbox at this time, to where the entries are asked for.
  Stepper look(int ms = 1000) {
    auto operation = due(ms);
    EXPECT_NE(operation, nullptr);
    Stepper look(std::move(operation));
    look.clock = Milliseconds(ms);
    const Step first = look.start();
    EXPECT_EQ(first == describe ? look.sql(described(fruit_table())) : first, read);
    return look;
  }
  // One that finds nothing.
  void look_in_vain(int ms) { EXPECT_EQ(look(ms).sql(rows({})), reply("")); }
  static Step forget(std::vector<std::int64_t> numbers) {
    return CallSql{sql::ForgetOutbox{std::move(numbers)}, Milliseconds(3000)};
  }

  static Step read_after(std::int64_t number) {
    return CallSql{sql::ReadOutbox{"fruit", 500, number}, Milliseconds(3000)};
  }

  conf::PolicyOptions options = fruit_options();
  const Step describe = CallSql{sql::Describe{"fruit"}, Milliseconds(3000)};
  const Step read = CallSql{sql::ReadOutbox{"fruit", 500}, Milliseconds(3000)};

 private:
  std::unique_ptr<Policy> policy_;
};

TEST_F(OutboxTest, ThereIsNothingToDoWithoutIt) {
  options.invalidation = conf::Invalidation::none;
  EXPECT_FALSE(is_due(1000));
  options.write = conf::WriteMode::write_through;
  EXPECT_EQ(make_policy(options)->due(TimePoint(Milliseconds(1000))), nullptr);
}

TEST_F(OutboxTest, CopiesAreDroppedBeforeTheirEntriesAreDeleted) {
  Stepper look = this->look();
  EXPECT_EQ(look.sql(rows({entry(3, "1", 70), entry(5, "2")})), drops({"fruit:1", "fruit:2"}));
  EXPECT_EQ(metrics().outbox_oldest_ms.value(), 70U);
  EXPECT_EQ(look.redis({integer(1), integer(1), integer(0)}), forget({3, 5}));
  EXPECT_EQ(metrics().outbox_rows.value(), 0U);
  EXPECT_EQ(look.sql(affected(2)), reply(""));
  EXPECT_EQ(metrics().outbox_rows.value(), 2U);
  EXPECT_EQ(metrics().outbox_oldest_ms.value(), 0U);
  EXPECT_EQ(metrics().outbox_errors.value(), 0U);
}

TEST_F(OutboxTest, AWriteThroughPolicyDoesTheSame) {
  options = written_options();
  options.invalidation = conf::Invalidation::outbox;
  EXPECT_EQ(look().sql(rows({entry(3, "1")})), drops({"fruit:1"}));
}

TEST_F(OutboxTest, AKeyIsDroppedOnceHoweverOftenItIsThere) {
  Stepper look = this->look();
  EXPECT_EQ(look.sql(rows({entry(3, "1"), entry(4, "1"), entry(5, "1")})), drops({"fruit:1"}));
  EXPECT_EQ(look.redis({integer(1), integer(1)}), forget({3, 4, 5}));
}

TEST_F(OutboxTest, RowsThatNoKeyStandsForAreDeletedAndCounted) {
  Stepper look = this->look();
  EXPECT_EQ(look.sql(rows({entry(3, "x"), {std::int64_t{4}, std::int64_t{0}}, entry(5, "")})), drops({}));
  EXPECT_EQ(look.redis({integer(1)}), forget({3, 4, 5}));
  look.sql(affected(3));
  EXPECT_EQ(metrics().outbox_strangers.value(), 3U);
  EXPECT_EQ(metrics().outbox_rows.value(), 0U);
  EXPECT_EQ(policy().trouble(),
            "changes of others, to 3 rows that no key 'fruit:{id:int}' stands for, have been passed over");
  look_in_vain(3000);
  EXPECT_EQ(policy().trouble(), "") << "it is told once";
}

TEST_F(OutboxTest, NothingIsDeletedWhenRedisHasNotDroppedTheCopies) {
  const sql::Result found = rows({entry(3, "1"), entry(4, "2")});
  const resp::Reply refusal = error("READONLY You can't write against a read only replica.");
  Stepper lost = look(1000);
  lost.sql(found);
  EXPECT_EQ(lost.lost(true), reply(""));
  Stepper refused = look(2000);
  refused.sql(found);
  EXPECT_EQ(refused.redis({integer(1), refusal, refusal}), reply(""));
  EXPECT_EQ(metrics().outbox_errors.value(), 2U);
  EXPECT_EQ(metrics().outbox_rows.value(), 0U);
  EXPECT_NE(policy().trouble().find(refusal.text), std::string::npos);
  look_in_vain(5000);
  EXPECT_EQ(policy().trouble(), "");
}

TEST_F(OutboxTest, WhatRedisRefusesStaysAloneAndKeepsNobodyWaiting) {
  std::vector<sql::Row> head;
  std::vector<resp::Reply> refused{integer(1)};
  std::vector<std::int64_t> dropped;
  for (int i = 1; i <= 500; ++i) {
    head.push_back(entry(i, std::to_string(i)));
    refused.push_back(i <= 498 ? error("OOM command not allowed") : integer(1));
    if (i > 498) dropped.push_back(i);
  }
  Stepper look = this->look();
  look.sql(rows(head));
  EXPECT_EQ(look.redis(refused), forget(dropped));
  EXPECT_EQ(look.sql(affected(2)), read_after(500));
  EXPECT_EQ(look.sql(rows({entry(501, "501")})), drops({"fruit:501"}));
  EXPECT_EQ(look.redis({integer(1), integer(1)}), forget({501}));
  EXPECT_EQ(look.sql(affected(1)), reply(""));
  EXPECT_EQ(metrics().outbox_rows.value(), 3U);
  EXPECT_EQ(metrics().outbox_errors.value(), 1U);
  EXPECT_FALSE(is_due(1000));
}

TEST_F(OutboxTest, NothingIsDeletedWhenTheVersionOfTheTableCouldNotBeRaised) {
  Stepper look = this->look();
  look.sql(rows({entry(3, "1"), entry(4, "x")}));
  EXPECT_EQ(look.redis({error("OOM command not allowed"), integer(1)}), reply(""));
  EXPECT_EQ(metrics().outbox_errors.value(), 1U);
  EXPECT_EQ(metrics().outbox_rows.value() + metrics().outbox_strangers.value(), 0U);
}

// A write that met Failure::schema, while the entries were being read.
TEST_F(OutboxTest, AnotherOperationMayForgetTheTableMeanwhile) {
  options = written_options();
  options.invalidation = conf::Invalidation::outbox;
  Stepper look = this->look();
  policy().rows()->schema.forget();
  EXPECT_EQ(look.sql(rows({entry(3, "1")})), drops({"fruit:1"}));
  EXPECT_EQ(look.redis({integer(1), integer(1)}), forget({3}));
}

TEST_F(OutboxTest, WhatOthersHaveDeletedIsTheirsToCount) {
  Stepper look = this->look();
  look.sql(rows({entry(3, "1"), entry(4, "2")}));
  look.redis({integer(1), integer(1), integer(1)});
  EXPECT_EQ(look.sql(affected(0)), reply(""));
  EXPECT_EQ(metrics().outbox_rows.value(), 0U);
  EXPECT_EQ(metrics().outbox_errors.value(), 0U);
}

TEST_F(OutboxTest, ADeletionThatNeverHasAnEffectIsAnError) {
  for (const int at : {1000, 2000}) {
    Stepper look = this->look(at);
    look.sql(rows({entry(3, "1")}));
    look.redis({integer(1), integer(1)});
    EXPECT_EQ(look.sql(affected(0)), reply(""));
  }
  EXPECT_EQ(metrics().outbox_errors.value(), 1U);
  EXPECT_NE(policy().trouble().find("has no effect"), std::string::npos);
}

TEST_F(OutboxTest, TheAgeGrowsWhileNobodyCanLook) {
  Stepper first = look(1000);
  first.sql(rows({entry(3, "1", 70)}));
  first.lost(true);
  EXPECT_EQ(metrics().outbox_oldest_ms.value(), 70U);
  look(2000).sql(failed(Failure::unavailable));
  EXPECT_EQ(metrics().outbox_oldest_ms.value(), 1070U);
  look_in_vain(8000);
  EXPECT_EQ(metrics().outbox_oldest_ms.value(), 0U);
}

TEST_F(OutboxTest, IsLookedAtLessOftenWhileNothingIsThere) {
  int now = 1000, looks = 0;
  for (; now < 61000; now += 20) {
    if (!is_due(now)) continue;
    ++looks;
    look_in_vain(now);
  }
  EXPECT_GE(looks, 60) << "less than once a second";
  EXPECT_LE(looks, 90);
  Stepper busy = look(now + 1000);
  busy.sql(rows({entry(3, "1")}));
  busy.redis({integer(1), integer(1)});
  busy.sql(affected(1));
  EXPECT_FALSE(is_due(now + 1080));
  look_in_vain(now + 1100);
  EXPECT_FALSE(is_due(now + 1160));
  look_in_vain(now + 1200);
}

TEST_F(OutboxTest, WhatIsLeftIsReadAtOnceButNotForEver) {
  std::vector<sql::Row> many;
  std::vector<std::int64_t> numbers;
  for (int i = 1; i <= 500; ++i) {
    many.push_back(entry(i, "1", 70));
    numbers.push_back(i);
  }
  Stepper look = this->look();
  Step next = read;
  int pages = 0;
  for (; next == read && pages < 100; ++pages) {
    look.sql(rows(many));
    EXPECT_EQ(look.redis({integer(1), integer(1)}), forget(numbers));
    next = look.sql(affected(500));
  }
  EXPECT_EQ(next, reply(""));
  EXPECT_EQ(pages, 20);
  EXPECT_TRUE(is_due(1000));
  EXPECT_EQ(metrics().outbox_oldest_ms.value(), 70U) << "there may be more";
}

// Two who read the same page would read the same next one.
TEST_F(OutboxTest, WhereOthersDeleteTheSameEntriesItGoesOnElsewhere) {
  std::vector<sql::Row> many;
  std::vector<std::int64_t> numbers;
  for (int i = 1; i <= 500; ++i) {
    many.push_back(entry(i, "1", 70));
    numbers.push_back(i);
  }
  Stepper look = this->look();
  look.sql(rows(many));
  look.redis({integer(1), integer(1)});
  EXPECT_EQ(look.sql(affected(499)), read_after(8000));
  EXPECT_EQ(look.sql(rows({})), reply(""));
  EXPECT_TRUE(is_due(1000)) << "for what is left in between";
  EXPECT_EQ(metrics().outbox_oldest_ms.value(), 70U);
}

TEST_F(OutboxTest, WhatKeepsChangesFromBeingRecordedIsToldEveryMinute) {
  Stepper first = check(policy().due(TimePoint(Milliseconds(1000))), 1000);
  EXPECT_EQ(first.sql(rows({{std::string("there is no trigger")}, {std::string("there is no table")}})), reply(""));
  EXPECT_EQ(metrics().outbox_gaps.value(), 2U);
  EXPECT_EQ(policy().trouble(), "not all changes of others are recorded: there is no trigger; there is no table");
  int now = 1020, checks = 0;
  for (; now < 601000; now += 20) {
    auto operation = policy().due(TimePoint(Milliseconds(now)));
    if (dynamic_cast<OutboxCheck*>(operation.get()) == nullptr) continue;
    ++checks;
    check(std::move(operation), now).sql(rows({}));
    EXPECT_EQ(policy().trouble(), "");
    EXPECT_EQ(metrics().outbox_gaps.value(), 0U);
  }
  EXPECT_GE(checks, 9);
  EXPECT_LE(checks, 13);
}

TEST_F(OutboxTest, ACheckThatFailsChangesNothingAndIsMadeAgainSoon) {
  check(policy().due(TimePoint(Milliseconds(1000))), 1000).sql(rows({{std::string("there is no trigger")}}));
  check(policy().due(TimePoint(Milliseconds(70000))), 70000).sql(failed(Failure::unavailable));
  EXPECT_EQ(metrics().outbox_gaps.value(), 1U);
  EXPECT_EQ(policy().trouble(), "") << "a look tells of the database";
  check(policy().due(TimePoint(Milliseconds(76000))), 76000).sql(failed(Failure::schema));
  EXPECT_EQ(metrics().outbox_gaps.value(), 1U);
  EXPECT_EQ(policy().trouble(), "whether changes of others are recorded cannot be told: because");
}

TEST_F(OutboxTest, AfterErrorsItIsLookedAtLessAndLessOften) {
  int now = 1000, looks = 0;
  for (; now < 61000; now += 20) {
    if (!is_due(now)) continue;
    ++looks;
    EXPECT_EQ(look(now).sql(failed(Failure::unavailable)), reply(""));
  }
  EXPECT_GE(looks, 15) << "that long nobody waits for a database that is back";
  EXPECT_LE(looks, 22);
  EXPECT_EQ(metrics().outbox_errors.value(), static_cast<std::uint64_t>(looks));
  look_in_vain(now + 5000);
  look_in_vain(now + 6000);
}

TEST_F(OutboxTest, ATableThatCannotBeDescribedIsAnErrorToo) {
  Stepper look(due(1000));
  EXPECT_EQ(look.start(), describe);
  EXPECT_EQ(look.sql(failed(Failure::schema)), reply(""));
  EXPECT_EQ(metrics().outbox_errors.value(), 1U);
  EXPECT_FALSE(is_due(1000));
}

TEST_F(OutboxTest, WhatCouldNotBeDeletedIsReadAgain) {
  Stepper look = this->look();
  look.sql(rows({entry(3, "1")}));
  look.redis({integer(1), integer(1)});
  EXPECT_EQ(look.sql(failed(Failure::unknown)), reply(""));
  EXPECT_EQ(metrics().outbox_errors.value(), 1U);
  EXPECT_EQ(metrics().outbox_rows.value(), 0U);
}

TEST_F(OutboxTest, ItsOwnWritesAreGuardedByThePolicy) {
  RedisServer::instance().run({nullptr, {"FLUSHALL"}});
  options = written_options();
  options.invalidation = conf::Invalidation::outbox;
  SqlMap sql(fruit_table());
  ProxyDouble proxy(options, sql);
  proxy.run(command({"SET", "fruit:1", R"({"name":"apple","quantity":1})"}));
  proxy.run(command({"DEL", "fruit:1"}));
  EXPECT_EQ(sql.guards, (std::vector<std::string>{"fruit", "fruit"}));
  options.invalidation = conf::Invalidation::none;
  ProxyDouble without(options, sql, 2);
  without.run(command({"DEL", "fruit:1"}));
  EXPECT_EQ(sql.guards.back(), "") << "everything is recorded";
}

// The fill has read the row before it was changed, and stores it afterwards.
TEST_F(OutboxTest, AFillThatBeganBeforeTheChangeIsNotStored) {
  RedisServer::instance().run({nullptr, {"FLUSHALL"}});
  SqlMap sql(fruit_table());
  ProxyDouble proxy(options, sql), other(options, sql, 2);
  sql.row(std::int64_t{1}) = {{"id", std::int64_t{1}}, {"name", std::string("apple")}, {"quantity", std::int64_t{1}}};
  const auto get = proxy.begin(miss({"GET", "fruit:1"}));
  while (sql.reads == 0) proxy.step(get);
  sql.row(std::int64_t{1})["quantity"] = std::int64_t{2};
  sql.outbox = {entry(1, "1")};
  other.run_background();  // the check
  other.run_background();
  EXPECT_TRUE(sql.outbox.empty());
  proxy.run(get);
  EXPECT_EQ(proxy.policy().metrics().fills_rejected.value(), 1U);
  EXPECT_NE(other.run(miss({"GET", "fruit:1"})).find("\"quantity\":2"), std::string::npos);
}

}  // namespace
}  // namespace sluice::policies::testing

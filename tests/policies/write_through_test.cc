// Write-through, step by step: what is asked of Redis and SQL, and what becomes of every failure.
#include <gtest/gtest.h>

#include "policies/fuse_scripts.h"
#include "policies/policy_metrics.h"
#include "tests/policies/proxy_double.h"
#include "tests/policies/step_test.h"

namespace sluice::policies::testing {
namespace {

constexpr const char* kToken = "0123456789abcdef00000001";
constexpr const char* kSide = "__sluice:{fruit:1}:fruit:1";
constexpr const char* kPear = R"({"id":1,"name":"pear","quantity":3})";

class WriteThrough : public ::testing::Test {
 protected:
  WriteThrough() {
    options.ttl_jitter = 0;
    options.ttl = Milliseconds(60000);
  }

  Policy& policy() {
    if (!policy_) policy_ = make_policy(options);
    return *policy_;
  }
  void use_hash() { options.value = conf::ValueMode::hash; }
  Stepper begin(std::vector<std::string> args, std::uint32_t id = 1) {
    return Stepper(policy().begin(command(std::move(args))), id);
  }
  Stepper begin_as(const std::string& user, std::vector<std::string> args) {
    Request request = command(std::move(args));
    request.acl_user = user;
    return Stepper(policy().begin(std::move(request)));
  }
  // A SET or HSET that knows the table: its ARM.
  Step armed(Stepper& write) {
    const Step first = write.start();
    return first == describe ? write.sql(described(fruit_table())) : first;
  }
  Step abort_step() { return CallRedis{{{&fuse::abort(), {"2", "fruit:1", kSide, kToken, "fruit", "60000"}}}}; }
  Step arm_step(const std::string& type = "") {
    return CallRedis{{{&fuse::arm(), {"2", "fruit:1", kSide, kToken, "fruit", "5000", "1000", type}}}};
  }
  std::string refusal(std::vector<std::string> args) {
    Stepper write = begin(std::move(args));
    Step step = write.start();
    if (step == describe) step = write.sql(described(fruit_table()));
    return std::holds_alternative<Finish>(step) ? std::get<Finish>(step).reply : "it went on";
  }

  conf::PolicyOptions options = written_options();
  const Step describe = CallSql{sql::Describe{"fruit"}, Milliseconds(3000)};
  const sql::ReplaceRow replace{
      "fruit", {{"id", std::int64_t{1}}}, {{"name", std::string("pear")}, {"quantity", std::int64_t{3}}}, {}};

 private:
  std::unique_ptr<Policy> policy_;
};

TEST_F(WriteThrough, ASetArmsCommitsAppliesAndThenReplies) {
  Stepper write = begin({"SET", "fruit:1", kPear});
  EXPECT_EQ(write.start(), describe);
  EXPECT_EQ(write.sql(described(fruit_table())), arm_step());
  EXPECT_EQ(write.redis({integer(1)}), Step(CallSql{replace, Milliseconds(3000)}));
  EXPECT_EQ(
      write.sql(affected(1)),
      Step(CallRedis{{{&fuse::apply(), {"2", "fruit:1", kSide, kToken, "fruit", "SET", "PX", "60000", "1", kPear}}}}));
  EXPECT_EQ(write.redis({integer(1)}), reply("+OK\r\n"));
  EXPECT_EQ(policy().metrics().writes_ok.value(), 1U);
  EXPECT_EQ(policy().metrics().overlaps.value(), 0U);
}

TEST_F(WriteThrough, AnHsetSendsOnlyItsFieldsAndRepliesWhatSqlCounted) {
  use_hash();
  Stepper write = begin({"HSET", "fruit:1", "quantity", "7"});
  EXPECT_EQ(armed(write), arm_step("hash"));
  EXPECT_EQ(write.redis({integer(1)}),
            Step(CallSql{sql::MergeRow{"fruit", {{"id", std::int64_t{1}}}, {{"quantity", std::int64_t{7}}}},
                         Milliseconds(3000)}));
  EXPECT_EQ(write.sql(affected(1)),
            Step(CallRedis{{{&fuse::apply(),
                             {"2", "fruit:1", kSide, kToken, "fruit", "HSET", "", "60000", "0", "quantity", "7"}}}}));
  EXPECT_EQ(write.redis({integer(1)}), reply(":1\r\n"));
}

TEST_F(WriteThrough, HmsetRepliesOk) {
  use_hash();
  Stepper write = begin({"HMSET", "fruit:1", "quantity", "7"});
  armed(write);
  write.redis({integer(1)});
  write.sql(affected(1));
  EXPECT_EQ(write.redis({integer(1)}), reply("+OK\r\n"));
}

TEST_F(WriteThrough, OnWriteInvalidateDropsTheCopy) {
  options.on_write = conf::OnWrite::invalidate;
  Stepper write = begin({"SET", "fruit:1", kPear});
  armed(write);
  write.redis({integer(1)});
  EXPECT_EQ(write.sql(affected(1)),
            Step(CallRedis{{{&fuse::apply(), {"2", "fruit:1", kSide, kToken, "fruit", "DEL"}}}}));
}

TEST_F(WriteThrough, ColumnsComputedByTheDatabaseDropTheCopy) {
  sql::Table table = fruit_table();
  table.columns.push_back({"total", sql::ColumnType::integer, true, false, true, false});
  Stepper write = begin({"SET", "fruit:1", kPear});
  write.start();
  write.sql(described(table));
  write.redis({integer(1)});
  EXPECT_EQ(write.sql(affected(1)),
            Step(CallRedis{{{&fuse::apply(), {"2", "fruit:1", kSide, kToken, "fruit", "DEL"}}}}));
}

TEST_F(WriteThrough, AnOverlapIsCounted) {
  Stepper write = begin({"SET", "fruit:1", kPear});
  armed(write);
  write.redis({integer(0)});
  write.sql(affected(0));
  EXPECT_EQ(write.redis({integer(0)}), reply("+OK\r\n"));
  EXPECT_EQ(policy().metrics().overlaps.value(), 1U);
}

TEST_F(WriteThrough, TheExpiryOfTheClientIsThatOfTheCopy) {
  const std::pair<std::vector<std::string>, std::vector<std::string>> cases[] = {
      {{"EX", "5"}, {"PX", "5000"}},
      {{"px", "7"}, {"PX", "7"}},
      {{"EXAT", "1900000000"}, {"PXAT", "1900000000000"}},
      {{"PXAT", "1900000000000"}, {"PXAT", "1900000000000"}}};
  for (const auto& [sent, applied] : cases) {
    Stepper write = begin({"SET", "fruit:1", kPear, sent[0], sent[1]});
    armed(write);
    write.redis({integer(1)});
    EXPECT_EQ(write.sql(affected(1)),
              Step(CallRedis{{{&fuse::apply(),
                               {"2", "fruit:1", kSide, kToken, "fruit", "SET", applied[0], applied[1], "1", kPear}}}}));
    write.redis({integer(1)});
  }
}

TEST_F(WriteThrough, NoTtlMeansNone) {
  options.ttl = Milliseconds(0);
  Stepper write = begin({"SET", "fruit:1", kPear});
  armed(write);
  write.redis({integer(1)});
  EXPECT_EQ(write.sql(affected(1)),
            Step(CallRedis{{{&fuse::apply(), {"2", "fruit:1", kSide, kToken, "fruit", "SET", "", "0", "1", kPear}}}}));
}

TEST_F(WriteThrough, RefusesWhatRedisWouldRefuseInItsWords) {
  EXPECT_EQ(refusal({"SET", "fruit:1"}), "-ERR wrong number of arguments for 'set' command\r\n");
  EXPECT_EQ(refusal({"SET", "fruit:1", kPear, "FOO"}), "-ERR syntax error\r\n");
  EXPECT_EQ(refusal({"SET", "fruit:1", kPear, "EX"}), "-ERR syntax error\r\n");
  EXPECT_EQ(refusal({"SET", "fruit:1", kPear, "EX", "1", "PX", "2"}), "-ERR syntax error\r\n");
  EXPECT_EQ(refusal({"SET", "fruit:1", kPear, "NX", "XX"}), "-ERR syntax error\r\n");
  EXPECT_EQ(refusal({"SET", "fruit:1", kPear, "EX", "x"}), "-ERR value is not an integer or out of range\r\n");
  EXPECT_EQ(refusal({"SET", "fruit:1", kPear, "EX", "0"}), "-ERR invalid expire time in 'set' command\r\n");
  EXPECT_EQ(refusal({"SET", "fruit:1", kPear, "PX", "9223372036854775807"}),
            "-ERR invalid expire time in 'set' command\r\n");
  EXPECT_EQ(refusal({"HSET", "fruit:1", "a", "b"}),
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
}

TEST_F(WriteThrough, ASetOfAHashPolicyIsTheWrongType) {
  use_hash();
  EXPECT_EQ(refusal({"SET", "fruit:1", "x"}), "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
  EXPECT_EQ(refusal({"HSET", "fruit:1", "a"}), "-ERR wrong number of arguments for 'hset' command\r\n");
}

TEST_F(WriteThrough, RefusesAValueThatDoesNotFitBeforeAnythingIsAsked) {
  EXPECT_EQ(refusal({"SET", "fruit:1", "not json"}), "-ERR sluice: policy 'fruit': not valid JSON (at byte 2)\r\n");
  EXPECT_EQ(refusal({"SET", "fruit:1", R"({"id":2,"name":"x"})"}),
            "-ERR sluice: policy 'fruit': field 'id' is not what the key says\r\n");
  EXPECT_EQ(policy().metrics().rejected_commands.value(), 2U);
}

TEST_F(WriteThrough, RefusesAKeyThatCannotBeGuarded) {
  options.key = key_template("fruit:{id}");
  EXPECT_EQ(refusal({"SET", "fruit:a}b", kPear}),
            "-ERR sluice: policy 'fruit': a key with '}' outside a hash tag cannot be guarded\r\n");
}

TEST_F(WriteThrough, ATableThatDoesNotFitNamesThePolicy) {
  sql::Table table = fruit_table();
  table.columns.erase(table.columns.begin());
  Stepper write = begin({"SET", "fruit:1", kPear});
  write.start();
  EXPECT_EQ(write.sql(described(table)),
            reply("-ERR sluice: policy 'fruit': table 'fruit': no column 'id' for the placeholder of that name\r\n"));
}

TEST_F(WriteThrough, AnUnreachableTableIsTriedAgainByTheNext) {
  Stepper write = begin({"SET", "fruit:1", kPear});
  write.start();
  EXPECT_EQ(write.sql(failed(sql::Failure::unavailable)), reply("-TRYAGAIN sluice: policy 'fruit': because\r\n"));
  EXPECT_EQ(begin({"SET", "fruit:1", kPear}).start(), describe);
}

TEST_F(WriteThrough, WithoutRedisNothingIsWritten) {
  for (const bool sent : {false, true}) {
    Stepper write = begin({"SET", "fruit:1", kPear});
    armed(write);
    EXPECT_EQ(write.lost(sent), reply("-LOADING sluice: upstream unavailable: no connection to Redis\r\n", true));
  }
}

TEST_F(WriteThrough, TheWrongTypeInRedisStopsTheWrite) {
  use_hash();
  Stepper write = begin({"HSET", "fruit:1", "quantity", "7"});
  armed(write);
  EXPECT_EQ(write.redis({error("WRONGTYPE Operation")}), reply("-WRONGTYPE Operation\r\n"));
}

TEST_F(WriteThrough, ARefusedRowIsAbortedAndSaysWhy) {
  Stepper write = begin({"SET", "fruit:1", kPear});
  armed(write);
  write.redis({integer(1)});
  EXPECT_EQ(write.sql(failed(sql::Failure::refused, "23505")), abort_step());
  EXPECT_EQ(write.redis({integer(1)}), reply("-SQLREJECT 23505 because\r\n"));
  EXPECT_EQ(policy().metrics().writes_refused.value(), 1U);
}

TEST_F(WriteThrough, AnUnavailableDatabaseIsAbortedAlsoWhenRedisGoesToo) {
  Stepper write = begin({"SET", "fruit:1", kPear});
  armed(write);
  write.redis({integer(1)});
  EXPECT_EQ(write.sql(failed(sql::Failure::unavailable)), abort_step());
  EXPECT_EQ(write.lost(), reply("-TRYAGAIN sluice: policy 'fruit': because\r\n"));
  EXPECT_EQ(policy().metrics().writes_unavailable.value(), 1U);
}

TEST_F(WriteThrough, AMissingColumnMakesTheNextWriteLookAtTheTableAgain) {
  Stepper write = begin({"SET", "fruit:1", kPear});
  armed(write);
  write.redis({integer(1)});
  EXPECT_EQ(write.sql(failed(sql::Failure::schema)), abort_step());
  EXPECT_EQ(write.redis({integer(1)}), reply("-ERR sluice: policy 'fruit': because\r\n"));
  EXPECT_EQ(begin({"SET", "fruit:1", kPear}).start(), describe);
}

TEST_F(WriteThrough, AnUnknownOutcomeInvalidates) {
  Stepper write = begin({"SET", "fruit:1", kPear});
  armed(write);
  write.redis({integer(1)});
  EXPECT_EQ(write.sql(failed(sql::Failure::unknown)),
            Step(CallRedis{{{&fuse::inval(), {"2", "fruit:1", kSide, kToken, "fruit"}}}}));
  EXPECT_EQ(write.redis({integer(1)}),
            reply("-SQLUNKNOWN sluice: policy 'fruit': whether the write took place is not known: because\r\n"));
  EXPECT_EQ(policy().metrics().writes_unknown.value(), 1U);
}

TEST_F(WriteThrough, ACommittedWriteIsAcknowledgedWithoutRedisAndInvalidatedLater) {
  Stepper write = begin({"SET", "fruit:1", kPear});
  armed(write);
  write.redis({integer(1)});
  write.sql(affected(1));
  EXPECT_EQ(write.lost(true), reply("+OK\r\n"));
  Stepper later(policy().due(TimePoint(Milliseconds(5000))));
  const Step drop = CallRedis{{{&fuse::inval(), {"2", "fruit:1", kSide, kToken, "fruit"}}}};
  EXPECT_EQ(later.start(), drop);
  EXPECT_EQ(later.lost(), reply(""));
  EXPECT_EQ(policy().due(TimePoint(Milliseconds(5100))), nullptr) << "not at once again";
  Stepper again(policy().due(TimePoint(Milliseconds(6000))));
  EXPECT_EQ(again.start(), drop);
  EXPECT_EQ(again.redis({integer(1)}), reply(""));
  EXPECT_EQ(policy().due(TimePoint(Milliseconds(9000))), nullptr);
}

TEST_F(WriteThrough, SqlGetsWhatIsLeftOfTheTimeSinceTheArm) {
  Stepper write = begin({"SET", "fruit:1", kPear});
  armed(write);
  write.clock += Milliseconds(1000);
  EXPECT_EQ(write.redis({integer(1)}), Step(CallSql{replace, Milliseconds(2000)}));
}

TEST_F(WriteThrough, AnArmThatTookAllTheTimeIsAborted) {
  Stepper write = begin({"SET", "fruit:1", kPear});
  armed(write);
  write.clock += Milliseconds(3000);
  EXPECT_EQ(write.redis({integer(1)}), abort_step());
  EXPECT_EQ(std::get<Finish>(write.redis({integer(1)})).reply.substr(0, 18), "-TRYAGAIN sluice: ");
}

TEST_F(WriteThrough, WritesOfOneKeyWaitForEachOther) {
  Stepper first = begin({"SET", "fruit:1", kPear});
  armed(first);
  Stepper second = begin({"SET", "fruit:1", kPear}, 2);
  EXPECT_EQ(second.start(), Step(Park{}));
  first.redis({integer(1)});
  first.sql(affected(1));
  first.redis({integer(1)});
  EXPECT_EQ(first.woken, (std::vector<OperationId>{{2, 1}}));
  EXPECT_TRUE(std::holds_alternative<CallRedis>(second.resume(Woken{})));
}

TEST_F(WriteThrough, WritesOfOtherKeysDoNotWait) {
  Stepper first = begin({"SET", "fruit:1", kPear});
  armed(first);
  Stepper second = begin({"SET", "fruit:2", R"({"name":"x"})"}, 2);
  EXPECT_TRUE(std::holds_alternative<CallRedis>(second.start()));
}

TEST_F(WriteThrough, AWriteThatWaitedTooLongGivesUpAndPassesTheTurnOn) {
  Stepper first = begin({"SET", "fruit:1", kPear});
  armed(first);
  Stepper second = begin({"SET", "fruit:1", kPear}, 2);
  Stepper third = begin({"SET", "fruit:1", kPear}, 3);
  second.start();
  third.start();
  first.lost();
  second.clock += Milliseconds(3000);
  EXPECT_EQ(std::get<Finish>(second.resume(Woken{})).reply.substr(0, 10), "-TRYAGAIN ");
  EXPECT_EQ(second.woken, (std::vector<OperationId>{{3, 1}}));
}

// --- Rights ---------------------------------------------------------------------------------------------------------

Step dry_run(std::vector<std::string> command) {
  command.insert(command.begin(), {"ACL", "DRYRUN", "bob"});
  return CallRedis{{{nullptr, std::move(command)}}};
}

TEST_F(WriteThrough, RightsAreAskedBeforeAnythingElse) {
  Stepper write = begin_as("bob", {"SET", "fruit:1", kPear});
  EXPECT_EQ(write.start(), dry_run({"SET", "fruit:1", ""}));
  EXPECT_EQ(write.redis({status("OK")}), describe);
  EXPECT_EQ(write.sql(described(fruit_table())), arm_step());
}

TEST_F(WriteThrough, WhoMayNotIsToldInRedisWordsAndNothingIsTouched) {
  Stepper write = begin_as("bob", {"SET", "fruit:1", kPear});
  write.start();
  EXPECT_EQ(write.redis({bulk("This user has no permissions to run the 'set' command")}),
            reply("-NOPERM this user has no permissions to run the 'set' command\r\n"));
}

TEST_F(WriteThrough, AnOptionThatReadsIsPartOfTheQuestion) {
  Stepper write = begin_as("bob", {"SET", "fruit:1", kPear, "EX", "5", "GET"});
  EXPECT_EQ(write.start(), dry_run({"SET", "fruit:1", "", "EX", "5", "GET"}));
}

TEST_F(WriteThrough, WhoMayNotLearnsNothingFromABadValue) {
  Stepper write = begin_as("bob", {"SET", "fruit:1", "not json"});
  EXPECT_EQ(write.start(), dry_run({"SET", "fruit:1", ""}));
  EXPECT_EQ(write.redis({bulk("This user has no permissions to access the 'fruit:1' key")}),
            reply("-NOPERM this user has no permissions to access one of the keys used as arguments\r\n"));
}

TEST_F(WriteThrough, WhoMayIsToldWhatIsWrong) {
  Stepper write = begin_as("bob", {"SET", "fruit:1", "not json", "EX", "x"});
  write.start();
  EXPECT_EQ(write.redis({status("OK")}), reply("-ERR value is not an integer or out of range\r\n"));
}

TEST_F(WriteThrough, RightsThatCannotBeCheckedAreNotGranted) {
  Stepper write = begin_as("bob", {"SET", "fruit:1", kPear});
  write.start();
  EXPECT_TRUE(
      std::get<Finish>(write.redis({error("ERR User 'bob' not found")})).reply.starts_with("-ERR sluice: the rights"));
}

TEST_F(WriteThrough, HandlesWhatItUnderstandsAndRejectsOtherWrites) {
  const auto handling = [&](const char* name) { return policy().handling(*resp::find_command(name)); };
  EXPECT_EQ(handling("set"), Handling::operate);
  EXPECT_EQ(handling("hset"), Handling::operate);
  EXPECT_EQ(handling("get"), Handling::read);
  EXPECT_EQ(handling("strlen"), Handling::read);
  EXPECT_EQ(handling("getrange"), Handling::forward);
  EXPECT_EQ(handling("del"), Handling::guard);
  EXPECT_EQ(handling("unlink"), Handling::guard);
  EXPECT_EQ(handling("expire"), Handling::operate);
  EXPECT_EQ(handling("mset"), Handling::operate);
  EXPECT_EQ(handling("append"), Handling::reject) << "to JSON";
  EXPECT_EQ(handling("setrange"), Handling::reject);
  EXPECT_EQ(policy().rejection(*resp::find_command("append")),
            "ERR sluice: APPEND is not supported on policy 'fruit' (see unmanaged_writes)");
}

TEST_F(WriteThrough, UnmanagedWritesCanBeForwardedBehindAGuard) {
  options.unmanaged_writes = conf::Unmanaged::forward;
  EXPECT_EQ(policy().handling(*resp::find_command("append")), Handling::guard);
}

TEST_F(WriteThrough, UnmanagedWritesCanDropTheCopy) {
  options.unmanaged_writes = conf::Unmanaged::invalidate;
  EXPECT_EQ(policy().handling(*resp::find_command("setrange")), Handling::invalidate);
}

TEST_F(WriteThrough, DeletingTheRowIsNotMistakenForForgettingTheCopy) {
  options.on_delete = conf::OnDelete::row;
  EXPECT_EQ(policy().handling(*resp::find_command("del")), Handling::operate);
}

}  // namespace
}  // namespace sluice::policies::testing

// The write commands of a write-through policy: what each replies and leaves in SQL and in a real Redis.
#include <gtest/gtest.h>

#include "policies/policy_metrics.h"
#include "tests/policies/proxy_double.h"
#include "tests/policies/step_test.h"

namespace sluice::policies::testing {
namespace {

class WriteCommands : public ::testing::Test {
 protected:
  WriteCommands() {
    options.ttl = Milliseconds(60000);
    options.ttl_jitter = 0;
    RedisServer::instance().run({nullptr, {"FLUSHALL"}});
  }

  ProxyDouble& proxy() {
    if (!proxy_) proxy_ = std::make_unique<ProxyDouble>(options, sql);
    return *proxy_;
  }
  // The reply, without its last line end.
  std::string run(std::vector<std::string> args) {
    std::string reply = proxy().run(command(std::move(args)));
    if (reply.ends_with("\r\n")) reply.resize(reply.size() - 2);
    return reply;
  }
  // A command with several keys of this policy: every `stride`th argument.
  std::string run_several(std::vector<std::string> args, std::size_t stride) {
    Request request = command(std::move(args));
    for (std::size_t i = 1; i < request.args.size(); i += stride) {
      request.keys.push_back({&proxy().policy(), request.args[i]});
    }
    return proxy().run(std::move(request));
  }
  resp::Reply redis(std::vector<std::string> args) { return RedisServer::instance().run({nullptr, std::move(args)}); }
  std::string cached(const std::string& key) { return redis({"GET", key}).text; }
  std::int64_t ttl(const std::string& key) { return redis({"PTTL", key}).integer; }
  std::string cached_field(const std::string& field) { return redis({"HGET", "fruit:1", field}).text; }
  static sql::Value text(const char* value) { return std::string(value); }
  static sql::Value number(std::int64_t value) { return value; }
  void use_hash() { options.value = conf::ValueMode::hash; }
  void use_raw() {
    options.value = conf::ValueMode::raw;
    options.column = "name";
  }
  void use_ttl_column() {
    sql::Table table = fruit_table();
    table.columns.push_back({"until", sql::ColumnType::integer});
    sql = SqlMap(table);
    options.ttl_column = "until";
  }
  void add_row(std::int64_t id, const char* name, std::int64_t quantity) {
    sql.row(id) = {{"id", id}, {"name", text(name)}, {"quantity", quantity}};
  }

  conf::PolicyOptions options = written_options();
  SqlMap sql{fruit_table()};

 private:
  std::unique_ptr<ProxyDouble> proxy_;
};

// --- SET and its kin ------------------------------------------------------------------------------------------------

TEST_F(WriteCommands, NxAndXxAreDecidedByTheRowNotByTheCache) {
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"a"})", "XX"}), "$-1");
  EXPECT_FALSE(sql.has(number(1)));
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"a"})", "NX"}), "+OK");
  redis({"DEL", "fruit:1"});
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"b"})", "NX"}), "$-1");
  EXPECT_EQ(sql.row(number(1))["name"], text("a"));
  EXPECT_EQ(cached("fruit:1"), "") << "what was refused is not cached";
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"c"})", "XX"}), "+OK");
  EXPECT_EQ(cached("fruit:1"), R"({"name":"c"})");
  EXPECT_EQ(run({"SETNX", "fruit:1", R"({"name":"d"})"}), ":0");
  EXPECT_EQ(run({"SETNX", "fruit:2", R"({"name":"d"})"}), ":1");
}

TEST_F(WriteCommands, GetAnswersTheRowAsItWas) {
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"a","quantity":1})", "GET"}), "$-1");
  EXPECT_EQ(run({"GETSET", "fruit:1", R"({"name":"b"})"}), "$32\r\n{\"id\":1,\"name\":\"a\",\"quantity\":1}");
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"c"})", "NX", "GET"}),
            "$35\r\n{\"id\":1,\"name\":\"b\",\"quantity\":null}");
  EXPECT_EQ(sql.row(number(1))["name"], text("b"));
}

TEST_F(WriteCommands, AnExpiryIsThatOfTheCopy) {
  run({"SETEX", "fruit:1", "100", R"({"name":"a"})"});
  EXPECT_GT(ttl("fruit:1"), 90000);
  run({"PSETEX", "fruit:1", "5000", R"({"name":"a"})"});
  EXPECT_LE(ttl("fruit:1"), 5000);
  EXPECT_EQ(run({"SETEX", "fruit:1", "0", R"({"name":"a"})"}), "-ERR invalid expire time in 'setex' command");
}

TEST_F(WriteCommands, KeepttlKeepsWhatTheCopyHad) {
  run({"SET", "fruit:1", R"({"name":"a"})", "EX", "500"});
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"b"})", "KEEPTTL"}), "+OK");
  EXPECT_GT(ttl("fruit:1"), 400000);
  EXPECT_EQ(run({"SET", "fruit:2", R"({"name":"b"})", "KEEPTTL"}), "+OK");
  EXPECT_GT(ttl("fruit:2"), 50000) << "without a copy: the policy's ttl";
  EXPECT_LE(ttl("fruit:2"), 60000);
}

TEST_F(WriteCommands, KeepttlSurvivesACopyThatBurnedAwayMeanwhile) {
  run({"SET", "fruit:1", R"({"name":"a"})", "EX", "500"});
  const int write = proxy().begin(command({"SET", "fruit:1", R"({"name":"b"})", "KEEPTTL"}));
  proxy().step(write);  // armed
  redis({"DEL", "fruit:1"});
  EXPECT_EQ(proxy().run(write), "+OK\r\n");
  EXPECT_GT(ttl("fruit:1"), 400000);
}

TEST_F(WriteCommands, AppendMakesTheWholeNewValue) {
  use_raw();
  EXPECT_EQ(run({"APPEND", "fruit:1", "ab"}), ":2");
  redis({"DEL", "fruit:1"});
  EXPECT_EQ(run({"APPEND", "fruit:1", "cd"}), ":4");
  EXPECT_EQ(sql.row(number(1))["name"], text("abcd"));
  EXPECT_EQ(cached("fruit:1"), "abcd");
  EXPECT_EQ(run({"APPEND", "fruit:1", "\xff"}), "-ERR sluice: policy 'fruit': the value would be not valid UTF-8");
  EXPECT_EQ(sql.row(number(1))["name"], text("abcd"));
}

TEST_F(WriteCommands, MsetWritesAllOfThemAndTheLastOfTheSameKey) {
  EXPECT_EQ(run_several(
                {"MSET", "fruit:2", R"({"name":"x"})", "fruit:1", R"({"name":"b"})", "fruit:2", R"({"name":"c"})"}, 2),
            "+OK\r\n");
  EXPECT_EQ(sql.row(number(1))["name"], text("b"));
  EXPECT_EQ(sql.row(number(2))["name"], text("c"));
  EXPECT_EQ(cached("fruit:2"), R"({"name":"c"})");
}

TEST_F(WriteCommands, MsetWithOneBadValueWritesNothing) {
  EXPECT_EQ(run_several({"MSET", "fruit:1", R"({"name":"b"})", "fruit:2", "no"}, 2).substr(0, 12), "-ERR sluice:");
  EXPECT_EQ(sql.size(), 0U);
  EXPECT_EQ(redis({"KEYS", "*"}).items.size(), 0U);
}

TEST_F(WriteCommands, MsetnxWritesAllOrNothing) {
  add_row(2, "old", 1);
  EXPECT_EQ(run_several({"MSETNX", "fruit:1", R"({"name":"b"})", "fruit:2", R"({"name":"c"})"}, 2), ":0\r\n");
  EXPECT_FALSE(sql.has(number(1)));
  EXPECT_EQ(cached("fruit:1"), "");
  EXPECT_EQ(run_several({"MSETNX", "fruit:1", R"({"name":"b"})", "fruit:3", R"({"name":"c"})"}, 2), ":1\r\n");
  EXPECT_TRUE(sql.has(number(1)));
}

// --- Rows that exist ------------------------------------------------------------------------------------------------

TEST_F(WriteCommands, ConflictIgnoreLeavesARowThatExists) {
  options.conflict = conf::Conflict::ignore;
  add_row(1, "old", 1);
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"new"})"}), "+OK");
  EXPECT_EQ(sql.row(number(1))["name"], text("old"));
  EXPECT_EQ(cached("fruit:1"), "");
  EXPECT_EQ(run({"SET", "fruit:2", R"({"name":"new"})"}), "+OK");
  EXPECT_EQ(sql.row(number(2))["name"], text("new"));
}

TEST_F(WriteCommands, ConflictErrorRefusesARowThatExists) {
  options.conflict = conf::Conflict::error;
  use_hash();
  add_row(1, "old", 1);
  EXPECT_EQ(run({"HSET", "fruit:1", "name", "new"}),
            "-SQLREJECT 23505 policy 'fruit': the row exists (conflict = \"error\")");
  EXPECT_EQ(sql.row(number(1))["name"], text("old"));
  EXPECT_EQ(run({"HSET", "fruit:2", "name", "new"}), ":1");
}

TEST_F(WriteCommands, ConflictErrorOfOneKeyWritesNoneOfSeveral) {
  options.conflict = conf::Conflict::error;
  add_row(1, "old", 1);
  EXPECT_EQ(run_several({"MSET", "fruit:2", R"({"name":"a"})", "fruit:1", R"({"name":"b"})"}, 2).substr(0, 16),
            "-SQLREJECT 23505");
  EXPECT_FALSE(sql.has(number(2)));
  EXPECT_EQ(sql.row(number(1))["name"], text("old"));
}

TEST_F(WriteCommands, AWriteQueryGetsEveryColumnAndDropsTheCopy) {
  options.write_query = "CALL put(:id, :name, :quantity)";
  redis({"SET", "fruit:1", "old"});
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"a"})"}), "+OK");
  ASSERT_EQ(sql.statements.size(), 1U);
  EXPECT_EQ(sql.statements[0],
            (sql::RunStatement{options.write_query, {{"id", number(1)}, {"name", text("a")}, {"quantity", {}}}}));
  EXPECT_EQ(cached("fruit:1"), "");
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"a"})", "NX"}),
            "-ERR sluice: policy 'fruit': NX, XX and GET not supported with a write_query");
}

// --- Hashes ---------------------------------------------------------------------------------------------------------

TEST_F(WriteCommands, HsetnxLooksAtTheRow) {
  use_hash();
  add_row(1, "pear", 3);
  EXPECT_EQ(run({"HSETNX", "fruit:1", "quantity", "4"}), ":0");
  sql.row(number(1))["quantity"] = {};
  EXPECT_EQ(run({"HSETNX", "fruit:1", "quantity", "4"}), ":1");
  EXPECT_EQ(sql.row(number(1))["quantity"], number(4));
}

TEST_F(WriteCommands, HincrbyCountsInTheRowAndInACopyThatIsThere) {
  use_hash();
  add_row(1, "pear", 3);
  EXPECT_EQ(run({"HINCRBY", "fruit:1", "quantity", "4"}), ":7");
  EXPECT_EQ(redis({"EXISTS", "fruit:1"}).integer, 0) << "no partial copy";
  redis({"HSET", "fruit:1", "name", "pear", "quantity", "7"});
  EXPECT_EQ(run({"HINCRBY", "fruit:1", "quantity", "-10"}), ":-3");
  EXPECT_EQ(cached_field("quantity"), "-3");
  EXPECT_EQ(run({"HINCRBY", "fruit:1", "name", "1"}), "-ERR hash value is not an integer");
  EXPECT_EQ(run({"HINCRBY", "fruit:1", "quantity", "x"}), "-ERR value is not an integer or out of range");
  EXPECT_EQ(run({"HINCRBY", "fruit:1", "quantity", "-9223372036854775808"}),
            "-ERR increment or decrement would overflow");
  EXPECT_EQ(sql.row(number(1))["quantity"], number(-3));
}

TEST_F(WriteCommands, HincrbyfloatPrintsAsRedisDoes) {
  use_hash();
  add_row(1, "10.5", 1);
  EXPECT_EQ(run({"HINCRBYFLOAT", "fruit:1", "name", "0.1"}), "$4\r\n10.6");
  EXPECT_EQ(sql.row(number(1))["name"], text("10.6"));
  EXPECT_EQ(run({"HINCRBYFLOAT", "fruit:1", "quantity", "0.5"}),
            "-ERR sluice: policy 'fruit': field 'quantity' is not an integer of 64 bits");
  EXPECT_EQ(run({"HINCRBYFLOAT", "fruit:1", "name", "x"}), "-ERR value is not a valid float");
}

TEST_F(WriteCommands, HdelSetsNullAndCountsWhatWasThere) {
  use_hash();
  add_row(1, "pear", 3);
  redis({"HSET", "fruit:1", "name", "pear", "quantity", "3"});
  redis({"PEXPIRE", "fruit:1", "500000"});
  EXPECT_EQ(run({"HDEL", "fruit:1", "quantity", "nothing", "quantity"}), ":1");
  EXPECT_EQ(sql.row(number(1))["quantity"], sql::Value());
  EXPECT_EQ(redis({"HGETALL", "fruit:1"}).items.size(), 2U);
  EXPECT_GT(ttl("fruit:1"), 400000);
  EXPECT_EQ(run({"HDEL", "fruit:1", "quantity"}), ":0");
  EXPECT_EQ(run({"HDEL", "fruit:9", "quantity"}), ":0");
  EXPECT_FALSE(sql.has(number(9)));
}

TEST_F(WriteCommands, AHashCommandOnAStringPolicyIsTheWrongType) {
  EXPECT_EQ(run({"HINCRBY", "fruit:1", "quantity", "1"}),
            "-WRONGTYPE Operation against a key holding the wrong kind of value");
}

TEST_F(WriteCommands, AFieldOfTheCacheOnlyMakesAWholeCopy) {
  use_hash();
  options.unknown_fields = conf::UnknownFields::cache_only;
  add_row(1, "pear", 3);
  EXPECT_EQ(run({"HSET", "fruit:1", "note", "x"}), ":0");
  EXPECT_EQ(redis({"HGETALL", "fruit:1"}).items.size(), 6U);
  EXPECT_EQ(run({"HSET", "fruit:1", "note", "y", "quantity", "4"}), ":0");
  EXPECT_EQ(cached_field("note"), "y");
  EXPECT_EQ(sql.row(number(1))["quantity"], number(4));
}

TEST_F(WriteCommands, FieldsOfTheCacheOnlyKeepTheOrderOfTheirCommands) {
  use_hash();
  options.unknown_fields = conf::UnknownFields::cache_only;
  add_row(1, "pear", 3);
  const int first = proxy().begin(command({"HSET", "fruit:1", "note", "x"}));
  proxy().step(first);  // the table
  const int second = proxy().begin(command({"HSET", "fruit:1", "note", "y", "name", "z"}));
  EXPECT_FALSE(proxy().can_step(second)) << "it waits for the first";
  proxy().run(first);
  proxy().run(second);
  EXPECT_EQ(cached_field("note"), "y");
}

TEST_F(WriteCommands, ARowThatIsNewLeavesNoCopyWithoutItsDefaults) {
  use_hash();
  redis({"HSET", "fruit:1", "note", "x"});
  EXPECT_EQ(run({"HSET", "fruit:1", "name", "bob"}), ":1");
  EXPECT_EQ(redis({"EXISTS", "fruit:1"}).integer, 0);
  redis({"HSET", "fruit:2", "note", "x"});
  EXPECT_EQ(run({"HINCRBY", "fruit:2", "quantity", "1"}), ":1");
  EXPECT_EQ(redis({"EXISTS", "fruit:2"}).integer, 0);
}

TEST_F(WriteCommands, ARowThatRedisCouldNotHoldIsAbsent) {
  use_raw();
  sql.row(number(1)) = {{"id", number(1)}};
  EXPECT_EQ(run({"SETNX", "fruit:1", "x"}), ":1");
  sql.row(number(2)) = {{"id", number(2)}};
  EXPECT_EQ(run({"SET", "fruit:2", "x", "XX"}), "$-1");
}

TEST_F(WriteCommands, DelAndExpireDoNotMindTheTypeOfTheCopy) {
  use_hash();
  options.on_delete = conf::OnDelete::row;
  add_row(1, "pear", 3);
  redis({"SET", "fruit:1", "a string"});
  EXPECT_EQ(run({"HSET", "fruit:1", "quantity", "1"}).substr(0, 10), "-WRONGTYPE");
  EXPECT_EQ(run({"DEL", "fruit:1"}), ":1");
  EXPECT_EQ(redis({"EXISTS", "fruit:1"}).integer, 0);
}

// --- Deletion -------------------------------------------------------------------------------------------------------

TEST_F(WriteCommands, DelOfTheRowCountsRows) {
  options.on_delete = conf::OnDelete::row;
  add_row(1, "pear", 3);
  add_row(2, "plum", 3);
  redis({"SET", "fruit:1", "copy"});
  EXPECT_EQ(run_several({"DEL", "fruit:1", "fruit:1", "fruit:2", "fruit:3"}, 1), ":2\r\n");
  EXPECT_EQ(sql.size(), 0U);
  EXPECT_EQ(redis({"EXISTS", "fruit:1"}).integer, 0);
}

TEST_F(WriteCommands, GetdelAnswersTheRowAndForgetsTheCopyOrBoth) {
  add_row(1, "pear", 3);
  redis({"SET", "fruit:1", "copy"});
  EXPECT_EQ(run({"GETDEL", "fruit:1"}), "$35\r\n{\"id\":1,\"name\":\"pear\",\"quantity\":3}");
  EXPECT_TRUE(sql.has(number(1)));
  EXPECT_EQ(redis({"EXISTS", "fruit:1"}).integer, 0);
  EXPECT_EQ(run({"GETDEL", "fruit:2"}), "$-1");
}

TEST_F(WriteCommands, GetdelDeletesTheRowWhenAsked) {
  options.on_delete = conf::OnDelete::row;
  add_row(1, "pear", 3);
  EXPECT_EQ(run({"GETDEL", "fruit:1"}).substr(0, 3), "$35");
  EXPECT_FALSE(sql.has(number(1)));
}

// --- Expiry of the copy ---------------------------------------------------------------------------------------------

TEST_F(WriteCommands, ExpireIsAboutTheCopyWhichIsLoadedWhenAbsent) {
  add_row(1, "pear", 3);
  EXPECT_EQ(run({"EXPIRE", "fruit:1", "1000"}), ":1");
  EXPECT_GT(ttl("fruit:1"), 900000);
  EXPECT_EQ(run({"EXPIRE", "fruit:1", "500", "GT"}), ":0");
  EXPECT_EQ(run({"PEXPIRE", "fruit:1", "500000", "LT"}), ":1");
  EXPECT_LE(ttl("fruit:1"), 500000);
  EXPECT_EQ(run({"EXPIRE", "fruit:1", "1", "NX"}), ":0");
  EXPECT_EQ(run({"PERSIST", "fruit:1"}), ":1");
  EXPECT_EQ(ttl("fruit:1"), -1);
  EXPECT_EQ(run({"PERSIST", "fruit:1"}), ":0");
  EXPECT_EQ(run({"EXPIRE", "fruit:1", "1", "XX"}), ":0");
  EXPECT_EQ(run({"EXPIREAT", "fruit:1", "1"}), ":1");
  EXPECT_EQ(redis({"EXISTS", "fruit:1"}).integer, 0);
  EXPECT_TRUE(sql.has(number(1))) << "expiry deletes no row";
  EXPECT_EQ(run({"EXPIRE", "fruit:2", "1000"}), ":0");
}

TEST_F(WriteCommands, ExpireRefusesWhatRedisRefuses) {
  EXPECT_EQ(run({"EXPIRE", "fruit:1", "x"}), "-ERR value is not an integer or out of range");
  EXPECT_EQ(run({"EXPIRE", "fruit:1", "1", "FOO"}), "-ERR Unsupported option FOO");
  EXPECT_EQ(run({"EXPIRE", "fruit:1", "1", "NX", "GT"}),
            "-ERR NX and XX, GT or LT options at the same time are not compatible");
  EXPECT_EQ(run({"EXPIRE", "fruit:1", "9223372036854775807"}), "-ERR invalid expire time in 'expire' command");
  EXPECT_EQ(run({"GETEX", "fruit:1", "EX", "0"}), "-ERR invalid expire time in 'getex' command");
  EXPECT_EQ(run({"GETEX", "fruit:1", "EX"}), "-ERR syntax error");
}

TEST_F(WriteCommands, GetexReadsAndChangesTheExpiry) {
  add_row(1, "pear", 3);
  const std::string value = "$35\r\n{\"id\":1,\"name\":\"pear\",\"quantity\":3}";
  EXPECT_EQ(run({"GETEX", "fruit:1"}), value);
  EXPECT_LE(ttl("fruit:1"), 60000);
  EXPECT_EQ(run({"GETEX", "fruit:1", "EX", "1000"}), value);
  EXPECT_GT(ttl("fruit:1"), 900000);
  EXPECT_EQ(run({"GETEX", "fruit:1", "PERSIST"}), value);
  EXPECT_EQ(ttl("fruit:1"), -1);
  EXPECT_EQ(run({"GETEX", "fruit:2", "EX", "1000"}), "$-1");
}

TEST_F(WriteCommands, AnExpiryGivenWhileAWriteIsUnderWayTakesEffectAfterIt) {
  use_hash();
  add_row(1, "pear", 3);
  redis({"HSET", "fruit:1", "name", "pear", "quantity", "3"});
  const int write = proxy().begin(command({"HSET", "fruit:1", "quantity", "4"}));
  proxy().step(write);  // the table
  proxy().step(write);  // armed
  EXPECT_LE(ttl("fruit:1"), 1000) << "a burning fuse";
  EXPECT_EQ(run({"EXPIRE", "fruit:1", "500"}), ":1");
  EXPECT_LE(ttl("fruit:1"), 1000) << "still";
  EXPECT_EQ(proxy().run(write), ":0\r\n");
  EXPECT_GT(ttl("fruit:1"), 400000);
}

// --- A Redis that may have come back with old copies ----------------------------------------------------------------

TEST_F(WriteCommands, ACopyThatMayBeOldIsDroppedAndLoadedAgain) {
  add_row(1, "pear", 3);
  redis({"SET", "fruit:1", "old"});
  Request get = miss({"GET", "fruit:1"});
  get.distrust = true;
  EXPECT_EQ(proxy().run(std::move(get)), "$35\r\n{\"id\":1,\"name\":\"pear\",\"quantity\":3}\r\n");
  redis({"SET", "fruit:1", "old"});
  Request getex = command({"GETEX", "fruit:1", "EX", "100"});
  getex.distrust = true;
  EXPECT_EQ(proxy().run(std::move(getex)), "$35\r\n{\"id\":1,\"name\":\"pear\",\"quantity\":3}\r\n");
}

TEST_F(WriteCommands, WhoMayNotReadGetsNoCopyDropped) {
  redis({"ACL", "SETUSER", "bob", "on", ">x", "~other:*", "+@all"});
  redis({"SET", "fruit:1", "copy"});
  Request get = miss({"GET", "fruit:1"});
  get.distrust = true;
  get.acl_user = "bob";
  EXPECT_TRUE(proxy().run(std::move(get)).starts_with("-NOPERM "));
  EXPECT_EQ(sql.reads, 0);
  EXPECT_EQ(cached("fruit:1"), "copy");
  redis({"ACL", "DELUSER", "bob"});
}

// --- ttl_column -----------------------------------------------------------------------------------------------------

TEST_F(WriteCommands, ATtlColumnKeepsTheExpiryInTheRow) {
  use_ttl_column();
  run({"SET", "fruit:1", R"({"name":"a"})", "PXAT", "9999999999999"});
  EXPECT_EQ(sql.row(number(1))["until"], number(9999999999999));
  EXPECT_EQ(run({"PEXPIREAT", "fruit:1", "8888888888888"}), ":1");
  EXPECT_EQ(sql.row(number(1))["until"], number(8888888888888));
  EXPECT_EQ(redis({"PEXPIRETIME", "fruit:1"}).integer, 8888888888888);
  EXPECT_EQ(run({"PERSIST", "fruit:1"}), ":1");
  EXPECT_EQ(sql.row(number(1))["until"], sql::Value());
  run({"SET", "fruit:1", R"({"name":"a"})", "EX", "100"});
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"b"})"}), "+OK");
  EXPECT_EQ(sql.row(number(1))["until"], sql::Value()) << "a plain SET ends it";
}

TEST_F(WriteCommands, ARowWhoseTimeIsOverIsNotSeen) {
  use_ttl_column();
  add_row(1, "old", 3);
  sql.row(number(1))["until"] = number(1000);
  EXPECT_EQ(proxy().run(miss({"GET", "fruit:1"})), "$-1\r\n");
  EXPECT_EQ(proxy().run(miss({"GET", "fruit:1"})), "$-1\r\n");
  EXPECT_EQ(sql.reads, 1) << "it is remembered";
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"a"})", "XX"}), "$-1");
  EXPECT_EQ(run({"EXPIRE", "fruit:1", "100"}), ":0");
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"a"})", "NX"}), "+OK");
  EXPECT_EQ(sql.row(number(1))["until"], sql::Value());
}

TEST_F(WriteCommands, AHashWrittenAfterItsTimeBeginsAnew) {
  use_ttl_column();
  use_hash();
  add_row(1, "old", 3);
  sql.row(number(1))["until"] = number(1000);
  EXPECT_EQ(run({"HSET", "fruit:1", "name", "new"}), ":1");
  EXPECT_EQ(sql.row(number(1))["quantity"], sql::Value());
  EXPECT_EQ(sql.row(number(1))["until"], sql::Value());
}

TEST_F(WriteCommands, AFillLivesNoLongerThanItsRow) {
  use_ttl_column();
  add_row(1, "pear", 3);
  const resp::Reply now = redis({"TIME"});
  sql.row(number(1))["until"] = number(std::stoll(now.items[0].text) * 1000 + 5000);
  proxy().run(miss({"GET", "fruit:1"}));
  EXPECT_GT(ttl("fruit:1"), 0);
  EXPECT_LE(ttl("fruit:1"), 5000);
}

TEST_F(WriteCommands, KeepttlOfARowWhoseTimeIsOverKeepsNothing) {
  use_ttl_column();
  add_row(1, "old", 3);
  sql.row(number(1))["until"] = number(1000);
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"a"})", "KEEPTTL"}), "+OK");
  EXPECT_EQ(sql.row(number(1))["until"], sql::Value());
}

TEST_F(WriteCommands, NoCopyOutlivesItsRowWhoeverMakesIt) {
  use_ttl_column();
  const resp::Reply time = redis({"TIME"});
  const sql::Value soon = number(std::stoll(time.items[0].text) * 1000 + 5000);
  add_row(1, "pear", 3);
  sql.row(number(1))["until"] = soon;
  EXPECT_EQ(run({"SET", "fruit:1", R"({"name":"a"})", "KEEPTTL"}), "+OK");
  EXPECT_EQ(sql.row(number(1))["until"], soon);
  EXPECT_LE(ttl("fruit:1"), 5000);

  // A fill behind the arm of a write that then does nothing.
  redis({"DEL", "fruit:1"});
  const int write = proxy().begin(command({"SETNX", "fruit:1", R"({"name":"b"})"}));
  proxy().step(write);  // armed
  proxy().run(miss({"GET", "fruit:1"}));
  EXPECT_EQ(proxy().run(write), ":0\r\n");
  EXPECT_GT(ttl("fruit:1"), 1000) << "no longer behind the fuse";
  EXPECT_LE(ttl("fruit:1"), 5000);
}

// --- ops_field ------------------------------------------------------------------------------------------------------

class OpsFieldCommands : public WriteCommands {
 protected:
  OpsFieldCommands() {
    use_hash();
    options.ops_field = "#";
    add_row(1, "pear", 3);
  }
  std::string acknowledged(const std::string& stream) {
    const resp::Reply entries = redis({"XRANGE", stream, "-", "+"});
    if (entries.items.empty()) return "(none)";
    std::string all;
    for (const resp::Reply& word : entries.items[0].items[1].items) all += (all.empty() ? "" : " ") + word.text;
    return all;
  }
};

TEST_F(OpsFieldCommands, AnAcknowledgementIsAStreamThatExpires) {
  EXPECT_EQ(run({"HSET", "fruit:1", "quantity", "10", "#", "=a1"}), ":0");
  EXPECT_EQ(sql.row(number(1))["quantity"], number(10));
  EXPECT_EQ(acknowledged("{fruit:1}a1"), "status done");
  EXPECT_LE(redis({"TTL", "{fruit:1}a1"}).integer, 3600);
  EXPECT_GT(redis({"TTL", "{fruit:1}a1"}).integer, 0);
  EXPECT_EQ(redis({"HEXISTS", "fruit:1", "#"}).integer, 0);
}

TEST_F(OpsFieldCommands, AFailureIsAcknowledgedWithItsError) {
  EXPECT_EQ(run({"HSET", "fruit:1", "quantity", "ten", "#", "=a2"}),
            "-ERR sluice: policy 'fruit': field 'quantity' is not an integer of 64 bits");
  EXPECT_EQ(acknowledged("{fruit:1}a2"),
            "status failed error ERR sluice: policy 'fruit': field 'quantity' is not an integer of 64 bits");
}

TEST_F(OpsFieldCommands, PlusWritesOnlyTheCopyWhichIsWhole) {
  EXPECT_EQ(run({"HSET", "fruit:1", "quantity", "11", "#", "+"}), ":0");
  EXPECT_EQ(sql.row(number(1))["quantity"], number(3));
  EXPECT_EQ(cached_field("quantity"), "11");
  EXPECT_EQ(cached_field("name"), "pear");
  EXPECT_EQ(redis({"EXISTS", "{fruit:1}None", "{fruit:1}"}).integer, 0);
}

TEST_F(OpsFieldCommands, MinusForgetsTheCopyAndTildeTheRowToo) {
  redis({"HSET", "fruit:1", "name", "pear", "quantity", "3"});
  EXPECT_EQ(run({"HSET", "fruit:1", "#", "-"}), ":0");
  EXPECT_EQ(redis({"EXISTS", "fruit:1"}).integer, 0);
  EXPECT_TRUE(sql.has(number(1)));
  EXPECT_EQ(run({"HSET", "fruit:1", "#", "~"}), ":0");
  EXPECT_FALSE(sql.has(number(1)));
}

TEST_F(OpsFieldCommands, WhoMayNotWriteTheStreamGetsNothingDone) {
  redis({"ACL", "SETUSER", "bob", "on", ">x", "~fruit:*", "+@all"});
  Request request = command({"HSET", "fruit:1", "quantity", "10", "#", "=a1"});
  request.acl_user = "bob";
  EXPECT_TRUE(proxy().run(std::move(request)).starts_with("-NOPERM "));
  EXPECT_EQ(sql.row(number(1))["quantity"], number(3));
  EXPECT_EQ(acknowledged("{fruit:1}a1"), "(none)");
  redis({"ACL", "DELUSER", "bob"});
}

TEST_F(OpsFieldCommands, WhoMayNotWriteTheKeyLoadsNothing) {
  redis({"ACL", "SETUSER", "bob", "on", ">x", "~other:*", "+@all"});
  Request request = command({"HSET", "fruit:1", "quantity", "10", "#", "+"});
  request.acl_user = "bob";
  EXPECT_TRUE(proxy().run(std::move(request)).starts_with("-NOPERM "));
  EXPECT_EQ(sql.reads, 0);
  EXPECT_EQ(redis({"KEYS", "*"}).items.size(), 0U) << "nor is there an arm";
  redis({"ACL", "DELUSER", "bob"});
}

TEST_F(OpsFieldCommands, AnotherSignIsAnError) {
  EXPECT_EQ(run({"HSET", "fruit:1", "quantity", "1", "#", "?"}),
            "-ERR sluice: policy 'fruit': the field '#' (ops_field) begins with none of =, +, - and ~");
}

}  // namespace
}  // namespace sluice::policies::testing

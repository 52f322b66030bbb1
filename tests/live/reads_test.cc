// Reads that miss, and those that are looked at first: every command that is filled replies, byte for byte, what a
// Redis that holds the value replies.
#include <string>
#include <vector>

#include "engines.h"

namespace sluice::live {
namespace {

constexpr const char* kPolicies = R"(
[[policy]]
name = "docs"
key = "doc:{id:int}"
alias = "d/{id:int}"
backend = "shop"
table = "docs"
value = "json"
read = "cache-aside"
ttl = "0s"

[[policy]]
name = "people"
key = "person:{id}"
backend = "shop"
table = "people"
value = "hash"
read = "cache-aside"
ttl = "0s"

[[policy]]
name = "blobs"
key = "blob:{id:int}"
backend = "shop"
table = "blobs"
value = "raw"
column = "body"
write = "write-through"
ttl = "0s"

[[policy]]
name = "seats"
key = "seat:{hall}:{row:int}"
backend = "shop"
table = "seats"
value = "raw"
column = "who"
read = "cache-aside"
ttl = "100s"
ttl_jitter = 0
)";

// The same values in a Redis of their own.
struct MissedReads : OnEveryEngine {
  static std::string schema() {
    const Dialect dialect(GetParam());
    const std::string key = dialect.key_text();
    return "CREATE TABLE docs(id INTEGER PRIMARY KEY, name VARCHAR(40), price INTEGER);"
           "CREATE TABLE people(id " +
           key +
           " PRIMARY KEY, name VARCHAR(40), age INTEGER, note VARCHAR(40));"
           "CREATE TABLE blobs(id INTEGER PRIMARY KEY, body " +
           dialect.bytes() +
           ");"
           "CREATE TABLE seats(hall " +
           key + ", " + (GetParam() == Engine::mysql ? "`row`" : "row") +
           " INTEGER, who VARCHAR(40), PRIMARY KEY(hall, " + (GetParam() == Engine::mysql ? "`row`" : "row") +
           "));"
           "INSERT INTO docs VALUES (1, 'apple', 3), (2, NULL, NULL);"
           "INSERT INTO people VALUES ('ann', 'Ann', 30, NULL), ('empty', '', 0, ''), ('null', NULL, NULL, NULL);"
           "INSERT INTO seats VALUES ('a', 1, 'x'), ('a', 2, 'y'), ('b', 1, 'z');";
  }

  explicit MissedReads(const std::string& policies = kPolicies) : rig(GetParam(), schema(), policies) {
    const std::string bytes("\r\n$-1\r\n\0\xff", 9);
    model.run({"SET", "doc:1", R"({"id":1,"name":"apple","price":3})"});
    model.run({"SET", "doc:2", R"({"id":2,"name":null,"price":null})"});
    model.run({"HSET", "person:ann", "name", "Ann", "age", "30"});
    model.run({"HSET", "person:empty", "name", "", "age", "0", "note", ""});
    model.run({"SET", "blob:1", bytes});
    model.run({"SET", "blob:2", ""});
    Client proxy(rig.sluice.tcp());
    EXPECT_EQ(proxy.run({"SET", "blob:1", bytes}), "OK");
    EXPECT_EQ(proxy.run({"SET", "blob:2", ""}), "OK");
    for (const char* plain : {"plain:1", "plain:2"}) {
      model.run({"SET", plain, "v"});
      plains.push_back(plain);
    }
  }

  // Nothing is left of what was filled.
  void forget() {
    rig.redis.run({"FLUSHALL"});
    for (const std::string& plain : plains) rig.redis.run({"SET", plain, "v"});
  }
  void expect_as_redis(const Args& command) {
    forget();
    const std::string expected = direct->call(command);
    EXPECT_EQ(proxy->call(command), expected) << testing::PrintToString(command) << " missed";
    EXPECT_EQ(proxy->call(command), expected) << testing::PrintToString(command) << " again";
  }
  void connect(const char* version) {
    direct = std::make_unique<Connection>(model.tcp());
    proxy = std::make_unique<Connection>(rig.sluice.tcp());
    direct->call({"HELLO", version});
    proxy->call({"HELLO", version});
  }

  void expect_reads_of_one_key_as_redis();
  void expect_reads_of_several_keys_as_redis();
  void expect_order_in_a_pipeline();

  EngineRig rig;
  RedisServer model;
  std::vector<std::string> plains;
  std::unique_ptr<Connection> direct, proxy;
};
ON_EVERY_ENGINE(MissedReads);

void MissedReads::expect_reads_of_one_key_as_redis() {
  for (const char* version : {"2", "3"}) {
    connect(version);
    for (const char* key : {"doc:1", "doc:2", "doc:9", "doc:x", "person:ann", "person:empty", "person:null",
                            "person:none", "blob:1", "blob:2", "blob:9"}) {
      for (const char* command : {"GET", "STRLEN", "EXISTS", "TYPE", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "MGET",
                                  "HGETALL", "HKEYS", "HVALS", "HLEN"}) {
        expect_as_redis({command, key});
      }
      for (const char* command : {"HGET", "HMGET", "HEXISTS", "HSTRLEN"}) {
        for (const char* field : {"name", "note", "absent"}) expect_as_redis({command, key, field});
      }
      expect_as_redis({"HMGET", key, "absent", "age", "name", "age"});
    }
  }
}

TEST_P(MissedReads, OfOneKeyReplyAsARedisThatHoldsTheValue) { expect_reads_of_one_key_as_redis(); }

void MissedReads::expect_reads_of_several_keys_as_redis() {
  for (const char* version : {"2", "3"}) {
    connect(version);
    for (const char* command : {"MGET", "EXISTS"}) {
      expect_as_redis({command, "doc:1", "doc:2", "doc:9", "doc:1"});
      expect_as_redis({command, "plain:1", "doc:1", "blob:1", "person:ann", "none", "blob:9", "plain:2", "doc:x"});
      expect_as_redis({command, "none", "plain:1"});
      expect_as_redis({command, "person:ann", "person:none"});
      expect_as_redis({command, "plain:1", "plain:1", "blob:2"});
    }
  }
}

TEST_P(MissedReads, OfSeveralKeysReplyAsARedisThatHoldsTheValues) { expect_reads_of_several_keys_as_redis(); }

TEST_P(MissedReads, ThatRedisRefusesAreRefusedInItsWords) {
  connect("2");
  for (const Args& command :
       std::vector<Args>{{"GET"}, {"HGET", "person:ann"}, {"HMGET", "person:ann"}, {"TTL", "doc:1", "x"}, {"MGET"}}) {
    expect_as_redis(command);
  }
}

TEST_P(MissedReads, OfAnAliasAreThoseOfTheKey) {
  connect("2");
  forget();
  const std::string apple = direct->call({"GET", "doc:1"});
  EXPECT_EQ(proxy->call({"STRLEN", "d/1"}), direct->call({"STRLEN", "doc:1"}));
  EXPECT_EQ(rig.redis.run({"EXISTS", "doc:1", "d/1"}), "(integer) 1");
  forget();
  EXPECT_EQ(proxy->call({"MGET", "d/1", "plain:1", "d/2"}), direct->call({"MGET", "doc:1", "plain:1", "doc:2"}));
  EXPECT_EQ(rig.redis.run({"EXISTS", "doc:1", "doc:2", "d/1"}), "(integer) 2");
}

TEST_P(MissedReads, OfManyKeysAreOneQuery) {
  connect("2");
  forget();
  Args command{"MGET"};
  for (int i = 1; i <= 200; ++i) command.push_back("doc:" + std::to_string(i));
  const double before = rig.sluice.sql_reads();
  EXPECT_EQ(proxy->call(command), direct->call(command));
  EXPECT_EQ(rig.sluice.sql_reads(), before + 1);
  EXPECT_EQ(proxy->call(command), direct->call(command)) << "the rows that there are not are known too";
  EXPECT_EQ(rig.sluice.sql_reads(), before + 1);
}

TEST_P(MissedReads, OfKeysOfSeveralColumnsFindTheirRows) {
  connect("2");
  EXPECT_EQ(proxy->call({"MGET", "seat:b:1", "seat:b:2", "seat:a:1", "seat:a:2"}),
            "*4\r\n$1\r\nz\r\n$-1\r\n$1\r\nx\r\n$1\r\ny\r\n");
}

TEST_P(MissedReads, OfAnExpiryTellThatOfTheCopy) {
  connect("2");
  const std::string reply = proxy->call({"PTTL", "seat:a:1"});
  ASSERT_TRUE(reply.starts_with(':')) << reply;
  EXPECT_GT(std::stoll(reply.substr(1)), 50000);
  EXPECT_LE(std::stoll(reply.substr(1)), 100000);
  const std::string at = rig.redis.run({"PEXPIRETIME", "seat:a:1"});
  EXPECT_EQ("(integer) " + proxy->call({"PEXPIRETIME", "seat:a:1"}).substr(1), at + "\r\n");
}

void MissedReads::expect_order_in_a_pipeline() {
  connect("3");
  const std::vector<Args> commands{{"STRLEN", "doc:1"},
                                   {"PING"},
                                   {"MGET", "doc:2", "plain:1"},
                                   {"GET", "plain:2"},
                                   {"EXISTS", "person:ann", "blob:1", "none"},
                                   {"HGET", "person:ann", "name"},
                                   {"PING"},
                                   {"TTL", "blob:1"},
                                   {"HMGET", "person:ann", "note", "age"},
                                   {"TYPE", "doc:9"}};
  std::string sent, expected;
  for (const Args& command : commands) {
    sent += wire(command);
    expected += direct->call(command);
  }
  proxy->send(sent);
  EXPECT_EQ(proxy->read_replies(commands.size()), expected);
}

TEST_P(MissedReads, InAPipelineReplyInOrder) {
  forget();
  expect_order_in_a_pipeline();
}

TEST_P(MissedReads, SeeNothingOfWhatTheirClientSentAfterThem) {
  connect("2");
  forget();
  const std::string exists = wire({"EXISTS", "doc:1", "plain:9"});
  proxy->send(exists + wire({"SET", "plain:9", "v"}) + exists + wire({"DEL", "plain:9"}) + exists);
  EXPECT_EQ(proxy->read_replies(5), ":1\r\n+OK\r\n:2\r\n:1\r\n:1\r\n");
  EXPECT_EQ(proxy->call({"MGET", "doc:1", "plain:9"}), direct->call({"MGET", "doc:1", "plain:9"}));
}

TEST_P(MissedReads, SeeNothingOfAWriteOfTheirKeysThatFollows) {
  connect("2");
  forget();
  const std::string write = wire({"SET", "doc:9", "v"});
  proxy->send(wire({"EXISTS", "doc:1", "doc:9"}) + write);
  EXPECT_EQ(proxy->read_replies(2), ":1\r\n+OK\r\n");
  forget();
  proxy->send(wire({"GET", "doc:9"}) + write);
  EXPECT_EQ(proxy->read_replies(2), "$-1\r\n+OK\r\n");
  forget();
  proxy->call({"WATCH", "plain:1"});  // a connection of its own
  proxy->send(wire({"STRLEN", "doc:9"}) + wire({"MULTI"}) + write + wire({"EXEC"}));
  EXPECT_EQ(proxy->read_replies(4), ":0\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
}

// Redis tells who has run a read of the key itself; what was stored after that it tells too.
TEST_P(MissedReads, OfAClientThatTracksAreTracked) {
  struct Case {
    const char* mode;
    Args command;
  };
  const std::vector<Case> cases{{"NOLOOP", {"GET", "doc:1"}},
                                {"OPTIN", {"GET", "doc:1"}},
                                {"OPTOUT", {"STRLEN", "doc:1"}},
                                {"NOLOOP", {"MGET", "plain:1", "doc:1", "doc:9"}},
                                {"NOLOOP", {"EXISTS", "doc:1", "none"}}};
  for (const Case& some : cases) {
    connect("3");
    forget();
    proxy->call({"CLIENT", "TRACKING", "ON", some.mode});
    if (some.mode == std::string("OPTIN")) proxy->call({"CLIENT", "CACHING", "YES"});
    EXPECT_EQ(proxy->call(some.command), direct->call(some.command)) << some.command[0];
    proxy->send(wire({"PING"}));
    std::string told = proxy->read_reply();
    while (told != "+PONG\r\n") told = proxy->read_reply();  // of what was stored
    rig.redis.run({"DEL", "doc:1"});
    told = proxy->read_reply();
    EXPECT_TRUE(told.starts_with('>') && told.find("doc:1") != std::string::npos) << some.mode << ": " << told;
  }
}

TEST_P(MissedReads, OfAClientThatTracksKeepTheirPlaceInAPipeline) {
  connect("2");
  forget();
  proxy->call({"CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "nothing"});
  proxy->send(wire({"STRLEN", "doc:1"}) + wire({"MULTI"}) + wire({"PING"}) + wire({"EXEC"}) + wire({"GET", "doc:9"}) +
              wire({"EXISTS", "doc:2", "none"}) + wire({"PING"}));
  EXPECT_EQ(proxy->read_replies(7),
            direct->call({"STRLEN", "doc:1"}) + "+OK\r\n+QUEUED\r\n*1\r\n+PONG\r\n$-1\r\n:1\r\n+PONG\r\n");
}

TEST_P(MissedReads, InsideMultiSeeOnlyRedis) {
  connect("2");
  forget();
  proxy->call({"MULTI"});
  proxy->call({"MGET", "doc:1", "plain:1"});
  proxy->call({"HGET", "person:ann", "name"});
  EXPECT_EQ(proxy->call({"EXEC"}), "*2\r\n*2\r\n$-1\r\n$1\r\nv\r\n$-1\r\n");
}

TEST_P(MissedReads, OfARedisThatIsAnotherProcessAreNotAnsweredFromIt) {
  connect("2");
  forget();
  for (const char* key : {"doc:1", "blob:1", "plain:1"}) rig.redis.run({"SET", key, "old"});
  rig.redis.kill();
  rig.redis.start();
  ASSERT_EQ(rig.redis.run({"GET", "doc:1"}), "old");
  std::string reply;
  EXPECT_TRUE(eventually([&] {
    try {
      reply = Connection(rig.sluice.tcp()).call({"MGET", "doc:1", "plain:1", "blob:1"});
      return !reply.starts_with("-LOADING");
    } catch (const std::exception&) {
      return false;
    }
  }));
  direct->call({"SET", "plain:1", "old"});
  EXPECT_EQ(reply, direct->call({"MGET", "doc:1", "plain:1", "blob:1"}));
}

// Of policies with tables: nothing that Redis holds passes before it is known to be good.
struct CheckedReads : MissedReads {
  CheckedReads() : MissedReads(with_tables()) {}
  static std::string with_tables() {
    const std::string policy = "[[policy]]\n";
    std::string text = kPolicies;
    for (auto at = text.find(policy); at != std::string::npos; at = text.find(policy, at + 1)) {
      text.insert(at + policy.size(), "tables = [\"docs\", \"people\"]\non_redis_down = \"sql\"\n");
    }
    return text;
  }
  double counted(const std::string& what) const {
    return rig.sluice.metric("sluice_policy_" + what + "_total", {"policy=\"docs\""});
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, CheckedReads, testing::Values(Engine::sqlite),
                         [](const auto& engine) { return to_string(engine.param); });

TEST_P(CheckedReads, OfOneKeyReplyAsARedisThatHoldsTheValue) { expect_reads_of_one_key_as_redis(); }

TEST_P(CheckedReads, OfSeveralKeysReplyAsARedisThatHoldsTheValues) { expect_reads_of_several_keys_as_redis(); }

TEST_P(CheckedReads, InAPipelineReplyInOrder) {
  forget();
  expect_order_in_a_pipeline();
  expect_order_in_a_pipeline();  // of what is in Redis now
}

TEST_P(CheckedReads, AreHitsOrMisses) {
  connect("2");
  const double reads = rig.sluice.sql_reads();
  for (const char* command : {"GET", "STRLEN", "TTL", "GET"}) proxy->call({command, "doc:1"});
  EXPECT_EQ(counted("misses"), 1);
  EXPECT_EQ(counted("hits"), 3);
  EXPECT_EQ(rig.sluice.sql_reads(), reads + 1);
}

TEST_P(CheckedReads, SeeNothingOfWhatTheirClientSentAfterThem) {
  connect("2");
  const std::string row = direct->call({"GET", "doc:1"});
  proxy->call({"GET", "doc:1"});
  for (int i = 0; i < 50; ++i) {
    proxy->send(wire({"GET", "doc:1"}) + wire({"DEL", "doc:1"}) + wire({"SET", "doc:1", "x"}) + wire({"DEL", "doc:1"}));
    EXPECT_EQ(proxy->read_replies(4), row + ":1\r\n+OK\r\n:1\r\n");
  }
  proxy->send(wire({"SET", "plain:1", "w"}) + wire({"MGET", "doc:1", "plain:1"}) + wire({"SET", "plain:1", "v"}));
  EXPECT_EQ(proxy->read_replies(3), "+OK\r\n*2\r\n" + row + "$1\r\nw\r\n+OK\r\n");
}

TEST_P(CheckedReads, InsideMultiSeeOnlyRedis) {
  connect("2");
  forget();
  proxy->call({"MULTI"});
  EXPECT_EQ(proxy->call({"GET", "doc:1"}), "+QUEUED\r\n");
  EXPECT_EQ(proxy->call({"GET", "blob:1"}), "+QUEUED\r\n");
  EXPECT_EQ(proxy->call({"EXEC"}), "*2\r\n$-1\r\n$-1\r\n");
}

TEST_P(CheckedReads, WhoseRepliesAreNotWantedGetNone) {
  connect("2");
  proxy->send(wire({"CLIENT", "REPLY", "OFF"}) + wire({"GET", "doc:1"}) + wire({"CLIENT", "REPLY", "ON"}));
  EXPECT_EQ(proxy->read_replies(1), "+OK\r\n");
  proxy->send(wire({"CLIENT", "REPLY", "SKIP"}) + wire({"GET", "doc:1"}) + wire({"GET", "doc:1"}));
  EXPECT_EQ(proxy->read_replies(1), direct->call({"GET", "doc:1"}));
}

TEST_P(CheckedReads, OfWhoMayNotReadTheKeyTellNothing) {
  connect("2");
  rig.redis.run({"ACL", "SETUSER", "bob", "on", ">pw", "~plain:*", "~person:*", "+@all"});
  EXPECT_EQ(proxy->call({"AUTH", "bob", "pw"}), "+OK\r\n");
  const double reads = rig.sluice.sql_reads();
  for (const char* key : {"doc:1", "doc:9", "blob:1"}) {
    for (const Args& command : std::vector<Args>{{"GET", key}, {"EXISTS", key, "plain:1"}, {"MGET", "plain:1", key}}) {
      EXPECT_TRUE(proxy->call(command).starts_with("-NOPERM")) << command[0] << " " << key;
    }
  }
  EXPECT_EQ(rig.sluice.sql_reads(), reads);
  EXPECT_EQ(proxy->call({"HGET", "person:ann", "name"}), "$3\r\nAnn\r\n");
}

TEST_P(CheckedReads, AreAnsweredBySqlWhileRedisIsGone) {
  connect("2");
  const std::string row = direct->call({"GET", "doc:1"});
  EXPECT_EQ(proxy->call({"GET", "doc:1"}), row);
  rig.redis.kill();
  std::string reply;
  EXPECT_TRUE(eventually([&] {
    try {
      reply = Connection(rig.sluice.tcp()).call({"GET", "doc:1"});
      return reply[0] == '$';
    } catch (const std::exception&) {
      return false;
    }
  }));
  EXPECT_EQ(reply, row);
}

TEST(LargeReads, OfKeysOfPoliciesCountAsOutputWhileTheyAreKept) {
  SluiceOptions options;
  options.proxy = "client_output_buffer_limit = \"1mb\"";
  Rig rig(kFruitSchema, kFruitPolicy, options);
  rig.redis.run({"SET", "fruit:1", std::string(900UL << 10, 'x')});
  Connection small(rig.sluice.tcp());
  EXPECT_EQ(small.call({"MGET", "fruit:1", "fruit:8"}).size(), (900UL << 10) + 20);
  small.send(wire({"MGET", "fruit:1", "fruit:1", "fruit:9"}));
  EXPECT_EQ(small.read_to_end(), "");
  EXPECT_EQ(rig.sluice.metric("sluice_clients_closed_output_limit_total"), 1);
}

}  // namespace
}  // namespace sluice::live

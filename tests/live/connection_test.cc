// Connections: clients that share upstream connections do not notice one another, and replies keep their order.
#include <array>
#include <iostream>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

std::string all_schemas() { return std::string(kFruitSchema) + kUsersSchema + kCountersSchema; }
std::string all_policies() { return std::string(kFruitPolicy) + kUsersPolicy + kCountersPolicy; }

struct Connections : testing::Test {
  Rig rig{all_schemas(), all_policies()};
  Connection a{rig.sluice.tcp()};
  Connection b{rig.sluice.tcp()};
};

TEST_F(Connections, ABlockedClientBlocksNobodyElse) {
  a.send(wire({"BLPOP", "queue", "0"}));
  ASSERT_TRUE(eventually([&] {
    return rig.redis.run({"INFO", "clients"}).find("blocked_clients:1") != std::string::npos;
  }));
  EXPECT_EQ(b.call({"SET", "k", "1"}), "+OK\r\n");
  EXPECT_EQ(b.call({"GET", "fruit:1"}).substr(0, 4), "$38\r");
  EXPECT_EQ(b.call({"RPUSH", "queue", "x"}), ":1\r\n");
  EXPECT_EQ(a.read_reply(), "*2\r\n$5\r\nqueue\r\n$1\r\nx\r\n");
  EXPECT_EQ(a.call({"GET", "k"}), "$1\r\n1\r\n");
}

TEST_F(Connections, AnElementIsNotPoppedForAClientThatLeft) {
  a.send(wire({"BLPOP", "queue", "0"}));
  const auto blocked = [&](const char* count) {
    return eventually([&] {
      return rig.redis.run({"INFO", "clients"}).find(std::string("blocked_clients:") + count) != std::string::npos;
    });
  };
  ASSERT_TRUE(blocked("1"));
  a.close();
  ASSERT_TRUE(blocked("0"));
  EXPECT_EQ(b.call({"RPUSH", "queue", "x"}), ":1\r\n");
  EXPECT_EQ(rig.redis.run({"LLEN", "queue"}), "(integer) 1");
}

TEST_F(Connections, TransactionsOfTwoClientsDoNotMix) {
  EXPECT_EQ(a.call({"MULTI"}), "+OK\r\n");
  EXPECT_EQ(b.call({"SET", "k", "b"}), "+OK\r\n");
  EXPECT_EQ(a.call({"SET", "k", "a"}), "+QUEUED\r\n");
  EXPECT_EQ(b.call({"MULTI"}), "+OK\r\n");
  EXPECT_EQ(b.call({"GET", "k"}), "+QUEUED\r\n");
  EXPECT_EQ(rig.redis.run({"GET", "k"}), "b");
  EXPECT_EQ(a.call({"EXEC"}), "*1\r\n+OK\r\n");
  EXPECT_EQ(b.call({"EXEC"}), "*1\r\n$1\r\na\r\n");
}

TEST_F(Connections, AWatchedKeyThatAnotherClientChangesFailsTheExec) {
  EXPECT_EQ(a.call({"WATCH", "k"}), "+OK\r\n");
  EXPECT_EQ(a.call({"MULTI"}), "+OK\r\n");
  EXPECT_EQ(a.call({"SET", "k", "a"}), "+QUEUED\r\n");
  EXPECT_EQ(b.call({"SET", "k", "b"}), "+OK\r\n");
  EXPECT_EQ(a.call({"EXEC"}), "*-1\r\n");
  EXPECT_EQ(b.call({"WATCH", "k"}), "+OK\r\n");
  EXPECT_EQ(b.call({"MULTI"}), "+OK\r\n");
  EXPECT_EQ(b.call({"SET", "k", "c"}), "+QUEUED\r\n");
  EXPECT_EQ(b.call({"EXEC"}), "*1\r\n+OK\r\n");
}

TEST_F(Connections, AClientThatLeavesInsideMultiLeavesNothingBehind) {
  for (int i = 0; i < 20; ++i) {
    Connection leaver(rig.sluice.tcp());
    EXPECT_EQ(leaver.call({"MULTI"}), "+OK\r\n");
    EXPECT_EQ(leaver.call({"SET", "k", "1"}), "+QUEUED\r\n");
    i % 2 == 0 ? leaver.close() : leaver.reset();
    Connection next(rig.sluice.tcp());
    EXPECT_EQ(next.call({"MULTI"}), "+OK\r\n");
    EXPECT_EQ(next.call({"EXEC"}), "*0\r\n");
  }
  EXPECT_EQ(rig.redis.run({"EXISTS", "k"}), "(integer) 0");
}

TEST_F(Connections, APolicyWriteInsideMultiIsRefusedAndTheTransactionWithIt) {
  EXPECT_EQ(a.call({"MULTI"}), "+OK\r\n");
  EXPECT_EQ(a.call({"SET", "plain", "1"}), "+QUEUED\r\n");
  EXPECT_TRUE(a.call({"SET", "user:E", R"({"name":"E"})"}).starts_with("-ERR sluice: "));
  EXPECT_TRUE(a.call({"EXEC"}).starts_with("-EXECABORT"));
  EXPECT_EQ(rig.redis.run({"EXISTS", "plain", "user:E"}), "(integer) 0");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), "0");
  EXPECT_EQ(a.call({"SET", "user:E", R"({"name":"E"})"}), "+OK\r\n");
}

TEST_F(Connections, WritesThatAPolicyDoesNotUnderstandAreRefusedByName) {
  for (const Args& command : std::vector<Args>{{"APPEND", "user:E", "x"},
                                               {"EVAL", "return redis.call('SET',KEYS[1],'x')", "1", "user:E"},
                                               {"RENAME", "plain", "user:E"},
                                               {"INCRBYFLOAT", "counter:t", "1.5"},
                                               {"SWAPDB", "0", "1"}}) {
    EXPECT_TRUE(a.call(command).starts_with("-ERR sluice: ")) << command[0];
  }
  EXPECT_EQ(rig.redis.run({"EXISTS", "user:E", "counter:t"}), "(integer) 0");
}

TEST_F(Connections, ClientsCannotWriteSideKeys) {
  EXPECT_TRUE(a.call({"SET", "__sluice:{x}:x", "1"}).starts_with("-ERR sluice: "));
  EXPECT_TRUE(a.call({"DEL", "__sluice:{x}:x"}).starts_with("-ERR sluice: "));
}

TEST_F(Connections, AMessageReachesItsSubscriber) {
  EXPECT_EQ(a.call({"SUBSCRIBE", "news"}), "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
  EXPECT_EQ(b.call({"PUBLISH", "news", "hello"}), ":1\r\n");
  EXPECT_EQ(a.read_reply(), "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
  EXPECT_EQ(rig.redis.run({"PUBLISH", "news", "direct"}), "(integer) 1");
  EXPECT_EQ(a.read_reply(), "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$6\r\ndirect\r\n");
  EXPECT_EQ(a.call({"UNSUBSCRIBE"}), "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n");
  EXPECT_EQ(a.call({"GET", "fruit:1"}).substr(0, 4), "$38\r");
}

TEST_F(Connections, AMonitorSeesWhatOthersDo) {
  EXPECT_EQ(a.call({"MONITOR"}), "+OK\r\n");
  EXPECT_EQ(b.call({"SET", "k", "seen"}), "+OK\r\n");
  std::string line;
  while (line.find("\"seen\"") == std::string::npos) {
    line = a.read_reply();
    EXPECT_EQ(line[0], '+');
  }
  EXPECT_NE(line.find("\"SET\" \"k\" \"seen\""), std::string::npos);
}

TEST_F(Connections, ASelectedDatabaseIsTheClientsOwnAndHasNoPolicies) {
  EXPECT_EQ(a.call({"SELECT", "1"}), "+OK\r\n");
  EXPECT_EQ(a.call({"GET", "fruit:1"}), "$-1\r\n");
  EXPECT_EQ(a.call({"SET", "user:E", "not json"}), "+OK\r\n");
  EXPECT_EQ(a.call({"INCR", "counter:t"}), ":1\r\n");
  EXPECT_EQ(b.call({"GET", "user:E"}), "$-1\r\n");
  EXPECT_EQ(b.call({"GET", "fruit:1"}).substr(0, 4), "$38\r");
  EXPECT_EQ(rig.sluice.sql_reads(), 2);  // both by b
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), "0");
  EXPECT_EQ(a.call({"SELECT", "0"}), "+OK\r\n");
  EXPECT_EQ(a.call({"GET", "fruit:2"}).substr(0, 4), "$39\r");
}

TEST_F(Connections, Resp3IsTheClientsOwnAndHoldsForPoliciesToo) {
  EXPECT_EQ(a.call({"HELLO", "3"})[0], '%');
  EXPECT_EQ(a.call({"GET", "none"}), "_\r\n");
  EXPECT_EQ(a.call({"GET", "fruit:9"}), "_\r\n");
  EXPECT_EQ(a.call({"SLUICE", "STATUS", "fruit:1"})[0], '%');
  EXPECT_EQ(b.call({"GET", "none"}), "$-1\r\n");
  EXPECT_EQ(b.call({"GET", "fruit:9"}), "$-1\r\n");
  EXPECT_EQ(b.call({"SLUICE", "STATUS", "fruit:1"})[0], '*');
}

TEST_F(Connections, RepliesSwitchedOffAreOffForPoliciesToo) {
  a.send(wire({"CLIENT", "REPLY", "OFF"}) + wire({"SET", "user:E", R"({"name":"E","age":1})"}) +
         wire({"GET", "fruit:1"}) + wire({"SLUICE", "VERSION"}) + wire({"CLIENT", "REPLY", "ON"}) +
         wire({"GET", "user:E"}));
  EXPECT_EQ(a.read_reply(), "+OK\r\n");
  EXPECT_EQ(a.read_reply(), "$20\r\n{\"name\":\"E\",\"age\":1}\r\n");
  EXPECT_EQ(rig.db.query("SELECT name, age FROM users"), "E|1");
}

TEST_F(Connections, ASkippedReplyIsThatOfThePolicysCommandAndNoOther) {
  b.send(wire({"MSET", "k", "1", "l", "2"}));
  EXPECT_EQ(b.read_reply(), "+OK\r\n");
  const Args skip{"CLIENT", "REPLY", "SKIP"};
  for (const Args& command : std::vector<Args>{{"SET", "user:E", R"({"name":"E","age":1})"},
                                               {"APPEND", "user:E", "x"},
                                               {"SLUICE", "VERSION"},
                                               {"GET", "fruit:1"}}) {
    a.send(wire(skip) + wire(command) + wire({"GET", "k"}) + wire({"GET", "l"}));
    EXPECT_EQ(a.read_replies(2), "$1\r\n1\r\n$1\r\n2\r\n") << command[0];
  }
}

TEST_F(Connections, AReadThatIsLoadedIsAnsweredThoughRepliesAreSwitchedOffAfterIt) {
  const Args ping{"PING"}, on{"CLIENT", "REPLY", "ON"};
  ASSERT_EQ(a.call({"WATCH", "w"}), "+OK\r\n");  // a connection of its own, on which nothing waits
  for (const Args& mute : std::vector<Args>{{"CLIENT", "REPLY", "OFF"}, {"CLIENT", "REPLY", "SKIP"}}) {
    a.send(wire({"EXISTS", mute[2] == "OFF" ? "fruit:1" : "fruit:2"}) + wire(mute));
    EXPECT_EQ(a.read_reply(), ":1\r\n") << mute[2];
    a.send(wire(ping) + wire(on));
    EXPECT_EQ(a.read_reply(), "+OK\r\n") << mute[2];
  }
}

TEST_F(Connections, ASluiceCommandSeesTheWritesBeforeItInThePipeline) {
  for (int age = 1; age <= 50; ++age) {
    const std::string value = R"({"name":"E","age":)" + std::to_string(age) + R"(,"occupation":null})";
    a.send(wire({"SET", "user:E", value}) + wire({"SLUICE", "DBGET", "user:E"}));
    EXPECT_EQ(a.read_replies(2), "+OK\r\n$" + std::to_string(value.size()) + "\r\n" + value + "\r\n");
  }
}

TEST_F(Connections, AWholeValueIsReadBackBehindItsWriteInOnePipeline) {
  const std::string value = R"({"name":"E","age":2,"occupation":null})";
  a.send(wire({"GET", "user:E"}) + wire({"SET", "user:E", value}) + wire({"GET", "user:E"}) + wire({"SET", "k", "1"}) +
         wire({"INCR", "k"}) + wire({"GET", "user:E"}));
  const std::string bulk = "$" + std::to_string(value.size()) + "\r\n" + value + "\r\n";
  EXPECT_EQ(a.read_replies(6), "$-1\r\n+OK\r\n" + bulk + "+OK\r\n:2\r\n" + bulk);
}

TEST(Listeners, TcpAndUnixSocketServeTheSameData) {
  Rig rig(all_schemas(), all_policies());
  EXPECT_EQ(Connection(rig.sluice.tcp()).call({"SET", "k", "1"}), "+OK\r\n");
  EXPECT_EQ(Connection(rig.sluice.unix_socket()).call({"GET", "k"}), "$1\r\n1\r\n");
  EXPECT_EQ(Connection(rig.sluice.unix_socket()).call({"GET", "fruit:1"}).substr(0, 4), "$38\r");
}

TEST(Listeners, RedisBehindAUnixSocketServesToo) {
  RedisServer redis;
  SluiceOptions options;
  options.upstream = "unix:" + redis.unix_socket().path;
  Sluice sluice(options);
  EXPECT_EQ(sluice.run({"SET", "k", "1"}), "OK");
  EXPECT_EQ(redis.run({"GET", "k"}), "1");
}

TEST(Listeners, OneClientTooManyIsTurnedAwayAsRedisDoes) {
  SluiceOptions options;
  options.proxy = "max_clients = 2";
  Rig rig(all_schemas(), all_policies(), options);
  {
    std::array<std::unique_ptr<Connection>, 2> clients;
    for (auto& client : clients) {  // those of the harness may not have been seen to leave
      ASSERT_TRUE(eventually([&] {
        client = std::make_unique<Connection>(rig.sluice.tcp());
        return client->call({"PING"}) == "+PONG\r\n";
      }));
    }
    EXPECT_EQ(Connection(rig.sluice.tcp()).read_to_end(), "-ERR max number of clients reached\r\n");
    EXPECT_EQ(clients[0]->call({"PING"}), "+PONG\r\n");
  }
  EXPECT_TRUE(eventually([&] { return rig.sluice.run({"PING"}) == "PONG"; }));
}

// --- mixed pipelines ----------------------------------------------------------------------------------------------

struct Expected {
  std::string command, reply;
};

// Commands of one client on keys that nobody else uses, with the replies they must get.
std::vector<Expected> mixed_pipeline(std::mt19937& random, int client, int commands) {
  const std::string own = std::to_string(client);
  std::vector<Expected> list;
  std::string value;
  long plain = 0;
  long counted = 0;
  const auto bulk = [](const std::string& text) {
    return text.empty() ? "$-1\r\n" : "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
  };
  for (int i = 0; i < commands; ++i) {
    const std::string number = std::to_string(i);
    switch (random() % 9) {
      case 0:
        value = R"({"name":"c)" + own + R"(","age":)" + number + R"(,"occupation":null})";
        list.push_back({wire({"SET", "user:c" + own, value}), "+OK\r\n"});
        break;
      case 1:
        list.push_back({wire({"GET", "user:c" + own}), bulk(value)});
        break;
      case 2:
        list.push_back({wire({"INCR", "counter:c" + own}), ":" + std::to_string(++counted) + "\r\n"});
        break;
      case 3:
        list.push_back({wire({"GET", "fruit:1"}), bulk(R"({"id":1,"name":"apple","quantity":100})")});
        break;
      case 4:
        list.push_back({wire({"GET", "fruit:" + std::to_string(1000 + i)}), "$-1\r\n"});
        break;
      case 5:
        list.push_back({wire({"INCR", "plain:" + own}), ":" + std::to_string(++plain) + "\r\n"});
        break;
      case 6:
        list.push_back({wire({"SET", "user:c" + own, "not json"}), "-ERR sluice: "});
        break;
      case 7:
        list.push_back({wire({"MULTI"}) + wire({"INCR", "plain:" + own}) + wire({"EXEC"}),
                        "+OK\r\n+QUEUED\r\n*1\r\n:" + std::to_string(++plain) + "\r\n"});
        break;
      default:
        list.push_back({wire({"ECHO", own + ":" + number}), bulk(own + ":" + number)});
    }
  }
  return list;
}

void run_mixed(const Sluice& sluice, unsigned seed, int client) {
  std::mt19937 random(seed);
  Connection connection(sluice.tcp());
  const std::vector<Expected> list = mixed_pipeline(random, client, 400);
  std::string all;
  for (const Expected& expected : list) {
    all += expected.command;
  }
  for (std::string_view rest = all; !rest.empty();) {
    const std::size_t size = std::min<std::size_t>(1 + random() % 4000, rest.size());
    connection.send(rest.substr(0, size));
    rest.remove_prefix(size);
  }
  for (const Expected& expected : list) {
    std::string reply;
    while (reply.size() < expected.reply.size()) {
      reply += connection.read_reply();
    }
    ASSERT_EQ(reply.substr(0, expected.reply.size()), expected.reply)
        << "SLUICE_SEED=" << seed << " for " << expected.command;
  }
}

void run_mixed_clients(const Sluice& sluice) {
  const char* given = std::getenv("SLUICE_SEED");
  const unsigned seed =
      given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
  std::cout << "SLUICE_SEED=" << seed << "\n";
  std::vector<std::thread> clients;
  for (int client = 0; client < 8; ++client) {
    clients.emplace_back(
        [&, client] { EXPECT_NO_THROW(run_mixed(sluice, seed + static_cast<unsigned>(client), client)); });
  }
  for (std::thread& client : clients) {
    client.join();
  }
}

TEST(MixedPipelines, RepliesComeInOrderOverForwardsMissesAndWrites) {
  Rig rig(all_schemas(), all_policies());
  run_mixed_clients(rig.sluice);
}

TEST(MixedPipelines, RepliesComeInOrderOnTwoLoops) {
  SluiceOptions options;
  options.loops = 2;
  Rig rig(all_schemas(), all_policies(), options);
  run_mixed_clients(rig.sluice);
}

}  // namespace
}  // namespace sluice::live

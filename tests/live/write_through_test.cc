// Write-through from outside, on every database: hostile and broken input, several proxies, the rules of one
// connection.
#include <atomic>
#include <thread>

#include "engines.h"

namespace sluice::live {
namespace {

constexpr const char* kNotes = R"(
[[policy]]
name = "notes"
key = "note:{id}"
alias = "memo:{id}"
backend = "shop"
table = "notes"
value = "hash"
columns = ["title", "stars"]
write = "write-through"

[[policy]]
name = "blobs"
key = "blob:{id:int}"
backend = "shop"
table = "blobs"
value = "raw"
column = "body"
write = "write-through"
)";

struct WrittenThrough : OnEveryEngine {
  static std::string schema() {
    const Dialect dialect(GetParam());
    return "CREATE TABLE notes(id " + dialect.key_text() +
           " PRIMARY KEY, title VARCHAR(191), stars INTEGER);"
           "CREATE TABLE blobs(id INTEGER PRIMARY KEY, body " +
           dialect.bytes() + ");";
  }
  EngineRig rig{GetParam(), schema(), kNotes};
  Client proxy{rig.sluice.tcp()};
};
ON_EVERY_ENGINE(WrittenThrough);

// --- Hostile and broken input ---------------------------------------------------------------------------------------

TEST_P(WrittenThrough, SqlInKeysFieldsAndValuesIsOnlyText) {
  const std::vector<std::string> attacks{
      "'; DROP TABLE notes; --", "\" OR \"\"=\"", "\\'; DROP TABLE notes; #", "1 OR 1=1", "`id`", "$1", "?", "%s", "/*",
      "x' UNION SELECT 1 --"};
  for (const std::string& attack : attacks) {
    EXPECT_EQ(proxy.run({"HSET", "note:" + attack, "title", attack}), "(integer) 1") << attack;
    EXPECT_EQ(proxy.run({"HGETALL", "note:" + attack}), "[title, " + attack + "]");
    rig.redis.run({"DEL", "note:" + attack});
    EXPECT_EQ(proxy.run({"HGETALL", "note:" + attack}), "[title, " + attack + "]") << "from SQL";
    EXPECT_TRUE(proxy.run({"HSET", "note:x", attack, "1"}).starts_with("(error) ERR sluice: ")) << attack;
  }
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM notes"), std::to_string(attacks.size()));
}

TEST_P(WrittenThrough, SixteenMegabytesOfAnyBytesComeBackAsTheyWere) {
  std::string body(16 << 20, 'x');
  for (std::size_t i = 0; i < body.size(); i += 1021) body[i] = static_cast<char>(i % 256);
  const std::string reply = proxy.run({"SET", "blob:1", body});
  if (GetParam() == Engine::mysql && reply != "OK") {  // its max_allowed_packet
    EXPECT_TRUE(reply.starts_with("(error) SQLREJECT ")) << reply;
    EXPECT_EQ(rig.redis.run({"EXISTS", "blob:1"}), "(integer) 0");
    return;
  }
  EXPECT_EQ(reply, "OK");
  rig.redis.run({"DEL", "blob:1"});
  EXPECT_TRUE(proxy.run({"GET", "blob:1"}) == body);
  EXPECT_EQ(proxy.run({"PING"}), "PONG");
}

TEST_P(WrittenThrough, TextThatTheDatabaseCannotHoldIsRefusedAndNothingIsCached) {
  const std::string long_text(200, 'a');
  for (const std::string& text : {std::string("a\0b", 3), std::string("\xff\xfe")}) {
    EXPECT_TRUE(proxy.run({"HSET", "note:1", "title", text}).starts_with("(error) ERR sluice: "));
  }
  if (GetParam() != Engine::sqlite) {  // which has no limit
    EXPECT_TRUE(proxy.run({"HSET", "note:1", "title", long_text}).starts_with("(error) SQLREJECT 22001 "));
  }
  EXPECT_TRUE(proxy.run({"HSET", "note:1", "stars", "99999999999999999999"}).starts_with("(error) ERR sluice: "));
  EXPECT_EQ(rig.redis.run({"EXISTS", "note:1"}), "(integer) 0");
  EXPECT_EQ(proxy.run({"HSET", "note:1", "title", "ok"}), "(integer) 1");
}

TEST_P(WrittenThrough, AMissingTableIsAnErrorThatNamesItAndAppearsWhenItDoes) {
  rig.db.exec("DROP TABLE notes");
  const std::string error = proxy.run({"HSET", "note:1", "title", "x"});
  EXPECT_TRUE(error.starts_with("(error) ERR sluice: ")) << error;
  EXPECT_NE(error.find("notes"), std::string::npos) << error;
  EXPECT_EQ(proxy.run({"SET", "blob:1", "x"}), "OK");
  rig.db.exec(schema().substr(0, schema().find(';')));
  EXPECT_TRUE(eventually([&] { return proxy.run({"HSET", "note:1", "title", "x"}) == "(integer) 1"; }));
}

TEST_P(WrittenThrough, ABadRowAmongManyFailsOnlyItsOwnClient) {
  std::string pipeline;
  for (int i = 0; i < 100; ++i) {
    const std::string key = "note:" + std::to_string(i);
    const std::string title = i == 50 && GetParam() != Engine::sqlite ? std::string(200, 'a') : "t";
    pipeline += "*4\r\n$4\r\nHSET\r\n$" + std::to_string(key.size()) + "\r\n" + key + "\r\n$5\r\ntitle\r\n$" +
                std::to_string(title.size()) + "\r\n" + title + "\r\n";
  }
  Connection connection(rig.sluice.tcp());
  connection.send(pipeline);
  for (int i = 0; i < 100; ++i) {
    const std::string reply = connection.read_reply();
    if (i == 50 && GetParam() != Engine::sqlite) {
      EXPECT_TRUE(reply.starts_with("-SQLREJECT 22001")) << reply;
    } else {
      EXPECT_EQ(reply, ":1\r\n") << i;
    }
  }
}

// --- Several proxies ------------------------------------------------------------------------------------------------

TEST_P(WrittenThrough, OfManyWhoSetnxThroughTwoProxiesOneWins) {
  const auto other = rig.second();
  for (int round = 0; round < 10; ++round) {
    std::atomic<int> winners{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] {
        Client client(i % 2 == 0 ? rig.sluice.tcp() : other->tcp());
        const std::string reply = client.run({"SETNX", "blob:" + std::to_string(round), std::to_string(i)});
        if (reply == "(integer) 1") ++winners;
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(winners, 1);
    const std::string key = "blob:" + std::to_string(round);
    const std::string through = proxy.run({"GET", key});
    EXPECT_EQ(Client(other->tcp()).run({"GET", key}), through);
  }
}

TEST_P(WrittenThrough, IncrementsThroughTwoProxiesAreAllCounted) {
  const auto other = rig.second();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      Client client(i % 2 == 0 ? rig.sluice.tcp() : other->tcp());
      for (int n = 0; n < 25; ++n) {
        EXPECT_TRUE(client.run({"HINCRBY", "note:x", "stars", "1"}).starts_with("(integer) "));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(rig.db.query("SELECT stars FROM notes WHERE id = 'x'"), "100");
  EXPECT_EQ(proxy.run({"HGETALL", "note:x"}), "[stars, 100]");
}

// --- The rules of one connection ------------------------------------------------------------------------------------

struct OneConnection : WrittenThrough {
  // Sent in one go; the replies, without their line ends.
  std::vector<std::string> pipeline(const std::vector<Args>& commands) {
    Connection connection(rig.sluice.tcp());
    std::string wire;
    for (const Args& command : commands) {
      wire += "*" + std::to_string(command.size()) + "\r\n";
      for (const std::string& arg : command) wire += "$" + std::to_string(arg.size()) + "\r\n" + arg + "\r\n";
    }
    connection.send(wire);
    std::vector<std::string> replies;
    for (std::size_t i = 0; i < commands.size(); ++i) replies.push_back(connection.read_reply());
    return replies;
  }
  using Replies = std::vector<std::string>;
};
ON_EVERY_ENGINE(OneConnection);

TEST_P(OneConnection, AnExpireAfterASetIsAboutTheNewValue) {
  EXPECT_EQ(pipeline({{"SET", "blob:1", "a"}, {"EXPIRE", "blob:1", "1000"}, {"TTL", "blob:1"}, {"GET", "blob:1"}}),
            (Replies{"+OK\r\n", ":1\r\n", ":1000\r\n", "$1\r\na\r\n"}));
}

TEST_P(OneConnection, APublishAfterASetComesWhenTheValueIsThere) {
  Connection subscriber(rig.redis.tcp());
  subscriber.send("*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nnews\r\n");
  subscriber.read_reply();
  std::thread writer([&] {
    for (int i = 0; i < 30; ++i) {
      pipeline({{"SET", "blob:2", std::to_string(i)}, {"PUBLISH", "news", std::to_string(i)}});
    }
  });
  for (int i = 0; i < 30; ++i) {
    const std::string message = subscriber.read_reply();
    EXPECT_NE(message.find("\r\n" + std::to_string(i) + "\r\n"), std::string::npos) << message;
    EXPECT_GE(std::stoi(rig.db.query(Dialect(GetParam()).engine == Engine::postgresql
                                         ? "SELECT convert_from(body, 'UTF8') FROM blobs WHERE id = 2"
                                         : "SELECT CAST(body AS CHAR) FROM blobs WHERE id = 2")),
              i);
  }
  writer.join();
}

TEST_P(OneConnection, ASetAfterAMissedGetIsNotOverwrittenByTheFill) {
  rig.db.exec("INSERT INTO notes VALUES ('m', 'old', 1)");
  for (int i = 0; i < 20; ++i) {
    const std::string title = "t" + std::to_string(i);
    rig.redis.run({"DEL", "note:m"});
    const Replies replies =
        pipeline({{"HGETALL", "note:m"}, {"HSET", "note:m", "title", title}, {"HGETALL", "note:m"}});
    EXPECT_NE(replies[2].find("\r\n" + title + "\r\n"), std::string::npos) << replies[2];
    EXPECT_EQ(replies[0].find("\r\n" + title + "\r\n"), std::string::npos) << replies[0];
  }
}

TEST_P(OneConnection, TwoNamesOfOneRowAreOneRow) {
  EXPECT_EQ(pipeline({{"HSET", "note:a", "stars", "1"},
                      {"HINCRBY", "memo:a", "stars", "5"},
                      {"HSET", "note:a", "title", "t"},
                      {"HGETALL", "memo:a"}}),
            (Replies{":1\r\n", ":6\r\n", ":1\r\n", "*4\r\n$5\r\ntitle\r\n$1\r\nt\r\n$5\r\nstars\r\n$1\r\n6\r\n"}));
  EXPECT_EQ(rig.db.query("SELECT * FROM notes"), "a|t|6");
}

TEST_P(OneConnection, ATransactionRefusesPolicyWritesAndSeesEarlierOnes) {
  const Replies replies =
      pipeline({{"SET", "blob:1", "a"}, {"MULTI"}, {"GET", "blob:1"}, {"SET", "other", "1"}, {"EXEC"}});
  EXPECT_EQ(replies[4], "*2\r\n$1\r\na\r\n+OK\r\n");
  const Replies refused = pipeline({{"MULTI"}, {"SET", "blob:1", "b"}, {"EXEC"}});
  EXPECT_TRUE(refused[1].starts_with("-ERR sluice: SET inside MULTI not supported")) << refused[1];
  EXPECT_TRUE(refused[2].starts_with("-EXECABORT ")) << refused[2];
}

TEST_P(OneConnection, AnotherDatabaseHasNoPolicies) {
  EXPECT_EQ(pipeline({{"SELECT", "1"}, {"SET", "blob:7", "x"}, {"GET", "blob:7"}, {"SELECT", "0"}, {"GET", "blob:7"}}),
            (Replies{"+OK\r\n", "+OK\r\n", "$1\r\nx\r\n", "+OK\r\n", "$-1\r\n"}));
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM blobs"), "0");
}

TEST_P(OneConnection, ATrackingClientIsToldOfAWriteByAnother) {
  proxy.run({"SET", "blob:1", "a"});
  Connection tracker(rig.sluice.tcp());
  tracker.send(
      "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*3\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$2\r\nON\r\n"
      "*2\r\n$3\r\nGET\r\n$6\r\nblob:1\r\n");
  tracker.read_reply();
  EXPECT_EQ(tracker.read_reply(), "+OK\r\n");
  EXPECT_EQ(tracker.read_reply(), "$1\r\na\r\n");
  proxy.run({"SET", "blob:1", "b"});
  EXPECT_NE(tracker.read_reply().find("invalidate"), std::string::npos);
}

TEST_P(OneConnection, SeveralKeysAreOneTransaction) {
  EXPECT_EQ(pipeline({{"MSET", "blob:1", "a", "blob:2", "b"}, {"MGET", "blob:1", "blob:2"}}),
            (Replies{"+OK\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"}));
  EXPECT_EQ(pipeline({{"MSETNX", "blob:3", "c", "blob:2", "d"}})[0], ":0\r\n");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM blobs"), "2");
}

}  // namespace
}  // namespace sluice::live

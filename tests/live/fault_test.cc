// Faults: garbage, broken connections, Redis killed, SQLite locked or full: the right error, and nothing that is
// acknowledged is missing.
#include <array>
#include <atomic>
#include <csignal>
#include <random>
#include <sched.h>
#include <sys/mount.h>
#include <thread>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

struct Faults : testing::Test {
  Rig rig{std::string(kFruitSchema) + kUsersSchema + kCountersSchema,
          std::string(kFruitPolicy) + kUsersPolicy + kCountersPolicy};
};

std::string user(const std::string& name, int age) {
  return R"({"name":")" + name + R"(","age":)" + std::to_string(age) + R"(,"occupation":"x"})";
}

// --- clients that misbehave -----------------------------------------------------------------------------------------

TEST_F(Faults, GarbageHurtsOnlyItsSender) {
  std::mt19937 random(7);
  for (int i = 0; i < 200; ++i) {
    Connection garbage(rig.sluice.tcp());
    std::string bytes(1 + random() % 3000, '\0');
    for (char& byte : bytes) {
      byte = static_cast<char>(random());
    }
    garbage.send((i % 2 == 0 ? "*3\r\n" : "") + bytes);
    garbage.read_available();
  }
  EXPECT_EQ(rig.sluice.run({"SET", "user:E", user("E", 1)}), "OK");
  EXPECT_EQ(rig.db.query("SELECT age FROM users"), "1");
}

TEST_F(Faults, ABulkOf600MbIsRefusedAtItsHeader) {
  for (const char* key : {"$5\r\nplain\r\n", "$6\r\nuser:E\r\n"}) {
    Connection client(rig.sluice.tcp());
    client.send("*3\r\n$3\r\nSET\r\n" + std::string(key) + "$629145600\r\n");
    EXPECT_EQ(client.read_to_end(), "-ERR Protocol error: invalid bulk length\r\n");
  }
}

TEST_F(Faults, AClientThatDiesMidCommandLeavesNothing) {
  const std::string write = wire({"SET", "user:E", user("E", 1)});
  for (std::size_t cut = 1; cut < write.size(); cut += 3) {
    Connection client(rig.sluice.tcp());
    client.send(wire({"PING"}) + write.substr(0, cut));
    EXPECT_EQ(client.read_reply(), "+PONG\r\n");
    cut % 2 == 0 ? client.close() : client.reset();
  }
  EXPECT_EQ(rig.sluice.run({"GET", "user:E"}), "(nil)");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), "0");
}

TEST_F(Faults, RepliesOfAClientThatLeftReachNobodyElse) {
  for (int i = 0; i < 50; ++i) {
    Connection leaver(rig.sluice.tcp());
    std::string many;
    for (int n = 0; n < 200; ++n) {
      many += wire({"ECHO", "old"}) + wire({"GET", "fruit:1"}) + wire({"SET", "user:L", user("L", n)});
    }
    leaver.send(many);
    i % 2 == 0 ? leaver.close() : leaver.reset();
    Connection next(rig.sluice.tcp());
    EXPECT_EQ(next.call({"ECHO", "new"}), "$3\r\nnew\r\n");
    EXPECT_EQ(next.call({"GET", "fruit:9"}), "$-1\r\n");
  }
}

// --- Redis that goes away ----------------------------------------------------------------------------------------

TEST_F(Faults, WithoutRedisTheErrorIsOneThatClientsRetry) {
  rig.redis.kill();
  ASSERT_TRUE(eventually([&] { return rig.sluice.get("/readyz").status != 200; }));
  for (const Args& command :
       std::vector<Args>{{"GET", "plain"}, {"SET", "user:E", user("E", 1)}, {"INCR", "counter:t"}}) {
    Connection client(rig.sluice.tcp());
    client.send(wire(command));
    EXPECT_TRUE(client.read_to_end().starts_with("-LOADING sluice: upstream unavailable")) << command[0];
  }
  EXPECT_EQ(rig.sluice.get("/livez").status, 200);
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), "0");
  rig.redis.start();
  EXPECT_TRUE(eventually([&] { return rig.sluice.run({"SET", "user:E", user("E", 1)}) == "OK"; }));
  EXPECT_TRUE(eventually([&] { return rig.sluice.get("/readyz").status == 200; }));
}

// Longer than the second after which rights are looked up again, which cannot be done now.
TEST(FaultsOfReads, WithoutRedisSqlAnswersForAsLongAsItTakes) {
  Rig rig(kFruitSchema, kFruitPolicy);
  const std::string apple = R"({"id":1,"name":"apple","quantity":100})";
  Client client(rig.sluice.tcp());
  EXPECT_EQ(client.run({"GET", "fruit:1"}), apple);
  ASSERT_TRUE(eventually([&] { return rig.sluice.get("/readyz").status == 200; }));
  rig.redis.kill();
  ASSERT_TRUE(eventually([&] { return rig.sluice.get("/readyz").status != 200; }));
  for (const auto end = std::chrono::steady_clock::now() + milliseconds(2500);
       std::chrono::steady_clock::now() < end;) {
    ASSERT_EQ(client.run({"GET", "fruit:1"}), apple);
  }
  EXPECT_EQ(Client(rig.sluice.tcp()).run({"GET", "fruit:2"}), R"({"id":2,"name":"orange","quantity":200})");
}

// One closed-loop client; tells what was acknowledged last.
struct Writer {
  std::string name;
  std::atomic<int> acknowledged{0};
  void run(const Sluice& sluice, const std::atomic<bool>& stop) {
    for (int n = 1; !stop;) {
      try {
        Connection client(sluice.tcp());
        while (!stop) {
          const std::string plain = client.call({"SET", "plain:" + name, std::to_string(n)});
          const std::string row = client.call({"SET", "user:" + name, user(name, n)});
          const std::string count = client.call({"INCR", "counter:" + name});
          const bool fine = plain == "+OK\r\n" && row == "+OK\r\n" && count[0] == ':';
          if (fine) {
            acknowledged = n;
          }
          ++n;
          const std::string answers = plain + row + count;
          ASSERT_TRUE(fine || answers.find("-LOADING sluice: ") != std::string::npos ||
                      answers.find("-TRYAGAIN sluice: ") != std::string::npos ||
                      answers.find("-SQLUNKNOWN") != std::string::npos)
              << answers;
        }
      } catch (const std::exception&) {
        // Closed, as Redis itself would when it dies: connect again.
      }
    }
  }
};

TEST_F(Faults, RedisKilledAndRestartedMidTrafficLosesNothingAcknowledged) {
  std::atomic<bool> stop{false};
  std::array<Writer, 4> writers;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < writers.size(); ++i) {
    writers[i].name = "w" + std::to_string(i);
    threads.emplace_back([&, i] { writers[i].run(rig.sluice, stop); });
  }
  const auto progress = [&] {
    std::array<int, 4> before{};
    for (std::size_t i = 0; i < writers.size(); ++i) {
      before[i] = writers[i].acknowledged;
    }
    return eventually([&] {
      for (std::size_t i = 0; i < writers.size(); ++i) {
        if (writers[i].acknowledged < before[i] + 20) {
          return false;
        }
      }
      return true;
    });
  };
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(progress());
    rig.redis.process().signal(SIGKILL);
    rig.redis.kill();
    rig.redis.start();
  }
  EXPECT_TRUE(progress());
  stop = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
  rig.sluice.run({"SLUICE", "SYNC", "counter"});
  for (const Writer& writer : writers) {
    const int acknowledged = writer.acknowledged;
    EXPECT_GE(std::stoi(rig.redis.run({"GET", "plain:" + writer.name})), acknowledged);
    EXPECT_GE(std::stoi(rig.db.query("SELECT age FROM users WHERE name = '" + writer.name + "'")), acknowledged);
    EXPECT_GE(std::stoi(rig.redis.run({"GET", "counter:" + writer.name})), 1);
    EXPECT_EQ(rig.db.query("SELECT Value FROM Counters WHERE Id = '" + writer.name + "'"),
              rig.redis.run({"GET", "counter:" + writer.name}));
    const std::string cached = rig.sluice.run({"GET", "user:" + writer.name});
    EXPECT_EQ(cached,
              user(writer.name, std::stoi(rig.db.query("SELECT age FROM users WHERE name = '" + writer.name + "'"))));
  }
}

// --- SQLite that is locked, full or missing -------------------------------------------------------------------------

TEST_F(Faults, ALockedDatabaseRefusesWritesAndHoldsUpNobodyElse) {
  EXPECT_EQ(rig.sluice.run({"SET", "user:E", user("E", 1)}), "OK");
  rig.db.exec("BEGIN IMMEDIATE");
  Connection writer(rig.sluice.tcp());
  Connection other(rig.sluice.tcp());
  writer.send(wire({"SET", "user:E", user("E", 2)}) + wire({"SET", "plain", "behind"}));
  EXPECT_EQ(other.call({"SET", "plain:1", "x"}), "+OK\r\n");
  EXPECT_EQ(other.call({"GET", "fruit:1"}).substr(0, 4), "$38\r");
  EXPECT_EQ(other.call({"PING"}), "+PONG\r\n");
  writer.read_available();
  EXPECT_EQ(writer.pending(), "");  // still waiting for the lock
  EXPECT_TRUE(writer.read_reply().starts_with("-TRYAGAIN sluice: "));
  EXPECT_EQ(writer.read_reply(), "+OK\r\n");
  rig.db.exec("COMMIT");
  EXPECT_EQ(rig.db.query("SELECT age FROM users"), "1");
  EXPECT_EQ(rig.sluice.run({"GET", "user:E"}), user("E", 1));
  EXPECT_TRUE(eventually([&] { return rig.sluice.run({"SET", "user:E", user("E", 3)}) == "OK"; }));
  EXPECT_EQ(rig.db.query("SELECT age FROM users"), "3");
}

TEST_F(Faults, CountersGoOnWhileTheDatabaseIsLockedAndCatchUp) {
  Client proxy(rig.sluice.tcp());
  EXPECT_EQ(proxy.run({"INCR", "counter:t"}), "(integer) 1");
  proxy.run({"SLUICE", "SYNC", "counter:t"});
  rig.db.exec("BEGIN IMMEDIATE");
  for (int i = 2; i <= 500; ++i) {
    EXPECT_EQ(proxy.run({"INCR", "counter:t"}), "(integer) " + std::to_string(i));
  }
  rig.db.exec("COMMIT");
  EXPECT_TRUE(eventually([&] { return rig.db.query("SELECT Value FROM Counters") == "500"; }));
}

TEST_F(Faults, AMissingTableIsAnErrorUntilItIsThere) {
  rig.db.exec("ALTER TABLE users RENAME TO gone");
  EXPECT_TRUE(rig.sluice.run({"SET", "user:E", user("E", 1)}).starts_with("(error) "));
  EXPECT_EQ(rig.redis.run({"EXISTS", "user:E"}), "(integer) 0");
  rig.db.exec("ALTER TABLE gone RENAME TO users");
  EXPECT_TRUE(eventually([&] { return rig.sluice.run({"SET", "user:E", user("E", 1)}) == "OK"; }));
}

// The folder of the database on a file system of one megabyte, in a mount namespace of this test's own.
TEST(FullDisk, NothingIsAcknowledgedThatIsNotThere) {
  TempDir dir;
  const std::string path = dir.file("small");
  ASSERT_EQ(run({"/bin/mkdir", path}).status, 0);
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("none", path.c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "may not mount a file system here";
  }
  {
    RedisServer redis;
    Database db(path + "/shop.db");
    db.exec("PRAGMA journal_mode = WAL");
    db.exec("CREATE TABLE kv(id TEXT PRIMARY KEY, v BLOB)");
    SluiceOptions options;
    options.upstream = redis.url();
    options.policies = "[backend.shop]\nurl = \"sqlite:" + db.path() + R"("
[[policy]]
name = "kv"
key = "kv:{id}"
backend = "shop"
table = "kv"
value = "raw"
column = "v"
write = "write-through"
)";
    Sluice sluice(options);
    Client proxy(sluice.tcp());
    int stored = 0;
    std::string answer = "OK";
    while (answer == "OK" && stored < 100) {
      answer = proxy.run({"SET", "kv:" + std::to_string(stored), std::string(50000, 'x')});
      stored += answer == "OK" ? 1 : 0;
    }
    EXPECT_TRUE(answer.starts_with("(error) TRYAGAIN sluice: ")) << answer;
    EXPECT_GT(stored, 0);
    EXPECT_EQ(redis.run({"EXISTS", "kv:" + std::to_string(stored)}), "(integer) 0");
    EXPECT_EQ(db.query("SELECT COUNT(*), SUM(length(v)) FROM kv"),
              std::to_string(stored) + "|" + std::to_string(50000 * stored));
    EXPECT_EQ(proxy.run({"GET", "kv:0"}), std::string(50000, 'x'));
    EXPECT_EQ(db.query("PRAGMA integrity_check"), "ok");
  }
  umount(path.c_str());
}

}  // namespace
}  // namespace sluice::live

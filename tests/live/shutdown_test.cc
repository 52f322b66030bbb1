// Shutdown: SIGTERM finishes what is in flight, flushes, and exits with 0.
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <thread>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

std::string flushed_on_demand() {
  std::string policy = kCountersPolicy;
  return policy.replace(policy.find("\"1s\""), 4, "\"1h\"");
}

TEST(Shutdown, SigtermFlushesCountersAndExitsWithZero) {
  Rig rig(kCountersSchema, flushed_on_demand());
  Connection client(rig.sluice.tcp());
  std::string increments;
  for (int i = 0; i < 1000; ++i) {
    increments += wire({"INCR", "counter:" + std::to_string(i)});
  }
  client.send(increments + increments);
  // On a slow machine a counter may not be loaded in time: then its increment is refused and must not count.
  const auto answers = replies(client.read_replies(2000));
  const auto counted = std::count_if(answers.begin(), answers.end(), [](const std::string& r) { return r[0] == ':'; });
  EXPECT_GT(counted, 1000);
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM Counters"), "0");
  EXPECT_EQ(rig.sluice.stop(), 0);
  EXPECT_EQ(rig.db.query("SELECT SUM(Value) FROM Counters"), std::to_string(counted));
}

TEST(Shutdown, CountersThatCannotBeFlushedAreToldByTheExitCode) {
  SluiceOptions options;
  options.proxy = "shutdown_timeout = \"1s\"";
  Rig rig(kCountersSchema, flushed_on_demand(), options);
  EXPECT_EQ(rig.sluice.run({"INCR", "counter:t"}), "(integer) 1");
  rig.db.exec("BEGIN IMMEDIATE");
  EXPECT_EQ(rig.sluice.stop(), 1);
  EXPECT_NE(rig.sluice.log().find("not yet in SQL"), std::string::npos);
  rig.db.exec("COMMIT");
}

// The commands of one client run one after the other, so their number in Redis is the number of replies it is owed.
TEST(Shutdown, UnderTrafficNoReplyIsLost) {
  Rig rig(std::string(kUsersSchema) + kCountersSchema, std::string(kUsersPolicy) + flushed_on_demand());
  constexpr int kClients = 6;
  std::array<std::atomic<int>, kClients> answered{};
  std::vector<std::thread> threads;
  for (int c = 0; c < kClients; ++c) {
    threads.emplace_back([&, c] {
      const std::string key = (c % 2 == 0 ? "plain:" : "counter:") + std::to_string(c);
      std::string burst;
      for (int i = 0; i < 16; ++i) {
        burst += wire({"INCR", key});
      }
      try {
        Connection client(rig.sluice.tcp());
        for (bool open = true; open;) {
          open = client.send(burst);
          for (int i = 0; i < 16; ++i) {
            if (client.read_reply()[0] == ':') {
              ++answered[static_cast<std::size_t>(c)];
            }
          }
        }
      } catch (const std::exception&) {
        // Closed: what was answered is counted.
      }
    });
  }
  EXPECT_TRUE(eventually(
      [&] { return std::all_of(answered.begin(), answered.end(), [](const auto& count) { return count > 500; }); }));
  EXPECT_EQ(rig.sluice.stop(), 0);
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (int c = 0; c < kClients; ++c) {
    const std::string number = std::to_string(c);
    const std::string expected = std::to_string(answered[static_cast<std::size_t>(c)]);
    EXPECT_EQ(rig.redis.run({"GET", (c % 2 == 0 ? "plain:" : "counter:") + number}), expected) << number;
    if (c % 2 == 1) {
      EXPECT_EQ(rig.db.query("SELECT Value FROM Counters WHERE Id = '" + number + "'"), expected) << number;
    }
  }
}

TEST(Shutdown, AWriteInFlightIsFinishedAndAnswered) {
  Rig rig(kUsersSchema, kUsersPolicy);
  rig.db.exec("BEGIN IMMEDIATE");
  Connection client(rig.sluice.tcp());
  client.send(wire({"PING"}) + wire({"SET", "user:E", R"({"name":"E","age":1})"}));
  EXPECT_EQ(client.read_reply(), "+PONG\r\n");
  rig.sluice.process().signal(SIGTERM);
  EXPECT_TRUE(eventually([&] {
    try {
      return rig.sluice.get("/readyz").status != 200;
    } catch (const std::exception&) {
      return true;
    }
  }));
  rig.db.exec("COMMIT");
  EXPECT_EQ(client.read_to_end(), "+OK\r\n");
  EXPECT_EQ(rig.sluice.process().wait(), 0);
  EXPECT_EQ(rig.db.query("SELECT age FROM users"), "1");
}

TEST(Shutdown, ASecondSignalEndsItAtOnce) {
  SluiceOptions options;
  options.proxy = "shutdown_timeout = \"1h\"";
  Rig rig(kCountersSchema, flushed_on_demand(), options);
  EXPECT_EQ(rig.sluice.run({"INCR", "counter:t"}), "(integer) 1");
  rig.db.exec("BEGIN IMMEDIATE");
  rig.sluice.process().signal(SIGTERM);
  EXPECT_TRUE(eventually([&] {
    try {
      return rig.sluice.get("/readyz").status != 200;
    } catch (const std::exception&) {
      return true;
    }
  }));
  rig.sluice.process().signal(SIGTERM);
  EXPECT_NE(rig.sluice.process().wait().value_or(0), 0);
  rig.db.exec("COMMIT");
}

TEST(Shutdown, IdleItEndsAtOnceOnBothSignals) {
  for (const int number : {SIGTERM, SIGINT}) {
    Rig rig(kUsersSchema, kUsersPolicy);
    rig.sluice.process().signal(number);
    EXPECT_EQ(rig.sluice.process().wait(), 0);
  }
}

}  // namespace
}  // namespace sluice::live

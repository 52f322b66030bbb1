// Clients that vanish at any point, in any state, leave nothing behind for those who stay.
#include <atomic>
#include <cstdlib>
#include <iostream>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

std::string times(int count, const std::string& bytes) {
  std::string all;
  for (int i = 0; i < count; ++i) all += bytes;
  return all;
}

// What one of those who vanish sends, if it gets that far. Everything of theirs is called ghost.
std::string haunting(std::mt19937& random) {
  const std::string large(1200000 + random() % 2000000, 'g');
  const std::string queue = "queue:" + std::to_string(random() % 4);
  const std::string echo = wire({"ECHO", "ghost"});
  switch (random() % 14) {
    case 0:
      return times(500, echo);
    case 1:
      return wire({"MULTI"}) + wire({"SET", "ghost", "1"}) + times(20, echo) + wire({"EXEC"}) + times(20, echo);
    case 2:
      return times(3, echo) + wire({"BLPOP", queue, "0"}) + times(3, echo);
    case 3:
      return wire({"SUBSCRIBE", "news", "other"}) + wire({"PING", "ghost"});
    case 4:
      return times(3, echo) + wire({"SET", "ghost", large}) + times(3, echo);
    case 5:
      return wire({"MULTI"}) + wire({"SET", "ghost", large}) + echo + wire({"EXEC"});
    case 6:
      return times(3, wire({"GET", "large"}) + echo);
    case 7:
      return wire({"MULTI"}) + wire({"GET", "large"}) + wire({"GET", "large"}) + wire({"EXEC"}) + echo;
    case 8:
      return times(10, wire({"SET", "user:ghost", R"({"name":"ghost","age":1})"}) + wire({"GET", "user:ghost"}) +
                           wire({"INCR", "counter:ghost"}) + wire({"GET", "fruit:1"}) + echo);
    case 9:
      return wire({"SELECT", "1"}) + times(20, wire({"GET", "database"}) + echo);
    case 10:
      return wire({"CLIENT", "REPLY", "OFF"}) + times(20, echo) + wire({"CLIENT", "REPLY", "SKIP"}) + echo;
    case 11:
      return wire({"WATCH", "ghost"}) + wire({"MULTI"}) + times(5, echo) + wire({"DISCARD"}) + times(5, echo);
    case 12:
      return wire({"HELLO", "3"}) + times(5, wire({"HGETALL", "none"})) + wire({"CLIENT", "SETNAME", "ghost"});
    default:
      return wire({"MONITOR"}) + times(5, echo);
  }
}

void vanish(const Sluice& sluice, std::mt19937& random) {
  Connection client(sluice.tcp());
  const std::string all = haunting(random);
  std::string_view some = std::string_view(all).substr(0, random() % 4 == 0 ? all.size() : 1 + random() % all.size());
  const std::string_view first = some.substr(0, random() % (some.size() + 1));
  client.send(first);
  if (random() % 2 == 0) client.read_available();
  client.send(some.substr(first.size()));
  if (random() % 2 == 0) client.read_available();
  switch (random() % 3) {
    case 0:
      client.close();
      break;
    case 1:
      client.reset();
      break;
    default:
      client.finish_sending();
      client.read_available();
  }
}

// One of those who stay: whatever it asks, the answer must be its own.
void stay(const Sluice& sluice, unsigned seed, const std::string& name, const std::atomic<bool>& over) {
  std::mt19937 random(seed);
  Connection client(sluice.tcp());
  const auto bulk = [](const std::string& text) { return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n"; };
  for (int i = 0; !over; ++i) {
    const std::string mine = name + ":" + std::to_string(i);
    std::string bytes;
    std::string expected;
    for (unsigned n = 1 + random() % 5; n > 0; --n) {
      switch (random() % 4) {
        case 0:
          bytes += wire({"SET", name, mine}) + wire({"GET", name});
          expected += "+OK\r\n" + bulk(mine);
          break;
        case 1:
          bytes += wire({"MULTI"}) + wire({"ECHO", mine}) + wire({"GET", "database"}) + wire({"EXEC"});
          expected += "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n" + bulk(mine) + bulk("0");
          break;
        case 2:
          bytes += wire({"HGETALL", "none"}) + wire({"GET", "none"}) + wire({"GET", "database"});
          expected += "*0\r\n$-1\r\n" + bulk("0");
          break;
        default:
          bytes += wire({"ECHO", mine});
          expected += bulk(mine);
      }
    }
    client.send(bytes);
    std::string got;
    while (got.size() < expected.size()) got += client.read_reply();
    ASSERT_EQ(got, expected);
  }
}

TEST(VanishingClients, LeaveNothingBehind) {
  const unsigned seed = chosen_seed();
  Rig rig(std::string(kFruitSchema) + kUsersSchema + kCountersSchema,
          std::string(kFruitPolicy) + kUsersPolicy + kCountersPolicy);
  Connection direct(rig.redis.tcp());
  direct.call({"SET", "database", "0"});
  direct.call({"SET", "large", std::string(4UL << 20, 'L')});
  direct.call({"SELECT", "1"});
  direct.call({"SET", "database", "1"});
  direct.call({"SELECT", "0"});

  std::atomic<bool> over = false;
  std::vector<std::thread> threads;
  for (unsigned i = 1; i <= 3; ++i) {
    threads.emplace_back([&, i] { EXPECT_NO_THROW(stay(rig.sluice, seed + i, "stayer" + std::to_string(i), over)); });
  }
  std::mt19937 random(seed);
  for (int i = 0; i < 300 && !testing::Test::HasFailure(); ++i) EXPECT_NO_THROW(vanish(rig.sluice, random));
  over = true;
  for (std::thread& thread : threads) thread.join();

  EXPECT_TRUE(eventually([&] { return rig.sluice.metric("sluice_clients") == 0; }));
  EXPECT_TRUE(eventually([&] {
    return rig.redis.run({"INFO", "clients"}).find("blocked_clients:0") != std::string::npos;
  }));
  EXPECT_EQ(rig.sluice.metric("sluice_pinned_clients"), 0);
  EXPECT_EQ(rig.sluice.metric("sluice_client_buffer_bytes"), 0);
  Connection last(rig.sluice.tcp());
  for (int i = 0; i < 4; ++i) EXPECT_EQ(last.call({"RPUSH", "queue:" + std::to_string(i), "x"}), ":1\r\n");
  for (int i = 0; i < 100; ++i) {  // over whatever connections were kept for others
    EXPECT_EQ(last.call({"MULTI"}), "+OK\r\n");
    EXPECT_EQ(last.call({"GET", "database"}), "+QUEUED\r\n");
    EXPECT_EQ(last.call({"EXEC"}), "*1\r\n$1\r\n0\r\n");
  }
  EXPECT_EQ(direct.call({"LLEN", "queue:0"}), ":1\r\n");
}

}  // namespace
}  // namespace sluice::live

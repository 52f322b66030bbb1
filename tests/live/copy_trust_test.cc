// What Redis holds is believed only while it is the process in which it was stored.
#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

struct CopyTrust : testing::Test {
  Rig rig{kUsersSchema, kUsersPolicy};
  const std::string now = R"({"name":"A","age":2,"occupation":null})";
  const std::string before = R"({"name":"A","age":1,"occupation":null})";
  // Redis as it would be after a restore of an old backup.
  void restart_redis_with_an_old_copy() {
    EXPECT_EQ(rig.sluice.run({"SET", "user:A", now}), "OK");
    rig.redis.run({"SET", "user:A", before});
    rig.redis.kill();
    rig.redis.start();
    EXPECT_EQ(rig.redis.run({"GET", "user:A"}), before);
  }
  // As soon as Redis can be reached.
  std::string first_reply(const Args& command) {
    std::string reply;
    eventually([&] {
      try {
        reply = rig.sluice.run(command);
        return !reply.starts_with("(error) LOADING");
      } catch (const std::exception&) {
        return false;
      }
    });
    return reply;
  }
};

TEST_F(CopyTrust, ACopyFromBeforeARestartOfRedisIsNeverTheAnswer) {
  restart_redis_with_an_old_copy();
  EXPECT_EQ(first_reply({"GET", "user:A"}), now);
  EXPECT_TRUE(eventually([&] { return rig.redis.run({"GET", "__sluice:run"}).size() == 40; }));
  EXPECT_EQ(rig.sluice.run({"GET", "user:A"}), now);
}

TEST_F(CopyTrust, NorIsItForGetex) {
  restart_redis_with_an_old_copy();
  EXPECT_EQ(first_reply({"GETEX", "user:A", "EX", "100"}), now);
}

TEST_F(CopyTrust, ARestartOfSluiceKeepsTheCopies) {
  EXPECT_EQ(rig.sluice.run({"SET", "user:A", now}), "OK");
  rig.sluice.stop();
  rig.sluice.start();
  EXPECT_TRUE(eventually([&] { return rig.sluice.metric("sluice_own_connections") == 1; }));
  EXPECT_EQ(rig.redis.run({"GET", "user:A"}), now);
}

TEST_F(CopyTrust, WithoutPoliciesThatKeepCopiesThereIsNoKey) {
  Rig counters(kCountersSchema, kCountersPolicy);
  EXPECT_EQ(counters.sluice.run({"INCR", "counter:t"}), "(integer) 1");
  EXPECT_EQ(counters.redis.run({"EXISTS", "__sluice:run"}), "(integer) 0");
}

}  // namespace
}  // namespace sluice::live

// Refresh ahead: a key that is read often is renewed before it expires, by one of the proxies, and nobody misses it.
#include <string>

#include <gtest/gtest.h>

#include "engines.h"

namespace sluice::live {
namespace {

struct RefreshedReads : OnEveryEngine {
  static std::string policy() { return std::string(kFruitPolicy) + "refresh_ahead = 0.5\nttl_jitter = 0\n"; }

  EngineRig rig{GetParam(), kFruitSchema, policy()};
  std::unique_ptr<Sluice> second = rig.second();
};
ON_EVERY_ENGINE(RefreshedReads);

TEST_P(RefreshedReads, OfAHotKeyNeverMissAndShowWhatChanged) {
  const auto both = [&](const std::string& metric) { return rig.sluice.metric(metric) + second->metric(metric); };
  const std::string old = R"({"id":1,"name":"apple","quantity":100})";
  const std::string changed = R"({"id":1,"name":"apple","quantity":99})";
  Client first(rig.sluice.tcp());
  Client other(second->tcp());
  EXPECT_EQ(first.run({"GET", "fruit:1"}), old);
  EXPECT_EQ(other.run({"GET", "fruit:1"}), old);
  const double reads = rig.sluice.sql_reads() + second->sql_reads();
  EXPECT_EQ(reads, 1);
  rig.db.exec("UPDATE fruit SET quantity = 99 WHERE id = 1");
  rig.redis.run({"PEXPIRE", "fruit:1", "29000"});  // of 60 s
  EXPECT_TRUE(eventually([&] {
    EXPECT_NE(first.run({"GET", "fruit:1"}), "(nil)");
    return first.run({"GET", "fruit:1"}) == changed && other.run({"GET", "fruit:1"}) == changed;
  }));
  EXPECT_EQ(rig.sluice.sql_reads() + second->sql_reads(), reads + 1);
  EXPECT_EQ(both("sluice_policy_misses_total"), 1);
  EXPECT_EQ(both("sluice_policy_refreshes_stored_total"), 1);
}

TEST_P(RefreshedReads, OfARowThatIsGoneFindNothing) {
  Client client(rig.sluice.tcp());
  client.run({"GET", "fruit:1"});
  rig.db.exec("DELETE FROM fruit WHERE id = 1");
  rig.redis.run({"PEXPIRE", "fruit:1", "29000"});
  EXPECT_TRUE(eventually([&] { return client.run({"GET", "fruit:1"}) == "(nil)"; }));
}

}  // namespace
}  // namespace sluice::live

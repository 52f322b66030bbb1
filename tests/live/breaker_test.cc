// The circuit breaker: a database that is down is asked seldom, costs nobody time, and is used again once it is back.
#include <string>

#include <gtest/gtest.h>

#include "engines.h"
#include "tests/servers/sql_client.h"

namespace sluice::live {
namespace {

// SQLite has no server that could be down.
struct StoppedDatabase : OnEveryEngine {
  EngineRig rig{GetParam(), kFruitSchema, kFruitPolicy, {}, true};
  Client proxy{rig.sluice.tcp()};
};
INSTANTIATE_TEST_SUITE_P(Engines, StoppedDatabase, testing::Values(Engine::postgresql, Engine::mysql),
                         [](const auto& engine) { return to_string(engine.param); });

TEST_P(StoppedDatabase, IsAskedSeldomAndUsedAgainWhenItIsBack) {
  const std::string apple = R"({"id":1,"name":"apple","quantity":100})";
  ASSERT_EQ(proxy.run({"GET", "fruit:1"}), apple);
  rig.db.exec(GetParam() == Engine::mysql ? "FLUSH ENGINE LOGS" : "CHECKPOINT");  // a killed server has the table
  rig.db.exclude_others();
  const double before = rig.sluice.sql_reads();
  const int kMisses = 300;
  for (int i = 0; i < kMisses; ++i) {
    const std::string reply = proxy.run({"GET", "fruit:" + std::to_string(1000 + i)});
    ASSERT_TRUE(reply.starts_with("(error) TRYAGAIN sluice: policy 'fruit': ")) << reply;
    ASSERT_EQ(proxy.run({"GET", "fruit:1"}), apple) << "what is cached needs no database";
    ASSERT_EQ(proxy.run({"SET", "plain", "v"}), "OK");
  }
  EXPECT_LE(rig.sluice.sql_reads() - before, 15) << "5 until it opens, then after 1, 3, 7, 15, 31, 61 s ...";
  EXPECT_GE(rig.sluice.metric("sluice_breaker_refusals_total", {R"(policy="fruit")"}), kMisses - 15);
  EXPECT_EQ(rig.sluice.metric("sluice_breaker_open"), 1);
  EXPECT_TRUE(
      eventually([&] { return rig.sluice.log().find("does not answer: reads that need it") != std::string::npos; }));
  rig.db.admit_others();
  // It is none of the durable ones, and may have lost the row.
  rig.db.connect()->query("DELETE FROM fruit; INSERT INTO fruit (id, name, quantity) VALUES (2, 'orange', 200)");
  EXPECT_TRUE(eventually([&] {
    return proxy.run({"GET", "fruit:2"}) == R"({"id":2,"name":"orange","quantity":200})";
  }));
  EXPECT_EQ(proxy.run({"GET", "fruit:1000"}), "(nil)");
  EXPECT_EQ(rig.sluice.metric("sluice_breaker_open"), 0);
  EXPECT_TRUE(eventually([&] { return rig.sluice.log().find("answers again") != std::string::npos; }));
}

}  // namespace
}  // namespace sluice::live

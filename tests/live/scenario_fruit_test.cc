// Acceptance scenario 002: fruit loaded into the cache on a miss.
#include <gtest/gtest.h>

#include "engines.h"
#include "held_script.h"
#include "policies/fuse_scripts.h"

namespace sluice::live {
namespace {

const std::string kApple = R"({"id":1,"name":"apple","quantity":100})";
const std::string kOldApple = R"({"id":1,"name":"apple","quantity":99})";
const std::string kPear = R"({"id":3,"name":"pear","quantity":300})";

struct FruitScenario : OnEveryEngine {
  EngineRig rig{GetParam(), kFruitSchema, kFruitPolicy};
  Client proxy{rig.sluice.tcp()};
};
ON_EVERY_ENGINE(FruitScenario);

TEST_P(FruitScenario, Step1AMissLoadsTheRowAndAHitDoesNot) {
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kApple);
  for (const std::string& key : replies(Connection(rig.redis.tcp()).call({"KEYS", "*"}).substr(4))) {
    EXPECT_TRUE(key.empty() || key == "$7\r\nfruit:1\r\n" || key.find("\r\n__sluice:") != std::string::npos) << key;
  }
  const double before = rig.sluice.sql_reads();
  EXPECT_EQ(before, 1);
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kApple);
  EXPECT_EQ(rig.sluice.sql_reads(), before);
}

TEST_P(FruitScenario, Step1TheCopyHasTheTtlOfThePolicy) {
  proxy.run({"GET", "fruit:1"});
  const std::string ttl = rig.redis.run({"PTTL", "fruit:1"});
  const long milliseconds = std::stol(ttl.substr(ttl.find(' ')));
  EXPECT_GT(milliseconds, 20000);
  EXPECT_LE(milliseconds, 66000);  // 60 s and the jitter
}

TEST_P(FruitScenario, Step2AnAbsentRowIsRemembered) {
  std::string lasting = kFruitPolicy;
  lasting.replace(lasting.find("negative_ttl = \"2s\""), 19, "negative_ttl = \"1d\"");
  SluiceOptions options = rig.options;
  options.policies.replace(options.policies.find(kFruitPolicy), std::string(kFruitPolicy).size(), lasting);
  Sluice other(options);
  EXPECT_EQ(other.run({"GET", "fruit:4"}), "(nil)");
  EXPECT_EQ(other.run({"GET", "fruit:4"}), "(nil)");
  EXPECT_EQ(other.sql_reads(), 1);
}

TEST_P(FruitScenario, Step2AnAbsentRowIsRememberedForItsOwnTime) {
  EXPECT_EQ(proxy.run({"GET", "fruit:4"}), "(nil)");
  rig.db.exec("INSERT INTO fruit VALUES (4, 'kiwi', 1)");
  EXPECT_TRUE(eventually([&] { return proxy.run({"GET", "fruit:4"}) == R"({"id":4,"name":"kiwi","quantity":1})"; }));
}

TEST_P(FruitScenario, Step3TwoHundredClientsCostOneQuery) {
  const Output output = run({"redis-benchmark", "-p", std::to_string(rig.sluice.tcp().port), "-c", "200", "-n", "2000",
                             "-q", "GET", "fruit:2"});
  EXPECT_EQ(output.status, 0) << output.text;
  EXPECT_EQ(rig.sluice.sql_reads(), 1);
}

TEST_P(FruitScenario, Step4AChangeIsVisibleAfterTheTtl) {
  std::string brief = kFruitPolicy;
  brief.replace(brief.find("ttl = \"60s\""), 11, "ttl = \"1s\"");
  SluiceOptions options = rig.options;
  options.policies.replace(options.policies.find(kFruitPolicy), std::string(kFruitPolicy).size(), brief);
  Sluice other(options);
  EXPECT_EQ(other.run({"GET", "fruit:1"}), kApple);
  rig.db.exec("UPDATE fruit SET quantity = 99 WHERE id = 1");
  EXPECT_TRUE(eventually([&] { return other.run({"GET", "fruit:1"}) == kOldApple; }));
}

TEST_P(FruitScenario, Step4AnInvalidatedKeyIsLoadedAgain) {
  proxy.run({"GET", "fruit:1"});
  rig.db.exec("UPDATE fruit SET quantity = 99 WHERE id = 1");
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kApple);
  proxy.run({"SLUICE", "INVALIDATE", "fruit:1"});
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kOldApple);
}

TEST_P(FruitScenario, Step5AFillThatIsSlowerThanAnInvalidationIsNotStored) {
  history::FaultLink link(free_port(), rig.redis.tcp().port, history::FaultLink::Framing::redis);
  SluiceOptions options = rig.options;
  options.upstream = "redis://127.0.0.1:" + std::to_string(link.port());
  Sluice slow(options);
  HeldScript fill(link, policies::fuse::fill());
  Connection client(slow.tcp());
  client.send(wire({"GET", "fruit:1"}));
  ASSERT_TRUE(fill.await());
  rig.db.exec("UPDATE fruit SET quantity = 99 WHERE id = 1");
  EXPECT_EQ(proxy.run({"SLUICE", "INVALIDATE", "fruit:1"}), "(integer) 0") << "there is no copy yet";
  fill.release();
  EXPECT_EQ(client.read_reply(), "$" + std::to_string(kApple.size()) + "\r\n" + kApple + "\r\n");
  EXPECT_EQ(rig.redis.run({"GET", "fruit:1"}), "(nil)");
  EXPECT_EQ(client.call({"GET", "fruit:1"}), "$" + std::to_string(kOldApple.size()) + "\r\n" + kOldApple + "\r\n");
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kOldApple);
  EXPECT_EQ(slow.metric("sluice_policy_fills_rejected_total"), 1);
}

TEST_P(FruitScenario, Step6AKeyThatIsNotAnIntegerNeverReachesSql) {
  EXPECT_EQ(proxy.run({"GET", "fruit:1 OR 1=1"}), "(nil)");
  EXPECT_EQ(proxy.run({"GET", "fruit:007"}), "(nil)");
  EXPECT_EQ(rig.sluice.sql_reads(), 0);
}

TEST_P(FruitScenario, Step6AKeyBeyondTheRangeOfItsColumnIsAbsent) {
  EXPECT_EQ(proxy.run({"GET", "fruit:3000000000"}), "(nil)");
  EXPECT_EQ(proxy.run({"MGET", "fruit:1", "fruit:3000000001"}), "[" + kApple + ", (nil)]");
}

TEST_P(FruitScenario, Step6WithoutRedisSqlAnswers) {
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kApple);
  rig.redis.kill();
  EXPECT_TRUE(eventually([&] { return Client(rig.sluice.tcp()).run({"GET", "fruit:3"}) == kPear; }));
  EXPECT_EQ(Client(rig.sluice.tcp()).run({"GET", "fruit:1"}), kApple);
}

struct FruitWithoutSql : OnEveryEngine {};
ON_EVERY_ENGINE(FruitWithoutSql);

// SQLite's file can be kept from readers only while nobody else has it open.
TEST_P(FruitWithoutSql, Step6CachedKeysAreServedAndOthersAreAnError) {
  EngineDatabase db(GetParam(), true);
  RedisServer redis;
  db.exec(kFruitSchema);
  GetParam() == Engine::sqlite ? db.hold("fruit") : db.exclude_others();
  SluiceOptions options;
  options.upstream = redis.url();
  options.policies = "[backend.shop]\nurl = \"" + db.url() + "\"\n" + kFruitPolicy;
  options.wait_ready = false;
  Sluice sluice(options);
  // Copies from before sluice knew this Redis are dropped.
  ASSERT_TRUE(eventually([&] { return redis.run({"EXISTS", "__sluice:run"}) == "(integer) 1"; }));
  redis.run({"SET", "fruit:1", kApple});
  Client proxy(sluice.tcp());
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kApple);
  EXPECT_TRUE(proxy.run({"GET", "fruit:3"}).starts_with("(error) TRYAGAIN sluice: "));
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kApple);
  GetParam() == Engine::sqlite ? db.release() : db.admit_others();
  EXPECT_TRUE(eventually([&] { return proxy.run({"GET", "fruit:3"}) == kPear; }));
}

TEST(HashCache, HgetallOfAnAbsentKeyLoadsTheRow) {
  std::string policy = kFruitPolicy;
  policy.replace(policy.find("\"json\""), 6, "\"hash\"");
  Rig rig(kFruitSchema, policy);
  Client proxy(rig.sluice.tcp());
  EXPECT_EQ(proxy.run({"HGETALL", "fruit:1"}), "[name, apple, quantity, 100]");
  EXPECT_EQ(rig.redis.run({"HGET", "fruit:1", "quantity"}), "100");
  EXPECT_EQ(proxy.run({"HGETALL", "fruit:9"}), "[]");
}

}  // namespace
}  // namespace sluice::live

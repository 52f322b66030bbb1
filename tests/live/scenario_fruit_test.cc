// Acceptance scenario 002: fruit loaded into the cache on a miss.
#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

const std::string kApple = R"({"id":1,"name":"apple","quantity":100})";
const std::string kPear = R"({"id":3,"name":"pear","quantity":300})";

struct FruitScenario : testing::Test {
  Rig rig{kFruitSchema, kFruitPolicy};
  Client proxy{rig.sluice.tcp()};
};

TEST_F(FruitScenario, Step1AMissLoadsTheRowAndAHitDoesNot) {
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kApple);
  for (const std::string& key : replies(Connection(rig.redis.tcp()).call({"KEYS", "*"}).substr(4))) {
    EXPECT_TRUE(key.empty() || key == "$7\r\nfruit:1\r\n" || key.find("\r\n__sluice:") != std::string::npos) << key;
  }
  const double before = rig.sluice.sql_reads();
  EXPECT_EQ(before, 1);
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kApple);
  EXPECT_EQ(rig.sluice.sql_reads(), before);
}

TEST_F(FruitScenario, Step1TheCopyHasTheTtlOfThePolicy) {
  proxy.run({"GET", "fruit:1"});
  const std::string ttl = rig.redis.run({"PTTL", "fruit:1"});
  const long milliseconds = std::stol(ttl.substr(ttl.find(' ')));
  EXPECT_GT(milliseconds, 20000);
  EXPECT_LE(milliseconds, 66000);  // 60 s and the jitter
}

TEST_F(FruitScenario, Step2AnAbsentRowIsRememberedForItsOwnTime) {
  EXPECT_EQ(proxy.run({"GET", "fruit:4"}), "(nil)");
  const double before = rig.sluice.sql_reads();
  EXPECT_EQ(proxy.run({"GET", "fruit:4"}), "(nil)");
  EXPECT_EQ(rig.sluice.sql_reads(), before);
  rig.db.exec("INSERT INTO fruit VALUES (4, 'kiwi', 1)");
  EXPECT_TRUE(eventually([&] { return proxy.run({"GET", "fruit:4"}) == R"({"id":4,"name":"kiwi","quantity":1})"; }));
}

TEST_F(FruitScenario, Step3TwoHundredClientsCostOneQuery) {
  const Output output = run({"redis-benchmark", "-p", std::to_string(rig.sluice.tcp().port), "-c", "200", "-n", "2000",
                             "-q", "GET", "fruit:2"});
  EXPECT_EQ(output.status, 0) << output.text;
  EXPECT_EQ(rig.sluice.sql_reads(), 1);
}

TEST_F(FruitScenario, Step4AnInvalidatedKeyIsLoadedAgain) {
  proxy.run({"GET", "fruit:1"});
  rig.db.exec("UPDATE fruit SET quantity = 99 WHERE id = 1");
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kApple);
  proxy.run({"SLUICE", "INVALIDATE", "fruit:1"});
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), R"({"id":1,"name":"apple","quantity":99})");
}

TEST_F(FruitScenario, Step6AKeyThatIsNotAnIntegerNeverReachesSql) {
  EXPECT_EQ(proxy.run({"GET", "fruit:1 OR 1=1"}), "(nil)");
  EXPECT_EQ(proxy.run({"GET", "fruit:007"}), "(nil)");
  EXPECT_EQ(rig.sluice.sql_reads(), 0);
}

TEST_F(FruitScenario, Step6WithoutRedisSqlAnswers) {
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kApple);
  rig.redis.kill();
  EXPECT_TRUE(eventually([&] { return Client(rig.sluice.tcp()).run({"GET", "fruit:3"}) == kPear; }));
  EXPECT_EQ(Client(rig.sluice.tcp()).run({"GET", "fruit:1"}), kApple);
}

// A connection in exclusive locking mode keeps even readers out of a WAL database.
TEST(FruitWithoutSql, Step6CachedKeysAreServedAndOthersAreAnError) {
  TempDir dir;
  RedisServer redis;
  auto holder = std::make_unique<Database>(dir.file("shop.db"));
  holder->exec("PRAGMA journal_mode = WAL");
  holder->exec(kFruitSchema);
  holder = std::make_unique<Database>(dir.file("shop.db"));
  holder->exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE");
  SluiceOptions options;
  options.upstream = redis.url();
  options.policies = "[backend.shop]\nurl = \"sqlite:" + dir.file("shop.db") + "\"\n" + kFruitPolicy;
  options.wait_ready = false;
  Sluice sluice(options);
  // Copies from before sluice knew this Redis are dropped.
  ASSERT_TRUE(eventually([&] { return redis.run({"EXISTS", "__sluice:run"}) == "(integer) 1"; }));
  redis.run({"SET", "fruit:1", kApple});
  Client proxy(sluice.tcp());
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kApple);
  EXPECT_TRUE(proxy.run({"GET", "fruit:3"}).starts_with("(error) TRYAGAIN sluice: "));
  EXPECT_EQ(proxy.run({"GET", "fruit:1"}), kApple);
  holder.reset();
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

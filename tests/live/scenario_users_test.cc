// Acceptance scenarios 000 and 001 on every database: users written through as JSON by name, and as hashes by id.
#include "engines.h"

namespace sluice::live {
namespace {

// --- 000 ------------------------------------------------------------------------------------------------------------

struct UserByName : OnEveryEngine {
  static std::string schema() {
    const Dialect dialect(GetParam());
    return "CREATE TABLE users(id " + dialect.serial_key() + ", name " + dialect.key_text() +
           " NOT NULL, age INTEGER, occupation VARCHAR(255), UNIQUE(name));";
  }
};
ON_EVERY_ENGINE(UserByName);

TEST_P(UserByName, Scenario000Steps1To4) {
  EngineRig rig(GetParam(), schema(), kUsersPolicy);
  Client proxy(rig.sluice.tcp());
  const std::string first = R"({"name":"John Doe","age":30,"occupation":"Engineer"})";
  EXPECT_EQ(proxy.run({"SET", "user:John Doe", first}), "OK");
  EXPECT_EQ(rig.db.query("SELECT age, occupation FROM users WHERE name = 'John Doe'"), "30|Engineer");
  EXPECT_EQ(rig.redis.run({"GET", "user:John Doe"}), first);

  EXPECT_EQ(proxy.run({"SET", "user:John Doe", R"({"name":"John Doe","age":31,"occupation":"Engineer"})"}), "OK");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*), MAX(age) FROM users WHERE name = 'John Doe'"), "1|31");

  rig.db.exec("INSERT INTO users(name, age, occupation) VALUES ('Tarunn Gusain', 25, 'SWE')");
  const std::string loaded = R"({"name":"Tarunn Gusain","age":25,"occupation":"SWE"})";
  EXPECT_EQ(proxy.run({"GET", "user:Tarunn Gusain"}), loaded);
  EXPECT_EQ(rig.redis.run({"EXISTS", "user:Tarunn Gusain"}), "(integer) 1");
  const double before = rig.sluice.sql_reads();
  EXPECT_EQ(proxy.run({"GET", "user:Tarunn Gusain"}), loaded);
  EXPECT_EQ(rig.sluice.sql_reads(), before);

  EXPECT_EQ(proxy.run({"GET", "user:Nobody"}), "(nil)");
  EXPECT_TRUE(proxy.run({"SET", "user:Bad", "not json"}).starts_with("(error) ERR sluice: "));
  EXPECT_EQ(rig.redis.run({"EXISTS", "user:Bad"}), "(integer) 0");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users WHERE name = 'Bad'"), "0");
}

TEST_P(UserByName, Scenario000Step5ADatabaseThatIsGoneIsAnErrorAndNothingIsCached) {
  EngineRig rig(GetParam(), schema(), std::string(kUsersPolicy) + "write_timeout = \"1s\"\n", {}, true);
  Client proxy(rig.sluice.tcp());
  EXPECT_EQ(proxy.run({"SET", "user:A", R"({"name":"A","age":1})"}), "OK");
  rig.db.exclude_others();
  const std::string set = R"({"name":"E","age":1,"occupation":"x"})";
  EXPECT_TRUE(proxy.run({"SET", "user:E", set}).starts_with("(error) TRYAGAIN "));
  EXPECT_EQ(rig.redis.run({"EXISTS", "user:E"}), "(integer) 0");
  rig.db.admit_others();
  EXPECT_TRUE(eventually([&] { return proxy.run({"SET", "user:E", set}) == "OK"; }));
  EXPECT_EQ(rig.db.query("SELECT age FROM users WHERE name = 'E'"), "1");
}

// --- 001 ------------------------------------------------------------------------------------------------------------

constexpr const char* kPolicy001 = R"(
[[policy]]
name = "users"
key = "users:{id:int}"
alias = "__{{users:{id}}}"
backend = "shop"
table = "users"
value = "hash"
columns = { pwhash = "password_hash", first = "first_name", last = "last_name", dob = "date_of_birth" }
write = "write-through"
write_timeout = "1s"
ops_field = "#"
)";

struct UserById : OnEveryEngine {
  static std::string schema() {
    return "CREATE TABLE users(id " + Dialect(GetParam()).serial_key() +
           ", username VARCHAR(191) NOT NULL, email VARCHAR(191) NOT NULL, password_hash VARCHAR(255) NOT NULL,"
           " first_name VARCHAR(255), last_name VARCHAR(255), date_of_birth DATE, score INTEGER,"
           " created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,"
           " updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE(username), UNIQUE(email));";
  }

  struct Rig : EngineRig {
    explicit Rig(bool own_server = false) : EngineRig(GetParam(), schema(), kPolicy001, {}, own_server) {
      hset("1", "fulano");
      hset("2", "beltrano");
      hset("3", "sicrano");
    }
    void hset(const std::string& id, const std::string& name) {
      EXPECT_EQ(proxy.run({"HSET",       "__{users:" + id + "}",
                           "username",   name,
                           "email",      name + "@detal.com.br",
                           "pwhash",     std::string(64, 'a'),
                           "first",      "F",
                           "last",       "deTal",
                           "dob",        "1981-01-01",
                           "score",      "0",
                           "created_at", "2024-06-21",
                           "updated_at", "2024-06-21"}),
                "(integer) 9");
    }
    std::string score(const std::string& id) { return db.query("SELECT score FROM users WHERE id = " + id); }
    std::string cached(const std::string& id) { return redis.run({"HGET", "users:" + id, "score"}); }
    Client proxy{sluice.tcp()};
  };
};
ON_EVERY_ENGINE(UserById);

TEST_P(UserById, Scenario001Step1FullHashesBecomeTypedRows) {
  Rig rig;
  EXPECT_EQ(rig.redis.run({"EXISTS", "__{users:1}"}), "(integer) 0");
  EXPECT_EQ(rig.redis.run({"HLEN", "users:1"}), "(integer) 9");
  EXPECT_EQ(rig.db.query("SELECT username, first_name, date_of_birth, score FROM users ORDER BY id"),
            "fulano|F|1981-01-01|0;beltrano|F|1981-01-01|0;sicrano|F|1981-01-01|0");
  EXPECT_EQ(rig.db.query("SELECT password_hash FROM users WHERE id = 1"), std::string(64, 'a'));
  EXPECT_EQ(
      rig.db.query("SELECT " + Dialect(GetParam()).text_of("created_at") + " FROM users WHERE id = 1").substr(0, 19),
      "2024-06-21T00:00:00");
}

TEST_P(UserById, Scenario001Step2APartialUpdateKeepsTheRestAndTheExpiry) {
  Rig rig;
  rig.redis.run({"EXPIRE", "users:2", "1000"});
  EXPECT_EQ(rig.proxy.run({"HSET", "__{users:2}", "score", "4242"}), "(integer) 0");
  EXPECT_EQ(rig.score("2"), "4242");
  EXPECT_EQ(rig.cached("2"), "4242");
  EXPECT_EQ(rig.db.query("SELECT username, last_name FROM users WHERE id = 2"), "beltrano|deTal");
  const std::string ttl = rig.redis.run({"TTL", "users:2"});
  EXPECT_GT(std::stoi(ttl.substr(ttl.rfind(' ') + 1)), 900);
}

TEST_P(UserById, Scenario001Step3AnUpdateWithoutACopyReachesSqlAndLeavesNoPartialHash) {
  Rig rig;
  rig.redis.run({"DEL", "users:3"});
  EXPECT_EQ(rig.proxy.run({"HSET", "__{users:3}", "score", "7"}), "(integer) 0");
  EXPECT_EQ(rig.score("3"), "7");
  EXPECT_EQ(rig.redis.run({"HLEN", "users:3"}), "(integer) 0");
  rig.proxy.run({"HGETALL", "users:3"});
  EXPECT_EQ(rig.redis.run({"HLEN", "users:3"}), "(integer) 9");
}

TEST_P(UserById, Scenario001Step4And5TheOpsFieldChoosesAndAcknowledges) {
  Rig rig;
  rig.proxy.run({"HSET", "__{users:1}", "score", "10", "#", "=a1"});
  EXPECT_NE(rig.proxy.run({"XREAD", "STREAMS", "{users:1}a1", "0-0"}).find("status, done"), std::string::npos);
  const std::string ttl = rig.redis.run({"TTL", "{users:1}a1"});
  EXPECT_GT(std::stoi(ttl.substr(ttl.rfind(' ') + 1)), 0);
  EXPECT_EQ(rig.redis.run({"HEXISTS", "users:1", "#"}), "(integer) 0");

  rig.proxy.run({"HSET", "__{users:1}", "score", "11", "#", "+"});
  EXPECT_EQ(rig.cached("1"), "11");
  EXPECT_EQ(rig.score("1"), "10");
  EXPECT_EQ(rig.redis.run({"EXISTS", "{users:1}None"}), "(integer) 0");
  rig.proxy.run({"HSET", "__{users:1}", "#", "-"});
  EXPECT_EQ(rig.redis.run({"EXISTS", "users:1"}), "(integer) 0");
  EXPECT_EQ(rig.score("1"), "10");
  rig.proxy.run({"HSET", "__{users:1}", "#", "~"});
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users WHERE id = 1"), "0");
  EXPECT_EQ(rig.proxy.run({"HGETALL", "users:1"}), "[]");
}

TEST_P(UserById, Scenario001Step6ADuplicateIsRefusedAndSaysSo) {
  Rig rig;
  const std::string refused =
      rig.proxy.run({"HSET", "__{users:9}", "username", "beltrano", "email", "q@q", "pwhash", "h"});
  EXPECT_TRUE(refused.starts_with("(error) SQLREJECT 23")) << refused;
  EXPECT_EQ(rig.redis.run({"EXISTS", "users:9"}), "(integer) 0");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), "3");
  rig.proxy.run({"HSET", "__{users:9}", "username", "beltrano", "email", "q@q", "pwhash", "h", "#", "=a2"});
  const std::string acknowledged = rig.redis.run({"XREAD", "STREAMS", "{users:9}a2", "0-0"});
  EXPECT_NE(acknowledged.find("status, failed, error, SQLREJECT 23"), std::string::npos) << acknowledged;
  // Nor may it take over the row that has the other unique key.
  EXPECT_TRUE(rig.proxy.run({"HSET", "__{users:3}", "email", "fulano@detal.com.br"}).starts_with("(error) SQLREJECT"));
  EXPECT_EQ(rig.db.query("SELECT id, username FROM users WHERE email = 'fulano@detal.com.br'"), "1|fulano");
}

TEST_P(UserById, Scenario001Step7OthersDoNotWaitForADatabaseThatIsGone) {
  Rig rig(true);
  rig.db.exclude_others();
  Connection blocked(rig.sluice.tcp());
  blocked.send("*4\r\n$4\r\nHSET\r\n$11\r\n__{users:2}\r\n$5\r\nscore\r\n$1\r\n1\r\n");
  Client other(rig.sluice.tcp());
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(other.run({"PING"}), "PONG");
    EXPECT_EQ(other.run({"SET", "other", std::to_string(i)}), "OK");
  }
  EXPECT_TRUE(blocked.read_reply().starts_with("-TRYAGAIN "));
  rig.db.admit_others();
}

TEST_P(UserById, Scenario001Step8AnotherNameIsAnOrdinaryHash) {
  Rig rig;
  EXPECT_EQ(rig.proxy.run({"HSET", "__{orders:9}", "username", "u", "score", "5"}), "(integer) 2");
  EXPECT_EQ(rig.redis.run({"HLEN", "__{orders:9}"}), "(integer) 2");
  EXPECT_EQ(rig.db.query("SELECT COUNT(*) FROM users"), "3");
}

TEST_P(UserById, Scenario001Step9TheCopyNeverDiffersFromTheRow) {
  Rig rig;
  for (int i = 0; i < 60; ++i) {
    const std::string id = i % 2 == 0 ? "2" : "3";
    rig.proxy.run({"HSET", "__{users:" + id + "}", "score", std::to_string(i)});
    const std::string cached = rig.cached(id);
    EXPECT_TRUE(cached == "(nil)" || cached == rig.score(id)) << cached;
    if (i % 7 == 0) rig.redis.run({"DEL", "users:" + id});
    if (i % 5 == 0) rig.proxy.run({"HGETALL", "users:" + id});
  }
}

}  // namespace
}  // namespace sluice::live

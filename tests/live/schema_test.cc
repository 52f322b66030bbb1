// Schema: the tables that sluice proposes serve its policies on every database, and --check --connect names what does
// not fit.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engines.h"
#include "harness.h"

namespace sluice::live {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const char* const kPolicies = R"(
[[policy]]
name = "user"
key = "user:{tenant}:{id:int}"
backend = "shop"
table = "users"
value = "json"
columns = ["name", "note"]
ttl_column = "until"
write = "write-through"

[[policy]]
name = "profile"
key = "profile:{id:uuid}"
backend = "shop"
table = "profiles"
value = "hash"
columns = { city = "home_city" }
write = "write-through"

[[policy]]
name = "blob"
key = "blob:{id*}"
backend = "shop"
table = "blobs"
value = "raw"
column = "content"
write = "write-through"

[[policy]]
name = "views"
key = "views:{id}"
backend = "shop"
table = "totals"
value = "counter"
column = "total"
)";

class Schema : public OnEveryEngine {
 protected:
  // The configuration of a sluice with these policies; line 1 is about Redis, line 2 about the database.
  std::string configure(const std::string& policies) {
    backend_ = "[backend.shop]\nurl = \"" + db.url() + "\"\n" + policies;
    std::string file = dir.file("sluice.toml");
    write_file(file, "upstream.url = \"" + redis.url() + "\"\nbackend.shop.url = \"" + db.url() + "\"\n" + policies);
    return file;
  }
  Output check(const std::string& policies) {
    return run({SLUICE_BINARY, "--check", "--connect", "-c", configure(policies)});
  }
  std::string schema_of(const std::string& policy) {
    const Output output = run({SLUICE_BINARY, "--print-schema", policy, "-c", dir.file("sluice.toml")});
    EXPECT_EQ(output.status, 0) << output.text;
    return output.text;
  }
  std::unique_ptr<Sluice> serve() {
    SluiceOptions options;
    options.upstream = redis.url();
    options.policies = backend_;
    return std::make_unique<Sluice>(std::move(options));
  }
  static bool is(Engine engine) { return GetParam() == engine; }

  TempDir dir;
  RedisServer redis;
  EngineDatabase db{GetParam()};
  std::string backend_;
};

ON_EVERY_ENGINE(Schema);

TEST_P(Schema, TheProposedTablesFitAndServe) {
  configure(kPolicies);
  for (const char* policy : {"user", "profile", "blob", "views"}) db.exec(schema_of(policy));
  const Output checked = check(kPolicies);
  EXPECT_EQ(checked.status, 0) << checked.text;
  EXPECT_THAT(checked.text, AllOf(HasSubstr(": reached Redis "), HasSubstr(": reached the database 'shop'"),
                                  HasSubstr("the configuration is good"), Not(HasSubstr("secret"))));
  const auto sluice = serve();
  const std::string ada = R"({"name":"ada","note":null})";
  EXPECT_EQ(sluice->run({"SET", "user:acme:7", ada, "EX", "1000"}), "OK");
  EXPECT_EQ(db.query("SELECT tenant, id, name, note FROM users WHERE until IS NOT NULL"), "acme|7|ada|NULL");
  const std::string uuid = "00000000-0000-4000-8000-00000000000a";
  EXPECT_EQ(sluice->run({"HSET", "profile:" + uuid, "city", "Paris"}), "(integer) 1");
  EXPECT_EQ(db.query("SELECT id, home_city FROM profiles"), uuid + "|Paris");
  EXPECT_EQ(sluice->run({"INCRBY", "views:home", "5"}), "(integer) 5");
  EXPECT_EQ(sluice->run({"SLUICE", "SYNC", "views:home"}), "(integer) 1");
  EXPECT_EQ(db.query("SELECT id, total FROM totals"), "home|5");
  redis.run({"FLUSHALL"});
  EXPECT_EQ(sluice->run({"GET", "user:acme:7"}), ada);
  EXPECT_EQ(sluice->run({"HGETALL", "profile:" + uuid}), "[city, Paris]");
  EXPECT_EQ(sluice->run({"INCR", "views:home"}), "(integer) 6");
}

TEST_P(Schema, KeysThatDifferInCaseOrSpacesAreDifferentRowsOfAProposedTable) {
  configure(kPolicies);
  db.exec(schema_of("blob"));
  const auto sluice = serve();
  const Args ids{"Abc", "abc", "abc ", "ábc"};
  for (const std::string& id : ids) EXPECT_EQ(sluice->run({"SET", "blob:" + id, "of " + id}), "OK");
  EXPECT_EQ(db.query("SELECT count(*) FROM blobs"), "4");
  redis.run({"FLUSHALL"});
  for (const std::string& id : ids) EXPECT_EQ(sluice->run({"GET", "blob:" + id}), "of " + id);
}

// MySQL and MariaDB do that unless they are told otherwise.
TEST_P(Schema, ATableThatTakesDifferentKeysForOneIsRefusedInTheCheckAndAtRunTime) {
  if (is(Engine::postgresql)) {
    db.exec("CREATE COLLATION folds (provider = icu, locale = 'und-u-ks-level2', deterministic = false)");
  }
  db.exec("CREATE TABLE words (id VARCHAR(40)" +
          std::string(is(Engine::sqlite)       ? " COLLATE NOCASE"
                      : is(Engine::postgresql) ? " COLLATE folds"
                                               : "") +
          " PRIMARY KEY, n VARCHAR(40))");
  const Output checked = check(R"([[policy]]
name = "word"
key = "word:{id}"
backend = "shop"
table = "words"
value = "json"
write = "write-through"
)");
  EXPECT_EQ(checked.status, 78);
  EXPECT_THAT(checked.text, HasSubstr(dir.file("sluice.toml") + ":7:9: table 'words': the key column 'id' takes"));
  EXPECT_THAT(checked.text, Not(HasSubstr("is good")));
  const auto sluice = serve();
  for (const char* key : {"word:Abc", "word:abc "}) {
    EXPECT_THAT(sluice->run({"SET", key, R"({"n":"1"})"}),
                AllOf(testing::StartsWith("(error) ERR sluice: "), HasSubstr("the key column 'id'")));
    EXPECT_THAT(sluice->run({"GET", key}), testing::StartsWith("(error) ERR sluice: "));
  }
  EXPECT_EQ(db.query("SELECT count(*) FROM words"), "0");
}

TEST_P(Schema, EveryTableThatDoesNotFitIsNamedAtItsPlace) {
  db.exec("CREATE TABLE users (tenant INTEGER, id INTEGER, name VARCHAR(9), PRIMARY KEY (tenant, id))");
  db.exec("CREATE TABLE totals (id VARCHAR(40) PRIMARY KEY, total VARCHAR(40))");
  const Output checked = check(kPolicies);
  EXPECT_EQ(checked.status, 78);
  const std::string file = dir.file("sluice.toml");
  EXPECT_THAT(checked.text,
              AllOf(HasSubstr(file + ":8:9: table 'users': no column 'note'"),
                    HasSubstr(file + ":8:9: table 'users': column 'tenant' is an integer: write {tenant:int}"),
                    HasSubstr(file + ":18:9: "), HasSubstr("profiles"), HasSubstr(file + ":27:9: "),
                    HasSubstr(file + ":36:9: table 'totals': "), HasSubstr("create it with: CREATE TABLE")));
}

TEST_P(Schema, ATotalOfLessThan64BitsIsAMistake) {
  if (is(Engine::sqlite)) GTEST_SKIP() << "every integer has 64 bits";
  configure(kPolicies);
  db.exec(schema_of("views").substr(schema_of("views").find("-- The bookkeeping")));
  const auto policy = std::string(kPolicies).substr(std::string(kPolicies).rfind("[[policy]]"));
  const std::string key = is(Engine::mysql) ? "id VARBINARY(40) PRIMARY KEY" : "id TEXT PRIMARY KEY";
  for (const char* type : {"INTEGER", "BIGINT UNSIGNED"}) {
    if (is(Engine::postgresql) && type != std::string("INTEGER")) continue;
    db.exec("CREATE TABLE totals (" + key + ", total " + type + ")");
    const Output checked = check(policy);
    EXPECT_EQ(checked.status, 78);
    EXPECT_THAT(checked.text, HasSubstr("column 'total' does not hold every integer of 64 bits"));
    db.exec("DROP TABLE totals");
  }
  db.exec("CREATE TABLE totals (" + key + ", total BIGINT)");
  EXPECT_EQ(check(policy).status, 0) << check(policy).text;
}

// --- The rest does not depend on the database.

std::string check_redis(const std::string& upstream, int status) {
  TempDir dir;
  Database db(dir.file("shop.db"));
  db.exec(kCountersSchema);
  write_file(dir.file("a.toml"),
             "[upstream]\n" + upstream + "\n[backend.shop]\nurl = \"sqlite:" + db.path() + "\"\n" + kCountersPolicy);
  const Output output = run({SLUICE_BINARY, "--check", "--connect", "-c", dir.file("a.toml")});
  EXPECT_EQ(output.status, status) << output.text;
  return output.text;
}

std::string url_line(const RedisServer& redis) { return "url = \"" + redis.url() + "\""; }

TEST(ConnectedCheck, WarnsOfARedisThatForgetsCounters) {
  RedisServer redis;
  EXPECT_THAT(check_redis(url_line(redis), 0), Not(HasSubstr("warning")));
  redis.run({"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"});
  redis.run({"CONFIG", "SET", "appendonly", "no"});
  EXPECT_THAT(check_redis(url_line(redis), 0),
              AllOf(HasSubstr(":2:7: warning: maxmemory-policy is allkeys-lru"), HasSubstr("append-only"),
                    HasSubstr("the configuration is good, but see the warnings")));
}

TEST(ConnectedCheck, AReplicaAndAClusterCannotServePolicies) {
  RedisServer redis;
  redis.run({"REPLICAOF", "127.0.0.1", "1"});
  EXPECT_THAT(check_redis(url_line(redis), 78), HasSubstr(":2:7: this Redis is a replica"));
  RedisServer cluster({"--cluster-enabled", "yes", "--cluster-port", std::to_string(free_port())});
  EXPECT_THAT(check_redis(url_line(cluster), 78), HasSubstr("cluster mode"));
}

TEST(ConnectedCheck, LogsInAsTheProxyDoes) {
  RedisServer redis;
  redis.run({"ACL", "SETUSER", "weak", "on", ">pw", "~*", "+@all", "-acl", "-script"});
  EXPECT_THAT(check_redis(url_line(redis) + "\nuser = \"weak\"\npassword = \"no\"", 78),
              AllOf(HasSubstr("AUTH: WRONGPASS"), Not(HasSubstr("reached Redis"))));
  EXPECT_THAT(check_redis(url_line(redis) + "\nuser = \"weak\"\npassword = \"pw\"", 78),
              AllOf(HasSubstr("cannot run SCRIPT: NOPERM"), HasSubstr("cannot run ACL: NOPERM")));
}

// A port whose peer takes connections and says nothing.
class SilentServer {
 public:
  SilentServer() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(socket_, 10), 0);
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~SilentServer() { ::close(socket_); }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  int socket_;
  int port_ = 0;
};

TEST(ConnectedCheck, EndsWhenNothingAnswers) {
  SilentServer silent;
  TempDir dir;
  write_file(dir.file("a.toml"), "[upstream]\nurl = \"redis://" + silent.address() +
                                     "\"\n[backend.a]\nurl = \"mysql://u@" + silent.address() +
                                     "/d\"\n[backend.b]\nurl = \"postgresql://u@" + silent.address() +
                                     "/d\"\n[backend.c]\nurl = \"sqlite:" + dir.file("none/shop.db") + "\"\n");
  const Output output = run({SLUICE_BINARY, "--check", "--connect", "-c", dir.file("a.toml")});
  EXPECT_EQ(output.status, 78);
  for (const char* place : {":2:7: ", ":4:7: ", ":6:7: ", ":8:7: "}) {
    EXPECT_THAT(output.text, HasSubstr(dir.file("a.toml") + place));
  }
  EXPECT_THAT(output.text, Not(HasSubstr(": reached")));
}

}  // namespace
}  // namespace sluice::live

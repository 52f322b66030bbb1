// Queries of the configuration's own over several tables, as in acceptance scenario 003, on every engine.
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engines.h"

namespace sluice::live {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kSchema =
    "CREATE TABLE department(id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL);"
    "CREATE TABLE employee(id BIGINT PRIMARY KEY, name VARCHAR(40), department_id INTEGER);"
    "INSERT INTO department VALUES (1, 'sales'), (2, 'it'), (3, 'empty');"
    "INSERT INTO employee VALUES (1, 'ann', 1), (2, 'bob', 2), (3, NULL, 2);";

constexpr const char* kPolicies = R"(
[[policy]]
name = "departments"
key = "q:departments"
backend = "shop"
table = "department"
query = "SELECT id, name FROM department ORDER BY id"
rows = "many"
value = "json"
read = "cache-aside"

[[policy]]
name = "department"
key = "q:department:{id:int}"
backend = "shop"
table = "department"
query = "SELECT id, name FROM department WHERE id = :id"
value = "json"
read = "cache-aside"

[[policy]]
name = "employee"
key = "q:employee:{id:int}"
backend = "shop"
table = "employee"
query = """
SELECT e.id, e.name, d.name AS department
FROM employee e JOIN department d ON d.id = e.department_id
WHERE e.id = :id"""
value = "hash"
read = "cache-aside"

[[policy]]
name = "emps"
key = "q:emps:{dept}"
backend = "shop"
table = "employee"
query = "SELECT e.id, e.name FROM employee e JOIN department d ON d.id = e.department_id WHERE d.name = :dept ORDER BY e.id"
rows = "many"
value = "json"
read = "cache-aside"

[[policy]]
name = "headcount"
key = "q:headcount:{dept}"
backend = "shop"
table = "employee"
query = "SELECT COUNT(*) AS n FROM employee e JOIN department d ON d.id = e.department_id WHERE d.name = :dept"
value = "raw"
read = "cache-aside"

[[policy]]
name = "several"
key = "q:several:{id:int}"
backend = "shop"
table = "employee"
query = "SELECT name FROM employee WHERE department_id = :id"
value = "json"
read = "cache-aside"
)";

std::string slow(Engine engine) {
  switch (engine) {
    case Engine::sqlite:
      return "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS v FROM n WHERE i > :n";
    case Engine::postgresql:
      return "SELECT pg_sleep(60 + :n) AS v";
    case Engine::mysql:
      return "SELECT SLEEP(60 + :n) AS v";
  }
  return {};
}

// More than a result may have.
std::string huge(Engine engine) {
  if (engine == Engine::mysql) return "SELECT seq AS i FROM seq_1_to_100001 WHERE seq > :n";
  return "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100001) SELECT i FROM n WHERE i > "
         ":n";
}

std::string policy(const std::string& name, const std::string& query, const std::string& more) {
  return "\n[[policy]]\nname = \"" + name + "\"\nkey = \"q:" + name + ":{n:int}\"\nbackend = \"shop\"\n" +
         "table = \"employee\"\nvalue = \"json\"\nread = \"cache-aside\"\nquery = \"" + query + "\"\n" + more;
}

struct Queries : OnEveryEngine {
  static std::string policies() {
    return kPolicies + policy("slow", slow(GetParam()), "load_timeout = \"300ms\"\n") +
           policy("huge", huge(GetParam()), "rows = \"many\"\n") +
           policy("broken", "SELECT id FROM nowhere WHERE id = :n", "");
  }
  EngineRig rig{GetParam(), kSchema, policies()};
  Client proxy{rig.sluice.tcp()};
};
ON_EVERY_ENGINE(Queries);

TEST_P(Queries, AreRunOnceAndThenAnsweredByRedis) {
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(proxy.run({"GET", "q:departments"}),
              R"([{"id":1,"name":"sales"},{"id":2,"name":"it"},{"id":3,"name":"empty"}])");
    EXPECT_EQ(proxy.run({"GET", "q:department:1"}), R"({"id":1,"name":"sales"})");
    EXPECT_EQ(proxy.run({"HGETALL", "q:employee:1"}), "[id, 1, name, ann, department, sales]");
    EXPECT_EQ(proxy.run({"GET", "q:emps:it"}), R"([{"id":2,"name":"bob"},{"id":3,"name":null}])");
    EXPECT_EQ(proxy.run({"GET", "q:headcount:it"}), "2");
    EXPECT_EQ(rig.sluice.sql_reads(), 5);
  }
  EXPECT_EQ(rig.redis.run({"GET", "q:headcount:it"}), "2");
}

TEST_P(Queries, GiveNothingForUnknownKeysAndAnEmptyArrayForNoRows) {
  EXPECT_EQ(proxy.run({"GET", "q:department:9"}), "(nil)");
  EXPECT_EQ(proxy.run({"GET", "q:department:9"}), "(nil)");
  EXPECT_EQ(proxy.run({"HGETALL", "q:employee:9"}), "[]");
  EXPECT_EQ(proxy.run({"GET", "q:emps:empty"}), "[]");
  EXPECT_EQ(rig.sluice.sql_reads(), 3);
  EXPECT_EQ(proxy.run({"GET", "q:department:x"}), "(nil)");
  EXPECT_EQ(proxy.run({"GET", "q:departments:1"}), "(nil)");
  EXPECT_EQ(rig.sluice.sql_reads(), 3) << "not of the template";
}

TEST_P(Queries, LeaveOutAFieldThatIsNull) {
  EXPECT_EQ(proxy.run({"HGETALL", "q:employee:3"}), "[id, 3, department, it]");
  EXPECT_EQ(proxy.run({"HGET", "q:employee:3", "name"}), "(nil)");
}

TEST_P(Queries, OfSeveralKeysAreAnsweredTogether) {
  EXPECT_EQ(proxy.run({"MGET", "q:department:1", "q:department:9", "q:emps:sales", "q:department:1"}),
            R"([{"id":1,"name":"sales"}, (nil), [{"id":1,"name":"ann"}], {"id":1,"name":"sales"}])");
  EXPECT_EQ(rig.sluice.sql_reads(), 3);
}

TEST_P(Queries, AreInspected) {
  EXPECT_EQ(proxy.run({"SLUICE", "DBGET", "q:emps:sales"}), R"([{"id":1,"name":"ann"}])");
  EXPECT_EQ(rig.redis.run({"EXISTS", "q:emps:sales"}), "(integer) 0");
  EXPECT_EQ(proxy.run({"SLUICE", "SOURCE", "q:headcount:sales"}), "[1, sql]");
  proxy.run({"GET", "q:headcount:sales"});
  EXPECT_EQ(proxy.run({"SLUICE", "SOURCE", "q:headcount:sales"}), "[1, redis]");
  proxy.run({"GET", "q:emps:sales"});
  EXPECT_THAT(proxy.run({"SLUICE", "STATUS", "q:emps:sales"}), HasSubstr("synced, (integer) 1"));
  rig.db.exec("UPDATE employee SET name = 'eve' WHERE id = 1");
  EXPECT_THAT(proxy.run({"SLUICE", "STATUS", "q:emps:sales"}), HasSubstr("synced, (integer) 0"));
  EXPECT_EQ(proxy.run({"SLUICE", "INVALIDATE", "q:emps:sales"}), "(integer) 1");
  EXPECT_EQ(proxy.run({"GET", "q:emps:sales"}), R"([{"id":1,"name":"eve"}])");
}

TEST_P(Queries, WithMoreRowsThanTheyMayHaveSayWhichOption) {
  EXPECT_EQ(proxy.run({"GET", "q:several:1"}), R"({"name":"ann"})");
  EXPECT_THAT(proxy.run({"GET", "q:several:2"}),
              AllOf(StartsWith("(error) SQLREJECT 54000"), HasSubstr("more than 1 row"), HasSubstr("see rows")));
  EXPECT_THAT(proxy.run({"GET", "q:huge:0"}),
              AllOf(StartsWith("(error) SQLREJECT 54000"), HasSubstr("more than 100000 rows")));
  EXPECT_EQ(proxy.run({"GET", "q:huge:100000"}), R"([{"i":100001}])");
}

TEST_P(Queries, ThatTakeTooLongEndAndOthersAreAnswered) {
  EXPECT_THAT(proxy.run({"GET", "q:slow:1"}), StartsWith("(error) TRYAGAIN sluice: policy 'slow'"));
  EXPECT_EQ(proxy.run({"GET", "q:department:1"}), R"({"id":1,"name":"sales"})");
}

TEST_P(Queries, ThatTheDatabaseRefusesAreAnErrorThatNamesThePolicy) {
  EXPECT_THAT(proxy.run({"GET", "q:broken:1"}),
              AllOf(StartsWith("(error) ERR sluice: policy 'broken'"), HasSubstr("nowhere")));
}

struct QueryChecks : OnEveryEngine {
  std::string configure(const std::string& policies) {
    std::string file = dir.file("sluice.toml");
    write_file(file, "upstream.url = \"" + redis.url() + "\"\nbackend.shop.url = \"" + db.url() + "\"\n" + policies);
    return file;
  }
  TempDir dir;
  RedisServer redis;
  EngineDatabase db{GetParam()};
};
ON_EVERY_ENGINE(QueryChecks);

TEST_P(QueryChecks, PrepareEveryQueryOnTheDatabase) {
  db.exec(kSchema);
  const Output good = run({SLUICE_BINARY, "--check", "--connect", "-c", configure(Queries::policies())});
  EXPECT_EQ(good.status, 78);
  EXPECT_THAT(good.text, AllOf(HasSubstr("preparing the query"), HasSubstr("nowhere")));
  const Output clashes = run({SLUICE_BINARY, "--check", "--connect", "-c",
                              configure(policy("join",
                                               "SELECT e.id, d.id FROM employee e JOIN department d ON d.id = "
                                               "e.department_id WHERE e.id = :n",
                                               ""))});
  EXPECT_EQ(clashes.status, 78);
  EXPECT_THAT(clashes.text,
              AllOf(HasSubstr("sluice.toml:11:9: "), HasSubstr("two columns of the result are named 'id'")));
  EXPECT_EQ(run({SLUICE_BINARY, "--check", "--connect", "-c", configure(kPolicies)}).status, 0);
}

TEST_P(QueryChecks, ExplainShowsTheQueryOfAKey) {
  const Output output = run({SLUICE_BINARY, "-c", configure(kPolicies), "explain", "q:employee:7"});
  EXPECT_EQ(output.status, 0) << output.text;
  EXPECT_THAT(output.text, AllOf(HasSubstr("query     SELECT e.id"), HasSubstr("id = 7"), HasSubstr("one row")));
}

}  // namespace
}  // namespace sluice::live

// Policies with a query of their own: what is asked of SQL, and the values that its results become.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "policies/fuse_scripts.h"
#include "policies/policy_metrics.h"
#include "policies/query_mapping.h"
#include "policies/table_check.h"
#include "tests/policies/proxy_double.h"
#include "tests/policies/step_test.h"

namespace sluice::policies::testing {
namespace {

using conf::Rows;
using conf::ValueMode;
using sql::ColumnType;
using ::testing::HasSubstr;

constexpr const char* kToken = "0123456789abcdef00000001";
constexpr const char* kEmployee = "SELECT * FROM employee WHERE id = :id";
constexpr const char* kAnn = R"({"id":1,"name":"ann"})";
const sql::Value kOne{std::int64_t{1}};

sql::Value text(const char* value) { return std::string(value); }
sql::Column column(const char* name, ColumnType type) {
  sql::Column column;
  column.name = name;
  column.type = type;
  return column;
}
sql::Result result(std::vector<sql::Column> columns, std::vector<sql::Row> all) {
  sql::Result result = rows(std::move(all));
  result.columns = std::move(columns);
  return result;
}
std::string bulk_reply(const std::string& text) { return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n"; }

class Query : public ::testing::Test {
 protected:
  Query() {
    options.name = "employees";
    options.key = key_template("q:employee:{id:int}");
    options.backend = "shop";
    options.read = conf::ReadMode::cache_aside;
    options.query = kEmployee;
    options.ttl_jitter = 0;
    options.ttl = Milliseconds(60000);
  }

  Policy& policy() {
    if (!policy_) policy_ = make_policy(options);
    return *policy_;
  }
  Stepper begin(std::vector<std::string> command, std::uint32_t id = 1) {
    return Stepper(policy().begin(miss(std::move(command))), id);
  }
  static std::string side(const std::string& key) { return "__sluice:{" + key + "}:" + key; }
  static RedisCommand lease(const std::string& key) {
    return {&fuse::lease(), {"2", key, side(key), kToken, "3000", "S"}};
  }
  static RedisCommand fill(const std::string& key, const std::string& what, const std::string& ttl,
                           std::vector<std::string> payload = {}) {
    RedisCommand command{&fuse::fill(), {"2", key, side(key), kToken, "S", what, ttl, "1000", ""}};
    command.args.insert(command.args.end(), payload.begin(), payload.end());
    return command;
  }
  static Step query(std::int64_t id, std::size_t rows_max = 1) {
    sql::ReadQuery read{kEmployee, {{"id", id}}};
    read.rows_max = rows_max;
    return CallSql{std::move(read), Milliseconds(3000)};
  }
  std::vector<resp::Reply> leased(std::size_t keys = 1) const {
    return std::vector<resp::Reply>(keys, array({bulk("LEASE")}));
  }
  sql::Result ann() const {
    return result({column("id", ColumnType::integer), column("name", ColumnType::text)}, {{kOne, text("ann")}});
  }
  // What becomes of the only row with these columns.
  std::string value_of(const sql::Result& result) {
    const auto copy = copy_of(options, result);
    if (!copy) return "refused: " + copy.why();
    if (!*copy) return "nothing";
    std::string out = (*copy)->text;
    for (const std::string& part : (*copy)->fields) out += part + "|";
    return out;
  }

  conf::PolicyOptions options;

 private:
  std::unique_ptr<Policy> policy_;
};

TEST_F(Query, AMissLeasesQueriesFillsAndRepliesWithoutAskingForATable) {
  Stepper load = begin({"GET", "q:employee:1"});
  EXPECT_EQ(load.start(), Step(CallRedis{{lease("q:employee:1")}}));
  EXPECT_EQ(load.redis(leased()), query(1));
  EXPECT_EQ(load.sql(ann()), Step(CallRedis{{fill("q:employee:1", "VALUE", "60000", {kAnn})}}));
  EXPECT_EQ(load.redis({array({bulk("STORED")})}), reply(bulk_reply(kAnn)));
  EXPECT_EQ(policy().metrics().fills.value(), 1U);
}

TEST_F(Query, NoRowIsAnAbsentKeyThatIsRemembered) {
  Stepper load = begin({"GET", "q:employee:9"});
  load.start();
  load.redis(leased());
  EXPECT_EQ(load.sql(result(ann().columns, {})), Step(CallRedis{{fill("q:employee:9", "ABSENT", "10000")}}));
  EXPECT_EQ(load.redis({array({bulk("STORED")})}), reply("$-1\r\n"));
}

TEST_F(Query, OfManyRowsIsAnArrayAndAnEmptyOneOfNone) {
  options.rows = Rows::many;
  Stepper load = begin({"GET", "q:employee:1"});
  load.start();
  EXPECT_EQ(load.redis(leased()), query(1, sql::kQueryRowsMax));
  sql::Result two = ann();
  two.rows.push_back({std::int64_t{2}, {}});
  EXPECT_EQ(
      load.sql(two),
      Step(CallRedis{{fill("q:employee:1", "VALUE", "60000", {R"([{"id":1,"name":"ann"},{"id":2,"name":null}])"})}}));
  EXPECT_EQ(value_of(result(ann().columns, {})), "[]");
}

TEST_F(Query, MoreRowsThanOneAreAnErrorThatNamesTheOption) {
  Stepper load = begin({"GET", "q:employee:1"});
  load.start();
  load.redis(leased());
  const Step given_back = load.sql(failed(sql::Failure::refused, "54000"));
  EXPECT_EQ(given_back, Step(CallRedis{{fill("q:employee:1", "NONE", "10000")}}));
  EXPECT_EQ(load.redis({array({bulk("REFUSED")})}), reply("-SQLREJECT 54000 because (see rows)\r\n"));
}

TEST_F(Query, ParametersAreIntegersOrTextAsTheTemplateSays) {
  options.key = key_template("q:{a:int}:{b}:{c:uuid}:{d*}");
  const auto parameters = query_parameters(options, "q:-7:7:0123abcd-4567-89ef-0123-456789abcdef:x:y");
  ASSERT_TRUE(parameters);
  EXPECT_EQ(*parameters, (std::vector<sql::Bound>{{"a", std::int64_t{-7}},
                                                  {"b", text("7")},
                                                  {"c", text("0123abcd-4567-89ef-0123-456789abcdef")},
                                                  {"d", text("x:y")}}));
}

TEST_F(Query, ATemplateWithoutAPlaceholderHasNoParameters) {
  options.key = key_template("q:departments");
  const auto parameters = query_parameters(options, "q:departments");
  ASSERT_TRUE(parameters);
  EXPECT_TRUE(parameters->empty());
  EXPECT_FALSE(query_parameters(options, "q:departments:1"));
}

TEST_F(Query, BytesThatAreNoTextAreAnAbsentKeyAndNeverReachSql) {
  options.key = key_template("q:{name}");
  options.query = "SELECT 1 AS n WHERE :name = ''";
  for (const std::string& key : {std::string("q:\xff"), std::string("q:a\0b", 5)}) {
    Stepper load = begin({"GET", key});
    EXPECT_EQ(load.start(), reply("$-1\r\n"));
  }
}

TEST_F(Query, EveryTypeHasTheFormThatItHasInRows) {
  const sql::Result all =
      result({column("i", ColumnType::integer), column("r", ColumnType::real), column("d", ColumnType::decimal),
              column("b", ColumnType::boolean), column("j", ColumnType::json), column("x", ColumnType::bytes),
              column("t", ColumnType::timestamp), column("n", ColumnType::text)},
             {{std::int64_t{9007199254740993},
               0.5,
               text("1.10"),
               kOne,
               text("{\"a\": [1]}"),
               sql::Blob{"\x01"},
               text("2024-06-21T00:00:00"),
               {}}});
  EXPECT_EQ(value_of(all), R"({"i":9007199254740993,"r":0.5,"d":1.10,"b":true,"j":{"a":[1]},"x":"AQ==",)"
                           R"("t":"2024-06-21T00:00:00","n":null})");
  options.value = ValueMode::hash;
  EXPECT_EQ(value_of(all),
            std::string("i|9007199254740993|r|0.5|d|1.10|b|1|j|{\"a\": [1]}|x|\x01|t|2024-06-21T00:00:00|"));
}

TEST_F(Query, ANumberOfAColumnWithoutATypeIsANumber) {
  const std::vector<sql::Column> untyped{column("n", ColumnType::text)};
  EXPECT_EQ(value_of(result(untyped, {{std::int64_t{7}}})), R"({"n":7})");
  EXPECT_EQ(value_of(result(untyped, {{0.5}})), R"({"n":0.5})");
  EXPECT_EQ(value_of(result(untyped, {{text("7")}})), R"({"n":"7"})");
}

TEST_F(Query, ARawValueIsTheOnlyColumn) {
  options.value = ValueMode::raw;
  EXPECT_EQ(value_of(result({column("n", ColumnType::integer)}, {{std::int64_t{7}}})), "7");
  EXPECT_EQ(value_of(result({column("n", ColumnType::integer)}, {{sql::Value()}})), "nothing");
  EXPECT_THAT(value_of(ann()), HasSubstr("gives 2 columns"));
  Stepper load = begin({"GET", "q:employee:1"});
  load.start();
  load.redis(leased());
  EXPECT_EQ(load.sql(ann()), Step(CallRedis{{fill("q:employee:1", "NONE", "10000")}}));
  EXPECT_EQ(load.redis({array({bulk("REFUSED")})}),
            reply("-ERR sluice: policy 'employees': the query gives 2 columns: a raw value is one\r\n"));
}

TEST_F(Query, AHashWithoutFieldsIsAbsent) {
  options.value = ValueMode::hash;
  EXPECT_EQ(value_of(result({column("n", ColumnType::integer)}, {{sql::Value()}})), "nothing");
}

TEST_F(Query, OfSeveralKeysAreRunOneAfterTheOtherEachFilledBeforeTheNext) {
  Stepper load = begin({"MGET", "q:employee:1", "q:employee:2"});
  EXPECT_EQ(load.start(), Step(CallRedis{{lease("q:employee:1"), lease("q:employee:2")}}));
  EXPECT_EQ(load.redis(leased(2)), query(1));
  EXPECT_EQ(load.sql(ann()), Step(CallRedis{{fill("q:employee:1", "VALUE", "60000", {kAnn})}}));
  EXPECT_EQ(load.redis({array({bulk("STORED")})}), query(2));
  EXPECT_EQ(load.sql(result(ann().columns, {})), Step(CallRedis{{fill("q:employee:2", "ABSENT", "10000")}}));
  EXPECT_EQ(load.redis({array({bulk("STORED")})}), reply("*2\r\n" + bulk_reply(kAnn) + "$-1\r\n"));
}

TEST_F(Query, LeasesThatHaveBecomeShortAreRenewedBeforeTheNextQuery) {
  Stepper load = begin({"MGET", "q:employee:1", "q:employee:2"});
  load.start();
  load.redis(leased(2));
  load.clock += Milliseconds(2000);
  load.sql(ann());
  EXPECT_EQ(load.redis({array({bulk("STORED")})}), Step(CallRedis{{lease("q:employee:2")}}));
  EXPECT_EQ(load.redis(leased()), query(2));
}

TEST_F(Query, ADatabaseThatDoesNotAnswerIsNotAskedForTheOtherKeys) {
  Stepper load = begin({"MGET", "q:employee:1", "q:employee:2"});
  load.start();
  load.redis(leased(2));
  const Step back = load.sql(failed(sql::Failure::unavailable));
  EXPECT_EQ(back, Step(CallRedis{{fill("q:employee:1", "NONE", "10000")}}));
  load.redis({array({bulk("REFUSED")})});
  EXPECT_EQ(load.redis({array({bulk("REFUSED")})}), reply("-TRYAGAIN sluice: policy 'employees': because\r\n"));
}

TEST_F(Query, DbgetAndSourceShowWhatTheQueryGives) {
  Stepper dbget(policy().begin(about(Verb::dbget, "q:employee:1")));
  EXPECT_EQ(dbget.start(), query(1));
  EXPECT_EQ(dbget.sql(ann()), reply(bulk_reply(kAnn)));
  Stepper source(policy().begin(about(Verb::source, "q:employee:1")));
  source.start();
  EXPECT_EQ(source.redis({resp::Reply{}}), query(1));
  EXPECT_EQ(source.sql(ann()), reply("*2\r\n" + bulk_reply(kAnn) + "$3\r\nsql\r\n"));
}

TEST_F(Query, ItsColumnsAreCheckedForARawValue) {
  EXPECT_TRUE(check_query(options, ann().columns).empty());
  options.value = ValueMode::raw;
  const auto findings = check_query(options, ann().columns);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_FALSE(findings[0].warning);
  EXPECT_THAT(findings[0].text, HasSubstr("2 columns"));
}

}  // namespace
}  // namespace sluice::policies::testing

// Offline: what is printed about a configuration.
#include "proxy/offline.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kConfig = R"(
[proxy]
listen = ["127.0.0.1:6380"]
[upstream]
url = "redis://127.0.0.1:6379"
[backend.shop]
url = "sqlite:shop.db"
[[policy]]
name = "user"
key = "user:{id:int}"
alias = "u-{id:int}"
backend = "shop"
table = "users"
value = "json"
write = "write-through"
ttl = "90s"
[[policy]]
name = "views"
key = "counter:{id}"
backend = "shop"
table = "counters"
value = "counter"
column = "value"
flush_interval = "2s"
[[policy]]
name = "orders"
key = "q:orders:{user:int}"
backend = "shop"
table = "orders"
value = "json"
read = "cache-aside"
query = """
SELECT o.id
FROM orders o WHERE o.user = :user"""
rows = "many"
)";

conf::Config config() {
  conf::Loaded loaded = conf::load_text(kConfig);
  for (const conf::Mistake& mistake : loaded.mistakes) ADD_FAILURE() << mistake.message;
  return std::move(loaded.config);
}

TEST(Check, AGoodFileIsSaidToBeGood) {
  const Printed printed = print_check(conf::load_text(kConfig), "a.toml");
  EXPECT_EQ(printed.exit_code, 0);
  EXPECT_EQ(printed.output, "a.toml: the configuration is good\n");
}

TEST(Check, EveryMistakeIsALine) {
  conf::Loaded loaded;
  loaded.mistakes = {{3, 7, "no such key"}, {4, 1, "not a duration"}};
  const Printed printed = print_check(loaded, "a.toml");
  EXPECT_EQ(printed.exit_code, 78);
  EXPECT_EQ(printed.output, "a.toml:3:7: no such key\na.toml:4:1: not a duration\n");
}

TEST(Schema, OfACounterHasTheTableOfItsBookkeepingToo) {
  const Printed printed = print_schema(config(), "views");
  EXPECT_EQ(printed.exit_code, 0);
  EXPECT_THAT(printed.output, HasSubstr("CREATE TABLE \"counters\""));
  EXPECT_THAT(printed.output, HasSubstr("CREATE TABLE sluice_counter_src"));
  EXPECT_THAT(printed.output, Not(HasSubstr("Add a column")));
  EXPECT_TRUE(printed.output.ends_with(";\n")) << "not ready for a database's shell";
}

TEST(Schema, OfRowsIsAProposal) {
  conf::Config config = proxy::config();
  EXPECT_EQ(print_schema(config, "user").output,
            "-- A table for the policy \"user\", as far as the configuration tells.\n"
            "-- Add a column for each field: it gets the field's name.\n"
            "CREATE TABLE \"users\" (\n"
            "  \"id\" INTEGER NOT NULL,\n"
            "  PRIMARY KEY (\"id\")\n"
            ") STRICT;\n");
  config.policies[0].only_columns = {"name"};
  EXPECT_EQ(print_schema(config, "user").output,
            "-- A table for the policy \"user\", as far as the configuration tells.\n"
            "CREATE TABLE \"users\" (\n"
            "  \"id\" INTEGER NOT NULL,\n"
            "  \"name\" TEXT,  -- the configuration does not say of which type: choose it\n"
            "  PRIMARY KEY (\"id\")\n"
            ") STRICT;\n");
}

TEST(Schema, IsInTheDialectOfTheBackend) {
  conf::Config config = proxy::config();
  config.backends[0].kind = conf::BackendOptions::Kind::postgresql;
  EXPECT_THAT(print_schema(config, "views").output, HasSubstr("\"id\" TEXT COLLATE \"C\" NOT NULL"));
  config.backends[0].kind = conf::BackendOptions::Kind::mysql;
  EXPECT_THAT(print_schema(config, "views").output, HasSubstr("utf8mb4_nopad_bin"));
}

TEST(Schema, OfAnOutboxHasItsTableAndTriggers) {
  conf::Config config = proxy::config();
  config.policies[0].invalidation = conf::Invalidation::outbox;
  for (const auto kind : {conf::BackendOptions::Kind::sqlite, conf::BackendOptions::Kind::postgresql,
                          conf::BackendOptions::Kind::mysql}) {
    config.backends[0].kind = kind;
    const std::string output = print_schema(config, "user").output;
    EXPECT_THAT(output, HasSubstr("CREATE TABLE IF NOT EXISTS sluice_outbox"));
    EXPECT_THAT(output, testing::ContainsRegex("CREATE TRIGGER .sluice_outbox_user"));
    EXPECT_TRUE(output.ends_with(";\n")) << "not ready for a database's shell";
    EXPECT_THAT(print_schema(config, "views").output, Not(HasSubstr("sluice_outbox")));
  }
}

TEST(Schema, OfAnUnknownPolicyIsWrongUse) {
  const Printed printed = print_schema(config(), "nobody");
  EXPECT_EQ(printed.exit_code, 2);
  EXPECT_THAT(printed.output, IsEmpty());
  EXPECT_THAT(printed.error, HasSubstr("user, views"));
}

TEST(Explanation, NamesThePolicyTheRowAndTheCommands) {
  const Printed printed = print_explanation(config(), "user:7");
  EXPECT_EQ(printed.exit_code, 0);
  EXPECT_THAT(printed.output, HasSubstr("policy    user "));
  EXPECT_THAT(printed.output, HasSubstr("of users where id = 7\n"));
  EXPECT_THAT(printed.output, HasSubstr("ttl       90s\n"));
  EXPECT_THAT(printed.output, HasSubstr("read      exists expiretime get "));
  EXPECT_THAT(printed.output, HasSubstr("operate   "));
  EXPECT_THAT(printed.output, Not(HasSubstr("alias of")));
}

TEST(Explanation, TellsOfAnOutbox) {
  conf::Config config = proxy::config();
  EXPECT_THAT(print_explanation(config, "user:7").output, Not(HasSubstr("outbox")));
  config.policies[0].invalidation = conf::Invalidation::outbox;
  EXPECT_THAT(print_explanation(config, "user:7").output, HasSubstr("outbox    what others change in SQL"));
}

TEST(Explanation, ResolvesAnAlias) {
  const std::string output = print_explanation(config(), "u-7").output;
  EXPECT_THAT(output, HasSubstr("alias of  user:7\n"));
  EXPECT_THAT(output, HasSubstr("of users where id = 7\n"));
}

TEST(Explanation, OfACounterTellsWhenItIsFlushed) {
  EXPECT_THAT(print_explanation(config(), "counter:home").output, HasSubstr("flush     every 2s\n"));
}

TEST(Explanation, ShowsTheErrorOfRefusedCommands) {
  EXPECT_THAT(print_explanation(config(), "user:7").output, HasSubstr("unmanaged_writes"));
}

TEST(Explanation, SaysThatNobodyOwnsAKey) {
  EXPECT_THAT(print_explanation(config(), "session:1").output,
              HasSubstr("none: every command goes to Redis unchanged"));
}

TEST(Explanation, SaysThatAKeyOnlyHasThePrefix) {
  EXPECT_THAT(print_explanation(config(), "user:ada").output, HasSubstr("does not match its template, user:{id:int}"));
}

TEST(Explanation, SaysThatAKeyIsReserved) {
  EXPECT_THAT(print_explanation(config(), "__sluice:x").output, HasSubstr("side key"));
}

TEST(Explanation, OfAQueryShowsIt) {
  const Printed printed = print_explanation(config(), "q:orders:7");
  EXPECT_THAT(printed.output, HasSubstr("query     SELECT o.id\n          FROM orders o WHERE o.user = :user\n"
                                        "with      user = 7\ngives     an array of all rows\n"));
  EXPECT_THAT(printed.output, Not(HasSubstr("row  ")));
}

TEST(Schema, IsNotProposedForAPolicyWithAQuery) {
  const Printed printed = print_schema(config(), "orders");
  EXPECT_EQ(printed.exit_code, 2);
  EXPECT_THAT(printed.error, HasSubstr("has a query"));
}

}  // namespace
}  // namespace sluice::proxy

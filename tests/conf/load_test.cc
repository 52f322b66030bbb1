// Loading: defaults, overrides, variables, secrets and addresses of a configuration.
#include "conf/load.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::conf {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

std::vector<std::string> mistakes_of(std::string_view text, const std::vector<Override>& overrides = {}) {
  std::vector<std::string> found;
  for (const Mistake& mistake : load_text(text, overrides).mistakes) found.push_back(to_string(mistake, "f"));
  return found;
}

Config load(std::string_view text, const std::vector<Override>& overrides = {}) {
  EXPECT_THAT(mistakes_of(text, overrides), IsEmpty());
  return load_text(text, overrides).config;
}

// A policy named p with these keys besides those that every policy needs.
std::string policy_text(const std::string& keys) {
  return "[backend.shop]\nurl = \"sqlite:shop.db\"\n[[policy]]\nname = \"p\"\nkey = \"p:{id}\"\nbackend = \"shop\"\n"
         "table = \"t\"\n" +
         keys;
}

PolicyOptions policy(const std::string& keys) {
  const Config config = load(policy_text(keys));
  return config.policies.empty() ? PolicyOptions() : config.policies[0];
}

UpstreamOptions upstream(const std::string& url) { return load("[upstream]\nurl = \"" + url + "\"").upstream; }

std::string upstream_error(const std::string& url) {
  const std::vector<std::string> found = mistakes_of("[upstream]\nurl = \"" + url + "\"");
  return found.empty() ? "accepted" : found[0];
}

// A file with these contents, gone with the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& contents)
      : path_(std::filesystem::path(::testing::TempDir()) / unique_name()) {
    std::ofstream(path_, std::ios::binary) << contents;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  std::string path() const { return path_.string(); }

 private:
  static std::string unique_name() {
    static int count = 0;
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    return std::string("sluice_") + test->name() + std::to_string(++count);
  }
  std::filesystem::path path_;
};

// An environment variable for the length of a test.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

// --- Defaults.

TEST(Load, AnEmptyFileIsAllDefaults) {
  const Config config = load("");
  ASSERT_EQ(config.proxy.listen.size(), 1U);
  EXPECT_EQ(to_string(config.proxy.listen[0]), "127.0.0.1:6380");
  EXPECT_EQ(config.proxy.threads, 1);
  EXPECT_EQ(config.proxy.max_clients, 10000);
  EXPECT_EQ(config.proxy.idle_timeout, milliseconds(0));
  EXPECT_EQ(config.proxy.max_bulk_length, 512U << 20);
  EXPECT_EQ(config.proxy.shutdown_timeout, milliseconds(10000));
  EXPECT_EQ(to_string(config.upstream.endpoint), "127.0.0.1:6379");
  EXPECT_EQ(config.upstream.db, 0);
  ASSERT_TRUE(config.admin.listen);
  EXPECT_EQ(to_string(*config.admin.listen), "127.0.0.1:9380");
  EXPECT_THAT(config.admin.users, ElementsAre("default"));
  EXPECT_THAT(config.backends, IsEmpty());
  EXPECT_THAT(config.policies, IsEmpty());
}

TEST(Load, AnEmptyAdminAddressTurnsItOff) {
  EXPECT_FALSE(load("[admin]\nlisten = \"\"").admin.listen);
  EXPECT_TRUE(load("[admin]\nusers = []").admin.listen);
}

TEST(Load, UnmanagedWritesAreRejectedOnWriteAndCounterPolicies) {
  EXPECT_EQ(policy("value = \"json\"\nread = \"cache-aside\"").unmanaged_writes, Unmanaged::forward);
  EXPECT_EQ(policy("value = \"json\"\nwrite = \"write-through\"").unmanaged_writes, Unmanaged::reject);
  EXPECT_EQ(policy("value = \"counter\"\ncolumn = \"n\"").unmanaged_writes, Unmanaged::reject);
  EXPECT_EQ(policy("value = \"json\"\nwrite = \"write-through\"\nunmanaged_writes = \"forward\"").unmanaged_writes,
            Unmanaged::forward);
}

TEST(Load, CountersFlushEverySecond) {
  EXPECT_EQ(policy("value = \"counter\"\ncolumn = \"n\"").flush_interval, milliseconds(1000));
  EXPECT_EQ(policy("value = \"counter\"\ncolumn = \"n\"\nflush_interval = \"20ms\"").flush_interval, milliseconds(20));
}

TEST(Load, WritePoliciesFill) {
  EXPECT_TRUE(policy("value = \"json\"\nwrite = \"write-through\"").fills());
  EXPECT_TRUE(policy("value = \"json\"\nread = \"cache-aside\"").fills());
  EXPECT_FALSE(policy("value = \"counter\"\ncolumn = \"n\"").fills());
}

TEST(Load, ReadsEveryKeyOfAPolicy) {
  const PolicyOptions users = policy(
      "alias = \"__{{p:{id}}}\"\nvalue = \"hash\"\ncolumns = { pw = \"password\", first = \"first_name\" }\n"
      "unknown_fields = \"ignore\"\nread = \"cache-aside\"\nttl = \"0s\"\nttl_jitter = 0\nnegative_ttl = \"2m\"\n"
      "max_concurrent_loads = 2\nload_timeout = \"250ms\"\non_sql_error = \"miss\"\non_redis_down = \"sql\"\n"
      "write = \"write-through\"\non_write = \"invalidate\"\nwrite_timeout = \"1h\"\nfuse = \"5s\"\nmulti = "
      "\"forward\"");
  EXPECT_EQ(users.key.text(), "p:{id}");
  EXPECT_EQ(users.alias->text(), "__{{p:{id}}}");
  EXPECT_EQ(users.value, ValueMode::hash);
  EXPECT_THAT(users.renames, ElementsAre(FieldColumn{"pw", "password"}, FieldColumn{"first", "first_name"}));
  EXPECT_EQ(users.unknown_fields, UnknownFields::ignore);
  EXPECT_EQ(users.ttl, milliseconds(0));
  EXPECT_EQ(users.ttl_jitter, 0);
  EXPECT_EQ(users.negative_ttl, milliseconds(120000));
  EXPECT_EQ(users.max_concurrent_loads, 2);
  EXPECT_EQ(users.load_timeout, milliseconds(250));
  EXPECT_EQ(users.on_sql_error, OnSqlError::miss);
  EXPECT_EQ(users.on_redis_down, OnRedisDown::sql);
  EXPECT_EQ(users.write, WriteMode::write_through);
  EXPECT_EQ(users.on_write, OnWrite::invalidate);
  EXPECT_EQ(users.write_timeout, milliseconds(3600000));
  EXPECT_EQ(users.fuse, milliseconds(5000));
  EXPECT_EQ(users.multi, InMulti::forward);
}

TEST(Load, AListOfColumnsMeansOnlyThese) {
  EXPECT_THAT(policy("value = \"json\"\nread = \"cache-aside\"\ncolumns = [\"a\", \"b\"]").only_columns,
              ElementsAre("a", "b"));
}

TEST(Load, ReadsEveryKeyOfACounter) {
  const PolicyOptions views = policy(
      "value = \"counter\"\ncolumn = \"n\"\nbatch_size = 7\ncoalesce = true\ndurability_check = \"off\"\n"
      "missing = \"0\"\nload_timeout = \"1s\"\nwrite_timeout = \"2s\"");
  EXPECT_EQ(views.column, "n");
  EXPECT_EQ(views.batch_size, 7);
  EXPECT_TRUE(views.coalesce);
  EXPECT_EQ(views.durability_check, DurabilityCheck::off);
  EXPECT_EQ(views.missing, Missing::zero);
  EXPECT_EQ(views.load_timeout, milliseconds(1000));
  EXPECT_EQ(views.write_timeout, milliseconds(2000));
}

TEST(Load, TwoCountersMayShareATableButNotAColumn) {
  const std::string two = policy_text("value = \"counter\"\ncolumn = \"views\"\n") +
                          "[[policy]]\nname = \"q\"\nkey = \"q:{id}\"\nbackend = \"shop\"\ntable = \"t\"\n"
                          "value = \"counter\"\ncolumn = ";
  EXPECT_THAT(mistakes_of(two + "\"likes\""), IsEmpty());
  EXPECT_EQ(mistakes_of(two + "\"views\"").size(), 2U);
}

// --- Addresses.

TEST(Load, ListenIsOneAddressOrSeveral) {
  const auto listen = [](const std::string& value) {
    std::vector<std::string> texts;
    for (const Endpoint& endpoint : load("[proxy]\nlisten = " + value).proxy.listen)
      texts.push_back(to_string(endpoint));
    return texts;
  };
  EXPECT_THAT(listen("\"0.0.0.0:1\""), ElementsAre("0.0.0.0:1"));
  EXPECT_THAT(listen("[\"localhost:0\", \"[::1]:65535\", \"unix:/run/s.sock\", \"unix:///run/t.sock\"]"),
              ElementsAre("localhost:0", "[::1]:65535", "unix:/run/s.sock", "unix:/run/t.sock"));
}

TEST(Load, TheUpstreamUrlNamesHostPortAndDatabase) {
  EXPECT_EQ(to_string(upstream("redis://cache").endpoint), "cache:6379");
  EXPECT_EQ(to_string(upstream("redis://[::1]:7/").endpoint), "[::1]:7");
  EXPECT_EQ(upstream("redis://cache/15").db, 15);
  EXPECT_EQ(to_string(upstream("unix:/run/redis.sock").endpoint), "unix:/run/redis.sock");
  EXPECT_EQ(upstream("unix:/run/redis.sock?db=3").db, 3);
}

TEST(Load, CredentialsMayStandInTheUpstreamUrl) {
  const UpstreamOptions both = upstream("redis://ann:p%40ss:w%2Frd@cache:1/2");
  EXPECT_EQ(both.user, "ann");
  EXPECT_EQ(both.password, "p@ss:w/rd");
  EXPECT_EQ(to_string(both.endpoint), "cache:1");
  EXPECT_EQ(both.db, 2);
  EXPECT_EQ(upstream("redis://:secret@cache").user, "");
  EXPECT_EQ(upstream("redis://:secret@cache").password, "secret");
}

TEST(Load, RefusesUpstreamUrlsThatAreNone) {
  EXPECT_THAT(upstream_error("http://cache"), HasSubstr("not the URL of a Redis"));
  EXPECT_THAT(upstream_error("127.0.0.1:6379"), HasSubstr("not the URL of a Redis"));
  EXPECT_THAT(upstream_error("redis://"), HasSubstr("names no host"));
  EXPECT_THAT(upstream_error("redis://cache:0"), HasSubstr("port of a Redis is not 0"));
  EXPECT_THAT(upstream_error("redis://cache:port"), HasSubstr("a port is a number"));
  EXPECT_THAT(upstream_error("redis://[::1"), HasSubstr("lacks a ']'"));
  EXPECT_THAT(upstream_error("redis://cache/-1"), HasSubstr("not the number of a Redis database"));
  EXPECT_THAT(upstream_error("redis://cache/99999999999"), HasSubstr("not the number of a Redis database"));
  EXPECT_THAT(upstream_error("redis://ann:%zz@cache"), HasSubstr("two hexadecimal digits"));
  EXPECT_THAT(upstream_error("redis://%ff@cache"), HasSubstr("not UTF-8"));
  EXPECT_THAT(upstream_error("unix:/run/redis.sock?timeout=1"), HasSubstr("?db=N"));
}

TEST(Load, MistakesInUrlsDoNotShowPasswords) {
  for (const char* url : {"redis://ann:hunter2@ca che", "rediss://ann:hunter2@cache", "redis://ann:hunter2%@cache",
                          "redis://ann:hunter2@cache:x", "ann:hunter2@cache", "redis://ann:hunter2@cache/x"}) {
    EXPECT_THAT(upstream_error(url), AllOf(Not(HasSubstr("hunter2")), Not(HasSubstr("accepted")))) << url;
  }
}

TEST(Load, SqliteUrlsNameAFile) {
  const auto path = [](const std::string& url) {
    const Config config = load("[backend.shop]\nurl = \"" + url + "\"");
    return config.backends.empty() ? std::string() : config.backends[0].path;
  };
  EXPECT_EQ(path("sqlite:shop.db"), "shop.db");
  EXPECT_EQ(path("sqlite:/var/lib/shop.db"), "/var/lib/shop.db");
  EXPECT_EQ(path("sqlite:///var/lib/shop.db"), "/var/lib/shop.db");
  EXPECT_EQ(path("sqlite:a@b:c.db"), "a@b:c.db");
}

// --- Variables and secrets.

TEST(Load, VariablesAreReplacedInStrings) {
  const Variable host("SLUICE_TEST_HOST", "cache");
  const Variable empty("SLUICE_TEST_EMPTY", "");
  EXPECT_EQ(to_string(upstream("redis://${SLUICE_TEST_HOST}:${SLUICE_TEST_PORT:-7000}").endpoint), "cache:7000");
  EXPECT_EQ(to_string(upstream("redis://${SLUICE_TEST_EMPTY:-fallback}").endpoint), "fallback:6379");
  EXPECT_EQ(load("[upstream]\nuser = \"a${SLUICE_TEST_EMPTY}b$c$${d}\"").upstream.user, "ab$c${d}");
  EXPECT_EQ(load("[proxy]\nidle_timeout = \"${SLUICE_TEST_TIMEOUT:-5}s\"").proxy.idle_timeout, milliseconds(5000));
}

TEST(Load, AVariableThatIsNotSetIsAMistakeAtItsPlace) {
  EXPECT_THAT(mistakes_of("[upstream]\nuser = \"x\"\nurl = \"redis://${SLUICE_TEST_UNSET}\""),
              ElementsAre(AllOf(HasSubstr("f:3:7: url: "), HasSubstr("SLUICE_TEST_UNSET is not set"))));
}

TEST(Load, AVariableThatIsNotUtf8IsAMistake) {
  const Variable bytes("SLUICE_TEST_BYTES", "\xff");
  EXPECT_THAT(mistakes_of("[upstream]\nuser = \"${SLUICE_TEST_BYTES}\""), ElementsAre(HasSubstr("not UTF-8")));
}

TEST(Load, SecretsComeFromTheirFilesWithoutTheLastNewline) {
  const TemporaryFile password("hunter2\n");
  const TemporaryFile token("a b\r\n\n");
  const TemporaryFile url("sqlite:other.db\n");
  const Config config = load("[upstream]\npassword_file = \"" + password.path() + "\"\n[admin]\ntoken_file = \"" +
                             token.path() + "\"\n[backend.shop]\nurl_file = \"" + url.path() + "\"");
  EXPECT_EQ(config.upstream.password, "hunter2");
  EXPECT_EQ(config.admin.token, "a b");
  EXPECT_EQ(config.backends[0].path, "other.db");
}

TEST(Load, AnEmptyOrUnreadableSecretFileIsAMistakeAtItsPlace) {
  const TemporaryFile empty("\n");
  EXPECT_THAT(mistakes_of("[admin]\ntoken_file = \"" + empty.path() + "\""),
              ElementsAre(AllOf(HasSubstr("f:2:14: token_file: "), HasSubstr("it is empty"))));
  EXPECT_THAT(mistakes_of("[admin]\ntoken_file = \"/nonexistent/token\""), ElementsAre(HasSubstr("No such file")));
  EXPECT_THAT(mistakes_of("[admin]\ntoken_file = \"" + ::testing::TempDir() + "\""),
              ElementsAre(HasSubstr("directory")));
}

TEST(Load, TheUrlOfADatabaseServerIsTakenApart) {
  const Config config = load(
      "[backend.pg]\nurl = \"postgresql://ann:p%40ss@db.local:6432/shop?sslmode=verify-full&sslrootcert=/ca.crt\"\n"
      "[backend.pipe]\nurl = \"postgresql:///shop?host=/run/postgresql\"\n"
      "[backend.my]\nurl = \"mysql://bob@[::1]/shop\"\npassword = \"hunter2\"");
  const BackendOptions& pg = config.backends[0];
  EXPECT_EQ(pg.kind, BackendOptions::Kind::postgresql);
  EXPECT_EQ(to_string(pg.endpoint), "db.local:6432");
  EXPECT_EQ(pg.user + "|" + pg.password + "|" + pg.database, "ann|p@ss|shop");
  EXPECT_THAT(pg.parameters, ElementsAre(Pair("sslmode", "verify-full"), Pair("sslrootcert", "/ca.crt")));
  EXPECT_EQ(to_string(config.backends[1].endpoint), "unix:/run/postgresql");
  const BackendOptions& my = config.backends[2];
  EXPECT_EQ(my.kind, BackendOptions::Kind::mysql);
  EXPECT_EQ(to_string(my.endpoint), "[::1]:3306");
  EXPECT_EQ(my.user + "|" + my.password + "|" + my.database, "bob|hunter2|shop");
}

// --- Overrides.

TEST(Overrides, ReplaceValuesOfTheFile) {
  const std::string file = policy_text("value = \"counter\"\ncolumn = \"n\"\nflush_interval = \"1s\"");
  const Config config = load(file, {{"proxy.listen", "127.0.0.1:7000"},
                                    {"proxy.threads", "4"},
                                    {"upstream.url", "redis://cache/3"},
                                    {"admin.listen", ""},
                                    {"admin.users", "[\"ann\", \"bob\"]"},
                                    {"policy.p.flush_interval", "20ms"},
                                    {"policy.p.coalesce", "true"},
                                    {"backend.shop.url", "sqlite:other.db"}});
  EXPECT_EQ(to_string(config.proxy.listen[0]), "127.0.0.1:7000");
  EXPECT_EQ(config.proxy.threads, 4);
  EXPECT_EQ(config.upstream.db, 3);
  EXPECT_FALSE(config.admin.listen);
  EXPECT_THAT(config.admin.users, ElementsAre("ann", "bob"));
  EXPECT_EQ(config.policies[0].flush_interval, milliseconds(20));
  EXPECT_TRUE(config.policies[0].coalesce);
  EXPECT_EQ(config.backends[0].path, "other.db");
}

TEST(Overrides, TheLastOfTwoWins) {
  EXPECT_EQ(load("", {{"proxy.threads", "2"}, {"proxy.threads", "3"}}).proxy.threads, 3);
}

TEST(Overrides, CoverWhatIsWrongInTheFile) {
  EXPECT_EQ(load("[proxy]\nthreads = 0", {{"proxy.threads", "2"}}).proxy.threads, 2);
}

TEST(Overrides, AreNamedInMistakes) {
  EXPECT_THAT(mistakes_of("[proxy]\nthreads = 0", {{"proxy.idle_timeout", "10"}, {"upstream.urll", "x"}}),
              ElementsAre("f:2:11: threads: must be 1 to 64, not 0",
                          "f: --set proxy.idle_timeout: idle_timeout: a unit is missing: write \"10s\"",
                          "f: --set upstream.urll: unknown key \"urll\" in [upstream] (did you mean \"url\"?)"));
}

TEST(Overrides, MustNameAKeyThatCanBe) {
  for (const char* path : {"threads", "proxy.", "proxy.x.threads", "policy.ttl", "backend.url", ""}) {
    EXPECT_THAT(mistakes_of("", {{path, "1"}}), ElementsAre(HasSubstr("an override is SECTION.KEY=VALUE"))) << path;
  }
  EXPECT_THAT(mistakes_of("", {{"policy.q.ttl", "1s"}}), ElementsAre(HasSubstr("no policy named \"q\"")));
  EXPECT_THAT(mistakes_of("", {{"nothing.key", "1"}}), ElementsAre(HasSubstr("unknown section \"nothing\"")));
}

TEST(Overrides, CannotSmuggleInOtherKeys) {
  EXPECT_THAT(mistakes_of("", {{"proxy.threads", "1\nextra = 2"}}),
              ElementsAre(HasSubstr("expected an integer, not a string")));
}

TEST(Overrides, OnASectionThatIsNoTableAreAMistake) {
  EXPECT_THAT(mistakes_of("proxy = 1", {{"proxy.threads", "1"}}), ElementsAre(HasSubstr("[proxy] must be a table")));
  EXPECT_THAT(mistakes_of("policy = 1", {{"policy.a.ttl", "1s"}}),
              ElementsAre(HasSubstr("[[policy]]"), HasSubstr("no policy named \"a\"")));
}

TEST(Load, TellsWhereUrlsAndTablesStand) {
  const std::string text = policy_text("value = \"json\"\nread = \"cache-aside\"\n");
  const auto places = [&](const std::vector<Override>& overrides) { return load_text(text, overrides).places; };
  const Places found = places({});
  EXPECT_EQ(found.upstream.line, 0) << "the file says nothing of it";
  ASSERT_EQ(found.backends.size(), 1U);
  EXPECT_EQ(to_string(mistake_at(found.backends[0], "wrong"), "f"), "f:2:7: wrong");
  ASSERT_EQ(found.policies.size(), 1U);
  EXPECT_EQ(to_string(mistake_at(found.policies[0], "wrong"), "f"), "f:7:9: wrong");
  EXPECT_EQ(to_string(mistake_at(places({{"policy.p.table", "other"}}).policies[0], "wrong"), "f"),
            "f: --set policy.p.table: wrong");
}

TEST(Load, APolicyWithAQueryNeedsNoPlaceholder) {
  const std::string text =
      "[backend.s]\nurl = \"sqlite:s.db\"\n[[policy]]\nname = \"q\"\nkey = \"q:all\"\nbackend = \"s\"\n"
      "table = \"t\"\nvalue = \"json\"\nread = \"cache-aside\"\nquery = \"SELECT id FROM t\"\nrows = \"many\"\n";
  const Loaded loaded = load_text(text);
  for (const Mistake& mistake : loaded.mistakes) ADD_FAILURE() << to_string(mistake, "f");
  ASSERT_EQ(loaded.config.policies.size(), 1U);
  EXPECT_EQ(loaded.config.policies[0].query, "SELECT id FROM t");
  EXPECT_EQ(loaded.config.policies[0].rows, Rows::many);
  EXPECT_EQ(to_string(mistake_at(loaded.places.policies[0], "wrong"), "f"), "f:10:9: wrong");
}

}  // namespace
}  // namespace sluice::conf

// Printing: the whole configuration as TOML which loads again, without secrets.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conf/field.h"
#include "conf/load.h"
#include "conf/not_built.h"

namespace sluice::conf {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Secrets are printed as "<redacted>", so that is what they load as.
Config without_secrets(Config config) {
  for (std::string* secret : {&config.upstream.password, &config.admin.token}) {
    if (!secret->empty()) *secret = kRedacted;
  }
  return config;
}

void expect_loads_again(const Config& config) {
  const std::string text = print(config);
  const Loaded again = load_text(text);
  for (const Mistake& mistake : again.mistakes) ADD_FAILURE() << to_string(mistake, "printed") << "\n" << text;
  EXPECT_EQ(again.config, without_secrets(config)) << text;
}

Config example() {
  std::ifstream in(std::string(SLUICE_SOURCE_DIR) + "/conf/example.toml");
  std::stringstream text;
  text << in.rdbuf();
  const Loaded loaded = load_text(text.str());
  for (const Mistake& mistake : loaded.mistakes) ADD_FAILURE() << to_string(mistake, "example.toml");
  return loaded.config;
}

// --- A source of random configurations that are right.

class RandomConfig {
 public:
  explicit RandomConfig(unsigned seed) : engine_(seed) {}

  Config make() {
    Config config;
    config.proxy.listen = {tcp(7000), {Endpoint::Kind::unix_socket, {}, 0, "/run/" + word()}};
    config.proxy.threads = number(1, 64);
    config.proxy.idle_timeout = duration(0);
    config.proxy.query_buffer_limit = static_cast<std::size_t>(number(1024, 1 << 30));
    config.proxy.max_bulk_length = static_cast<std::size_t>(number(1, 1024)) << 20;
    config.proxy.shutdown_timeout = duration(1);
    config.upstream.endpoint = tcp(8000);
    config.upstream.db = number(0, 20);
    if (coin()) config.upstream.user = text();
    if (coin()) config.upstream.password = text();
    if (coin()) config.admin.listen = tcp(9000);
    if (coin()) config.admin.token = text();
    config.admin.users = {"a" + text(), "b" + text()};
    for (int i = 0, n = number(1, 3); i < n; ++i) config.backends.push_back(backend(i));
    for (int i = 0, n = number(0, 5); i < n; ++i) config.policies.push_back(policy(i, config.backends[0].name));
    return config;
  }

 private:
  int number(int min, int max) { return std::uniform_int_distribution(min, max)(engine_); }
  bool coin() { return number(0, 1) == 1; }
  template <class Enum>
  Enum either(Enum a, Enum b) {
    return coin() ? a : b;
  }
  Duration duration(int min) { return Duration(number(min, 3) == min ? min : number(min, 100000000)); }
  std::string word() { return "w" + std::to_string(number(0, 1000000)); }
  // Never empty; with everything that needs care when it is written.
  std::string text() {
    static const std::vector<std::string> pieces{"a", " ",  "\"",  "\\",   "${",   "$",      "$${",
                                                 "}", "\n", "\t",  "\x01", "\x7f", "\u00e9", "\U0001f600",
                                                 "#", "'",  "'''", "\r\n", "=",    "]"};
    std::string result = "t";
    for (int i = 0, n = number(0, 6); i < n; ++i) {
      result += pieces[static_cast<std::size_t>(number(0, static_cast<int>(pieces.size()) - 1))];
    }
    return result;
  }
  Endpoint tcp(int port) {
    return {Endpoint::Kind::tcp, coin() ? "::1" : "host", static_cast<std::uint16_t>(port), {}};
  }

  BackendOptions backend(int index) {
    BackendOptions options;
    options.name = "b." + std::to_string(index);
    options.path = text();
    options.url = "sqlite:" + options.path;
    options.connections = number(1, 1000);
    return options;
  }

  PolicyOptions policy(int index, const std::string& backend) {
    PolicyOptions options;
    const std::string prefix = "k" + std::to_string(index) + text() + ":";
    std::string escaped;
    for (const char c : prefix) escaped += c == '{' || c == '}' ? std::string(2, c) : std::string(1, c);
    KeyTemplate::ParseError error;
    options.name = "p" + std::to_string(index);
    options.key = *KeyTemplate::parse(escaped + "{id:int}:{" + "name*}", error);
    if (coin()) options.alias = KeyTemplate::parse("alias" + std::to_string(index) + ":{id}:{name}", error);
    options.backend = backend;
    options.table = text() + std::to_string(index);
    options.value = static_cast<ValueMode>(number(0, 3));
    options.load_timeout = duration(1);
    options.max_concurrent_loads = number(1, 1000);
    options.unmanaged_writes = either(Unmanaged::forward, Unmanaged::reject);
    if (options.value == ValueMode::raw || options.value == ValueMode::counter) options.column = text();
    options.value == ValueMode::counter ? count(options) : cache(options);
    return options;
  }

  void count(PolicyOptions& options) {
    options.flush_interval = duration(1);
    options.write_timeout = duration(1);
    options.batch_size = number(1, 100000);
    options.durability_check = either(DurabilityCheck::warn, DurabilityCheck::off);
    options.missing = either(Missing::nil, Missing::zero);
    options.multi = either(InMulti::reject, InMulti::forward);
  }

  void cache(PolicyOptions& options) {
    const bool writes = coin();
    if (options.value != ValueMode::raw && coin()) options.only_columns = {"a" + text(), "b" + text()};
    if (options.value != ValueMode::raw && options.only_columns.empty() && coin()) {
      options.renames = {{text() + "1", "a" + text()}, {text() + "2", "b" + text()}};
    }
    options.read = writes ? either(ReadMode::none, ReadMode::cache_aside) : ReadMode::cache_aside;
    options.ttl = duration(0);
    options.ttl_jitter = number(0, 900000) / 1000000.0;
    options.negative_ttl = duration(0);
    options.on_sql_error = either(OnSqlError::error, OnSqlError::miss);
    options.on_redis_down = either(OnRedisDown::error, OnRedisDown::sql);
    if (!writes) return;
    options.write = WriteMode::write_through;
    options.on_write = either(OnWrite::update, OnWrite::invalidate);
    options.write_timeout = duration(1);
    options.fuse = duration(1);
    options.multi = either(InMulti::reject, InMulti::forward);
    if (options.value != ValueMode::raw) options.unknown_fields = either(UnknownFields::reject, UnknownFields::ignore);
  }

  std::mt19937 engine_;
};

TEST(Print, WhatIsPrintedLoadsAgainToTheSame) {
  for (unsigned seed = 1; seed <= 40 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    expect_loads_again(RandomConfig(seed).make());
  }
}

TEST(Print, TheDefaultsLoadAgain) { expect_loads_again(load_text("").config); }

TEST(Print, TheExampleLoadsAgain) { expect_loads_again(example()); }

TEST(Print, ShowsDefaults) {
  EXPECT_THAT(print(load_text("").config), HasSubstr("shutdown_timeout = \"10s\""));
  EXPECT_THAT(print(example()), HasSubstr("negative_ttl = \"10s\""));
}

TEST(Print, ShowsNoSecrets) {
  Config config = load_text("[upstream]\nurl = \"redis://ann:hunter2@cache\"\n[admin]\ntoken = \"hunter3\"").config;
  BackendOptions backend;
  backend.name = "pg";
  backend.url = "postgresql://ann:hunter4@db/shop";
  config.backends.push_back(backend);
  ASSERT_EQ(config.upstream.password, "hunter2");
  const std::string text = print(config);
  EXPECT_THAT(text, Not(HasSubstr("hunter")));
  EXPECT_THAT(text, HasSubstr("password = \"<redacted>\""));
  EXPECT_THAT(text, HasSubstr("token = \"<redacted>\""));
  EXPECT_THAT(text, HasSubstr("postgresql://ann:<redacted>@db/shop"));
}

TEST(Print, LeavesOutWhatDoesNotBelongToThePolicy) {
  const std::string text =
      print(load_text("[backend.s]\nurl = \"sqlite:s.db\"\n[[policy]]\nname = \"c\"\nkey = \"c:{id}\"\n"
                      "backend = \"s\"\ntable = \"t\"\nvalue = \"counter\"\ncolumn = \"n\"")
                .config);
  EXPECT_THAT(text, HasSubstr("flush_interval = \"1s\""));
  EXPECT_THAT(text, Not(HasSubstr("ttl")));
  EXPECT_THAT(text, Not(HasSubstr("queue_max")));
}

TEST(Redacted, ReplacesThePasswordOnly) {
  EXPECT_EQ(redacted("mysql://ann:p@ss@db:3306/shop"), "mysql://ann:<redacted>@db:3306/shop");
  EXPECT_EQ(redacted("redis://:secret@cache"), "redis://:<redacted>@cache");
  EXPECT_EQ(redacted("postgresql://ann@db:5432/shop"), "postgresql://ann@db:5432/shop");
  EXPECT_EQ(redacted("postgresql://db/shop?user=ann&password=secret&x=1"),
            "postgresql://db/shop?user=ann&password=<redacted>&x=1");
  EXPECT_EQ(redacted("sqlite:shop.db"), "sqlite:shop.db");
  EXPECT_EQ(redacted("redis://cache:6379/1"), "redis://cache:6379/1");
}

TEST(Example, UsesEveryKeyOrShowsItCommentedOut) {
  std::ifstream in(std::string(SLUICE_SOURCE_DIR) + "/conf/example.toml");
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  const auto has = [&](const std::string& start) {
    return std::any_of(lines.begin(), lines.end(),
                       [&](const std::string& line) { return line.starts_with(start + " = "); });
  };
  const auto expect_all = [&](std::string_view section, const auto& fields) {
    for (const auto& field : fields) {
      const std::string name(field.name);
      EXPECT_TRUE(has(name) || has("#" + name)) << section << " " << name;
      EXPECT_FALSE(has(name) && is_key_not_built(section, name)) << section << " " << name;
    }
  };
  expect_all("proxy", proxy_fields());
  expect_all("upstream", upstream_fields());
  expect_all("admin", admin_fields());
  expect_all("backend", backend_fields());
  expect_all("policy", policy_fields());
}

TEST(Example, ShowsTheDefaults) {
  const Config config = example();
  const Config defaults = load_text("").config;
  EXPECT_EQ(config.proxy, defaults.proxy);
  EXPECT_EQ(config.upstream, defaults.upstream);
  EXPECT_EQ(config.admin, defaults.admin);
  const PolicyOptions& fruit = config.policies.at(0);
  EXPECT_EQ(fruit.ttl, PolicyOptions().ttl);
  EXPECT_EQ(fruit.ttl_jitter, PolicyOptions().ttl_jitter);
  EXPECT_EQ(fruit.negative_ttl, PolicyOptions().negative_ttl);
  EXPECT_EQ(fruit.max_concurrent_loads, PolicyOptions().max_concurrent_loads);
  EXPECT_EQ(fruit.load_timeout, PolicyOptions().load_timeout);
  const PolicyOptions& users = config.policies.at(1);
  EXPECT_EQ(users.write_timeout, PolicyOptions().write_timeout);
  EXPECT_EQ(users.fuse, PolicyOptions().fuse);
  EXPECT_EQ(users.on_write, PolicyOptions().on_write);
  EXPECT_EQ(config.policies.at(3).batch_size, PolicyOptions().batch_size);
}

}  // namespace
}  // namespace sluice::conf

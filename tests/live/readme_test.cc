// Readme: every command that README.md shows does what it shows, and its configuration is valid.
#include <csignal>
#include <cstdlib>
#include <regex>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "engines.h"
#include "harness.h"

namespace sluice::live {
namespace {

std::string readme() { return read_file(SLUICE_SOURCE_DIR "/README.md"); }

// The fenced blocks of one language.
std::vector<std::string> blocks(const std::string& language) {
  std::vector<std::string> list;
  const std::string text = readme();
  const std::string fence = "\n```" + language + "\n";
  for (std::size_t at = text.find(fence); at != std::string::npos; at = text.find(fence, at)) {
    const std::size_t from = at + fence.size();
    at = text.find("\n```\n", from - 1);
    list.push_back(text.substr(from, at + 1 - from));
    at += 4;
  }
  return list;
}

struct Shown {
  std::string command, output;
};

// Of one block: what is typed, and what it prints.
std::vector<Shown> console_lines(std::size_t block) {
  std::vector<Shown> list;
  std::istringstream lines(blocks("console").at(block));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("$ ")) {
      list.push_back({line.substr(2), {}});
    } else {
      list.back().output += line + "\n";
    }
  }
  return list;
}

// A sluice with one of the example configurations, on free ports; and the README's commands for it.
class Example {
 public:
  Example(const std::string& configuration, const std::string& redis, const std::string& variable,
          const std::string& database)
      : log_(dir_.file("log")) {
    sluice_.start({SLUICE_BINARY, "-c", SLUICE_SOURCE_DIR "/examples/" + configuration}, log_, [&] {
      setenv("SLUICE_PORT", port_.c_str(), 1);
      setenv("SLUICE_ADMIN_PORT", admin_port_.c_str(), 1);
      setenv("SLUICE_REDIS", redis.c_str(), 1);
      setenv(variable.c_str(), database.c_str(), 1);
    });
    EXPECT_TRUE(eventually([&] { return is_ready(); })) << read_file(log_);
  }
  ~Example() {
    sluice_.signal(SIGTERM);
    EXPECT_EQ(sluice_.wait(), 0);
  }
  Example(const Example&) = delete;
  Example& operator=(const Example&) = delete;

  // `name` in the README stands for `real`.
  void expect_as_shown(const std::vector<Shown>& shown, const std::string& name, const std::string& real) const {
    for (const Shown& line : shown) {
      std::string command = std::regex_replace(line.command, std::regex("-p 6380"), "-p " + port_);
      command = std::regex_replace(command, std::regex("127.0.0.1:9380"), "127.0.0.1:" + admin_port_);
      command = std::regex_replace(command, std::regex(name), real);
      Output output = run({"/bin/sh", "-c", command});
      output.text.erase(output.text.find_last_not_of('\n') + 1);
      EXPECT_EQ(output.text + "\n", line.output) << line.command;
    }
  }

 private:
  bool is_ready() const {
    try {
      return http(std::stoi(admin_port_), "GET", "/readyz").status == 200;
    } catch (const std::exception&) {
      return false;
    }
  }

  TempDir dir_;
  const std::string log_;
  const std::string port_ = std::to_string(free_port()), admin_port_ = std::to_string(free_port());
  Process sluice_;
};

// `sluice --check --connect` finds no mistake.
void expect_to_fit(const std::string& configuration, const std::string& redis, const std::string& variable,
                   const std::string& database) {
  const Output output = run({"/usr/bin/env", "SLUICE_REDIS=" + redis, variable + "=" + database, SLUICE_BINARY,
                             "--check", "--connect", "-c", SLUICE_SOURCE_DIR "/examples/" + configuration});
  EXPECT_EQ(output.status, 0) << output.text;
}

TEST(Readme, TheCommandsToTryAnswerAsShown) {
  TempDir dir;
  RedisServer redis;
  Database db(dir.file("shop.db"));
  db.exec(read_file(SLUICE_SOURCE_DIR "/examples/quickstart/schema.sql"));
  expect_to_fit("quickstart/sluice.toml", redis.url(), "SLUICE_DB", db.path());
  const Example sluice("quickstart/sluice.toml", redis.url(), "SLUICE_DB", db.path());
  const std::vector<Shown> shown = console_lines(0);
  EXPECT_GE(shown.size(), 10U);
  sluice.expect_as_shown(shown, "shop.db", db.path());
}

constexpr const char* kOwnDatabase = "postgresql://app@127.0.0.1:5432/shop";

TEST(Readme, TheCommandsOnOnesOwnDatabaseAnswerAsShown) {
  RedisServer redis;
  EngineDatabase db(Engine::postgresql);
  const std::string create = blocks("sh").at(2);
  Output created = run({"/bin/sh", "-c",
                        "cd " SLUICE_SOURCE_DIR " && " + std::regex_replace(create.substr(0, create.find('\n')),
                                                                            std::regex(kOwnDatabase), db.url())});
  EXPECT_EQ(created.text, "");
  expect_to_fit("users/sluice.toml", redis.url(), "SLUICE_SQL", db.url());
  const Example sluice("users/sluice.toml", redis.url(), "SLUICE_SQL", db.url());
  const std::vector<Shown> shown = console_lines(1);
  EXPECT_GE(shown.size(), 6U);
  sluice.expect_as_shown(shown, kOwnDatabase, db.url());
}

TEST(Readme, TheCommandsOnOnesOwnDatabaseAnswerAsShownOnMysqlToo) {
  RedisServer redis;
  EngineDatabase db(Engine::mysql);
  db.exec(read_file(SLUICE_SOURCE_DIR "/examples/users/mysql.sql"));
  expect_to_fit("users/sluice.toml", redis.url(), "SLUICE_SQL", db.url());
  const Example sluice("users/sluice.toml", redis.url(), "SLUICE_SQL", db.url());
  std::vector<Shown> shown = console_lines(1);
  std::erase_if(shown, [](const Shown& line) { return line.command.starts_with("psql"); });
  for (Shown& line : shown)
    line.output = std::regex_replace(line.output, std::regex("SQLREJECT 23505"), "SQLREJECT 23000");
  sluice.expect_as_shown(shown, kOwnDatabase, db.url());
  EXPECT_EQ(db.query("SELECT username, password_hash, date_of_birth, score FROM users"), "ada|5e88|1815-12-10|42");
}

// These run in scripts/test, or are it.
TEST(Readme, TheOtherCommandsAreThoseThatCiRuns) {
  const std::string own = kOwnDatabase;
  const std::set<std::string> run_elsewhere{
      "./scripts/quickstart", "./scripts/test", "psql -q " + own + " -f examples/users/postgresql.sql",
      "SLUICE_SQL=" + own + " build/release/sluice -c examples/users/sluice.toml",
      "cmake --preset dev && cmake --build --preset dev", "ctest --preset dev", "scripts/redis-suite",
      // tests/live/outbox_test.cc
      "sluice -c sluice.toml --print-schema users", "sluice -c sluice.toml --check --connect"};
  std::size_t lines_seen = 0;
  for (const std::string& block : blocks("sh")) {
    std::istringstream lines(block);
    for (std::string line; std::getline(lines, line); ++lines_seen) {
      const std::string command = line.substr(0, line.find("  "));  // the rest is a remark
      EXPECT_TRUE(run_elsewhere.contains(command)) << line;
    }
  }
  EXPECT_EQ(lines_seen, run_elsewhere.size());
}

// Each is added to those before it.
TEST(Readme, TheConfigurationsAreValid) {
  const std::vector<std::string> configurations = blocks("toml");
  ASSERT_EQ(configurations.size(), 3U);
  TempDir dir;
  const std::string file = dir.file("sluice.toml");
  write_file(file, configurations[0] + configurations[1] + configurations[2]);
  const Output check = run({SLUICE_BINARY, "--check", "-c", file});
  EXPECT_EQ(check.status, 0) << check.text;
  const Output explained = run({SLUICE_BINARY, "-c", file, "explain", "users:7"});
  EXPECT_EQ(explained.status, 0) << explained.text;
  EXPECT_NE(explained.text.find("users"), std::string::npos);
  EXPECT_NE(run({SLUICE_BINARY, "-c", file, "explain", "q:employee:7"}).text.find("JOIN"), std::string::npos);
  const Output triggers = run({SLUICE_BINARY, "-c", file, "--print-schema", "department-rows"});
  EXPECT_NE(triggers.text.find("CREATE TRIGGER"), std::string::npos) << triggers.text;
}

TEST(Readme, TheFilesItNamesExist) {
  const std::string text = readme();
  const std::regex link("\\]\\(([^)#:]+)\\)");
  std::size_t count = 0;
  for (std::sregex_iterator it(text.begin(), text.end(), link), end; it != end; ++it, ++count) {
    EXPECT_FALSE(read_file(SLUICE_SOURCE_DIR "/" + (*it)[1].str()).empty()) << (*it)[1];
  }
  EXPECT_GE(count, 4U);
}

// What the quick start prints for people to try is what its smoke test runs, and is shown in the README.
TEST(Readme, TheQuickStartPrintsWhatItsSmokeTestRuns) {
  const std::string script = read_file(SLUICE_SOURCE_DIR "/scripts/quickstart");
  const std::regex printed("\n  redis-cli -p \\$port ([^#\n]*[^# \n])");
  std::size_t count = 0;
  for (std::sregex_iterator it(script.begin(), script.end(), printed), end; it != end; ++it, ++count) {
    std::string command = (*it)[1];
    command = std::regex_replace(command, std::regex("'\\$ada'"), "\"$$ada\"");
    EXPECT_NE(script.find("through " + command), std::string::npos) << command;
  }
  EXPECT_EQ(count, 5U);
}

}  // namespace
}  // namespace sluice::live

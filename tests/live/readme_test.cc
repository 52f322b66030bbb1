// Readme: every command that README.md shows does what it shows, and its configuration is valid.
#include <csignal>
#include <cstdlib>
#include <regex>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

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

std::vector<Shown> console_lines() {
  std::vector<Shown> list;
  for (const std::string& block : blocks("console")) {
    std::istringstream lines(block);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("$ ")) {
        list.push_back({line.substr(2), {}});
      } else {
        list.back().output += line + "\n";
      }
    }
  }
  return list;
}

TEST(Readme, TheCommandsToTryAnswerAsShown) {
  TempDir dir;
  RedisServer redis;
  Database db(dir.file("shop.db"));
  db.exec(read_file(SLUICE_SOURCE_DIR "/examples/quickstart/schema.sql"));
  const std::string port = std::to_string(free_port());
  const std::string admin_port = std::to_string(free_port());
  Process sluice;
  sluice.start({SLUICE_BINARY, "-c", SLUICE_SOURCE_DIR "/examples/quickstart/sluice.toml"}, dir.file("log"), [&] {
    setenv("SLUICE_PORT", port.c_str(), 1);
    setenv("SLUICE_ADMIN_PORT", admin_port.c_str(), 1);
    setenv("SLUICE_REDIS", redis.url().c_str(), 1);
    setenv("SLUICE_DB", db.path().c_str(), 1);
  });
  ASSERT_TRUE(eventually([&] {
    try {
      return http(std::stoi(admin_port), "GET", "/readyz").status == 200;
    } catch (const std::exception&) {
      return false;
    }
  })) << read_file(dir.file("log"));
  const std::vector<Shown> shown = console_lines();
  EXPECT_GE(shown.size(), 10U);
  for (const Shown& line : shown) {
    std::string command = std::regex_replace(line.command, std::regex("-p 6380"), "-p " + port);
    command = std::regex_replace(command, std::regex("127.0.0.1:9380"), "127.0.0.1:" + admin_port);
    command = std::regex_replace(command, std::regex("shop.db"), db.path());
    Output output = run({"/bin/sh", "-c", command});
    output.text.erase(output.text.find_last_not_of('\n') + 1);
    EXPECT_EQ(output.text + "\n", line.output) << line.command;
  }
  sluice.signal(SIGTERM);
  EXPECT_EQ(sluice.wait(), 0);
}

// These run in scripts/test, or are it.
TEST(Readme, TheOtherCommandsAreThoseThatCiRuns) {
  const std::set<std::string> run_elsewhere{"./scripts/quickstart", "./scripts/test",
                                            "cmake --preset dev && cmake --build --preset dev", "ctest --preset dev",
                                            "scripts/redis-suite"};
  std::size_t lines_seen = 0;
  for (const std::string& block : blocks("sh")) {
    std::istringstream lines(block);
    for (std::string line; std::getline(lines, line); ++lines_seen) {
      EXPECT_TRUE(run_elsewhere.contains(line)) << line;
    }
  }
  EXPECT_EQ(lines_seen, run_elsewhere.size());
}

TEST(Readme, TheFirstConfigurationIsValid) {
  const std::vector<std::string> configurations = blocks("toml");
  ASSERT_EQ(configurations.size(), 1U);
  TempDir dir;
  const std::string file = dir.file("sluice.toml");
  write_file(file, configurations[0]);
  const Output check = run({SLUICE_BINARY, "--check", "-c", file});
  EXPECT_EQ(check.status, 0) << check.text;
  const Output explained = run({SLUICE_BINARY, "-c", file, "explain", "users:7"});
  EXPECT_EQ(explained.status, 0) << explained.text;
  EXPECT_NE(explained.text.find("users"), std::string::npos);
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

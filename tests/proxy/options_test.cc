// Options: what the command line means.
#include "proxy/options.h"

#include <cstdlib>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

CommandLine parse(std::vector<const char*> args) {
  args.insert(args.begin(), "sluice");
  return parse_command_line(static_cast<int>(args.size()), args.data());
}

Options options_of(const std::vector<const char*>& args) {
  const CommandLine line = parse(args);
  EXPECT_TRUE(line.options.has_value()) << line.error;
  return line.options.value_or(Options{});
}

void expect_wrong_use(const std::vector<const char*>& args, const std::string& reason) {
  const CommandLine line = parse(args);
  EXPECT_FALSE(line.options.has_value());
  EXPECT_EQ(line.exit_code, 2);
  EXPECT_THAT(line.error, HasSubstr(reason));
  EXPECT_THAT(line.output, IsEmpty());
}

TEST(Options, NothingMeansServe) {
  const Options options = options_of({});
  EXPECT_EQ(options.action, Options::Action::serve);
  EXPECT_EQ(options.config_file, "");
  EXPECT_EQ(options.log_level, Level::info);
  EXPECT_EQ(options.log_format, LogFormat::text);
}

TEST(Options, TakesTheConfigurationFile) { EXPECT_EQ(options_of({"-c", "my.toml"}).config_file, "my.toml"); }

TEST(Options, ACheckIsAsked) { EXPECT_EQ(options_of({"--check"}).action, Options::Action::check); }

TEST(Options, CheckMayConnect) {
  EXPECT_FALSE(options_of({"--check"}).connect);
  EXPECT_TRUE(options_of({"--check", "--connect"}).connect);
}

TEST(Options, ConnectNeedsCheck) { expect_wrong_use({"--connect"}, "--check"); }

TEST(Options, PrintsTheConfiguration) {
  EXPECT_EQ(options_of({"--print-config"}).action, Options::Action::print_config);
}

TEST(Options, PrintsTheSchemaOfAPolicy) {
  const Options options = options_of({"--print-schema", "views"});
  EXPECT_EQ(options.action, Options::Action::print_schema);
  EXPECT_EQ(options.argument, "views");
}

TEST(Options, TwoActionsAreWrongUse) {
  expect_wrong_use({"--check", "--print-config"}, "excludes");
  expect_wrong_use({"--check", "explain", "k"}, "explain does not go with");
}

TEST(Options, ExplainTakesAKey) {
  const Options options = options_of({"explain", "fruit:1"});
  EXPECT_EQ(options.action, Options::Action::explain);
  EXPECT_EQ(options.argument, "fruit:1");
}

TEST(Options, ExplainKnowsTheConfigurationOnEitherSide) {
  EXPECT_EQ(options_of({"-c", "a", "explain", "k"}).config_file, "a");
  EXPECT_EQ(options_of({"explain", "k", "-c", "a"}).config_file, "a");
}

TEST(Options, ExplainTakesAKeyThatLooksLikeAnOption) {
  EXPECT_EQ(options_of({"explain", "--", "--check"}).argument, "--check");
}

TEST(Options, ExplainWithoutAKeyIsWrongUse) { expect_wrong_use({"explain"}, "KEY"); }

TEST(Options, OverridesKeepTheirOrderAndTheirEqualsSigns) {
  const Options options = options_of({"--set", "proxy.threads=2", "--set", "upstream.url=redis://h/?a=b"});
  const std::vector<conf::Override> expected{{"proxy.threads", "2"}, {"upstream.url", "redis://h/?a=b"}};
  EXPECT_EQ(options.overrides, expected);
}

TEST(Options, AnOverrideDoesNotSwallowWhatFollows) {
  const Options options = options_of({"--set", "proxy.threads=2", "explain", "k"});
  EXPECT_EQ(options.action, Options::Action::explain);
  EXPECT_EQ(options.overrides.size(), 1U);
}

TEST(Options, AnOverrideMayBeAListOrHaveBlanks) {
  const Options options = options_of({"--set", R"(proxy.listen=["127.0.0.1:1", "unix:/s"])"});
  const std::vector<conf::Override> expected{{"proxy.listen", R"(["127.0.0.1:1", "unix:/s"])"}};
  EXPECT_EQ(options.overrides, expected);
}

TEST(Options, AnOverrideWithoutAValueIsWrongUse) {
  expect_wrong_use({"--set", "proxy.threads"}, "section.key=value");
  expect_wrong_use({"--set", "=2"}, "section.key=value");
}

TEST(Options, TakesLevelAndFormatOfTheLog) {
  const Options options = options_of({"--log-level", "warning", "--log-format", "json"});
  EXPECT_EQ(options.log_level, Level::warning);
  EXPECT_EQ(options.log_format, LogFormat::json);
}

TEST(Options, AnUnknownLevelOrFormatIsWrongUse) {
  expect_wrong_use({"--log-level", "loud"}, "--log-level");
  expect_wrong_use({"--log-level", "1"}, "--log-level");
  expect_wrong_use({"--log-format", "xml"}, "--log-format");
}

TEST(Options, AnUnknownOptionIsWrongUse) { expect_wrong_use({"--colour"}, "--colour"); }

TEST(Options, AStrayArgumentIsWrongUse) { expect_wrong_use({"my.toml"}, "my.toml"); }

TEST(Options, HelpIsNotAnError) {
  const CommandLine line = parse({"--help"});
  EXPECT_FALSE(line.options.has_value());
  EXPECT_EQ(line.exit_code, 0);
  EXPECT_THAT(line.output, HasSubstr("--print-schema"));
  EXPECT_THAT(line.error, IsEmpty());
}

TEST(Options, VersionIsOneLine) {
  const CommandLine line = parse({"-V"});
  EXPECT_EQ(line.exit_code, 0);
  EXPECT_THAT(line.output, testing::MatchesRegex("sluice [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

class FindConfigFile : public testing::Test {
 protected:
  FindConfigFile() { ::unsetenv("SLUICE_CONFIG"); }
  ~FindConfigFile() override { ::unsetenv("SLUICE_CONFIG"); }
  std::string error;
};

TEST_F(FindConfigFile, TheGivenOneComesFirst) {
  ::setenv("SLUICE_CONFIG", "environment.toml", 1);
  EXPECT_EQ(find_config_file("given.toml", error), "given.toml");
}

TEST_F(FindConfigFile, TheEnvironmentComesNext) {
  ::setenv("SLUICE_CONFIG", "environment.toml", 1);
  EXPECT_EQ(find_config_file("", error), "environment.toml");
}

TEST_F(FindConfigFile, SaysWhereItHasLooked) {
  if (find_config_file("", error).empty()) {
    EXPECT_THAT(error, HasSubstr("./sluice.toml"));
    EXPECT_THAT(error, HasSubstr("-c FILE"));
  } else {
    EXPECT_THAT(error, IsEmpty());  // this machine has one
  }
}

}  // namespace
}  // namespace sluice::proxy

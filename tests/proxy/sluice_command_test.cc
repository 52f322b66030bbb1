// SluiceCommand: what SLUICE ... means and what it answers without any I/O.
#include "proxy/sluice_command.h"

#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conf/config.h"
#include "policies/policy_metrics.h"

namespace sluice::proxy {
namespace {

using policies::Handling;
using policies::PrefixTable;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using Verb = SluiceCommand::Verb;

// Reads GET, does SET, guards DEL, rejects APPEND, forwards the rest.
class FakePolicy final : public policies::Policy {
 public:
  explicit FakePolicy(const conf::PolicyOptions& options) : options_(options) {}
  const conf::PolicyOptions& options() const override { return options_; }
  Handling handling(const resp::CommandInfo& command) const override {
    if (command.id == resp::CommandId::get) return Handling::read;
    if (command.id == resp::CommandId::set) return Handling::operate;
    if (command.id == resp::CommandId::del || command.id == resp::CommandId::unlink) return Handling::guard;
    if (command.id == resp::CommandId::append) return Handling::reject;
    return Handling::forward;
  }
  std::string rejection(const resp::CommandInfo&) const override { return "ERR no"; }
  std::unique_ptr<policies::Operation> begin(policies::Request) override { return nullptr; }
  std::unique_ptr<policies::Operation> due(policies::TimePoint) override { return nullptr; }
  std::unique_ptr<policies::Operation> drain() override { return nullptr; }
  std::uint64_t unflushed() const override { return 0; }
  const policies::PolicyMetrics& metrics() const override { return metrics_; }
  policies::PolicyMetrics& metrics() override { return metrics_; }

 private:
  const conf::PolicyOptions options_;
  policies::PolicyMetrics metrics_;
};

conf::KeyTemplate key_template(std::string_view text) {
  conf::KeyTemplate::ParseError error;
  return conf::KeyTemplate::parse(text, error).value();
}

std::vector<std::unique_ptr<policies::Policy>> example_policies() {
  conf::PolicyOptions fruit;
  fruit.name = "fruit";
  fruit.key = key_template("fruit:{id:int}");
  fruit.alias = key_template("old-fruit-{id:int}");
  fruit.backend = "shop";
  fruit.table = "fruits";
  fruit.read = conf::ReadMode::cache_aside;
  conf::PolicyOptions views;
  views.name = "views";
  views.key = key_template("counter:{Id}");
  views.value = conf::ValueMode::counter;
  std::vector<std::unique_ptr<policies::Policy>> policies;
  policies.push_back(std::make_unique<FakePolicy>(fruit));
  policies.push_back(std::make_unique<FakePolicy>(views));
  return policies;
}

std::optional<SluiceCommand> parse(std::vector<std::string_view> args, std::string& error) {
  args.insert(args.begin(), "sluice");
  return parse_sluice(args, error);
}

SluiceCommand parsed(const std::vector<std::string_view>& args) {
  std::string error;
  const auto command = parse(args, error);
  EXPECT_TRUE(command.has_value()) << error;
  return command.value_or(SluiceCommand{});
}

std::string error_of(const std::vector<std::string_view>& args) {
  std::string error;
  EXPECT_FALSE(parse(args, error).has_value());
  return error;
}

TEST(SluiceCommand, KnowsItsSubcommandsInAnyCase) {
  EXPECT_EQ(parsed({"HELP"}), (SluiceCommand{Verb::help, ""}));
  EXPECT_EQ(parsed({"version"}), (SluiceCommand{Verb::version, ""}));
  EXPECT_EQ(parsed({"ExPlAiN", "k"}), (SluiceCommand{Verb::explain, "k"}));
  EXPECT_EQ(parsed({"STATUS", "k"}), (SluiceCommand{Verb::status, "k"}));
  EXPECT_EQ(parsed({"SYNC", "k"}), (SluiceCommand{Verb::sync, "k"}));
  EXPECT_EQ(parsed({"DBGET", "k"}), (SluiceCommand{Verb::dbget, "k"}));
  EXPECT_EQ(parsed({"SOURCE", "k"}), (SluiceCommand{Verb::source, "k"}));
  EXPECT_EQ(parsed({"INVALIDATE", "k*"}), (SluiceCommand{Verb::invalidate, "k*"}));
  EXPECT_EQ(parsed({"TOUCH", "a"}), (SluiceCommand{Verb::touch, "a"}));
  EXPECT_EQ(parsed({"touch", "a", "b", "c"}), (SluiceCommand{Verb::touch, "a", {"b", "c"}}));
  EXPECT_EQ(parsed({"CLIENTS"}), (SluiceCommand{Verb::clients, ""}));
  EXPECT_EQ(parsed({"pins"}), (SluiceCommand{Verb::pins, ""}));
}

TEST(SluiceCommand, ThePolicysNameMayBeLeftOut) {
  EXPECT_EQ(parsed({"POLICY"}), (SluiceCommand{Verb::policy, ""}));
  EXPECT_EQ(parsed({"POLICY", "fruit"}), (SluiceCommand{Verb::policy, "fruit"}));
}

TEST(SluiceCommand, ListsAPageOfRows) {
  EXPECT_EQ(parsed({"ROWS", "fruit"}), (SluiceCommand{Verb::rows, "fruit", {}, "", 100}));
  EXPECT_EQ(parsed({"rows", "fruit", "fruit:7"}), (SluiceCommand{Verb::rows, "fruit", {}, "fruit:7", 100}));
  EXPECT_EQ(parsed({"ROWS", "fruit", "COUNT", "5"}), (SluiceCommand{Verb::rows, "fruit", {}, "", 5}));
  EXPECT_EQ(parsed({"ROWS", "fruit", "fruit:7", "count", "1000"}),
            (SluiceCommand{Verb::rows, "fruit", {}, "fruit:7", 1000}));
}

TEST(SluiceCommand, APageThatCannotBeIsRefused) {
  for (const char* count : {"0", "-1", "1001", "x", "99999999999999999999"}) {
    EXPECT_EQ(error_of({"ROWS", "fruit", "COUNT", count}), "ERR COUNT must be between 1 and 1000");
  }
  EXPECT_EQ(error_of({"ROWS", "fruit", "LIMIT", "5"}), "ERR syntax error");
  EXPECT_EQ(error_of({"ROWS"}), "ERR wrong number of arguments for 'sluice|rows' command");
}

TEST(SluiceCommand, AKeyKeepsItsBytes) {
  const std::string key("A\0\xff b", 5);
  EXPECT_EQ(parsed({"STATUS", key}).argument, key);
}

TEST(SluiceCommand, NothingAfterSluiceIsAnArityError) {
  EXPECT_EQ(error_of({}), "ERR wrong number of arguments for 'sluice' command");
}

TEST(SluiceCommand, TooFewOrTooManyArgumentsAreAnArityError) {
  EXPECT_EQ(error_of({"EXPLAIN"}), "ERR wrong number of arguments for 'sluice|explain' command");
  EXPECT_EQ(error_of({"STATUS", "a", "b"}), "ERR wrong number of arguments for 'sluice|status' command");
  EXPECT_EQ(error_of({"TOUCH"}), "ERR wrong number of arguments for 'sluice|touch' command");
  EXPECT_EQ(error_of({"HELP", "me"}), "ERR wrong number of arguments for 'sluice|help' command");
}

TEST(SluiceCommand, AnUnknownSubcommandHintsAtHelp) {
  EXPECT_EQ(error_of({"Frobnicate"}), "ERR unknown subcommand 'Frobnicate'. Try SLUICE HELP.");
  EXPECT_EQ(error_of({""}), "ERR unknown subcommand ''. Try SLUICE HELP.");
}

TEST(SluiceCommand, AnUnknownSubcommandIsCutLikeRedisDoes) {
  EXPECT_EQ(error_of({std::string(500, 'x')}),
            "ERR unknown subcommand '" + std::string(128, 'x') + "'. Try SLUICE HELP.");
}

TEST(SluiceCommand, PlannedSubcommandsSayThatTheyAreNotBuilt) {
  for (const char* name : {"QUEUE", "PAUSE", "RESUME", "DLQ", "CONFIG"}) {
    EXPECT_EQ(error_of({name, "x"}), "ERR sluice: SLUICE " + std::string(name) + " is not built yet");
  }
  EXPECT_EQ(error_of({"queue"}), "ERR sluice: SLUICE QUEUE is not built yet");
}

TEST(SluiceCommand, TargetIsAPolicyThenAPatternThenAKey) {
  const auto policies = example_policies();
  EXPECT_EQ(target_of("fruit", policies), Target::policy);
  EXPECT_EQ(target_of("fruit:*", policies), Target::pattern);
  EXPECT_EQ(target_of("fruit:?", policies), Target::pattern);
  EXPECT_EQ(target_of("fruit:[12]", policies), Target::pattern);
  EXPECT_EQ(target_of("fruit:1", policies), Target::key);
}

TEST(SluiceCommand, WhatIsAboutOneKeyNeedsTheRightToReadIt) {
  const auto policies = example_policies();
  for (const Verb verb : {Verb::explain, Verb::status, Verb::dbget, Verb::source, Verb::sync, Verb::invalidate}) {
    EXPECT_EQ(access_of({verb, "fruit:1"}, policies), Access::key_reader);
  }
}

TEST(SluiceCommand, WhatIsAboutMoreNeedsAnAdministrator) {
  const auto policies = example_policies();
  EXPECT_EQ(access_of({Verb::sync, "fruit"}, policies), Access::admin);
  EXPECT_EQ(access_of({Verb::sync, "fruit:*"}, policies), Access::admin);
  EXPECT_EQ(access_of({Verb::invalidate, "*"}, policies), Access::admin);
  EXPECT_EQ(access_of({Verb::policy, ""}, policies), Access::admin);
  EXPECT_EQ(access_of({Verb::rows, "fruit"}, policies), Access::admin);
  EXPECT_EQ(access_of({Verb::clients, ""}, policies), Access::admin);
  EXPECT_EQ(access_of({Verb::pins, ""}, policies), Access::admin);
}

TEST(SluiceCommand, HelpAndVersionAreForAnyone) {
  const auto policies = example_policies();
  EXPECT_EQ(access_of({Verb::help, ""}, policies), Access::anyone);
  EXPECT_EQ(access_of({Verb::version, ""}, policies), Access::anyone);
}

class Owner : public testing::Test {
 protected:
  Ownership find(std::string_view key) const { return find_owner(table, policies, key); }

  const std::vector<std::unique_ptr<policies::Policy>> policies = example_policies();
  const PrefixTable table{{{policies[0]->options().key, 0, false},
                           {*policies[0]->options().alias, 0, true},
                           {policies[1]->options().key, 1, false}}};
};

TEST_F(Owner, IsThePolicyWhoseTemplateMatches) {
  const Ownership owner = find("counter:home");
  EXPECT_EQ(owner.kind, PrefixTable::Match::Kind::owned);
  EXPECT_EQ(owner.policy, policies[1].get());
  EXPECT_EQ(owner.real_key, "counter:home");
}

TEST_F(Owner, OfAnAliasComesWithTheRealKey) {
  const Ownership owner = find("old-fruit-7");
  EXPECT_EQ(owner.kind, PrefixTable::Match::Kind::alias);
  EXPECT_EQ(owner.policy, policies[0].get());
  EXPECT_EQ(owner.key, "old-fruit-7");
  EXPECT_EQ(owner.real_key, "fruit:7");
}

TEST_F(Owner, OfAnOrdinaryOrReservedKeyIsNobody) {
  EXPECT_EQ(find("session:1").policy, nullptr);
  EXPECT_EQ(find("__sluice:x").policy, nullptr);
}

TEST_F(Owner, IsNamedForAKeyThatHasOnlyThePrefix) {
  const Ownership owner = find("fruit:seven");
  EXPECT_EQ(owner.kind, PrefixTable::Match::Kind::off_grid);
  EXPECT_EQ(owner.policy, policies[0].get());
}

TEST_F(Owner, ExplainedInResp2IsAFlatMap) {
  const std::string reply = sluice_explain(find("old-fruit-7"), resp::Version::resp2);
  EXPECT_THAT(reply, StartsWith("*24\r\n$6\r\npolicy\r\n$5\r\nfruit\r\n$8\r\nreal_key\r\n$7\r\nfruit:7\r\n"
                                "$11\r\nkey_columns\r\n*2\r\n$2\r\nid\r\n$1\r\n7\r\n"));
  EXPECT_THAT(reply, HasSubstr("$8\r\ncommands\r\n*8\r\n$4\r\nread\r\n*1\r\n$3\r\nget\r\n"
                               "$7\r\noperate\r\n*1\r\n$3\r\nset\r\n"
                               "$5\r\nguard\r\n*2\r\n$3\r\ndel\r\n$6\r\nunlink\r\n"
                               "$6\r\nreject\r\n*1\r\n$6\r\nappend\r\n"));
}

TEST_F(Owner, ExplainedInResp3IsAMap) {
  const std::string reply = sluice_explain(find("fruit:7"), resp::Version::resp3);
  EXPECT_THAT(reply, StartsWith("%12\r\n"));
  EXPECT_THAT(reply, HasSubstr("key_columns\r\n%1\r\n"));
  EXPECT_THAT(reply, HasSubstr("commands\r\n%4\r\n"));
}

TEST_F(Owner, ExplainedWithoutPolicySaysWhy) {
  EXPECT_THAT(sluice_explain(find("session:1"), resp::Version::resp2),
              StartsWith("*4\r\n$6\r\npolicy\r\n$-1\r\n$6\r\nreason\r\n"));
  EXPECT_THAT(sluice_explain(find("session:1"), resp::Version::resp3),
              StartsWith("%2\r\n$6\r\npolicy\r\n_\r\n$6\r\nreason\r\n"));
  EXPECT_THAT(sluice_explain(find("__sluice:x"), resp::Version::resp2), HasSubstr("side key"));
}

TEST_F(Owner, ExplainedOffGridNamesThePolicyAndTheReason) {
  const std::string reply = sluice_explain(find("fruit:seven"), resp::Version::resp2);
  EXPECT_THAT(reply, StartsWith("*4\r\n$6\r\npolicy\r\n$5\r\nfruit\r\n$6\r\nreason\r\n"));
  EXPECT_THAT(reply, HasSubstr("does not match its template"));
}

TEST_F(Owner, HandledCommandsLeaveOutTheForwardedAndTheKeyless) {
  const std::vector<HandledCommands> groups = handled_commands(*policies[0]);
  ASSERT_EQ(groups.size(), 4U);
  EXPECT_EQ(groups[2].handling, Handling::guard);
  EXPECT_THAT(groups[2].commands, ElementsAre("del", "unlink"));
}

TEST(SluiceReply, PoliciesAreListedByName) {
  EXPECT_EQ(sluice_policies(example_policies()), "*2\r\n$5\r\nfruit\r\n$5\r\nviews\r\n");
  EXPECT_EQ(sluice_policies({}), "*0\r\n");
}

TEST(SluiceReply, APolicyIsAMap) {
  const auto policies = example_policies();
  EXPECT_THAT(sluice_policy(policies, "fruit", resp::Version::resp2),
              StartsWith("*20\r\n$4\r\nname\r\n$5\r\nfruit\r\n"));
  EXPECT_THAT(sluice_policy(policies, "fruit", resp::Version::resp3),
              testing::AllOf(StartsWith("%10\r\n"), HasSubstr("cache-aside"), HasSubstr("fruits")));
}

TEST(SluiceReply, APolicyWithoutAliasHasANil) {
  const auto policies = example_policies();
  EXPECT_THAT(sluice_policy(policies, "views", resp::Version::resp2), HasSubstr("$5\r\nalias\r\n$-1\r\n"));
  EXPECT_THAT(sluice_policy(policies, "views", resp::Version::resp3), HasSubstr("$5\r\nalias\r\n_\r\n"));
}

TEST(SluiceReply, AnUnknownPolicyIsAnError) {
  EXPECT_EQ(sluice_policy(example_policies(), "no\r\npe", resp::Version::resp2),
            "-ERR sluice: there is no policy 'no  pe'\r\n");
}

TEST(SluiceReply, HelpIsAnArrayOfStatuses) {
  const std::string reply = sluice_help();
  EXPECT_THAT(reply, testing::MatchesRegex("\\*[0-9]+\r\n(\\+[^\r\n]*\r\n)+"));
  const std::string count = reply.substr(1, reply.find('\r') - 1);
  EXPECT_EQ(std::to_string(std::count(reply.begin(), reply.end(), '+')), count);
  EXPECT_THAT(reply, HasSubstr("+STATUS <key>\r\n"));
  EXPECT_THAT(reply, Not(HasSubstr("QUEUE")));
}

TEST(SluiceReply, VersionIsABulk) { EXPECT_THAT(sluice_version(), testing::MatchesRegex("\\$[0-9]+\r\n[0-9.]+\r\n")); }

}  // namespace
}  // namespace sluice::proxy

// The promises of write-through, of cached rows and of cached queries, checked on what many clients saw through several
// proxies while things failed.
//
// SLUICE_SEED is the first schedule, SLUICE_TRIALS how many of them, SLUICE_REPEAT how often each; SLUICE_FAMILY
// (written, direct or joined) has keys of no other. On failure the schedule and the history of the key are printed.
#include <cstdlib>
#include <deque>
#include <iostream>
#include <optional>
#include <thread>

#include <gtest/gtest.h>

#include "tests/history/trial.h"

namespace sluice::history {
namespace {

unsigned from_environment(const char* name, unsigned otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : static_cast<unsigned>(std::strtoul(text, nullptr, 10));
}

std::optional<Family> family_from_environment() {
  const char* const text = std::getenv("SLUICE_FAMILY");
  const std::string family = text == nullptr ? "" : text;
  if (family == "written") return Family::written;
  if (family == "direct") return Family::direct;
  if (family == "joined") return Family::joined;
  return std::nullopt;
}

// Runs schedules of consecutive seeds. The check of a trial has to wait; others run meanwhile.
class Campaign {
 public:
  explicit Campaign(Environment& environment, std::optional<Family> only = {})
      : environment_(environment), only_(only) {}

  // Until a promise is broken.
  void run(unsigned seed) {
    ended_.push_back(std::make_unique<Trial>(
        environment_, make_schedule(seed, environment_.proxies(), environment_.has_sql_links(), only_)));
    ended_.back()->run();
    check([](const Trial& trial) { return trial.due() <= Trial::Clock::now(); });
  }
  void end() {
    check([](const Trial& trial) {
      std::this_thread::sleep_until(trial.due());
      return true;
    });
  }

  bool broken() const { return !violations_.empty(); }
  const std::vector<Violation>& violations() const { return violations_; }
  const std::string& report() const { return report_; }
  const Tally& tally() const { return tally_; }

 private:
  void check(bool (*ready)(const Trial&)) {
    while (!broken() && !ended_.empty() && ready(*ended_.front())) {
      const auto trial = std::move(ended_.front());
      ended_.pop_front();
      violations_ = trial->finish();
      report_ = trial->report();
      tally_.add(trial->tally());
    }
  }

  Environment& environment_;
  const std::optional<Family> only_;
  std::deque<std::unique_ptr<Trial>> ended_;
  std::vector<Violation> violations_;
  std::string report_;
  Tally tally_;
};

class Faults : public testing::TestWithParam<Engine> {};

void run(Campaign& campaign, unsigned trials) {
  const unsigned first = live::chosen_seed();
  const unsigned repeat = from_environment("SLUICE_REPEAT", 1);
  for (unsigned i = 0; i < trials * repeat && !campaign.broken(); ++i) campaign.run(first + i / repeat);
  campaign.end();
  std::cout << print(campaign.tally());
  for (const Violation& violation : campaign.violations()) ADD_FAILURE() << print(violation);
  if (campaign.broken()) std::cout << campaign.report();
}

TEST_P(Faults, NoScheduleBreaksAPromise) {
  Environment environment(GetParam(), 3);
  Campaign campaign(environment, family_from_environment());
  run(campaign, from_environment("SLUICE_TRIALS", 60));
}

TEST_P(Faults, NoScheduleHidesWhatTheOutboxHasRecorded) {
  Environment environment(GetParam(), 3, true);
  Campaign campaign(environment, Family::recorded);
  run(campaign, from_environment("SLUICE_TRIALS", 60) / 4);
}

INSTANTIATE_TEST_SUITE_P(On, Faults, testing::Values(Engine::sqlite, Engine::postgresql, Engine::mysql),
                         [](const auto& info) { return std::string(name(info.param)); });

// --- protocols that are not right ------------------------------------------------------------------------------------

class Sabotaged : public testing::TestWithParam<Sabotage> {};

TEST_P(Sabotaged, IsCaught) {
  const unsigned first = live::chosen_seed();
  constexpr unsigned kTrials = 1000;
  ASSERT_TRUE(GetParam().applies()) << "the rule is not in the scripts any more";
  Environment environment(Engine::sqlite, 3, GetParam().family == Family::recorded);
  environment.sabotage = &GetParam();
  Campaign campaign(environment, GetParam().family);
  unsigned i = 0;
  for (; i < kTrials && !campaign.broken(); ++i) campaign.run(first + i);
  campaign.end();
  EXPECT_TRUE(campaign.broken());
  std::cout << "after " << i << " trials\n" << campaign.report();
}

INSTANTIATE_TEST_SUITE_P(, Sabotaged, testing::ValuesIn(sabotages()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace sluice::history

// Random schedules of the real counter operations over several proxies, one counter, a real Redis and SQL in memory.
//
// Without loss of Redis' data every reply is exact, whatever is evicted, deleted or crashes, and in the end SQL and
// Redis hold that number. When Redis loses everything, no more is lost than was unflushed, nothing is counted twice,
// and, unless proxies or SQL fail too, both agree in the end, also when a SET among it makes it impossible to say how
// much was lost. SLUICE_TRIALS sets the number of schedules, SLUICE_SEED the first one.
#include <cstdlib>
#include <random>

#include <gtest/gtest.h>

#include "policies/counter_scripts.h"
#include "tests/policies/proxy_double.h"

namespace sluice::policies::testing {
namespace {

constexpr const char* kKey = "counter:t";
constexpr const char* kDirty = "__sluice:dirty:{views}";

struct Faults {
  bool crashes = false;
  bool errors = false;   // SQL fails, and Redis after it has run a command
  bool amnesia = false;  // FLUSHALL
  bool sets = true;      // SET among the commands
};

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class Schedule {
 public:
  Schedule(std::uint64_t seed, Faults faults) : random_(seed), faults_(faults) {
    redis_.call({"FLUSHALL"});
    if (chance(0.7)) {
      seed_ = 1000;
      sql_.row(std::string("t")) = {{"id", std::string("t")}, {"value", seed_}};
    }
    expected_ = seed_;
    for (int i = 0; i < 3; ++i) proxies_.push_back(make_proxy());
  }

  void run() {
    int todo = 40;
    for (int i = 0; i < 3000 && (todo > 0 || !running_.empty()) && !::testing::Test::HasFailure(); ++i) {
      const double dice = static_cast<double>(random_() % 1000) / 1000;
      if (dice < 0.25 && todo > 0) {
        --todo;
        begin_command();
      } else if (dice < 0.32) {
        begin_flush();
      } else if (dice < 0.36) {
        redis_.call({"DEL", kKey});  // evicted
      } else if (dice < 0.38) {
        redis_.call({"HDEL", side_, "L", "N"});  // deleted by a client
        redis_.call({"DEL", kKey});
      } else if (dice < 0.39) {
        expire_side();
      } else if (dice < 0.41 && faults_.crashes) {
        crash();
      } else if (dice < 0.43 && faults_.amnesia) {
        forget();
      } else if (!running_.empty()) {
        step(random_() % running_.size());
      }
      check_copy();
    }
    finish();
  }

 private:
  struct Running {
    std::size_t proxy = 0;
    int number = 0;
    std::int64_t delta = 0;
    std::optional<std::int64_t> absolute;
    bool reads = false, flushes = false;
  };

  bool chance(double p) { return static_cast<double>(random_() % 1000000) < p * 1e6; }

  std::unique_ptr<ProxyDouble> make_proxy() {
    auto proxy = std::make_unique<ProxyDouble>(options_, sql_, random_());
    if (faults_.errors) proxy->intercept = [this](const Step& step) { return fault(step); };
    return proxy;
  }

  void begin_command() {
    Running running;
    running.proxy = random_() % proxies_.size();
    ProxyDouble& proxy = *proxies_[running.proxy];
    if (faults_.sets && chance(0.1)) {
      running.absolute = static_cast<std::int64_t>(random_() % 10000);
      running.number = proxy.begin(command({"SET", kKey, std::to_string(*running.absolute)}));
    } else if (chance(0.2)) {
      if (redis_.call({"EXISTS", kKey}).integer == 1) return;  // a hit; check_copy() has looked at it
      running.reads = true;
      running.number = proxy.begin(miss({"GET", kKey}));
    } else {
      running.delta = faults_.amnesia || chance(0.8) ? 1 + static_cast<std::int64_t>(random_() % 5) : -3;
      running.number = proxy.begin(command({"INCRBY", kKey, std::to_string(running.delta)}));
    }
    running_.push_back(running);
  }

  void begin_flush() {
    const std::size_t index = random_() % proxies_.size();
    proxies_[index]->clock += Milliseconds(60000);
    auto operation = proxies_[index]->policy().due(TimePoint(proxies_[index]->clock));
    if (!operation) return;
    Running running;
    running.proxy = index;
    running.flushes = true;
    running.number = proxies_[index]->adopt(std::move(operation));
    running_.push_back(running);
  }

  void step(std::size_t at) {
    if (chance(0.1)) redis_.call({"HDEL", side_, "L"});  // a lease runs out
    current_ = running_[at];
    ProxyDouble& proxy = *proxies_[current_.proxy];
    if (!proxy.can_step(current_.number)) return;
    applied_ = faulted_ = false;
    proxy.step(current_.number);
    if (proxy.ended(current_.number)) take_end(proxy.finish(current_.number));
    std::erase_if(running_, [&](const Running& r) { return proxies_[r.proxy]->ended(r.number); });
  }

  void take_end(const Finish& finish) {
    if (current_.flushes || finish.reply.empty() || finish.reply[0] == '-') return;
    if (current_.reads) {
      const bool nil = finish.reply == "$-1\r\n";
      // When Redis is lost at the last step, the answer is from when it was last heard.
      if (!faults_.amnesia && !faulted_) {
        EXPECT_EQ(nil ? 0 : bulk(finish.reply), expected_);
      }
      return;
    }
    if (!applied_) apply();
    if (!current_.absolute && !faults_.amnesia) {
      EXPECT_EQ(std::strtoll(finish.reply.c_str() + 1, nullptr, 10), expected_);
    }
  }

  // The command has taken effect in Redis.
  void apply() {
    applied_ = true;
    expected_ = current_.absolute ? *current_.absolute : expected_ + current_.delta;
  }

  static std::int64_t bulk(const std::string& reply) {
    return std::strtoll(reply.c_str() + reply.find('\n') + 1, nullptr, 10);
  }

  std::optional<Event> fault(const Step& step) {
    if (!chance(0.08)) return {};
    faulted_ = true;
    if (const auto* call = std::get_if<CallRedis>(&step)) {
      for (const RedisCommand& command : call->commands) {
        const resp::Reply reply = redis_.run(command);
        const bool counted = command.script == &counters::add() && reply.type != resp::Reply::Type::array;
        if (counted || (command.script == &counters::set() && !reply.is_error())) apply();
      }
      return RedisLost{true};
    }
    const auto* call = std::get_if<CallSql>(&step);
    if (call == nullptr) return {};
    if (chance(0.5)) sql_.run(call->op);
    SqlDone done;
    done.result.error = {sql::Failure::unknown, "08007", "injected"};
    if (!sql::is_write(call->op)) done.result.error.failure = sql::Failure::unavailable;
    return done;
  }

  void crash() {
    const std::size_t index = random_() % proxies_.size();
    std::erase_if(running_, [&](const Running& r) { return r.proxy == index; });
    proxies_[index] = make_proxy();
  }

  // The side key of a clean counter may go.
  void expire_side() {
    if (redis_.call({"ZSCORE", kDirty, kKey}).is_nil()) redis_.call({"DEL", side_});
  }

  void forget() {
    lost_ += expected_ - in_sql();
    redis_.call({"FLUSHALL"});
  }

  std::int64_t in_sql() {
    if (!sql_.has(std::string("t"))) return 0;
    return std::get<std::int64_t>(sql_.row(std::string("t"))["value"]);
  }

  void check_copy() {
    const resp::Reply copy = redis_.call({"GET", kKey});
    if (!copy.is_nil() && !faults_.amnesia) {
      ASSERT_EQ(std::stoll(copy.text), expected_);
    }
  }

  void finish() {
    redis_.call({"HDEL", side_, "L"});
    ProxyDouble proxy(options_, sql_, random_());
    proxy.run(proxy.adopt(proxy.policy().drain()));
    EXPECT_EQ(proxy.policy().unflushed(), 0U);
    if (!faults_.amnesia) {
      EXPECT_EQ(in_sql(), expected_);
    } else if (!faults_.sets) {
      EXPECT_LE(in_sql(), expected_) << "counted twice";
      EXPECT_GE(in_sql(), expected_ - lost_) << "lost more than was unflushed";
    }
    const resp::Reply copy = redis_.call({"GET", kKey});
    // Nobody drops the copy for a commit of lost increments whose flusher has died, or was not told of it.
    const bool told = !faults_.amnesia || !(faults_.crashes || faults_.errors);
    if (!copy.is_nil() && told) {
      EXPECT_EQ(std::stoll(copy.text), in_sql());
    }
    redis_.call({"DEL", kKey});
    const std::string read = proxy.run(miss({"GET", kKey}));
    if (sql_.has(std::string("t"))) {
      EXPECT_EQ(bulk(read), in_sql());
    }
  }

  RedisServer& redis_ = RedisServer::instance();
  std::mt19937_64 random_;
  const Faults faults_;
  const conf::PolicyOptions options_ = views_options();
  SqlMap sql_{counters_table()};
  const std::string side_ = side_key(kKey);
  std::vector<std::unique_ptr<ProxyDouble>> proxies_;
  std::vector<Running> running_;
  Running current_;       // being stepped
  bool faulted_ = false;  // its step failed
  bool applied_ = false;  // its effect is in expected_
  std::int64_t seed_ = 0, expected_ = 0, lost_ = 0;
};

class CounterModel : public ::testing::Test {
 protected:
  void run(Faults faults) {
    const auto first = from_environment("SLUICE_SEED", std::random_device{}());
    const auto trials = from_environment("SLUICE_TRIALS", 100);
    for (std::uint64_t seed = first; seed < first + trials && !HasFailure(); ++seed) {
      SCOPED_TRACE("SLUICE_SEED=" + std::to_string(seed));
      Schedule(seed, faults).run();
    }
  }
};

TEST_F(CounterModel, EveryReplyIsExactWhateverIsEvicted) { run({}); }
TEST_F(CounterModel, CrashesNeitherLoseNorDouble) { run({.crashes = true}); }
TEST_F(CounterModel, FailingSqlAndRedisNeitherLoseNorDouble) { run({.errors = true}); }
TEST_F(CounterModel, CrashesAmongErrorsNeitherLoseNorDouble) { run({.crashes = true, .errors = true}); }
TEST_F(CounterModel, AnEmptiedRedisLosesOnlyWhatWasUnflushed) { run({.amnesia = true, .sets = false}); }
TEST_F(CounterModel, AnEmptiedRedisAmongCrashesLosesOnlyWhatWasUnflushed) {
  run({.crashes = true, .amnesia = true, .sets = false});
}
TEST_F(CounterModel, AnEmptiedRedisAmongErrorsLosesOnlyWhatWasUnflushed) {
  run({.errors = true, .amnesia = true, .sets = false});
}
TEST_F(CounterModel, AnEmptiedRedisAmongSetsAgreesWithSqlInTheEnd) { run({.amnesia = true}); }

}  // namespace
}  // namespace sluice::policies::testing

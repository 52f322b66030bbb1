// Random schedules of writes of a row, and of reads that another policy caches under another key, over several proxies,
// with a real Redis and SQL in memory.
//
// After every step: a copy that would be answered, and is no burning fuse, is what SQL holds; with a lost version, and
// before somebody who wrote past the proxies has touched the table, it is at least the last acknowledged write. No read
// answers with less than what was acknowledged before it began. SLUICE_TRIALS sets the number of schedules, SLUICE_SEED
// the first one.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "policies/fuse_scripts.h"
#include "policies/tables.h"
#include "tests/policies/proxy_double.h"

namespace sluice::policies::testing {
namespace {

constexpr const char* kView = "view:1";
constexpr const char* kTable = "__sluice:table:fruit";
constexpr std::int64_t kFuseMs = 1000;

struct Faults {
  int crashes = 0;        // proxies that die
  int lost_versions = 0;  // evictions of the table's version
  int direct_writes = 0;  // past the proxies, followed by a TOUCH
  bool errors = false;    // SQL and Redis fail in between
};

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class Schedule {
 public:
  Schedule(std::uint64_t seed, Faults faults) : random_(seed), faults_(faults) {
    redis_.call({"FLUSHALL"});
    reading_.key = key_template("view:{id:int}");
    reading_.tables = {"fruit"};
    if (chance(0.2)) writing_.tables = {"fruit"};
    if (chance(0.2)) reading_.negative_ttl = Milliseconds(0);
    sql_.row(std::int64_t{1}) = {
        {"id", std::int64_t{1}}, {"name", std::string("apple")}, {"quantity", std::int64_t{0}}};
    versions_[0] = 0;
    for (int i = 0; i < 4; ++i) {
      Proxy& proxy = proxies_.emplace_back();
      proxy.writes = i < 2;
      proxy.driver = std::make_unique<ProxyDouble>(proxy.writes ? writing_ : reading_, sql_, random_());
      proxy.driver->answers_take_a_step = true;
      if (faults_.errors) proxy.driver->intercept = [this](const Step& step) { return fault(step); };
    }
    for (std::size_t i = 0; i < 6; ++i) actors_.push_back({&proxies_[i < 2 ? i : 2 + i % 2]});
    for (Actor& actor : actors_) actor.left = 1 + static_cast<int>(random_() % 3);
  }

  void run() {
    for (int i = 0; i < 2000 && !::testing::Test::HasFatalFailure(); ++i) {
      if (!advance()) break;
      note_commit();
      check_copy();
    }
    end();
  }

 private:
  struct Proxy {
    std::unique_ptr<ProxyDouble> driver;
    bool writes = false;
    bool dead = false;
  };
  struct Actor {
    Proxy* proxy;
    int left = 0;  // operations to come
    int operation = -1;
    std::string token{};          // of its arm
    std::int64_t value = 0;       // being written
    int acknowledged_before = 0;  // version, when the read began
  };

  bool chance(double p) { return static_cast<double>(random_() % 1000000) < p * 1e6; }

  // One random thing happens. False when nothing is left to happen.
  bool advance() {
    if (chance(0.02)) return drop(kView);
    if (chance(0.02)) return drop(side_key(kView));
    if (chance(0.05)) return burn();
    if (dead_ && chance(0.05)) return expire_dead_arms();
    if (faults_.lost_versions > 0 && chance(0.05)) {
      --faults_.lost_versions;
      return drop(kTable);
    }
    if (touches_ && chance(0.2)) return touch();
    if (faults_.direct_writes > 0 && !touches_ && chance(0.05)) return write_directly();
    std::vector<Actor*> able;
    for (Actor& actor : actors_) {
      if (actor.proxy->dead) continue;
      if (actor.operation < 0 ? actor.left > 0 : actor.proxy->driver->can_step(actor.operation)) able.push_back(&actor);
    }
    if (able.empty()) return touches_ && touch();
    Actor& actor = *able[random_() % able.size()];
    if (faults_.crashes > 0 && actor.operation >= 0 && chance(0.06)) return crash(*actor.proxy);
    if (actor.operation < 0) {
      begin(actor);
    } else {
      actor.proxy->driver->step(actor.operation);
    }
    note_token(actor);
    for (Actor& other : actors_) take_end(other);
    return true;
  }

  static void note_token(Actor& actor) {
    if (actor.operation < 0) return;
    const auto* const call = std::get_if<CallRedis>(&actor.proxy->driver->waits_for(actor.operation));
    if (call != nullptr && call->commands[0].script == &fuse::arm()) actor.token = call->commands[0].args.at(3);
  }

  void begin(Actor& actor) {
    --actor.left;
    actor.acknowledged_before = acknowledged_;
    if (!actor.proxy->writes) {
      actor.operation = actor.proxy->driver->begin(miss({"GET", kView}));
      return;
    }
    actor.value = ++last_value_;
    const std::string json = R"({"id":1,"name":"apple","quantity":)" + std::to_string(actor.value) + "}";
    actor.operation = actor.proxy->driver->begin(command({"SET", "fruit:1", json}));
  }

  void take_end(Actor& actor) {
    if (actor.proxy->dead || actor.operation < 0 || !actor.proxy->driver->ended(actor.operation)) return;
    const std::string reply = actor.proxy->driver->finish(actor.operation).reply;
    actor.operation = -1;
    note_commit();
    if (reply[0] == '-') return;
    if (actor.proxy->writes) {
      acknowledged_ = std::max(acknowledged_, versions_.at(actor.value));
    } else {
      check_read(actor, quantity(reply));
    }
  }

  bool drop(const std::string& key) {
    redis_.call({"DEL", key});
    return true;
  }

  bool burn() {
    if (fused()) redis_.call({"DEL", kView});
    return true;
  }

  bool crash(Proxy& proxy) {
    --faults_.crashes;
    dead_ = proxy.dead = true;
    return true;
  }

  // Time passes for the arms of the dead only: for the living it never does.
  bool expire_dead_arms() {
    for (const resp::Reply& field : redis_.call({"HKEYS", kTable}).items) {
      if (field.text == "v" || lives(field.text.substr(2))) continue;
      redis_.call({"HSET", kTable, field.text, "1"});
    }
    return true;
  }

  bool lives(const std::string& token) const {
    return std::any_of(actors_.begin(), actors_.end(), [&](const Actor& actor) {
      return !actor.proxy->dead && actor.operation >= 0 && actor.token == token;
    });
  }

  bool write_directly() {
    --faults_.direct_writes;
    note_commit();
    sql_.row(std::int64_t{1})["quantity"] = ++last_value_;
    touches_ = last_value_;
    return true;
  }

  bool touch() {
    note_commit();
    redis_.run(tables::touch({"fruit"}, "70c8"));
    acknowledged_ = std::max(acknowledged_, versions_.at(*touches_));
    touches_.reset();
    return true;
  }

  std::optional<Event> fault(const Step& step) {
    if (!chance(0.08)) return {};
    if (const auto* call = std::get_if<CallRedis>(&step)) {
      const bool sent = chance(0.5);
      if (sent) {
        for (const RedisCommand& command : call->commands) redis_.run(command);
      }
      dead_ = true;
      return RedisLost{sent};
    }
    const auto* call = std::get_if<CallSql>(&step);
    if (call == nullptr) return {};
    SqlDone done;
    done.result.error = {sql::Failure::unavailable, "08000", "injected"};
    if (sql::is_write(call->op) && chance(0.5)) {
      if (chance(0.5)) sql_.run(call->op);
      done.result.error.failure = sql::Failure::unknown;
      dead_ = true;
    }
    return done;
  }

  void note_commit() {
    const auto now = std::get<std::int64_t>(sql_.row(std::int64_t{1})["quantity"]);
    const auto [at, is_new] = versions_.try_emplace(now, static_cast<int>(versions_.size()));
    current_ = at->second;
  }

  static std::int64_t quantity(const std::string& text) {
    const auto json = text.find("\"quantity\":");
    return json == std::string::npos ? -1 : std::strtoll(text.c_str() + json + 11, nullptr, 10);
  }

  // What would be answered: a copy made of this version, of which no arm has expired.
  std::optional<std::int64_t> good() {
    const resp::Reply copy = redis_.call({"GET", kView});
    const std::string now = redis_.text({"HGET", kTable, "v"});
    if (copy.is_nil() || now == "(nil)" || redis_.text({"HGET", side_key(kView), "V"}) != now) return {};
    for (const resp::Reply& arm : redis_.call({"HVALS", kTable}).items) {
      if (arm.text == "1") return {};
    }
    return quantity(copy.text);
  }

  bool fused() {
    const auto left = redis_.call({"PTTL", kView}).integer;
    return left >= 0 && left <= kFuseMs;
  }

  void check_copy() {
    const auto copy = good();
    if (!copy || fused()) return;
    ASSERT_TRUE(versions_.contains(*copy)) << "a value that SQL never had: " << *copy;
    ASSERT_GE(versions_.at(*copy), acknowledged_) << "a copy older than an acknowledged write";
    if (touches_ || may_lose_versions_) return;
    ASSERT_EQ(versions_.at(*copy), current_) << "a copy that no fuse ends, of what SQL has not any more";
  }

  void check_read(const Actor& actor, std::int64_t value) {
    ASSERT_TRUE(versions_.contains(value)) << value;
    if (faults_.errors) return;  // acknowledged without Redis: a fuse may be answered meanwhile
    ASSERT_GE(versions_.at(value), actor.acknowledged_before) << "a read went back in time";
  }

  // Time passes for everybody.
  void end() {
    if (::testing::Test::HasFatalFailure()) return;
    for (Proxy& proxy : proxies_) {
      if (proxy.dead) continue;
      proxy.driver->intercept = nullptr;
      proxy.driver->clock += Milliseconds(1000);
      proxy.driver->run_background();
    }
    note_commit();
    check_copy();
    expire_dead_arms();
    burn();
    ProxyDouble late(reading_, sql_, random_());
    ASSERT_EQ(quantity(late.run(miss({"GET", kView}))), std::get<std::int64_t>(sql_.row(std::int64_t{1})["quantity"]));
    ASSERT_EQ(redis_.call({"HLEN", kTable}).integer, 1) << "an arm is left";
  }

  RedisServer& redis_ = RedisServer::instance();
  std::mt19937_64 random_;
  Faults faults_;
  const bool may_lose_versions_ = faults_.lost_versions > 0;
  conf::PolicyOptions reading_ = fruit_options(), writing_ = written_options();
  SqlMap sql_{fruit_table()};
  std::vector<Proxy> proxies_ = [] {
    std::vector<Proxy> proxies;
    proxies.reserve(4);
    return proxies;
  }();
  std::vector<Actor> actors_;
  std::map<std::int64_t, int> versions_;  // of every value that SQL had
  std::int64_t last_value_ = 0;
  std::optional<std::int64_t> touches_;  // the value written directly whose TOUCH is to come
  int acknowledged_ = 0, current_ = 0;
  bool dead_ = false;  // arms may have been left behind
};

class TablesModel : public ::testing::Test {
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

TEST_F(TablesModel, WithoutFaultsNothingIsEverStale) { run({}); }
TEST_F(TablesModel, CrashesLeaveOnlyFuses) { run({.crashes = 2}); }
TEST_F(TablesModel, ALostVersionLeavesNothingStale) { run({.lost_versions = 2}); }
TEST_F(TablesModel, WhoWritesDirectlyAndTouchesIsSeen) { run({.direct_writes = 2}); }
TEST_F(TablesModel, TouchesOfALostVersionAreSeen) { run({.lost_versions = 2, .direct_writes = 2}); }
TEST_F(TablesModel, FailingSqlAndRedisLeaveOnlyFuses) { run({.errors = true}); }
TEST_F(TablesModel, CrashesAmongErrorsLeaveOnlyFuses) { run({.crashes = 2, .direct_writes = 1, .errors = true}); }

}  // namespace
}  // namespace sluice::policies::testing

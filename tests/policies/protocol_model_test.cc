// Random schedules of the real write and fill operations over several proxies, one key, a real Redis and SQL in memory.
//
// After every step: a cached copy that is not a burning fuse is never older than the last acknowledged write. At the
// end: such a copy is what SQL holds. Without faults no read answers with less than what was acknowledged before it.
// SLUICE_TRIALS sets the number of schedules, SLUICE_SEED the first one.
#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "policies/fuse_scripts.h"
#include "tests/policies/proxy_double.h"

namespace sluice::policies::testing {
namespace {

constexpr const char* kKey = "fruit:1";
constexpr std::int64_t kFuseMs = 1000;

struct Faults {
  int crashes = 0;      // proxies that die
  int side_losses = 0;  // evictions of the side key
  bool errors = false;  // SQL and Redis fail in between
};

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class Schedule {
 public:
  Schedule(std::uint64_t seed, bool hash, Faults faults) : random_(seed), hash_(hash), faults_(faults) {
    options_ = written_options();
    options_.value = hash ? conf::ValueMode::hash : conf::ValueMode::json;
    if (chance(0.5)) options_.on_write = conf::OnWrite::invalidate;
    redis_.call({"FLUSHALL"});
    versions_[0] = 0;
    sql_.row(std::int64_t{1}) = {
        {"id", std::int64_t{1}}, {"name", std::string("apple")}, {"quantity", std::int64_t{0}}};
    if (chance(0.5)) warm_up();
    const int proxies = 1 + static_cast<int>(random_() % 3);
    for (int i = 0; i < proxies; ++i) {
      proxies_.push_back(std::make_unique<ProxyDouble>(options_, sql_, random_()));
      proxies_.back()->answers_take_a_step = true;
      if (faults_.errors) proxies_.back()->intercept = [this](const Step& step) { return fault(step); };
    }
    for (int i = 0; i < 5; ++i) {
      Actor actor;
      actor.proxy = proxies_[random_() % proxies_.size()].get();
      actor.writes = i < 2;
      actor.left = 1 + static_cast<int>(random_() % 3);
      actors_.push_back(actor);
    }
  }

  void run() {
    for (int i = 0; i < 2000 && !::testing::Test::HasFatalFailure(); ++i) {
      if (!advance()) break;
      note_commit();
      check_copy();
    }
    for (const auto& proxy : proxies_) {
      if (dead_proxies_.contains(proxy.get())) continue;
      proxy->intercept = nullptr;
      proxy->clock += Milliseconds(1000);
      proxy->run_background();
    }
    check_end();
  }

 private:
  struct Actor {
    ProxyDouble* proxy = nullptr;  // null: it died
    bool writes = false;
    int left = 0;  // operations to come
    int operation = -1;
    std::string token;            // of its arm
    std::int64_t value = 0;       // being written
    int acknowledged_before = 0;  // version, when the read began
  };

  bool chance(double p) { return static_cast<double>(random_() % 1000000) < p * 1e6; }

  void warm_up() {
    if (hash_) {
      redis_.call({"HSET", kKey, "name", "apple", "quantity", "0"});
      redis_.call({"PEXPIRE", kKey, "3600000"});
    } else {
      redis_.call({"SET", kKey, R"({"id":1,"name":"apple","quantity":0})", "PX", "3600000"});
    }
  }

  // One random thing happens. False when nothing is left to happen.
  bool advance() {
    if (chance(0.02)) return drop_copy();
    if (faults_.side_losses > 0 && chance(0.1)) {
      faults_.side_losses -= static_cast<int>(redis_.call({"DEL", side_}).integer);
      return true;
    }
    if (chance(0.03)) return burn();
    if (dead_ && chance(0.05)) return expire_dead_arms();
    std::vector<Actor*> able;
    for (Actor& actor : actors_) {
      if (actor.proxy == nullptr) continue;
      if (actor.operation < 0 ? actor.left > 0 : actor.proxy->can_step(actor.operation)) able.push_back(&actor);
    }
    if (able.empty()) return false;
    Actor& actor = *able[random_() % able.size()];
    if (faults_.crashes > 0 && actor.operation >= 0 && chance(0.05)) return crash(actor.proxy);
    if (actor.operation < 0)
      begin(actor);
    else
      actor.proxy->step(actor.operation);
    note_token(actor);
    for (Actor& other : actors_) take_end(other);
    return true;
  }

  static void note_token(Actor& actor) {
    if (actor.operation < 0) return;
    const auto* const call = std::get_if<CallRedis>(&actor.proxy->waits_for(actor.operation));
    if (call != nullptr && call->commands[0].script == &fuse::arm()) actor.token = call->commands[0].args.at(3);
  }

  void begin(Actor& actor) {
    --actor.left;
    actor.acknowledged_before = acknowledged_;
    if (actor.writes) {
      actor.value = ++last_value_;
      actor.operation = actor.proxy->begin(write(actor.value));
      return;
    }
    if (const auto found = copied()) {  // the forwarded read
      check_read(actor, *found);
      return;
    }
    actor.operation = actor.proxy->begin(miss({hash_ ? "HGETALL" : "GET", kKey}));
  }

  Request write(std::int64_t value) const {
    const std::string text = std::to_string(value);
    if (hash_) return command({"HSET", kKey, "quantity", text});
    return command({"SET", kKey, R"({"id":1,"name":"apple","quantity":)" + text + "}"});
  }

  void take_end(Actor& actor) {
    if (actor.proxy == nullptr || actor.operation < 0 || !actor.proxy->ended(actor.operation)) return;
    const std::string reply = actor.proxy->finish(actor.operation).reply;
    actor.operation = -1;
    note_commit();
    if (!actor.writes) {
      if (reply[0] != '-') check_read(actor, quantity(reply));
    } else if (reply[0] != '-') {
      acknowledged_ = std::max(acknowledged_, versions_.at(actor.value));
    }
  }

  // What a DEL from a client does: the guard, then the command.
  bool drop_copy() {
    redis_.call({"HDEL", side_, "L", "N"});
    redis_.call({"DEL", kKey});
    return true;
  }

  bool burn() {
    if (fused()) redis_.call({"DEL", kKey});
    return true;
  }

  bool crash(ProxyDouble* proxy) {
    --faults_.crashes;
    dead_ = true;
    dead_proxies_.insert(proxy);
    for (Actor& actor : actors_) {
      if (actor.proxy == proxy) actor.proxy = nullptr;
    }
    return true;
  }

  // Time passes for the arms of the dead only: for the living it never does.
  bool expire_dead_arms() {
    const resp::Reply side = redis_.call({"HGETALL", side_});
    for (std::size_t i = 0; i + 1 < side.items.size(); i += 2) {
      const std::string& field = side.items[i].text;
      if (!field.starts_with("a:") || lives(field.substr(2))) continue;
      const std::string& arm = side.items[i + 1].text;
      redis_.call({"HSET", side_, field, "1" + arm.substr(arm.find(':'))});
    }
    return true;
  }

  bool lives(const std::string& token) const {
    return std::any_of(actors_.begin(), actors_.end(), [&](const Actor& actor) {
      return actor.proxy != nullptr && actor.operation >= 0 && actor.token == token;
    });
  }

 public:
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
    }
    return done;
  }

 private:
  void note_commit() {
    const auto now = std::get<std::int64_t>(sql_.row(std::int64_t{1})["quantity"]);
    const auto [at, is_new] = versions_.try_emplace(now, static_cast<int>(versions_.size()));
    current_ = at->second;
  }

  // Of JSON or of a hash's reply.
  static std::int64_t quantity(const std::string& text) {
    const auto json = text.find("\"quantity\":");
    if (json != std::string::npos) return std::strtoll(text.c_str() + json + 11, nullptr, 10);
    const auto field = text.find("quantity\r\n");
    if (field == std::string::npos) return -1;
    return std::strtoll(text.c_str() + text.find("\r\n", field + 10) + 2, nullptr, 10);
  }

  std::optional<std::int64_t> copied() {
    if (!hash_) {
      const resp::Reply reply = redis_.call({"GET", kKey});
      return reply.is_nil() ? std::nullopt : std::optional(quantity(reply.text));
    }
    const resp::Reply reply = redis_.call({"HGETALL", kKey});
    if (reply.items.empty()) return {};
    EXPECT_EQ(reply.items.size(), 4) << "a partial hash";
    return redis_.call({"HGET", kKey, "quantity"}).is_nil()
               ? -1
               : std::strtoll(redis_.call({"HGET", kKey, "quantity"}).text.c_str(), nullptr, 10);
  }

  bool fused() {
    const auto left = redis_.call({"PTTL", kKey}).integer;
    return left >= 0 && left <= kFuseMs;
  }

  void check_copy() {
    const auto copy = copied();
    if (!copy || fused()) return;
    ASSERT_TRUE(versions_.contains(*copy)) << "a value that SQL never had: " << *copy;
    ASSERT_GE(versions_.at(*copy), acknowledged_) << "a copy older than an acknowledged write";
  }

  void check_read(const Actor& actor, std::int64_t value) {
    if (faults_.errors || crashes_ || side_losses_) return;
    ASSERT_TRUE(versions_.contains(value)) << value;
    ASSERT_GE(versions_.at(value), actor.acknowledged_before) << "a read went back in time";
  }

  void check_end() {
    note_commit();
    const auto copy = copied();
    if (copy && !fused()) {
      ASSERT_EQ(versions_.at(*copy), current_) << "a stale copy stays";
    }
    expire_dead_arms();
    ProxyDouble(options_, sql_, random_()).run(miss({hash_ ? "HGETALL" : "GET", kKey}));
    const auto after = copied();
    if (after && !fused()) {
      ASSERT_EQ(versions_.at(*after), current_) << "a stale copy after the arms have expired";
    }
  }

  RedisServer& redis_ = RedisServer::instance();
  std::mt19937_64 random_;
  const bool hash_;
  Faults faults_;
  const bool crashes_ = faults_.crashes > 0, side_losses_ = faults_.side_losses > 0;
  conf::PolicyOptions options_;
  SqlMap sql_{fruit_table()};
  const std::string side_ = side_key(kKey);
  std::vector<std::unique_ptr<ProxyDouble>> proxies_;
  std::set<const ProxyDouble*> dead_proxies_;
  std::vector<Actor> actors_;
  std::map<std::int64_t, int> versions_;  // of every value that SQL had
  std::int64_t last_value_ = 0;
  int acknowledged_ = 0, current_ = 0;
  bool dead_ = false;  // arms may have been left behind
};

class ProtocolModel : public ::testing::Test {
 protected:
  void run(Faults faults) {
    const auto first = from_environment("SLUICE_SEED", std::random_device{}());
    const auto trials = from_environment("SLUICE_TRIALS", 100);
    for (std::uint64_t seed = first; seed < first + trials && !HasFailure(); ++seed) {
      for (const bool hash : {false, true}) {
        SCOPED_TRACE("SLUICE_SEED=" + std::to_string(seed) + (hash ? " hash" : " json"));
        Schedule(seed, hash, faults).run();
      }
    }
  }
};

TEST_F(ProtocolModel, WithoutFaultsNothingIsEverStale) { run({}); }
TEST_F(ProtocolModel, TwoCrashesLeaveOnlyFuses) { run({.crashes = 2}); }
TEST_F(ProtocolModel, ALostSideKeyLeavesNothingStale) { run({.side_losses = 1}); }
TEST_F(ProtocolModel, FailingSqlAndRedisLeaveOnlyFuses) { run({.errors = true}); }
TEST_F(ProtocolModel, CrashesAmongErrorsLeaveOnlyFuses) { run({.crashes = 2, .errors = true}); }

}  // namespace
}  // namespace sluice::policies::testing

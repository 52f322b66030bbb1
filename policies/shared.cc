// Shared, see shared.h.
#include "policies/shared.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "policies/replies.h"
#include "policies/tables.h"

namespace sluice::policies {

std::optional<Step> Schema::ask(Turn& turn) {
  if (mapping_) return {};
  if (asking_) {
    waiters_.push_back(turn.self);
    return Park{};
  }
  asking_ = true;
  return CallSql{sql::Describe{options_.table}, options_.load_timeout};
}

std::optional<sql::Error> Schema::take(const Event& event, Turn& turn) {
  if (const auto* done = std::get_if<SqlDone>(&event)) {
    asking_ = false;
    learn(done->result);
    turn.woken.insert(turn.woken.end(), waiters_.begin(), waiters_.end());
    waiters_.clear();
  }
  if (mapping_) return {};
  return error_;
}

void Schema::learn(const sql::Result& result) {
  error_ = result.error;
  if (!result.ok()) return;
  auto mapping = result.table ? Mapping::make(options_, *result.table) : Checked<Mapping>(Why{"no description"});
  if (mapping) {
    mapping_ = std::make_shared<const Mapping>(std::move(*mapping));
  } else {
    error_ = {sql::Failure::schema, "", mapping.why()};
  }
}

LoadSlots::Got LoadSlots::acquire(OperationId self) {
  if (free_ > 0) {
    --free_;
    return Got::now;
  }
  if (waiters_.size() >= kWaitersMax) return Got::never;
  waiters_.push_back(self);
  return Got::later;
}

void LoadSlots::release(Turn& turn) {
  if (waiters_.empty()) {
    ++free_;
    return;
  }
  turn.woken.push_back(waiters_.front());
  waiters_.pop_front();
}

bool KeyQueue::enter(const std::string& key, OperationId self) {
  const auto [at, first] = waiters_.try_emplace(key);
  if (!first) at->second.push_back(self);
  return first;
}

void KeyQueue::leave(const std::string& key, Turn& turn) {
  const auto at = waiters_.find(key);
  if (at->second.empty()) {
    waiters_.erase(at);
    return;
  }
  turn.woken.push_back(at->second.front());
  at->second.pop_front();
}

namespace {

std::uint64_t number(OperationId id) { return std::uint64_t{id.generation} << 32U | id.index; }

}  // namespace

bool Flights::join(const std::string& key, OperationId self) {
  const auto [at, first] = flights_.try_emplace(key);
  if (!first) (at->second.sealed ? at->second.late : at->second.early).push_back(self);
  return first;
}

void Flights::seal(const std::string& key) { flights_.at(key).sealed = true; }

void Flights::reopen(const std::string& key) {
  Flight& flight = flights_.at(key);
  flight.sealed = false;
  flight.early.insert(flight.early.end(), flight.late.begin(), flight.late.end());
  flight.late.clear();
}

void Flights::mark(const std::string& key) {
  Flight& flight = flights_.at(key);
  flight.marked = flight.early.size();
}

void Flights::land(const std::string& key, const std::shared_ptr<const Answer>& answer, Share share, Turn& turn) {
  auto landed = flights_.extract(key);
  Flight& flight = landed.mapped();
  std::vector<OperationId> again = std::move(flight.late);
  const std::size_t shares = share == Share::early ? flight.early.size() : share == Share::marked ? flight.marked : 0;
  const auto last = flight.early.begin() + static_cast<std::ptrdiff_t>(shares);
  again.insert(again.begin(), last, flight.early.end());
  flight.early.erase(last, flight.early.end());
  for (const OperationId id : flight.early) tell(id, key, answer, turn);
  if (again.empty()) return;
  tell(again.front(), key, nullptr, turn);
  again.erase(again.begin());
  flights_[key].early = std::move(again);
}

void Flights::tell(OperationId who, const std::string& key, const std::shared_ptr<const Answer>& answer, Turn& turn) {
  std::vector<Landed>& landed = landed_[number(who)];
  if (landed.empty()) turn.woken.push_back(who);
  landed.push_back({key, answer});
}

std::vector<Flights::Landed> Flights::take(OperationId self) {
  auto found = landed_.extract(number(self));
  return found ? std::move(found.mapped()) : std::vector<Landed>();
}

void Flights::leave(const std::string& key, OperationId self) {
  Flight& flight = flights_.at(key);
  const auto marked = flight.early.begin() + static_cast<std::ptrdiff_t>(flight.marked);
  flight.marked -= static_cast<std::size_t>(std::count(flight.early.begin(), marked, self));
  std::erase(flight.early, self);
  std::erase(flight.late, self);
}

void Forgotten::add(std::string key) {
  if (keys_.size() < kKeysMax) keys_.push_back(std::move(key));
}

std::vector<std::string> Forgotten::take(std::size_t most) {
  std::vector<std::string> taken;
  while (!keys_.empty() && taken.size() < most) {
    taken.push_back(std::move(keys_.front()));
    keys_.pop_front();
  }
  return taken;
}

Shared::Shared(const conf::PolicyOptions& o)
    : options(o),
      table(tables::version_name(o.table)),
      depends_on(tables::version_names(o.tables)),
      breaker(metrics, o.load_timeout),
      schema(o),
      slots(o.max_concurrent_loads) {}

std::string make_token(const Turn& turn) {
  std::array<char, 32> token{};
  std::snprintf(token.data(), token.size(), "%016llx%08x", static_cast<unsigned long long>(turn.random),
                turn.self.index);
  return token.data();
}

Milliseconds jittered(Milliseconds ttl, double jitter, std::uint64_t random) {
  const double part = static_cast<double>(random >> 11U) / static_cast<double>(std::uint64_t{1} << 53U);
  const auto less = static_cast<Milliseconds::rep>(static_cast<double>(ttl.count()) * jitter * part);
  return ttl.count() <= 0 ? Milliseconds(0) : Milliseconds(std::max<Milliseconds::rep>(1, ttl.count() - less));
}

}  // namespace sluice::policies

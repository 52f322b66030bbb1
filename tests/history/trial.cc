// Trial: clients on threads of their own, faults on the links' threads, repairs on the caller's.
#include "tests/history/trial.h"

#include <algorithm>
#include <csignal>
#include <optional>
#include <thread>

#include "policies/policy.h"
#include "tests/history/client.h"
#include "tests/history/steps.h"
#include "tests/history/trial_client.h"

namespace sluice::history {
namespace {

using Verdict = FaultLink::Verdict;

// As what it is promised to this family.
Invariant promise_of(Family family, Invariant broken) {
  const bool stale = broken == Invariant::freshness || broken == Invariant::convergence;
  if (family == Family::joined && (stale || broken == Invariant::atomic_row)) return Invariant::query;
  if (family == Family::recorded && broken == Invariant::convergence) return Invariant::outbox;
  return broken;
}

}  // namespace

void Tally::add(const Tally& other) {
  trials += other.trials;
  writes += other.writes;
  refused += other.refused;
  unknown += other.unknown;
  reads += other.reads;
  copies += other.copies;
  for (const auto& [word, times] : other.refusals) refusals[word] += times;
  for (const auto& [fault, times] : other.faults) faults[fault] += times;
}

std::string print(const Tally& tally) {
  std::string text = std::to_string(tally.trials) + " trials: " + std::to_string(tally.writes) + " writes (" +
                     std::to_string(tally.refused) + " refused, " + std::to_string(tally.unknown) +
                     " of unknown outcome), " + std::to_string(tally.reads) + " reads, " +
                     std::to_string(tally.copies) + " copies looked at\n";
  for (const auto& [word, times] : tally.refusals)
    text += "  " + std::to_string(times) + " writes refused: " + word + "\n";
  for (const auto& [fault, times] : tally.faults) text += "  " + std::to_string(times) + " x " + fault + "\n";
  return text;
}

// --- the trial -------------------------------------------------------------------------------------------------------

Trial::Trial(Environment& environment, Schedule schedule)
    : environment_(environment),
      schedule_(std::move(schedule)),
      noise_(schedule_.seed),
      times_met_(schedule_.faults.size(), 0) {
  for (const KeyPlan& plan : schedule_.keys) {
    Key key;
    key.shape = &kShapes[plan.shape];
    key.id = environment_.next_id();
    key.name = std::string(key.shape->name) + ":" + std::to_string(key.id);
    key.writes = std::string(written_shape(*key.shape).name) + ":" + std::to_string(key.id);
    key.history.key = key.name;
    key.history.fields = {"a", "b", "c"};
    if (key.shape->family != Family::written) leases_.watch_key(key.name);
    keys_.push_back(std::move(key));
  }
}

void Trial::prepare() {
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    Cells& before = keys_[i].history.before;
    if (schedule_.keys[i].exists) before = {{"a", "initial"}, {"b", "initial"}, {"c", "initial"}};
    if (keys_[i].shape->family == Family::joined) before["c"] = "initial";
    insert(keys_[i]);
    if (!schedule_.keys[i].warm) continue;
    Client reader(*this, -1);
    reader.read(i, 0);
    reader.merge();
  }
}

void Trial::insert(const Key& key) {
  Cells first = key.history.before, second;
  if (key.shape->family == Family::joined) second.insert(first.extract("c"));
  const Tables& tables = environment_.tables();
  Session& session = environment_.session();
  if (!first.empty()) session.query(tables.upsert(written_shape(*key.shape).name, key.id, first));
  if (!second.empty()) session.query(tables.upsert(kShip, key.id, second));
}

void Trial::watch() {
  for (int i = 0; i < environment_.proxies(); ++i) {
    Proxy& proxy = environment_.proxy(i);
    proxy.redis_link->watch([this, i](const FaultLink::Message& message) { return meet(i, false, message); });
    if (proxy.sql_link) {
      proxy.sql_link->watch([this, i](const FaultLink::Message& message) { return meet(i, true, message); });
    }
  }
}

void Trial::run() {
  prepare();
  watch();
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::thread> threads;
  clients_running_ = schedule_.clients.size();
  for (std::size_t i = 0; i < schedule_.clients.size(); ++i) {
    clients.push_back(std::make_unique<Client>(*this, static_cast<int>(i)));
    threads.emplace_back([this, client = clients.back().get(), i] {
      client->run(schedule_.clients[i]);
      const std::lock_guard lock(mutex_);
      --clients_running_;
      changed_.notify_all();
    });
  }
  std::exception_ptr failed;
  try {
    operate();
  } catch (...) {
    failed = std::current_exception();
  }
  for (std::thread& thread : threads) thread.join();
  if (failed) std::rethrow_exception(failed);
  for (int i = 0; i < environment_.proxies(); ++i) {
    environment_.proxy(i).redis_link->watch({});
    if (environment_.proxy(i).sql_link) environment_.proxy(i).sql_link->watch({});
  }
  operate();  // what a fault has left to do that was met last
  for (const auto& client : clients) client->merge();
  tally_.trials = 1;
  if (!tally_.faults.empty()) environment_.await_health();
  ended_ = Clock::now();
}

void Trial::operate() {
  std::unique_lock lock(mutex_);
  while (clients_running_ > 0 || !tasks_.empty()) {
    const auto next =
        std::min_element(tasks_.begin(), tasks_.end(), [](const Task& a, const Task& b) { return a.when < b.when; });
    if (next == tasks_.end()) {
      changed_.wait(lock);
    } else if (next->when > Clock::now()) {
      changed_.wait_until(lock, Clock::time_point(next->when));
    } else {
      const auto work = std::move(next->work);
      tasks_.erase(next);
      lock.unlock();
      work();
      lock.lock();
    }
  }
}

void Trial::later(milliseconds delay, std::function<void()> work) {
  tasks_.push_back({Clock::now() + delay, std::move(work)});
  changed_.notify_all();
}

// --- faults ----------------------------------------------------------------------------------------------------------

bool Trial::is_about(const Key& key, const FaultLink::Message& message) const {
  return std::any_of(message.command.begin(), message.command.end(), [&](const std::string& word) {
    return word == key.name || word == key.writes ||
           (key.shape->family == Family::joined && word == version_key(kShip));
  });
}

// The key of this trial that a message on a link to Redis is about; -1: none.
int Trial::key_of(const FaultLink::Message& message) const {
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    if (is_about(keys_[i], message)) return static_cast<int>(i);
  }
  return -1;
}

bool Trial::is_met(const Fault& fault, int proxy, bool sql, const FaultLink::Message& message) const {
  if (fault.proxy >= 0 && fault.proxy != proxy) return false;
  if (!is_step(fault.step, sql, message)) return false;
  return fault.key < 0 || (!sql && is_about(keys_[static_cast<std::size_t>(fault.key)], message));
}

milliseconds Trial::noise() {
  if (static_cast<int>(noise_() % 100) >= schedule_.noise_percent) return milliseconds(0);
  return milliseconds(noise_() % static_cast<unsigned>(schedule_.noise_max.count() + 1));
}

// On the link's thread.
Verdict Trial::meet(int proxy, bool sql, const FaultLink::Message& message) {
  if (!sql) leases_.pass(message);
  Verdict verdict = bring_about_fault(proxy, sql, message);
  const bool may_differ = environment_.sabotage != nullptr && !sql && !message.is_reply;
  if (may_differ) verdict.instead = environment_.sabotage->rewritten(message.command);
  return verdict;
}

Verdict Trial::bring_about_fault(int proxy, bool sql, const FaultLink::Message& message) {
  const int key = sql ? 0 : key_of(message);
  if (key < 0) return {};
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < schedule_.faults.size(); ++i) {
    const Fault& fault = schedule_.faults[i];
    if (times_met_[i] < 0 || !is_met(fault, proxy, sql, message) || ++times_met_[i] < fault.nth) continue;
    times_met_[i] = -1;
    ++tally_.faults[print(fault.step) + ": " + name(fault.action)];
    struck_ = struck_ || fault.action != Action::delay;
    return bring_about(fault, proxy, sql, static_cast<std::size_t>(fault.key < 0 ? key : fault.key));
  }
  Verdict verdict;
  verdict.delay = noise();
  return verdict;
}

Verdict Trial::bring_about(const Fault& fault, int proxy, bool sql, std::size_t key) {
  Verdict verdict;
  FaultLink* const link = (sql ? environment_.proxy(proxy).sql_link : environment_.proxy(proxy).redis_link).get();
  verdict.fate = fault.arrives ? Verdict::Fate::pass : Verdict::Fate::lose;
  switch (fault.action) {
    case Action::kill:
      environment_.signal(proxy, SIGKILL);
      later(milliseconds(0), [this, proxy] { environment_.bring_back(proxy); });
      return verdict;
    case Action::stop:
      environment_.signal(proxy, SIGSTOP);
      later(fault.length, [this, proxy] { environment_.signal(proxy, SIGCONT); });
      return {};
    case Action::cut: {
      if (!sql) found_redis(lose_redis(proxy));
      link->cut();
      verdict.fate = fault.arrives ? Verdict::Fate::cut_after : Verdict::Fate::cut;
      return verdict;
    }
    case Action::lose: {
      const std::optional<std::size_t> loss = sql ? std::nullopt : std::optional(lose_redis(proxy));
      link->lose(!fault.step.reply, fault.step.reply);
      later(fault.length, [this, link, loss] {
        link->lose(false, false);
        link->cut();
        const std::lock_guard lock(mutex_);
        if (loss) found_redis(*loss);
      });
      return verdict;
    }
    case Action::delay:
      verdict.fate = Verdict::Fate::pass;
      verdict.delay = fault.length;
      return verdict;
    case Action::empty:
    case Action::restart: {
      const std::size_t loss = lose_redis(-1);
      leases_.begin_loss();
      if (!fault.arrives) environment_.kill_redis();
      later(milliseconds(fault.arrives ? 1 : 0), [this, loss, empty = fault.action == Action::empty] {
        environment_.bring_back_redis(empty);
        leases_.end_loss();
        const std::lock_guard lock(mutex_);
        found_redis(loss);
      });
      return {};
    }
    case Action::evict:
      drop({policies::side_key(keys_[key].name)});
      leases_.end_loss();
      return {};
    case Action::forget:
      drop({version_key(kCrew.name), version_key(kShip)});
      return {};
    case Action::lock:
      this->lock(key, fault.length);
      return {};
    case Action::end_backend: {
      environment_.tables().end_sessions(*environment_.tables().connect());
      return verdict;
    }
  }
  return {};
}

void Trial::drop(const live::Args& keys) {
  live::Args command{"DEL"};
  command.insert(command.end(), keys.begin(), keys.end());
  try {
    live::Connection(environment_.redis().tcp()).call(command);
  } catch (const std::exception&) {
    // Redis is away, and with it the keys or not.
  }
}

// Taken on a thread that may wait: the message that met the fault passes meanwhile, at times before the lock is there.
void Trial::lock(std::size_t key, milliseconds length) {
  later(milliseconds(0), [this, key, length] {
    auto session = environment_.tables().lock(written_shape(*keys_[key].shape).name, keys_[key].id);
    if (!session) return;
    const std::lock_guard lock(mutex_);
    lockers_.push_back(std::move(session));
    later(length, [this] {
      const std::lock_guard ending(mutex_);
      lockers_.pop_front();
    });
  });
}

std::size_t Trial::lose_redis(int proxy) {
  losses_.push_back({proxy, now(), Time::max()});
  return losses_.size() - 1;
}

void Trial::found_redis(std::size_t loss) { losses_[loss].until = now(); }

void Trial::mark_losses() {
  for (Key& key : keys_) {
    for (Operation& operation : key.history.operations) {
      operation.redis_lost = std::any_of(losses_.begin(), losses_.end(), [&](const Loss& loss) {
        return (loss.proxy < 0 || loss.proxy == operation.proxy) && loss.from <= operation.returned &&
               loss.until >= operation.invoked;
      });
    }
  }
}

// --- the end ---------------------------------------------------------------------------------------------------------

Cells Trial::row(const Key& key) const {
  const std::string id = std::to_string(key.id);
  const auto from = [&](const char* table) { return std::string(" FROM ") + table + " WHERE id = " + id; };
  std::string sql = "SELECT a, b, c" + from(key.shape->name);
  if (key.shape->family == Family::joined) {
    sql =
        "SELECT (SELECT a" + from(kCrew.name) + "), (SELECT b" + from(kCrew.name) + "), (SELECT c" + from(kShip) + ")";
  }
  const std::string found = environment_.session().query(sql);
  Cells cells;
  std::size_t at = 0;
  for (const char* field : {"a", "b", "c"}) {
    if (at >= found.size()) break;
    const std::size_t end = std::min(found.find('|', at), found.size());
    const std::string value = found.substr(at, end - at);
    if (value != "NULL") cells[field] = value;
    at = end + 1;
  }
  return cells;
}

Cells Trial::copy(const Key& key) const {
  return cells_of(*key.shape, live::Connection(environment_.redis().tcp()).call(read_command(*key.shape, key.name)));
}

// What holds when nothing has happened for a while.
std::vector<Violation> Trial::check_quiet(const Key& key) const {
  const auto is_empty = [this] { return environment_.session().query("SELECT count(*) FROM sluice_outbox") == "0"; };
  if (key.shape->family == Family::joined) return {};  // its copy may be out of date: nobody would use it
  if (key.shape->family == Family::recorded && !live::eventually(is_empty)) {
    return {{Invariant::outbox, "the outbox keeps its entries", {}}};
  }
  return check_copy(key.name, key.history.after, copy(key));
}

std::vector<Violation> Trial::check_key(std::size_t index) {
  Key& key = keys_[index];
  Client last(*this, static_cast<int>(schedule_.clients.size()));
  if (not_outdated_.contains(index)) last.outdate(index, 0);
  key.history.after = row(key);
  std::vector<Violation> found = check_quiet(key);
  for (int proxy = 0; proxy < environment_.proxies(); ++proxy) last.read(index, proxy);
  if (key.shape->family != Family::joined) last.look(index);
  last.merge();
  for (const Operation& operation : key.history.operations) {
    const bool last_read = operation.client == last.number() && operation.kind == Kind::read && operation.is_read();
    if (last_read && found.empty()) found = check_end(operation.note, key.history.after, operation.cells);
  }
  for (Violation& violation : check(key.history, {std::chrono::duration_cast<Time>(kAllowance), losses_.empty()})) {
    found.push_back(std::move(violation));
  }
  if (leases_.were_doubled(key.name)) {
    found.push_back({Invariant::single_flight, "two at once had the lease of " + key.name, {}});
  }
  for (const auto& [stuck, operation] : stuck_) {
    if (stuck == index) found.push_back({Invariant::answered, "no reply: " + operation.note, {}});
  }
  return found;
}

std::vector<Violation> Trial::finish() {
  std::vector<Violation> all;
  mark_losses();
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    for (Violation& violation : check_key(i)) {
      violation.invariant = promise_of(keys_[i].shape->family, violation.invariant);
      report_ += print(violation) + "\n" + print(keys_[i].history, violation.operations);
      all.push_back(std::move(violation));
    }
  }
  if (!all.empty()) report_ = print(schedule_) + report_;
  return all;
}

void Trial::count_refusal(const std::string& reply) {
  const std::lock_guard lock(mutex_);
  const bool unmet = !reply.starts_with('-');
  ++tally_.refusals[unmet ? "condition not met" : reply.substr(1, reply.find_first_of(" \r") - 1)];
}

void Trial::count(const Operation& operation) {
  switch (operation.kind) {
    case Kind::write:
      ++tally_.writes;
      if (operation.outcome == Outcome::refused) ++tally_.refused;
      if (operation.outcome == Outcome::unknown) ++tally_.unknown;
      break;
    case Kind::read:
      ++tally_.reads;
      break;
    case Kind::copy:
      ++tally_.copies;
      break;
    case Kind::touch:
      break;
  }
}

}  // namespace sluice::history

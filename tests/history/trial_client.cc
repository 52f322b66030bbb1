// TrialClient: every operation is noted with when it was begun and when it was over.
#include "tests/history/trial_client.h"

#include <algorithm>
#include <string_view>
#include <thread>

#include "tests/history/client.h"

namespace sluice::history {
namespace {

constexpr int kWhole = 9;   // a variant of a read
constexpr int kTries = 50;  // to outdate something, a while apart

std::string shortened(std::string reply) {
  std::replace(reply.begin(), reply.end(), '\r', ' ');
  std::replace(reply.begin(), reply.end(), '\n', ' ');
  return reply.substr(0, 100);
}

}  // namespace

Trial::Client::Client(Trial& trial, int number)
    : trial_(trial), number_(number), connections_(static_cast<std::size_t>(trial.environment_.proxies())) {}

void Trial::Client::run(const std::vector<Intent>& intents) {
  for (const Intent& intent : intents) {
    std::this_thread::sleep_for(intent.pause);
    if (intent.kind == Kind::copy) {
      look(static_cast<std::size_t>(intent.key));
    } else {
      carry_out(intent);
    }
  }
}

void Trial::Client::read(std::size_t key, int proxy) {
  Intent intent;
  intent.key = static_cast<int>(key);
  intent.proxy = proxy;
  intent.variant = kWhole;
  carry_out(intent);
}

bool Trial::Client::outdate(std::size_t key, int proxy) {
  const Key& target = trial_.keys_[key];
  for (int tries = 0; tries < kTries; ++tries) {
    const auto next = static_cast<std::size_t>((proxy + tries) % trial_.environment_.proxies());
    if (connect(next)) {
      const auto reply = call(next, outdate_command(*target.shape, target.name));
      if (reply && reply->starts_with(':')) return true;
    }
    std::this_thread::sleep_for(milliseconds(20));
  }
  return false;
}

void Trial::Client::look(std::size_t key) {
  Operation operation = begin(Kind::copy);
  operation.note = "Redis";
  try {
    operation.cells = trial_.copy(trial_.keys_[key]);
    if (operation.cells.empty()) return;
  } catch (const std::exception&) {
    return;  // Redis is away
  }
  end(key, std::move(operation));
}

void Trial::Client::merge() {
  for (auto& [key, operation] : done_) {
    trial_.count(operation);
    trial_.keys_[key].history.operations.push_back(std::move(operation));
  }
  done_.clear();
  for (auto& entry : stuck_) trial_.stuck_.push_back(std::move(entry));
}

Operation Trial::Client::begin(Kind kind) const {
  Operation operation;
  operation.client = number_;
  operation.kind = kind;
  operation.invoked = trial_.now();
  return operation;
}

void Trial::Client::end(std::size_t key, Operation operation) {
  operation.returned = trial_.now();
  done_.emplace_back(key, std::move(operation));
}

void Trial::Client::carry_out(const Intent& intent) {
  const auto key = static_cast<std::size_t>(intent.key);
  const Key& target = trial_.keys_[key];
  const auto proxy = static_cast<std::size_t>(intent.proxy);
  const bool reads = intent.kind == Kind::write && trial_.schedule_.quiet && trial_.struck_;
  if (intent.kind == Kind::write && !reads && is_direct(*target.shape, intent)) return write_row(intent);
  if (!connect(proxy)) return;  // nothing was sent
  Operation operation = begin(reads ? Kind::read : intent.kind);
  operation.proxy = intent.proxy;
  const std::size_t other = read_along(key);
  live::Args command =
      read_command(*target.shape, target.name, other == key ? "" : trial_.keys_[other].name, intent.variant);
  if (operation.kind == Kind::touch) command = touch_command(intent.touch, target.name);
  if (operation.kind == Kind::write) {
    const std::string value = std::to_string(number_) + "." + std::to_string(++writes_);
    for (const std::string& field : intent.fields) operation.cells[field] = value;
    command = write_command(written_shape(*target.shape), target.writes, target.id, intent, value);
  }
  const std::optional<std::string> reply = call(proxy, command);
  operation.note =
      "proxy " + std::to_string(intent.proxy) + ": " + command[0] + " " + (reply ? shortened(*reply) : "(lost)");
  Operation along = operation;
  understand(*target.shape, operation, command, reply);
  end(key, operation);
  if (other != key && command[0] == "MGET") {
    understand(*trial_.keys_[other].shape, along, command, reply, 1);
    end(other, along);
  }
  if (silent_) stuck_.emplace_back(key, std::move(operation));
  silent_ = false;
}

std::size_t Trial::Client::read_along(std::size_t key) const {
  const auto& keys = trial_.keys_;
  for (std::size_t i = 1; i < keys.size(); ++i) {
    const std::size_t other = (key + i) % keys.size();
    if (!keys[other].shape->hash) return other;
  }
  return key;
}

void Trial::Client::write_row(const Intent& intent) {
  const auto key = static_cast<std::size_t>(intent.key);
  const Key& target = trial_.keys_[key];
  Operation operation = begin(Kind::write);
  const std::string value = std::to_string(number_) + "." + std::to_string(++writes_);
  for (const std::string& field : intent.fields) operation.cells[field] = value;
  auto columns = operation.cells;
  columns["n"] = intent.refused ? "5000" : "1";  // CHECK (n < 1000)
  operation.in_the_end = target.shape->family == Family::recorded;
  operation.note = "SQL";
  if (!operation.in_the_end) {
    const std::string command = outdate_command(*target.shape, target.name)[1];
    operation.note += ", then " + command + " at proxy " + std::to_string(intent.proxy);
  }
  operation.outcome =
      commit(trial_.environment_.tables().upsert(direct_table(*target.shape), target.id, columns), intent);
  if (operation.outcome != Outcome::refused && !operation.in_the_end && !outdate(key, intent.proxy)) {
    operation.outcome = Outcome::unknown;
    const std::lock_guard lock(trial_.mutex_);
    trial_.not_outdated_.insert(key);
  }
  end(key, std::move(operation));
}

// Servers work on several transactions at a time: some are slow to commit, so that they end in another order than
// they have begun.
Outcome Trial::Client::commit(const std::string& sql, const Intent& intent) {
  const milliseconds pause = trial_.environment_.has_sql_links() ? milliseconds(8 * intent.variant) : milliseconds(0);
  try {
    if (!session_) session_ = trial_.environment_.tables().connect();
    session_->query("BEGIN");
    session_->query(sql);
    std::this_thread::sleep_for(pause);
    session_->query("COMMIT");
    return Outcome::ok;
  } catch (const std::exception&) {
    session_.reset();
    return intent.refused ? Outcome::refused : Outcome::unknown;
  }
}

void Trial::Client::understand(const Shape& shape, Operation& operation, const live::Args& command,
                               const std::optional<std::string>& reply, std::size_t place) {
  if (!reply) {
    operation.outcome = Outcome::unknown;
  } else if (operation.kind == Kind::write) {
    operation.outcome = outcome_of_write(command, *reply);
    if (operation.outcome == Outcome::refused) trial_.count_refusal(*reply);
  } else if (reply->starts_with('-')) {
    operation.outcome = Outcome::refused;
  } else if (operation.kind == Kind::read) {
    Sight sight = sight_of(shape, command, *reply, place);
    if (!sight.tells) operation.outcome = Outcome::unknown;
    operation.cells = std::move(sight.cells);
    operation.shown = std::move(sight.shown);
  }
}

bool Trial::Client::connect(std::size_t proxy) {
  if (connections_[proxy]) return true;
  try {
    connections_[proxy] =
        std::make_unique<live::Connection>(trial_.environment_.proxy(static_cast<int>(proxy)).sluice->tcp());
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

std::optional<std::string> Trial::Client::call(std::size_t proxy, const live::Args& command) {
  live::Connection& connection = *connections_[proxy];
  try {
    std::string reply = connection.call(command);
    if (reply.starts_with("-LOADING")) connections_[proxy].reset();  // it closes now
    return reply;
  } catch (const std::exception& error) {
    silent_ = std::string_view(error.what()).find("in time") != std::string_view::npos;
    connections_[proxy].reset();
    return std::nullopt;
  }
}

}  // namespace sluice::history

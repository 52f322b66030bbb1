// ProxyDouble, see proxy_double.h.
#include "tests/policies/proxy_double.h"

#include <stdexcept>
#include <utility>

namespace sluice::policies::testing {

ProxyDouble::ProxyDouble(const conf::PolicyOptions& options, SqlMap& sql, std::uint64_t seed)
    : policy_(make_policy(options)), sql_(sql), random_(seed) {}

// splitmix64
std::uint64_t ProxyDouble::next_random() {
  std::uint64_t z = random_ += 0x9E3779B97F4A7C15ULL;
  z = (z ^ z >> 30U) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ z >> 27U) * 0x94D049BB133111EBULL;
  return z ^ z >> 31U;
}

int ProxyDouble::adopt(std::unique_ptr<Operation> operation) {
  const int number = next_++;
  Running& running = running_[number];
  running.operation = std::move(operation);
  running.id = {static_cast<std::uint32_t>(number), 7};
  Turn now = turn(running.id);
  settle(running, running.operation->start(now));
  wake();
  return number;
}

void ProxyDouble::settle(Running& running, Step step) {
  if (auto* finish = std::get_if<Finish>(&step)) {
    running.finish = std::move(*finish);
    running.operation.reset();
  }
  running.step = std::move(step);
}

void ProxyDouble::wake() {
  while (!woken_.empty()) {
    const OperationId id = woken_.front();
    woken_.erase(woken_.begin());
    Running& running = running_.at(static_cast<int>(id.index));
    if (!std::holds_alternative<Park>(running.step)) throw std::logic_error("woken, but not parked");
    Turn now = turn(id);
    settle(running, running.operation->resume(Woken{}, now));
  }
}

bool ProxyDouble::can_step(int number) const {
  const Running& running = running_.at(number);
  return !running.finish && !std::holds_alternative<Park>(running.step);
}

bool ProxyDouble::step(int number) {
  if (!can_step(number)) return false;
  Running& running = running_.at(number);
  const bool on_its_way = running.answer.has_value();
  if (!on_its_way) running.answer = answer(running.step);
  if (!on_its_way && answers_take_a_step) return true;
  Event event = *std::exchange(running.answer, std::nullopt);
  Turn now = turn(running.id);
  settle(running, running.operation->resume(std::move(event), now));
  wake();
  return true;
}

Event ProxyDouble::answer(const Step& step) {
  if (intercept) {
    if (auto event = intercept(step)) return *std::move(event);
  }
  if (const auto* call = std::get_if<CallRedis>(&step)) {
    RedisReplies replies;
    for (const RedisCommand& command : call->commands) {
      replies.replies.push_back(RedisServer::instance().run(command));
    }
    return replies;
  }
  if (const auto* call = std::get_if<CallSql>(&step)) return SqlDone{sql_.run(call->op)};
  clock += std::get<Sleep>(step).duration;
  return Elapsed{};
}

std::string ProxyDouble::run(int number) {
  for (int steps = 0; !ended(number); ++steps) {
    if (steps > 10000) throw std::logic_error("it does not end");
    if (step(number)) continue;
    for (auto& [other, running] : running_) {
      if (step(other)) break;
    }
  }
  return finish(number).reply;
}

void ProxyDouble::run_background() {
  if (auto operation = policy_->due(TimePoint(clock))) run(adopt(std::move(operation)));
  while (auto operation = policy_->refresh(TimePoint(clock))) run(adopt(std::move(operation)));
}

Request command(std::vector<std::string> args) {
  Request request;
  request.command = resp::find_command(args[0]);
  request.key = args.size() > 1 ? args[1] : "";
  request.args = std::move(args);
  return request;
}

Request miss(std::vector<std::string> args) {
  Request request = command(std::move(args));
  request.verb = Verb::miss;
  return request;
}

Request about(Verb verb, std::string key) {
  Request request;
  request.verb = verb;
  request.key = std::move(key);
  return request;
}

conf::KeyTemplate key_template(std::string_view text) {
  conf::KeyTemplate::ParseError error;
  auto parsed = conf::KeyTemplate::parse(text, error);
  if (!parsed) throw std::invalid_argument(error.message);
  return *std::move(parsed);
}

conf::PolicyOptions fruit_options() {
  conf::PolicyOptions options;
  options.name = "fruit";
  options.key = key_template("fruit:{id:int}");
  options.backend = "shop";
  options.table = "fruit";
  options.read = conf::ReadMode::cache_aside;
  return options;
}

conf::PolicyOptions written_options() {
  conf::PolicyOptions options = fruit_options();
  options.write = conf::WriteMode::write_through;
  options.unmanaged_writes = conf::Unmanaged::reject;
  return options;
}

conf::PolicyOptions views_options() {
  conf::PolicyOptions options;
  options.name = "views";
  options.key = key_template("counter:{id}");
  options.backend = "shop";
  options.table = "counters";
  options.value = conf::ValueMode::counter;
  options.column = "value";
  options.flush_interval = conf::Duration(1000);
  options.unmanaged_writes = conf::Unmanaged::reject;
  return options;
}

}  // namespace sluice::policies::testing

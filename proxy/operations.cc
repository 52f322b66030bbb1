// Operations: performing steps, delivering events, waking the parked.
#include "proxy/operations.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "backends/pool.h"

namespace sluice::proxy {

using policies::OperationId;
using policies::Step;
using policies::Turn;

Operations::Operations(EventLoop& loop, PolicyRedis& redis, std::shared_ptr<Mailbox> mailbox)
    : Flushable(Order::first),
      loop_(loop),
      redis_(redis),
      mailbox_(std::move(mailbox)),
      random_(std::random_device{}()) {}

Operations::~Operations() { loop_.forget(*this); }

void Operations::start(std::unique_ptr<policies::Operation> operation, sql::Pool* pool, Done done) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(entries_.size()));
    entries_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  Entry& entry = entries_[index];
  entry.operation = std::move(operation);
  entry.pool = pool;
  entry.done = std::move(done);
  entry.parked = false;
  ++in_progress_;
  run({index, entry.generation}, [](policies::Operation& op, Turn& turn) { return op.start(turn); });
}

Operations::Entry* Operations::find(OperationId id) {
  if (id.index >= entries_.size()) return nullptr;
  Entry& entry = entries_[id.index];
  return entry.generation == id.generation && entry.operation ? &entry : nullptr;
}

void Operations::resume(OperationId id, policies::Event event) {
  if (find(id) == nullptr) return;
  run(id, [&](policies::Operation& op, Turn& turn) { return op.resume(std::move(event), turn); });
}

void Operations::run(OperationId id, const std::function<Step(policies::Operation&, Turn&)>& call) {
  std::vector<OperationId> woken;
  Turn turn{loop_.now(), id, random_(), woken};
  Step step = call(*find(id)->operation, turn);
  perform(id, std::move(step));
  woken_.insert(woken_.end(), woken.begin(), woken.end());
  wake();
}

// Whom those wake who are woken here is put behind: a long queue of waiters must not become a deep stack.
void Operations::wake() {
  if (std::exchange(waking_, true)) return;
  while (!woken_.empty()) {
    const OperationId sleeper = woken_.front();
    woken_.pop_front();
    Entry* entry = find(sleeper);
    if (entry == nullptr || !entry->parked) continue;
    entry->parked = false;
    resume(sleeper, policies::Woken{});
  }
  waking_ = false;
}

void Operations::perform(OperationId id, Step step) {
  if (auto* finish_step = std::get_if<policies::Finish>(&step)) return finish(id, std::move(*finish_step));
  if (auto* redis = std::get_if<policies::CallRedis>(&step)) {
    redis_.call(std::move(redis->commands), [this, id](PolicyRedis::Outcome outcome) {
      if (outcome.lost) return resume(id, policies::RedisLost{outcome.sent});
      resume(id, policies::RedisReplies{std::move(outcome.replies)});
    });
  } else if (auto* sql = std::get_if<policies::CallSql>(&step)) {
    gather(id, std::move(*sql));
  } else if (const auto* sleep = std::get_if<policies::Sleep>(&step)) {
    loop_.after(sleep->duration, [this, id] { resume(id, policies::Elapsed{}); });
  } else {
    find(id)->parked = true;
  }
}

void Operations::gather(OperationId id, policies::CallSql call) {
  // The real time, not the turn's: the deadline is compared on another thread.
  const auto deadline = std::chrono::steady_clock::now() + call.timeout;
  sql::Pool* const pool = find(id)->pool;
  auto jobs = std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& some) { return some.first == pool; });
  if (jobs == jobs_.end()) jobs = jobs_.emplace(jobs_.end(), pool, std::vector<sql::Job>());
  jobs->second.push_back({std::move(call.op), deadline,
                          [this, id, box = mailbox_](sql::Result result) {
                            box->put([this, id, result = std::move(result)]() mutable {
                              resume(id, policies::SqlDone{std::move(result)});
                            });
                          },
                          mailbox_});
  loop_.flush_later(*this);
}

// Given one by one, the first would have a transaction to itself.
void Operations::flush_turn() {
  for (auto& [pool, jobs] : std::exchange(jobs_, {})) pool->submit(std::move(jobs));
}

// The entry is free before `done` is told: it may start another operation.
void Operations::finish(OperationId id, policies::Finish finish) {
  Entry& entry = *find(id);
  const auto operation = std::move(entry.operation);
  const Done done = std::move(entry.done);
  ++entry.generation;
  free_.push_back(id.index);
  --in_progress_;
  done(std::move(finish));
}

}  // namespace sluice::proxy

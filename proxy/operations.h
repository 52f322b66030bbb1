// Operations: the table of policy operations in progress, and the driver that does what their steps ask for.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "policies/policy.h"
#include "proxy/event_loop.h"
#include "proxy/mailbox.h"
#include "proxy/policy_redis.h"

namespace sluice::sql {
struct Job;
class Pool;
}  // namespace sluice::sql

namespace sluice::proxy {

// Loop thread only. Owns every operation until it finishes, whether or not its client is still there: a write that has
// reached SQL is completed. Others hold an OperationId; results for one that has ended are dropped.
// What operations want from one database in one turn of the loop reaches it together when the turn ends.
class Operations final : private Flushable {
 public:
  using Done = std::function<void(policies::Finish)>;

  Operations(EventLoop& loop, PolicyRedis& redis, std::shared_ptr<Mailbox> mailbox);
  ~Operations();

  // `pool` may be null for an operation that never calls SQL. `done` is called once, perhaps before start() returns.
  void start(std::unique_ptr<policies::Operation> operation, sql::Pool* pool, Done done);

  std::size_t in_progress() const { return in_progress_; }

 private:
  struct Entry {
    std::unique_ptr<policies::Operation> operation;
    sql::Pool* pool = nullptr;
    Done done;
    std::uint32_t generation = 1;
    bool parked = false;
  };

  Entry* find(policies::OperationId id);
  void resume(policies::OperationId id, policies::Event event);
  void run(policies::OperationId id, const std::function<policies::Step(policies::Operation&, policies::Turn&)>& call);
  void wake();
  void perform(policies::OperationId id, policies::Step step);
  void gather(policies::OperationId id, policies::CallSql call);
  void flush_turn() override;
  void finish(policies::OperationId id, policies::Finish finish);

  EventLoop& loop_;
  PolicyRedis& redis_;
  std::shared_ptr<Mailbox> mailbox_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> free_;
  std::vector<std::pair<sql::Pool*, std::vector<sql::Job>>> jobs_;  // of this turn
  std::size_t in_progress_ = 0;
  std::deque<policies::OperationId> woken_;
  bool waking_ = false;
  std::mt19937_64 random_;
};

}  // namespace sluice::proxy

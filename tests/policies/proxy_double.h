// ProxyDouble: runs the operations of one policy one step at a time, against a real Redis and tables in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "policies/policy.h"
#include "policies/registry.h"
#include "tests/policies/redis_server.h"
#include "tests/policies/sql_map.h"

namespace sluice::policies::testing {

// Stands for one proxy. An operation sits before its next step until step() is called with its number, so a test
// decides the order; killing the proxy drops everything it had in memory.
class ProxyDouble {
 public:
  ProxyDouble(const conf::PolicyOptions& options, SqlMap& sql, std::uint64_t seed = 1);

  Policy& policy() { return *policy_; }
  // Begins an operation; nothing is sent yet. Its number.
  int begin(Request request) { return adopt(policy_->begin(std::move(request))); }
  int adopt(std::unique_ptr<Operation> operation);
  // Sends what the operation waits for and hands it the answer. False when it is parked or has ended.
  bool step(int number);
  bool can_step(int number) const;
  bool ended(int number) const { return running_.at(number).finish.has_value(); }
  const Finish& finish(int number) const { return *running_.at(number).finish; }
  const Step& waits_for(int number) const { return running_.at(number).step; }

  // Begins, steps to the end (others too while it is parked), and answers its reply.
  std::string run(Request request) { return run(begin(std::move(request))); }
  std::string run(int number);
  void run_background();  // due() and what it does

  // A step() then either does what is waited for, or hands over the answer: others may act in between.
  bool answers_take_a_step = false;
  // Events instead of the real thing, for the next step of any operation.
  std::function<std::optional<Event>(const Step&)> intercept;
  std::chrono::milliseconds clock{1000};

 private:
  struct Running {
    std::unique_ptr<Operation> operation;
    OperationId id;
    Step step;
    std::optional<Event> answer;  // on its way back
    std::optional<Finish> finish;
  };
  void settle(Running& running, Step step);
  Event answer(const Step& step);
  Turn turn(OperationId id) { return {TimePoint(clock), id, next_random(), woken_}; }
  std::uint64_t next_random();
  void wake();

  std::unique_ptr<Policy> policy_;
  SqlMap& sql_;
  std::uint64_t random_;
  std::map<int, Running> running_;
  std::vector<OperationId> woken_;
  int next_ = 0;
};

// Requests as the dispatcher would make them.
Request command(std::vector<std::string> args);
Request miss(std::vector<std::string> args);
Request about(Verb verb, std::string key);

conf::KeyTemplate key_template(std::string_view text);
conf::PolicyOptions fruit_options();    // json, cache-aside
conf::PolicyOptions written_options();  // the same, write-through
conf::PolicyOptions views_options();    // counter

}  // namespace sluice::policies::testing

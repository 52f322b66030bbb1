// PolicyRedis: the proxy's own connection to Redis, over which policies run their scripts.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy.h"
#include "policies/policy_metrics.h"
#include "proxy/link.h"
#include "proxy/ring.h"
#include "resp/reply.h"

struct redisReader;

namespace sluice::proxy {

// Loop thread only. Uses the proxy's own credentials, never a client's. Reconnects by itself. Scripts are loaded with
// every connection, and again when Redis has forgotten them.
class PolicyRedis final : private Link::Owner {
 public:
  // One reply per command; or none when the connection was lost, `sent` telling whether commands may have run.
  struct Outcome {
    std::vector<resp::Reply> replies;
    bool lost = false;
    bool sent = false;
  };
  using Done = std::function<void(Outcome)>;

  // Commands sent are added to `sent`.
  PolicyRedis(EventLoop& loop, const conf::UpstreamOptions& options, policies::Count& sent);
  ~PolicyRedis();

  void connect();
  void close();

  bool up() const { return ready_; }
  const std::string& why_down() const { return why_down_; }
  // Told of every change of up().
  void on_change(std::function<void()> changed) { changed_ = std::move(changed); }

  // At least one command. `done` is called once, never before call() returns.
  void call(std::vector<policies::RedisCommand> commands, Done done);

  std::size_t in_flight() const { return pending_.size(); }

 private:
  struct Call {
    std::vector<policies::RedisCommand> commands;
    std::vector<resp::Reply> replies;
    std::vector<std::size_t> waiting_for;  // positions of the replies still to come, last first
    Done done;
  };

  void link_up() override;
  void link_read(std::string_view bytes) override;
  void link_down(const std::string& reason) override;

  void greet();
  void greeted(const Outcome& outcome);
  void send(std::unique_ptr<Call> call);
  void take(resp::Reply reply);
  void retry_forgotten(std::unique_ptr<Call> call);
  void lose(std::unique_ptr<Call> call, bool sent);

  EventLoop& loop_;
  policies::Count& sent_;
  conf::UpstreamOptions options_;
  Link link_;
  Backoff backoff_;
  EventLoop::TimerId retry_;
  std::unique_ptr<redisReader, void (*)(redisReader*)> reader_;
  Ring<std::unique_ptr<Call>> pending_;
  std::vector<std::unique_ptr<Call>> early_;  // made while connecting, sent once greeted
  std::string wire_;
  bool ready_ = false;
  bool closed_ = false;
  std::string why_down_ = "not connected yet";
  std::function<void()> changed_;
};

}  // namespace sluice::proxy

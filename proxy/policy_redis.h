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
#include "proxy/event_loop.h"
#include "proxy/link.h"
#include "proxy/metrics.h"
#include "proxy/ring.h"
#include "resp/reply.h"

struct redisReader;

namespace sluice::proxy {

// Loop thread only. Uses the proxy's own credentials, never a client's. Reconnects by itself. Scripts are loaded with
// every connection, and again when Redis has forgotten them.
//
// The commands of a batch script that are asked for in one turn of the loop leave together when it ends, as one call
// of the script, or as soon as there are enough of them; all other commands are on their way at once. A script that
// Redis has forgotten runs later still. So replies have an order, but what commands do has none, of one call or of
// several: who needs one thing done before another asks for the other when the first is answered.
class PolicyRedis final : private Link::Owner, private Flushable {
 public:
  // One reply per command; or none when the connection was lost, `sent` telling whether commands may have run.
  struct Outcome {
    std::vector<resp::Reply> replies;
    bool lost = false;
    bool sent = false;
  };
  using Done = std::function<void(Outcome)>;

  // Commands sent are added to `sent`, calls of a script among them also to `scripts`. A Redis that leaves one
  // unanswered for `patience` counts as gone.
  PolicyRedis(EventLoop& loop, const conf::UpstreamOptions& options, std::chrono::milliseconds patience,
              policies::Count& sent, std::vector<ScriptCounts>& scripts);
  ~PolicyRedis();

  void connect();
  void close();

  bool up() const { return ready_; }
  const std::string& why_down() const { return why_down_; }
  // Told of every change of up().
  void on_change(std::function<void()> changed) { changed_ = std::move(changed); }

  // At least one command. `done` is called once, never before call() returns.
  void call(std::vector<policies::RedisCommand> commands, Done done);

  // What was sent and has not been answered.
  std::size_t in_flight() const { return pending_.size(); }

 private:
  struct Call {
    std::vector<policies::RedisCommand> commands;
    std::vector<resp::Reply> replies;
    std::size_t unanswered = 0;
    bool sent = false;  // one of its commands, at least
    Done done;          // empty once it was called
  };
  // One command of a call.
  struct Place {
    std::shared_ptr<Call> call;
    std::size_t at = 0;
    const policies::RedisCommand& command() const { return call->commands[at]; }
  };
  // Commands that are, or will be, one command on the wire: several only when they have the same batch script.
  struct Batch {
    std::vector<Place> places;
    std::size_t bytes = 0;  // of their arguments
    std::chrono::steady_clock::time_point sent_at{};
    const policies::Script* script() const { return places.front().command().script; }
  };

  void link_up() override;
  void link_read(std::string_view bytes) override;
  void link_down(const std::string& reason) override;

  void flush_turn() override;

  void greet();
  void greeted(const Outcome& outcome);
  void issue(const std::shared_ptr<Call>& call);
  void gather(Place place);
  Batch& batch_for(const policies::RedisCommand& command);
  void send(Batch batch);
  void write(Batch batch, policies::ScriptBy by);
  void take(resp::Reply reply);
  void answer(const Place& place, resp::Reply reply);
  void watch(std::chrono::milliseconds delay, bool again = false);
  void look_whether_silent(bool again);
  void lose(const Batch& batch);
  void lose(const std::shared_ptr<Call>& call);

  EventLoop& loop_;
  policies::Count& sent_;
  std::vector<ScriptCounts>& scripts_;
  conf::UpstreamOptions options_;
  const std::chrono::milliseconds patience_;
  Link link_;
  Backoff backoff_;
  EventLoop::TimerId retry_;
  EventLoop::TimerId watch_;
  bool watched_ = false;  // watch_ runs
  std::unique_ptr<redisReader, void (*)(redisReader*)> reader_;
  std::vector<Batch> gathered_;               // of one script each, to be sent when this turn ends
  Ring<Batch> pending_;                       // sent, oldest first
  std::vector<std::shared_ptr<Call>> early_;  // made while connecting, sent once greeted
  std::string wire_;
  bool ready_ = false;
  bool closed_ = false;
  std::string why_down_ = "not connected yet";
  std::function<void()> changed_;
};

}  // namespace sluice::proxy

// Loop: one event loop thread: its clients, its upstream connections and its instances of the policies.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "proxy/acl.h"
#include "proxy/client.h"
#include "proxy/client_list.h"
#include "proxy/copy_trust.h"
#include "proxy/default_user_probe.h"
#include "proxy/event_loop.h"
#include "proxy/graveyard.h"
#include "proxy/listener.h"
#include "proxy/mailbox.h"
#include "proxy/memory.h"
#include "proxy/metrics.h"
#include "proxy/operations.h"
#include "proxy/policy_redis.h"
#include "proxy/router.h"
#include "proxy/upstream.h"
#include "proxy/upstream_pool.h"

namespace sluice::proxy {

// What the loops of one process share. Lives longer than they do.
class SplitRead;

struct Process {
  explicit Process(const conf::Config& loaded) : config(loaded) {}

  const conf::Config& config;
  std::vector<sql::Pool*> pools;  // of each policy's backend
  std::atomic<int> clients{0};
  std::atomic<std::uint64_t> clients_numbered{0};
  std::vector<class Loop*> loops;  // filled before the first of them runs
};

// Each loop behaves as an independent proxy: nothing else is shared. Everything on the loop's thread, but for the
// functions that say otherwise.
class Loop final : private UpstreamUser {
 public:
  explicit Loop(Process& process);
  ~Loop();

  // Before run(). Takes its own descriptors of the sockets.
  void listen(const std::vector<int>& sockets);
  // Until drained.
  void run();
  // Any thread: stop accepting, answer what was received, flush the policies, end run(). At the deadline it ends
  // anyway.
  void request_drain(std::chrono::milliseconds timeout);

  // Any thread.
  bool redis_up() const { return redis_up_.load(std::memory_order_relaxed); }
  std::string redis_error() const;
  const LoopMetrics& metrics() const { return metrics_; }
  const policies::PolicyMetrics& policy_metrics(std::uint32_t policy) const;
  // After run(): changes acknowledged by Redis that did not reach SQL.
  std::uint64_t unflushed() const { return unflushed_; }

  // For the clients.
  std::uint64_t next_client_number() { return 1 + process_.clients_numbered.fetch_add(1, std::memory_order_relaxed); }
  EventLoop& events() { return events_; }
  const conf::Config& config() const { return process_.config; }
  Router& router() { return router_; }
  LoopMetrics& metrics() { return metrics_; }
  PolicyRedis& policy_redis() { return policy_redis_; }
  // Whether the copies of rows in Redis may be answered with.
  bool trusts_copies() const { return copy_trust_.trusted(); }

  // The upstream connections of those who have not authenticated.
  UpstreamPool& anybody() { return *pools_.front(); }
  // Those of `identity`, which Redis must have granted to a client; valid while a client has joined it, or until the
  // end of the turn.
  UpstreamPool& pool_of(const Identity& identity);
  // Closes a connection that had a client of its own.
  void discard(std::unique_ptr<Upstream> upstream) { UpstreamPool::discard(common_, std::move(upstream)); }
  // Why Redis cannot be reached; empty if it can.
  const std::string& why_down() const { return why_down_; }

  // Whether a client that has not authenticated may do anything; as last seen while Redis cannot be reached.
  DefaultUser default_user() const { return default_user_; }
  // That is being looked at again: who has come since waits for it.
  bool is_probing() const { return default_user_probe_.looking(); }
  // The user that Redis must be asked about before a policy acts for this client; empty: no need.
  std::string user_to_check(const std::string& session_user);
  // The same while Redis cannot be reached: as it was before.
  std::string user_to_refuse(const std::string& session_user) const { return acl_.last_seen(session_user); }

  // Runs an operation for slot `slot` of `client`.
  void start(std::unique_ptr<policies::Operation> operation, std::uint32_t policy, ClientId client, std::uint64_t slot);
  // The same, for an operation of no policy.
  void start(std::unique_ptr<policies::Operation> operation, ClientId client, std::uint64_t slot);
  // The parts of `read`, each with what else `request` says, for one slot.
  void start_parts(SplitRead read, const policies::Request& request, ClientId client, std::uint64_t slot);
  // Begins `verb` on every policy and gives the sum of the integers they reply; the first error instead, if any.
  void start_everywhere(const policies::Request& request, ClientId client, std::uint64_t slot);
  // FLUSHALL, FLUSHDB: runs it unless a policy holds unflushed changes.
  void start_flush(std::vector<std::string> args, std::string acl_user, ClientId client, std::uint64_t slot);
  // Redis reads nothing from a connection after a command that CLIENT PAUSE holds back: until then each client needs
  // one of its own. Of all loops; 0: from now on no more.
  void paused(std::chrono::milliseconds duration);
  bool is_paused() const { return paused_; }
  // SLUICE CLIENTS or PINS, of all loops.
  void list_clients(bool pins, resp::Version version, ClientId client, std::uint64_t slot);
  // Counts a write on keys of this policy that the policy has no part in (unmanaged_writes, multi), and warns.
  void wrote_past(std::uint32_t policy, const resp::CommandInfo& command);
  // Clears leases and negative markers, for nobody to wait for.
  void clear_guards(const std::vector<std::string>& keys);
  // The reply for a slot, if the client is still there.
  void answer(ClientId client, std::uint64_t slot, policies::Finish finish);

  // A new connection waits at this listener.
  void accept(uv_stream_t* server, Stream::Kind kind);
  // Takes the client out of the table; it is destroyed at the end of the turn.
  void remove(Client& client);
  Client* find(ClientId id);

 private:
  struct Place {
    std::unique_ptr<Client> client;
    std::uint32_t generation = 1;
  };

  void on_bytes(ClientId client, std::string_view bytes) override;
  void on_replies(ClientId client, std::uint32_t replies) override;
  void on_hit(std::uint32_t policy, std::uint32_t keys) override;
  void on_hits(std::string_view command) override;
  void on_miss(ClientId client, std::uint32_t policy, std::string_view command, std::string_view reply) override;
  void on_read_lost(ClientId client, std::uint32_t policy, std::string_view command, bool sent,
                    const std::string& reason) override;
  bool on_kept(ClientId client, std::size_t bytes) override;
  void on_effect(ClientId client, std::string_view note, std::string_view reply) override;
  void on_held(ClientId client, std::string_view note, std::string_view reply) override;
  void on_again(ClientId client, std::string_view reply) override;
  void on_held_lost(std::string_view note) override;
  void on_subscription(ClientId client, std::string_view kind, std::int64_t remaining) override;
  void on_lost(ClientId client, bool sent, const std::string& reason) override;
  void on_up(Upstream& upstream) override;
  void on_ready(Upstream& upstream) override;
  void on_down(Upstream& upstream, const std::string& reason) override;
  void on_uncongested(Upstream& upstream) override;

  void connect_shared();
  void redis_lost(const std::string& reason);
  void greeted(std::string_view reply);
  void default_user_looked_at(DefaultUser now);
  void pause_here(std::chrono::milliseconds duration);
  void resume_clients();
  std::vector<ClientInfo> clients_here() const;
  void tick();
  void close_idle_clients();
  void close_unused_pools();
  void close_oldest_unused_pool();
  void look_at_default_user();
  void start_due_work();
  void end_due_work(std::uint32_t policy);
  void log_breakers();
  void look_at_memory();
  void drain(std::chrono::milliseconds timeout);
  void close_clients();
  void drain_step();
  void drain_policies();
  void end_drain();
  void end();
  void note_redis_state();
  void check_durability();

  Process& process_;
  EventLoop events_;
  LoopMetrics metrics_;
  std::shared_ptr<Mailbox> mailbox_;
  Router router_;
  PolicyRedis policy_redis_;
  Operations operations_;
  CopyTrust copy_trust_;
  Acl acl_;
  Graveyard graveyard_;
  std::vector<std::unique_ptr<Listener>> listeners_;

  std::vector<Place> clients_;
  std::vector<std::uint32_t> free_places_;
  std::size_t client_count_ = 0;

  std::uint32_t connection_age_ = 0;
  const UpstreamPool::Common common_;
  std::vector<std::unique_ptr<UpstreamPool>> pools_;  // the first: anybody()
  Backoff backoff_;
  EventLoop::TimerId reconnect_;
  std::string why_down_ = "not connected yet";
  DefaultUser default_user_ = DefaultUser::unknown;
  DefaultUser default_user_seen_ = DefaultUser::unknown;
  DefaultUserProbe default_user_probe_;
  EventLoop::TimePoint next_probe_;

  EventLoop::TimerId tick_;
  bool paused_ = false;
  EventLoop::TimePoint paused_until_;
  EventLoop::TimerId pause_ends_;
  MemoryTrim memory_;
  EventLoop::TimePoint memory_seen_;
  bool draining_ = false;
  bool ended_ = false;
  std::size_t drains_left_ = 0;
  std::vector<bool> background_busy_;  // per policy: its background operation is running
  std::vector<bool> breaker_open_;     // per policy: as last logged
  std::uint64_t unflushed_ = 0;

  std::atomic<bool> redis_up_{false};
  mutable std::mutex error_mutex_;
  std::string error_;
};

}  // namespace sluice::proxy

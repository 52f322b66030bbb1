// UpstreamPool: the connections to Redis of one identity: the one its clients share, and idle ones to be lent.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "conf/config.h"
#include "proxy/default_user_probe.h"
#include "proxy/event_loop.h"
#include "proxy/graveyard.h"
#include "proxy/identity.h"
#include "proxy/metrics.h"
#include "proxy/upstream.h"

namespace sluice::proxy {

// Loop thread only. The password of its identity stays in memory as long as the pool: a new connection needs it.
class UpstreamPool {
 public:
  // What the pools of a loop have in common. Lives longer than they do.
  struct Common {
    EventLoop& events;
    const conf::UpstreamOptions& options;
    UpstreamUser& user;
    LoopMetrics& metrics;
    Graveyard& graveyard;
    const DefaultUser& default_user;
    const std::uint32_t& age;  // of connections made now; grows when the default user has changed
  };

  UpstreamPool(const Common& common, Identity identity);
  ~UpstreamPool();
  UpstreamPool(const UpstreamPool&) = delete;
  UpstreamPool& operator=(const UpstreamPool&) = delete;

  const Identity& identity() const { return identity_; }

  // The connection its clients share, or nullptr while there is none that commands may be sent on.
  Upstream* shared() { return shared_ && shared_->ready() ? shared_.get() : nullptr; }
  // Whether there is one or will be soon: clients wait for on_ready() or on_down(). Begins to connect where there is
  // none, except for those who have not authenticated: when to do that is for the owner of the pools.
  bool expects_shared();
  // Only while there is none.
  Upstream& connect_shared();
  bool is_shared(const Upstream& upstream) const { return &upstream == shared_.get(); }

  // Runs of commands that wait for replies on the shared connection.
  std::size_t outstanding() const { return shared_ ? shared_->outstanding() : 0; }

  // Closes all that are not lent.
  void close();
  // The default user has changed: connections that it was let in on are for nobody any more.
  void default_user_changed(const std::string& reason);

  // A connection for this client alone. It may still have to be prepared (Upstream::ready).
  std::unique_ptr<Upstream> lend(ClientId client);
  // A connection of this identity on which nothing else of its client's state is left.
  void give_back(std::unique_ptr<Upstream> upstream);
  // Closes a connection that is for nobody else.
  static void discard(const Common& common, std::unique_ptr<Upstream> upstream);

  // This connection is gone; false if it was none of this pool's.
  bool lost(Upstream& upstream, const std::string& reason);
  // The clients that waited have been told: the next one who needs it tries anew.
  void retry() { why_down_.clear(); }
  // Why the last attempt to make the shared connection failed, until retry().
  const std::string& why_down() const { return why_down_; }

  void join() { ++clients_; }
  void leave();
  // Nobody has used it since then.
  bool unused_since(EventLoop::TimePoint time) const { return clients_ == 0 && left_at_ < time; }
  EventLoop::TimePoint left_at() const { return left_at_; }

 private:
  std::unique_ptr<Upstream> make();
  void connect(Upstream& upstream);
  // Redis lets it in, and might let in no new one.
  bool is_outdated(const Upstream& upstream) const;

  const Common& common_;
  const Identity identity_;
  const bool anybody_;  // the identity a connection begins with
  std::unique_ptr<Upstream> shared_;
  std::vector<std::unique_ptr<Upstream>> idle_;
  std::string why_down_;
  std::size_t clients_ = 0;
  EventLoop::TimePoint left_at_;
};

}  // namespace sluice::proxy

// Acl: knows for which Redis users every right can be taken for granted, so that policies need not ask.
#pragma once

#include <map>
#include <string>

#include "proxy/event_loop.h"
#include "proxy/policy_redis.h"

namespace sluice::proxy {

// Looks the users up again every second over the proxy's own connection: a right taken away counts from then on (and at
// once for users who never had every right). Loop thread only.
class Acl {
 public:
  Acl(EventLoop& loop, PolicyRedis& redis) : loop_(loop), redis_(redis) {}
  ~Acl() { loop_.cancel(timer_); }

  // Begins to look; `default` is known soon after.
  void start();
  // The name to ask Redis about (ACL DRYRUN) before acting for this user, or empty when it may do everything.
  // A user not seen before must be asked about.
  std::string must_ask(const std::string& user);
  // The same while Redis cannot be reached, and so nobody be asked about: as last looked up.
  std::string last_seen(const std::string& user) const;
  // Something may have changed: ask about everybody until looked up again.
  void forget() { stale_ = true; }

 private:
  void refresh();
  void learn(const std::string& user, const resp::Reply& reply);

  EventLoop& loop_;
  PolicyRedis& redis_;
  EventLoop::TimerId timer_;
  std::map<std::string, bool> unrestricted_;  // as last looked up
  bool stale_ = false;
};

}  // namespace sluice::proxy

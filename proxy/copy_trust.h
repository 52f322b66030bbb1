// CopyTrust: whether the copies of rows that Redis holds may be believed, or Redis has become another process since
// they were made and may have come back with older ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "proxy/event_loop.h"

namespace sluice::proxy {

class Operations;
class PolicyRedis;
class Router;

// A key in Redis names the process (its run id) whose copies are good. When that is not the process that answers, the
// copies of every policy are dropped, then the key is set; until then who reads a row drops its copy first.
// Loop thread only.
class CopyTrust {
 public:
  // What is done at most once a second is done again until it succeeds.
  CopyTrust(EventLoop& events, PolicyRedis& redis, Operations& operations, Router& router);

  // Of every policy; true where there is none that keeps copies of rows.
  bool trusted() const { return trusted_; }
  // The proxy's own connection has come or gone.
  void connection_changed();
  void close();

 private:
  void ask();
  void answered(const std::string& run_id, const std::string& known);
  void drop_copies();
  void dropped(bool done);
  void confirm();
  void again();
  // Whether an answer still belongs to the connection that was asked.
  bool is_current(std::uint64_t connection) const { return connection == connection_; }

  EventLoop& events_;
  PolicyRedis& redis_;
  Operations& operations_;
  Router& router_;
  bool trusted_ = false;
  bool failed_ = false;
  std::string run_id_;
  std::uint64_t connection_ = 0;  // counts the changes
  std::size_t dropping_ = 0;      // policies whose copies are being dropped
  EventLoop::TimerId retry_;
};

}  // namespace sluice::proxy

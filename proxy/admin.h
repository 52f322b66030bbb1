// Admin: the HTTP side of the proxy: probes, metrics, statistics.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "conf/config.h"
#include "proxy/metrics.h"

namespace sluice::proxy {

struct Health {
  struct Part {
    std::string name;  // the backend's; not used for redis
    bool ok = false;
    std::string reason;  // why not
  };
  bool started = false;   // every listener is open
  bool draining = false;  // told to stop
  Part redis;
  std::vector<Part> backends;

  bool ready() const;
};

// What the admin server shows. Called from its threads, several at a time.
class AdminSource {
 public:
  virtual Health health() = 0;
  virtual Snapshot snapshot() = 0;

 protected:
  ~AdminSource() = default;
};

// Serves GET and HEAD of /livez, /readyz, /startupz, /metrics and /stats on threads of its own. Everything but probes
// and metrics needs a known Host, and the token if there is one; without a token it is for loopback peers only.
class AdminServer {
 public:
  // `options.listen` must be set. `source` outlives the server.
  AdminServer(const conf::AdminOptions& options, AdminSource& source);
  ~AdminServer();  // stop()

  // Empty when it listens, else a sentence that says why not.
  [[nodiscard]] std::string start();
  // Returns when every thread has ended; requests in progress are cut off.
  void stop();

  std::uint16_t port() const;  // the one that was bound; 0 for a Unix socket

 private:
  class Http;
  std::unique_ptr<Http> http_;
};

}  // namespace sluice::proxy

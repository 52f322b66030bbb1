// Listener: an address on which a loop accepts clients.
#pragma once

#include <string>
#include <vector>

#include <uv.h>

#include "conf/config.h"
#include "proxy/stream.h"

namespace sluice::proxy {

class Loop;

// Binds and listens; the descriptors are shared by the loops (each takes a dup). On failure `error` says why and
// what was opened is closed. Resolves names, blocking: for start-up.
std::vector<int> open_sockets(const std::vector<conf::Endpoint>& endpoints, std::string& error);

// Owns a listening descriptor on one loop. Loop thread only.
class Listener {
 public:
  Listener(Loop& loop, int socket);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

 private:
  struct Handle;
  Handle* handle_;  // freed by its close callback
};

}  // namespace sluice::proxy

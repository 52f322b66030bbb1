// AcceptPool: a listening socket and a few threads, each of which serves one of its connections at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "conf/config.h"

namespace sluice::proxy {

// For few and short connections, with blocking code; more than there are threads wait in the kernel.
class AcceptPool {
 public:
  // Runs on one of the threads. `connection` is non-blocking and closed afterwards; `stop` becomes readable, and stays
  // so, when the pool stops: then return soon.
  using Serve = std::function<void(int connection, int stop)>;

  explicit AcceptPool(Serve serve);
  ~AcceptPool();  // stop()
  AcceptPool(const AcceptPool&) = delete;
  AcceptPool& operator=(const AcceptPool&) = delete;

  // Empty when it listens, else a sentence that says why not. Once.
  [[nodiscard]] std::string start(const conf::Endpoint& endpoint, int threads);
  // Returns when every thread has ended.
  void stop();

  std::uint16_t port() const { return port_; }  // the one that was bound; 0 for a Unix socket

 private:
  std::string listen_tcp(const conf::Endpoint& endpoint);
  std::string listen_unix(const std::string& path);
  void work();

  const Serve serve_;
  int socket_ = -1;
  int stop_ = -1;  // an eventfd that nobody reads
  std::uint16_t port_ = 0;
  std::string path_;  // of the Unix socket that stop() removes
  std::vector<std::thread> threads_;
};

}  // namespace sluice::proxy

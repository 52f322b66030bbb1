// Server: a whole proxy in one object: the loops, the databases' workers, the admin server.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "conf/config.h"
#include "proxy/admin.h"

namespace sluice::sql {
class Pool;
}

namespace sluice::proxy {

class Loop;
struct Process;

// start(), then wait(); request_drain() from any thread in between. Installs no signal handlers and never exits.
class Server final : private AdminSource {
 public:
  // `config` has passed the loader's checks.
  explicit Server(conf::Config config);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Opens the listeners and starts the threads. Empty, or a sentence saying why nothing was started.
  [[nodiscard]] std::string start();
  // Finishes what is in flight, flushes, and ends within proxy.shutdown_timeout. Any thread; again is harmless.
  void request_drain();
  // Blocks until the end. The process' exit code: 0, or 1 when changes were left unflushed (the log says how many).
  int wait();

 private:
  Health health() override;
  std::vector<Health::Part> backends_health();
  Snapshot snapshot() override;

  void make_pools();
  void make_loops(const std::vector<int>& sockets);
  void remove_socket_files() const;

  const conf::Config config_;
  std::vector<std::unique_ptr<sql::Pool>> pools_;
  std::unique_ptr<Process> process_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::vector<std::thread> threads_;
  std::unique_ptr<AdminServer> admin_;
  bool ended_ = false;
  int exit_code_ = 0;
  std::atomic<bool> started_{false};
  std::atomic<bool> draining_{false};
};

}  // namespace sluice::proxy

// ServerProcess: a private database server on a free loopback port, in a temporary folder that goes with it.
#pragma once

#include <functional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace sluice::servers {

struct ServerOptions {
  bool durable = false;                // true: a commit is on the disk before it is acknowledged
  std::vector<std::string> arguments;  // further ones for the server
};

// The server dies with the thread that started it. Everything throws std::runtime_error, with the end of the server's
// log, when the server does not do as it is told in time.
class ServerProcess {
 public:
  virtual ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  int port() const { return port_; }
  pid_t pid() const { return pid_; }
  std::string socket_folder() const;  // of its Unix socket
  void start();                       // also again after stop() or kill(), with what the files hold
  void stop();                        // orderly
  void kill();                        // as in a crash
  void freeze() const;                // the server's main process stands still until thaw()
  void thaw() const;

 protected:
  // `user`: who the server runs as when this process is root's. `crash`: the signal that ends it at once.
  ServerProcess(std::string name, std::string user, int stop_signal, int crash_signal);

  virtual std::vector<std::string> command() const = 0;
  virtual bool answers() const = 0;
  void make_folder();
  std::string file(const std::string& name) const { return folder_ + "/" + name; }
  std::string data() const { return file("data"); }
  void run_to_end(const std::vector<std::string>& command);  // as the server's user

 private:
  void launch(const std::vector<std::string>& command, int death_signal);
  bool wait_for_end(int milliseconds);
  void end(int signal);
  [[noreturn]] void fail(const std::string& what) const;

  const std::string name_, user_;
  const int stop_signal_, crash_signal_;
  std::string folder_;
  int port_ = 0;
  pid_t pid_ = -1;
};

// Looks every few milliseconds; false when `condition` did not become true in time.
bool wait_until(const std::function<bool()>& condition, int milliseconds);

}  // namespace sluice::servers

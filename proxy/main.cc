// The program: reads the command line and the configuration, then serves until a signal ends it.
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <optional>
#include <pthread.h>
#include <signal.h>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include "conf/load.h"
#include "proxy/connected_check.h"
#include "proxy/log.h"
#include "proxy/memory.h"
#include "proxy/offline.h"
#include "proxy/options.h"
#include "proxy/server.h"

namespace sluice::proxy {
namespace {

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  // An empty file leaves no characters to insert, which is not a failure to read.
  if (!file || (file.peek() != std::ifstream::traits_type::eof() && !(content << file.rdbuf()))) return {};
  if (file.bad()) return {};
  return std::move(content).str();
}

// Each client needs a descriptor or two.
void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    log(Level::warning, std::string("cannot raise the limit of open files: ") + std::strerror(errno));
  }
}

sigset_t handled_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, signal);
  return set;
}

// A thread that takes the signals that every other thread blocks: the first SIGTERM or SIGINT calls `drain`, the second
// ends the process.
class SignalThread {
 public:
  explicit SignalThread(std::function<void()> drain) : drain_(std::move(drain)), thread_([this] { run(); }) {}
  ~SignalThread() {
    done_ = true;
    ::pthread_kill(thread_.native_handle(), SIGHUP);
    thread_.join();
  }

  // Before any other thread is made: they inherit it.
  static void block() {
    const sigset_t set = handled_signals();
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
  }

 private:
  void run() {
    const sigset_t set = handled_signals();
    for (int signal = 0; ::sigwait(&set, &signal) == 0;) {
      if (done_) return;
      if (signal == SIGHUP) {
        log(Level::warning, "SIGHUP: reloading the configuration is not built yet; the running one stays");
      } else {
        end(signal);
      }
    }
  }
  void end(int signal) {
    if (std::exchange(draining_, true)) {
      log(Level::error, "a second signal: ending at once");
      ::_exit(kExitFailure);
    }
    log(Level::info, std::string(signal == SIGINT ? "SIGINT" : "SIGTERM") + ": finishing what is in flight");
    drain_();
  }

  const std::function<void()> drain_;
  bool draining_ = false;
  std::atomic<bool> done_{false};
  std::thread thread_;  // last: it uses the rest
};

int serve(conf::Config config, const std::string& file) {
  SignalThread::block();
  raise_file_limit();
  limit_kept_memory();
  log(Level::info, "sluice " SLUICE_VERSION ", configuration " + file);
  Server server(std::move(config));
  const std::string error = server.start();
  if (!error.empty()) {
    log(Level::error, error);
    return kExitFailure;
  }
  int code = kExitClean;
  {
    const SignalThread signals([&server] { server.request_drain(); });
    code = server.wait();
  }
  log(Level::info, "ended");
  return code;
}

int print(const Printed& printed) {
  std::cout << printed.output << std::flush;
  std::cerr << printed.error;
  return printed.exit_code;
}

int check(const conf::Loaded& loaded, const std::string& file, bool connect) {
  if (!connect || !loaded.ok()) return print(print_check(loaded, file));
  ::signal(SIGPIPE, SIG_IGN);
  return print(print_connected_check(loaded, file));
}

int run(const Options& options) {
  std::string error;
  const std::string file = find_config_file(options.config_file, error);
  if (file.empty()) return print({kExitUsage, {}, "sluice: " + error + "\n"});
  const std::optional<std::string> text = read_file(file);
  if (!text) return print({kExitConfig, {}, "sluice: cannot read " + file + ": " + std::strerror(errno) + "\n"});
  conf::Loaded loaded = conf::load_text(*text, options.overrides);
  if (options.action == Options::Action::check) return check(loaded, file, options.connect);
  if (!loaded.ok()) return print({kExitConfig, {}, print_check(loaded, file).output});
  switch (options.action) {
    case Options::Action::check:
      break;
    case Options::Action::print_config:
      return print({kExitClean, conf::print(loaded.config), {}});
    case Options::Action::print_schema:
      return print(print_schema(loaded.config, options.argument));
    case Options::Action::explain:
      return print(print_explanation(loaded.config, options.argument));
    case Options::Action::serve:
      return serve(std::move(loaded.config), file);
  }
  return kExitClean;
}

}  // namespace
}  // namespace sluice::proxy

int main(int argc, char** argv) {
  using namespace sluice::proxy;
  const CommandLine line = parse_command_line(argc, argv);
  if (!line.options) return print({line.exit_code, line.output, line.error});
  set_level(line.options->log_level);
  set_format(line.options->log_format);
  return run(*line.options);
}

// Load: clients on threads of their own that do one thing after the other, and how long each took; for the programs
// that the scripts of bench/ start.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace CLI {
class App;
}

namespace sluice::bench {

using Clock = std::chrono::steady_clock;

struct LoadOptions {
  int clients = 1;
  double seconds = 1;    // of measurement
  double warm_up = 0.3;  // seconds
  void add_to(CLI::App& app);
};

// Where the clients are told to begin and to end. A client may end it for all.
struct Signals {
  std::atomic<bool> measuring = false;
  std::atomic<bool> over = false;
};

// Used on one thread.
class LoadClient {
 public:
  LoadClient() = default;
  LoadClient(const LoadClient&) = delete;
  LoadClient& operator=(const LoadClient&) = delete;
  virtual ~LoadClient() = default;
  virtual void step(Signals& signals) = 0;  // throws when something fails
};

// Says "ready" when all are connected and warm, measures after the line that it is given, and answers with one of JSON.
class Load {
 public:
  using Factory = std::function<std::unique_ptr<LoadClient>()>;
  // More of the answer, `"name": value, `; called when the clients have ended.
  using Report = std::function<std::string()>;

  Load(
      const LoadOptions& options, const Factory& make, Report report = [] { return std::string(); });
  void run();  // throws what a client has thrown

 private:
  struct Worker {
    std::unique_ptr<LoadClient> client;
    std::vector<Clock::duration> latencies;
  };

  void work(Worker& worker);
  void answer(double seconds, double cpu) const;

  const LoadOptions options_;
  const Report report_;
  std::vector<Worker> workers_;
  std::vector<std::thread> threads_;
  Signals signals_;
  std::mutex mutex_;
  std::exception_ptr failure_;  // guarded by mutex_ until the threads have ended
};

// The main() of such a program: parses, runs, and tells of what went wrong.
int run_program(CLI::App& app, int argc, char** argv, const std::function<void()>& body);

}  // namespace sluice::bench

// Load, see load.h.
#include "load.h"

#include <algorithm>
#include <iostream>
#include <sys/resource.h>
#include <utility>

#include <CLI/CLI.hpp>

namespace sluice::bench {
namespace {

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

double percentile(const std::vector<double>& sorted, double share) {
  return sorted.empty() ? 0 : sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

}  // namespace

void LoadOptions::add_to(CLI::App& app) {
  app.add_option("--clients", clients)->check(CLI::PositiveNumber);
  app.add_option("--seconds", seconds)->check(CLI::PositiveNumber);
  app.add_option("--warm-up", warm_up, "seconds")->check(CLI::NonNegativeNumber);
}

Load::Load(const LoadOptions& options, const Factory& make, Report report)
    : options_(options), report_(std::move(report)) {
  for (int i = 0; i < options.clients; ++i) workers_.push_back({make(), {}});
}

void Load::run() {
  for (Worker& worker : workers_) threads_.emplace_back([this, &worker] { work(worker); });
  std::this_thread::sleep_for(std::chrono::duration<double>(options_.warm_up));
  std::cout << "ready" << std::endl;
  std::string line;
  std::getline(std::cin, line);
  const double cpu = cpu_seconds();
  const auto began = Clock::now();
  const auto end = began + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.seconds));
  signals_.measuring = true;
  while (!signals_.over && Clock::now() < end) {
    std::this_thread::sleep_for(std::min<Clock::duration>(end - Clock::now(), std::chrono::milliseconds(10)));
  }
  signals_.over = true;
  const std::chrono::duration<double> took = Clock::now() - began;
  const double used = cpu_seconds() - cpu;
  for (auto& thread : threads_) thread.join();
  if (failure_) std::rethrow_exception(failure_);
  answer(took.count(), used);
  std::getline(std::cin, line);  // the connections live until the caller has looked at the servers
}

void Load::work(Worker& worker) {
  try {
    while (!signals_.over) {
      const bool counts = signals_.measuring;
      const auto began = Clock::now();
      worker.client->step(signals_);
      if (counts && !signals_.over) worker.latencies.push_back(Clock::now() - began);
    }
  } catch (const std::exception&) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    signals_.over = true;
  }
}

void Load::answer(double seconds, double cpu) const {
  std::vector<double> sorted;
  for (const Worker& worker : workers_) {
    for (const auto& took : worker.latencies) sorted.push_back(std::chrono::duration<double, std::milli>(took).count());
  }
  std::sort(sorted.begin(), sorted.end());
  std::cout << "{" << report_() << R"("done": )" << sorted.size() << R"(, "seconds": )" << seconds << R"(, "cpu": )"
            << cpu << R"(, "p50": )" << percentile(sorted, 0.5) << R"(, "p99": )" << percentile(sorted, 0.99)
            << R"(, "max": )" << percentile(sorted, 1) << "}" << std::endl;
}

int run_program(CLI::App& app, int argc, char** argv, const std::function<void()>& body) {
  CLI11_PARSE(app, argc, argv);
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << app.get_name() << ": " << error.what() << '\n';
    return 1;
  }
}

}  // namespace sluice::bench

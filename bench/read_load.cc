// read_load: clients that each read one user after the other, as an application with a cache of its own does or through
// sluice, and their latencies; driven by reads.py.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include "load.h"
#include "load_tables.h"

namespace sluice::bench {
namespace {

struct Options : LoadOptions {
  DatabaseOptions database;  // without one only GET, which is what a client of sluice does
  int redis_port = 0;
  int rows = 100000;
  int ttl_ms = 300000;     // of what the application stores
  double skew = 0;         // of Zipf's law; 0: every user is read once, and that is the end
  int absent_percent = 0;  // of the users that a Zipf load asks for
  double rate = 0;         // reads per second of all clients; 0: as many as they can
};

// Which user is next, for all clients.
class Choice {
 public:
  explicit Choice(const Options& options) : rows_(options.rows), absent_percent_(options.absent_percent) {
    double sum = 0;
    for (int rank = 1; options.skew > 0 && rank <= rows_; ++rank) {
      sum += std::pow(rank, -options.skew);
      sums_.push_back(sum);
    }
  }

  // 0: all have been read.
  int next(std::minstd_rand& random) {
    if (!sums_.empty()) return popular(random);
    const auto number = static_cast<std::uint64_t>(read_.fetch_add(1, std::memory_order_relaxed));
    const auto rows = static_cast<std::uint64_t>(rows_);
    return number >= rows ? 0 : 1 + static_cast<int>(number * kStride % rows);
  }

  // Users that there are not have numbers of their own.
  int users() const { return rows_; }

 private:
  static constexpr std::uint64_t kStride = 7919;  // a prime: neighbours are not on one page of the table

  int popular(std::minstd_rand& random) const {
    const double at = std::uniform_real_distribution(0.0, sums_.back())(random);
    const auto rank = 1 + (std::lower_bound(sums_.begin(), sums_.end(), at) - sums_.begin());
    const bool absent = rank * kStride % 100 < static_cast<std::uint64_t>(absent_percent_);
    return static_cast<int>(rank) + (absent ? rows_ : 0);
  }

  const int rows_, absent_percent_;
  std::vector<double> sums_;
  std::atomic<int> read_{0};
};

struct Shared {
  explicit Shared(const Options& given) : options(given), choice(given) {}
  const Options& options;
  Choice choice;
  std::atomic<int> clients{0};
  std::atomic<std::uint64_t> queries{0};  // of the measurement
};

class Reader final : public LoadClient {
 public:
  explicit Reader(Shared& shared)
      : shared_(shared),
        number_(shared.clients++),
        table_(open_table(shared.options.database)),
        reads_(shared.options.redis_port),
        random_(std::random_device{}()) {
    if (table_ != nullptr) writes_ = std::make_unique<Cache>(shared.options.redis_port);
  }

  void step(Signals& signals) override {
    const int id = shared_.choice.next(random_);
    if (id == 0) signals.over = true;
    if (id == 0 || !await_turn(signals)) return;
    const std::string key = "user:" + std::to_string(id);
    std::optional<std::string> value = reads_.get(key);
    if (!value && table_ != nullptr) value = load(key, id, signals);
    const bool wrong = id > shared_.choice.users() ? value.has_value() : !value || !shows(*value, id);
    if (wrong) throw std::runtime_error(key + " is wrong: " + value.value_or("(nil)"));
  }

 private:
  static bool shows(const std::string& value, int id) {
    return value.starts_with(R"({"id":)" + std::to_string(id) + ",");
  }

  std::optional<std::string> load(const std::string& key, int id, const Signals& signals) {
    if (signals.measuring) shared_.queries.fetch_add(1, std::memory_order_relaxed);
    const std::optional<User> user = table_->read(id);
    if (!user) return std::nullopt;
    std::string value = json(*user);
    writes_->set(key, value, shared_.options.ttl_ms);
    return value;
  }

  // False: the end came first.
  bool await_turn(const Signals& signals) {
    if (shared_.options.rate == 0) return true;
    const double seconds = (turn_++ * shared_.options.clients + number_) / shared_.options.rate;
    const auto due = began_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    std::this_thread::sleep_until(due);
    return !signals.over;
  }

  Shared& shared_;
  const int number_;
  std::unique_ptr<Table> table_;
  Cache reads_;
  std::unique_ptr<Cache> writes_;
  std::minstd_rand random_;
  Clock::time_point began_ = Clock::now();
  double turn_ = 0;
};

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  using namespace sluice::bench;
  Options options;
  CLI::App app("Reads users from many clients at a time", "read_load");
  options.add_to(app);
  options.database.add_to(app);
  app.add_option("--redis-port", options.redis_port, "of Redis, or of sluice")->required();
  app.add_option("--rows", options.rows)->check(CLI::PositiveNumber);
  app.add_option("--ttl", options.ttl_ms, "milliseconds")->check(CLI::PositiveNumber);
  app.add_option("--skew", options.skew, "of Zipf's law; 0: every user once")->check(CLI::NonNegativeNumber);
  app.add_option("--absent", options.absent_percent, "per cent of the users that are asked for are not there");
  app.add_option("--rate", options.rate, "reads per second of all clients; 0: as many as they can");
  return run_program(app, argc, argv, [&] {
    Shared shared(options);
    Load(
        options, [&] { return std::make_unique<Reader>(shared); },
        [&] { return R"("queries": )" + std::to_string(shared.queries) + ", "; })
        .run();
  });
}

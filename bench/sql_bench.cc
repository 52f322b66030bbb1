// Benchmarks of the SQLite backend: upserts one by one and grouped, reads, and writes through the pool.
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <sqlite3.h>

#include "backends/pool.h"
#include "backends/registry.h"
#include "backends/sql.h"
#include "conf/config.h"

namespace sluice::sql {
namespace {

constexpr std::int64_t kKeys = 10000;

// A database with one table, in a temporary folder that goes with it. On a disk COMMIT waits for fsync: set TMPDIR to
// a folder on the disk that matters.
class Database {
 public:
  Database() {
    std::string pattern = std::filesystem::temp_directory_path() / "sluice-bench-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    options_.name = "bench";
    options_.path = folder_ / "bench.db";
    sqlite3* db = nullptr;
    sqlite3_open(options_.path.c_str(), &db);
    sqlite3_exec(db, "CREATE TABLE kv (id INTEGER PRIMARY KEY, value TEXT)", nullptr, nullptr, nullptr);
    sqlite3_close(db);
  }
  ~Database() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  std::unique_ptr<Backend> backend() const { return make_backend(options_); }

 private:
  std::filesystem::path folder_;
  conf::BackendOptions options_;
};

Deadline soon() { return std::chrono::steady_clock::now() + std::chrono::seconds(60); }

Op upsert(std::int64_t number) {
  return ReplaceRow{"kv", {{"id", number % kKeys}}, {{"value", "value " + std::to_string(number)}}, {}};
}

void check(benchmark::State& state, const Result& result) {
  if (!result.ok()) state.SkipWithError(result.error.message.c_str());
}

void one_by_one(benchmark::State& state) {
  const Database database;
  const auto session = database.backend()->session();
  std::int64_t number = 0;
  for (auto _ : state) check(state, session->run(upsert(number++), soon()));
  state.SetItemsProcessed(number);
}
BENCHMARK(one_by_one)->Name("sqlite/upsert_one_by_one")->UseRealTime();

void grouped(benchmark::State& state) {
  const Database database;
  const auto session = database.backend()->session();
  std::int64_t number = 0;
  for (auto _ : state) {
    std::vector<Op> ops;
    for (std::int64_t i = 0; i < state.range(0); ++i) ops.push_back(upsert(number++));
    std::vector<const Op*> pointers;
    for (const auto& op : ops) pointers.push_back(&op);
    for (const auto& result : session->run_group(pointers, soon())) check(state, result);
  }
  state.SetItemsProcessed(number);
}
BENCHMARK(grouped)->Name("sqlite/upsert_grouped")->Arg(1)->Arg(8)->Arg(64)->Arg(256)->UseRealTime();

void read_row(benchmark::State& state) {
  const Database database;
  const auto session = database.backend()->session();
  check(state, session->run(upsert(1), soon()));
  const Op op = ReadRow{"kv", {{"id", std::int64_t{1}}}, {"value"}};
  for (auto _ : state) check(state, session->run(op, soon()));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(read_row)->Name("sqlite/read_row")->UseRealTime();

// Keeps a number of writes in flight, as that many clients would.
class Clients {
 public:
  Clients(Pool& pool, std::int64_t count) : pool_(pool), free_(count), count_(count) {}

  void write(std::int64_t number) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return free_ > 0; });
    --free_;
    lock.unlock();
    pool_.submit({upsert(number), soon(), [this](const Result& result) {
                    const std::lock_guard guard(mutex_);
                    ++free_;
                    failures_ += result.ok() ? 0 : 1;
                    changed_.notify_one();
                  }});
  }
  std::int64_t wait() {  // the number of failed writes
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return free_ == count_; });
    return failures_;
  }

 private:
  Pool& pool_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::int64_t free_;
  const std::int64_t count_;
  std::int64_t failures_ = 0;
};

void pool_upserts(benchmark::State& state) {
  const Database database;
  Pool pool("bench", database.backend());
  Clients clients(pool, state.range(0));
  std::int64_t number = 0;
  for (auto _ : state) clients.write(number++);
  if (clients.wait() > 0) state.SkipWithError("writes failed");
  state.SetItemsProcessed(number);
  state.counters["rows_per_commit"] = static_cast<double>(number) / static_cast<double>(pool.transactions());
}
BENCHMARK(pool_upserts)->Name("pool/upsert_clients")->Arg(1)->Arg(50)->Arg(200)->UseRealTime();

}  // namespace
}  // namespace sluice::sql

// Benchmarks of the backends: upserts one by one and grouped, reads, and writes through the pool.
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
#include "tests/servers/sql_database.h"

namespace sluice::sql {
namespace {

constexpr std::int64_t kKeys = 10000;

// A database with one table. It and the server are in temporary folders that go with them; on a disk COMMIT waits for
// fsync: set TMPDIR to a folder on the disk that matters.
class Database {
 public:
  virtual ~Database() = default;
  virtual std::unique_ptr<Backend> backend() const = 0;
};

class SqliteDatabase final : public Database {
 public:
  SqliteDatabase() {
    std::string pattern = std::filesystem::temp_directory_path() / "sluice-bench-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    options_.name = "bench";
    options_.path = folder_ / "bench.db";
    sqlite3* db = nullptr;
    sqlite3_open(options_.path.c_str(), &db);
    sqlite3_exec(db, "CREATE TABLE kv (id INTEGER PRIMARY KEY, value TEXT)", nullptr, nullptr, nullptr);
    sqlite3_close(db);
  }
  ~SqliteDatabase() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  SqliteDatabase(const SqliteDatabase&) = delete;
  SqliteDatabase& operator=(const SqliteDatabase&) = delete;
  std::unique_ptr<Backend> backend() const override { return make_backend(options_); }

 private:
  std::filesystem::path folder_;
  conf::BackendOptions options_;
};

// On a server with durable settings that is started once.
class PostgresDatabase final : public Database {
 public:
  PostgresDatabase() : database_(servers::Engine::postgresql, server().port()) {
    database_.exec("CREATE TABLE kv (id BIGINT PRIMARY KEY, value TEXT)");
    database_.exec("INSERT INTO kv SELECT n, 'first' FROM generate_series(0, " + std::to_string(kKeys - 1) + ") n");
    database_.exec("ANALYZE kv");
  }
  std::unique_ptr<Backend> backend() const override {
    conf::BackendOptions options;
    options.name = "bench";
    options.kind = conf::BackendOptions::Kind::postgresql;
    options.endpoint = {conf::Endpoint::Kind::tcp, "127.0.0.1", static_cast<std::uint16_t>(database_.port()), {}};
    options.user = servers::kUser;
    options.password = servers::kPassword;
    options.database = database_.name();
    return make_backend(options);
  }

 private:
  static servers::ServerProcess& server() {
    static const auto started = servers::start_server(servers::Engine::postgresql, {.durable = true, .arguments = {}});
    return *started;
  }
  servers::SqlDatabase database_;
};

Deadline soon() { return std::chrono::steady_clock::now() + std::chrono::seconds(60); }

Op upsert(std::int64_t number) {
  return ReplaceRow{"kv", {{"id", number % kKeys}}, {{"value", "value " + std::to_string(number)}}, {}};
}

void check(benchmark::State& state, const Result& result) {
  if (!result.ok()) state.SkipWithError(result.error.message.c_str());
}

template <class Engine>
void one_by_one(benchmark::State& state) {
  const Engine database;
  const auto session = database.backend()->session();
  std::int64_t number = 0;
  for (auto _ : state) check(state, session->run(upsert(number++), soon()));
  state.SetItemsProcessed(number);
}
BENCHMARK(one_by_one<SqliteDatabase>)->Name("sqlite/upsert_one_by_one")->UseRealTime();
BENCHMARK(one_by_one<PostgresDatabase>)->Name("postgresql/upsert_one_by_one")->UseRealTime();

Op merge(std::int64_t number) {
  return MergeRow{"kv", {{"id", number % kKeys}}, {{"value", "value " + std::to_string(number)}}};
}

// Adds to what is there: read, decided and written.
class Append final : public RowDecision {
 public:
  RowChange decide(const Row* row) const override {
    const auto* text = row == nullptr ? nullptr : std::get_if<std::string>(&(*row)[0]);
    return {RowChange::Kind::write, {{"value", text == nullptr ? "a" : text->substr(0, 20) + "a"}}, {}};
  }
};

Op modify(std::int64_t number) {
  return ModifyRow{"kv", {{"id", number % kKeys}}, {"value"}, std::make_shared<Append>()};
}

template <class Engine, Op (*make)(std::int64_t)>
void grouped(benchmark::State& state) {
  const Engine database;
  const auto session = database.backend()->session();
  std::int64_t number = 0;
  for (auto _ : state) {
    std::vector<Op> ops;
    for (std::int64_t i = 0; i < state.range(0); ++i) ops.push_back(make(number++));
    std::vector<const Op*> pointers;
    for (const auto& op : ops) pointers.push_back(&op);
    for (const auto& result : session->run_group(pointers, soon())) check(state, result);
  }
  state.SetItemsProcessed(number);
}
BENCHMARK(grouped<SqliteDatabase, upsert>)
    ->Name("sqlite/upsert_grouped")
    ->Arg(1)
    ->Arg(8)
    ->Arg(64)
    ->Arg(256)
    ->UseRealTime();
BENCHMARK(grouped<PostgresDatabase, upsert>)
    ->Name("postgresql/upsert_grouped")
    ->Arg(1)
    ->Arg(8)
    ->Arg(64)
    ->Arg(256)
    ->UseRealTime();
BENCHMARK(grouped<PostgresDatabase, merge>)->Name("postgresql/merge_grouped")->Arg(1)->Arg(64)->Arg(256)->UseRealTime();
BENCHMARK(grouped<PostgresDatabase, modify>)
    ->Name("postgresql/modify_grouped")
    ->Arg(1)
    ->Arg(64)
    ->Arg(256)
    ->UseRealTime();

template <class Engine>
void read_row(benchmark::State& state) {
  const Engine database;
  const auto session = database.backend()->session();
  check(state, session->run(upsert(1), soon()));
  const Op op = ReadRow{"kv", {{"id", std::int64_t{1}}}, {"value"}};
  for (auto _ : state) check(state, session->run(op, soon()));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(read_row<SqliteDatabase>)->Name("sqlite/read_row")->UseRealTime();
BENCHMARK(read_row<PostgresDatabase>)->Name("postgresql/read_row")->UseRealTime();

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

template <class Engine>
void pool_upserts(benchmark::State& state) {
  const Engine database;
  Pool pool("bench", database.backend());
  Clients clients(pool, state.range(0));
  std::int64_t number = 0;
  for (auto _ : state) clients.write(number++);
  if (clients.wait() > 0) state.SkipWithError("writes failed");
  state.SetItemsProcessed(number);
  state.counters["rows_per_commit"] = static_cast<double>(number) / static_cast<double>(pool.transactions());
}
BENCHMARK(pool_upserts<SqliteDatabase>)->Name("pool/upsert_clients")->Arg(1)->Arg(50)->Arg(200)->UseRealTime();
BENCHMARK(pool_upserts<PostgresDatabase>)
    ->Name("pool/postgresql_clients")
    ->Arg(1)
    ->Arg(16)
    ->Arg(64)
    ->Arg(256)
    ->UseRealTime();

}  // namespace
}  // namespace sluice::sql

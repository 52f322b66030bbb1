// Engines: the databases that a scenario runs on, and a rig with one of them.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::servers {
class ServerProcess;
class SqlClient;
class SqlDatabase;
}  // namespace sluice::servers

namespace sluice::live {

enum class Engine : std::uint8_t { sqlite, postgresql, mysql };
std::string to_string(Engine engine);
void PrintTo(Engine engine, std::ostream* out);

// A fresh database of the test's own.
class EngineDatabase {
 public:
  // `own_server`: not on the server that all tests share, so that it can be stopped. SQLite has none.
  explicit EngineDatabase(Engine engine, bool own_server = false);
  ~EngineDatabase();
  EngineDatabase(const EngineDatabase&) = delete;
  EngineDatabase& operator=(const EngineDatabase&) = delete;

  Engine engine() const { return engine_; }
  std::string url() const;
  void exec(const std::string& sql);
  std::string query(const std::string& sql);            // the rows as `a|b;c|d`, NULL for NULL
  std::unique_ptr<servers::SqlClient> connect() const;  // another connection to a server
  void exclude_others();                                // nobody can write: the server is killed, the file locked
  void admit_others();

  // Nobody can read the table: whoever asks waits. With SQLite nobody else may have the file open yet, and it is all of
  // it that nobody can read.
  void hold(const std::string& table);
  void release();
  int queries_held();  // that wait for the table, as the server says; SQLite: 0

 private:
  const Engine engine_;
  TempDir dir_;
  std::unique_ptr<servers::ServerProcess> server_;
  std::unique_ptr<servers::SqlDatabase> database_;
  std::unique_ptr<Database> file_;
  std::unique_ptr<servers::SqlClient> holder_;
};

// What differs between the dialects, by engine.
struct Dialect {
  explicit Dialect(Engine engine) : engine(engine) {}
  std::string serial_key() const;  // a column type: an integer primary key that the database fills in
  std::string key_text() const;    // of text that is a key: distinct bytes are distinct rows
  std::string bytes() const;
  std::string text_of(const std::string& timestamp_column) const;  // an expression: as 2024-06-21T00:00:00
  const Engine engine;
};

// A Redis, a database with `schema`, and a sluice with `policies` (backend `shop`) in between.
struct EngineRig {
  EngineRig(Engine engine, const std::string& schema, const std::string& policies, SluiceOptions options = {},
            bool own_server = false);
  EngineDatabase db;
  RedisServer redis;
  SluiceOptions options;
  Sluice sluice;
  // Another proxy in front of the same Redis and database.
  std::unique_ptr<Sluice> second() const { return std::make_unique<Sluice>(options); }
};

class OnEveryEngine : public testing::TestWithParam<Engine> {};
#define ON_EVERY_ENGINE(suite)                                                                                 \
  INSTANTIATE_TEST_SUITE_P(Engines, suite, testing::Values(Engine::sqlite, Engine::postgresql, Engine::mysql), \
                           [](const auto& engine) { return to_string(engine.param); })

}  // namespace sluice::live

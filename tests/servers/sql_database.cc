// SqlDatabase: names, urls, and where the shared servers are.
#include "tests/servers/sql_database.h"

#include <array>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <unistd.h>

#include "tests/servers/mariadb_server.h"
#include "tests/servers/postgres_server.h"

namespace sluice::servers {

namespace {

// The port in the file that sluice_test_servers writes, or 0: the test was not started by ctest.
int port_of_ctest(Engine engine) {
  const char* const path = std::getenv("SLUICE_TEST_SERVERS");
  std::ifstream in(path == nullptr ? "" : path);
  std::string word;
  int number = 0;
  while (in >> word >> number) {
    if (word == name(engine)) return number;
  }
  return 0;
}

std::string fresh_name() {
  static int made = 0;
  return "test_" + std::to_string(getpid()) + "_" + std::to_string(++made);
}

std::string home(Engine engine) { return engine == Engine::postgresql ? "postgres" : ""; }

std::string drop_statement(Engine engine, const std::string& name) {
  // A transaction that a test left open would hold up DROP in MariaDB.
  return engine == Engine::postgresql ? "DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"
                                      : "SET lock_wait_timeout = 2; DROP DATABASE IF EXISTS " + name;
}

}  // namespace

const char* name(Engine engine) { return engine == Engine::postgresql ? "postgresql" : "mysql"; }

int shared_port(Engine engine) {
  static std::array<std::unique_ptr<ServerProcess>, 2> own;
  if (const int port = port_of_ctest(engine); port != 0) return port;
  auto& server = own[static_cast<std::size_t>(engine)];
  if (server == nullptr) server = start_server(engine);
  return server->port();
}

std::unique_ptr<ServerProcess> start_server(Engine engine, ServerOptions options) {
  if (engine == Engine::postgresql) return std::make_unique<PostgresServer>(std::move(options));
  return std::make_unique<MariadbServer>(std::move(options));
}

std::unique_ptr<SqlClient> connect(Engine engine, int port, const std::string& database) {
  return engine == Engine::postgresql ? connect_postgres(port, database) : connect_mariadb(port, database);
}

SqlDatabase::SqlDatabase(Engine engine, int port) : engine_(engine), port_(port), name_(fresh_name()) {
  const auto server = servers::connect(engine, port, home(engine));
  server->query(drop_statement(engine, name_));  // of an earlier process of the same number
  // MariaDB's own default is still latin1.
  server->query("CREATE DATABASE " + name_ + (engine == Engine::mysql ? " CHARACTER SET utf8mb4" : ""));
}

SqlDatabase::~SqlDatabase() {
  client_.reset();
  try {
    servers::connect(engine_, port_, home(engine_))->query(drop_statement(engine_, name_));
  } catch (const std::runtime_error&) {
    // The server is gone, and its folder with it.
  }
}

std::string SqlDatabase::url_through(int port) const {
  return std::string(servers::name(engine_)) + "://" + kUser + ":" + kPassword + "@127.0.0.1:" + std::to_string(port) +
         "/" + name_;
}

std::string SqlDatabase::query(const std::string& sql) {
  if (client_ == nullptr) client_ = connect();
  try {
    return client_->query(sql);
  } catch (const std::runtime_error&) {
    client_.reset();
    throw;
  }
}

}  // namespace sluice::servers

// SqlDatabase: a fresh database of a test's own on a server that all tests share, or on one of the test's own.
#pragma once

#include <memory>
#include <string>

#include "tests/servers/server_process.h"
#include "tests/servers/sql_client.h"

namespace sluice::servers {

enum class Engine : std::uint8_t { postgresql, mysql };

const char* name(Engine engine);  // as in the urls
int shared_port(Engine engine);   // of the server that all tests share
std::unique_ptr<ServerProcess> start_server(Engine engine, ServerOptions options = {});  // one of the caller's own
std::unique_ptr<SqlClient> connect(Engine engine, int port, const std::string& database);

// Dropped with the object, whoever is connected to it.
class SqlDatabase {
 public:
  explicit SqlDatabase(Engine engine) : SqlDatabase(engine, shared_port(engine)) {}
  SqlDatabase(Engine engine, int port);
  ~SqlDatabase();
  SqlDatabase(const SqlDatabase&) = delete;
  SqlDatabase& operator=(const SqlDatabase&) = delete;

  Engine engine() const { return engine_; }
  int port() const { return port_; }
  const std::string& name() const { return name_; }
  std::string url() const { return url_through(port_); }
  std::string url_through(int port) const;  // of a proxy in between
  void exec(const std::string& sql) { query(sql); }
  std::string query(const std::string& sql);  // see SqlClient; connects again when the server was started again
  std::unique_ptr<SqlClient> connect() const { return servers::connect(engine_, port_, name_); }

 private:
  const Engine engine_;
  const int port_;
  const std::string name_;
  std::unique_ptr<SqlClient> client_;
};

}  // namespace sluice::servers

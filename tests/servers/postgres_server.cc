// PostgresServer: initdb and its settings; the client.
#include "tests/servers/postgres_server.h"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <libpq-fe.h>
#include <stdexcept>
#include <utility>

namespace sluice::servers {

namespace {

// Debian keeps the programs of a server out of PATH.
std::string program(const std::string& name) {
  const std::string debian = "/usr/lib/postgresql/15/bin/" + name;
  return std::filesystem::exists(debian) ? debian : name;
}

std::string address(int port, const std::string& database) {
  return "host=127.0.0.1 port=" + std::to_string(port) + " user=" + kUser + " password=" + kPassword +
         " dbname=" + database + " connect_timeout=30 client_encoding=UTF8 options='-c client_min_messages=warning'";
}

class PostgresClient final : public SqlClient {
 public:
  PostgresClient(int port, const std::string& database)
      : connection_(PQconnectdb(address(port, database).c_str()), PQfinish) {
    if (PQstatus(connection_.get()) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(connection_.get()));
    PQsetNoticeProcessor(
        connection_.get(), [](void*, const char*) {}, nullptr);
  }

  std::string query(const std::string& sql) override {
    const std::unique_ptr<PGresult, void (*)(PGresult*)> result(PQexec(connection_.get(), sql.c_str()), PQclear);
    const ExecStatusType status = PQresultStatus(result.get());
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY) {
      throw std::runtime_error(sql + ": " + PQresultErrorMessage(result.get()));
    }
    std::string out;
    for (int row = 0; row < PQntuples(result.get()); ++row) {
      out += row == 0 ? "" : ";";
      for (int column = 0; column < PQnfields(result.get()); ++column) {
        const bool null = PQgetisnull(result.get(), row, column) != 0;
        out.append(column == 0 ? "" : "|").append(null ? "NULL" : PQgetvalue(result.get(), row, column));
      }
    }
    return out;
  }

 private:
  std::unique_ptr<PGconn, void (*)(PGconn*)> connection_;
};

}  // namespace

PostgresServer::PostgresServer(ServerOptions options)
    // SIGQUIT ends all of its processes as a crash would, but gives back their shared memory.
    : ServerProcess("postgres", "postgres", SIGINT, SIGQUIT), options_(std::move(options)) {
  make_folder();
  std::ofstream(file("password")) << kPassword << '\n';
  run_to_end({program("initdb"), "-D", data(), "-U", kUser, "-A", "scram-sha-256", "--pwfile", file("password"), "-E",
              "UTF8", "--locale=C.UTF-8", "--no-sync"});
  start();
}

std::vector<std::string> PostgresServer::command() const {
  std::vector<std::string> line{program("postgres"), "-D", data(), "-p", std::to_string(port())};
  const std::string on = options_.durable ? "on" : "off";
  for (const std::string& setting :
       {std::string("listen_addresses=127.0.0.1"), "unix_socket_directories=" + socket_folder(), "fsync=" + on,
        "synchronous_commit=" + on, "full_page_writes=" + on, std::string("max_connections=200"),
        std::string("max_wal_size=256MB"), std::string("shared_buffers=64MB")}) {
    line.insert(line.end(), {"-c", setting});
  }
  line.insert(line.end(), options_.arguments.begin(), options_.arguments.end());
  return line;
}

// It says "rejecting" while it recovers from a crash.
bool PostgresServer::answers() const { return PQping(address(port(), "postgres").c_str()) == PQPING_OK; }

std::unique_ptr<SqlClient> connect_postgres(int port, const std::string& database) {
  return std::make_unique<PostgresClient>(port, database);
}

}  // namespace sluice::servers

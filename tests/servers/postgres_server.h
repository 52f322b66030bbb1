// PostgresServer: a private PostgreSQL, and a client on libpq.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/servers/server_process.h"
#include "tests/servers/sql_client.h"

namespace sluice::servers {

// kUser with kPassword is its superuser; the password is asked for on every connection.
class PostgresServer final : public ServerProcess {
 public:
  explicit PostgresServer(ServerOptions options = {});

 private:
  std::vector<std::string> command() const override;
  bool answers() const override;
  const ServerOptions options_;
};

std::unique_ptr<SqlClient> connect_postgres(int port, const std::string& database);

}  // namespace sluice::servers

// MariadbServer: a private MariaDB, and a client on libmariadb.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/servers/server_process.h"
#include "tests/servers/sql_client.h"

namespace sluice::servers {

// kUser with kPassword may do everything.
class MariadbServer final : public ServerProcess {
 public:
  explicit MariadbServer(ServerOptions options = {});

 private:
  std::vector<std::string> command() const override;
  bool answers() const override;
  const ServerOptions options_;
};

std::unique_ptr<SqlClient> connect_mariadb(int port, const std::string& database);

}  // namespace sluice::servers

// SqlClient: a connection of a test's own to a database server, for its tables and to see what is really there.
#pragma once

#include <string>

namespace sluice::servers {

// Who the servers of the tests let in.
inline constexpr const char* kUser = "sluice";
inline constexpr const char* kPassword = "secret";

// Throws std::runtime_error when the server refuses a statement or is gone.
class SqlClient {
 public:
  virtual ~SqlClient() = default;
  // Runs statements separated by ';'. The rows of the last one as `a|b;c|d`, NULL for NULL.
  virtual std::string query(const std::string& sql) = 0;
};

}  // namespace sluice::servers

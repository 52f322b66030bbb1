// A MariaDB database of a test's own, a session of the backend on it, and a client that sees what is really there.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/registry.h"
#include "backends/sql.h"
#include "conf/config.h"
#include "conf/url.h"
#include "tests/servers/sql_database.h"

namespace sluice::sql {

inline std::unique_ptr<Backend> mysql_backend(const std::string& url) {
  conf::BackendOptions options;
  std::string error;
  options.name = "shop";
  options.url = url;
  EXPECT_TRUE(conf::parse_backend_url(url, options, error)) << error;
  return make_backend(options);
}

class MysqlTest : public testing::Test {
 protected:
  MysqlTest() : database(servers::Engine::mysql), backend(mysql_backend(database.url())), session(backend->session()) {}

  static Deadline in(std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; }
  static Deadline soon() { return in(std::chrono::seconds(20)); }

  Result run(const Op& op, Deadline deadline = soon()) { return session->run(op, deadline); }
  std::vector<Result> run_group(const std::vector<Op>& ops, Deadline deadline = soon()) {
    std::vector<const Op*> pointers(ops.size());
    std::transform(ops.begin(), ops.end(), pointers.begin(), [](const Op& op) { return &op; });
    return session->run_group(pointers, deadline);
  }
  std::string see(const std::string& sql) { return database.query(sql); }

  static testing::AssertionResult is_ok(const Result& result) {
    if (result.ok()) return testing::AssertionSuccess();
    return testing::AssertionFailure() << result.error.sqlstate << " " << result.error.message;
  }
  static testing::AssertionResult fails(const Result& result, Failure failure, const std::string& sqlstate = "") {
    const bool same_state = sqlstate.empty() || result.error.sqlstate == sqlstate;
    if (result.error.failure == failure && same_state && !result.error.message.empty()) {
      return testing::AssertionSuccess();
    }
    return testing::AssertionFailure() << "failure " << static_cast<int>(result.error.failure) << ", SQLSTATE "
                                       << result.error.sqlstate << ", message: " << result.error.message;
  }

  servers::SqlDatabase database;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Session> session;
};

}  // namespace sluice::sql

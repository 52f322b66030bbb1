// A MariaDB database of a test's own, a session of the backend on it, and a client that sees what is really there.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backends/registry.h"
#include "backends/sql.h"
#include "conf/config.h"
#include "conf/url.h"
#include "sqlite_fixture.h"
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

  Result run(const Op& op, Deadline deadline = soon()) { return session->run(op, deadline); }
  std::vector<Result> run_group(const std::vector<Op>& ops, Deadline deadline = soon()) {
    return session->run_group(pointers_to(ops), deadline);
  }
  std::string see(const std::string& sql) { return database.query(sql); }

  // An empty `sqlstate`: any.
  static testing::AssertionResult fails(const Result& result, Failure failure, const std::string& sqlstate = "") {
    return sql::fails(result, failure, sqlstate.empty() ? result.error.sqlstate : sqlstate);
  }

  servers::SqlDatabase database;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Session> session;
};

}  // namespace sluice::sql

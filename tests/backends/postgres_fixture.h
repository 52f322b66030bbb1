// A PostgreSQL database of a test's own with a table `fruit`, and a session of the backend on it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "conformance.h"

namespace sluice::sql {

inline Op write_fruit(std::int64_t id, Value name = std::string("apple")) {
  return ReplaceRow{"fruit", {{"id", id}}, {{"name", std::move(name)}}, {}};
}

class PostgresTest : public testing::Test {
 protected:
  PostgresTest() : database(servers::Engine::postgresql), options(server_options(database)) {
    query("CREATE TABLE fruit (id BIGINT PRIMARY KEY, name TEXT)");
    session = make_session();
  }

  std::unique_ptr<Session> make_session() const { return make_backend(options)->session(); }
  std::string query(const std::string& sql) { return database.query(sql); }
  std::vector<Result> run_group(const std::vector<Op>& ops, Deadline deadline = soon()) {
    return session->run_group(pointers_to(ops), deadline);
  }
  std::string fruit() { return query("SELECT id, name FROM fruit ORDER BY id"); }
  // How many of our sessions run or wait in a statement, and how many wait for a lock.
  std::string busy() { return sessions("state <> 'idle'"); }
  std::string waiting() { return sessions("wait_event_type = 'Lock'"); }

  servers::SqlDatabase database;
  conf::BackendOptions options;
  std::unique_ptr<Session> session;

 private:
  std::string sessions(const std::string& condition) {
    return query(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sluice' AND datname = current_database() "
        "AND " +
        condition);
  }
};

}  // namespace sluice::sql

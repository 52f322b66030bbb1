// A database of any of the engines, a session on it, and a connection that sees what is really there.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "backends/registry.h"
#include "backends/sql.h"
#include "conf/config.h"
#include "sqlite_fixture.h"
#include "tests/servers/sql_database.h"

namespace sluice::sql {

// A database of a test's own. Its SQL is what the engines have in common.
class AnyDatabase {
 public:
  virtual ~AnyDatabase() = default;
  virtual conf::BackendOptions options() const = 0;
  // Rows as `a|b;c|d`, NULL for NULL.
  virtual std::string query(const std::string& sql) = 0;
  virtual std::string bytes_type() const = 0;  // a column of bytes
};

class AnySqliteDatabase final : public AnyDatabase {
 public:
  AnySqliteDatabase() : path_(folder_.file("shop.db")), outside_(path_) { outside_.run("PRAGMA journal_mode = WAL"); }
  conf::BackendOptions options() const override {
    conf::BackendOptions options;
    options.name = "shop";
    options.path = path_;
    return options;
  }
  std::string query(const std::string& sql) override {
    std::string rows = outside_.run(sql);
    for (std::size_t at = 0; (at = rows.find_first_of("~\n", at)) != std::string::npos;) {
      rows.replace(at, 1, rows[at] == '~' ? "NULL" : ";");
    }
    return rows;
  }
  std::string bytes_type() const override { return "BLOB"; }

 private:
  TemporaryFolder folder_;
  std::string path_;
  Outsider outside_;
};

inline conf::BackendOptions server_options(const servers::SqlDatabase& database) {
  conf::BackendOptions options;
  options.name = "shop";
  options.kind = database.engine() == servers::Engine::postgresql ? conf::BackendOptions::Kind::postgresql
                                                                  : conf::BackendOptions::Kind::mysql;
  options.endpoint = {conf::Endpoint::Kind::tcp, "127.0.0.1", static_cast<std::uint16_t>(database.port()), {}};
  options.user = servers::kUser;
  options.password = servers::kPassword;
  options.database = database.name();
  return options;
}

class AnyServerDatabase final : public AnyDatabase {
 public:
  explicit AnyServerDatabase(servers::Engine engine) : database_(engine) {}
  conf::BackendOptions options() const override { return server_options(database_); }
  std::string query(const std::string& sql) override { return database_.query(sql); }
  std::string bytes_type() const override {
    return database_.engine() == servers::Engine::postgresql ? "BYTEA" : "VARBINARY(64)";
  }

 private:
  servers::SqlDatabase database_;
};

inline std::unique_ptr<AnyDatabase> make_database(const std::string& engine) {
  if (engine == "sqlite") return std::make_unique<AnySqliteDatabase>();
  return std::make_unique<AnyServerDatabase>(engine == "postgresql" ? servers::Engine::postgresql
                                                                    : servers::Engine::mysql);
}

// A decision made of a function.
class Decision final : public RowDecision {
 public:
  explicit Decision(std::function<RowChange(const Row*)> decide) : decide_(std::move(decide)) {}
  RowChange decide(const Row* row) const override { return decide_(row); }

 private:
  const std::function<RowChange(const Row*)> decide_;
};

// Facts that hold on every engine; the parameter is its name.
class Conformance : public testing::TestWithParam<std::string> {
 protected:
  Conformance()
      : database(make_database(GetParam())), backend(make_backend(database->options())), session(backend->session()) {}

  Result run(const Op& op, Deadline deadline = soon()) { return session->run(op, deadline); }
  std::vector<Result> run_group(const std::vector<Op>& ops, Deadline deadline = soon()) {
    return session->run_group(pointers_to(ops), deadline);
  }
  std::string query(const std::string& sql) { return database->query(sql); }
  bool is(const char* engine) const { return GetParam() == engine; }

  // The engine's SQLSTATE for what the others call `common`.
  std::string sqlstate(const std::string& common) const {
    static const std::map<std::string, std::string> kMysql{{"42P01", "42S02"}, {"42703", "42S22"}, {"23505", "23000"},
                                                           {"23502", "23000"}, {"23503", "23000"}, {"23514", "23000"},
                                                           {"22P02", "22018"}, {"P0001", "45000"}};
    const auto found = kMysql.find(common);
    return is("mysql") && found != kMysql.end() ? found->second : common;
  }
  testing::AssertionResult fails(const Result& result, Failure failure, const std::string& common) const {
    return sql::fails(result, failure, sqlstate(common));
  }

  std::unique_ptr<AnyDatabase> database;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Session> session;
};

// The engines that are tested.
inline auto every_engine() { return testing::Values("sqlite", "postgresql", "mysql"); }
inline std::string engine_name(const testing::TestParamInfo<std::string>& info) { return info.param; }

}  // namespace sluice::sql

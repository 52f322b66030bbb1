// Tables: SQLite in a temporary folder, PostgreSQL and MariaDB on the servers that all tests share.
#include "tests/history/tables.h"

#include <mutex>
#include <sstream>

#include "tests/live/harness.h"
#include "tests/servers/sql_database.h"

namespace sluice::history {
namespace {

// Null when one of them fails.
std::unique_ptr<Session> tried(std::unique_ptr<Session> session, const std::vector<std::string>& statements) {
  try {
    for (const std::string& statement : statements) session->query(statement);
  } catch (const std::exception&) {
    return nullptr;
  }
  return session;
}

class SqliteSession : public Session {
 public:
  explicit SqliteSession(const std::string& path) : database_(path) {}
  std::string query(const std::string& sql) override { return database_.query(sql); }
  void exec(const std::string& statements) override { database_.exec(statements); }

 private:
  live::Database database_;
};

class SqliteTables : public Tables {
 public:
  SqliteTables() { live::Database(path()).exec("PRAGMA journal_mode = WAL"); }
  std::string url() const override { return "sqlite:" + path(); }
  int server_port() const override { return 0; }
  std::string url_through(int) const override { return url(); }
  std::unique_ptr<Session> connect() const override { return std::make_unique<SqliteSession>(path()); }
  std::unique_ptr<Session> lock(const std::string&, int) const override {
    auto session = connect();
    session->query("PRAGMA busy_timeout = 100");
    return tried(std::move(session), {"BEGIN IMMEDIATE"});
  }
  void end_sessions(Session&) const override {}

 private:
  std::string path() const { return dir_.file("shop.db"); }
  live::TempDir dir_;
};

class ServerSession : public Session {
 public:
  explicit ServerSession(std::unique_ptr<servers::SqlClient> client) : client_(std::move(client)) {}
  std::string query(const std::string& sql) override { return client_->query(sql); }

 private:
  std::unique_ptr<servers::SqlClient> client_;
};

class ServerTables : public Tables {
 public:
  explicit ServerTables(servers::Engine engine) : database_(engine) {}
  std::string url() const override { return database_.url(); }
  int server_port() const override { return database_.port(); }
  std::string url_through(int link) const override { return database_.url_through(link); }
  std::unique_ptr<Session> connect() const override {
    auto client = database_.connect();
    const std::string id = client->query(is_postgresql() ? "SELECT pg_backend_pid()" : "SELECT CONNECTION_ID()");
    const std::lock_guard lock(mutex_);
    own_ += ", " + id;
    return std::make_unique<ServerSession>(std::move(client));
  }
  std::unique_ptr<Session> lock(const std::string& table, int id) const override {
    if (is_postgresql()) {
      return tried(connect(), {"SET lock_timeout = 100", "BEGIN", "LOCK TABLE " + table + " IN EXCLUSIVE MODE"});
    }
    return tried(connect(), {"SET innodb_lock_wait_timeout = 1", "BEGIN",
                             "SELECT id FROM " + table + " WHERE id = " + std::to_string(id) + " FOR UPDATE"});
  }
  void end_sessions(Session& by) const override {
    std::unique_lock lock(mutex_);
    const std::string own = "(0" + own_ + ")";
    lock.unlock();
    if (is_postgresql()) {
      by.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
          "pid NOT IN " +
          own);
      return;
    }
    std::istringstream ids(
        by.query("SELECT GROUP_CONCAT(id SEPARATOR ' ') FROM information_schema.processlist WHERE "
                 "db = DATABASE() AND id NOT IN " +
                 own));
    for (std::string id; ids >> id;) {
      try {
        by.query("KILL " + id);
      } catch (const std::exception&) {
        // It has ended by itself.
      }
    }
  }

 private:
  std::string on_conflict() const override {
    return is_postgresql() ? Tables::on_conflict() : " ON DUPLICATE KEY UPDATE ";
  }
  std::string excluded(const std::string& column) const override {
    return is_postgresql() ? Tables::excluded(column) : "VALUES(" + column + ")";
  }
  bool is_postgresql() const { return database_.engine() == servers::Engine::postgresql; }

  servers::SqlDatabase database_;
  mutable std::mutex mutex_;
  mutable std::string own_;  // the checker's sessions, ", 7, 8"; guarded by mutex_
};

}  // namespace

const char* name(Engine engine) {
  switch (engine) {
    case Engine::sqlite:
      return "sqlite";
    case Engine::postgresql:
      return "postgresql";
    case Engine::mysql:
      return "mysql";
  }
  return "";
}

std::string Tables::upsert(const std::string& table, int id, const std::map<std::string, std::string>& columns) const {
  std::string names = "id";
  std::string values = std::to_string(id);
  std::string changes;
  for (const auto& [column, value] : columns) {
    names += ", " + column;
    values += ", '" + value + "'";
    changes += (changes.empty() ? "" : ", ") + column + " = " + excluded(column);
  }
  return "INSERT INTO " + table + " (" + names + ") VALUES (" + values + ")" + on_conflict() + changes;
}

std::unique_ptr<Tables> make_tables(Engine engine) {
  switch (engine) {
    case Engine::sqlite:
      break;
    case Engine::postgresql:
      return std::make_unique<ServerTables>(servers::Engine::postgresql);
    case Engine::mysql:
      return std::make_unique<ServerTables>(servers::Engine::mysql);
  }
  return std::make_unique<SqliteTables>();
}

}  // namespace sluice::history

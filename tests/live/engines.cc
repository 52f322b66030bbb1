// Engines, see engines.h.
#include "engines.h"

#include <utility>

#include "tests/servers/sql_database.h"

namespace sluice::live {
namespace {

servers::Engine server_of(Engine engine) {
  return engine == Engine::postgresql ? servers::Engine::postgresql : servers::Engine::mysql;
}

}  // namespace

std::string to_string(Engine engine) {
  switch (engine) {
    case Engine::sqlite:
      return "sqlite";
    case Engine::postgresql:
      return "postgresql";
    case Engine::mysql:
      return "mysql";
  }
  return {};
}

void PrintTo(Engine engine, std::ostream* out) { *out << to_string(engine); }

EngineDatabase::EngineDatabase(Engine engine, bool own_server) : engine_(engine) {
  if (engine == Engine::sqlite) {
    file_ = std::make_unique<Database>(dir_.file("shop.db"));
    file_->exec("PRAGMA journal_mode = WAL");
    return;
  }
  if (own_server)
    server_ = servers::start_server(server_of(engine), {.durable = true, .arguments = {}});  // it is killed
  const int port = own_server ? server_->port() : servers::shared_port(server_of(engine));
  database_ = std::make_unique<servers::SqlDatabase>(server_of(engine), port);
}

EngineDatabase::~EngineDatabase() = default;

std::string EngineDatabase::url() const { return file_ ? "sqlite:" + file_->path() : database_->url(); }

void EngineDatabase::exec(const std::string& sql) { file_ ? file_->exec(sql) : database_->exec(sql); }

// Over a connection of its own: the server may have been away.
std::string EngineDatabase::query(const std::string& sql) {
  return file_ ? file_->query(sql) : database_->connect()->query(sql);
}

std::unique_ptr<servers::SqlClient> EngineDatabase::connect() const { return database_->connect(); }

void EngineDatabase::exclude_others() { file_ ? file_->exec("BEGIN EXCLUSIVE") : server_->kill(); }

void EngineDatabase::admit_others() { file_ ? file_->exec("COMMIT") : server_->start(); }

void EngineDatabase::hold(const std::string& table) {
  switch (engine_) {
    case Engine::sqlite:
      // A connection in exclusive locking mode keeps even readers out of a WAL database.
      file_ = nullptr;
      file_ = std::make_unique<Database>(dir_.file("shop.db"));
      return file_->exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE");
    case Engine::postgresql:
      holder_ = database_->connect();
      holder_->query("BEGIN");
      holder_->query("LOCK TABLE " + table + " IN ACCESS EXCLUSIVE MODE");
      return;
    case Engine::mysql:
      holder_ = database_->connect();
      holder_->query("LOCK TABLES " + table + " WRITE");
      return;
  }
}

void EngineDatabase::release() {
  holder_.reset();
  if (!file_) return;
  file_ = nullptr;
  file_ = std::make_unique<Database>(dir_.file("shop.db"));
}

int EngineDatabase::queries_held() {
  switch (engine_) {
    case Engine::sqlite:
      break;
    case Engine::postgresql:
      return std::stoi(query(
          "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"));
    case Engine::mysql:
      return std::stoi(
          query("SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND state LIKE 'Waiting for "
                "table%'"));
  }
  return 0;
}

std::string Dialect::serial_key() const {
  switch (engine) {
    case Engine::sqlite:
      return "INTEGER PRIMARY KEY AUTOINCREMENT";
    case Engine::postgresql:
      return "SERIAL PRIMARY KEY";
    case Engine::mysql:
      return "INT AUTO_INCREMENT PRIMARY KEY";
  }
  return {};
}

std::string Dialect::key_text() const {
  return engine == Engine::mysql ? "VARCHAR(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin" : "VARCHAR(191)";
}

std::string Dialect::bytes() const {
  return engine == Engine::postgresql ? "BYTEA" : engine == Engine::mysql ? "LONGBLOB" : "BLOB";
}

std::string Dialect::text_of(const std::string& timestamp_column) const {
  if (engine == Engine::postgresql) return "to_char(" + timestamp_column + ", 'YYYY-MM-DD\"T\"HH24:MI:SS')";
  if (engine == Engine::mysql) return "DATE_FORMAT(" + timestamp_column + ", '%Y-%m-%dT%H:%i:%s')";
  return timestamp_column;
}

EngineRig::EngineRig(Engine engine, const std::string& schema, const std::string& policies, SluiceOptions given,
                     bool own_server)
    : db(engine, own_server),
      options([&] {
        db.exec(schema);
        given.upstream = redis.url();
        given.policies = "[backend.shop]\nurl = \"" + db.url() + "\"\n" + policies;
        return std::move(given);
      }()),
      sluice(options) {}

}  // namespace sluice::live

// Tables, see load_tables.h.
#include "load_tables.h"

#include <libpq-fe.h>
#include <mysql.h>
#include <stdexcept>

#include <CLI/CLI.hpp>
#include <hiredis/hiredis.h>
#include <sqlite3.h>

namespace sluice::bench {
namespace {

class PostgresTable final : public Table {
 public:
  explicit PostgresTable(int port)
      : connection_(PQconnectdb(("host=127.0.0.1 user=bench dbname=bench port=" + std::to_string(port)).c_str()),
                    PQfinish) {
    if (PQstatus(connection_.get()) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(connection_.get()));
    check(PQprepare(connection_.get(), "write",
                    R"(INSERT INTO "user" (id, name, age, occupation) VALUES ($1, $2, $3, $4) ON CONFLICT (id) )"
                    "DO UPDATE SET name = EXCLUDED.name, age = EXCLUDED.age, occupation = EXCLUDED.occupation",
                    4, nullptr));
    check(
        PQprepare(connection_.get(), "read", R"(SELECT name, age, occupation FROM "user" WHERE id = $1)", 1, nullptr));
  }

  void write(const User& user) override {
    const std::string id = std::to_string(user.id);
    const std::string age = std::to_string(user.age);
    const char* const values[] = {id.c_str(), user.name.c_str(), age.c_str(), user.occupation.c_str()};
    check(PQexecPrepared(connection_.get(), "write", 4, values, nullptr, nullptr, 0));
  }

  std::optional<User> read(int id) override {
    const std::string text = std::to_string(id);
    const char* const values[] = {text.c_str()};
    const Result result = check(PQexecPrepared(connection_.get(), "read", 1, values, nullptr, nullptr, 0));
    if (PQntuples(result.get()) == 0) return std::nullopt;
    return User{id, std::stoi(PQgetvalue(result.get(), 0, 1)), PQgetvalue(result.get(), 0, 0),
                PQgetvalue(result.get(), 0, 2)};
  }

 private:
  using Result = std::unique_ptr<PGresult, void (*)(PGresult*)>;

  Result check(PGresult* result) {
    Result owned(result, PQclear);
    const auto status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
      throw std::runtime_error(PQerrorMessage(connection_.get()));
    }
    return owned;
  }

  std::unique_ptr<PGconn, void (*)(PGconn*)> connection_;
};

class MariadbTable final : public Table {
 public:
  explicit MariadbTable(int port) : connection_(mysql_init(nullptr), mysql_close) {
    if (mysql_real_connect(connection_.get(), "127.0.0.1", "bench", "bench", "bench", static_cast<unsigned>(port),
                           nullptr, 0) == nullptr) {
      throw std::runtime_error(mysql_error(connection_.get()));
    }
    write_ = prepare(
        "INSERT INTO `user` (id, name, age, occupation) VALUES (?, ?, ?, ?) ON DUPLICATE KEY "
        "UPDATE name = VALUES(name), age = VALUES(age), occupation = VALUES(occupation)");
    read_ = prepare("SELECT name, age, occupation FROM `user` WHERE id = ?");
  }

  void write(const User& user) override {
    User copy = user;
    MYSQL_BIND values[4] = {};
    bind(values[0], copy.id);
    bind(values[1], copy.name);
    bind(values[2], copy.age);
    bind(values[3], copy.occupation);
    check(*write_, mysql_stmt_bind_param(write_.get(), values));
    check(*write_, mysql_stmt_execute(write_.get()));
  }

  std::optional<User> read(int id) override {
    MYSQL_BIND key[1] = {};
    bind(key[0], id);
    check(*read_, mysql_stmt_bind_param(read_.get(), key));
    check(*read_, mysql_stmt_execute(read_.get()));
    User user{id, 0, std::string(kTextMax, '\0'), std::string(kTextMax, '\0')};
    unsigned long name_size = 0;
    unsigned long occupation_size = 0;
    MYSQL_BIND found[3] = {};
    bind(found[0], user.name);
    found[0].length = &name_size;
    bind(found[1], user.age);
    bind(found[2], user.occupation);
    found[2].length = &occupation_size;
    check(*read_, mysql_stmt_bind_result(read_.get(), found));
    check(*read_, mysql_stmt_store_result(read_.get()));
    const int fetched = mysql_stmt_fetch(read_.get());
    mysql_stmt_free_result(read_.get());
    if (fetched == MYSQL_NO_DATA) return std::nullopt;
    check(*read_, fetched);
    user.name.resize(name_size);
    user.occupation.resize(occupation_size);
    return user;
  }

 private:
  using Statement = std::unique_ptr<MYSQL_STMT, my_bool (*)(MYSQL_STMT*)>;
  static constexpr std::size_t kTextMax = 100;  // of a column

  Statement prepare(const std::string& sql) {
    Statement statement(mysql_stmt_init(connection_.get()), mysql_stmt_close);
    check(*statement, mysql_stmt_prepare(statement.get(), sql.data(), sql.size()));
    return statement;
  }
  static void bind(MYSQL_BIND& bind, int& value) {
    bind.buffer_type = MYSQL_TYPE_LONG;
    bind.buffer = &value;
  }
  static void bind(MYSQL_BIND& bind, std::string& value) {
    bind.buffer_type = MYSQL_TYPE_STRING;
    bind.buffer = value.data();
    bind.buffer_length = value.size();
  }
  static void check(MYSQL_STMT& statement, int failed) {
    if (failed != 0) throw std::runtime_error(mysql_stmt_error(&statement));
  }

  std::unique_ptr<MYSQL, void (*)(MYSQL*)> connection_;
  Statement write_{nullptr, mysql_stmt_close};
  Statement read_{nullptr, mysql_stmt_close};
};

class SqliteTable final : public Table {
 public:
  explicit SqliteTable(const std::string& file) : database_(open(file), sqlite3_close) {
    sqlite3_busy_timeout(database_.get(), 60000);
    check(sqlite3_exec(database_.get(), "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", nullptr, nullptr, nullptr));
    write_ = prepare(
        "INSERT INTO user (id, name, age, occupation) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO "
        "UPDATE SET name = excluded.name, age = excluded.age, occupation = excluded.occupation");
    read_ = prepare("SELECT name, age, occupation FROM user WHERE id = ?");
  }

  void write(const User& user) override {
    sqlite3_stmt* const statement = write_.get();
    sqlite3_bind_int(statement, 1, user.id);
    sqlite3_bind_text(statement, 2, user.name.c_str(), -1, SQLITE_STATIC);
    sqlite3_bind_int(statement, 3, user.age);
    sqlite3_bind_text(statement, 4, user.occupation.c_str(), -1, SQLITE_STATIC);
    sqlite3_step(statement);
    check(sqlite3_reset(statement));
  }

  std::optional<User> read(int id) override {
    sqlite3_stmt* const statement = read_.get();
    sqlite3_bind_int(statement, 1, id);
    std::optional<User> user;
    if (sqlite3_step(statement) == SQLITE_ROW) {
      user = User{id, sqlite3_column_int(statement, 1), text(0), text(2)};
    }
    check(sqlite3_reset(statement));
    return user;
  }

 private:
  using Statement = std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)>;

  static sqlite3* open(const std::string& file) {
    sqlite3* database = nullptr;
    sqlite3_open(file.c_str(), &database);
    return database;
  }
  Statement prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    check(sqlite3_prepare_v2(database_.get(), sql, -1, &statement, nullptr));
    return {statement, sqlite3_finalize};
  }
  std::string text(int column) const { return reinterpret_cast<const char*>(sqlite3_column_text(read_.get(), column)); }
  void check(int code) {
    if (code != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(database_.get()));
  }

  std::unique_ptr<sqlite3, int (*)(sqlite3*)> database_;
  Statement write_{nullptr, sqlite3_finalize};
  Statement read_{nullptr, sqlite3_finalize};
};

using Reply = std::unique_ptr<redisReply, void (*)(void*)>;

Reply checked(const redisContext& connection, void* answer, int type) {
  Reply reply(static_cast<redisReply*>(answer), freeReplyObject);
  if (reply == nullptr) throw std::runtime_error(std::string("Redis: ") + connection.errstr);
  if (reply->type != type && reply->type != REDIS_REPLY_NIL) throw std::runtime_error({reply->str, reply->len});
  return reply;
}

}  // namespace

std::string json(const User& user) {
  return R"({"id":)" + std::to_string(user.id) + R"(,"name":")" + user.name + R"(","age":)" + std::to_string(user.age) +
         R"(,"occupation":")" + user.occupation + "\"}";
}

void DatabaseOptions::add_to(CLI::App& app) {
  app.add_option("--database", name, "postgresql, mariadb or sqlite; without one the clients only use --redis-port");
  app.add_option("--file", file, "of the SQLite database");
  app.add_option("--sql-port", port);
}

std::unique_ptr<Table> open_table(const DatabaseOptions& options) {
  if (options.name == "postgresql") return std::make_unique<PostgresTable>(options.port);
  if (options.name == "mariadb") return std::make_unique<MariadbTable>(options.port);
  if (options.name == "sqlite") return std::make_unique<SqliteTable>(options.file);
  return nullptr;
}

Cache::Cache(int port) : connection_(redisConnect("127.0.0.1", port), redisFree) {
  if (connection_ == nullptr || connection_->err != 0) throw std::runtime_error("Redis: no connection");
}

void Cache::set(const std::string& key, const std::string& value) {
  checked(*connection_,
          redisCommand(connection_.get(), "SET %b %b", key.data(), key.size(), value.data(), value.size()),
          REDIS_REPLY_STATUS);
}

void Cache::set(const std::string& key, const std::string& value, int ttl_ms) {
  checked(
      *connection_,
      redisCommand(connection_.get(), "SET %b %b PX %d", key.data(), key.size(), value.data(), value.size(), ttl_ms),
      REDIS_REPLY_STATUS);
}

std::optional<std::string> Cache::get(const std::string& key) {
  const Reply reply =
      checked(*connection_, redisCommand(connection_.get(), "GET %b", key.data(), key.size()), REDIS_REPLY_STRING);
  if (reply->type == REDIS_REPLY_NIL) return std::nullopt;
  return std::string(reply->str, reply->len);
}

}  // namespace sluice::bench

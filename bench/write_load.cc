// write_load: clients that each write one row after the other, to SQL and then to Redis or through sluice, and their
// latencies; driven by write_through.py.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <libpq-fe.h>
#include <memory>
#include <mutex>
#include <mysql.h>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <hiredis/hiredis.h>
#include <sqlite3.h>

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string database;  // postgresql, mariadb, sqlite; empty: only SET, which is what a client of sluice does
  std::string file;      // of SQLite
  int sql_port = 0;
  int redis_port = 0;
  int clients = 1;
  int rows = 100000;
  double seconds = 1;
  double warm_up = 0.3;
};

struct User {
  int id, age;
  std::string name, occupation;
};

// About 100 bytes.
std::string json(const User& user) {
  return R"({"id":)" + std::to_string(user.id) + R"(,"name":")" + user.name + R"(","age":)" + std::to_string(user.age) +
         R"(,"occupation":")" + user.occupation + "\"}";
}

// The table, as an application without a proxy writes it: one statement that is committed by itself.
class Table {
 public:
  Table() = default;
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  virtual ~Table() = default;
  virtual void write(const User& user) = 0;
};

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
  }

  void write(const User& user) override {
    const std::string id = std::to_string(user.id);
    const std::string age = std::to_string(user.age);
    const char* const values[] = {id.c_str(), user.name.c_str(), age.c_str(), user.occupation.c_str()};
    check(PQexecPrepared(connection_.get(), "write", 4, values, nullptr, nullptr, 0));
  }

 private:
  void check(PGresult* result) {
    const bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    if (!ok) throw std::runtime_error(PQerrorMessage(connection_.get()));
  }

  std::unique_ptr<PGconn, void (*)(PGconn*)> connection_;
};

class MariadbTable final : public Table {
 public:
  explicit MariadbTable(int port)
      : connection_(mysql_init(nullptr), mysql_close), statement_(nullptr, mysql_stmt_close) {
    if (mysql_real_connect(connection_.get(), "127.0.0.1", "bench", "bench", "bench", static_cast<unsigned>(port),
                           nullptr, 0) == nullptr) {
      throw std::runtime_error(mysql_error(connection_.get()));
    }
    statement_.reset(mysql_stmt_init(connection_.get()));
    const std::string sql =
        "INSERT INTO `user` (id, name, age, occupation) VALUES (?, ?, ?, ?) ON DUPLICATE KEY "
        "UPDATE name = VALUES(name), age = VALUES(age), occupation = VALUES(occupation)";
    check(mysql_stmt_prepare(statement_.get(), sql.data(), sql.size()));
  }

  void write(const User& user) override {
    User copy = user;
    MYSQL_BIND values[4] = {};
    bind(values[0], copy.id);
    bind(values[1], copy.name);
    bind(values[2], copy.age);
    bind(values[3], copy.occupation);
    check(mysql_stmt_bind_param(statement_.get(), values));
    check(mysql_stmt_execute(statement_.get()));
  }

 private:
  static void bind(MYSQL_BIND& bind, int& value) {
    bind.buffer_type = MYSQL_TYPE_LONG;
    bind.buffer = &value;
  }
  static void bind(MYSQL_BIND& bind, std::string& value) {
    bind.buffer_type = MYSQL_TYPE_STRING;
    bind.buffer = value.data();
    bind.buffer_length = value.size();
  }
  void check(int failed) {
    if (failed != 0) throw std::runtime_error(mysql_stmt_error(statement_.get()));
  }

  std::unique_ptr<MYSQL, void (*)(MYSQL*)> connection_;
  std::unique_ptr<MYSQL_STMT, my_bool (*)(MYSQL_STMT*)> statement_;
};

class SqliteTable final : public Table {
 public:
  explicit SqliteTable(const std::string& file)
      : database_(open(file), sqlite3_close), statement_(nullptr, sqlite3_finalize) {
    sqlite3_busy_timeout(database_.get(), 60000);
    check(sqlite3_exec(database_.get(), "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", nullptr, nullptr, nullptr));
    sqlite3_stmt* statement = nullptr;
    check(sqlite3_prepare_v2(database_.get(),
                             "INSERT INTO user (id, name, age, occupation) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO "
                             "UPDATE SET name = excluded.name, age = excluded.age, occupation = excluded.occupation",
                             -1, &statement, nullptr));
    statement_.reset(statement);
  }

  void write(const User& user) override {
    sqlite3_stmt* const statement = statement_.get();
    sqlite3_bind_int(statement, 1, user.id);
    sqlite3_bind_text(statement, 2, user.name.c_str(), -1, SQLITE_STATIC);
    sqlite3_bind_int(statement, 3, user.age);
    sqlite3_bind_text(statement, 4, user.occupation.c_str(), -1, SQLITE_STATIC);
    sqlite3_step(statement);
    check(sqlite3_reset(statement));
  }

 private:
  static sqlite3* open(const std::string& file) {
    sqlite3* database = nullptr;
    sqlite3_open(file.c_str(), &database);
    return database;
  }
  void check(int code) {
    if (code != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(database_.get()));
  }

  std::unique_ptr<sqlite3, int (*)(sqlite3*)> database_;
  std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> statement_;
};

std::unique_ptr<Table> open_table(const Options& options) {
  if (options.database == "postgresql") return std::make_unique<PostgresTable>(options.sql_port);
  if (options.database == "mariadb") return std::make_unique<MariadbTable>(options.sql_port);
  if (options.database == "sqlite") return std::make_unique<SqliteTable>(options.file);
  return nullptr;
}

class Cache {
 public:
  explicit Cache(int port) : connection_(redisConnect("127.0.0.1", port), redisFree) {
    if (connection_ == nullptr || connection_->err != 0) throw std::runtime_error("Redis: no connection");
  }

  void set(const std::string& key, const std::string& value) {
    const std::unique_ptr<redisReply, void (*)(void*)> reply(
        static_cast<redisReply*>(
            redisCommand(connection_.get(), "SET %b %b", key.data(), key.size(), value.data(), value.size())),
        freeReplyObject);
    if (reply == nullptr) throw std::runtime_error(std::string("Redis: ") + connection_->errstr);
    if (reply->type != REDIS_REPLY_STATUS) throw std::runtime_error(std::string(reply->str, reply->len));
  }

 private:
  std::unique_ptr<redisContext, void (*)(redisContext*)> connection_;
};

// Where the clients are told to begin and to end.
struct Signals {
  std::atomic<bool> measuring = false;
  std::atomic<bool> over = false;
};

class Client {
 public:
  Client(const Options& options, unsigned number)
      : table_(open_table(options)), cache_(options.redis_port), random_(number), ids_(1, options.rows) {}

  void run(const Signals& signals) {
    while (!signals.over) {
      const User user = next();
      const auto began = Clock::now();
      const bool counts = signals.measuring;
      if (table_ != nullptr) table_->write(user);
      cache_.set("user:" + std::to_string(user.id), json(user));
      if (counts && !signals.over) latencies_.push_back(Clock::now() - began);
    }
  }

  const std::vector<Clock::duration>& latencies() const { return latencies_; }

 private:
  User next() {
    const int id = ids_(random_);
    const std::string change = std::to_string(random_());  // no two values alike
    return {id, 18 + id % 60, "Name " + std::to_string(id) + " " + change, "occupation number " + change};
  }

  std::unique_ptr<Table> table_;
  Cache cache_;
  std::minstd_rand random_;
  std::uniform_int_distribution<int> ids_;
  std::vector<Clock::duration> latencies_;
};

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

std::vector<double> sorted_milliseconds(const std::vector<std::unique_ptr<Client>>& clients) {
  std::vector<double> all;
  for (const auto& client : clients) {
    for (const auto& took : client->latencies()) all.push_back(std::chrono::duration<double, std::milli>(took).count());
  }
  std::sort(all.begin(), all.end());
  return all;
}

double percentile(const std::vector<double>& sorted, double share) {
  return sorted.empty() ? 0 : sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

// Says "ready" when all are connected and warm, measures after each line that it is given, and answers with one.
class Load {
 public:
  explicit Load(const Options& options) : options_(options) {
    for (int i = 0; i < options.clients; ++i) {
      clients_.push_back(std::make_unique<Client>(options, std::random_device{}()));
    }
  }

  void run() {
    for (auto& client : clients_) threads_.emplace_back([this, &client] { run(*client); });
    std::this_thread::sleep_for(std::chrono::duration<double>(options_.warm_up));
    std::cout << "ready" << std::endl;
    std::string line;
    std::getline(std::cin, line);
    const double cpu = cpu_seconds();
    const auto began = Clock::now();
    signals_.measuring = true;
    std::this_thread::sleep_for(std::chrono::duration<double>(options_.seconds));
    signals_.over = true;
    const std::chrono::duration<double> took = Clock::now() - began;
    const double used = cpu_seconds() - cpu;
    for (auto& thread : threads_) thread.join();
    if (failure_) std::rethrow_exception(failure_);
    report(took.count(), used);
    std::getline(std::cin, line);  // the connections live until the caller has looked at the servers
  }

 private:
  void run(Client& client) {
    try {
      client.run(signals_);
    } catch (const std::exception&) {
      const std::lock_guard lock(mutex_);
      failure_ = std::current_exception();
      signals_.over = true;
    }
  }

  void report(double seconds, double cpu) const {
    const std::vector<double> sorted = sorted_milliseconds(clients_);
    std::cout << R"({"writes": )" << sorted.size() << R"(, "seconds": )" << seconds << R"(, "cpu": )" << cpu
              << R"(, "p50": )" << percentile(sorted, 0.5) << R"(, "p99": )" << percentile(sorted, 0.99)
              << R"(, "max": )" << percentile(sorted, 1) << "}" << std::endl;
  }

  const Options options_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::thread> threads_;
  Signals signals_;
  std::mutex mutex_;
  std::exception_ptr failure_;  // guarded by mutex_ until the threads have ended
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Writes users from many clients at a time");
  app.add_option("--database", options.database, "postgresql, mariadb or sqlite; without one SET alone");
  app.add_option("--file", options.file, "of the SQLite database");
  app.add_option("--sql-port", options.sql_port);
  app.add_option("--redis-port", options.redis_port, "of Redis, or of sluice")->required();
  app.add_option("--clients", options.clients)->check(CLI::PositiveNumber);
  app.add_option("--rows", options.rows)->check(CLI::PositiveNumber);
  app.add_option("--seconds", options.seconds)->check(CLI::PositiveNumber);
  app.add_option("--warm-up", options.warm_up, "seconds")->check(CLI::NonNegativeNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    Load(options).run();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "write_load: " << error.what() << '\n';
    return 1;
  }
}

// Tables: a table of users, and a cache, as an application without a proxy uses them.
#pragma once

#include <memory>
#include <optional>
#include <string>

struct redisContext;

namespace CLI {
class App;
}

namespace sluice::bench {

struct User {
  int id, age;
  std::string name, occupation;
};
std::string json(const User& user);  // about 100 bytes

struct DatabaseOptions {
  std::string name;  // postgresql, mariadb, sqlite; empty: none
  std::string file;  // of SQLite
  int port = 0;
  void add_to(CLI::App& app);
};

// A connection; every statement is prepared once, and committed by itself. Throws what the database says.
class Table {
 public:
  Table() = default;
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  virtual ~Table() = default;
  virtual void write(const User& user) = 0;
  virtual std::optional<User> read(int id) = 0;
};
std::unique_ptr<Table> open_table(const DatabaseOptions& options);  // null: no database

// A connection to Redis, or to sluice. Throws unless the reply is what it should be.
class Cache {
 public:
  explicit Cache(int port);
  void set(const std::string& key, const std::string& value);
  void set(const std::string& key, const std::string& value, int ttl_ms);
  std::optional<std::string> get(const std::string& key);

 private:
  std::unique_ptr<redisContext, void (*)(redisContext*)> connection_;
};

}  // namespace sluice::bench

// Tables: the database behind the proxies, in each of its kinds, as the checker sees it from outside.
#pragma once

#include <map>
#include <memory>
#include <ostream>
#include <string>

namespace sluice::history {

enum class Engine : std::uint8_t { sqlite, postgresql, mysql };
const char* name(Engine engine);
inline void PrintTo(Engine engine, std::ostream* out) { *out << name(engine); }

// A connection to the database, for one thread at a time. Errors throw std::runtime_error.
class Session {
 public:
  virtual ~Session() = default;
  virtual std::string query(const std::string& sql) = 0;  // rows as `a|b;c|d`, NULL for NULL
  virtual void exec(const std::string& statements) { query(statements); }
};

class Tables {
 public:
  virtual ~Tables() = default;
  virtual std::string url() const = 0;                  // of the backend
  virtual int server_port() const = 0;                  // 0: there is no server, and nothing to put a link before
  virtual std::string url_through(int link) const = 0;  // of the backend behind a link on this port
  virtual std::unique_ptr<Session> connect() const = 0;
  // A session that keeps writers off the row until it ends; null when it would have to wait for somebody else.
  virtual std::unique_ptr<Session> lock(const std::string& table, int id) const = 0;
  // Ends all sessions that connect() did not make, as an administrator would; SQLite has none.
  virtual void end_sessions(Session& by) const = 0;
  // A statement that sets these columns of the row with this id, of a new one when there is none.
  std::string upsert(const std::string& table, int id, const std::map<std::string, std::string>& columns) const;

 protected:
  virtual std::string on_conflict() const { return " ON CONFLICT (id) DO UPDATE SET "; }
  virtual std::string excluded(const std::string& column) const { return "excluded." + column; }
};

// A new, empty database.
std::unique_ptr<Tables> make_tables(Engine engine);

}  // namespace sluice::history

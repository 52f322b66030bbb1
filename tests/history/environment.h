// Environment: Redis, a database and several proxies with links between them; one serves many trials.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "tests/history/fault_link.h"
#include "tests/history/sabotage.h"
#include "tests/history/schedule.h"
#include "tests/history/tables.h"
#include "tests/live/harness.h"

namespace sluice::history {

inline constexpr milliseconds kFuse{100};
inline constexpr milliseconds kWriteTimeout{300};
inline constexpr milliseconds kLease{500};  // load_timeout
// How long a copy may be stale after a crash: the arm outlives the write by two seconds, and a copy made then burns.
inline constexpr milliseconds kAllowance = kWriteTimeout + milliseconds{2000} + kFuse;

// A sluice with its links.
struct Proxy {
  std::unique_ptr<FaultLink> redis_link;
  std::unique_ptr<FaultLink> sql_link;  // null: the database is a file
  std::unique_ptr<live::Sluice> sluice;
  std::atomic<pid_t> pid{-1};  // for signals from any thread; -1 while it is dead
};

// Used on the thread that made it, but for the links and what is said otherwise.
class Environment {
 public:
  // With the policies whose rows are recorded in an outbox, or with all others: consumers never leave SQL alone.
  Environment(Engine engine, int proxies, bool outbox = false);

  int proxies() const { return static_cast<int>(proxies_.size()); }
  Proxy& proxy(int index) { return *proxies_[static_cast<std::size_t>(index)]; }
  live::RedisServer& redis() { return redis_; }
  const Tables& tables() const { return *tables_; }
  bool has_sql_links() const { return tables_->server_port() != 0; }
  Session& session() { return *session_; }
  // Applied to every command of the proxies, when there is one.
  const Sabotage* sabotage = nullptr;
  int next_id() { return ++last_id_; }  // of rows, so that trials share none

  void signal(int proxy, int number);  // any thread
  void kill_redis();                   // any thread
  void bring_back(int proxy);          // after SIGKILL
  void bring_back_redis(bool empty);
  // Everything is connected to everything again.
  void await_health();

 private:
  void create(const std::string& table);
  void record(const Shape& shape);
  live::SluiceOptions options(const Proxy& proxy) const;

  std::vector<Shape> shapes_;
  live::RedisServer redis_;
  std::atomic<pid_t> redis_pid_;
  std::unique_ptr<Tables> tables_;
  std::unique_ptr<Session> session_;
  std::vector<std::unique_ptr<Proxy>> proxies_;
  int last_id_ = 0;
};

}  // namespace sluice::history

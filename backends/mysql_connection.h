// MysqlConnection: one connection to a MySQL or MariaDB server, with deadlines, cached statements and classified
// errors.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backends/mysql_watchdog.h"
#include "backends/sql.h"

struct st_mysql;
struct st_mysql_stmt;

namespace sluice::conf {
struct BackendOptions;
}

namespace sluice::sql {

// Used by one thread at a time. Never throws. Connects again, with growing pauses between attempts, after a loss.
class MysqlConnection {
 public:
  // How long a statement may wait for the locks of others.
  enum class Patience : std::uint8_t {
    deadline,  // until the deadline
    brief,     // for a moment: others wait in the same transaction
  };

  explicit MysqlConnection(std::shared_ptr<const conf::BackendOptions> options);
  ~MysqlConnection();
  MysqlConnection(const MysqlConnection&) = delete;
  MysqlConnection& operator=(const MysqlConnection&) = delete;

  // Begins the work on `op`, which messages will name: connects when there is no connection. Nothing lasts longer than
  // `deadline`, to which the server holds itself too; the watchdog sees to the rest. `op` must live until the next
  // call.
  Error prepare_for(const Op& op, Deadline deadline, Patience patience);
  void name_in_messages(const Op& op) { op_ = &op; }
  void finish();  // nothing is awaited until the next prepare_for()

  Error read();       // from here on each statement is a transaction of its own
  Error only_read();  // the same, and it must not change anything
  Error write();      // from here on statements are of one transaction, until commit() or rollback()
  // Not sent when the time is over. Failure::unknown only when nobody can tell; otherwise nothing was applied.
  Error commit();
  void rollback();
  // Whether the transaction of write() is still there after a statement that failed.
  bool still_in_transaction();

  // Ends the connection, of whose answer the rest is not wanted.
  void abandon();

  Error execute(std::string_view sql);  // a statement that has neither parameters nor rows

  bool is_mariadb() const { return is_mariadb_; }
  bool expired() const { return std::chrono::steady_clock::now() >= deadline_; }
  Deadline deadline() const { return deadline_; }
  unsigned last_code() const { return last_code_; }  // the server's number for the last failure, see mysql_errors.h
  // The connection was there before the operation and is gone, through no deadline and before a COMMIT: a new one may
  // do better.
  bool was_stale() const { return stale_; }
  int connections() const { return connections_; }  // so far
  // What triggers find in @sluice_writer from here on; nothing is sent when it is there already.
  Error mark(const std::string& writer);
  std::size_t packet_max() const { return packet_max_; }

  // To be put before a statement that may wait for a lock and has so many bytes of values.
  std::string lock_limit(std::size_t bytes) const;

  // An error of ours rather than the server's, in the same form.
  Error error(Failure failure, std::string_view sqlstate, std::string_view what) const;

 private:
  friend class MysqlQuery;
  friend Error mysql_describe_statement(MysqlConnection&, std::string_view, std::size_t, std::vector<Column>&);
  struct Prepared {
    st_mysql_stmt* statement = nullptr;
    std::list<const std::string*>::iterator recent;
  };

  Error connect();
  void set_options();
  void set_tls();
  Error log_in();
  Error begin_session();
  Error limit_statements();
  Error set_read_only(bool wanted);
  Error not_yet() const;
  void back_off(const Error& error);
  void close();

  Prepared* prepare(std::string_view sql, Error& error);
  void forget(std::string_view sql);
  void forget_oldest();
  Error failure(unsigned code, const char* sqlstate, const char* text);
  Error connection_failure();

  const std::shared_ptr<const conf::BackendOptions> options_;
  st_mysql* mysql_ = nullptr;
  std::unique_ptr<MysqlWatchdog::Watch> watch_;  // of the open connection
  bool is_mariadb_ = false;
  bool lost_ = false;    // to be opened again before the next operation
  bool reused_ = false;  // it was open before the operation
  bool stale_ = false;
  bool read_only_ = false;  // transactions of this session
  int connections_ = 0;
  unsigned last_code_ = 0;
  std::string mark_;            // as the server knows it
  std::size_t packet_max_ = 0;  // bytes

  Deadline deadline_;
  Patience patience_ = Patience::deadline;
  std::chrono::milliseconds limit_{0};  // of a statement, as the server knows it; 0: none
  const Op* op_ = nullptr;

  Deadline next_attempt_ = Deadline::min();
  std::chrono::milliseconds pause_{0};
  Error last_attempt_;

  std::unordered_map<std::string, Prepared> statements_;  // by SQL text
  std::list<const std::string*> recent_;                  // their keys, latest first
};

// `name`, with the backquotes inside doubled; `schema`.`name` for a table's name with a dot.
std::string mysql_quoted(std::string_view name);
std::string mysql_quoted_table(std::string_view name);

}  // namespace sluice::sql

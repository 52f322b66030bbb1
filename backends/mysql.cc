// The MySQL and MariaDB backend: sessions of one connection each, and their transactions.
#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "backends/mysql_connection.h"
#include "backends/mysql_counters.h"
#include "backends/mysql_durability.h"
#include "backends/mysql_errors.h"
#include "backends/mysql_group.h"
#include "backends/mysql_outbox.h"
#include "backends/mysql_query.h"
#include "backends/mysql_read_query.h"
#include "backends/mysql_rows.h"
#include "backends/mysql_schema.h"
#include "backends/mysql_statements.h"
#include "backends/outbox.h"
#include "backends/parts.h"
#include "backends/sql.h"
#include "conf/config.h"

namespace sluice::sql {

namespace {

using Patience = MysqlConnection::Patience;

class MysqlSession final : public Session {
 public:
  explicit MysqlSession(const std::shared_ptr<const conf::BackendOptions>& options)
      : database_(options->database), connection_(options) {}

  Result run(const Op& op, Deadline deadline) override {
    Result result = run_once(op, deadline);
    if (!result.ok() && may_reconnect()) result = run_once(op, deadline);
    connection_.finish();
    return result;
  }

  std::vector<Result> run_group(std::span<const Op* const> ops, Deadline deadline) override {
    std::vector<Result> results(ops.size());
    if (ops.empty()) return results;
    const Error error = run_group_once(ops, deadline, results);
    if (error.failure != Failure::none && may_reconnect()) run_group_once(ops, deadline, results);
    connection_.finish();
    return results;
  }

 private:
  // The server may have closed a connection that was idle. Nothing has been applied: COMMIT was not sent.
  bool may_reconnect() const { return connection_.was_stale() && !connection_.expired(); }

  Result run_once(const Op& op, Deadline deadline) {
    Error error = connection_.prepare_for(op, deadline, Patience::deadline);
    if (error.failure != Failure::none) return failed(std::move(error));
    if (is_write(op)) return write_alone(op);
    error = connection_.read();
    if (error.failure != Failure::none) return failed(std::move(error));
    return std::visit([&](const auto& read) { return this->read(read); }, op);
  }

  // A deadlock has undone everything, and is over: it is tried again for as long as there is time.
  Result write_alone(const Op& op) {
    for (;;) {
      Result result = write_once(op);
      if (result.ok() || connection_.last_code() != kMysqlDeadlock || connection_.expired()) return result;
      mysql_pause_after_deadlock();
    }
  }

  Result write_once(const Op& op) {
    Error error = connection_.write();
    if (error.failure == Failure::none) error = connection_.mark(outbox_mark(op));
    if (error.failure != Failure::none) return failed(std::move(error));
    Result result = write(op);
    const bool refused = std::holds_alternative<WriteRows>(op) && result.affected == 0;
    if (!result.ok() || refused) {
      connection_.rollback();
      return result;
    }
    error = connection_.commit();
    return error.failure == Failure::none ? result : failed(std::move(error));
  }

  Error run_group_once(std::span<const Op* const> ops, Deadline deadline, std::vector<Result>& results) {
    Error error = connection_.prepare_for(*ops[0], deadline, Patience::brief);
    if (error.failure == Failure::none) return MysqlGroup(connection_, schema_, ops, results).run();
    std::fill(results.begin(), results.end(), failed(error));
    return error;
  }

  Result read(const Ping&) { return failed(connection_.execute("DO 1")); }
  Result read(const ReadRow& op) { return mysql_run(connection_, schema_, op); }
  Result read(const ReadRows& op) { return mysql_run(connection_, schema_, op); }
  Result read(const ListRows& op) { return mysql_run(connection_, schema_, op); }
  Result read(const ReadCounter& op) { return mysql_run(connection_, schema_, op); }
  Result read(const ReadOutbox& op) { return mysql_run(connection_, op); }
  Result read(const CheckOutbox& op) { return mysql_run(connection_, op, database_); }
  Result read(const Describe& op) {
    MysqlTable found;
    Result result = failed(mysql_describe(connection_, op.table, found));
    if (result.ok()) result.table = std::move(found.table);
    return result;
  }
  Result read(const ReadQuery& op) { return mysql_run(connection_, op); }
  Result read(const DescribeQuery& op) { return mysql_run(connection_, op); }
  Result read(const CheckDurability&) { return mysql_check_durability(connection_); }
  template <class Write>
  Result read(const Write&) {
    return {};  // run_once() has sent it to write_alone()
  }

  Result write(const Op& op) {
    if (const auto* flush = std::get_if<FlushCounters>(&op)) return mysql_run(connection_, schema_, *flush);
    if (const auto* rows = std::get_if<WriteRows>(&op)) return write(*rows);
    if (const auto* entries = std::get_if<ForgetOutbox>(&op)) return mysql_run(connection_, *entries);
    return mysql_write_row(connection_, schema_, op);
  }

  Result write(const WriteRows& op) {
    return write_each(op, [&](const auto& part) { return mysql_run(connection_, schema_, part); });
  }

  const std::string database_;
  MysqlConnection connection_;
  MysqlSchema schema_;
};

class MysqlBackend final : public Backend {
 public:
  explicit MysqlBackend(const conf::BackendOptions& options)
      : options_(std::make_shared<const conf::BackendOptions>(options)) {}

  std::unique_ptr<Session> session() override { return std::make_unique<MysqlSession>(options_); }
  int writers() const override { return std::max(1, options_->connections / 2); }
  int readers() const override { return std::max(1, options_->connections - writers()); }
  int lone_writers() const override { return 2; }
  std::string counter_ddl() const override { return mysql_counter_ddl(); }
  std::string table_ddl(const NewTable& table) const override { return mysql_table_ddl(table); }
  std::string outbox_ddl(const Recorded& recorded) const override {
    return mysql_outbox_ddl(recorded, options_->database);
  }

 private:
  const std::shared_ptr<const conf::BackendOptions> options_;
};

}  // namespace

std::unique_ptr<Backend> make_mysql(const conf::BackendOptions& options);

std::unique_ptr<Backend> make_mysql(const conf::BackendOptions& options) {
  return std::make_unique<MysqlBackend>(options);
}

}  // namespace sluice::sql

// The SQLite backend: sessions of one connection each, transactions, and groups of writes that share one.
#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "backends/parts.h"
#include "backends/sql.h"
#include "backends/sqlite_connection.h"
#include "backends/sqlite_counters.h"
#include "backends/sqlite_outbox.h"
#include "backends/sqlite_read_query.h"
#include "backends/sqlite_rows.h"
#include "backends/sqlite_schema.h"
#include "conf/config.h"

namespace sluice::sql {

namespace {

class SqliteSession final : public Session {
 public:
  SqliteSession(const std::string& backend, const std::string& path)
      : reader_(backend, path, SqliteConnection::Role::reader),
        writer_(backend, path, SqliteConnection::Role::writer) {}

  Result run(const Op& op, Deadline deadline) override {
    if (is_write(op)) {
      const Op* const group[] = {&op};
      return std::move(run_group(group, deadline)[0]);
    }
    Error error = reader_.prepare_for(op, deadline);
    if (error.failure != Failure::none) return failed(std::move(error));
    return std::visit([&](const auto& read) { return this->read(read); }, op);
  }

  std::vector<Result> run_group(std::span<const Op* const> ops, Deadline deadline) override {
    std::vector<Result> results(ops.size());
    if (ops.empty()) return results;
    Error error = begin(*ops[0], deadline);
    if (error.failure == Failure::none) error = write_all(ops, results);
    if (error.failure == Failure::none) error = end(results);
    writer_.rollback();
    if (error.failure == Failure::none) return results;
    // A constraint checked at COMMIT, or a trigger that rolls back, fails the whole without saying whose row it was.
    if (fails_alone(error.failure) && ops.size() > 1) return run_one_by_one(ops, deadline);
    for (Result& result : results) {
      if (!fails_alone(result.error.failure)) result = failed(error);
    }
    return results;
  }

 private:
  Error begin(const Op& op, Deadline deadline) {
    Error error = writer_.prepare_for(op, deadline);
    if (error.failure == Failure::none) error = writer_.execute("BEGIN IMMEDIATE");
    return error.failure == Failure::none ? schema_.refresh(writer_) : error;
  }

  Error write_all(std::span<const Op* const> ops, std::vector<Result>& results) {
    for (std::size_t i = 0; i < ops.size(); ++i) {
      writer_.name_in_messages(*ops[i]);
      if (Error error = write_or_undo(*ops[i], results[i]); error.failure != Failure::none) return error;
    }
    return {};
  }

  // The error is of the whole transaction.
  Error write_or_undo(const Op& op, Result& result) {
    if (Error error = writer_.execute("SAVEPOINT op"); error.failure != Failure::none) return error;
    result = std::visit([&](const auto& write) { return this->write(write); }, op);
    const bool refused = std::holds_alternative<WriteRows>(op) && result.affected == 0;
    if (!result.ok() || refused) {
      if (!result.ok() && (!fails_alone(result.error.failure) || !writer_.in_transaction())) return result.error;
      if (Error error = writer_.execute("ROLLBACK TO op"); error.failure != Failure::none) return error;
    }
    return writer_.execute("RELEASE op");
  }

  Error end(const std::vector<Result>& results) {
    const bool any = std::any_of(results.begin(), results.end(), [](const Result& r) { return r.ok(); });
    return any ? writer_.commit() : Error{};
  }

  std::vector<Result> run_one_by_one(std::span<const Op* const> ops, Deadline deadline) {
    std::vector<Result> results;
    for (const Op* op : ops) results.push_back(run(*op, deadline));
    return results;
  }

  Result read(const CheckDurability&) { return {}; }  // SqliteConnection sets what it needs itself
  Result read(const Ping&) { return failed(reader_.execute("PRAGMA schema_version")); }
  Result read(const ReadRow& op) { return sqlite_run(reader_, op); }
  Result read(const ReadRows& op) { return sqlite_run(reader_, op); }
  Result read(const ListRows& op) { return sqlite_run(reader_, op); }
  Result read(const ReadCounter& op) { return sqlite_run(reader_, op); }
  Result read(const ReadQuery& op) { return sqlite_run(reader_, op); }
  Result read(const DescribeQuery& op) { return sqlite_run(reader_, op); }
  Result read(const ReadOutbox& op) { return sqlite_run(reader_, op); }
  Result read(const CheckOutbox& op) { return sqlite_run(reader_, op); }
  Result read(const Describe& op) {
    SqliteSchema fresh;
    Result result = failed(reader_.execute("BEGIN"));  // for one view of the several pragmas
    if (!result.ok()) return result;
    if (const SqliteTable* found = fresh.find(reader_, op.table, result.error)) result.table = found->table;
    reader_.rollback();
    return result;
  }
  template <class Write>
  Result read(const Write&) {
    return {};  // run() has sent it to the writer
  }

  Result write(const ReplaceRow& op) { return write_guarded(op); }
  Result write(const MergeRow& op) { return write_guarded(op); }
  Result write(const DeleteRow& op) { return write_guarded(op); }
  Result write(const FlushCounters& op) { return sqlite_run(writer_, schema_, op); }
  Result write(const ModifyRow& op) { return write_guarded(op); }
  Result write(const RunStatement& op) { return sqlite_run(writer_, schema_, op); }
  Result write(const ForgetOutbox& op) { return sqlite_run(writer_, op); }
  // Inside a savepoint: what is returned as a failure is undone.
  Result write(const WriteRows& op) {
    return write_each(op, [&](const auto& part) { return this->write(part); });
  }
  template <class Write>
  Result write_guarded(const Write& op) {
    SqliteUnrecorded unrecorded(writer_, op.guard, op.key);
    Result result = sqlite_run(writer_, schema_, op);
    if (!result.ok()) return result;
    Error error = unrecorded.forget();
    return error.failure == Failure::none ? result : failed(std::move(error));
  }
  template <class Read>
  Result write(const Read&) {
    return {};  // groups hold writes only
  }

  // Each opens the file when it is first used: a session of a lane of reads never has a second connection.
  SqliteConnection reader_;
  SqliteConnection writer_;
  SqliteSchema schema_;  // of the writer
};

class SqliteBackend final : public Backend {
 public:
  explicit SqliteBackend(const conf::BackendOptions& options)
      : name_(options.name), path_(options.path), connections_(options.connections) {}

  std::unique_ptr<Session> session() override { return std::make_unique<SqliteSession>(name_, path_); }
  int writers() const override { return 1; }
  int readers() const override { return std::max(1, connections_ - 1); }
  int lone_writers() const override { return 0; }
  std::string counter_ddl() const override { return sqlite_counter_ddl(); }
  std::string table_ddl(const NewTable& table) const override { return sqlite_table_ddl(table); }
  std::string outbox_ddl(const Recorded& recorded) const override { return sqlite_outbox_ddl(recorded); }

 private:
  const std::string name_;
  const std::string path_;
  const int connections_;
};

}  // namespace

std::unique_ptr<Backend> make_sqlite(const conf::BackendOptions& options);

std::unique_ptr<Backend> make_sqlite(const conf::BackendOptions& options) {
  return std::make_unique<SqliteBackend>(options);
}

}  // namespace sluice::sql

// The PostgreSQL backend: sessions of one connection each, transactions, and groups of writes that share one.
#include <algorithm>
#include <cstddef>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "backends/outbox.h"
#include "backends/parts.h"
#include "backends/postgres_connection.h"
#include "backends/postgres_counters.h"
#include "backends/postgres_outbox.h"
#include "backends/postgres_read_query.h"
#include "backends/postgres_rows.h"
#include "backends/postgres_schema.h"
#include "backends/postgres_tables.h"
#include "backends/query_rows.h"
#include "backends/sql.h"
#include "conf/config.h"

namespace sluice::sql {

namespace {

using std::chrono::milliseconds;

// How long a write of a group waits for somebody else's lock, and the others with it.
constexpr milliseconds kGroupLockTimeout{50};
// Failures of a group's writes, each of which makes the others run again, before they run one by one.
constexpr int kFailuresMax = 3;
// Attempts with statements that are prepared anew: one would do, were the schema not changed once more.
constexpr int kStaleMax = 3;
// Lost races for one row, in which it comes and goes; more than that is no race (a row that we may not see).
constexpr int kRacesMax = 20;

PostgresWrite::Target target_of(const Op& op) {
  return std::visit(
      [](const auto& one) -> PostgresWrite::Target {
        if constexpr (requires { PostgresWrite::Target(&one); }) return &one;
        return static_cast<const ReplaceRow*>(nullptr);  // is_row_write() holds of the callers' operations
      },
      op);
}

PostgresWrite::Target target_of(const RowWrite& write) {
  return std::visit([](const auto& one) -> PostgresWrite::Target { return &one; }, write);
}

class PostgresSession final : public Session {
 public:
  explicit PostgresSession(std::shared_ptr<const conf::BackendOptions> options) : connection_(std::move(options)) {}

  Result run(const Op& op, Deadline deadline) override {
    if (is_row_write(op)) {
      const Op* const group[] = {&op};
      return std::move(run_writes(group, deadline, milliseconds{0})[0]);
    }
    Again again;
    for (;;) {
      if (Error error = connection_.prepare_for(op, deadline); error.failure != Failure::none) return failed(error);
      if (!holds_rows_only(op)) connection_.look_up_by_key(false);
      Result result = std::visit([&](const auto& one) { return this->one(one, again); }, op);
      if (result.ok() || result.error.failure == Failure::unknown || !again.wanted(connection_)) return result;
    }
  }

  std::vector<Result> run_group(std::span<const Op* const> ops, Deadline deadline) override {
    return run_writes(ops, deadline, kGroupLockTimeout);
  }

 private:
  // Whether to run something again at once that was undone for a reason that has nothing to do with itself.
  class Again {
   public:
    // Notes the failure of an attempt, if it is such a reason.
    void note(const Error& error, bool stale, bool raced) {
      const bool in_the_way = error.sqlstate == "40001" || error.sqlstate == "40P01";
      wanted_ = in_the_way || (raced && ++raced_ <= kRacesMax) || (stale && ++stale_ <= kStaleMax);
    }
    bool noted() const { return wanted_; }
    // Also after the loss of a connection that had been idle, once.
    bool wanted(const PostgresConnection& connection) {
      const bool lost = connection.lost_old_connection() && !std::exchange(lost_, true);
      return (std::exchange(wanted_, false) || lost) && !connection.expired();
    }

   private:
    bool wanted_ = false;
    bool lost_ = false;
    int raced_ = 0, stale_ = 0;
  };

  std::vector<Result> run_writes(std::span<const Op* const> ops, Deadline deadline, milliseconds lock_timeout) {
    std::vector<Result> results(ops.size());
    std::vector<std::size_t> left(ops.size());
    std::iota(left.begin(), left.end(), std::size_t{0});
    share_statements_ = true;
    for (int failures = 0; !left.empty() && failures <= kFailuresMax; ++failures) {
      if (!run_together(ops, left, deadline, lock_timeout, results)) failures = kFailuresMax;
    }
    for (const std::size_t i : left) {
      std::vector<std::size_t> one{i};
      run_together(ops, one, deadline, lock_timeout, results);
    }
    return results;
  }

  // Runs those of `left` in one transaction and takes from it what has its result now; the others were undone through
  // no fault of theirs. False: it cannot be told whose fault it was.
  bool run_together(std::span<const Op* const> ops, std::vector<std::size_t>& left, Deadline deadline,
                    milliseconds lock_timeout, std::vector<Result>& results) {
    Again again;
    for (;;) {
      PostgresFailure failure;
      std::vector<PostgresWrite> writes;
      std::vector<const Op*> names;
      failure.error = connection_.prepare_for(*ops[left[0]], deadline);
      if (failure.error.failure == Failure::none && lock_timeout.count() > 0) failure.error = learn_tables(ops, left);
      if (failure.error.failure == Failure::none) {
        for (const std::size_t i : left) {
          writes.emplace_back(target_of(*ops[i]));
          names.push_back(ops[i]);
        }
        choose_plans(ops, left);
        const bool at_once = left.size() == 1 && lock_timeout.count() > 0 && has_known_key(*ops[left[0]]);
        const std::string mark = outbox_mark(names);
        failure = at_once ? attempt_at_once(writes[0], lock_timeout, mark, again)
                          : attempt(writes, names, lock_timeout, mark, false, again);
      }
      if (failure.error.failure == Failure::none) {
        for (std::size_t at = 0; at < left.size(); ++at) results[left[at]] = std::move(writes[at].result());
        left.clear();
        return true;
      }
      if (failure.error.failure != Failure::unknown && again.wanted(connection_)) continue;
      if (failure.together && failure.culprit >= 0 && !connection_.expired()) {
        share_statements_ = false;
        continue;
      }
      return settle(failure, left, lock_timeout, results);
    }
  }

  static bool settle(const PostgresFailure& failure, std::vector<std::size_t>& left, milliseconds lock_timeout,
                     std::vector<Result>& results) {
    const bool locked = failure.error.sqlstate == "55P03" && lock_timeout.count() > 0;
    if (failure.culprit >= 0 && (fails_alone(failure.error.failure) || locked)) {
      Result& result = results[left[static_cast<std::size_t>(failure.culprit)]];
      result = failed(failure.error);
      result.locked = locked;
      left.erase(left.begin() + failure.culprit);
      return true;
    }
    // A constraint checked at COMMIT fails the whole without saying whose row it was.
    if (fails_alone(failure.error.failure) && left.size() > 1) return false;
    for (const std::size_t i : left) results[i] = failed(failure.error);
    left.clear();
    return true;
  }

  // One transaction; as a whole it comes to nothing when a decision refuses. After a failure it is rolled back, and
  // `again` knows whether to try once more.
  PostgresFailure attempt(std::vector<PostgresWrite>& writes, const std::vector<const Op*>& names,
                          milliseconds lock_timeout, const std::string& mark, bool whole, Again& again) {
    const bool share = share_statements_ && !whole && writes.size() > 1;
    connection_.begin(lock_timeout, mark);
    PostgresFailure failure = postgres_write(connection_, writes, names, share ? &tables_ : nullptr);
    bool raced = false;
    if (failure.error.failure == Failure::none) {
      if (whole && std::any_of(writes.begin(), writes.end(), [](auto& w) { return w.refused(); })) {
        connection_.rollback();
        return failure;
      }
      failure.error = connection_.commit();
    } else {
      connection_.rollback();
      if (failure.together) return failure;  // what it means is seen when each row has a statement of its own
      const auto* const key = failure.index.empty() ? nullptr : writes[static_cast<std::size_t>(failure.culprit)].key();
      raced = key != nullptr && is_index_of(failure, key_names(*key));
    }
    again.note(failure.error, failure.stale, raced);
    return failure;
  }

  // A write of one row by a statement that finds one row or none: a transaction of each of its steps does no harm, and
  // costs one exchange.
  PostgresFailure attempt_at_once(PostgresWrite& write, milliseconds lock_timeout, const std::string& mark,
                                  Again& again) {
    PostgresFailure failure;
    bool raced = false;
    while (failure.error.failure == Failure::none && !write.done()) {
      failure.culprit = 0;
      PostgresQuery query = write.query(connection_, failure.error);
      if (failure.error.failure != Failure::none) break;
      PostgresReply reply;
      connection_.begin(lock_timeout, mark);
      failure.error = connection_.exchange_and_commit(std::move(query), reply);
      if (failure.error.failure == Failure::none) failure.error = write.take(connection_, reply);
      if (failure.error.failure == Failure::none) continue;
      connection_.rollback();
      failure.stale = reply.stale;
      failure.index_schema = std::move(reply.index_schema);
      failure.index = std::move(reply.index);
      raced = !failure.index.empty() && is_index_of(failure, key_names(*write.key()));
    }
    if (failure.error.failure == Failure::schema) tables_.forget(*write.table());
    again.note(failure.error, failure.stale, raced);
    return failure;
  }

  // Of what may share a statement or do with one exchange.
  Error learn_tables(std::span<const Op* const> ops, const std::vector<std::size_t>& left) {
    const std::string* known = nullptr;
    for (const std::size_t i : left) {
      const std::string* const table = table_of(*ops[i]);
      if (table == nullptr || (known != nullptr && *known == *table)) continue;
      if (Error error = tables_.learn(connection_, *table); error.failure != Failure::none) return error;
      known = table;
    }
    return {};
  }

  // Statements of the user's own are planned as usual.
  void choose_plans(std::span<const Op* const> ops, const std::vector<std::size_t>& left) {
    const bool has_own = std::any_of(left.begin(), left.end(),
                                     [&](std::size_t i) { return std::holds_alternative<RunStatement>(*ops[i]); });
    if (has_own || left.size() > 1) connection_.look_up_by_key(!has_own);
  }

  static bool holds_rows_only(const Op& op) {
    const auto* const several = std::get_if<WriteRows>(&op);
    return several != nullptr &&
           std::none_of(several->writes.begin(), several->writes.end(),
                        [](const RowWrite& write) { return std::holds_alternative<RunStatement>(write); });
  }

  static const std::string* table_of(const Op& op) {
    if (const auto* replace = std::get_if<ReplaceRow>(&op)) return &replace->table;
    if (const auto* remove = std::get_if<DeleteRow>(&op)) return &remove->table;
    return nullptr;
  }

  bool has_known_key(const Op& op) const {
    const std::string* const name = table_of(op);
    const PostgresTable* const table = name == nullptr ? nullptr : tables_.find(*name);
    if (table == nullptr) return false;
    const auto* replace = std::get_if<ReplaceRow>(&op);
    return table->is_key(replace != nullptr ? replace->key : std::get<DeleteRow>(op).key);
  }

  static std::vector<std::string> key_names(const std::vector<Bound>& key) {
    std::vector<std::string> names;
    names.reserve(key.size());
    for (const Bound& bound : key) names.push_back(bound.column);
    return names;
  }

  // An INSERT that follows an UPDATE of no row meets its own key only when another session was faster.
  bool is_index_of(const PostgresFailure& failure, std::vector<std::string> columns) {
    PostgresQuery query(
        "SELECT a.attname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid "
        "JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]) "
        "WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = ");
    query.sql += query.bind_text(failure.index_schema) + ") AND c.relname = " + query.bind_text(failure.index);
    PostgresReply reply;
    if (connection_.exchange(query, reply).failure != Failure::none || reply.rows == nullptr) return false;
    std::vector<std::string> found;
    found.reserve(static_cast<std::size_t>(PQntuples(reply.rows.get())));
    for (int i = 0; i < PQntuples(reply.rows.get()); ++i) found.emplace_back(PQgetvalue(reply.rows.get(), i, 0));
    std::sort(found.begin(), found.end());
    std::sort(columns.begin(), columns.end());
    return found == columns;
  }

  // --- Operations that have a transaction, or a statement, of their own

  Result one(const WriteRows& op, Again& again) {
    std::vector<PostgresWrite> writes;
    writes.reserve(op.writes.size());
    for (const RowWrite& write : op.writes) writes.emplace_back(target_of(write));
    const PostgresFailure failure = attempt(writes, {}, milliseconds{0}, outbox_mark(op), true, again);
    if (failure.error.failure != Failure::none) return failed(failure.error);
    Result result;
    result.affected = 1;
    for (PostgresWrite& write : writes) {
      if (write.refused()) result.affected = 0;
      result.parts.push_back(std::move(write.result()));
    }
    return result;
  }

  Result one(const FlushCounters& op, Again& again) {
    std::set<std::ptrdiff_t> left_out;
    Result result;
    std::vector<Row> refused(op.deltas.size());
    for (;;) {
      connection_.begin(milliseconds{0});
      PostgresFailure failure = postgres_flush(connection_, op, left_out, result);
      bool raced = false;
      if (failure.error.failure == Failure::none) {
        failure.error = connection_.commit();
      } else {
        connection_.rollback();
        raced = !failure.index.empty() && is_index_of(failure, op.where.key_columns);
      }
      if (failure.error.failure == Failure::none) break;
      again.note(failure.error, failure.stale, raced);
      if (again.noted() || failure.culprit < 0) return failed(postgres_counter_error(std::move(failure.error)));
      refused[static_cast<std::size_t>(failure.culprit)] = {Value{}, failure.error.sqlstate, failure.error.message};
      left_out.insert(failure.culprit);
    }
    for (const std::ptrdiff_t i : left_out) {
      result.rows[static_cast<std::size_t>(i)] = std::move(refused[static_cast<std::size_t>(i)]);
    }
    return result;
  }

  Result one(const Ping&, Again& again) { return read(PostgresQuery("SELECT 1"), again, false); }
  Result one(const ReadRow& op, Again& again) { return read(postgres_query(op), again); }
  Result one(const ReadRows& op, Again& again) { return read(postgres_query(op), again); }
  Result one(const ListRows& op, Again& again) {
    PostgresReply reply;
    Result result;
    std::size_t bytes = 0;
    Error error = connection_.stream(postgres_query(op), reply, [&](const PGresult* row) {
      return add_listed(result, bytes, postgres_row(row, 0));
    });
    if (result.affected != 0) return result;  // the rest was not read
    if (error.failure == Failure::none) error = connection_.named(reply.error);
    again.note(error, reply.stale, false);
    return error.failure == Failure::none ? result : failed(std::move(error));
  }
  Result one(const Describe& op, Again&) { return postgres_run(connection_, op); }
  Result one(const CheckDurability& op, Again&) { return postgres_run(connection_, op); }
  Result one(const ReadQuery& op, Again& again) { return query(op, again); }
  Result one(const DescribeQuery& op, Again& again) { return query(op, again); }
  Result one(const CheckOutbox& op, Again&) { return postgres_run(connection_, op); }
  Result one(const ReadOutbox& op, Again& again) {
    PostgresReply reply;
    Result result;
    result.error = outbox_error(exchange(postgres_query(op), reply, again));
    for (int i = 0; result.ok() && i < PQntuples(reply.rows.get()); ++i) {
      result.rows.push_back(postgres_outbox_row(reply.rows.get(), i));
    }
    return result;
  }
  Result one(const ForgetOutbox& op, Again& again) {
    const std::string entries = postgres_outbox_entries(op);
    PostgresReply reply;
    Result result;
    result.error = outbox_error(exchange(postgres_forget(entries), reply, again));
    result.affected = reply.affected();
    return result;
  }
  Result one(const ReadCounter& op, Again& again) {
    PostgresReply reply;
    Error error = exchange(postgres_query(op), reply, again);
    if (error.failure != Failure::none) return failed(postgres_counter_error(std::move(error)));
    return postgres_read_counter(connection_, reply);
  }
  template <class Write>
  Result one(const Write&, Again&) {
    return {};  // run() has sent it to run_group()
  }

  template <class Query>
  Result query(const Query& op, Again& again) {
    bool stale = false;
    Result result = postgres_run(connection_, op, stale);
    again.note(result.error, stale, false);
    return result;
  }

  Error exchange(const PostgresQuery& query, PostgresReply& reply, Again& again) {
    Error error = connection_.exchange(query, reply);
    if (error.failure == Failure::none) error = connection_.named(reply.error);
    again.note(error, reply.stale, false);
    return error;
  }

  Result read(const PostgresQuery& query, Again& again, bool rows = true) {
    PostgresReply reply;
    Result result;
    result.error = exchange(query, reply, again);
    for (int i = 0; rows && result.ok() && i < PQntuples(reply.rows.get()); ++i) {
      result.rows.push_back(postgres_row(reply.rows.get(), i));
    }
    return result;
  }

  PostgresConnection connection_;
  PostgresTables tables_;         // of this connection
  bool share_statements_ = true;  // rows of the group that is being written
};

class PostgresBackend final : public Backend {
 public:
  explicit PostgresBackend(const conf::BackendOptions& options)
      : options_(std::make_shared<const conf::BackendOptions>(options)) {}

  std::unique_ptr<Session> session() override { return std::make_unique<PostgresSession>(options_); }
  int writers() const override { return std::max(1, options_->connections / 2); }
  int readers() const override { return std::max(1, options_->connections - writers()); }
  int lone_writers() const override { return 2; }
  std::string counter_ddl() const override { return postgres_counter_ddl(); }
  std::string table_ddl(const NewTable& table) const override { return postgres_table_ddl(table); }
  std::string outbox_ddl(const Recorded& recorded) const override { return postgres_outbox_ddl(recorded); }

 private:
  const std::shared_ptr<const conf::BackendOptions> options_;
};

}  // namespace

std::unique_ptr<Backend> make_postgresql(const conf::BackendOptions& options);

std::unique_ptr<Backend> make_postgresql(const conf::BackendOptions& options) {
  return std::make_unique<PostgresBackend>(options);
}

}  // namespace sluice::sql

// Counters in MySQL, see mysql_counters.h.
#include "backends/mysql_counters.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "backends/mysql_errors.h"
#include "backends/mysql_query.h"
#include "backends/mysql_rows.h"
#include "backends/mysql_statements.h"

namespace sluice::sql {

namespace {

using Lock = MysqlQuery::Lock;

constexpr const char* kSource = "sluice_counter_src";
constexpr int kAttempts = 5;  // of one delta, when another flusher inserts the same rows

std::optional<std::int64_t> plus(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::nullopt : std::optional(sum);
}

std::optional<std::int64_t> minus(std::int64_t a, std::int64_t b) {
  std::int64_t difference = 0;
  return __builtin_sub_overflow(a, b, &difference) ? std::nullopt : std::optional(difference);
}

// A missing bookkeeping table is for the operator, who wants the statement that creates it.
Error explained(Error error) {
  if (error.sqlstate == "42S02" && error.message.find(kSource) != std::string::npos) {
    error.message += "; create it with: " + mysql_counter_ddl();
  }
  return error;
}

std::vector<Bound> bound_key(const CounterTable& where, const std::vector<Value>& key) {
  std::vector<Bound> bounds;
  for (std::size_t i = 0; i < std::min(key.size(), where.key_columns.size()); ++i) {
    bounds.push_back({where.key_columns[i], key[i]});
  }
  return bounds;
}

// Applies the deltas of one flush. Every step says by its Error whether the delta may go on. The total's row is locked
// before what was applied to it is read: of two flushers of one counter the second sees what the first has done.
class Flush {
 public:
  Flush(MysqlConnection& connection, MysqlSchema& schema, const FlushCounters& op)
      : connection_(connection), schema_(schema), op_(op) {}

  Result run() {
    Result result;
    result.rows.resize(op_.deltas.size());
    for (const std::size_t i : in_key_order()) {
      result.error = apply_or_undo(op_.deltas[i], result.rows[i]);
      if (!result.ok()) return failed(explained(std::move(result.error)));
    }
    return result;
  }

 private:
  struct Source {
    bool exists = false;
    std::int64_t n = 0, t = 0;
    bool retired = false;
  };
  struct Total {
    bool exists = false;
    std::int64_t value = 0;
  };

  std::vector<std::size_t> in_key_order() const {
    std::vector<std::size_t> order(op_.deltas.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return op_.deltas[a].redis_key < op_.deltas[b].redis_key; });
    return order;
  }

  // The error is of the whole flush; a refused delta leaves it empty and says why in its row.
  Error apply_or_undo(const CounterDelta& delta, Row& row) {
    Error error = connection_.execute("SAVEPOINT delta");
    if (error.failure != Failure::none) return error;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      std::int64_t change = 0;
      error = apply(delta, change);
      if (error.failure == Failure::none) {
        row = {change};
        return {};
      }
      if (error.failure != Failure::refused) return error;
      const bool met_another_flusher = connection_.last_code() == kMysqlDuplicateKey;
      row = {Value{}, error.sqlstate, error.message};
      error = connection_.execute("ROLLBACK TO delta");
      if (error.failure != Failure::none || !met_another_flusher) return error;
    }
    return {};
  }

  Error apply(const CounterDelta& delta, std::int64_t& change) {
    const std::vector<Bound> key = bound_key(op_.where, delta.key);
    const std::vector<Bound> values{{op_.where.value_column, std::int64_t{0}}};
    const MysqlTarget target = mysql_target(connection_, schema_, op_.where.table, key, values);
    if (!target.ok()) return target.error;
    Total total;
    if (Error error = read_total(*target.table, key, total); error.failure != Failure::none) return error;
    Source source;
    if (Error error = read_source(delta, source); error.failure != Failure::none) return error;
    if (source.exists && (source.retired || delta.n <= source.n)) return {};

    const bool replaces = delta.base && !source.exists;
    const auto added = minus(delta.t, source.t);
    const auto sum = replaces ? plus(*delta.base, delta.t) : added ? plus(total.value, *added) : std::nullopt;
    const auto difference = sum ? minus(*sum, total.value) : std::nullopt;
    if (!difference) return refused("22003", "the total leaves the range of 64 bits");

    change = *difference;
    if (Error error = write_total(*target.table, key, *sum, total.exists); error.failure != Failure::none) return error;
    if (Error error = write_source(delta, source.exists); error.failure != Failure::none) return error;
    return replaces ? retire(delta) : Error{};
  }

  Error read_total(const MysqlTable& table, const std::vector<Bound>& key, Total& total) {
    MysqlQuery query(connection_,
                     mysql_select(op_.where.table, {op_.where.value_column}) + " WHERE " + mysql_key_condition(key) +
                         " LIMIT 2 FOR UPDATE",
                     Lock::waits);
    mysql_bind_all(query, table, key);
    if (query.next()) {
      const Value value = query.value(0);
      const auto* integer = std::get_if<std::int64_t>(&value);
      if (integer == nullptr && !query.is_null(0)) return refused("22018", "the stored total is not an integer");
      total = {true, integer == nullptr ? 0 : *integer};
    }
    if (query.ok() && total.exists && query.next()) {
      return connection_.error(Failure::schema, "21000", "several rows have this key; its columns must be unique");
    }
    return query.error();
  }

  Error read_source(const CounterDelta& delta, Source& source) {
    MysqlQuery query(connection_, "SELECT n, t, retired FROM sluice_counter_src WHERE `key` = ? AND inc = ? FOR UPDATE",
                     Lock::waits);
    query.bind_bytes(delta.redis_key);
    query.bind_bytes(delta.inc);
    if (query.next()) source = {true, query.integer(0), query.integer(1), query.integer(2) != 0};
    return query.error();
  }

  Error write_total(const MysqlTable& table, const std::vector<Bound>& key, std::int64_t value, bool exists) {
    const std::vector<Bound> values{{op_.where.value_column, value}};
    const std::string column = mysql_quoted(op_.where.value_column);
    MysqlQuery query(connection_,
                     exists ? "UPDATE " + mysql_quoted_table(op_.where.table) + " SET " + column + " = ? WHERE " +
                                  mysql_key_condition(key)
                            : mysql_insert(op_.where.table, key, values, 1),
                     Lock::waits);
    if (exists) mysql_bind_all(query, table, values);
    mysql_bind_all(query, table, key);
    if (!exists) mysql_bind_all(query, table, values);
    return query.run();
  }

  Error write_source(const CounterDelta& delta, bool exists) {
    MysqlQuery query(connection_,
                     exists ? "UPDATE sluice_counter_src SET n = ?, t = ?, updated_at = UNIX_TIMESTAMP() "
                              "WHERE `key` = ? AND inc = ?"
                            : "INSERT INTO sluice_counter_src (n, t, `key`, inc, retired, updated_at) "
                              "VALUES (?, ?, ?, ?, 0, UNIX_TIMESTAMP())",
                     Lock::waits);
    query.bind(delta.n);
    query.bind(delta.t);
    query.bind_bytes(delta.redis_key);
    query.bind_bytes(delta.inc);
    return query.run();
  }

  // An incarnation that has never been flushed gets its row too: its first flush may still be on the way.
  Error retire(const CounterDelta& delta) {
    for (const auto& inc : delta.retired) {
      MysqlQuery query(connection_,
                       "INSERT INTO sluice_counter_src (`key`, inc, n, t, retired, updated_at) "
                       "VALUES (?, ?, 0, 0, 1, UNIX_TIMESTAMP()) "
                       "ON DUPLICATE KEY UPDATE retired = 1, updated_at = UNIX_TIMESTAMP()",
                       Lock::waits);
      query.bind_bytes(delta.redis_key);
      query.bind_bytes(inc);
      if (Error error = query.run(); error.failure != Failure::none) return error;
    }
    return {};
  }

  Error refused(const char* sqlstate, const char* what) const {
    return connection_.error(Failure::refused, sqlstate, what);
  }

  MysqlConnection& connection_;
  MysqlSchema& schema_;
  const FlushCounters& op_;
};

}  // namespace

std::string mysql_counter_ddl() {
  // Bytes compare as bytes; together the two make the longest key that InnoDB takes.
  return "CREATE TABLE sluice_counter_src (`key` VARBINARY(3000) NOT NULL, inc VARBINARY(64) NOT NULL, "
         "n BIGINT NOT NULL, t BIGINT NOT NULL, retired TINYINT NOT NULL DEFAULT 0, updated_at BIGINT NOT NULL, "
         "PRIMARY KEY (`key`, inc)) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;";
}

Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const ReadCounter& op) {
  const std::vector<Bound> key = bound_key(op.where, op.key);
  const MysqlTarget target = mysql_target(connection, schema, op.where.table, key, {});
  if (!target.ok()) return failed(target.error);
  // One statement sees one snapshot.
  MysqlQuery query(connection,
                   "SELECT (" + mysql_select(op.where.table, {op.where.value_column}) + " WHERE " +
                       mysql_key_condition(key) +
                       "), coalesce((SELECT t FROM sluice_counter_src WHERE `key` = ? AND inc = ?), 0), "
                       "coalesce((SELECT n FROM sluice_counter_src WHERE `key` = ? AND inc = ?), 0)",
                   Lock::none);
  mysql_bind_all(query, *target.table, key);
  for (int i = 0; i < 2; ++i) {
    query.bind_bytes(op.redis_key);
    query.bind_bytes(op.inc);
  }
  Result result;
  if (query.next()) result.rows.push_back(query.row());
  result.error = explained(query.error());
  if (result.ok() && !query.is_null(0) && !std::holds_alternative<std::int64_t>(result.rows[0][0])) {
    return failed(connection.error(Failure::refused, "22018", "the stored total is not an integer"));
  }
  return result;
}

Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const FlushCounters& op) {
  return Flush(connection, schema, op).run();
}

}  // namespace sluice::sql

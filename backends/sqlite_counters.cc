// Counters in SQLite. The rules are those of "Counters" in the design notes: each delta is applied at most once.
#include "backends/sqlite_counters.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/sqlite_rows.h"

namespace sluice::sql {

namespace {

constexpr const char* kSource = "sluice_counter_src";

// Sums as optional: empty when they leave the range of 64 bits.
std::optional<std::int64_t> plus(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::nullopt : std::optional(sum);
}

std::optional<std::int64_t> minus(std::int64_t a, std::int64_t b) {
  std::int64_t difference = 0;
  return __builtin_sub_overflow(a, b, &difference) ? std::nullopt : std::optional(difference);
}

std::string value_of_row(const CounterTable& where) {
  std::string sql =
      "SELECT " + quoted(where.table) + "." + quoted(where.value_column) + " FROM " + quoted(where.table) + " WHERE ";
  for (const auto& column : where.key_columns) {
    if (&column != &where.key_columns.front()) sql += " AND ";
    sql += quoted(where.table) + "." + quoted(column) + " = ?";
  }
  return sql;
}

// A missing bookkeeping table is for the operator, who wants the statement that creates it.
Error explained(Error error) {
  if (error.sqlstate == "42P01" && error.message.find(kSource) != std::string::npos) {
    error.message += "; create it with: " + sqlite_counter_ddl();
  }
  return error;
}

std::vector<Bound> bound_key(const CounterTable& where, const std::vector<Value>& key) {
  std::vector<Bound> bounds;
  for (std::size_t i = 0; i < std::min(key.size(), where.key_columns.size()); ++i)
    bounds.push_back({where.key_columns[i], key[i]});
  return bounds;
}

// Applies the deltas of one flush. Every step says by its Error whether the delta may go on.
class Flush {
 public:
  Flush(SqliteConnection& connection, SqliteSchema& schema, const FlushCounters& op)
      : connection_(connection), schema_(schema), op_(op), select_value_(value_of_row(op.where)) {}

  Result run() {
    Result result;
    result.rows.resize(op_.deltas.size());
    for (std::size_t i = 0; i < op_.deltas.size(); ++i) {
      result.error = apply_or_undo(op_.deltas[i], result.rows[i]);
      if (!result.ok()) return failed(std::move(result.error));
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

  static Result failed(Error error) {
    Result result;
    result.error = explained(std::move(error));
    return result;
  }

  // The error is of the whole flush; a refused delta leaves it empty and says why in its row.
  Error apply_or_undo(const CounterDelta& delta, Row& row) {
    if (Error error = connection_.execute("SAVEPOINT delta"); error.failure != Failure::none) return error;
    std::int64_t change = 0;
    Error error = apply(delta, change);
    if (error.failure == Failure::none) {
      row = {change};
      return connection_.execute("RELEASE delta");
    }
    if (error.failure != Failure::refused || !connection_.in_transaction()) return error;
    row = {Value{}, error.sqlstate, error.message};
    error = connection_.execute("ROLLBACK TO delta");
    return error.failure == Failure::none ? connection_.execute("RELEASE delta") : error;
  }

  Error apply(const CounterDelta& delta, std::int64_t& change) {
    Source source;
    if (Error error = read_source(delta, source); error.failure != Failure::none) return error;
    if (source.exists && (source.retired || delta.n <= source.n)) return {};
    Total total;
    if (Error error = read_total(delta, total); error.failure != Failure::none) return error;

    const bool replaces = delta.base && !source.exists;
    const auto added = minus(delta.t, source.t);
    const auto target = replaces ? plus(*delta.base, delta.t) : added ? plus(total.value, *added) : std::nullopt;
    const auto difference = target ? minus(*target, total.value) : std::nullopt;
    if (!difference) return refused("22003", "the total leaves the range of 64 bits");

    change = *difference;
    if (Error error = write_total(delta, *target); error.failure != Failure::none) return error;
    if (Error error = write_source(delta); error.failure != Failure::none) return error;
    return replaces ? retire(delta) : Error{};
  }

  Error read_source(const CounterDelta& delta, Source& source) {
    SqliteQuery query(connection_, "SELECT n, t, retired FROM sluice_counter_src WHERE key = ? AND inc = ?");
    query.bind(std::string_view(delta.redis_key));
    query.bind(std::string_view(delta.inc));
    if (query.next()) source = {true, query.integer(0), query.integer(1), query.integer(2) != 0};
    return query.error();
  }

  Error read_total(const CounterDelta& delta, Total& total) {
    SqliteQuery query(connection_, select_value_);
    for (const auto& part : delta.key) query.bind(part);
    if (query.next()) {
      const Value value = query.value(0);
      const auto* integer = std::get_if<std::int64_t>(&value);
      if (integer == nullptr && !query.is_null(0)) return refused("22P02", "the stored total is not an integer");
      total = {true, integer == nullptr ? 0 : *integer};
    }
    if (query.ok() && total.exists && query.next()) {
      return connection_.error(Failure::schema, "21000", "several rows have this key; its columns must be unique");
    }
    return query.error();
  }

  Error write_total(const CounterDelta& delta, std::int64_t value) {
    const ReplaceRow row{op_.where.table, bound_key(op_.where, delta.key), {{op_.where.value_column, value}}, {}};
    return sqlite_run(connection_, schema_, row).error;
  }

  Error write_source(const CounterDelta& delta) {
    SqliteQuery query(connection_,
                      "INSERT INTO sluice_counter_src (key, inc, n, t, retired, updated_at) "
                      "VALUES (?, ?, ?, ?, 0, unixepoch()) "
                      "ON CONFLICT (key, inc) DO UPDATE SET n = excluded.n, t = excluded.t, "
                      "updated_at = excluded.updated_at");
    query.bind(std::string_view(delta.redis_key));
    query.bind(std::string_view(delta.inc));
    query.bind(delta.n);
    query.bind(delta.t);
    return query.run();
  }

  // An incarnation that has never been flushed gets its row too: its first flush may still be on the way.
  Error retire(const CounterDelta& delta) {
    for (const auto& inc : delta.retired) {
      SqliteQuery query(connection_,
                        "INSERT INTO sluice_counter_src (key, inc, n, t, retired, updated_at) "
                        "VALUES (?, ?, 0, 0, 1, unixepoch()) "
                        "ON CONFLICT (key, inc) DO UPDATE SET retired = 1, updated_at = excluded.updated_at");
      query.bind(std::string_view(delta.redis_key));
      query.bind(std::string_view(inc));
      if (Error error = query.run(); error.failure != Failure::none) return error;
    }
    return {};
  }

  Error refused(const char* sqlstate, const char* what) const {
    return connection_.error(Failure::refused, sqlstate, what);
  }

  SqliteConnection& connection_;
  SqliteSchema& schema_;
  const FlushCounters& op_;
  const std::string select_value_;
};

}  // namespace

std::string sqlite_counter_ddl() {
  return "CREATE TABLE sluice_counter_src (key TEXT NOT NULL, inc TEXT NOT NULL, n INTEGER NOT NULL, "
         "t INTEGER NOT NULL, retired INTEGER NOT NULL DEFAULT 0, updated_at INTEGER NOT NULL, "
         "PRIMARY KEY (key, inc)) WITHOUT ROWID;";
}

Result sqlite_run(SqliteConnection& connection, const ReadCounter& op) {
  // One statement sees one snapshot.
  SqliteQuery query(connection, "SELECT (" + value_of_row(op.where) +
                                    "), coalesce((SELECT t FROM sluice_counter_src WHERE key = ? AND inc = ?), 0), "
                                    "coalesce((SELECT n FROM sluice_counter_src WHERE key = ? AND inc = ?), 0)");
  for (const auto& part : op.key) query.bind(part);
  for (int i = 0; i < 2; ++i) {
    query.bind(std::string_view(op.redis_key));
    query.bind(std::string_view(op.inc));
  }
  Result result;
  if (query.next()) result.rows.push_back(query.row());
  result.error = explained(query.error());
  if (result.ok() && !query.is_null(0) && !std::holds_alternative<std::int64_t>(result.rows[0][0])) {
    return {connection.error(Failure::refused, "22P02", "the stored total is not an integer"), 0, {}, {}};
  }
  return result;
}

Result sqlite_run(SqliteConnection& connection, SqliteSchema& schema, const FlushCounters& op) {
  return Flush(connection, schema, op).run();
}

}  // namespace sluice::sql

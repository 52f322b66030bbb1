// Counters in PostgreSQL. The rules are those of "Counters" in the design notes: each delta is applied at most once.
// All rows are locked first, those of the bookkeeping before the totals and each kind in the order of their keys, so
// that no two flushers wait for each other; what is to be written is computed here.
#include "backends/postgres_counters.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace sluice::sql {

namespace {

// Sums as optional: empty when they leave the range of 64 bits.
std::optional<std::int64_t> plus(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::nullopt : std::optional(sum);
}

std::optional<std::int64_t> minus(std::int64_t a, std::int64_t b) {
  std::int64_t difference = 0;
  return __builtin_sub_overflow(a, b, &difference) ? std::nullopt : std::optional(difference);
}

std::string where_key(PostgresQuery& query, const CounterTable& where, const std::vector<Value>& key) {
  std::string out = " WHERE ";
  for (std::size_t i = 0; i < std::min(key.size(), where.key_columns.size()); ++i) {
    out += (i == 0 ? "t." : " AND t.") + postgres_quoted(where.key_columns[i]) + " = " + query.bind_key(key[i]);
  }
  return out;
}

PostgresQuery select_total(const CounterTable& where, const std::vector<Value>& key) {
  PostgresQuery query("SELECT t." + postgres_quoted(where.value_column) + " FROM " +
                      postgres_quoted_table(where.table) + " t");
  query.sql += where_key(query, where, key);
  return query;
}

constexpr const char* kNow = "extract(epoch FROM now())::bigint";

// Locks the row of an incarnation, which it makes when there is none. It may be retired by the same stroke: before its
// first flush too, which may still be on the way.
PostgresQuery take_source(const std::string& key, const std::string& inc, bool retires) {
  PostgresQuery query("INSERT INTO sluice_counter_src AS s (key, inc, n, t, retired, updated_at) VALUES (");
  query.sql += query.bind_bytes(key) + ", " + query.bind_text(inc) + ", 0, 0, " + (retires ? "1, " : "0, ") + kNow;
  query.sql += ") ON CONFLICT (key, inc) DO UPDATE SET ";
  query.sql += retires ? std::string("retired = 1, updated_at = ") + kNow : "retired = s.retired";
  query.sql += " RETURNING s.n, s.t, s.retired, s.xmax = 0";
  return query;
}

PostgresQuery write_source(const std::string& key, const std::string& inc, std::int64_t n, std::int64_t t) {
  PostgresQuery query("UPDATE sluice_counter_src SET n = ");
  query.sql += query.bind(n) + ", t = " + query.bind(t) + ", updated_at = " + kNow;
  query.sql += " WHERE key = " + query.bind_bytes(key) + " AND inc = " + query.bind_text(inc);
  return query;
}

std::optional<std::int64_t> integer(const PostgresReply& reply, int column) {
  const Value value = postgres_value(reply.rows.get(), 0, column);
  const auto* number = std::get_if<std::int64_t>(&value);
  return number == nullptr ? std::nullopt : std::optional(*number);
}

bool is_null(const PostgresReply& reply, int column) { return PQgetisnull(reply.rows.get(), 0, column) != 0; }

// One flush, from locking to writing.
class Flush {
 public:
  Flush(PostgresConnection& connection, const FlushCounters& op, const std::set<std::ptrdiff_t>& left_out)
      : connection_(connection), op_(op) {
    for (std::size_t i = 0; i < op.deltas.size(); ++i) {
      if (!left_out.contains(static_cast<std::ptrdiff_t>(i))) note(i);
    }
  }

  PostgresFailure run(Result& result) {
    for (auto step : {&Flush::lock, &Flush::compute, &Flush::write}) {
      if (PostgresFailure failure = (this->*step)(result); failure.error.failure != Failure::none) return failure;
    }
    return {};
  }

 private:
  struct Source {
    std::ptrdiff_t delta = 0;  // the last one that is about it
    bool own = false;          // a delta's own incarnation
    bool retires = false;      // replaced by one
    bool fresh = false;
    std::int64_t n = 0, t = 0;
    bool retired = false;
    bool changed = false;
  };
  struct Total {
    std::ptrdiff_t delta = 0;
    const std::vector<Value>* key = nullptr;
    bool exists = false;
    bool changed = false;
    std::int64_t value = 0;
  };
  using SourceKey = std::pair<std::string, std::string>;

  void note(std::size_t index) {
    const CounterDelta& delta = op_.deltas[index];
    const auto position = static_cast<std::ptrdiff_t>(index);
    order_.push_back(index);
    Source& source = sources_[{delta.redis_key, delta.inc}];
    source.delta = position;
    source.own = true;
    Total& total = totals_[row_of(delta)];
    total.delta = position;
    total.key = &delta.key;
    if (!delta.base) return;
    for (const std::string& inc : delta.retired) {
      Source& old = sources_[{delta.redis_key, inc}];
      old.delta = position;
      old.retires = true;
    }
  }

  static std::string row_of(const CounterDelta& delta) {
    std::string row;
    for (const Value& part : delta.key) row.append(postgres_text(part)).append(1, '\0');
    return row;
  }

  PostgresFailure fail(Error error, std::ptrdiff_t culprit) const {
    const bool alone = error.failure == Failure::refused;
    return {std::move(error), alone ? culprit : -1, false, {}, {}};
  }

  PostgresFailure fail(PostgresReply& reply, std::ptrdiff_t culprit) const {
    PostgresFailure failure = fail(connection_.named(reply.error), culprit);
    failure.stale = reply.stale;
    failure.index_schema = std::move(reply.index_schema);
    failure.index = std::move(reply.index);
    return failure;
  }

  PostgresFailure refuse(const char* sqlstate, const char* what, std::ptrdiff_t culprit) const {
    return fail(connection_.error(Failure::refused, sqlstate, what), culprit);
  }

  PostgresFailure lock(Result&) {
    std::vector<PostgresQuery> queries;
    for (const auto& [key, source] : sources_) queries.push_back(take_source(key.first, key.second, source.retires));
    for (const auto& [row, total] : totals_) {
      queries.push_back(select_total(op_.where, *total.key));
      queries.back().sql += " FOR NO KEY UPDATE OF t";
    }
    std::vector<PostgresReply> replies;
    if (Error error = connection_.exchange(queries, replies); error.failure != Failure::none) return fail(error, -1);
    std::size_t at = 0;
    for (auto& [key, source] : sources_) {
      if (replies[at].error.failure != Failure::none) return fail(replies[at], source.delta);
      read(replies[at++], source);
    }
    for (auto& [row, total] : totals_) {
      if (replies[at].error.failure != Failure::none) return fail(replies[at], total.delta);
      if (PostgresFailure failure = read(replies[at++], total); failure.error.failure != Failure::none) return failure;
    }
    return {};
  }

  static void read(const PostgresReply& reply, Source& source) {
    source.n = integer(reply, 0).value_or(0);
    source.t = integer(reply, 1).value_or(0);
    source.fresh = integer(reply, 3).value_or(0) != 0;
    source.retired = integer(reply, 2).value_or(0) != 0;
  }

  PostgresFailure read(const PostgresReply& reply, Total& total) const {
    total.exists = reply.affected() > 0;
    if (!total.exists) return {};
    if (reply.affected() > 1) {
      return fail(connection_.error(Failure::schema, "21000", "several rows have this key; its columns must be unique"),
                  total.delta);
    }
    const auto value = integer(reply, 0);
    if (!value && !is_null(reply, 0)) return refuse("22P02", "the stored total is not an integer", total.delta);
    total.value = value.value_or(0);
    return {};
  }

  PostgresFailure compute(Result& result) {
    for (const std::size_t index : order_) {
      const CounterDelta& delta = op_.deltas[index];
      Source& source = sources_[{delta.redis_key, delta.inc}];
      Total& total = totals_[row_of(delta)];
      const bool exists = !source.fresh || source.changed;
      result.rows[index] = {std::int64_t{0}};
      if (source.retired || (exists && delta.n <= source.n)) continue;
      const bool replaces = delta.base && !exists;
      const auto added = minus(delta.t, source.t);
      const auto target = replaces ? plus(*delta.base, delta.t) : added ? plus(total.value, *added) : std::nullopt;
      const auto change = target ? minus(*target, total.value) : std::nullopt;
      if (!change) {
        return refuse("22003", "the total leaves the range of 64 bits", static_cast<std::ptrdiff_t>(index));
      }
      result.rows[index] = {*change};
      total.value = *target;
      source.n = delta.n;
      source.t = delta.t;
      total.changed = source.changed = true;
    }
    return {};
  }

  PostgresFailure write(Result&) {
    std::vector<PostgresQuery> queries;
    std::vector<std::ptrdiff_t> culprits;
    for (const auto& [row, total] : totals_) {
      if (!total.changed) continue;
      queries.push_back(write_total(total));
      culprits.push_back(total.delta);
    }
    for (const auto& [key, source] : sources_) {
      if (!source.changed) continue;
      queries.push_back(write_source(key.first, key.second, source.n, source.t));
      culprits.push_back(source.delta);
    }
    if (queries.empty()) return {};
    std::vector<PostgresReply> replies;
    if (Error error = connection_.exchange(queries, replies); error.failure != Failure::none) return fail(error, -1);
    for (std::size_t i = 0; i < replies.size(); ++i) {
      if (replies[i].error.failure != Failure::none) return fail(replies[i], culprits[i]);
    }
    return {};
  }

  PostgresQuery write_total(const Total& total) const {
    const CounterTable& where = op_.where;
    PostgresQuery query;
    if (total.exists) {
      query.sql =
          "UPDATE " + postgres_quoted_table(where.table) + " t SET " + postgres_quoted(where.value_column) + " = ";
      query.sql += query.bind(total.value);
      query.sql += where_key(query, where, *total.key);
      return query;
    }
    std::string columns = postgres_quoted(where.value_column);
    std::string marks = query.bind(total.value);
    for (std::size_t i = 0; i < std::min(total.key->size(), where.key_columns.size()); ++i) {
      columns += ", " + postgres_quoted(where.key_columns[i]);
      marks += ", " + query.bind((*total.key)[i]);
    }
    query.sql = "INSERT INTO " + postgres_quoted_table(where.table) + " (" + columns + ") VALUES (" + marks + ")";
    return query;
  }

  PostgresConnection& connection_;
  const FlushCounters& op_;
  std::vector<std::size_t> order_;
  std::map<SourceKey, Source> sources_;
  std::map<std::string, Total> totals_;
};

}  // namespace

std::string postgres_counter_ddl() {
  return "CREATE TABLE sluice_counter_src (key BYTEA NOT NULL, inc TEXT NOT NULL, n BIGINT NOT NULL, "
         "t BIGINT NOT NULL, retired SMALLINT NOT NULL DEFAULT 0, updated_at BIGINT NOT NULL, "
         "PRIMARY KEY (key, inc));";
}

Error postgres_counter_error(Error error) {
  if (error.sqlstate == "42P01" && error.message.find("sluice_counter_src") != std::string::npos) {
    error.message += "; create it with: " + postgres_counter_ddl();
  }
  return error;
}

PostgresQuery postgres_query(const ReadCounter& op) {
  // One statement sees one snapshot.
  PostgresQuery query = select_total(op.where, op.key);
  const std::string key = query.bind_bytes(op.redis_key);
  const std::string inc = query.bind_text(op.inc);
  const auto source = [&](const char* column) {
    return ", coalesce((SELECT s." + std::string(column) + " FROM sluice_counter_src s WHERE s.key = " + key +
           " AND s.inc = " + inc + "), 0)";
  };
  query.sql = "SELECT (" + query.sql + ")" + source("t") + source("n");
  return query;
}

Result postgres_read_counter(const PostgresConnection& connection, const PostgresReply& reply) {
  Result result;
  if (!integer(reply, 0) && !is_null(reply, 0)) {
    result.error = connection.error(Failure::refused, "22P02", "the stored total is not an integer");
    return result;
  }
  result.rows.push_back(postgres_row(reply.rows.get(), 0));
  return result;
}

PostgresFailure postgres_flush(PostgresConnection& connection, const FlushCounters& op,
                               const std::set<std::ptrdiff_t>& left_out, Result& result) {
  result.rows.resize(op.deltas.size());
  return Flush(connection, op, left_out).run(result);
}

}  // namespace sluice::sql

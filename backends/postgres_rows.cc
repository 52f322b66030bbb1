// Operations on rows: the statements, their steps, and the order in which a group sends them.
#include "backends/postgres_rows.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <numeric>
#include <string_view>
#include <utility>

#include "backends/parts.h"
#include "backends/postgres_batch.h"

namespace sluice::sql {

namespace {

bool is_null(const Bound& bound) { return std::holds_alternative<std::monostate>(bound.value); }

std::string where_key(PostgresQuery& query, const std::vector<Bound>& key) {
  return " WHERE " + joined(key, " AND ", [&](const Bound& k) {
           return "t." + postgres_quoted(k.column) + " = " + query.bind_key(k.value);
         });
}

std::string column_list(const std::vector<std::string>& columns) {
  const std::string list = joined(columns, ", ", [](const std::string& c) { return "t." + postgres_quoted(c); });
  return list.empty() ? "1" : list;
}

std::string from(const std::string& table) { return " FROM " + postgres_quoted_table(table) + " t"; }

// NO KEY: rows that refer to this one may still be inserted meanwhile.
constexpr const char* kLock = " FOR NO KEY UPDATE OF t";

PostgresQuery select_locked(const std::string& table, const std::vector<Bound>& key,
                            const std::vector<std::string>& columns) {
  PostgresQuery query("SELECT " + column_list(columns) + from(table));
  query.sql += where_key(query, key) + kLock;
  return query;
}

PostgresQuery update(const std::string& table, const std::vector<Bound>& key, const std::vector<Bound>& values,
                     const std::vector<std::string>& reset) {
  if (values.empty() && reset.empty()) return select_locked(table, key, {});
  PostgresQuery query("UPDATE " + postgres_quoted_table(table) + " t SET ");
  std::string assignments =
      joined(values, ", ", [&](const Bound& v) { return postgres_quoted(v.column) + " = " + query.bind(v.value); });
  for (const std::string& column : reset) {
    assignments += (assignments.empty() ? "" : ", ") + postgres_quoted(column) + " = DEFAULT";
  }
  query.sql += assignments + where_key(query, key);
  return query;
}

// The common case of a MergeRow at the cost of an UPDATE: no column was NULL that is set. Of several rows with the key
// some may have a NULL: it leaves them all alone, for merge() to find.
PostgresQuery overwrite(const MergeRow& op) {
  PostgresQuery query = update(op.table, op.key, op.values, {});
  if (std::all_of(op.values.begin(), op.values.end(), is_null)) return query;
  for (const Bound& value : op.values) {
    if (!is_null(value)) query.sql += " AND t." + postgres_quoted(value.column) + " IS NOT NULL";
  }
  query.sql += " AND (SELECT count(*) FROM (SELECT 1" + from(op.table);
  query.sql += where_key(query, op.key) + " LIMIT 2) k) = 1";
  return query;
}

// Tells for each column whether it was NULL: the row is locked before it is looked at, so nobody changes it in between.
PostgresQuery merge(const MergeRow& op) {
  PostgresQuery query;
  std::size_t number = 0;
  const std::string before = joined(op.values, ", ", [&](const Bound& v) {
    return "t." + postgres_quoted(v.column) + " IS NULL AS n" + std::to_string(number++);
  });
  const std::string key = where_key(query, op.key);
  query.sql = "WITH o AS MATERIALIZED (SELECT " + before + from(op.table) + key + kLock + ") UPDATE " +
              postgres_quoted_table(op.table) + " t SET ";
  query.sql +=
      joined(op.values, ", ", [&](const Bound& v) { return postgres_quoted(v.column) + " = " + query.bind(v.value); });
  query.sql += " FROM o" + key + " RETURNING o.*";
  return query;
}

PostgresQuery remove(const std::string& table, const std::vector<Bound>& key) {
  PostgresQuery query("DELETE" + from(table));
  query.sql += where_key(query, key);
  return query;
}

// Without ON CONFLICT: that would need a unique index, and run the triggers of an INSERT that does not happen.
PostgresQuery insert(const std::string& table, const std::vector<Bound>& key, const std::vector<Bound>& values) {
  const auto name = [](const Bound& b) { return postgres_quoted(b.column); };
  PostgresQuery query;
  const auto mark = [&](const Bound& b) { return query.bind(b.value); };
  const std::string separator = values.empty() ? "" : ", ";
  query.sql = "INSERT INTO " + postgres_quoted_table(table) + " (" + joined(key, ", ", name) + separator +
              joined(values, ", ", name) + ") VALUES (" + joined(key, ", ", mark) + separator;
  query.sql += joined(values, ", ", mark) + ")";
  return query;
}

PostgresQuery statement(const PostgresConnection& connection, const RunStatement& op, const NamedSql& named,
                        Error& error) {
  PostgresQuery query(named.text);
  for (const std::string& name : named.names) {
    const Value* const value = find_value(op.parameters, name);
    if (value == nullptr) {
      error = connection.error(Failure::schema, "42P02", "there is no value for the parameter :" + name);
      return query;
    }
    query.bind(*value);
  }
  return query;
}

std::string row_name(const std::string& table, const std::vector<Bound>& key) {
  std::string name = table;
  for (const Bound& bound : key) name.append(1, '\0').append(postgres_text(bound.value));
  return name;
}

}  // namespace

PostgresQuery postgres_query(const ReadRow& op) {
  PostgresQuery query("SELECT " + column_list(op.columns) + from(op.table));
  query.sql += where_key(query, op.key) + " LIMIT 1";
  return query;
}

PostgresQuery postgres_query(const ReadRows& op) {
  PostgresQuery query("SELECT " + column_list(all_columns(op)) + from(op.table) + " WHERE ");
  const auto name = [](const std::string& column) { return "t." + postgres_quoted(column); };
  query.sql += has_one_of(op, asked_keys(op), name, [&](const Value& value) { return query.bind_key(value); });
  return query;
}

PostgresQuery postgres_query(const ListRows& op) {
  const std::string keys = column_list(op.key_columns);
  PostgresQuery query("SELECT " + column_list(op.columns) + from(op.table) + " WHERE ");
  query.sql +=
      joined(op.key_columns, " AND ", [](const auto& name) { return "t." + postgres_quoted(name) + " IS NOT NULL"; });
  if (!op.after.empty()) {
    query.sql +=
        " AND (" + keys + ") > (" + joined(op.after, ", ", [&](const Value& v) { return query.bind_key(v); }) + ")";
  }
  query.sql += " ORDER BY " + keys + " LIMIT ";
  query.sql += query.bind(std::int64_t{op.limit});
  return query;
}

PostgresWrite::PostgresWrite(Target target) : target_(target) {
  if (const auto* run = std::get_if<const RunStatement*>(&target_)) {
    named_ = name_parameters((*run)->sql, NamedSql::Dialect::postgresql);
    return;
  }
  std::visit(
      [&](const auto* op) {
        if constexpr (requires { op->key; }) {
          table_ = &op->table;
          key_ = &op->key;
        }
        if constexpr (requires { op->values; }) values_ = &op->values;
        if constexpr (requires { op->reset; }) reset_ = &op->reset;
      },
      target_);
  row_ = row_name(*table_, *key_);
}

PostgresQuery PostgresWrite::query(const PostgresConnection& connection, Error& error) {
  static const std::vector<std::string> kNone;
  if (key_ != nullptr) {
    const auto null = std::find_if(key_->begin(), key_->end(), is_null);
    if (null != key_->end()) {
      error = connection.error(Failure::refused, "23502",
                               "the column '" + null->column + "' is part of the key and cannot be NULL");
    }
  }
  switch (step_) {
    case Step::first:
      break;
    case Step::merge:
      return merge(*std::get<const MergeRow*>(target_));
    case Step::insert:
      return insert(*table_, *key_, *values_);
    case Step::update:
      return update(*table_, *key_, *values_, *reset_);
    case Step::remove:
    case Step::done:
      return remove(*table_, *key_);
  }
  if (std::holds_alternative<const ReplaceRow*>(target_)) return update(*table_, *key_, *values_, *reset_);
  if (const auto* op = std::get_if<const MergeRow*>(&target_)) return overwrite(**op);
  if (const auto* op = std::get_if<const ModifyRow*>(&target_)) return select_locked(*table_, *key_, (*op)->columns);
  if (const auto* op = std::get_if<const RunStatement*>(&target_)) return statement(connection, **op, *named_, error);
  return remove(*table_, *key_);
}

Error PostgresWrite::take(const PostgresConnection& connection, const PostgresReply& reply) {
  const bool many = key_ != nullptr && reply.affected() > 1;
  if (many) {
    return connection.error(Failure::schema, "21000", "several rows have this key; its columns must be unique");
  }
  const bool found = reply.affected() > 0;
  switch (step_) {
    case Step::first:
      take_first(reply);
      break;
    case Step::merge:
      result_.affected = columns_added(*std::get<const MergeRow*>(target_), reply);
      step_ = found ? Step::done : Step::insert;
      break;
    case Step::insert:
      result_.affected = std::holds_alternative<const MergeRow*>(target_)
                             ? std::count_if(values_->begin(), values_->end(), [](auto& v) { return !is_null(v); })
                             : 1;
      result_.inserted = true;
      step_ = Step::done;
      break;
    case Step::update:
    case Step::remove:
    case Step::done:
      step_ = Step::done;
      break;
  }
  return {};
}

const ReplaceRow* PostgresWrite::replacement() const {
  const auto* const op = std::get_if<const ReplaceRow*>(&target_);
  return op != nullptr && step_ == Step::first ? *op : nullptr;
}

void PostgresWrite::take_replaced(bool found) { step_ = found ? Step::done : Step::insert; }

void PostgresWrite::take_first(const PostgresReply& reply) {
  const bool found = reply.affected() > 0;
  step_ = Step::done;
  if (const auto* op = std::get_if<const ModifyRow*>(&target_)) return decide(**op, reply);
  if (std::holds_alternative<const ReplaceRow*>(target_) && !found) step_ = Step::insert;
  if (const auto* op = std::get_if<const MergeRow*>(&target_); op != nullptr && !found) {
    step_ = (*op)->values.empty() ? Step::insert : Step::merge;
  }
  if (values_ == nullptr) result_.affected = reply.affected();
}

std::int64_t PostgresWrite::columns_added(const MergeRow& op, const PostgresReply& reply) const {
  std::int64_t added = 0;
  for (std::size_t i = 0; i < op.values.size() && reply.affected() > 0; ++i) {
    const bool was_null = postgres_value(reply.rows.get(), 0, static_cast<int>(i)) == Value{std::int64_t{1}};
    if (was_null && !is_null(op.values[i])) ++added;
  }
  return added;
}

void PostgresWrite::decide(const ModifyRow& op, const PostgresReply& reply) {
  const bool exists = reply.affected() > 0;
  result_.rows.clear();
  if (exists) result_.rows.push_back(postgres_row(reply.rows.get(), 0));
  change_ = op.decision->decide(exists ? &result_.rows[0] : nullptr);
  values_ = &change_.values;
  reset_ = &change_.reset;
  switch (change_.kind) {
    case RowChange::Kind::keep:
      break;
    case RowChange::Kind::refuse:
      refused_ = true;
      break;
    case RowChange::Kind::write:
      step_ = exists ? Step::update : Step::insert;
      result_.affected = 1;
      break;
    case RowChange::Kind::remove:
      step_ = exists ? Step::remove : Step::done;
      result_.affected = exists ? 1 : 0;
      break;
  }
}

namespace {

constexpr std::size_t kBatchesMax = 8;  // of a wave

// Positions of the writes, in waves: no wave has two of one row.
std::vector<std::vector<std::size_t>> waves_of(const std::vector<PostgresWrite>& writes) {
  std::vector<std::size_t> order(writes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto before = [&](std::size_t a, std::size_t b) {
    const std::string& left = writes[a].row();
    const std::string& right = writes[b].row();
    if (left.empty() || right.empty()) return !left.empty() && right.empty();  // what may touch any row comes last
    return left < right;
  };
  std::stable_sort(order.begin(), order.end(), before);
  std::vector<std::vector<std::size_t>> waves(1);
  std::size_t wave = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::string& row = writes[order[i]].row();
    wave = i > 0 && !row.empty() && row == writes[order[i - 1]].row() ? wave + 1 : 0;
    if (wave == waves.size()) waves.emplace_back();
    waves[wave].push_back(order[i]);
  }
  return waves;
}

class Group {
 public:
  Group(PostgresConnection& connection, std::vector<PostgresWrite>& writes, const std::vector<const Op*>& names,
        PostgresTables* tables)
      : connection_(connection), writes_(writes), names_(names), tables_(tables) {}

  PostgresFailure run() {
    for (std::vector<std::size_t>& wave : waves_of(writes_)) {
      while (!wave.empty()) {
        PostgresFailure failure = step(wave);
        failure.together = together_;
        if (failure.error.failure != Failure::none) return failure;
        std::erase_if(wave, [&](std::size_t i) { return writes_[i].done(); });
      }
    }
    return {};
  }

 private:
  // Statements of several rows come first.
  PostgresFailure step(const std::vector<std::size_t>& wave) {
    std::vector<PostgresQuery> queries;
    queries.reserve(wave.size());
    std::vector<std::size_t> single;
    const std::vector<PostgresBatch> batches = batches_of(wave, queries, single);
    for (const std::size_t i : single) {
      name(i);
      Error error;
      queries.push_back(writes_[i].query(connection_, error));
      if (error.failure != Failure::none) return failed_at(i, std::move(error));
    }
    std::vector<PostgresReply> replies;
    if (Error error = connection_.exchange(queries, replies); error.failure != Failure::none)
      return {std::move(error), -1, false, {}, {}};
    for (std::size_t at = 0; at < queries.size(); ++at) {
      const bool shared = at < batches.size();
      const std::size_t first = shared ? batches[at].writes()[0] : single[at - batches.size()];
      name(first);
      PostgresReply& reply = replies[at];
      Error error = connection_.named(reply.error);
      if (error.failure == Failure::none) {
        error = shared ? take(batches[at], reply) : writes_[first].take(connection_, reply);
      }
      if (shared) note(batches[at], queries[at].sql, error);
      if (error.failure != Failure::none) return failed_at(first, std::move(error), &reply);
    }
    return {};
  }

  static PostgresFailure failed_at(std::size_t write, Error error, PostgresReply* reply = nullptr) {
    PostgresFailure failure{std::move(error), static_cast<std::ptrdiff_t>(write), false, {}, {}};
    if (reply == nullptr) return failure;
    failure.stale = reply->stale;
    failure.index_schema = std::move(reply->index_schema);
    failure.index = std::move(reply->index);
    return failure;
  }

  // Those of the wave that share statements, which are added to `queries`; the others go to `single`.
  std::vector<PostgresBatch> batches_of(const std::vector<std::size_t>& wave, std::vector<PostgresQuery>& queries,
                                        std::vector<std::size_t>& single) {
    std::vector<PostgresBatch> batches, candidates;
    for (const std::size_t i : wave) {
      if (tables_ != nullptr && wave.size() > 1) join(candidates, i);
    }
    std::vector<bool> shared(writes_.size());
    for (PostgresBatch& batch : candidates) {
      if (batch.writes().size() < PostgresBatch::kRowsMin) continue;
      PostgresQuery query = batch.query(*tables_->find(batch.table()));
      if (!tables_->may_try(query.sql)) continue;
      for (const std::size_t i : batch.writes()) shared[i] = true;
      queries.push_back(std::move(query));
      batches.push_back(std::move(batch));
    }
    std::copy_if(wave.begin(), wave.end(), std::back_inserter(single), [&](std::size_t i) { return !shared[i]; });
    together_ = together_ || !batches.empty();
    return batches;
  }

  // Of a few shapes at a time: more are not worth the search.
  void join(std::vector<PostgresBatch>& batches, std::size_t write) {
    const ReplaceRow* const op = writes_[write].replacement();
    const PostgresTable* const table = op == nullptr ? nullptr : tables_->find(op->table);
    if (table == nullptr || !PostgresBatch::takes(*op, *table)) return;
    const bool joined =
        std::any_of(batches.begin(), batches.end(), [&](PostgresBatch& batch) { return batch.add(*op, write); });
    if (!joined && batches.size() < kBatchesMax) batches.emplace_back(*op, write);
  }

  Error take(const PostgresBatch& batch, const PostgresReply& reply) {
    const auto found = batch.found(reply.rows.get());
    if (!found) return connection_.error(Failure::schema, "21000", "several rows have one key");
    for (std::size_t i = 0; i < found->size(); ++i) writes_[batch.writes()[i]].take_replaced((*found)[i]);
    return {};
  }

  // What is known of the table may be out of date.
  void note(const PostgresBatch& batch, const std::string& sql, const Error& error) {
    tables_->note(sql, error.failure == Failure::none);
    if (error.failure != Failure::none) tables_->forget(batch.table());
  }

  void name(std::size_t write) {
    if (!names_.empty()) connection_.name_in_messages(*names_[write]);
  }

  PostgresConnection& connection_;
  std::vector<PostgresWrite>& writes_;
  const std::vector<const Op*>& names_;
  PostgresTables* const tables_;
  bool together_ = false;
};

}  // namespace

PostgresFailure postgres_write(PostgresConnection& connection, std::vector<PostgresWrite>& writes,
                               const std::vector<const Op*>& names, PostgresTables* tables) {
  return Group(connection, writes, names, tables).run();
}

}  // namespace sluice::sql

// Batches, see mysql_batch.h.
#include "backends/mysql_batch.h"

#include <algorithm>
#include <bit>
#include <compare>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "backends/mysql_errors.h"
#include "backends/mysql_query.h"
#include "backends/mysql_statements.h"
#include "backends/parts.h"

namespace sluice::sql {

namespace {

using Lock = MysqlQuery::Lock;

constexpr std::size_t kRowsMax = 64;
constexpr std::size_t kBytesMax = std::size_t{1} << 20;  // of values; longer ones gain nothing by company

const std::vector<Bound> kNoBounds;
const std::vector<std::string> kNoNames;

// What the writes have in common.
struct Write {
  const std::string& table;
  const std::vector<Bound>& key;
  const std::vector<Bound>& values;
  const std::vector<std::string>& reset;
};

struct ToWrite {
  Write operator()(const ReplaceRow& op) const { return {op.table, op.key, op.values, op.reset}; }
  Write operator()(const MergeRow& op) const { return {op.table, op.key, op.values, kNoNames}; }
  Write operator()(const DeleteRow& op) const { return {op.table, op.key, kNoBounds, kNoNames}; }
  Write operator()(const ModifyRow& op) const { return {op.table, op.key, kNoBounds, kNoNames}; }
  template <class Other>
  Write operator()(const Other&) const {
    static const std::string kNoTable;
    return {kNoTable, kNoBounds, kNoBounds, kNoNames};
  }
};

Write write_of(const Op& op) { return std::visit(ToWrite{}, op); }

bool may_share(const Op& op) { return std::holds_alternative<ReplaceRow>(op) || std::holds_alternative<MergeRow>(op); }

std::strong_ordering compare(const Value& a, const Value& b) {
  if (a.index() != b.index()) return a.index() <=> b.index();
  if (const auto* integer = std::get_if<std::int64_t>(&a)) return *integer <=> std::get<std::int64_t>(b);
  if (const auto* text = std::get_if<std::string>(&a)) return text->compare(std::get<std::string>(b)) <=> 0;
  if (const auto* blob = std::get_if<Blob>(&a)) return blob->bytes.compare(std::get<Blob>(b).bytes) <=> 0;
  if (const auto* real = std::get_if<double>(&a)) return std::strong_order(*real, std::get<double>(b));
  return std::strong_ordering::equal;
}

std::strong_ordering compare(const std::vector<Bound>& a, const std::vector<Bound>& b) {
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (const auto order = compare(a[i].value, b[i].value); std::is_neq(order)) return order;
  }
  return a.size() <=> b.size();
}

// Names what all statements for the operation depend on.
std::string shape_of(const Op& op, const Write& write) {
  std::string shape = std::to_string(op.index());
  for (const auto* bounds : {&write.key, &write.values}) {
    shape += '\n';
    for (const Bound& bound : *bounds) shape.append(bound.column) += '\t';
  }
  for (const std::string& name : write.reset) shape.append(name) += '\r';
  return shape;
}

bool same_columns(const std::vector<Bound>& a, const std::vector<Bound>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Bound& x, const Bound& y) { return x.column == y.column; });
}

bool same_shape(const Op& a, const Op& b) {
  const Write x = write_of(a);
  const Write y = write_of(b);
  return a.index() == b.index() && x.table == y.table && same_columns(x.key, y.key) &&
         same_columns(x.values, y.values) && x.reset == y.reset;
}

std::size_t bytes_of(const std::vector<Bound>& bounds) {
  std::size_t bytes = 0;
  for (const Bound& bound : bounds) {
    if (const auto* text = std::get_if<std::string>(&bound.value)) bytes += text->size();
    if (const auto* blob = std::get_if<Blob>(&bound.value)) bytes += blob->bytes.size();
  }
  return bytes;
}

// The kinds of values that a statement has had so far, NULL counting as any: an expression over several rows has one
// type, and a value must not be converted to that of another row.
class Kinds {
 public:
  bool take(const std::vector<Bound>& bounds) {
    kinds_.resize(bounds.size());
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      const std::size_t kind = bounds[i].value.index();
      if (kind != 0 && kinds_[i] != 0 && kinds_[i] != kind) return false;
    }
    for (std::size_t i = 0; i < bounds.size(); ++i) kinds_[i] = std::max(kinds_[i], bounds[i].value.index());
    return true;
  }

 private:
  std::vector<std::size_t> kinds_;
};

// The same for keys that are the same bytes.
void append_name(std::string& name, const Value& value) {
  name += static_cast<char>('0' + value.index());
  if (const auto* integer = std::get_if<std::int64_t>(&value)) name += std::to_string(*integer);
  if (const auto* text = std::get_if<std::string>(&value))
    name.append(std::to_string(text->size()) + ":").append(*text);
  if (const auto* blob = std::get_if<Blob>(&value)) {
    name.append(std::to_string(blob->bytes.size()) + ":").append(blob->bytes);
  }
}

const std::string* unique_index(const MysqlTable& table, const std::vector<Bound>& key) {
  const auto has = [&](const std::string& column) {
    return std::any_of(key.begin(), key.end(), [&](const Bound& bound) { return bound.column == column; });
  };
  const auto& keys = table.table.unique_keys;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].size() == key.size() && std::all_of(keys[i].begin(), keys[i].end(), has)) return &table.indexes[i];
  }
  return nullptr;
}

// One batch on its way.
class Batch {
 public:
  Batch(MysqlConnection& connection, MysqlSchema& schema, std::span<const Op* const> ops,
        std::span<const std::size_t> batch, std::vector<Result>& results)
      : connection_(connection), schema_(schema), merges_(std::holds_alternative<MergeRow>(*ops[batch[0]])) {
    for (const std::size_t i : batch) rows_.push_back({write_of(*ops[i]), &results[i]});
  }

  Error run() {
    if (Error error = check(); error.failure != Failure::none) return error;
    if (Error error = lock(); error.failure != Failure::none) return error;
    std::vector<const Item*> there, absent;
    for (const Item& row : rows_) (row.exists ? there : absent).push_back(&row);
    const int statements = (there.empty() ? 0 : 1) + std::popcount(absent.size());
    if (statements <= 1) return write(there, absent);
    if (Error error = connection_.execute("SAVEPOINT batch"); error.failure != Failure::none) return error;
    Error error = write(there, absent);
    if (error.failure != Failure::none && is_alone(error)) connection_.execute("ROLLBACK TO batch");
    return error;
  }

 private:
  struct Item {
    Write write;
    Result* result;
    bool exists = false;
  };

  bool is_alone(const Error& error) const {
    return fails_alone(error.failure) || mysql_is_wait(connection_.last_code());
  }

  Error check() {
    for (const Item& row : rows_) {
      const MysqlTarget target = mysql_target(connection_, schema_, row.write.table, row.write.key, row.write.values);
      if (!target.ok()) return target.error;
      table_ = target.table;
    }
    index_ = unique_index(*table_, rows_[0].write.key);
    if (index_ == nullptr) return connection_.error(Failure::schema, "21000", "the key is not unique");
    from_ = mysql_quoted_table(table_->table.name) + " FORCE INDEX (" + mysql_quoted(*index_) + ")";
    return {};
  }

  const std::vector<Bound>& key() const { return rows_[0].write.key; }
  const std::vector<Bound>& values() const { return rows_[0].write.values; }
  const Column* column(const Bound& bound) const { return mysql_find_column(table_->table, bound.column); }

  std::string condition(std::size_t rows) const {
    std::string out = key().size() == 1 ? mysql_quoted(key()[0].column) + " IN (" : "";
    for (std::size_t i = 0; i < rows; ++i) {
      if (key().size() == 1) {
        out += i == 0 ? "?" : ", ?";
      } else {
        out.append(i == 0 ? "(" : " OR (").append(mysql_key_condition(key())) += ')';
      }
    }
    return key().size() == 1 ? out + ")" : out;
  }

  // The row stays bound to the last one for the places that are left over: statements come in few sizes.
  template <class Rows>
  void bind_keys(MysqlQuery& query, const Rows& rows, std::size_t places) const {
    for (std::size_t i = 0; i < places; ++i) {
      mysql_bind_all(query, *table_, item(rows, std::min(i, rows.size() - 1)).write.key);
    }
  }
  static const Item& item(const std::vector<Item>& rows, std::size_t i) { return rows[i]; }
  static const Item& item(const std::vector<const Item*>& rows, std::size_t i) { return *rows[i]; }

  // Locks the rows that are there, and counts what a merge adds to them.
  Error lock() {
    const std::size_t places = std::bit_ceil(rows_.size());
    std::string list = joined(key(), ", ", [](const Bound& b) { return mysql_quoted(b.column); });
    if (merges_) {
      for (const Bound& bound : values()) list += ", " + mysql_quoted(bound.column) + " IS NULL";
    }
    MysqlQuery query(connection_, "SELECT " + list + " FROM " + from_ + " WHERE " + condition(places) + " FOR UPDATE",
                     Lock::waits);
    bind_keys(query, rows_, places);
    std::unordered_map<std::string, Item*> by_key;
    for (Item& row : rows_) {
      std::string name;
      for (const Bound& bound : row.write.key) append_name(name, bound.value);
      by_key.emplace(std::move(name), &row);
      *row.result = {};
      row.result->affected = merges_ ? count_values(row.write.values) : 1;
      row.result->inserted = true;
    }
    while (query.next()) {
      std::string name;
      for (std::size_t i = 0; i < key().size(); ++i) append_name(name, query.value(static_cast<int>(i)));
      const auto found = by_key.find(name);
      // A collation that takes another key for this one, or a type that is written in several ways.
      if (found == by_key.end()) return connection_.error(Failure::refused, "22018", "a key has another form");
      found->second->exists = true;
      found->second->result->inserted = false;
      found->second->result->affected = merges_ ? count_added(query, found->second->write.values) : 0;
    }
    return query.error();
  }

  static std::int64_t count_values(const std::vector<Bound>& values) {
    return std::count_if(values.begin(), values.end(),
                         [](const Bound& b) { return !std::holds_alternative<std::monostate>(b.value); });
  }

  std::int64_t count_added(const MysqlQuery& query, const std::vector<Bound>& values) const {
    std::int64_t added = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const bool was_null = query.integer(static_cast<int>(key().size() + i)) != 0;
      if (was_null && !std::holds_alternative<std::monostate>(values[i].value)) ++added;
    }
    return added;
  }

  Error write(const std::vector<const Item*>& there, const std::vector<const Item*>& absent) {
    Error error = there.empty() ? Error{} : update(there);
    for (std::size_t begin = 0; begin < absent.size() && error.failure == Failure::none;) {
      const std::size_t count = std::bit_floor(absent.size() - begin);
      error = insert(std::span(absent).subspan(begin, count));
      begin += count;
    }
    return error;
  }

  // `a` = CASE `key` WHEN ? THEN ? WHEN ? THEN ? END: an UPDATE can neither meet another row's unique key unnoticed nor
  // ask for columns that the operation does not have, as INSERT ... ON DUPLICATE KEY UPDATE would.
  Error update(const std::vector<const Item*>& rows) {
    const std::size_t places = std::bit_ceil(rows.size());
    const std::vector<std::string>& reset = rows[0]->write.reset;
    if (values().empty() && reset.empty()) return {};
    const bool one = key().size() == 1;
    const std::string when = one ? " WHEN ? THEN ?" : " WHEN " + mysql_key_condition(key()) + " THEN ?";
    std::string sql = "UPDATE " + from_ + " SET ";
    for (std::size_t i = 0; i < values().size(); ++i) {
      sql.append(i == 0 ? "" : ", ").append(mysql_quoted(values()[i].column)).append(" = CASE");
      if (one) sql += " " + mysql_quoted(key()[0].column);
      for (std::size_t row = 0; row < places; ++row) sql += when;
      sql += " END";
    }
    for (const std::string& name : reset) {
      sql.append(sql.ends_with("SET ") ? "" : ", ").append(mysql_quoted(name)).append(" = DEFAULT");
    }
    MysqlQuery query(connection_, sql + " WHERE " + condition(places), Lock::waits);
    for (std::size_t i = 0; i < values().size(); ++i) {
      const Column* const target = column(values()[i]);
      for (std::size_t place = 0; place < places; ++place) {
        const Write& write = rows[std::min(place, rows.size() - 1)]->write;
        mysql_bind_all(query, *table_, write.key);
        query.bind(write.values[i].value, target);
      }
    }
    bind_keys(query, rows, places);
    Error error = query.run();
    if (error.failure != Failure::none || query.changes() == static_cast<std::int64_t>(rows.size())) return error;
    return connection_.error(Failure::schema, "21000", "several rows have one key");
  }

  Error insert(std::span<const Item* const> rows) {
    MysqlQuery query(connection_, mysql_insert(table_->table.name, key(), values(), rows.size()), Lock::waits);
    for (const Item* row : rows) {
      mysql_bind_all(query, *table_, row->write.key);
      mysql_bind_all(query, *table_, row->write.values);
    }
    return query.run();
  }

  MysqlConnection& connection_;
  MysqlSchema& schema_;
  const bool merges_;
  std::vector<Item> rows_;
  const MysqlTable* table_ = nullptr;
  const std::string* index_ = nullptr;  // that has the key
  std::string from_;
};

}  // namespace

std::vector<std::size_t> mysql_batch_order(std::span<const Op* const> ops) {
  struct Place {
    Write write;
    std::size_t at;
    bool last;
    std::size_t shape;
  };
  std::vector<Place> places;
  places.reserve(ops.size());
  for (std::size_t i = 0; i < ops.size(); ++i) {
    places.push_back({write_of(*ops[i]), i, std::holds_alternative<RunStatement>(*ops[i]), 0});
  }
  std::vector<std::size_t> order(ops.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto same_row = [&](std::size_t a, std::size_t b) {
    return !places[a].last && places[a].write.table == places[b].write.table &&
           std::is_eq(compare(places[a].write.key, places[b].write.key));
  };
  const auto before = [&](std::size_t a, std::size_t b) {
    const Place& x = places[a];
    const Place& y = places[b];
    if (x.last != y.last) return y.last;
    if (x.last) return false;
    if (const auto by = x.write.table <=> y.write.table; std::is_neq(by)) return std::is_lt(by);
    if (x.shape != y.shape) return x.shape < y.shape;
    return std::is_lt(compare(x.write.key, y.write.key));
  };
  std::stable_sort(order.begin(), order.end(), before);
  if (std::adjacent_find(order.begin(), order.end(), same_row) != order.end()) return order;
  std::map<std::string, std::size_t> shapes;
  for (Place& place : places) {
    place.shape = shapes.emplace(shape_of(*ops[place.at], place.write), shapes.size()).first->second;
  }
  if (shapes.size() > 1) std::stable_sort(order.begin(), order.end(), before);
  return order;
}

std::size_t mysql_batch_size(std::span<const Op* const> ops, std::span<const std::size_t> order) {
  const Op& first = *ops[order[0]];
  if (!may_share(first)) return 1;
  Kinds keys, values;
  std::size_t size = 0, bytes = 0;
  for (; size < std::min(order.size(), kRowsMax); ++size) {
    const Op& op = *ops[order[size]];
    if (size > 0 && !same_shape(first, op)) break;
    const Write write = write_of(op);
    if (size > 0 && std::is_eq(compare(write_of(*ops[order[size - 1]]).key, write.key))) break;
    bytes += bytes_of(write.key) + bytes_of(write.values);
    if (bytes > kBytesMax || !keys.take(write.key) || !values.take(write.values)) break;
  }
  return std::max<std::size_t>(size, 1);
}

Error mysql_run_batch(MysqlConnection& connection, MysqlSchema& schema, std::span<const Op* const> ops,
                      std::span<const std::size_t> batch, std::vector<Result>& results) {
  return Batch(connection, schema, ops, batch, results).run();
}

}  // namespace sluice::sql

// PostgresBatch: which rows go together, and the texts of arrays.
#include "backends/postgres_batch.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "backends/parts.h"

namespace sluice::sql {

namespace {

bool same_columns(const std::vector<Bound>& a, const std::vector<Bound>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Bound& left, const Bound& right) { return left.column == right.column; });
}

// A zero byte is refused, and bytes do not travel as text.
bool fits(const Value& value) {
  if (std::holds_alternative<Blob>(value)) return false;
  const auto* const text = std::get_if<std::string>(&value);
  return text == nullptr || text->find('\0') == std::string::npos;
}

std::size_t size_of(const std::vector<Bound>& values) {
  constexpr std::size_t kNumber = 24;
  std::size_t bytes = 0;
  for (const Bound& bound : values) {
    const auto* const text = std::get_if<std::string>(&bound.value);
    bytes += text == nullptr ? kNumber : text->size();
  }
  return bytes;
}

std::size_t size_of(const ReplaceRow& op) { return size_of(op.key) + size_of(op.values); }

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t special = std::min(text.find_first_of("\"\\", at), text.size());
    out.append(text, at, special - at);
    if (special < text.size()) out.append(1, '\\').append(1, text[special]);
    at = special + 1;
  }
  out += '"';
}

void append_element(std::string& out, const Value& value) {
  if (std::holds_alternative<std::monostate>(value)) {
    out += "NULL";
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    append_quoted(out, *text);
  } else {
    append_quoted(out, postgres_text(value));
  }
}

// "{"a",NULL,"c"}" of the column at this position in `member`.
std::string array_of(const std::vector<const ReplaceRow*>& ops, std::vector<Bound> ReplaceRow::*member,
                     std::size_t column) {
  std::string text = "{";
  for (const ReplaceRow* op : ops) {
    if (text.size() > 1) text += ',';
    append_element(text, (op->*member)[column].value);
  }
  return text += '}';
}

}  // namespace

bool PostgresBatch::takes(const ReplaceRow& op, const PostgresTable& table) {
  if (op.values.empty() && op.reset.empty()) return false;
  const auto is_null = [](const Bound& b) { return std::holds_alternative<std::monostate>(b.value); };
  if (!table.is_key(op.key) || std::any_of(op.key.begin(), op.key.end(), is_null)) return false;
  const auto is_taken = [&](const Bound& b) {
    const auto column = table.columns.find(b.column);
    return column != table.columns.end() && column->second.values != 0 && fits(b.value);
  };
  return std::all_of(op.key.begin(), op.key.end(), is_taken) &&
         std::all_of(op.values.begin(), op.values.end(), is_taken);
}

PostgresBatch::PostgresBatch(const ReplaceRow& first, std::size_t write)
    : ops_{&first}, writes_{write}, bytes_(size_of(first)) {}

bool PostgresBatch::add(const ReplaceRow& op, std::size_t write) {
  const ReplaceRow& first = *ops_[0];
  if (op.table != first.table || !same_columns(op.key, first.key) || !same_columns(op.values, first.values) ||
      op.reset != first.reset) {
    return false;
  }
  const std::size_t bytes = bytes_ + size_of(op);
  if (ops_.size() == kRowsMax || bytes > kBytesMax) return false;
  ops_.push_back(&op);
  writes_.push_back(write);
  bytes_ = bytes;
  return true;
}

PostgresQuery PostgresBatch::query(const PostgresTable& table) const {
  const ReplaceRow& first = *ops_[0];
  PostgresQuery query;
  std::string arrays, names, where, set;
  std::size_t number = 0;
  const auto add = [&](const std::string& array) {
    arrays += (arrays.empty() ? "" : ", ") + array;
    const std::string name = "c" + std::to_string(number++);
    names += name + ", ";
    return "v." + name;
  };
  for (std::size_t i = 0; i < first.key.size(); ++i) {
    const std::string& column = first.key[i].column;
    const Oid type = table.columns.at(column).keys;
    where += (i == 0 ? "t." : " AND t.") + postgres_quoted(column) + " = " +
             add(query.bind_array(array_of(ops_, &ReplaceRow::key, i), type));
  }
  for (std::size_t i = 0; i < first.values.size(); ++i) {
    const std::string& column = first.values[i].column;
    const Oid type = table.columns.at(column).values;
    set += (set.empty() ? "" : ", ") + postgres_quoted(column) + " = " +
           add(query.bind_array(array_of(ops_, &ReplaceRow::values, i), type));
  }
  for (const std::string& column : first.reset) {
    set += (set.empty() ? "" : ", ") + postgres_quoted(column) + " = DEFAULT";
  }
  query.sql = "UPDATE " + postgres_quoted_table(first.table) + " t SET " + set + " FROM unnest(" + arrays +
              ") WITH ORDINALITY AS v(" + names + "n) WHERE " + where + " RETURNING v.n";
  return query;
}

std::optional<std::vector<bool>> PostgresBatch::found(const PGresult* rows) const {
  std::vector<bool> found(writes_.size());
  for (int i = 0; i < PQntuples(rows); ++i) {
    const std::string_view text(PQgetvalue(rows, i, 0), static_cast<std::size_t>(PQgetlength(rows, i, 0)));
    std::size_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    if (number == 0 || number > found.size() || found[number - 1]) return std::nullopt;
    found[number - 1] = true;
  }
  return found;
}

}  // namespace sluice::sql

// Parts that the backends have in common.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "backends/sql.h"

namespace sluice::sql {

inline Result failed(Error error) {
  Result result;
  result.error = std::move(error);
  return result;
}

// Of these nothing but the operation itself is undone; after the others the transaction cannot go on.
inline bool fails_alone(Failure failure) { return failure == Failure::refused || failure == Failure::schema; }

// Joins what `each` makes of the items.
template <class Items, class Each>
std::string joined(const Items& items, const char* separator, Each each) {
  std::string out;
  for (const auto& item : items) {
    if (!out.empty()) out += separator;
    out += each(item);
  }
  return out;
}

// Which keys of a ReadRows its statement asks for: all, and the last one again until their number is a power of two, so
// that few different statements are prepared.
inline std::vector<const std::vector<Value>*> asked_keys(const ReadRows& op) {
  std::vector<const std::vector<Value>*> keys;
  for (const std::vector<Value>& key : op.keys) keys.push_back(&key);
  keys.resize(std::bit_ceil(keys.size()), &op.keys.back());
  return keys;
}

// The key columns, then those that were asked for.
inline std::vector<std::string> all_columns(const ReadRows& op) {
  std::vector<std::string> columns = op.key_columns;
  columns.insert(columns.end(), op.columns.begin(), op.columns.end());
  return columns;
}

// The condition that a row has one of these keys. By pairs of columns no database finds its place in an index as surely
// as by single ones. `name` and `mark` give a column and the parameter for its value.
template <class Name, class Mark>
std::string has_one_of(const ReadRows& op, const std::vector<const std::vector<Value>*>& keys, Name name, Mark mark) {
  if (op.key_columns.size() == 1) {
    return name(op.key_columns[0]) + " IN (" + joined(keys, ", ", [&](const auto* key) { return mark((*key)[0]); }) +
           ")";
  }
  return joined(keys, " OR ", [&](const auto* key) {
    std::string all;
    for (std::size_t i = 0; i < op.key_columns.size(); ++i) {
      all += (i == 0 ? "(" : " AND ") + name(op.key_columns[i]) + " = " + mark((*key)[i]);
    }
    return all + ")";
  });
}

// Whether the decision, which sees the same row again, wants nothing of the whole.
inline bool refuses(const RowWrite& write, const Result& result) {
  const auto* const modify = std::get_if<ModifyRow>(&write);
  if (modify == nullptr) return false;
  return modify->decision->decide(result.rows.empty() ? nullptr : &result.rows[0]).kind == RowChange::Kind::refuse;
}

// One after the other, by `run`, in a transaction that the caller undoes when it fails or comes to nothing.
template <class Run>
Result write_each(const WriteRows& op, Run run) {
  Result whole;
  whole.affected = 1;
  for (const RowWrite& part : op.writes) {
    Result result = std::visit(run, part);
    if (!result.ok()) return failed(std::move(result.error));
    if (refuses(part, result)) whole.affected = 0;
    whole.parts.push_back(std::move(result));
  }
  return whole;
}

// A time whose seconds have a fraction, in the form of contract.md: "10:00:00.5" is "10:00:00.500000". What follows the
// fraction stays, and so does one that is not of microseconds.
inline std::string with_microseconds(std::string text) {
  constexpr std::size_t kDigits = 6;
  const std::size_t point = text.find('.');
  if (point == std::string::npos) return text;
  const std::size_t end = std::min(text.find_first_not_of("0123456789", point + 1), text.size());
  const std::size_t digits = end - point - 1;
  if (digits == 0 || digits > kDigits) return text;
  if (text.find_first_not_of('0', point + 1) >= end) return text.erase(point, digits + 1);
  return text.insert(end, kDigits - digits, '0');
}

}  // namespace sluice::sql

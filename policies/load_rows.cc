// LoadRows, see load_rows.h.
#include "policies/load_rows.h"

#include <cstddef>
#include <span>
#include <unordered_map>

namespace sluice::policies {
namespace {

std::vector<sql::Value> values_of(const std::vector<sql::Bound>& key) {
  std::vector<sql::Value> values;
  values.reserve(key.size());
  for (const sql::Bound& bound : key) values.push_back(bound.value);
  return values;
}

}  // namespace

sql::Op read_of(const std::string& table, const Mapping& mapping, const std::vector<Target*>& targets) {
  if (targets.size() == 1) return sql::ReadRow{table, targets[0]->row_key, mapping.columns()};
  sql::ReadRows read{table, {}, {}, mapping.columns()};
  for (const sql::Bound& bound : targets[0]->row_key) read.key_columns.push_back(bound.column);
  for (const Target* target : targets) read.keys.push_back(values_of(target->row_key));
  return read;
}

void check_columns(sql::Result& result, const Mapping& mapping, const std::vector<Target*>& targets) {
  const std::size_t before = targets.size() == 1 ? 0 : targets[0]->row_key.size();
  for (const sql::Row& row : result.rows) {
    if (!result.ok() || row.size() == before + mapping.columns().size()) continue;
    result.error = {sql::Failure::schema, "", "the row read has other columns than the table"};
  }
}

DealtRows deal_rows(std::vector<sql::Row>& rows, const Mapping& mapping, const std::vector<Target*>& targets) {
  const std::size_t key_size = targets[0]->row_key.size();
  std::unordered_map<std::string, sql::Row> by_key;
  for (sql::Row& row : rows) {
    std::string key = mapping.key_text(std::span(row).first(key_size));
    row.erase(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(key_size));
    by_key.try_emplace(std::move(key), std::move(row));
  }
  DealtRows dealt;
  for (Target* target : targets) {
    auto found = by_key.extract(mapping.key_text(values_of(target->row_key)));
    if (found) {
      dealt.found.emplace_back(target, std::move(found.mapped()));
    } else {
      dealt.without.push_back(target);
    }
  }
  dealt.left_over = !by_key.empty();
  return dealt;
}

}  // namespace sluice::policies

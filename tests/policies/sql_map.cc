// SqlMap, see sql_map.h.
#include "tests/policies/sql_map.h"

#include <algorithm>
#include <iterator>

namespace sluice::policies::testing {

using sql::ColumnType;

std::string SqlMap::name(const std::vector<sql::Value>& key) {
  std::string name;
  for (const sql::Value& value : key) {
    if (const auto* text = std::get_if<std::string>(&value)) name += "'" + *text + "',";
    if (const auto* number = std::get_if<std::int64_t>(&value)) name += std::to_string(*number) + ",";
  }
  return name;
}

std::string SqlMap::name(const std::vector<sql::Bound>& key) {
  std::vector<sql::Value> values;
  for (const sql::Bound& bound : key) values.push_back(bound.value);
  return name(values);
}

sql::Row SqlMap::flush_one(const sql::FlushCounters& flush, const sql::CounterDelta& delta) {
  if (delta.redis_key == refused_key) return {sql::Value(), std::string("22001"), std::string("too long")};
  for (const std::string& inc : delta.retired) sources_[{delta.redis_key, inc}].retired = true;
  const auto found = sources_.find({delta.redis_key, delta.inc});
  const bool first = found == sources_.end();
  Source& source = sources_[{delta.redis_key, delta.inc}];
  if (source.retired || delta.n <= source.n) return {std::int64_t{0}};
  Cells& row = rows_[name(delta.key)];
  sql::Value& cell = row[flush.where.value_column];
  const std::int64_t before = std::holds_alternative<std::int64_t>(cell) ? std::get<std::int64_t>(cell) : 0;
  const std::int64_t after = first && delta.base ? *delta.base + delta.t : before + delta.t - source.t;
  cell = after;
  source.n = delta.n;
  source.t = delta.t;
  return {after - before};
}

sql::Result SqlMap::change(const sql::ModifyRow& modify) {
  sql::Result result = run(sql::ReadRow{modify.table, modify.key, modify.columns});
  const sql::RowChange change = modify.decision->decide(result.rows.empty() ? nullptr : &result.rows[0]);
  result.affected = change.kind == sql::RowChange::Kind::write || change.kind == sql::RowChange::Kind::remove ? 1 : 0;
  if (change.kind == sql::RowChange::Kind::write) {
    run(sql::ReplaceRow{modify.table, modify.key, change.values, change.reset});
  } else if (change.kind == sql::RowChange::Kind::remove) {
    rows_.erase(name(modify.key));
  }
  return result;
}

sql::Result SqlMap::write_all(const sql::WriteRows& all) {
  const auto before = rows_;
  sql::Result whole;
  whole.affected = 1;
  for (const sql::RowWrite& write : all.writes) {
    whole.parts.push_back(std::visit([&](const auto& one) { return run(one); }, write));
    const auto* const modify = std::get_if<sql::ModifyRow>(&write);
    if (modify == nullptr) continue;
    const auto& rows = whole.parts.back().rows;
    const auto kind = modify->decision->decide(rows.empty() ? nullptr : &rows[0]).kind;
    if (kind == sql::RowChange::Kind::refuse) whole.affected = 0;
  }
  if (whole.affected == 0) rows_ = before;
  return whole;
}

// In the order of the keys as text.
std::vector<sql::Row> SqlMap::list(const sql::ListRows& list) {
  std::vector<sql::Row> rows;
  for (auto row = rows_.upper_bound(name(list.after)); row != rows_.end() && rows.size() < list.limit; ++row) {
    rows.emplace_back();
    for (const std::string& column : list.columns) rows.back().push_back(row->second[column]);
  }
  return rows;
}

sql::Result SqlMap::run(const sql::Op& op) {
  sql::Result result;
  std::visit(
      [this](const auto& one) {
        if constexpr (requires { one.guard; }) guards.push_back(one.guard);
      },
      op);
  if (std::holds_alternative<sql::Describe>(op)) {
    result.table = table_;
  } else if (const auto* list = std::get_if<sql::ListRows>(&op)) {
    result.rows = this->list(*list);
  } else if (const auto* read = std::get_if<sql::ReadRow>(&op)) {
    ++reads;
    const auto found = rows_.find(name(read->key));
    if (found == rows_.end()) return result;
    sql::Row row;
    for (const std::string& column : read->columns) row.push_back(found->second[column]);
    result.rows.push_back(std::move(row));
  } else if (const auto* several = std::get_if<sql::ReadRows>(&op)) {
    ++reads;
    for (const auto& key : several->keys) {
      const auto found = rows_.find(name(key));
      if (found == rows_.end()) continue;
      sql::Row row = key;
      for (const std::string& column : several->columns) row.push_back(found->second[column]);
      result.rows.push_back(std::move(row));
    }
  } else if (const auto* replace = std::get_if<sql::ReplaceRow>(&op)) {
    result.affected = rows_.contains(name(replace->key)) ? 0 : 1;
    Cells& cells = rows_[name(replace->key)];
    for (const auto& list : {replace->key, replace->values}) {
      for (const sql::Bound& bound : list) cells[bound.column] = bound.value;
    }
    for (const std::string& column : replace->reset) cells[column] = {};
  } else if (const auto* merge = std::get_if<sql::MergeRow>(&op)) {
    result.inserted = !rows_.contains(name(merge->key));
    Cells& cells = rows_[name(merge->key)];
    for (const sql::Bound& bound : merge->values) {
      result.affected += std::holds_alternative<std::monostate>(cells[bound.column]) ? 1 : 0;
      cells[bound.column] = bound.value;
    }
    for (const sql::Bound& bound : merge->key) cells[bound.column] = bound.value;
  } else if (const auto* remove = std::get_if<sql::DeleteRow>(&op)) {
    result.affected = static_cast<std::int64_t>(rows_.erase(name(remove->key)));
  } else if (const auto* modify = std::get_if<sql::ModifyRow>(&op)) {
    return change(*modify);
  } else if (const auto* all = std::get_if<sql::WriteRows>(&op)) {
    return write_all(*all);
  } else if (const auto* statement = std::get_if<sql::RunStatement>(&op)) {
    statements.push_back(*statement);
  } else if (const auto* count = std::get_if<sql::ReadCounter>(&op)) {
    ++reads;
    const auto row = rows_.find(name(count->key));
    const auto source = sources_.find({count->redis_key, count->inc});
    const Source known = source == sources_.end() ? Source{} : source->second;
    result.rows.push_back(
        {row == rows_.end() ? sql::Value() : row->second[count->where.value_column], known.t, known.n});
  } else if (const auto* flush = std::get_if<sql::FlushCounters>(&op)) {
    ++flushes;
    for (const sql::CounterDelta& delta : flush->deltas) result.rows.push_back(flush_one(*flush, delta));
  } else if (const auto* look = std::get_if<sql::ReadOutbox>(&op)) {
    std::copy_if(outbox.begin(), outbox.end(), std::back_inserter(result.rows),
                 [&](const sql::Row& row) { return std::get<std::int64_t>(row[0]) > look->after; });
  } else if (std::holds_alternative<sql::CheckOutbox>(op)) {
    return result;  // nothing is wrong
  } else if (const auto* forget = std::get_if<sql::ForgetOutbox>(&op)) {
    for (const std::int64_t entry : forget->entries) {
      result.affected += static_cast<std::int64_t>(
          std::erase_if(outbox, [&](const sql::Row& row) { return row[0] == sql::Value(entry); }));
    }
  } else {
    result.error = {sql::Failure::schema, "0A000", "not in this double"};
  }
  return result;
}

sql::Table fruit_table() {
  sql::Table table{"fruit", {}, {{"id"}}};
  table.columns = {{"id", ColumnType::integer, false, true, false, true},
                   {"name", ColumnType::text, false, false, false, false},
                   {"quantity", ColumnType::integer, true, false, false, false}};
  return table;
}

sql::Table counters_table() {
  sql::Table table{"counters", {}, {{"id"}}};
  table.columns = {{"id", ColumnType::text, false, false, false, true},
                   {"value", ColumnType::integer, true, true, false, false}};
  return table;
}

}  // namespace sluice::policies::testing

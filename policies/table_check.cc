// TableCheck, see table_check.h.
#include "policies/table_check.h"

#include <algorithm>
#include <utility>

#include "policies/mapping.h"
#include "policies/query_mapping.h"

namespace sluice::policies {
namespace {

using conf::KeyTemplate;
using sql::ColumnType;
using Findings = std::vector<Finding>;

bool is_counter(const conf::PolicyOptions& options) { return options.value == conf::ValueMode::counter; }

// Why the column does not take what the placeholder matches, or nothing. Dates, decimals and the like have no
// placeholder of their own.
std::string misfit_of(KeyTemplate::Type placeholder, ColumnType column) {
  const bool is_text = column == ColumnType::text || column == ColumnType::bytes;
  switch (placeholder) {
    case KeyTemplate::Type::integer:
      return column == ColumnType::integer ? "" : "is not an integer, as {NAME:int} says";
    case KeyTemplate::Type::uuid:
      return column == ColumnType::uuid || is_text ? "" : "is neither a UUID nor text, as {NAME:uuid} says";
    case KeyTemplate::Type::text:
    case KeyTemplate::Type::rest:
      break;
  }
  if (column == ColumnType::integer) return "is an integer: write {NAME:int} in the key";
  return column == ColumnType::uuid ? "is a UUID: write {NAME:uuid} in the key" : "";
}

std::string with_name(std::string text, const std::string& name) {
  const std::size_t at = text.find("NAME");
  return at == std::string::npos ? text : text.replace(at, 4, name);
}

class Check {
 public:
  Check(const conf::PolicyOptions& options, const sql::Table& table) : options_(options), table_(table) {}

  std::vector<Finding> run() {
    const auto mapping = Mapping::make(options_, table_);
    if (!mapping) findings_.push_back({false, mapping.why()});
    check_placeholders();
    if (is_counter(options_)) check_total();
    const bool inserts = is_counter(options_) || options_.write != conf::WriteMode::none;
    if (mapping && inserts && options_.write_query.empty()) check_left_out(*mapping);
    return std::move(findings_);
  }

 private:
  void add(const sql::Column& column, const std::string& what, bool warning = false) {
    findings_.push_back({warning, "table '" + options_.table + "': column '" + column.name + "' " + what});
  }

  void check_placeholders() {
    for (const KeyTemplate::Part& part : options_.key.parts()) {
      const sql::Column* const column = part.is_placeholder ? table_.find(part.text) : nullptr;
      if (column == nullptr) continue;
      const std::string wrong = misfit_of(part.type, column->type);
      if (!wrong.empty()) add(*column, with_name(wrong, part.text));
      const bool has_outbox = options_.invalidation == conf::Invalidation::outbox;
      if (has_outbox && column->type == ColumnType::real) {
        add(*column, "is a real number: with invalidation = \"outbox\" it cannot be part of the key");
      }
      if (column->generated) add(*column, "is part of the key and computed by the database");
    }
  }

  void check_total() {
    const sql::Column* const column = table_.find(options_.column);
    if (column == nullptr || column->type != ColumnType::integer) return;  // Mapping says so
    if (column->narrow) add(*column, "does not hold every integer of 64 bits: make it BIGINT, and not UNSIGNED");
    if (column->generated) add(*column, "is computed by the database");
  }

  // What an INSERT cannot leave out and no value brings along.
  void check_left_out(const Mapping& mapping) {
    for (const sql::Column& column : table_.columns) {
      const bool needed = !column.nullable && !column.has_default && !column.generated;
      if (!needed || brings(mapping, column)) continue;
      add(column, "is NOT NULL, has no default and is not in the value: the database will refuse new rows", true);
    }
  }

  bool brings(const Mapping& mapping, const sql::Column& column) const {
    const auto keys = options_.key.placeholders();
    if (std::find(keys.begin(), keys.end(), column.name) != keys.end()) return true;
    const auto& columns = mapping.columns();
    return std::find(columns.begin(), columns.end(), column.name) != columns.end();
  }

  const conf::PolicyOptions& options_;
  const sql::Table& table_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> check_table(const conf::PolicyOptions& options, const sql::Table& table) {
  return Check(options, table).run();
}

std::vector<Finding> check_query(const conf::PolicyOptions& options, const std::vector<sql::Column>& columns) {
  const std::string wrong = misfit(options, columns);
  return wrong.empty() ? Findings{} : Findings{{false, wrong}};
}

std::vector<Finding> check_counter_source(const sql::Table& table, const std::string& ddl) {
  const auto wrong = [&](const std::string& what) {
    return Findings{
        {false, "table '" + table.name + "' is not as sluice needs it: " + what + "; create it with: " + ddl}};
  };
  for (const std::string name : {"key", "inc", "n", "t", "retired", "updated_at"}) {
    const sql::Column* const column = table.find(name);
    if (column == nullptr) return wrong("it has no column '" + name + "'");
    const bool is_key = name == "key" || name == "inc";
    if (is_key && !column->exact) return wrong("column '" + name + "' takes different values for one");
  }
  for (std::vector<std::string> key : table.unique_keys) {
    std::sort(key.begin(), key.end());
    if (key == std::vector<std::string>{"inc", "key"}) return {};
  }
  return wrong("(key, inc) is not its primary key");
}

}  // namespace sluice::policies

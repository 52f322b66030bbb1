// ProposedTable, see proposed_table.h.
#include "policies/proposed_table.h"

#include <algorithm>
#include <utility>

namespace sluice::policies {
namespace {

using conf::KeyTemplate;
using conf::ValueMode;
using Holds = sql::NewColumn::Holds;

constexpr const char* kGuessed = "the configuration does not say of which type: choose it";

Holds holds(KeyTemplate::Type type) {
  switch (type) {
    case KeyTemplate::Type::integer:
      return Holds::integer;
    case KeyTemplate::Type::uuid:
      return Holds::uuid;
    case KeyTemplate::Type::text:
    case KeyTemplate::Type::rest:
      break;
  }
  return Holds::text;
}

class Proposal {
 public:
  explicit Proposal(const conf::PolicyOptions& options) : options_(options) { table_.name = options.table; }

  sql::NewTable make() {
    for (const KeyTemplate::Part& part : options_.key.parts()) {
      if (part.is_placeholder) add({part.text, holds(part.type), true});
    }
    add_values();
    if (!options_.ttl_column.empty()) add({options_.ttl_column, Holds::moment, false, "when the row expires, in UTC"});
    return std::move(table_);
  }

 private:
  void add_values() {
    switch (options_.value) {
      case ValueMode::counter:
        return add({options_.column, Holds::integer});
      case ValueMode::raw:
        return add({options_.column, Holds::bytes});
      case ValueMode::json:
      case ValueMode::hash:
        break;
    }
    for (const std::string& column : options_.only_columns) add({column, Holds::text, false, kGuessed});
    for (const conf::FieldColumn& rename : options_.renames) add({rename.column, Holds::text, false, kGuessed});
  }

  // A key column may be part of the value as well.
  void add(sql::NewColumn column) {
    auto& columns = table_.columns;
    const auto same = [&](const sql::NewColumn& other) { return other.name == column.name; };
    if (std::none_of(columns.begin(), columns.end(), same)) columns.push_back(std::move(column));
  }

  const conf::PolicyOptions& options_;
  sql::NewTable table_;
};

}  // namespace

sql::NewTable proposed_table(const conf::PolicyOptions& options) { return Proposal(options).make(); }

sql::Recorded recorded_rows(const conf::PolicyOptions& options) {
  return {options.name, options.table, options.key.placeholders()};
}

}  // namespace sluice::policies

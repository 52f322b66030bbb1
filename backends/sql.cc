// SQL as data: the few functions that need no database.
#include "backends/sql.h"

#include <algorithm>

namespace sluice::sql {

namespace {

struct Namer {
  const char* operator()(const Ping&) const { return "ping"; }
  const char* operator()(const Describe&) const { return "describe"; }
  const char* operator()(const ReadRow&) const { return "read_row"; }
  const char* operator()(const ReplaceRow&) const { return "replace_row"; }
  const char* operator()(const MergeRow&) const { return "merge_row"; }
  const char* operator()(const DeleteRow&) const { return "delete_row"; }
  const char* operator()(const ListRows&) const { return "list_rows"; }
  const char* operator()(const ReadCounter&) const { return "read_counter"; }
  const char* operator()(const FlushCounters&) const { return "flush_counters"; }
};

}  // namespace

const char* name(const Op& op) { return std::visit(Namer{}, op); }

bool is_write(const Op& op) { return is_row_write(op) || std::holds_alternative<FlushCounters>(op); }

bool is_row_write(const Op& op) {
  return std::holds_alternative<ReplaceRow>(op) || std::holds_alternative<MergeRow>(op) ||
         std::holds_alternative<DeleteRow>(op);
}

const Column* Table::find(std::string_view column) const {
  const auto found = std::find_if(columns.begin(), columns.end(), [&](const Column& c) { return c.name == column; });
  return found == columns.end() ? nullptr : &*found;
}

}  // namespace sluice::sql

// SQL as data: the few functions that need no database.
#include "backends/sql.h"

#include <algorithm>

namespace sluice::sql {

namespace {

struct Namer {
  const char* operator()(const Ping&) const { return "ping"; }
  const char* operator()(const Describe&) const { return "describe"; }
  const char* operator()(const ReadRow&) const { return "read_row"; }
  const char* operator()(const ReadRows&) const { return "read_rows"; }
  const char* operator()(const ReplaceRow&) const { return "replace_row"; }
  const char* operator()(const MergeRow&) const { return "merge_row"; }
  const char* operator()(const DeleteRow&) const { return "delete_row"; }
  const char* operator()(const ListRows&) const { return "list_rows"; }
  const char* operator()(const ReadCounter&) const { return "read_counter"; }
  const char* operator()(const FlushCounters&) const { return "flush_counters"; }
  const char* operator()(const ModifyRow&) const { return "modify_row"; }
  const char* operator()(const RunStatement&) const { return "run_statement"; }
  const char* operator()(const WriteRows&) const { return "write_rows"; }
  const char* operator()(const CheckDurability&) const { return "check_durability"; }
  const char* operator()(const ReadQuery&) const { return "read_query"; }
  const char* operator()(const DescribeQuery&) const { return "describe_query"; }
  const char* operator()(const ReadOutbox&) const { return "read_outbox"; }
  const char* operator()(const ForgetOutbox&) const { return "forget_outbox"; }
  const char* operator()(const CheckOutbox&) const { return "check_outbox"; }
};

struct Describer {
  std::string operator()(const Ping&) const { return "reaching the database"; }
  std::string operator()(const Describe& op) const { return "describing the table '" + op.table + "'"; }
  std::string operator()(const ReadRow& op) const { return "reading a row of '" + op.table + "'"; }
  std::string operator()(const ReadRows& op) const { return "reading rows of '" + op.table + "'"; }
  std::string operator()(const ReplaceRow& op) const { return "writing a row of '" + op.table + "'"; }
  std::string operator()(const MergeRow& op) const { return "updating a row of '" + op.table + "'"; }
  std::string operator()(const DeleteRow& op) const { return "deleting a row of '" + op.table + "'"; }
  std::string operator()(const ListRows& op) const { return "listing rows of '" + op.table + "'"; }
  std::string operator()(const ReadCounter& op) const { return "reading a counter of '" + op.where.table + "'"; }
  std::string operator()(const FlushCounters& op) const { return "flushing counters of '" + op.where.table + "'"; }
  std::string operator()(const ModifyRow& op) const { return "changing a row of '" + op.table + "'"; }
  std::string operator()(const RunStatement&) const { return "running the write_query"; }
  std::string operator()(const WriteRows&) const { return "writing several rows"; }
  std::string operator()(const CheckDurability&) const { return "reading the settings"; }
  std::string operator()(const ReadQuery&) const { return "running the query"; }
  std::string operator()(const DescribeQuery&) const { return "preparing the query"; }
  std::string operator()(const ReadOutbox& op) const { return "reading the outbox of '" + op.policy + "'"; }
  std::string operator()(const ForgetOutbox&) const { return "emptying the outbox"; }
  std::string operator()(const CheckOutbox& op) const { return "checking the outbox of '" + op.recorded.policy + "'"; }
};

}  // namespace

std::string describe(const Op& op) { return std::visit(Describer{}, op); }

const char* name(const Op& op) { return std::visit(Namer{}, op); }

bool is_write(const Op& op) {
  return is_row_write(op) || std::holds_alternative<FlushCounters>(op) || std::holds_alternative<WriteRows>(op) ||
         std::holds_alternative<ForgetOutbox>(op);
}

bool is_row_write(const Op& op) {
  return std::holds_alternative<ReplaceRow>(op) || std::holds_alternative<MergeRow>(op) ||
         std::holds_alternative<DeleteRow>(op) || std::holds_alternative<ModifyRow>(op) ||
         std::holds_alternative<RunStatement>(op);
}

const Column* Table::find(std::string_view column) const {
  const auto found = std::find_if(columns.begin(), columns.end(), [&](const Column& c) { return c.name == column; });
  return found == columns.end() ? nullptr : &*found;
}

}  // namespace sluice::sql

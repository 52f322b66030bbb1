// Edit: the table of commands, and what they have in common.
#include "policies/edit.h"

#include <algorithm>
#include <array>
#include <utility>

#include "policies/replies.h"

namespace sluice::policies {

using conf::ValueMode;
using resp::CommandId;

#define EDIT(command, values, parse) Checked<std::shared_ptr<Edit>> parse(Edit::Request request);
#include "policies/edits.def"
#undef EDIT

namespace {

enum class Values : std::uint8_t { strings, raw, hash, any };

struct Entry {
  CommandId command;
  Values values;
  Checked<std::shared_ptr<Edit>> (*parse)(Edit::Request request);
};

constexpr std::array kEntries{
#define EDIT(command, values, parse) Entry{CommandId::command, values, parse},
#include "policies/edits.def"
#undef EDIT
};

const Entry* find(CommandId command) {
  for (const Entry& entry : kEntries) {
    if (entry.command == command) return &entry;
  }
  return nullptr;
}

bool fits(Values values, ValueMode mode) {
  switch (values) {
    case Values::strings:
      return mode == ValueMode::json || mode == ValueMode::raw;
    case Values::raw:
      return mode == ValueMode::raw;
    case Values::hash:
      return mode == ValueMode::hash;
    case Values::any:
      return true;
  }
  return false;
}

// A command for strings on a hash or the other way round: Redis' own error. APPEND to JSON makes no JSON.
bool is_wrong_type(Values values, ValueMode mode) {
  return !fits(values, mode) && (values == Values::hash || mode == ValueMode::hash);
}

}  // namespace

bool has_edit(const conf::PolicyOptions& options, CommandId command) {
  const Entry* const entry = find(command);
  return entry != nullptr && (fits(entry->values, options.value) || is_wrong_type(entry->values, options.value));
}

Checked<std::shared_ptr<Edit>> parse_edit(Edit::Request request) {
  const Entry* const entry = find(request.command.id);
  if (is_wrong_type(entry->values, request.options.value)) return Why{std::string(kWrongType)};
  return entry->parse(std::move(request));
}

std::string Edit::map(std::shared_ptr<const Mapping> mapping) {
  mapping_ = std::move(mapping);
  auto key = mapping_->key(this->key());
  if (!key) return key.why();
  row_key_ = std::move(*key);
  return map_values();
}

sql::RowChange Edit::decide(const sql::Row*) const { return {}; }

bool Edit::is_over(const sql::Row& row) const {
  const auto expiry = mapping_->expiry(row);
  return expiry && *expiry <= now_;
}

const sql::Row* Edit::live(const sql::Row* row) const {
  return row == nullptr || is_over(*row) || !mapping_->copy(*row) ? nullptr : row;
}

std::string Edit::nil_reply() const {
  std::string reply;
  resp::append_nil(reply, version());
  return reply;
}

std::string Edit::bulk_reply(const sql::Row* row) const {
  const auto copy = row == nullptr ? std::nullopt : mapping_->copy(*row);
  if (!copy) return nil_reply();
  std::string reply;
  resp::append_bulk(reply, copy->text);
  return reply;
}

sql::RowChange Edit::write_fields(const sql::Row* row, std::vector<sql::Bound> values) const {
  sql::RowChange change{sql::RowChange::Kind::write, std::move(values), {}};
  if (row == nullptr || !is_over(*row)) return change;
  for (std::string& column : mapping_->resettable()) {
    const bool set = std::any_of(change.values.begin(), change.values.end(),
                                 [&](const sql::Bound& bound) { return bound.column == column; });
    if (!set) change.reset.push_back(std::move(column));
  }
  change.values.push_back(mapping_->ttl_bound({}));
  return change;
}

std::optional<std::string> Edit::refused_by_conflict(const sql::Row* row) const {
  if (row == nullptr || options().conflict != conf::Conflict::error) return {};
  return "SQLREJECT 23505 policy '" + options().name + "': the row exists (conflict = \"error\")";
}

std::optional<sql::RowWrite> Edit::custom_statement(const std::vector<sql::Bound>& values) const {
  if (options().write_query.empty()) return {};
  sql::RunStatement run{options().write_query, row_key_};
  for (const sql::Bound& value : values) run.parameters.push_back(value);
  for (std::string& column : mapping_->resettable()) {
    const bool set = std::any_of(values.begin(), values.end(), [&](const auto& b) { return b.column == column; });
    if (!set) run.parameters.push_back({std::move(column), {}});
  }
  return run;
}

std::string integer_reply(std::int64_t value) { return finish_integer(value).reply; }
std::string ok_reply() { return finish_ok().reply; }

}  // namespace sluice::policies

// Edit: what one write command does to one row, and to the cached copy of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/sql.h"
#include "conf/config.h"
#include "policies/copy_change.h"
#include "policies/mapping.h"
#include "resp/command_table.h"
#include "resp/encode.h"

namespace sluice::policies {

// What came of the write.
struct Outcome {
  std::string reply;  // RESP
  CopyChange copy;
  std::optional<std::int64_t> count;  // of commands with several keys that reply a sum
  std::string error;                  // in place of all this (without '-'): nothing was applied
};

// One command on one key. parse() of edits.def makes it, map() makes it ready; constant from then on, but for
// begin_at(). decide() runs on a worker thread, everything else on the loop's.
class Edit : public sql::RowDecision {
 public:
  // How several keys of one command belong together.
  struct Request {
    const conf::PolicyOptions& options;
    const resp::CommandInfo& command;
    std::vector<std::string> args;  // the command's name, one key, what belongs to that key
    resp::Version version = resp::Version::resp2;
    bool cache_only = false;  // nothing is for SQL (ops_field "+")
  };

  explicit Edit(Request request) : request_(std::move(request)) {}

  // Checks the values against the table. Empty, or why they do not fit.
  std::string map(std::shared_ptr<const Mapping> mapping);
  // The time by Redis' clock, as Unix time in milliseconds, known once the key is armed.
  void begin_at(std::int64_t unix_ms) { now_ = unix_ms; }
  std::int64_t now() const { return now_; }

  const std::vector<sql::Bound>& row_key() const { return row_key_; }
  const Mapping& mapping() const { return *mapping_; }
  // The statement that does it whatever the row is; nullopt: the row must be looked at (decide()).
  virtual std::optional<sql::RowWrite> statement() const { return {}; }
  // Nothing for SQL to do: only the copy changes, and gets what the row has.
  virtual bool only_cached() const { return false; }
  // `result` of statement(), or of a ModifyRow with mapping().columns().
  virtual Outcome outcome(const sql::Result& result) const = 0;
  // Without a row to look at, unless the command decides one.
  sql::RowChange decide(const sql::Row* row) const override;

 protected:
  const conf::PolicyOptions& options() const { return request_.options; }
  resp::CommandId command() const { return request_.command.id; }
  const std::vector<std::string>& args() const { return request_.args; }
  const std::string& key() const { return request_.args[1]; }
  resp::Version version() const { return request_.version; }

  virtual std::string map_values() { return {}; }
  bool cache_only() const { return request_.cache_only; }
  bool is_over(const sql::Row& row) const;  // its time (ttl_column)
  // The row as a client sees it: null when there is none, its time is over, or Redis could not hold it (all NULL).
  const sql::Row* live(const sql::Row* row) const;
  static const sql::Row* row_of(const sql::Result& result) { return result.rows.empty() ? nullptr : &result.rows[0]; }
  // The value of a string policy, or nil.
  std::string bulk_reply(const sql::Row* row) const;
  std::string nil_reply() const;
  // The change of a command that sets single fields: makes a whole new value of a row whose time is over.
  sql::RowChange write_fields(const sql::Row* row, std::vector<sql::Bound> values) const;
  std::optional<std::string> refused_by_conflict(const sql::Row* row) const;
  bool decides_on_conflict() const { return options().conflict != conf::Conflict::update; }
  // The user's write_query with the row's key and `values`; columns not among them are NULL.
  std::optional<sql::RowWrite> custom_statement(const std::vector<sql::Bound>& values) const;

 private:
  const Request request_;
  std::shared_ptr<const Mapping> mapping_;
  std::vector<sql::Bound> row_key_;
  std::int64_t now_ = 0;
};

// For a command that has_edit(). Fails with the error (without '-') for
// arguments that Redis would refuse, or for the wrong type of value.
Checked<std::shared_ptr<Edit>> parse_edit(Edit::Request request);
// HSET with the ops_field "~".
Checked<std::shared_ptr<Edit>> make_row_removal(Edit::Request request);
bool has_edit(const conf::PolicyOptions& options, resp::CommandId command);

std::string integer_reply(std::int64_t value);
std::string ok_reply();

}  // namespace sluice::policies

// Offline: checks, schemas and explanations as text for a terminal.
#include "proxy/offline.h"

#include <algorithm>
#include <memory>

#include "backends/registry.h"
#include "backends/sql.h"
#include "conf/units.h"
#include "policies/proposed_table.h"
#include "proxy/options.h"
#include "proxy/router.h"

namespace sluice::proxy {
namespace {

using Kind = policies::PrefixTable::Match::Kind;
using policies::Handling;

constexpr std::size_t kNameWidth = 10;
constexpr std::size_t kLineWidth = 100;

void append_field(std::string& out, std::string_view name, std::string_view text) {
  out += name;
  out.append(kNameWidth - std::min(kNameWidth - 1, name.size()), ' ');
  out += text;
  out += '\n';
}

// Several lines when there are many, the text in its own column.
void append_words(std::string& out, std::string_view name, const std::vector<std::string_view>& words) {
  std::string line;
  for (const std::string_view word : words) {
    if (!line.empty() && kNameWidth + line.size() + word.size() + 1 > kLineWidth) {
      append_field(out, name, line);
      name = "";
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
  }
  append_field(out, name, line);
}

std::string_view meaning(Handling handling) {
  switch (handling) {
    case Handling::forward:
      return "goes to Redis unchanged";
    case Handling::read:
      return "is answered by Redis; when that finds nothing, the row is loaded from SQL";
    case Handling::load:
      return "is answered from Redis if what it has may be answered with; else the row is loaded from SQL";
    case Handling::operate:
      return "is done by sluice, in Redis and SQL as the policy says";
    case Handling::guard:
      return "goes to Redis, together with what makes loads under way harmless";
    case Handling::invalidate:
      return "goes to Redis; then what is cached under the key is dropped";
    case Handling::reject:
      return "is refused";
  }
  return "";
}

void append_handling(std::string& out, const policies::Policy& policy) {
  for (const HandledCommands& group : handled_commands(policy)) {
    append_words(out, name(group.handling), group.commands);
    append_field(out, "", "  " + std::string(meaning(group.handling)));
    if (group.handling == Handling::reject) {
      const resp::CommandInfo* first = resp::find_command(group.commands.front());
      append_field(out, "", "  " + policy.rejection(*first));
    }
  }
  append_field(out, name(Handling::forward), "all others");
}

// The row that `key` stands for, as a condition.
std::string row_of(const conf::PolicyOptions& options, std::string_view key) {
  std::vector<std::string_view> values;
  std::string row;
  if (!options.key.match(key, values)) return row;
  const std::vector<std::string> columns = options.key.placeholders();
  for (std::size_t i = 0; i < columns.size(); ++i) {
    row += (i == 0 ? "" : " and ") + columns[i] + " = " + std::string(values[i]);
  }
  return row;
}

// What is over several lines stays so.
void append_query(std::string& out, const conf::PolicyOptions& options, std::string_view key) {
  std::string_view sql = options.query;
  for (std::string_view name = "query"; !name.empty() || !sql.empty(); name = "") {
    const std::size_t end = std::min(sql.find('\n'), sql.size());
    append_field(out, name, sql.substr(0, end));
    sql.remove_prefix(std::min(end + 1, sql.size()));
  }
  const std::string row = row_of(options, key);
  if (!row.empty()) append_field(out, "with", row);
  append_field(out, "gives", options.rows == conf::Rows::many ? "an array of all rows" : "one row, or none");
}

std::string_view write_mode(const conf::PolicyOptions& options) {
  switch (options.write) {
    case conf::WriteMode::none:
      return options.value == conf::ValueMode::counter ? "batched" : "none";
    case conf::WriteMode::write_through:
      return "write-through";
    case conf::WriteMode::write_behind:
      return "write-behind";
  }
  return "";
}

void append_modes(std::string& out, const conf::PolicyOptions& options) {
  append_field(out, "writes", write_mode(options));
  if (options.value == conf::ValueMode::counter) {
    append_field(out, "flush", "every " + conf::format_duration(options.flush_interval));
    return;
  }
  append_field(out, "reads", options.fills() ? "cache-aside" : "none");
  if (options.invalidation == conf::Invalidation::outbox) {
    append_field(out, "outbox", "what others change in SQL is dropped from the cache, once its triggers are there");
  }
  append_field(out, "ttl", options.ttl.count() == 0 ? "none" : conf::format_duration(options.ttl));
}

void append_owner(std::string& out, const Ownership& owner) {
  const conf::PolicyOptions& options = owner.policy->options();
  append_field(out, "policy", options.name + " (key = \"" + options.key.text() + "\")");
  if (owner.kind == Kind::alias) append_field(out, "alias of", owner.real_key);
  append_field(out, "backend", options.backend);
  if (options.query.empty()) {
    append_field(out, "row", "of " + options.table + " where " + row_of(options, owner.real_key));
  } else {
    append_query(out, options, owner.real_key);
  }
  append_modes(out, options);
  append_handling(out, *owner.policy);
}

std::string names_of(const std::vector<conf::PolicyOptions>& policies) {
  std::string names;
  for (const conf::PolicyOptions& policy : policies) names += (names.empty() ? "" : ", ") + policy.name;
  return names.empty() ? "there are none" : "there are: " + names;
}

// The value has a field for every column of the table, whatever they are.
bool maps_every_column(const conf::PolicyOptions& options) {
  const bool fields = options.value == conf::ValueMode::json || options.value == conf::ValueMode::hash;
  return fields && options.only_columns.empty();
}

}  // namespace

Printed print_check(const conf::Loaded& loaded, const std::string& file) {
  if (loaded.ok()) return {kExitClean, file + ": the configuration is good\n", {}};
  std::string lines;
  for (const conf::Mistake& mistake : loaded.mistakes) lines += conf::to_string(mistake, file) + "\n";
  return {kExitConfig, std::move(lines), {}};
}

Printed print_schema(const conf::Config& config, const std::string& policy) {
  const auto found = std::find_if(config.policies.begin(), config.policies.end(),
                                  [&](const conf::PolicyOptions& options) { return options.name == policy; });
  if (found == config.policies.end()) {
    return {kExitUsage, {}, "sluice: no policy has the name \"" + policy + "\"; " + names_of(config.policies) + "\n"};
  }
  if (!found->query.empty()) {
    return {kExitUsage, {}, "sluice: the policy \"" + policy + "\" has a query: it needs no table of its own\n"};
  }
  const auto named = [&](const conf::BackendOptions& options) { return options.name == found->backend; };
  const auto backend = sql::make_backend(*std::find_if(config.backends.begin(), config.backends.end(), named));
  const sql::NewTable table = policies::proposed_table(*found);
  std::string out = "-- A table for the policy \"" + policy + "\", as far as the configuration tells.\n";
  if (maps_every_column(*found)) out += "-- Add a column for each field: it gets the field's name.\n";
  out += backend->table_ddl(table) + "\n";
  if (found->value == conf::ValueMode::counter) {
    out += "\n-- The bookkeeping of all counters: once in each database.\n" + backend->counter_ddl() + "\n";
  }
  if (found->invalidation == conf::Invalidation::outbox) {
    out += "\n-- What others do to the rows is recorded here, once in each database, by triggers of each policy.\n" +
           backend->outbox_ddl(policies::recorded_rows(*found));
  }
  return {kExitClean, std::move(out), {}};
}

Printed print_explanation(const conf::Config& config, const std::string& key) {
  const Router router(config);
  const Ownership owner = router.explain(key);
  std::string out;
  append_field(out, "key", key);
  switch (owner.kind) {
    case Kind::none:
      append_field(out, "policy", "none: every command goes to Redis unchanged");
      break;
    case Kind::reserved:
      append_field(out, "policy", "none: a side key of sluice, which clients may not write");
      break;
    case Kind::off_grid:
      append_field(out, "policy",
                   "none: it has the prefix of " + owner.policy->options().name + " but does not match its template, " +
                       owner.policy->options().key.text());
      append_field(out, "", "reads go to Redis unchanged, writes are refused if the policy writes");
      break;
    case Kind::owned:
    case Kind::alias:
      append_owner(out, owner);
      break;
  }
  return {kExitClean, std::move(out), {}};
}

}  // namespace sluice::proxy

// Check: what must hold between the keys of a policy, between policies, and between sections.
#include "conf/check.h"

#include <algorithm>
#include <string>

#include "conf/named_sql.h"
#include "conf/read.h"
#include "conf/table_name.h"
#include "conf/words.h"

namespace sluice::conf {
namespace {

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool writes(const PolicyOptions& policy) {
  return policy.value == ValueMode::counter || policy.write != WriteMode::none;
}

void check_column(const PolicyOptions& policy, const Node& table, Mistakes& mistakes) {
  const bool one_column = policy.value == ValueMode::raw || policy.value == ValueMode::counter;
  if (one_column && policy.query.empty() && table.find("column") == nullptr) {
    mistakes.add(table.place, "[[policy]] lacks \"column\": the one that holds the value");
  }
  if (one_column && contains(policy.key.placeholders(), policy.column)) {
    mistakes.add(place_of(table, "column"), "column: " + quoted(policy.column) + " is a key column already");
  }
}

void check_alias(const PolicyOptions& policy, const Node& table, Mistakes& mistakes) {
  if (!policy.alias || policy.key.parts().empty()) return;
  std::vector<std::string> real = policy.key.placeholders();
  std::vector<std::string> other = policy.alias->placeholders();
  std::sort(real.begin(), real.end());
  std::sort(other.begin(), other.end());
  if (real == other) return;
  mistakes.add(place_of(table, "alias"),
               "alias: must have the same placeholders as the key " + quoted(policy.key.text()));
}

void check_key(const PolicyOptions& policy, const Node& table, Mistakes& mistakes) {
  if (!policy.query.empty() || policy.key.parts().empty() || !policy.key.placeholders().empty()) return;
  mistakes.add(place_of(table, "key"), "key: needs a placeholder that names the key column, such as 'user:{id}'");
}

// What is about a table has no meaning beside a query.
void check_query(const PolicyOptions& policy, const Node& table, Mistakes& mistakes) {
  const auto refuse = [&](const char* key, const std::string& why) {
    if (table.find(key) != nullptr) mistakes.add(place_of(table, key), std::string(key) + ": " + why);
  };
  if (writes(policy)) return;  // it may have none of all this
  if (policy.rows == Rows::many && policy.query.empty()) refuse("rows", "only a \"query\" gives many rows");
  if (policy.rows == Rows::many && policy.value != ValueMode::json) {
    refuse("rows", "\"many\" makes a JSON array: it needs value = \"json\"");
  }
  if (policy.query.empty()) return;
  if (policy.table.empty() && policy.tables.empty()) {
    mistakes.add(place_of(table, "query"), "query: say which tables it reads, in \"tables\" or \"table\"");
  }
  refuse("columns", "the fields have the names that the query gives its columns (AS)");
  refuse("column", "the value is the one column that the query gives");
  if (policy.invalidation != Invalidation::none) {
    refuse("invalidation", "does not belong to a policy with a query, whose results have no rows of their own");
  }
}

void check_delays(const PolicyOptions& policy, const Node& table, Mistakes& mistakes) {
  if (policy.write != WriteMode::write_behind || policy.retry_initial_delay <= policy.retry_max_delay) return;
  const char* key = table.find("retry_initial_delay") != nullptr ? "retry_initial_delay" : "retry_max_delay";
  mistakes.add(place_of(table, key), std::string(key) + ": the initial delay is longer than the longest");
}

// Databases cut longer names of triggers short, or refuse them.
void check_outbox(const PolicyOptions& policy, const Node& table, Mistakes& mistakes) {
  constexpr std::size_t kNameMax = 40;
  if (policy.invalidation != Invalidation::outbox || policy.name.size() <= kNameMax) return;
  mistakes.add(place_of(table, "name"), "name: with invalidation = \"outbox\" it has at most " +
                                            std::to_string(kNameMax) + " characters: triggers are named after it");
}

void check_refresh(const PolicyOptions& policy, const Node& table, Mistakes& mistakes) {
  if (policy.refresh_ahead <= 0) return;
  const auto wrong = [&](const char* why) {
    mistakes.add(place_of(table, "refresh_ahead"), std::string("refresh_ahead: ") + why);
  };
  if (policy.ttl.count() <= 0) return wrong("needs a ttl, which \"0s\" is not");
  if (policy.refresh_ahead < policy.ttl_jitter)
    wrong("must not be less than ttl_jitter: copies would be due when they are made");
}

void check_read(const PolicyOptions& policy, const Node& table, Mistakes& mistakes) {
  if (policy.write == WriteMode::none || policy.read != ReadMode::none || table.find("read") == nullptr) return;
  mistakes.add(place_of(table, "read"),
               "read: \"none\" is not possible with a write policy, which reads its rows as well");
}

void check_write(const PolicyOptions& policy, const Node& table, Mistakes& mistakes) {
  const bool custom = !policy.write_query.empty();
  if (custom && policy.conflict != Conflict::update) {
    mistakes.add(place_of(table, "conflict"), "conflict: what an existing row gets is up to the write_query");
  }
  if (custom && !policy.ttl_column.empty()) {
    mistakes.add(place_of(table, "ttl_column"), "ttl_column: a write_query has no part in it; only one of them");
  }
  if (policy.value == ValueMode::counter && policy.on_delete == OnDelete::row) {
    mistakes.add(place_of(table, "on_delete"), "on_delete: \"row\" is not built yet for a counter");
  }
  const auto is_ttl = [&](const FieldColumn& rename) { return rename.column == policy.ttl_column; };
  if (!policy.ttl_column.empty() &&
      (policy.ttl_column == policy.column || std::any_of(policy.renames.begin(), policy.renames.end(), is_ttl))) {
    mistakes.add(place_of(table, "ttl_column"), "ttl_column: the column is part of the value as well");
  }
}

// --- Between policies.

// One template of a policy: its key or its alias.
struct Template {
  const KeyTemplate* key;
  const PolicyOptions* policy;
  const Place* place;
};

std::vector<Template> all_templates(const Config& config, const std::vector<const Node*>& tables) {
  std::vector<Template> templates;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const PolicyOptions& policy = config.policies[i];
    templates.push_back({&policy.key, &policy, &place_of(*tables[i], "key")});
    if (policy.alias) templates.push_back({&*policy.alias, &policy, &place_of(*tables[i], "alias")});
  }
  return templates;
}

void check_templates(const Config& config, const std::vector<const Node*>& tables, Mistakes& mistakes) {
  const std::vector<Template> templates = all_templates(config, tables);
  for (std::size_t i = 0; i < templates.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const Template& late = templates[i];
      const Template& early = templates[j];
      if (late.key->prefix() != early.key->prefix() || !late.key->overlaps(*early.key)) continue;
      mistakes.add(*late.place, quoted(late.key->text()) + " and " + quoted(early.key->text()) + " of policy " +
                                    quoted(early.policy->name) + " can match the same key");
      break;
    }
  }
}

void check_names(const Config& config, const std::vector<const Node*>& tables, Mistakes& mistakes) {
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const std::string& name = config.policies[i].name;
    const auto same = [&](const PolicyOptions& other) { return !name.empty() && other.name == name; };
    const auto end = config.policies.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::any_of(config.policies.begin(), end, same)) {
      mistakes.add(place_of(*tables[i], "name"), "name: another policy is named " + quoted(name));
    }
  }
}

NamedSql::Dialect dialect_of(BackendOptions::Kind kind) {
  switch (kind) {
    case BackendOptions::Kind::sqlite:
      return NamedSql::Dialect::sqlite;
    case BackendOptions::Kind::postgresql:
      return NamedSql::Dialect::postgresql;
    case BackendOptions::Kind::mysql:
      return NamedSql::Dialect::mysql;
  }
  return NamedSql::Dialect::sqlite;
}

std::string wrong_parameter(const NamedSql& sql) {
  if (sql.other.empty()) return {};
  return "the parameter " + quoted(sql.other) + " is of another kind: only names with a colon are given values, as :id";
}

// What is wrong with the query of a policy, if anything, as far as it can be told without the database.
std::string wrong_query(const PolicyOptions& policy, NamedSql::Dialect dialect) {
  const NamedSql sql = name_parameters(policy.query, dialect);
  if (!contains({"SELECT", "WITH", "VALUES", "TABLE"}, sql.verb)) {
    return "must be a SELECT" + (sql.verb.empty() ? "" : ", not " + sql.verb);
  }
  if (sql.several) return "has more than one statement";
  if (!sql.other.empty()) return wrong_parameter(sql);
  const std::vector<std::string> placeholders = policy.key.placeholders();
  for (const std::string& name : sql.names) {
    if (!contains(placeholders, name)) {
      return "the parameter :" + name + " is not a placeholder of the key " + quoted(policy.key.text());
    }
  }
  for (const std::string& name : placeholders) {
    if (!contains(sql.names, name)) {
      return "does not use :" + name + ", a placeholder of the key: keys that differ in it would have one result";
    }
  }
  return {};
}

void check_queries(const Config& config, const std::vector<const Node*>& tables, Mistakes& mistakes) {
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const PolicyOptions& policy = config.policies[i];
    const auto named = [&](const BackendOptions& backend) { return backend.name == policy.backend; };
    const auto backend = std::find_if(config.backends.begin(), config.backends.end(), named);
    const bool known = !policy.key.parts().empty() && backend != config.backends.end();
    if (!known) continue;
    const auto check = [&](const char* option, const std::string& wrong) {
      if (!wrong.empty()) mistakes.add(place_of(*tables[i], option), std::string(option) + ": " + wrong);
    };
    const NamedSql::Dialect dialect = dialect_of(backend->kind);
    check("write_query", wrong_parameter(name_parameters(policy.write_query, dialect)));
    if (!policy.query.empty() && !writes(policy)) check("query", wrong_query(policy, dialect));
  }
}

void check_backends(const Config& config, const std::vector<const Node*>& tables,
                    const std::vector<std::string_view>& backends, Mistakes& mistakes) {
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const std::string& name = config.policies[i].backend;
    if (name.empty() || std::find(backends.begin(), backends.end(), name) != backends.end()) continue;
    mistakes.add(place_of(*tables[i], "backend"),
                 "backend: there is no [backend." + name + "]" + did_you_mean(name, backends));
  }
}

// Most databases do not tell `Users` from `users`.
bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](unsigned char c) { return std::tolower(c); };
  const auto same = [&](unsigned char x, unsigned char y) { return lower(x) == lower(y); };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
}

// The triggers of one would take the place of the other's.
void check_outboxes(const Config& config, const std::vector<const Node*>& tables, Mistakes& mistakes) {
  const auto has_outbox = [](const PolicyOptions& policy) { return policy.invalidation == Invalidation::outbox; };
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const PolicyOptions& late = config.policies[i];
    const auto end = config.policies.begin() + static_cast<std::ptrdiff_t>(i);
    const auto early = std::find_if(config.policies.begin(), end, [&](const PolicyOptions& policy) {
      return has_outbox(policy) && policy.name != late.name && same_name(policy.name, late.name);
    });
    if (!has_outbox(late) || early == end) continue;
    mistakes.add(place_of(*tables[i], "name"), "name: with invalidation = \"outbox\" it has to differ from " +
                                                   quoted(early->name) + " in more than upper and lower case");
  }
}

bool same_table(const PolicyOptions& a, const PolicyOptions& b) {
  return !a.table.empty() && !b.table.empty() && a.backend == b.backend && may_be_same_table(a.table, b.table);
}

bool depends_on(const PolicyOptions& policy, std::string_view table) {
  return std::any_of(policy.tables.begin(), policy.tables.end(),
                     [&](const std::string& listed) { return bare_table(listed) == bare_table(table); });
}

bool is_counter(const PolicyOptions& policy) { return policy.value == ValueMode::counter; }

// What is wrong with two policies on one table, if anything. The first reads, the second writes it.
std::string conflict_of(const PolicyOptions& reader, const PolicyOptions& writer) {
  const std::string who = "policy " + quoted(writer.name);
  if (is_counter(reader) && is_counter(writer)) {
    return reader.column == writer.column ? who + " counts in the same column of this table" : std::string();
  }
  if (!writes(writer) || !reader.fills()) return {};
  if (reader.write != WriteMode::none && writer.write != WriteMode::none && reader.write != writer.write) {
    return who + " writes this table in the other way: a table is written through or behind, not both";
  }
  if (depends_on(reader, reader.table)) return {};
  return who + " writes this table: a policy that reads it as well must list it in \"tables\"";
}

void check_tables(const Config& config, const std::vector<const Node*>& tables, Mistakes& mistakes) {
  for (std::size_t i = 0; i < tables.size(); ++i) {
    for (std::size_t j = 0; j < tables.size(); ++j) {
      if (i == j || !same_table(config.policies[i], config.policies[j])) continue;
      const std::string conflict = conflict_of(config.policies[i], config.policies[j]);
      if (conflict.empty()) continue;
      mistakes.add(place_of(*tables[i], "table"), "table: " + conflict);
      break;
    }
  }
}

// --- Between sections.

const Place& section_place(const Node& root, std::string_view section, std::string_view key) {
  const Member* member = root.find(section);
  return member == nullptr ? root.place : place_of(member->value, key);
}

}  // namespace

void check_policy(const PolicyOptions& policy, const Node& table, Mistakes& mistakes) {
  check_key(policy, table, mistakes);
  check_query(policy, table, mistakes);
  check_column(policy, table, mistakes);
  check_alias(policy, table, mistakes);
  check_delays(policy, table, mistakes);
  check_read(policy, table, mistakes);
  check_outbox(policy, table, mistakes);
  check_refresh(policy, table, mistakes);
  check_write(policy, table, mistakes);
}

void check_policies(const Config& config, const std::vector<const Node*>& tables,
                    const std::vector<std::string_view>& backends, Mistakes& mistakes) {
  check_names(config, tables, mistakes);
  check_outboxes(config, tables, mistakes);
  check_backends(config, tables, backends, mistakes);
  check_templates(config, tables, mistakes);
  check_queries(config, tables, mistakes);
  check_tables(config, tables, mistakes);
}

void check_addresses(const Config& config, const Node& root, Mistakes& mistakes) {
  const auto fixed = [](const Endpoint& endpoint) {
    return endpoint.kind == Endpoint::Kind::unix_socket || endpoint.port != 0;
  };
  for (const Endpoint& listen : config.proxy.listen) {
    if (listen == config.upstream.endpoint) {
      mistakes.add(section_place(root, "proxy", "listen"),
                   "listen: " + quoted(to_string(listen)) + " is the address of Redis");
    }
    if (config.admin.listen == listen && fixed(listen)) {
      mistakes.add(section_place(root, "admin", "listen"),
                   "listen: " + quoted(to_string(listen)) + " is an address of the proxy already");
    }
  }
}

}  // namespace sluice::conf

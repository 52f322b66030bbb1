// Read: the tree of a configuration file becomes a Config, defaults filled in, every mistake reported.
#include "conf/read.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/check.h"
#include "conf/field.h"
#include "conf/not_built.h"
#include "conf/words.h"

namespace sluice::conf {
namespace {

using KeySet = std::set<std::string_view>;

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

// The value as not_built() wants it.
std::string value_text(const Node& node) {
  std::string error;
  if (node.kind == Node::Kind::string) return expand(node.text, error).value_or("");
  if (node.kind == Node::Kind::integer) return std::to_string(node.integer);
  if (node.kind == Node::Kind::real) return format_fraction(node.real);
  return {};
}

bool check_table(const Node& node, std::string_view title, Mistakes& mistakes) {
  if (node.kind == Node::Kind::table) return true;
  mistakes.add(node.place, std::string(title) + " must be a table, not " + describe(node.kind));
  return false;
}

// --- One section: a table and the fields that it may have.

template <class Options>
class Section {
 public:
  // `title` is for messages ("[proxy]"), `name` for not_built() ("proxy").
  Section(const Node& table, std::string_view title, std::string_view name, const Fields<Options>& fields,
          Mistakes& mistakes)
      : table_(table), title_(title), name_(name), fields_(fields), mistakes_(mistakes) {}

  void read(Options& options) {
    report_unknown_keys();
    report_missing_keys();
    report_twins();
    for (const Field<Options>& field : fields_) {
      if (const Member* member = table_.find(field.name)) read(field, member->value, options);
    }
  }

  // Whether the value of this key is known: given rightly, or not at all. A value that is not built counts as known.
  bool is_known(std::string_view key) const { return !wrong_.contains(key); }

  // Reports keys whose value or which themselves are not built, except those in `but`.
  void report_not_built(const KeySet& but = {}) {
    for (const Member& member : table_.members) {
      const std::string reason = not_built(name_, member.name, value_text(member.value));
      if (!reason.empty() && !but.contains(member.name)) mistakes_.add(member.value.place, reason);
    }
  }

 private:
  void read(const Field<Options>& field, const Node& node, Options& options) {
    Mistakes unheard;
    const bool refused = !not_built(name_, field.name, value_text(node)).empty();
    Mistakes& mistakes = refused ? unheard : mistakes_;
    const std::size_t before = mistakes.size();
    Reader reader(field.name, mistakes);
    field.read(node, options, reader);
    if (mistakes.size() != before) wrong_.insert(field.name);
  }

  void report_unknown_keys() {
    std::vector<std::string_view> known;
    for (const Field<Options>& field : fields_) known.push_back(field.name);
    for (const Member& member : table_.members) {
      if (std::find(known.begin(), known.end(), member.name) != known.end()) continue;
      mistakes_.add(member.place,
                    "unknown key " + quoted(member.name) + " in " + title_ + did_you_mean(member.name, known));
    }
  }

  void report_missing_keys() {
    for (const Field<Options>& field : fields_) {
      const std::string twin = std::string(field.name) + "_file";
      if (!field.required || table_.find(field.name) != nullptr || table_.find(twin) != nullptr) continue;
      if (!field.unless.empty() && table_.find(field.unless) != nullptr) continue;
      mistakes_.add(table_.place, title_ + " lacks " + quoted(field.name));
      wrong_.insert(field.name);
    }
  }

  void report_twins() {
    for (const Member& member : table_.members) {
      const Member* twin = table_.find(member.name + "_file");
      if (twin != nullptr) mistakes_.add(twin->place, member.name + " and " + twin->name + " exclude each other");
    }
  }

  const Node& table_;
  std::string title_;
  std::string_view name_;
  const Fields<Options>& fields_;
  Mistakes& mistakes_;
  KeySet wrong_;
};

template <class Options>
void read_section(const Node& root, std::string_view name, const Fields<Options>& fields, Options& options,
                  Mistakes& mistakes) {
  const Member* member = root.find(name);
  const std::string title = "[" + std::string(name) + "]";
  if (member == nullptr || !check_table(member->value, title, mistakes)) return;
  Section<Options> section(member->value, title, name, fields, mistakes);
  section.read(options);
  section.report_not_built();
}

void read_backends(const Node& backends, Config& config, Mistakes& mistakes) {
  for (const Member& member : backends.members) {
    const std::string title = "[backend." + member.name + "]";
    if (!check_table(member.value, title, mistakes)) continue;
    if (!is_name(member.name)) mistakes.add(member.place, quoted(member.name) + ": " + kNameRule);
    BackendOptions backend;
    backend.name = member.name;
    Section<BackendOptions> section(member.value, title, "backend", backend_fields(), mistakes);
    section.read(backend);
    section.report_not_built();
    if (backend.kind == BackendOptions::Kind::sqlite && !backend.password.empty()) {
      mistakes.add(member.place, title + ": a SQLite file has no password");
    }
    config.backends.push_back(std::move(backend));
  }
}

// --- Policies: which keys belong to them depends on what they do.

struct Word {
  std::uint8_t bit;
  std::string_view text;
};
constexpr std::array<Word, 4> kModeWords{{{kCacheAside, "cache-aside"},
                                          {kWriteThrough, "write-through"},
                                          {kWriteBehind, "write-behind"},
                                          {kCounter, "counter"}}};
constexpr std::array<Word, 4> kValueWords{
    {{kJson, "json"}, {kHash, "hash"}, {kRaw, "raw"}, {kCounterValue, "counter"}}};

// "json, hash or raw".
std::string names_of(std::uint8_t bits, const std::array<Word, 4>& words) {
  std::string text;
  for (const Word& word : words) {
    if ((bits & word.bit) == 0) continue;
    bits = static_cast<std::uint8_t>(bits & ~word.bit);
    text += (text.empty() ? "" : bits == 0 ? " or " : ", ") + std::string(word.text);
  }
  return text;
}

// Why the policy may not have this field, or nothing.
std::string misplaced(const Field<PolicyOptions>& field, Modes mode, Values value) {
  const std::string key = std::string(field.name) + ": does not belong to ";
  if ((field.values & value) == 0) {
    return key + names_of(value, kValueWords) + " values, only to " + names_of(field.values, kValueWords);
  }
  if ((field.modes & mode) == 0) {
    return key + "a " + names_of(mode, kModeWords) + " policy, only to " + names_of(field.modes, kModeWords);
  }
  return {};
}

KeySet report_misplaced(const PolicyOptions& policy, const Node& table, Mistakes& mistakes) {
  KeySet keys;
  for (const Field<PolicyOptions>& field : policy_fields()) {
    const Member* member = table.find(field.name);
    const std::string reason = misplaced(field, mode_of(policy), value_of(policy));
    if (member == nullptr || reason.empty()) continue;
    mistakes.add(member->place, reason);
    keys.insert(field.name);
  }
  return keys;
}

void fill_defaults(PolicyOptions& policy, const Node& table) {
  const bool counter = policy.value == ValueMode::counter;
  const bool writes = counter || policy.write != WriteMode::none;
  if (table.find("unmanaged_writes") == nullptr && writes) policy.unmanaged_writes = Unmanaged::reject;
  if (table.find("flush_interval") == nullptr && counter) policy.flush_interval = std::chrono::seconds(1);
  if (!policy.query.empty() && table.find("tables") == nullptr && !policy.table.empty()) policy.tables = {policy.table};
}

PolicyOptions read_policy(const Node& table, Mistakes& mistakes) {
  PolicyOptions policy;
  Section<PolicyOptions> section(table, "[[policy]]", "policy", policy_fields(), mistakes);
  section.read(policy);
  KeySet reported;
  if (section.is_known("value") && section.is_known("read") && section.is_known("write")) {
    if (mode_of(policy) == 0) {
      mistakes.add(table.place,
                   "the policy does nothing: give it a \"read\" or a \"write\" key, or value = \"counter\"");
    } else {
      reported = report_misplaced(policy, table, mistakes);
    }
    check_policy(policy, table, mistakes);
  }
  section.report_not_built(reported);
  fill_defaults(policy, table);
  return policy;
}

std::vector<const Node*> read_policies(const Node& list, Config& config, Mistakes& mistakes) {
  std::vector<const Node*> tables;
  if (list.kind != Node::Kind::array) {
    mistakes.add(list.place, "a policy begins with [[policy]], in double brackets");
    return tables;
  }
  for (const Node& table : list.items) {
    if (!check_table(table, "a policy", mistakes)) continue;
    config.policies.push_back(read_policy(table, mistakes));
    tables.push_back(&table);
  }
  return tables;
}

void report_unknown_sections(const Node& root, Mistakes& mistakes) {
  const std::vector<std::string_view> known{"proxy", "upstream", "admin", "backend", "policy"};
  for (const Member& member : root.members) {
    if (std::find(known.begin(), known.end(), member.name) != known.end()) continue;
    const bool section = member.value.kind == Node::Kind::table || member.value.kind == Node::Kind::array;
    mistakes.add(member.place, (section ? "unknown section " : "a key outside every section: ") + quoted(member.name) +
                                   did_you_mean(member.name, known));
  }
}

}  // namespace

const Place& place_of(const Node& table, std::string_view key) {
  const Member* member = table.find(key);
  return member == nullptr ? table.place : member->value.place;
}

Places places_in(const Node& root) {
  Places places;
  const auto url_of = [](const Node& table) {
    return place_of(table, table.find("url_file") == nullptr ? "url" : "url_file");
  };
  if (const Member* member = root.find("upstream")) places.upstream = url_of(member->value);
  if (const Member* member = root.find("backend")) {
    for (const Member& backend : member->value.members) places.backends.push_back(url_of(backend.value));
  }
  if (const Member* member = root.find("policy")) {
    for (const Node& policy : member->value.items) {
      places.policies.push_back(place_of(policy, policy.find("query") == nullptr ? "table" : "query"));
    }
  }
  return places;
}

Config read_config(const Node& root, Mistakes& mistakes) {
  Config config;
  config.proxy.listen = {{Endpoint::Kind::tcp, "127.0.0.1", 6380, {}}};
  config.upstream.endpoint = {Endpoint::Kind::tcp, "127.0.0.1", 6379, {}};
  config.admin.listen = {{Endpoint::Kind::tcp, "127.0.0.1", 9380, {}}};
  report_unknown_sections(root, mistakes);
  read_section(root, "proxy", proxy_fields(), config.proxy, mistakes);
  read_section(root, "upstream", upstream_fields(), config.upstream, mistakes);
  read_section(root, "admin", admin_fields(), config.admin, mistakes);
  std::vector<std::string_view> backends;
  if (const Member* member = root.find("backend");
      member != nullptr && check_table(member->value, "[backend]", mistakes)) {
    for (const Member& backend : member->value.members) backends.push_back(backend.name);
    read_backends(member->value, config, mistakes);
  }
  if (const Member* member = root.find("policy")) {
    const std::vector<const Node*> tables = read_policies(member->value, config, mistakes);
    check_policies(config, tables, backends, mistakes);
  }
  check_addresses(config, root, mistakes);
  return config;
}

}  // namespace sluice::conf

// Documentation: docs/configuration.md and the loader know the same keys, defaults and policies.
#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "conf/field.h"
#include "conf/load.h"
#include "conf/not_built.h"

namespace sluice::conf {
namespace {

using Row = std::vector<std::string>;  // the cells of one line of a table

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(' ');
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(' ') + 1 - begin);
}

Row cells_of(const std::string& line) {
  Row cells;
  std::stringstream in(line.substr(1));
  for (std::string cell; std::getline(in, cell, '|');) cells.push_back(trimmed(cell));
  return cells;
}

// Of each section ("[proxy]"), the rows that begin with a key, by key.
using Sections = std::map<std::string, std::map<std::string, Row>>;

Sections read_documentation() {
  Sections sections;
  std::ifstream in(std::string(SLUICE_SOURCE_DIR) + "/docs/configuration.md");
  std::string section;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#")) section = line.starts_with("## ") ? line.substr(3) : "";
    if (section.empty() || !line.starts_with("| `")) continue;
    const Row cells = cells_of(line);
    sections[section][cells[0].substr(1, cells[0].size() - 2)] = cells;
  }
  return sections;
}

const std::map<std::string, Row>& documented(const std::string& section) {
  static const Sections sections = read_documentation();
  static const std::map<std::string, Row> nothing;
  const auto found = sections.find(section);
  return found == sections.end() ? nothing : found->second;
}

// One cell of the row about a key; empty when there is none.
std::string cell(const std::string& section, std::string_view key, std::size_t column) {
  const auto found = documented(section).find(std::string(key));
  return found == documented(section).end() || found->second.size() <= column ? "" : found->second[column];
}

template <class Options>
void expect_same_keys(const std::string& section, const Fields<Options>& fields) {
  std::set<std::string> known;
  for (const auto& field : fields) known.insert(std::string(field.name));
  std::set<std::string> written;
  for (const auto& [key, row] : documented(section)) written.insert(key);
  EXPECT_EQ(written, known) << section;
}

// A default written as code alone is what the loader has; the others are words.
template <class Options>
void expect_same_defaults(const std::string& section, const Fields<Options>& fields, const Options& defaults) {
  for (const auto& field : fields) {
    const std::string written = cell(section, field.name, 1);
    const bool code = written.starts_with('`') && written.find('`', 1) + 1 == written.size();
    const std::string real = field.print(defaults);
    if (field.required) {
      const std::string unless = field.unless.empty() ? "" : " without `" + std::string(field.unless) + "`";
      EXPECT_EQ(written, "required" + unless) << section << " " << field.name;
    } else if (code && field.name != "tables") {
      EXPECT_EQ(written, "`" + real + "`") << section << " " << field.name;
    } else if (real.empty()) {
      EXPECT_FALSE(code && field.name != "tables") << section << " " << field.name;
    }
  }
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string belongs_to(const Field<PolicyOptions>& field) {
  const std::vector<std::string> modes{"cache-aside", "write-through", "write-behind", "counter"};
  const std::vector<std::string> kinds{"json", "hash", "raw", "counter"};
  const auto named = [](unsigned bits, const std::vector<std::string>& names) {
    std::vector<std::string> words;
    for (std::size_t i = 0; i < names.size(); ++i) {
      if ((bits >> i & 1U) != 0) words.push_back(names[i]);
    }
    return join(words);
  };
  std::string text = field.modes == kEveryMode ? "" : named(field.modes, modes);
  if (field.values != kEveryValue) text += (text.empty() ? "values " : "; values ") + named(field.values, kinds);
  return text.empty() ? "all" : text;
}

TEST(Documentation, HasEveryKeyAndNoOther) {
  expect_same_keys("[proxy]", proxy_fields());
  expect_same_keys("[upstream]", upstream_fields());
  expect_same_keys("[admin]", admin_fields());
  expect_same_keys("[backend.NAME]", backend_fields());
  expect_same_keys("[[policy]]", policy_fields());
}

TEST(Documentation, HasTheDefaultsOfTheLoader) {
  const Config defaults = load_text("").config;
  expect_same_defaults("[proxy]", proxy_fields(), defaults.proxy);
  expect_same_defaults("[upstream]", upstream_fields(), defaults.upstream);
  expect_same_defaults("[admin]", admin_fields(), defaults.admin);
  expect_same_defaults("[backend.NAME]", backend_fields(), BackendOptions());
  expect_same_defaults("[[policy]]", policy_fields(), PolicyOptions());
}

TEST(Documentation, SaysWhichPoliciesAKeyBelongsTo) {
  for (const auto& field : policy_fields()) {
    EXPECT_EQ(cell("[[policy]]", field.name, 3), belongs_to(field)) << field.name;
  }
}

TEST(Documentation, SaysWhichKeysAreNotBuilt) {
  for (const auto& field : policy_fields()) {
    const std::string meaning = cell("[[policy]]", field.name, 4);
    EXPECT_EQ(meaning.ends_with("; not built yet"), is_key_not_built("policy", field.name)) << field.name;
  }
}

}  // namespace
}  // namespace sluice::conf

// Layering: which folder may include what, checked on every #include line of the tree.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace {

namespace fs = std::filesystem;

struct Include {
  std::string file;    // from the root of the tree: "conf/load.cc"
  std::string header;  // as written, with its quotes or brackets
};

bool begins_with_any(std::string_view text, const std::vector<std::string_view>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(), [&](auto beginning) { return text.starts_with(beginning); });
}

// <vector>, <cstdint>: no directory, no suffix.
bool is_std(std::string_view header) {
  return header.starts_with('<') && header.find_first_of("./") == std::string_view::npos;
}

bool is_source(std::string_view file) { return file.ends_with(".cc"); }

// A backend's own files carry the name of its database, and only they see its driver.
const std::map<std::string, std::vector<std::string_view>> kDrivers{
    {"backends/sqlite", {"<sqlite3.h>"}},
    {"backends/postgres", {"<libpq", "<poll.h>"}},
    {"backends/mysql", {"<mysql", "<mariadb", "<sys/socket.h>", "<unistd.h>"}},
};

bool backend_may(const Include& include) {
  if (include.header.starts_with("\"backends/")) return include.file != "backends/sql.h";
  if (include.header == "\"conf/config.h\"") return is_source(include.file);
  if (include.header == "\"conf/named_sql.h\"") return true;
  if (include.file == "backends/pool.cc" && include.header == "<pthread.h>") return true;  // names its threads
  return std::any_of(kDrivers.begin(), kDrivers.end(), [&](const auto& driver) {
    return include.file.starts_with(driver.first) && begins_with_any(include.header, driver.second);
  });
}

bool policy_may(const Include& include) {
  const std::vector<std::string_view> seen{"\"resp/",
                                           "\"policies/",
                                           "\"backends/sql.h\"",
                                           "\"conf/config.h\"",
                                           "\"conf/key_template.h\"",
                                           "\"conf/table_name.h\""};
  return begins_with_any(include.header, seen) || begins_with_any(include.header, {"<nlohmann/", "<openssl/"});
}

// Whether the layers allow this line. Tests and benches may include what they test.
bool is_allowed(const Include& include) {
  const std::string folder = include.file.substr(0, include.file.find('/'));
  if (include.header == "<uv.h>") return folder == "proxy" || include.file.starts_with("tests/proxy/");
  if (include.header.starts_with("<toml++/")) return include.file == "conf/load.cc";
  if (folder == "tests" || folder == "bench" || folder == "proxy" || is_std(include.header)) return true;
  if (folder == "resp") return include.header.starts_with("\"resp/");
  if (folder == "conf") return include.header.starts_with("\"conf/");
  if (folder == "backends") return backend_may(include);
  if (folder == "policies") return policy_may(include);
  return false;
}

std::vector<Include> includes_of(const fs::path& root, const fs::path& path) {
  std::vector<Include> includes;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const std::size_t hash = line.find_first_not_of(" \t");
    if (hash == std::string::npos || line[hash] != '#') continue;
    const std::size_t word = line.find_first_not_of(" \t", hash + 1);
    if (word == std::string::npos || line.compare(word, 7, "include") != 0) continue;
    const std::size_t begin = line.find_first_of("<\"", word);
    const std::size_t end = line.find_first_of(">\"", begin + 1);
    if (end != std::string::npos)
      includes.push_back({path.lexically_relative(root), line.substr(begin, end + 1 - begin)});
  }
  return includes;
}

std::vector<Include> includes_of_tree(const fs::path& root) {
  std::vector<Include> all;
  for (const char* folder : {"resp", "conf", "backends", "policies", "proxy", "bench", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const fs::path extension = entry.path().extension();
      if (extension != ".cc" && extension != ".h" && extension != ".def") continue;
      const std::vector<Include> some = includes_of(root, entry.path());
      all.insert(all.end(), some.begin(), some.end());
    }
  }
  return all;
}

std::set<std::string> files_that_include(const std::vector<Include>& includes, std::string_view beginning) {
  std::set<std::string> files;
  for (const Include& include : includes) {
    if (include.file.starts_with("policies/") && include.header.starts_with(beginning)) files.insert(include.file);
  }
  return files;
}

const std::vector<Include>& tree() {
  static const std::vector<Include> includes = includes_of_tree(SLUICE_SOURCE_DIR);
  return includes;
}

TEST(Layering, EveryIncludeOfTheTreeIsAllowed) {
  ASSERT_GT(tree().size(), 100U);
  for (const Include& include : tree())
    EXPECT_TRUE(is_allowed(include)) << include.file << " includes " << include.header;
}

TEST(Layering, OneFileOfThePoliciesSeesJsonAndOneSeesOpenSsl) {
  EXPECT_LE(files_that_include(tree(), "<nlohmann/").size(), 1U);
  EXPECT_LE(files_that_include(tree(), "<openssl/").size(), 1U);
}

TEST(Layering, RefusesWhatTheRulesForbid) {
  const std::vector<Include> forbidden{
      {"resp/encode.cc", "\"conf/config.h\""},
      {"resp/encode.cc", "<uv.h>"},
      {"resp/encode.cc", "<unistd.h>"},
      {"resp/encode.cc", "<hiredis/hiredis.h>"},
      {"conf/config.h", "\"resp/command.h\""},
      {"conf/read.cc", "<toml++/toml.h>"},
      {"conf/load.h", "<toml++/toml.h>"},
      {"backends/sql.h", "\"backends/pool.h\""},
      {"backends/sql.h", "\"conf/config.h\""},
      {"backends/pool.cc", "<sqlite3.h>"},
      {"backends/sqlite.cc", "<pqxx/pqxx>"},
      {"backends/pool.cc", "\"conf/load.h\""},
      {"backends/pool.cc", "\"policies/policy.h\""},
      {"policies/policy.h", "\"proxy/loop.h\""},
      {"policies/counter.cc", "<uv.h>"},
      {"policies/counter.cc", "\"backends/pool.h\""},
      {"policies/counter.cc", "\"conf/load.h\""},
      {"policies/counter.cc", "<sqlite3.h>"},
      {"tests/policies/policy_test.cc", "<uv.h>"},
      {"conf/config.h", "\"proxy/loop.h\""},
      {"tests/conf/load_test.cc", "<toml++/toml.h>"},
  };
  for (const Include& include : forbidden) {
    EXPECT_FALSE(is_allowed(include)) << include.file << " includes " << include.header;
  }
}

TEST(Layering, AllowsWhatTheRulesAllow) {
  const std::vector<Include> allowed{
      {"resp/encode.cc", "<vector>"},
      {"resp/encode.cc", "\"resp/encode.h\""},
      {"conf/load.cc", "<toml++/toml.h>"},
      {"backends/sqlite.cc", "<sqlite3.h>"},
      {"backends/sqlite.cc", "\"conf/config.h\""},
      {"policies/counter.cc", "\"backends/sql.h\""},
      {"policies/counter.cc", "\"conf/config.h\""},
      {"proxy/loop.cc", "<uv.h>"},
      {"proxy/loop.cc", "\"policies/policy.h\""},
  };
  for (const Include& include : allowed) {
    EXPECT_TRUE(is_allowed(include)) << include.file << " includes " << include.header;
  }
}

TEST(Layering, FindsIncludeLinesHoweverTheyAreSpaced) {
  const fs::path root = fs::path(::testing::TempDir()) / "layering";
  fs::create_directories(root / "resp");
  std::ofstream(root / "resp/bad.cc")
      << "// #include <a>\n#include <uv.h>\n  # include \"conf/config.h\"  // why\n#pragma once\n#include\n";
  const std::vector<Include> found = includes_of(root, root / "resp/bad.cc");
  fs::remove_all(root);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].file, "resp/bad.cc");
  EXPECT_EQ(found[0].header, "<uv.h>");
  EXPECT_EQ(found[1].header, "\"conf/config.h\"");
}

}  // namespace

// Bad files: for every bad/NAME.toml, the mistakes found are those of bad/NAME.txt, in that order.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "conf/load.h"

namespace sluice::conf {
namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<fs::path> bad_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(SLUICE_SOURCE_DIR) / "tests/conf/bad")) {
    if (entry.path().extension() == ".toml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class BadFile : public ::testing::TestWithParam<fs::path> {};

TEST_P(BadFile, HasExactlyTheseMistakes) {
  std::string found;
  for (const Mistake& mistake : load_text(read_file(GetParam())).mistakes) {
    found += to_string(mistake, GetParam().filename().string()) + "\n";
  }
  const fs::path golden = fs::path(GetParam()).replace_extension(".txt");
  EXPECT_FALSE(found.empty());
  EXPECT_EQ(found, read_file(golden)) << "expected is " << golden.filename();
}

INSTANTIATE_TEST_SUITE_P(All, BadFile, ::testing::ValuesIn(bad_files()),
                         [](const auto& parameter) { return parameter.param.stem().string(); });

TEST(BadFiles, AreThere) { EXPECT_GT(bad_files().size(), 20U); }

}  // namespace
}  // namespace sluice::conf

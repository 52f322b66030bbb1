// Bench: forwarded commands allocate nothing, and the scripts of bench/ that measure the program work.
#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

// Runs a script of bench/ on the program under test.
Output script(const std::string& name, Args arguments) {
  arguments.insert(arguments.begin(), {"python3", SLUICE_SOURCE_DIR "/bench/" + name, "--sluice", SLUICE_BINARY});
  return run(arguments);
}

TEST(Bench, ForwardedCommandsAllocateNothing) {
  const Output output = script("counters.py", {"--check"});
  EXPECT_EQ(output.status, 0) << output.text;
}

TEST(Bench, SideBySideComparesAndJudges) {
  TempDir dir;
  const Output output = script("side_by_side.py", {"--cells", "get:64:50:1,set:64:5:16:policies,get:64:50:1:unix",
                                                   "--without", "twemproxy,haproxy", "--rounds", "1", "--seconds",
                                                   "0.02", "--goals", "--markdown", dir.file("results.md")});
  ASSERT_EQ(output.status, 0) << output.text;
  for (const char* target : {"direct/unix", "sluice+policies", "sluice/unix / direct", "of 2 goals met"}) {
    EXPECT_NE(output.text.find(target), std::string::npos) << target << " is missing in\n" << output.text;
  }
  const std::string results = read_file(dir.file("results.md"));
  EXPECT_NE(results.find("## Goals\n"), std::string::npos) << results;
  EXPECT_NE(results.find("## Side by side\n"), std::string::npos) << results;
}

TEST(Bench, SideBySideCountsCollapsedRounds) {
  const Output output = script("side_by_side.py", {"--collapse", "2"});
  ASSERT_EQ(output.status, 0) << output.text;
  EXPECT_NE(output.text.find(" of 2 "), std::string::npos) << output.text;
}

TEST(Bench, MemoryMeasuresEveryPart) {
  const Output output = script(
      "memory.py", {"--parts", "idle,crowd,burst,large", "--crowd", "200", "--large", "1048576", "--patience", "0.1"});
  ASSERT_EQ(output.status, 0) << output.text;
  for (const char* row : {"idle", "idle clients", "pipeline of 64", "after GET of 4 x 1 MiB"}) {
    EXPECT_NE(output.text.find(row), std::string::npos) << row << " is missing in\n" << output.text;
  }
}

TEST(Bench, ReadsMeasuresEveryPart) {
  TempDir dir;
  const Output output = script("reads.py", {"--databases", "sqlite", "--clients", "4", "--rounds", "1", "--seconds",
                                            "0.2", "--hit-rounds", "1", "--hit-seconds", "0.02", "--zipf-seconds",
                                            "0.5", "--rows", "20000", "--markdown", dir.file("results.md")});
  ASSERT_EQ(output.status, 0) << output.text;
  const std::string results = read_file(dir.file("results.md"));
  for (const char* text :
       {"## Reads: goals\n", "| 50 | 16 | policy |", "| SQLite | 4 | sluice |", "| SQLite | 10 % | sluice |"}) {
    EXPECT_NE(results.find(text), std::string::npos) << text << " is missing in\n" << results;
  }
}

}  // namespace
}  // namespace sluice::live

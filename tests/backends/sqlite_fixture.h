// A SQLite file in a folder of its own, a session on it, and a second connection that sees what is really there.
#pragma once

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "backends/registry.h"
#include "backends/sql.h"
#include "conf/config.h"

namespace sluice::sql {

inline Deadline in(std::chrono::milliseconds time) { return std::chrono::steady_clock::now() + time; }
inline Deadline soon() { return in(std::chrono::seconds(20)); }

// A folder that goes with its owner.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "sluice-sql-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// An application's own connection.
class Outsider {
 public:
  explicit Outsider(const std::string& path) { EXPECT_EQ(sqlite3_open(path.c_str(), &db_), SQLITE_OK); }
  ~Outsider() { sqlite3_close(db_); }
  Outsider(const Outsider&) = delete;
  Outsider& operator=(const Outsider&) = delete;

  // Rows separated by '\n', columns by '|', NULL as "~".
  std::string run(const std::string& sql) {
    std::string out;
    char* message = nullptr;
    const int code = sqlite3_exec(
        db_, sql.c_str(),
        [](void* into, int count, char** values, char**) {
          auto& text = *static_cast<std::string*>(into);
          if (!text.empty()) text += '\n';
          for (int i = 0; i < count; ++i) text.append(i == 0 ? "" : "|").append(values[i] == nullptr ? "~" : values[i]);
          return 0;
        },
        &out, &message);
    EXPECT_EQ(code, SQLITE_OK) << sql << ": " << (message == nullptr ? "" : message);
    sqlite3_free(message);
    return out;
  }

 private:
  sqlite3* db_ = nullptr;
};

inline std::unique_ptr<Backend> sqlite_backend(const std::string& path, int connections = 4) {
  conf::BackendOptions options;
  options.name = "shop";
  options.path = path;
  options.connections = connections;
  return make_backend(options);
}

inline std::vector<const Op*> pointers_to(const std::vector<Op>& ops) {
  std::vector<const Op*> pointers(ops.size());
  std::transform(ops.begin(), ops.end(), pointers.begin(), [](const Op& op) { return &op; });
  return pointers;
}

class SqliteTest : public testing::Test {
 protected:
  SqliteTest() : path(folder.file("shop.db")), outside(path), backend(sqlite_backend(path)) {
    outside.run("PRAGMA journal_mode = WAL");
    session = backend->session();
  }

  Result run(const Op& op, Deadline deadline = soon()) { return session->run(op, deadline); }
  std::vector<Result> run_group(const std::vector<Op>& ops, Deadline deadline = soon()) {
    return session->run_group(pointers_to(ops), deadline);
  }

  TemporaryFolder folder;
  std::string path;
  Outsider outside;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Session> session;
};

inline testing::AssertionResult is_ok(const Result& result) {
  if (result.ok()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << result.error.sqlstate << " " << result.error.message;
}

inline testing::AssertionResult fails(const Result& result, Failure failure, const std::string& sqlstate) {
  if (result.error.failure == failure && result.error.sqlstate == sqlstate && !result.error.message.empty()) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "failure " << static_cast<int>(result.error.failure) << ", SQLSTATE "
                                     << result.error.sqlstate << ", message: " << result.error.message;
}

}  // namespace sluice::sql

// A disk that fails when it is told to, under every SQLite file that this process opens from then on.
#pragma once

#include <atomic>
#include <list>
#include <mutex>

#include <sqlite3.h>

namespace sluice::sql {

struct SqliteFaults {
  // A SQLite code to fail with, or 0.
  std::atomic<int> write{0};
  std::atomic<int> sync{0};
  std::atomic<int> read{0};
  std::atomic<int> syncs{0};  // how many were asked for
};

namespace faults_detail {

inline SqliteFaults faults;
inline sqlite3_vfs* real_vfs = nullptr;
inline sqlite3_vfs vfs;

// The system's VFS has one table of methods for databases and one for logs; these three are the same in both.
struct Methods {
  const sqlite3_io_methods* real;
  sqlite3_io_methods failing;
};
inline std::list<Methods> tables;
inline std::mutex tables_mutex;  // guards `tables` while it grows; real_methods is set once
inline const sqlite3_io_methods* real_methods = nullptr;

inline int write(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 at) {
  const int code = faults.write;
  return code != 0 ? code : real_methods->xWrite(file, bytes, count, at);
}

inline int sync(sqlite3_file* file, int flags) {
  ++faults.syncs;
  const int code = faults.sync;
  return code != 0 ? code : real_methods->xSync(file, flags);
}

inline int read(sqlite3_file* file, void* into, int count, sqlite3_int64 at) {
  const int code = faults.read;
  return code != 0 ? code : real_methods->xRead(file, into, count, at);
}

inline const sqlite3_io_methods* failing(const sqlite3_io_methods* real) {
  const std::lock_guard lock(tables_mutex);
  for (auto& table : tables) {
    if (table.real == real) return &table.failing;
  }
  if (real_methods == nullptr) real_methods = real;
  Methods& added = tables.emplace_back(Methods{real, *real});
  added.failing.xWrite = write;
  added.failing.xSync = sync;
  added.failing.xRead = read;
  return &added.failing;
}

// Files stay those of the system's VFS; only three of their methods are replaced.
inline int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  const int code = real_vfs->xOpen(real_vfs, name, file, flags, out_flags);
  if (file->pMethods != nullptr) file->pMethods = failing(file->pMethods);
  return code;
}

}  // namespace faults_detail

// Installs the failing disk; it stays for the life of the process. All faults are off.
inline SqliteFaults& sqlite_faults() {
  using namespace faults_detail;
  if (real_vfs == nullptr) {
    real_vfs = sqlite3_vfs_find(nullptr);
    vfs = *real_vfs;
    vfs.zName = "faults";
    vfs.xOpen = open;
    sqlite3_vfs_register(&vfs, 1);
  }
  faults.write = faults.sync = faults.read = faults.syncs = 0;
  return faults;
}

}  // namespace sluice::sql

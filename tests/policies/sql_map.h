// SqlMap: tables in memory that answer the operations of backends/sql.h as a database would.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "backends/sql.h"

namespace sluice::policies::testing {

class SqlMap {
 public:
  using Cells = std::map<std::string, sql::Value>;

  explicit SqlMap(sql::Table table) : table_(std::move(table)) {}

  sql::Result run(const sql::Op& op);

  // The row whose first key column has this value.
  Cells& row(const sql::Value& key) { return rows_[name({key})]; }
  bool has(const sql::Value& key) const { return rows_.contains(name({key})); }
  void erase(const sql::Value& key) { rows_.erase(name({key})); }
  std::size_t size() const { return rows_.size(); }

  int reads = 0, flushes = 0;
  std::vector<sql::RunStatement> statements;  // that were run
  std::vector<sql::Row> outbox;               // as ReadOutbox gives them
  std::vector<std::string> guards;            // of the writes, each as often as it was
  std::string refused_key;                    // counter deltas of this Redis key are refused

 private:
  sql::Result change(const sql::ModifyRow& modify);
  sql::Result write_all(const sql::WriteRows& all);
  std::vector<sql::Row> list(const sql::ListRows& list);
  struct Source {
    std::int64_t n = 0, t = 0;
    bool retired = false;
  };
  sql::Row flush_one(const sql::FlushCounters& flush, const sql::CounterDelta& delta);
  // What tells rows apart: the values of their key columns as text.
  static std::string name(const std::vector<sql::Value>& key);
  static std::string name(const std::vector<sql::Bound>& key);

  sql::Table table_;
  std::map<std::string, Cells> rows_;
  std::map<std::pair<std::string, std::string>, Source> sources_;  // by redis key and incarnation
};

// fruit(id integer primary key, name text not null, quantity integer)
sql::Table fruit_table();
// counters(id text primary key, value integer)
sql::Table counters_table();

}  // namespace sluice::policies::testing

// PostgresBatch: replacements of several rows of one table, as one UPDATE.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "backends/postgres_query.h"
#include "backends/postgres_tables.h"
#include "backends/sql.h"

namespace sluice::sql {

// Rows that set and reset the same columns. Refers to the operations: they must outlive it.
class PostgresBatch {
 public:
  static constexpr std::size_t kRowsMin = 3;  // fewer cost less one by one
  static constexpr std::size_t kRowsMax = 256;
  static constexpr std::size_t kBytesMax = std::size_t{1} << 20;  // of values

  // Whether such an UPDATE says the same as one for this row alone.
  static bool takes(const ReplaceRow& op, const PostgresTable& table);

  PostgresBatch(const ReplaceRow& first, std::size_t write);
  // False: it has other columns, or there is no room.
  bool add(const ReplaceRow& op, std::size_t write);
  const std::string& table() const { return ops_[0]->table; }
  const std::vector<std::size_t>& writes() const { return writes_; }  // as they were added

  // An array for each column. The reply has the number of each row that was found, from 1; none is found twice where
  // the key is one of `table`.
  PostgresQuery query(const PostgresTable& table) const;
  // For each write whether it has found its row. Nothing: a row was found twice.
  std::optional<std::vector<bool>> found(const PGresult* rows) const;

 private:
  std::vector<const ReplaceRow*> ops_;
  std::vector<std::size_t> writes_;
  std::size_t bytes_ = 0;
};

}  // namespace sluice::sql

// MysqlGroup: row writes that share a MySQL transaction.
#pragma once

#include <cstddef>
#include <set>
#include <span>
#include <vector>

#include "backends/mysql_connection.h"
#include "backends/mysql_schema.h"
#include "backends/sql.h"

namespace sluice::sql {

// Runs one row write within the transaction; `op` is no other.
Result mysql_write_row(MysqlConnection& connection, MysqlSchema& schema, const Op& op);

// A pause of random length before the next attempt, for two transactions that met should not meet again.
void mysql_pause_after_deadlock();

// One run of a group, after MysqlConnection::prepare_for(). A refused write fails alone, and so does one whose row is
// locked. What undoes the whole transaction is tried again without what caused it.
class MysqlGroup {
 public:
  MysqlGroup(MysqlConnection& connection, MysqlSchema& schema, std::span<const Op* const> ops,
             std::vector<Result>& results);

  // Fills the results. The error is that of the whole, which all writes have that did not fail by themselves.
  Error run();

 private:
  // What becomes of the transaction after a write.
  enum class Next : std::uint8_t {
    on,
    again,  // it is undone and begins anew
    end,    // it is undone for good
  };

  Next attempt(Error& error);
  Next write_batch(std::span<const std::size_t> batch, Error& error);
  Next write_alone(std::size_t i, Error& error);
  Next after_failure(std::size_t i, Result result, Error& error);
  bool may_try_again() const;
  void give_up_on(std::size_t i);

  MysqlConnection& connection_;
  MysqlSchema& schema_;
  const std::span<const Op* const> ops_;
  std::vector<Result>& results_;
  std::vector<std::size_t> order_;  // of what is left to write
  std::set<std::size_t> failed_;    // by themselves
  std::size_t locked_ = 0;
  bool wrote_ = false;  // in this transaction
};

}  // namespace sluice::sql

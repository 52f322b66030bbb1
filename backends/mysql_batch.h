// Batches: row writes of one shape that travel to MySQL in a few statements.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "backends/mysql_connection.h"
#include "backends/mysql_schema.h"
#include "backends/sql.h"

namespace sluice::sql {

// The positions of `ops` in the order in which a group writes them: by table and key, so that two groups lock common
// rows in the same order; those of one shape together unless a row is written twice; statements of the user's own last.
std::vector<std::size_t> mysql_batch_order(std::span<const Op* const> ops);

// How many of the writes at `order`, from its beginning, may be one batch; 1: none.
std::size_t mysql_batch_size(std::span<const Op* const> ops, std::span<const std::size_t> order);

// Writes a batch: locks its rows, updates those that are there, inserts the others, with the results that writing them
// one by one would have. After an error nothing of it is left behind, if the transaction is still there, and nothing is
// said about any one of them: one by one they may do better.
Error mysql_run_batch(MysqlConnection& connection, MysqlSchema& schema, std::span<const Op* const> ops,
                      std::span<const std::size_t> batch, std::vector<Result>& results);

}  // namespace sluice::sql

// Counters in PostgreSQL: totals of the user's table, and which increments are in them already.
#pragma once

#include <cstddef>
#include <set>
#include <string>

#include "backends/postgres_rows.h"
#include "backends/sql.h"

namespace sluice::sql {

std::string postgres_counter_ddl();

PostgresQuery postgres_query(const ReadCounter& op);
// The Result of a ReadCounter from its one row.
Result postgres_read_counter(const PostgresConnection& connection, const PostgresReply& reply);

// Applies the deltas in the transaction that the connection is about to begin, but those of `left_out`, whose rows are
// left as they are. A failure that has a culprit is of that delta: without it the flush may be tried again.
PostgresFailure postgres_flush(PostgresConnection& connection, const FlushCounters& op,
                               const std::set<std::ptrdiff_t>& left_out, Result& result);

// A missing bookkeeping table is for the operator, who wants the statement that creates it.
Error postgres_counter_error(Error error);

}  // namespace sluice::sql

// Counters in SQLite: totals in the user's table, what is already applied in sluice_counter_src.
#pragma once

#include <string>

#include "backends/sql.h"
#include "backends/sqlite_connection.h"
#include "backends/sqlite_schema.h"

namespace sluice::sql {

std::string sqlite_counter_ddl();

Result sqlite_run(SqliteConnection& connection, const ReadCounter& op);

// Inside a transaction that writes, after SqliteSchema::refresh(). On failure of the whole the caller rolls back;
// deltas that are refused one by one have already been undone.
Result sqlite_run(SqliteConnection& connection, SqliteSchema& schema, const FlushCounters& op);

}  // namespace sluice::sql

// Queries of the user's own, on SQLite.
#pragma once

#include "backends/sql.h"
#include "backends/sqlite_connection.h"

namespace sluice::sql {

Result sqlite_run(SqliteConnection& connection, const ReadQuery& op);
Result sqlite_run(SqliteConnection& connection, const DescribeQuery& op);

}  // namespace sluice::sql

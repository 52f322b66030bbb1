// Queries of the user's own, on PostgreSQL.
#pragma once

#include "backends/postgres_connection.h"
#include "backends/sql.h"

namespace sluice::sql {

// `stale`: see PostgresReply.
Result postgres_run(PostgresConnection& connection, const ReadQuery& op, bool& stale);
Result postgres_run(PostgresConnection& connection, const DescribeQuery& op, bool& stale);

}  // namespace sluice::sql

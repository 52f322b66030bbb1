// The outbox in PostgreSQL, see outbox.h.
#pragma once

#include <string>

#include "backends/postgres_connection.h"
#include "backends/sql.h"

namespace sluice::sql {

// A transaction whose sluice.writer has the policy in it, as outbox_mark() writes it, is not recorded: but what other
// triggers and foreign keys do in it is.
std::string postgres_outbox_ddl(const Recorded& recorded);

PostgresQuery postgres_query(const ReadOutbox& op);
// A Row of ReadOutbox's result from one of the query's.
Row postgres_outbox_row(const PGresult* rows, int row);
// `entries`: as postgres_outbox_entries() writes them.
PostgresQuery postgres_forget(const std::string& entries);
std::string postgres_outbox_entries(const ForgetOutbox& op);

Result postgres_run(PostgresConnection& connection, const CheckOutbox& op);

}  // namespace sluice::sql

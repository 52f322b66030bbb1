// What the tables of a PostgreSQL database look like, and how durable its commits are.
#pragma once

#include "backends/postgres_connection.h"
#include "backends/sql.h"

namespace sluice::sql {

std::string postgres_table_ddl(const NewTable& table);

Result postgres_run(PostgresConnection& connection, const Describe& op);
Result postgres_run(PostgresConnection& connection, const CheckDurability& op);

}  // namespace sluice::sql

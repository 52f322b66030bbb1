// Counters in MySQL: totals in the user's table, what is already applied in sluice_counter_src.
#pragma once

#include <string>

#include "backends/mysql_connection.h"
#include "backends/mysql_schema.h"
#include "backends/sql.h"

namespace sluice::sql {

std::string mysql_counter_ddl();

Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const ReadCounter& op);

// Between MysqlConnection::write() and commit(). On failure of the whole the caller rolls back; deltas that are refused
// one by one have already been undone.
Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const FlushCounters& op);

}  // namespace sluice::sql

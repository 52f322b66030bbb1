// Queries of the user's own, on MySQL and MariaDB.
#pragma once

#include "backends/mysql_connection.h"
#include "backends/sql.h"

namespace sluice::sql {

Result mysql_run(MysqlConnection& connection, const ReadQuery& op);
Result mysql_run(MysqlConnection& connection, const DescribeQuery& op);

}  // namespace sluice::sql

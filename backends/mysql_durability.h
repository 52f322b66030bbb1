// The settings of a MySQL server with which an acknowledged commit may be lost in a crash.
#pragma once

#include "backends/mysql_connection.h"
#include "backends/sql.h"

namespace sluice::sql {

Result mysql_check_durability(MysqlConnection& connection);

}  // namespace sluice::sql

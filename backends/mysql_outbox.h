// The outbox in MySQL and MariaDB, see outbox.h.
#pragma once

#include <string>

#include "backends/mysql_connection.h"
#include "backends/sql.h"

namespace sluice::sql {

// A session whose @sluice_writer has the policy in it, as outbox_mark() writes it, is not recorded. `database` is the
// one where sluice_outbox is, which matters when the table is in another.
std::string mysql_outbox_ddl(const Recorded& recorded, const std::string& database);

Result mysql_run(MysqlConnection& connection, const ReadOutbox& op);
Result mysql_run(MysqlConnection& connection, const CheckOutbox& op, const std::string& database);
Result mysql_run(MysqlConnection& connection, const ForgetOutbox& op);

}  // namespace sluice::sql

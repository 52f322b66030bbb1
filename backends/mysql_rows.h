// Operations on rows, as MySQL statements.
#pragma once

#include "backends/mysql_connection.h"
#include "backends/mysql_schema.h"
#include "backends/sql.h"

namespace sluice::sql {

Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const ReadRow& op);
Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const ReadRows& op);
Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const ListRows& op);

// Between MysqlConnection::write() and commit(). A failure leaves nothing of the operation behind, except when it is
// mysql_leaves_changes(): then the caller rolls back.
Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const ReplaceRow& op);
Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const MergeRow& op);
Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const DeleteRow& op);
Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const ModifyRow& op);
Result mysql_run(MysqlConnection& connection, MysqlSchema& schema, const RunStatement& op);

bool mysql_leaves_changes(const Error& error);

}  // namespace sluice::sql

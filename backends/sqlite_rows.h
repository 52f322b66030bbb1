// Operations on rows, as SQLite statements.
#pragma once

#include "backends/sql.h"
#include "backends/sqlite_connection.h"
#include "backends/sqlite_schema.h"

namespace sluice::sql {

Result sqlite_run(SqliteConnection& connection, const ReadRow& op);
Result sqlite_run(SqliteConnection& connection, const ReadRows& op);
Result sqlite_run(SqliteConnection& connection, const ListRows& op);

// Inside a transaction that writes, after SqliteSchema::refresh(). A failure may leave half of the operation behind:
// the caller rolls back to a savepoint.
Result sqlite_run(SqliteConnection& connection, SqliteSchema& schema, const ReplaceRow& op);
Result sqlite_run(SqliteConnection& connection, SqliteSchema& schema, const MergeRow& op);
Result sqlite_run(SqliteConnection& connection, SqliteSchema& schema, const DeleteRow& op);
Result sqlite_run(SqliteConnection& connection, SqliteSchema& schema, const ModifyRow& op);
Result sqlite_run(SqliteConnection& connection, SqliteSchema& schema, const RunStatement& op);

}  // namespace sluice::sql

// The outbox in SQLite, see outbox.h.
#pragma once

#include <string>

#include "backends/sql.h"
#include "backends/sqlite_connection.h"

namespace sluice::sql {

// What sluice itself writes is recorded too: a trigger of a file cannot tell one program from another. It costs a
// cached copy that is dropped without need.
std::string sqlite_outbox_ddl(const Recorded& recorded);

Result sqlite_run(SqliteConnection& connection, const ReadOutbox& op);
Result sqlite_run(SqliteConnection& connection, const CheckOutbox& op);
// Inside a transaction that writes.
Result sqlite_run(SqliteConnection& connection, const ForgetOutbox& op);

}  // namespace sluice::sql

// The outbox in SQLite, see outbox.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backends/sql.h"
#include "backends/sqlite_connection.h"

namespace sluice::sql {

// A trigger of a file cannot tell one program from another: what sluice itself writes is recorded too, see
// SqliteUnrecorded.
std::string sqlite_outbox_ddl(const Recorded& recorded);

// The entries that a guarded write has made of its own row, in a transaction that keeps all others from writing. Made
// before the write; refers to its parts.
class SqliteUnrecorded {
 public:
  SqliteUnrecorded(SqliteConnection& connection, const std::string& guard, const std::vector<Bound>& key);
  Error forget();  // after the write

 private:
  SqliteConnection& connection_;
  const std::string& guard_;
  const std::vector<Bound>& key_;
  std::optional<std::int64_t> last_;  // before the write; nothing: there is nothing to forget
  Error error_;
};

Result sqlite_run(SqliteConnection& connection, const ReadOutbox& op);
Result sqlite_run(SqliteConnection& connection, const CheckOutbox& op);
// Inside a transaction that writes.
Result sqlite_run(SqliteConnection& connection, const ForgetOutbox& op);

}  // namespace sluice::sql

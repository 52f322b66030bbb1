// The classes of the errors that MySQL and MariaDB report.
#pragma once

#include <string>
#include <string_view>

#include "backends/sql.h"

namespace sluice::sql {

// Error numbers that the backend itself acts on.
enum MysqlCode : unsigned {
  kMysqlDuplicateKey = 1062,
  kMysqlLockWaitTimeout = 1205,
  kMysqlDeadlock = 1213,
  kMysqlUnknownStatement = 1243,  // not prepared (any more)
  kMysqlInterrupted = 1317,       // KILL QUERY
  kMysqlPrepareAgain = 1615,
  kMysqlTimeLimit = 1969,         // MariaDB's max_statement_time
  kMysqlTimeLimitOfMysql = 3024,  // MySQL's max_execution_time
};

// What an error of a statement means. `sqlstate` decides for numbers that are in no list.
Failure mysql_failure(unsigned code, std::string_view sqlstate);

// The server's SQLSTATE, or a telling one where it has only HY000 for a row that it refuses.
std::string_view mysql_sqlstate_of(unsigned code, std::string_view sqlstate);

// The connection is gone, or the server is about to end it.
bool mysql_is_lost(unsigned code);
// Waiting for somebody else's lock, or the work, took longer than the statement may.
bool mysql_is_wait(unsigned code);
// A COMMIT that fails with one of these has been rolled back. After any other nobody can tell.
bool mysql_proves_rollback(unsigned code);

// The server's words without the values in them, which are the client's.
std::string mysql_message(unsigned code, std::string_view text);

}  // namespace sluice::sql

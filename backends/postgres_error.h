// Errors of PostgreSQL: the classes of its SQLSTATEs, and messages without the client's values.
#pragma once

#include <libpq-fe.h>
#include <string>
#include <string_view>

#include "backends/sql.h"

namespace sluice::sql {

Failure postgres_class(std::string_view sqlstate);

// The SQLSTATE and the text of an error while connecting, where libpq gives nothing but lines for people.
struct PostgresRefusal {
  std::string sqlstate, text;
};
PostgresRefusal postgres_refusal(const PGconn* connection);

std::string postgres_sqlstate(const PGresult* result);  // empty: not an error of the server's
std::string postgres_message(const PGresult* result);
bool postgres_is_fatal(const PGresult* result);  // the server ends the connection with it

}  // namespace sluice::sql

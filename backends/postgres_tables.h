// PostgresTables: what a connection has learned of the tables it writes to.
#pragma once

#include <cstdint>
#include <libpq-fe.h>
#include <map>
#include <string>
#include <vector>

#include "backends/postgres_connection.h"
#include "backends/sql.h"

namespace sluice::sql {

struct PostgresTable {
  struct Column {
    Oid values = 0;  // the type of arrays of its values; 0: there is none that takes them as they are
    Oid keys = 0;    // that of arrays of values to be compared with it; 0: other texts than its own may be equal to one
  };
  std::map<std::string, Column> columns;
  // Of those that no two rows may have in common at any time, the names in order. None where what is sent is not simply
  // what happens: statements have triggers or rules, other tables inherit from this one.
  std::vector<std::vector<std::string>> keys;

  bool is_key(const std::vector<Bound>& key) const;
};

// Used by one thread at a time, with one PostgresConnection. Forgets all when that is another one.
class PostgresTables {
 public:
  // Asks the server about a table that is not known: not within a transaction. The error is one of the connection.
  Error learn(PostgresConnection& connection, const std::string& table);
  const PostgresTable* find(const std::string& table) const;  // nullptr: not known, or there is none
  void forget(const std::string& table) { tables_.erase(table); }

  // Whether to write several rows with this statement, which may have failed before: then less and less often.
  bool may_try(const std::string& sql);
  void note(const std::string& sql, bool succeeded);

 private:
  struct Failures {
    std::uint32_t in_a_row = 0, to_skip = 0;
  };
  std::map<std::string, PostgresTable> tables_;
  std::map<std::string, Failures> failures_;
  std::uint64_t connection_ = 0;  // its number
};

}  // namespace sluice::sql

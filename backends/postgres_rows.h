// Operations on rows, as PostgreSQL statements.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "backends/named_sql.h"
#include "backends/postgres_connection.h"
#include "backends/postgres_query.h"
#include "backends/postgres_tables.h"
#include "backends/sql.h"

namespace sluice::sql {

PostgresQuery postgres_query(const ReadRow& op);
PostgresQuery postgres_query(const ReadRows& op);
PostgresQuery postgres_query(const ListRows& op);

// A row write in steps of one statement each, where what one gave decides about the next: an UPDATE and, when there was
// no row, an INSERT; or a SELECT that locks, and the write that was decided. An UPDATE that comes first never touches
// another row, does not ask for the NOT NULL columns of a row that exists, and needs no unique index.
class PostgresWrite {
 public:
  using Target =
      std::variant<const ReplaceRow*, const MergeRow*, const DeleteRow*, const ModifyRow*, const RunStatement*>;
  explicit PostgresWrite(Target target);

  // What two writes to one row have in common; sorts by table and key. Empty: it may touch any row.
  const std::string& row() const { return row_; }
  bool done() const { return step_ == Step::done; }
  // The next statement; only while it is not done. Valid as long as this object.
  PostgresQuery query(const PostgresConnection& connection, Error& error);
  // Takes what the statement gave, if it succeeded. The error is of this write.
  Error take(const PostgresConnection& connection, const PostgresReply& reply);

  // The operation, if its first step is still to come: an UPDATE that several of them may share. Else null.
  const ReplaceRow* replacement() const;
  void take_replaced(bool found);  // what it gave for this one's row

  bool refused() const { return refused_; }               // the decision refused the whole that it is part of
  const std::vector<Bound>* key() const { return key_; }  // null: it has none
  const std::string* table() const { return table_; }     // null: it has none
  Result& result() { return result_; }

 private:
  enum class Step : std::uint8_t { first, merge, insert, update, remove, done };

  void take_first(const PostgresReply& reply);
  void decide(const ModifyRow& op, const PostgresReply& reply);
  std::int64_t columns_added(const MergeRow& op, const PostgresReply& reply) const;

  const Target target_;
  const std::string* table_ = nullptr;
  const std::vector<Bound>* key_ = nullptr;
  const std::vector<Bound>* values_ = nullptr;
  const std::vector<std::string>* reset_ = nullptr;
  std::string row_;
  Step step_ = Step::first;
  RowChange change_;
  std::optional<NamedSql> named_;
  bool refused_ = false;
  Result result_;
};

// What became of writes that share the open transaction.
struct PostgresFailure {
  Error error;                  // none: all are done
  std::ptrdiff_t culprit = -1;  // whose error it is; -1: the connection's
  bool stale = false;           // see PostgresReply
  std::string index_schema, index;
  bool together = false;  // rows have shared a statement: another one may be the culprit, or none when each has its own
};

// Runs the writes in the transaction that the connection is about to begin: those of different rows together, in the
// order of their keys so that no two sessions wait for each other; those of one row one after the other. `names`: what
// messages call each of them; empty: as the operation that they are part of. `tables`: rows of those that are known may
// share a statement; null: each row has one of its own.
PostgresFailure postgres_write(PostgresConnection& connection, std::vector<PostgresWrite>& writes,
                               const std::vector<const Op*>& names, PostgresTables* tables);

}  // namespace sluice::sql

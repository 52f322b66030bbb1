// PostgresConnection: one connection to PostgreSQL, with deadlines, pipelines, prepared statements and back-off.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <libpq-fe.h>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backends/postgres_query.h"
#include "backends/sql.h"

namespace sluice::conf {
struct BackendOptions;
}

namespace sluice::sql {

// What one statement gave.
struct PostgresReply {
  Error error;         // see PostgresConnection::named()
  bool stale = false;  // it failed as it had been prepared for another schema; now that is forgotten
  std::unique_ptr<PGresult, void (*)(PGresult*)> rows{nullptr, PQclear};  // null after an error
  std::string index_schema, index;                                        // after 23505: which index it violated
  std::int64_t affected() const;
};

// Used by one thread at a time. Never throws.
class PostgresConnection {
 public:
  explicit PostgresConnection(std::shared_ptr<const conf::BackendOptions> options);
  ~PostgresConnection();
  PostgresConnection(const PostgresConnection&) = delete;
  PostgresConnection& operator=(const PostgresConnection&) = delete;

  // Begins the work on `op`, which messages will name; connects when there is no connection. Everything until the next
  // call ends at `deadline`. `op` must live until then.
  Error prepare_for(const Op& op, Deadline deadline);
  // From here on messages name this operation of the group.
  void name_in_messages(const Op& op) { op_ = &op; }

  // Whether joins are planned row by row, each looked up by its key, from the next exchange that begins a transaction
  // or is in none. Arrays of keys are joined; the server does not know how many rows there are or will be, and another
  // plan would read whole tables and lock rows in another order than that of the keys.
  void look_up_by_key(bool wanted) { by_key_wanted_ = wanted; }
  // The next exchange begins a transaction. In it a statement waits for a lock no longer than this; zero: until the
  // deadline. Its triggers find `mark` as sluice.writer; in one without a mark there is none.
  void begin(std::chrono::milliseconds lock_timeout, std::string mark = {});
  // Sends the statements in one go and reads what they gave, one reply for each up to the first that failed; those
  // behind it did nothing. The error is one of the connection, which is then closed.
  Error exchange(std::span<const PostgresQuery> queries, std::vector<PostgresReply>& replies);
  Error exchange(const PostgresQuery& query, PostgresReply& reply);
  // Runs the statement in a transaction of its own, which may change nothing, and hands over each row as it comes, as a
  // result of one row; nothing is kept. When `take` says false the rest is not read: the connection is closed, and the
  // error says no more than that. Not within a transaction. Otherwise as exchange().
  using TakeRow = std::function<bool(const PGresult*)>;
  Error stream(const PostgresQuery& query, PostgresReply& reply, const TakeRow& take);
  // Prepares the statement, of whose parameters only the number counts, and runs nothing: `reply.rows` has its columns.
  Error prepare_only(const PostgresQuery& query, PostgresReply& reply);
  // Makes a transaction of the statement in a single exchange, after begin(). Unless the statement has failed, for
  // which a rollback() is due, the error is that of the end of the transaction, as from commit().
  Error exchange_and_commit(PostgresQuery query, PostgresReply& reply);
  // Ends the transaction. Failure::unknown only when nobody can tell; otherwise a failure means nothing was applied.
  Error commit();
  void rollback();

  // The connection broke, other than by the deadline, and had not been made for this operation.
  bool lost_old_connection() const { return lost_ && !fresh_; }
  // Of the connection; another one after each loss. 0: there has been none.
  std::uint64_t number() const { return number_; }
  bool expired() const { return std::chrono::steady_clock::now() >= deadline_; }

  // A reply's error, with the backend and the operation in its message.
  Error named(const Error& error) const;
  // An error of ours rather than PostgreSQL's, in the same form.
  Error error(Failure failure, std::string_view sqlstate, std::string_view what) const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Prepared {
    std::string name;
    bool done = false;           // the server has it
    std::uint64_t exchange = 0;  // since this one
    std::list<const std::string*>::iterator recent;
  };
  struct Sent {  // a message whose result is to come
    enum class Kind : std::uint8_t { prelude, prepare, query } kind;
    Prepared* statement = nullptr;
    bool was_prepared = false;  // before this exchange
    std::size_t query = 0;
  };

  Error connect();
  Error establish();
  Error refused_connection();
  Error configure();
  void close();

  std::string subject() const;
  bool send_prelude();
  bool send_mark();
  bool send_settings();
  bool send_planning();
  bool send_plain(const char* sql);
  bool send(const PostgresQuery& query, Sent sent);
  Prepared* send_preparation(const PostgresQuery& query, std::size_t number);  // null: it could not be sent
  Error read_all(std::vector<PostgresReply>& replies);
  Error read_one(const Sent& sent, std::vector<PostgresReply>& replies);
  Error take_rows(std::unique_ptr<PGresult, void (*)(PGresult*)>& result);
  Error read_sync();
  Error next_result(PGresult*& result);
  Error wait(short events);
  bool hung_up();
  Error lose(const PGresult* result = nullptr);
  Error too_late();
  void forget_settings();
  static Error not_known(Error error);
  void fail(const Sent& sent, const PGresult* result, PostgresReply& reply);

  Prepared& prepared(const std::string& key);
  void forget(Prepared* statement);
  void forget_oldest();

  const std::shared_ptr<const conf::BackendOptions> options_;
  PGconn* connection_ = nullptr;
  Deadline deadline_;
  const Op* op_ = nullptr;
  std::uint64_t number_ = 0;
  bool fresh_ = false;
  bool lost_ = false;
  bool refused_first_ = false;          // the server ended the connection instead of answering the first statement
  std::chrono::milliseconds grace_{0};  // for answers, after the deadline

  bool begin_ = false;           // with the next exchange
  std::string mark_;             // of the transaction that it begins
  bool in_transaction_ = false;  // as far as was sent
  // What the server has been told; negative: not known.
  std::chrono::milliseconds statement_timeout_{-1}, lock_timeout_{-1};
  std::chrono::milliseconds lock_timeout_wanted_{0};
  std::optional<bool> by_key_ = false;  // nothing: not known
  bool by_key_wanted_ = false;
  Clock::time_point planned_{};  // not before

  const TakeRow* take_ = nullptr;  // during stream()
  std::vector<Sent> sent_;
  std::unordered_map<std::string, Prepared> statements_;  // by PostgresQuery::cache_key()
  std::list<const std::string*> recent_;                  // their keys, latest first
  std::vector<std::string> unused_;                       // names of statements that the server may forget
  std::uint64_t names_ = 0, exchanges_ = 0;

  Clock::time_point next_try_{};  // to connect
  std::chrono::milliseconds back_off_{0};
  Error last_refusal_;  // without the operation it was for
  std::minstd_rand random_;
};

}  // namespace sluice::sql

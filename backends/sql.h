// SQL as data: operations on rows, their results, and the interface that each database driver implements.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace sluice::sql {

using Deadline = std::chrono::steady_clock::time_point;

struct Blob {
  std::string bytes;
  bool operator==(const Blob&) const = default;
};
// monostate is NULL. Decimals, dates, timestamps, UUIDs and JSON travel as text in the form of contract.md.
using Value = std::variant<std::monostate, std::int64_t, double, std::string, Blob>;
using Row = std::vector<Value>;

enum class ColumnType : std::uint8_t {
  integer,
  real,
  decimal,
  text,
  boolean,
  date,
  timestamp,
  timestamptz,
  time,
  uuid,
  json,
  bytes,
};

struct Column {
  std::string name;
  ColumnType type = ColumnType::text;
  bool nullable = true;
  bool has_default = false;  // an INSERT may leave it out (a default, an autoincrement)
  bool generated = false;    // written by the database only
  bool in_unique_key = false;
  bool exact = true;  // distinct values of a key stay distinct here: no case folding, no text turned into a number
  // The database may store something else than what it is sent, without an error (ON UPDATE, a trigger, CHAR(n), a
  // type of its own): what was written is not what will be read.
  bool rewritten = false;
  bool single = false;      // real: of 32 bits
  std::int16_t scale = -1;  // decimal, time, timestamp: digits after the point that are kept; -1: all of them
  bool narrow = false;      // integer: does not take every integer of 64 bits (INT, UNSIGNED)
  // Text: white space beyond so many characters, or bytes, may be dropped without an error; -1: none is.
  std::int32_t max_characters = -1;
  std::int32_t max_bytes = -1;
  bool drops_zeros = false;  // decimal: those at the end of a fraction are not kept
  bool operator==(const Column&) const = default;
};

struct Table {
  std::string name;
  std::vector<Column> columns;                        // in the table's order
  std::vector<std::vector<std::string>> unique_keys;  // primary key first
  const Column* find(std::string_view column) const;  // nullptr: none of exactly this name
  bool operator==(const Table&) const = default;
};

// A table to be created, for a policy that has none yet.
struct NewColumn {
  enum class Holds : std::uint8_t { text, bytes, integer, uuid, moment };
  std::string name;
  Holds holds = Holds::text;
  bool is_key = false;   // part of the primary key: what differs in one byte is different
  std::string remark{};  // of one line, for who reads the statement; may be empty
  bool operator==(const NewColumn&) const = default;
};

struct NewTable {
  std::string name;
  std::vector<NewColumn> columns;
  bool operator==(const NewTable&) const = default;
};

// A column and a value for it. Names come from the schema or the configuration and are quoted; values are bound.
struct Bound {
  std::string column;
  Value value;
  bool operator==(const Bound&) const = default;
};

// What the table looks like. Fails with Failure::schema when it does not exist.
struct Describe {
  std::string table;
  bool operator==(const Describe&) const = default;
};

// The row with this key: Result.rows holds one Row of `columns`, or none.
struct ReadRow {
  std::string table;
  std::vector<Bound> key;
  std::vector<std::string> columns;
  bool operator==(const ReadRow&) const = default;
};

// Of a ReadRows.
inline constexpr std::size_t kReadRowsMax = 256;

// The rows with these keys, at most kReadRowsMax, as they are at one moment: Result.rows holds those that exist, in no
// order; each begins with its key columns, then come its `columns`.
struct ReadRows {
  std::string table;
  std::vector<std::string> key_columns;
  std::vector<std::vector<Value>> keys;  // in the order of key_columns; at least one
  std::vector<std::string> columns;
  bool operator==(const ReadRows&) const = default;
};

// Of a ReadQuery, unless it says otherwise.
inline constexpr std::size_t kQueryRowsMax = 100000;
inline constexpr std::size_t kQueryBytesMax = std::size_t{32} << 20;

// A query of the user's own, which only reads: `sql` with named parameters (":name", see conf/named_sql.h), which
// `parameters` has by name. Result.columns: what it gives, only name and type of each being set; where the database
// knows no type it is text, and a number in it is a number. Result.rows: all rows, in the query's order.
// Failure::schema when it would change something or two columns have one name; Failure::refused, with SQLSTATE 54000,
// when there is more than it may read.
struct ReadQuery {
  std::string sql;
  std::vector<Bound> parameters;
  std::size_t rows_max = kQueryRowsMax;
  std::size_t bytes_max = kQueryBytesMax;  // in memory
  bool operator==(const ReadQuery&) const = default;
};

// What a ReadQuery would give: Result.columns. The query is prepared, but not run.
struct DescribeQuery {
  std::string sql;
  bool operator==(const DescribeQuery&) const = default;
};

// The keys of ReplaceRow, MergeRow and DeleteRow name one row: Failure::schema when several rows have the key.
// `guard`: the policy with an outbox that takes care of its copies of the row itself, so that the write need not be
// recorded for it (see outbox.h); empty: none.
// Inserts the row or replaces the listed columns of the one with this key (never another row: a second unique key that
// collides is Failure::refused). `reset` are columns that get their default. Result.affected: 1 inserted, 0 replaced.
struct ReplaceRow {
  std::string table;
  std::vector<Bound> key;
  std::vector<Bound> values;
  std::vector<std::string> reset;
  std::string guard = {};
  bool operator==(const ReplaceRow&) const = default;
};

// Sets the listed columns of the row with this key: UPDATE first, INSERT when there is none.
// Result.affected: how many of the columns were NULL or absent before and are not now (what HSET replies).
struct MergeRow {
  std::string table;
  std::vector<Bound> key;
  std::vector<Bound> values;
  std::string guard = {};
  bool operator==(const MergeRow&) const = default;
};

// Deletes the row with this key. Result.affected: rows deleted.
struct DeleteRow {
  std::string table;
  std::vector<Bound> key;
  std::string guard = {};
  bool operator==(const DeleteRow&) const = default;
};

// What a ModifyRow does to its row.
struct RowChange {
  enum class Kind : std::uint8_t {
    keep,    // nothing
    write,   // sets `values` and resets `reset`, of a new row when there is none
    remove,  // deletes the row
    refuse,  // nothing, and nothing of the WriteRows that it is part of
  };
  Kind kind = Kind::keep;
  std::vector<Bound> values;
  std::vector<std::string> reset;
  bool operator==(const RowChange&) const = default;
};

// Decides from a row what becomes of it. Called on a worker thread in the middle of a transaction, perhaps more than
// once: looks at nothing but the row and its own constants, does not throw.
class RowDecision {
 public:
  virtual ~RowDecision() = default;
  virtual RowChange decide(const Row* row) const = 0;  // null: there is no row
};

// Locks the row with this key (or the place where it would be), and does what the decision says; of two that decide
// about one row at once the second sees what the first has done. Result.rows: the row's `columns` as they were when it
// was decided, or none. Result.affected: 1 written or removed, 0 not.
struct ModifyRow {
  std::string table;
  std::vector<Bound> key;
  std::vector<std::string> columns;
  std::shared_ptr<const RowDecision> decision;
  std::string guard = {};
  bool operator==(const ModifyRow&) const = default;
};

// A write of the user's own: `sql` with named parameters (":name", see conf/named_sql.h), which `parameters` has by
// name. Result.affected: as the database counts.
struct RunStatement {
  std::string sql;
  std::vector<Bound> parameters;
  std::string table = {};  // whose columns' values they are, where they have a column's name; empty: of none
  bool operator==(const RunStatement&) const = default;
};

using RowWrite = std::variant<ReplaceRow, MergeRow, DeleteRow, ModifyRow, RunStatement>;

// Several row writes in one transaction: all of them or none. When one fails its error is that of the whole.
// Result.parts: one Result for each. Result.affected: 1 applied, 0 a decision refused.
struct WriteRows {
  std::vector<RowWrite> writes;
  bool operator==(const WriteRows&) const = default;
};

// Rows in key order after `after` (exclusive; empty: from the start), at most `limit`; none with a NULL in its key.
// Result.affected: 1 when these are kQueryBytesMax already, and there may be more; otherwise 0.
struct ListRows {
  std::string table;
  std::vector<std::string> key_columns;
  std::vector<std::string> columns;
  std::vector<Value> after;
  std::uint32_t limit = 100;
  bool operator==(const ListRows&) const = default;
};

// Where a counter policy keeps its totals. The bookkeeping of incarnations (policies.md, "Counters") is in the table
// sluice_counter_src(key, inc, n, t, retired, updated_at) of the same database.
struct CounterTable {
  std::string table;
  std::vector<std::string> key_columns;
  std::string value_column;
  bool operator==(const CounterTable&) const = default;
};

// In one snapshot: the row's value, and `t` and `n` already applied for incarnation `inc` of Redis key `redis_key`.
// Result.rows: one Row {value or NULL (no row), t_sql, n_sql}; t_sql and n_sql are 0 for an incarnation never flushed.
struct ReadCounter {
  CounterTable where;
  std::vector<Value> key;
  std::string redis_key;
  std::string inc;
  bool operator==(const ReadCounter&) const = default;
};

// One counter's state as read from Redis.
struct CounterDelta {
  std::vector<Value> key;
  std::string redis_key;
  std::string inc;                   // incarnation
  std::int64_t n = 0;                // flush number within the incarnation; applied only if above the stored one
  std::int64_t t = 0;                // sum of the increments of this incarnation
  std::optional<std::int64_t> base;  // set by SET: the incarnation's first flush makes the value base + t
  std::vector<std::string> retired;  // incarnations that `base` replaces; their later flushes do nothing
  bool operator==(const CounterDelta&) const = default;
};

// Applies all deltas in one transaction, each at most once. Result.rows: for each delta a Row {change applied to the
// value, or NULL when this very delta was refused (its SQLSTATE, its message follow as text)}.
struct FlushCounters {
  CounterTable where;
  std::vector<CounterDelta> deltas;
  bool operator==(const FlushCounters&) const = default;
};

// Which rows are recorded in sluice_outbox when others change them: those of a table, under the columns that are a
// policy's key (see outbox.h).
struct Recorded {
  std::string policy;
  std::string table;
  std::vector<std::string> key_columns;
  bool operator==(const Recorded&) const = default;
};

// The oldest entries that are there for this policy, of committed changes. Not those beyond some last one: a
// transaction that took its number first may commit last. Result.rows: {number of the entry, its age in ms, then the
// key columns as text (bytes as they are)}; without columns: not an entry of a trigger of ours.
struct ReadOutbox {
  std::string policy;
  std::uint32_t limit = 500;
  std::int64_t after = 0;  // only entries of higher numbers
  bool operator==(const ReadOutbox&) const = default;
};

// Deletes exactly the entries of these numbers, as far as they are there still. Result.affected: how many were.
struct ForgetOutbox {
  std::vector<std::int64_t> entries;
  bool operator==(const ForgetOutbox&) const = default;
};

// Result.rows: one Row of one text for everything that keeps changes from being recorded.
struct CheckOutbox {
  Recorded recorded;
  bool operator==(const CheckOutbox&) const = default;
};

struct Ping {
  bool operator==(const Ping&) const = default;
};

// Result.rows: one Row of one text for every setting with which an acknowledged commit may be lost in a crash.
struct CheckDurability {
  bool operator==(const CheckDurability&) const = default;
};

using Op = std::variant<Ping, Describe, ReadRow, ReadRows, ReplaceRow, MergeRow, DeleteRow, ListRows, ReadCounter,
                        FlushCounters, ModifyRow, RunStatement, WriteRows, CheckDurability, ReadQuery, DescribeQuery,
                        ReadOutbox, ForgetOutbox, CheckOutbox>;

const char* name(const Op& op);      // "read_row": a metric label
std::string describe(const Op& op);  // what it does, for messages: "reading a row of 'users'"
bool is_write(const Op& op);         // changes rows
bool is_row_write(const Op& op);     // may share a transaction with others (Session::run_group)

enum class Failure : std::uint8_t {
  none,
  unavailable,  // not reached, locked or timed out before anything was applied: may be tried again
  refused,      // the database refused this row (constraint, type, range): trying again is useless
  unknown,      // COMMIT was sent and its outcome is not known: never send it again
  schema,       // table or column missing, no permission: an operator must act; nothing was applied
};

struct Error {
  Failure failure = Failure::none;
  std::string sqlstate;  // five characters; SQLite: the corresponding one
  std::string message;   // a sentence for the operator; no values of the client
  bool operator==(const Error&) const = default;
};

struct Result {
  Error error;
  std::int64_t affected = 0;
  std::vector<Row> rows;
  std::optional<Table> table;        // Describe
  std::vector<Column> columns = {};  // ReadQuery, DescribeQuery
  std::vector<Result> parts = {};    // WriteRows
  bool inserted = false;             // ReplaceRow, MergeRow, ModifyRow: there was no row, and it has made one
  bool locked = false;  // run_group(), with Failure::unavailable: somebody holds the row for longer than a group waits
  bool ok() const { return error.failure == Failure::none; }
  bool operator==(const Result&) const = default;
};

// One connection, used by one worker thread. Connects when first used and again after a loss. Never throws.
class Session {
 public:
  virtual ~Session() = default;
  // Runs one operation in a transaction of its own.
  virtual Result run(const Op& op, Deadline deadline) = 0;
  // Runs row writes (is_row_write) in one transaction, in an order of its own; a refused one fails alone, and so does
  // one whose row somebody else has locked (Result::locked). One result per op, in the order of `ops`.
  virtual std::vector<Result> run_group(std::span<const Op* const> ops, Deadline deadline) = 0;
};

// One configured database. Thread-safe.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::unique_ptr<Session> session() = 0;
  virtual int writers() const = 0;  // sessions that may write at a time (SQLite: 1)
  virtual int readers() const = 0;
  virtual int lone_writers() const = 0;  // further sessions for writes that wait for a lock; 0: they are not needed
  // The statement that creates sluice_counter_src, the table that counter policies need beside their own.
  virtual std::string counter_ddl() const = 0;
  // The statement that creates the table, over several lines, with its remarks as comments.
  virtual std::string table_ddl(const NewTable& table) const = 0;
  // The statements that create sluice_outbox, unless it is there, and the triggers that record these rows, in place of
  // those that are there.
  virtual std::string outbox_ddl(const Recorded& recorded) const = 0;
};

}  // namespace sluice::sql

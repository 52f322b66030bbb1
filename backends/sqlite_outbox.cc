// The outbox in SQLite, see sqlite_outbox.h.
#include "backends/sqlite_outbox.h"

#include <array>
#include <string_view>
#include <utility>

#include "backends/outbox.h"
#include "backends/parts.h"

namespace sluice::sql {

namespace {

constexpr std::array<const char*, 3> kEvents{"insert", "update", "delete"};
constexpr const char* kNow = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";

// hex() takes a number for its text, a blob for its bytes and NULL for nothing.
std::string key_of(const Recorded& recorded, const char* row) {
  return joined(recorded.key_columns, " || '.' || ",
                [&](const std::string& column) { return "hex(" + std::string(row) + "." + quoted(column) + ")"; });
}

std::string select(const Recorded& recorded, const char* event, const char* row) {
  return "SELECT " + outbox_literal(recorded.policy) + ", " + outbox_literal(recorded.table) + ", '" + event + "', " +
         key_of(recorded, row) + ", " + kNow;
}

// UNION leaves one of two equal keys.
std::string trigger(const Recorded& recorded, const std::string& event) {
  std::string sql = "CREATE TRIGGER " + quoted(outbox_trigger(recorded, event)) + " AFTER " + event + " ON " +
                    quoted(recorded.table) + " FOR EACH ROW BEGIN\n  INSERT INTO " + kOutbox +
                    " (policy, tbl, op, key, at)\n  ";
  const bool has_old = event != "insert", has_new = event != "delete";
  if (has_old) sql += select(recorded, event.c_str(), "OLD");
  if (has_old && has_new) sql += "\n  UNION ";
  if (has_new) sql += select(recorded, event.c_str(), "NEW");
  return sql + ";\nEND";
}

// As key_of() makes it, of a row with these values.
std::string key_of(const std::vector<Bound>& key) {
  return joined(key, ".", [](const Bound& bound) {
    if (const auto* number = std::get_if<std::int64_t>(&bound.value)) return outbox_hex(std::to_string(*number));
    if (const auto* blob = std::get_if<Blob>(&bound.value)) return outbox_hex(blob->bytes);
    const auto* text = std::get_if<std::string>(&bound.value);
    return text == nullptr ? std::string() : outbox_hex(*text);
  });
}

// hex() of a text gives its bytes as they are in the file.
Error check_encoding(SqliteConnection& connection) {
  SqliteQuery query(connection, "PRAGMA encoding");
  const std::string encoding = query.next() ? query.text(0) : std::string();
  if (!query.ok()) return query.error();
  if (encoding == "UTF-8") return {};
  return connection.error(Failure::schema, "0A000", "an outbox needs a file in UTF-8, and this one is in " + encoding);
}

std::string schema_sql(SqliteConnection& connection, const char* type, const std::string& name, Error& error) {
  SqliteQuery query(connection, "SELECT sql FROM sqlite_schema WHERE type = ? AND name = ?");
  query.bind(std::string_view(type));
  query.bind(std::string_view(name));
  std::string sql = query.next() ? query.text(0) : std::string();
  if (!query.ok()) error = query.error();
  return sql;
}

}  // namespace

std::string sqlite_outbox_ddl(const Recorded& recorded) {
  // AUTOINCREMENT: a number that was used is not used again.
  std::string sql =
      "CREATE TABLE IF NOT EXISTS sluice_outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, policy TEXT NOT NULL, "
      "tbl TEXT NOT NULL, op TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL);\n"
      "CREATE INDEX IF NOT EXISTS sluice_outbox_policy ON sluice_outbox (policy, seq);\n";
  for (const char* event : kEvents) {
    sql +=
        "DROP TRIGGER IF EXISTS " + quoted(outbox_trigger(recorded, event)) + ";\n" + trigger(recorded, event) + ";\n";
  }
  return sql;
}

Result sqlite_run(SqliteConnection& connection, const ReadOutbox& op) {
  if (Error error = check_encoding(connection); error.failure != Failure::none) return failed(std::move(error));
  SqliteQuery query(connection, "SELECT seq, " + std::string(kNow) +
                                    " - at, key FROM sluice_outbox WHERE policy = ? AND seq > ? ORDER BY seq LIMIT ?");
  query.bind(std::string_view(op.policy));
  query.bind(op.after);
  query.bind(std::int64_t{op.limit});
  Result result;
  while (query.next()) result.rows.push_back(outbox_row(query.integer(0), query.integer(1), query.text(2)));
  result.error = outbox_error(query.error());
  return result;
}

Result sqlite_run(SqliteConnection& connection, const CheckOutbox& op) {
  if (Error error = check_encoding(connection); error.failure != Failure::none) return failed(std::move(error));
  Result result;
  outbox_check_table(result, !schema_sql(connection, "table", kOutbox, result.error).empty());
  for (const char* event : kEvents) {
    const std::string name = outbox_trigger(op.recorded, event);
    const std::string found = schema_sql(connection, "trigger", name, result.error);
    outbox_check_trigger(result, name, trigger(op.recorded, event), found);
  }
  return result;
}

SqliteUnrecorded::SqliteUnrecorded(SqliteConnection& connection, const std::string& guard,
                                   const std::vector<Bound>& key)
    : connection_(connection), guard_(guard), key_(key) {
  if (guard_.empty() || schema_sql(connection_, "table", kOutbox, error_).empty()) return;
  SqliteQuery last(connection_, "SELECT max(seq) FROM sluice_outbox");
  if (last.next()) last_ = last.integer(0);
  if (!last.ok()) error_ = last.error();
}

Error SqliteUnrecorded::forget() {
  if (error_.failure != Failure::none || !last_) return error_;
  const std::string key = key_of(key_);
  SqliteQuery query(connection_, "DELETE FROM sluice_outbox WHERE policy = ? AND seq > ? AND key = ?");
  query.bind(std::string_view(guard_));
  query.bind(*last_);
  query.bind(std::string_view(key));
  return query.run();
}

Result sqlite_run(SqliteConnection& connection, const ForgetOutbox& op) {
  Result result;
  for (const std::int64_t entry : op.entries) {
    SqliteQuery query(connection, "DELETE FROM sluice_outbox WHERE seq = ?");
    query.bind(entry);
    result.error = query.run();
    if (!result.ok()) return failed(outbox_error(std::move(result.error)));
    result.affected += connection.changes();
  }
  return result;
}

}  // namespace sluice::sql

// The outbox in MySQL and MariaDB, see mysql_outbox.h.
#include "backends/mysql_outbox.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string_view>
#include <utility>

#include "backends/mysql_query.h"
#include "backends/outbox.h"
#include "backends/parts.h"

namespace sluice::sql {

namespace {

using Lock = MysqlQuery::Lock;

constexpr std::array<const char*, 3> kEvents{"insert", "update", "delete"};
constexpr std::size_t kForgottenAtOnce = 512;

// A backslash in a literal would begin an escape.
std::string literal(std::string_view text) {
  std::string out = outbox_literal(text);
  for (std::size_t at = 0; (at = out.find('\\', at)) != std::string::npos; at += 2) out.insert(at, 1, '\\');
  return out;
}

// HEX() of a number would be another number: CONCAT() makes it text. Bytes are no text of any character set.
std::string key_of(const Recorded& recorded, const char* row) {
  return "CONCAT(" +
         joined(recorded.key_columns, ", '.', ",
                [&](const std::string& column) {
                  const std::string text = "CONCAT(" + std::string(row) + "." + mysql_quoted(column) + ")";
                  return "COALESCE(IF(CHARSET(" + text + ") = 'binary', HEX(" + text + "), HEX(CONVERT(" + text +
                         " USING utf8mb4))), '')";
                }) +
         ")";
}

std::string schema_of(const Recorded& recorded) {
  const std::size_t dot = recorded.table.find('.');
  return dot == std::string::npos ? std::string() : recorded.table.substr(0, dot);
}

// Without a name of its own, a database is the table's.
std::string insert(const Recorded& recorded, const std::string& event, const char* row, const std::string& database) {
  const std::string where = schema_of(recorded).empty() ? std::string() : mysql_quoted(database) + ".";
  return "INSERT INTO " + where + kOutbox + " (policy, tbl, op, `key`, at) VALUES (" + literal(recorded.policy) + ", " +
         literal(recorded.table) + ", '" + event + "', " + key_of(recorded, row) + ", UTC_TIMESTAMP(6));";
}

// INSERT ... VALUES takes its number and is done with it; INSERT ... SELECT would keep all others from inserting until
// the statement that runs the trigger ends. A change of the key is recorded under both.
std::string body(const Recorded& recorded, const std::string& event, const std::string& database) {
  const std::string mine = literal(outbox_marked(recorded));
  std::string sql = "BEGIN\n  IF INSTR(CAST(COALESCE(@sluice_writer, '') AS BINARY), " + mine + ") = 0 THEN\n    ";
  sql += insert(recorded, event, event == "insert" ? "NEW" : "OLD", database) + "\n";
  if (event == "update") {
    sql += "    IF " + key_of(recorded, "OLD") + " <> " + key_of(recorded, "NEW") + " THEN\n      " +
           insert(recorded, event, "NEW", database) + "\n    END IF;\n";
  }
  return sql + "  END IF;\nEND";
}

// Columns whose text in a trigger is none that a key has.
Error check_key(MysqlConnection& connection, const Recorded& recorded, const std::string& schema, Result& result) {
  const std::string table = recorded.table.substr(recorded.table.find('.') + 1);
  MysqlQuery query(connection,
                   "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = ? AND "
                   "table_name = ? AND data_type IN ('bit', 'timestamp')",
                   Lock::none);
  query.bind_text(schema);
  query.bind_text(table);
  while (query.next()) {
    const std::string column = query.text(0);
    if (std::find(recorded.key_columns.begin(), recorded.key_columns.end(), column) == recorded.key_columns.end()) {
      continue;
    }
    outbox_check_type(result, column, query.text(1));
  }
  return query.error();
}

std::string quoted_trigger(const Recorded& recorded, const std::string& event) {
  const std::string schema = schema_of(recorded);
  return (schema.empty() ? schema : mysql_quoted(schema) + ".") + mysql_quoted(outbox_trigger(recorded, event));
}

}  // namespace

std::string mysql_outbox_ddl(const Recorded& recorded, const std::string& database) {
  std::string sql =
      "CREATE TABLE IF NOT EXISTS sluice_outbox (seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, "
      "policy VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, tbl VARCHAR(255) CHARACTER SET "
      "utf8mb4 NOT NULL, "
      "op VARCHAR(8) CHARACTER SET ascii NOT NULL, `key` MEDIUMTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL, "
      "at DATETIME(6) NOT NULL, KEY (policy, seq)) ENGINE = InnoDB;\n";
  sql += "DELIMITER //\n";
  for (const char* event : kEvents) {
    const std::string name = quoted_trigger(recorded, event);
    sql.append("DROP TRIGGER IF EXISTS ").append(name).append("//\nCREATE TRIGGER ").append(name).append(" AFTER ");
    sql.append(event).append(" ON ").append(mysql_quoted_table(recorded.table)).append(" FOR EACH ROW\n  ");
    sql.append(body(recorded, event, database)).append("//\n");
  }
  return sql + "DELIMITER ;\n";
}

Result mysql_run(MysqlConnection& connection, const ReadOutbox& op) {
  MysqlQuery query(connection,
                   "SELECT seq, TIMESTAMPDIFF(MICROSECOND, at, UTC_TIMESTAMP(6)) DIV 1000, `key` FROM sluice_outbox "
                   "WHERE policy = ? AND seq > ? ORDER BY seq LIMIT ?",
                   Lock::none);
  query.bind_text(op.policy);
  query.bind(op.after);
  query.bind(std::int64_t{op.limit});
  Result result;
  while (query.next()) result.rows.push_back(outbox_row(query.integer(0), query.integer(1), query.text(2)));
  result.error = outbox_error(query.error());
  return result;
}

Result mysql_run(MysqlConnection& connection, const CheckOutbox& op, const std::string& database) {
  Result result;
  {
    MysqlQuery query(connection,
                     "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND "
                     "table_name = 'sluice_outbox'",
                     Lock::none);
    outbox_check_table(result, query.next());
    if (!query.ok()) return failed(query.error());
  }
  if (result.rows.empty()) {
    MysqlQuery query(connection, "EXPLAIN DELETE FROM sluice_outbox WHERE seq = 0", Lock::none);
    while (query.next()) continue;
    if (!query.ok()) {
      if (query.error().failure != Failure::schema) return failed(query.error());
      outbox_check_right(result);
    }
  }
  std::string schema = schema_of(op.recorded);
  if (schema.empty()) schema = database;
  if (Error error = check_key(connection, op.recorded, schema, result); error.failure != Failure::none) {
    return failed(std::move(error));
  }
  for (const char* event : kEvents) {
    const std::string name = outbox_trigger(op.recorded, event);
    MysqlQuery query(connection,
                     "SELECT action_statement FROM information_schema.triggers WHERE trigger_schema = ? AND "
                     "trigger_name = ?",
                     Lock::none);
    query.bind_text(schema);
    query.bind_text(name);
    const std::string found = query.next() ? query.text(0) : std::string();
    if (!query.ok()) return failed(query.error());
    outbox_check_trigger(result, name, body(op.recorded, event, database), found);
  }
  return result;
}

// Each is looked up by its number: a plan that reads the table, as IN may have, would wait for the entries of
// transactions that are not over. In few sizes, the last entry being named again: each size makes a statement of its
// own.
Result mysql_run(MysqlConnection& connection, const ForgetOutbox& op) {
  Result result;
  for (std::size_t first = 0; first < op.entries.size(); first += kForgottenAtOnce) {
    const std::size_t count = std::min(kForgottenAtOnce, op.entries.size() - first);
    const std::size_t size = std::bit_ceil(count);
    std::string numbers = "SELECT CAST(? AS SIGNED) AS seq";
    for (std::size_t i = 1; i < size; ++i) numbers += " UNION ALL SELECT ?";
    MysqlQuery query(
        connection,
        "DELETE o FROM (" + numbers + ") AS n STRAIGHT_JOIN sluice_outbox AS o FORCE INDEX (PRIMARY) ON o.seq = n.seq",
        Lock::waits);
    for (std::size_t i = 0; i < size; ++i) query.bind(op.entries[first + std::min(i, count - 1)]);
    result.error = query.run();
    if (!result.ok()) return failed(outbox_error(std::move(result.error)));
    result.affected += query.changes();
  }
  return result;
}

}  // namespace sluice::sql

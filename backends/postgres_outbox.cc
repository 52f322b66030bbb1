// The outbox in PostgreSQL, see postgres_outbox.h.
#include "backends/postgres_outbox.h"

#include <utility>
#include <vector>

#include "backends/outbox.h"
#include "backends/parts.h"
#include "backends/postgres_query.h"

namespace sluice::sql {

namespace {

std::string key_of(const Recorded& recorded, const char* row) {
  return joined(recorded.key_columns, " || '.' || ", [&](const std::string& column) {
    return "coalesce(sluice_outbox_hex(" + std::string(row) + "." + postgres_quoted(column) + "), '')";
  });
}

std::string insert(const Recorded& recorded, const char* key) {
  return "INSERT INTO sluice_outbox (policy, tbl, op, key, at)\n    VALUES (" + outbox_literal(recorded.policy) + ", " +
         outbox_literal(recorded.table) + ", lower(TG_OP), " + key + ", clock_timestamp());\n";
}

// Of the function that the trigger runs. A change of the key is recorded under both.
std::string body(const Recorded& recorded) {
  return "\nDECLARE\n  old_key text;\n  new_key text;\nBEGIN\n"
         "  IF TG_OP <> 'INSERT' THEN\n    old_key := " +
         key_of(recorded, "OLD") + ";\n    " + insert(recorded, "old_key") +
         "  END IF;\n  IF TG_OP <> 'DELETE' THEN\n    new_key := " + key_of(recorded, "NEW") +
         ";\n  END IF;\n  IF new_key IS DISTINCT FROM old_key AND new_key IS NOT NULL THEN\n    " +
         insert(recorded, "new_key") + "  END IF;\n  RETURN NULL;\nEND\n";
}

// Bytes as they are, anything else as text in UTF-8.
constexpr const char* kCommon =
    "CREATE TABLE IF NOT EXISTS sluice_outbox (seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
    "policy TEXT NOT NULL, tbl TEXT NOT NULL, op TEXT NOT NULL, key TEXT NOT NULL, at TIMESTAMPTZ NOT NULL);\n"
    "CREATE INDEX IF NOT EXISTS sluice_outbox_policy ON sluice_outbox (policy, seq);\n"
    "CREATE OR REPLACE FUNCTION sluice_outbox_hex(bytea) RETURNS text LANGUAGE sql IMMUTABLE AS\n"
    "$sluice$ SELECT pg_catalog.encode($1, 'hex') $sluice$;\n"
    "CREATE OR REPLACE FUNCTION sluice_outbox_hex(anyelement) RETURNS text LANGUAGE sql STABLE AS\n"
    "$sluice$ SELECT pg_catalog.encode(pg_catalog.convert_to($1::text, 'UTF8'), 'hex') $sluice$;\n";

}  // namespace

std::string postgres_outbox_ddl(const Recorded& recorded) {
  const std::string name = postgres_quoted(outbox_trigger(recorded));
  const std::string table = postgres_quoted_table(recorded.table);
  // The session may have another search_path and another style of dates than this one.
  return kCommon + ("CREATE OR REPLACE FUNCTION " + name) +
         "() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT SET datestyle = 'ISO, MDY' "
         "SET timezone = 'UTC' AS\n$sluice$" +
         body(recorded) + "$sluice$;\nDROP TRIGGER IF EXISTS " + name + " ON " + table + ";\nCREATE TRIGGER " + name +
         " AFTER INSERT OR UPDATE OR DELETE ON " + table +
         " FOR EACH ROW\n  WHEN (current_setting('sluice.writer', true) IS DISTINCT FROM 'on' OR pg_trigger_depth() > "
         "0)\n  EXECUTE FUNCTION " +
         name + "();\n";
}

PostgresQuery postgres_query(const ReadOutbox& op) {
  PostgresQuery query(
      "SELECT seq, (extract(epoch FROM clock_timestamp() - at) * 1000)::bigint, key FROM sluice_outbox WHERE policy "
      "= ");
  query.sql += query.bind_text(op.policy) + " AND seq > ";
  query.sql += query.bind(op.after) + " ORDER BY seq LIMIT " + query.bind(std::int64_t{op.limit});
  return query;
}

Row postgres_outbox_row(const PGresult* rows, int row) {
  const Row raw = postgres_row(rows, row);
  return outbox_row(std::get<std::int64_t>(raw[0]), std::get<std::int64_t>(raw[1]), std::get<std::string>(raw[2]));
}

std::string postgres_outbox_entries(const ForgetOutbox& op) {
  return "{" + joined(op.entries, ",", [](std::int64_t entry) { return std::to_string(entry); }) + "}";
}

PostgresQuery postgres_forget(const std::string& entries) {
  PostgresQuery query("DELETE FROM sluice_outbox WHERE seq = ANY (");
  query.sql += query.bind_text(entries) + "::bigint[])";
  return query;
}

Result postgres_run(PostgresConnection& connection, const CheckOutbox& op) {
  const std::string table = postgres_quoted_table(op.recorded.table);
  const std::string name = outbox_trigger(op.recorded);
  std::vector<PostgresQuery> queries;
  queries.emplace_back("SELECT to_regclass('sluice_outbox') IS NOT NULL");
  // 29: after each row, on all three events.
  PostgresQuery& trigger = queries.emplace_back(
      "SELECT p.prosrc::text FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid "
      "WHERE t.tgtype = 29 AND t.tgenabled IN ('O', 'A') AND t.tgrelid = to_regclass(");
  trigger.sql += trigger.bind_text(table) + ") AND t.tgname = " + trigger.bind_text(name);
  std::vector<PostgresReply> replies;
  Result result;
  result.error = connection.exchange(queries, replies);
  for (std::size_t i = 0; i < replies.size() && result.ok(); ++i) result.error = connection.named(replies[i].error);
  if (!result.ok()) return result;
  outbox_check_table(result, postgres_value(replies[0].rows.get(), 0, 0) == Value{std::int64_t{1}});
  const PGresult* const found = replies[1].rows.get();
  outbox_check_trigger(result, name, body(op.recorded), PQntuples(found) == 0 ? "" : PQgetvalue(found, 0, 0));
  return result;
}

}  // namespace sluice::sql

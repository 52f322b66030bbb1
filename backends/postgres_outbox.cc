// The outbox in PostgreSQL, see postgres_outbox.h.
#include "backends/postgres_outbox.h"

#include <string_view>
#include <utility>
#include <vector>

#include "backends/outbox.h"
#include "backends/parts.h"
#include "backends/postgres_query.h"

namespace sluice::sql {

namespace {

// Stands for the schema of sluice_outbox, which is known when the statements are run.
constexpr const char* kSchema = "@sluice@";

std::string key_of(const Recorded& recorded, const char* row) {
  return joined(recorded.key_columns, " || '.' || ", [&](const std::string& column) {
    return "coalesce(" + std::string(kSchema) + ".sluice_outbox_hex(" + row + "." + postgres_quoted(column) + "), '')";
  });
}

std::string insert(const Recorded& recorded, const char* key) {
  return "INSERT INTO " + std::string(kSchema) + ".sluice_outbox (policy, tbl, op, key, at)\n    VALUES (" +
         outbox_literal(recorded.policy) + ", " + outbox_literal(recorded.table) + ", lower(TG_OP), " + key +
         ", clock_timestamp());\n";
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

// `text` between two marks that are not in it.
std::string dollar_quoted(const std::string& text) {
  std::string mark = "$sluice";
  while (text.find(mark) != std::string::npos) mark += '_';
  return (mark + "$").append(text).append(mark) + "$";
}

constexpr const char* kTable =
    "CREATE TABLE IF NOT EXISTS sluice_outbox (seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
    "policy TEXT NOT NULL, tbl TEXT NOT NULL, op TEXT NOT NULL, key TEXT NOT NULL, at TIMESTAMPTZ NOT NULL);\n"
    "CREATE INDEX IF NOT EXISTS sluice_outbox_policy ON sluice_outbox (policy, seq);\n";

// Bytes as they are, anything else as text in UTF-8.
constexpr const char* kHex =
    "CREATE OR REPLACE FUNCTION @sluice@.sluice_outbox_hex(pg_catalog.bytea) RETURNS pg_catalog.text LANGUAGE sql "
    "IMMUTABLE AS\n$$ SELECT pg_catalog.encode($1, 'hex') $$;\n"
    "CREATE OR REPLACE FUNCTION @sluice@.sluice_outbox_hex(pg_catalog.anyelement) RETURNS pg_catalog.text LANGUAGE sql "
    "STABLE AS\n$$ SELECT pg_catalog.encode(pg_catalog.convert_to($1::pg_catalog.text, 'UTF8'), 'hex') $$;\n";

// Dropped first, with the triggers that run it: one on a table that the policy had before knows no such columns.
// Whoever changes a row has the right to record it only by way of this function, whose names mean the same for
// everybody: neither a schema nor a temporary table of theirs comes in between. Texts do not depend on their settings.
std::string function(const Recorded& recorded, const std::string& name) {
  return "DROP FUNCTION IF EXISTS " + name + "() CASCADE;\nCREATE FUNCTION " + name +
         "() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET datestyle = "
         "'ISO, MDY' SET timezone = 'UTC' SET intervalstyle = 'postgres' SET extra_float_digits = 1 AS\n" +
         dollar_quoted(body(recorded)) + ";\nREVOKE ALL ON FUNCTION " + name + "() FROM PUBLIC;\n";
}

}  // namespace

std::string postgres_outbox_ddl(const Recorded& recorded) {
  const std::string trigger = postgres_quoted(outbox_trigger(recorded));
  const std::string name = std::string(kSchema) + "." + trigger;
  const std::string table = postgres_quoted_table(recorded.table);
  const std::string statements =
      kHex + function(recorded, name) + "DROP TRIGGER IF EXISTS " + trigger + " ON " + table + ";\nCREATE TRIGGER " +
      trigger + " AFTER INSERT OR UPDATE OR DELETE ON " + table +
      " FOR EACH ROW\n  WHEN (pg_catalog.strpos(coalesce(pg_catalog.current_setting('sluice.writer', true), ''), " +
      outbox_literal(outbox_marked(recorded)) + ") = 0 OR pg_catalog.pg_trigger_depth() > 0)\n  EXECUTE FUNCTION " +
      name + "();\n";
  // In the schema where the table is, whichever that is.
  const std::string block =
      "\nBEGIN\n  EXECUTE pg_catalog.replace(" + dollar_quoted("\n" + statements) + ", '" + kSchema +
      "',\n    (SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON "
      "n.oid = c.relnamespace\n      WHERE c.oid = pg_catalog.to_regclass('sluice_outbox')));\nEND\n";
  return kTable + ("DO " + dollar_quoted(block)) + ";\n";
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
  queries.emplace_back(
      "SELECT pg_catalog.quote_ident(n.nspname), pg_catalog.has_table_privilege(c.oid, 'SELECT') AND "
      "pg_catalog.has_table_privilege(c.oid, 'DELETE') FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON "
      "n.oid = c.relnamespace WHERE c.oid = pg_catalog.to_regclass('sluice_outbox')");
  // 29: after each row, on all three events.
  PostgresQuery& trigger = queries.emplace_back(
      "SELECT CASE WHEN p.prosecdef THEN '' ELSE 'not SECURITY DEFINER' END || p.prosrc, "
      "pg_catalog.pg_get_triggerdef(t.oid) FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid "
      "WHERE t.tgtype = 29 AND t.tgenabled IN ('O', 'A') AND t.tgrelid = pg_catalog.to_regclass(");
  trigger.sql += trigger.bind_text(table) + ") AND t.tgname = " + trigger.bind_text(name);
  std::vector<PostgresReply> replies;
  Result result;
  result.error = connection.exchange(queries, replies);
  for (std::size_t i = 0; i < replies.size() && result.ok(); ++i) result.error = connection.named(replies[i].error);
  if (!result.ok()) return result;
  const PGresult* const place = replies[0].rows.get();
  const bool exists = PQntuples(place) > 0;
  outbox_check_table(result, exists);
  if (exists && PQgetvalue(place, 0, 1)[0] != 't') outbox_check_right(result);
  std::string expected = body(op.recorded);
  const std::string schema = exists ? PQgetvalue(place, 0, 0) : "";
  for (std::size_t at = 0; exists && (at = expected.find(kSchema, at)) != std::string::npos; at += schema.size()) {
    expected.replace(at, std::string_view(kSchema).size(), schema);
  }
  const PGresult* const found = replies[1].rows.get();
  std::string source = PQntuples(found) == 0 ? "" : PQgetvalue(found, 0, 0);
  // Without the table, all that can be said is that there is a trigger.
  if (!source.empty() && !exists) source = expected;
  const bool heeds_mark =
      !source.empty() &&
      std::string_view(PQgetvalue(found, 0, 1)).find(outbox_marked(op.recorded)) != std::string::npos;
  if (!source.empty() && !heeds_mark) source = "heeds no mark";
  outbox_check_trigger(result, name, expected, source);
  return result;
}

}  // namespace sluice::sql

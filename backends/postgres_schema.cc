// What PostgreSQL's catalog says about a table, in the terms of sql.h.
#include "backends/postgres_schema.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/create_table.h"
#include "backends/postgres_query.h"

namespace sluice::sql {

namespace {

// Domains are followed down to the type they are made of. A numeric of PostgreSQL 15 may have a negative scale.
constexpr const char* kColumns = R"(
WITH RECURSIVE c AS (
  SELECT a.attnum, a.attname, a.atttypid AS type, a.atttypmod AS modifier, a.attnotnull AS not_null,
         a.atthasdef AND a.attgenerated = '' OR a.attidentity <> '' AS has_default,
         a.attgenerated <> '' OR a.attidentity = 'a' AS generated, a.attcollation AS collation
  FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT c.attnum, c.attname, t.typbasetype, CASE WHEN c.modifier < 0 THEN t.typtypmod ELSE c.modifier END,
         c.not_null OR t.typnotnull, c.has_default OR t.typdefault IS NOT NULL, c.generated, c.collation
  FROM c JOIN pg_catalog.pg_type t ON t.oid = c.type WHERE t.typtype = 'd')
SELECT c.attname::text, CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace OR t.typname = 'citext'
         THEN t.typname::text ELSE '' END, c.modifier, c.not_null, c.has_default, c.generated,
       coalesce((SELECT l.collisdeterministic FROM pg_catalog.pg_collation l WHERE l.oid = c.collation), true),
       t.typtype = 'e'
FROM c JOIN pg_catalog.pg_type t ON t.oid = c.type WHERE t.typtype <> 'd' ORDER BY c.attnum)";

// Each column of each unique index. One with a predicate or an expression makes no key, but an INSERT can still run
// into it; so can one that a transaction checks at its end.
constexpr const char* kKeys = R"(
SELECT i.indexrelid::bigint, a.attname::text,
       i.indpred IS NULL AND i.indexprs IS NULL AND i.indisvalid AND i.indimmediate AS is_key
FROM pg_catalog.pg_index i
CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS part
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[part] AND a.attnum > 0
WHERE i.indrelid = $1::regclass AND i.indisunique
ORDER BY NOT i.indisprimary, i.indexrelid, part)";

// Triggers and rules of others may change what is written.
constexpr const char* kTriggers = R"(
SELECT 1 FROM pg_catalog.pg_trigger t WHERE t.tgrelid = $1::regclass AND NOT t.tgisinternal AND t.tgenabled <> 'D'
  AND t.tgtype & 20 <> 0 AND left(t.tgname::text, 7) <> 'sluice_'
UNION ALL
SELECT 1 FROM pg_catalog.pg_rewrite r WHERE r.ev_class = $1::regclass AND r.ev_type IN ('2', '3') LIMIT 1)";

struct Type {
  std::string_view name;
  ColumnType type;
};
constexpr Type kTypes[] = {
    {"int2", ColumnType::integer},        {"int4", ColumnType::integer},
    {"int8", ColumnType::integer},        {"float4", ColumnType::real},
    {"float8", ColumnType::real},         {"numeric", ColumnType::decimal},
    {"bool", ColumnType::boolean},        {"date", ColumnType::date},
    {"timestamp", ColumnType::timestamp}, {"timestamptz", ColumnType::timestamptz},
    {"time", ColumnType::time},           {"uuid", ColumnType::uuid},
    {"json", ColumnType::json},           {"jsonb", ColumnType::json},
    {"bytea", ColumnType::bytes},         {"text", ColumnType::text},
    {"varchar", ColumnType::text},
};

constexpr std::int64_t kModifierHeader = 4;  // what the modifiers of numeric, varchar and char are raised by

void set_scale(Column& column, std::int64_t modifier) {
  if (column.type == ColumnType::decimal && modifier >= kModifierHeader) {
    const std::int64_t bits = (modifier - kModifierHeader) & 0x7ff;  // 11 bits, signed
    const std::int64_t scale = (bits ^ 1024) - 1024;
    column.scale = static_cast<std::int16_t>(std::max<std::int64_t>(scale, 0));
    column.rewritten = column.rewritten || scale < 0;  // it rounds to tens
  }
  if (column.type == ColumnType::time || column.type == ColumnType::timestamp ||
      column.type == ColumnType::timestamptz) {
    column.scale = static_cast<std::int16_t>(modifier < 0 ? 6 : modifier);
  }
}

// The collation of a database, or a default of the server's, could be one that takes different texts for equal.
std::string type_of_new(const NewColumn& column, std::size_t) {
  switch (column.holds) {
    case NewColumn::Holds::text:
      return column.is_key ? "TEXT COLLATE \"C\"" : "TEXT";
    case NewColumn::Holds::bytes:
      return "BYTEA";
    case NewColumn::Holds::integer:
      return "BIGINT";
    case NewColumn::Holds::uuid:
      return "UUID";
    case NewColumn::Holds::moment:
      return "TIMESTAMPTZ";
  }
  return {};
}

void set_type(Column& column, std::string_view type, std::int64_t modifier, bool is_enum) {
  const auto found = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Type& t) { return t.name == type; });
  const bool known = found != std::end(kTypes);
  column.type = known ? found->type : ColumnType::text;
  column.single = type == "float4";
  column.narrow = type == "int2" || type == "int4";
  // An enum and a citext keep what they are sent; a jsonb keeps the meaning only, a type we do not know who knows what.
  column.rewritten = type == "jsonb" || (!known && !is_enum && type != "citext");
  const bool merges = column.type == ColumnType::decimal || column.type == ColumnType::real ||
                      column.type == ColumnType::json || (!known && !is_enum);
  column.exact = column.exact && !merges;
  set_scale(column, modifier);
  if ((type == "varchar" || type == "bpchar") && modifier > kModifierHeader) {
    column.max_characters = static_cast<std::int32_t>(modifier - kModifierHeader);
  }
}

bool flag(const PGresult* rows, int row, int column) {
  return postgres_value(rows, row, column) == Value{std::int64_t{1}};
}

std::string text(const PGresult* rows, int row, int column) { return PQgetvalue(rows, row, column); }

std::int64_t integer(const PGresult* rows, int row, int column) {
  const Value value = postgres_value(rows, row, column);
  const auto* number = std::get_if<std::int64_t>(&value);
  return number == nullptr ? 0 : *number;
}

void read_columns(const PGresult* rows, Table& table) {
  for (int i = 0; i < PQntuples(rows); ++i) {
    Column column;
    column.name = text(rows, i, 0);
    column.nullable = !flag(rows, i, 3);
    column.has_default = flag(rows, i, 4);
    column.generated = flag(rows, i, 5);
    column.exact = flag(rows, i, 6);
    set_type(column, text(rows, i, 1), integer(rows, i, 2), flag(rows, i, 7));
    table.columns.push_back(std::move(column));
  }
}

void read_keys(const PGresult* rows, Table& table) {
  std::int64_t index = -1;
  for (int i = 0; i < PQntuples(rows); ++i) {
    const std::string name = text(rows, i, 1);
    for (Column& column : table.columns) column.in_unique_key = column.in_unique_key || column.name == name;
    if (!flag(rows, i, 2)) continue;
    if (integer(rows, i, 0) != std::exchange(index, integer(rows, i, 0))) table.unique_keys.emplace_back();
    table.unique_keys.back().push_back(name);
  }
  std::vector<std::vector<std::string>> once;
  for (auto& key : table.unique_keys) {
    if (std::find(once.begin(), once.end(), key) == once.end()) once.push_back(std::move(key));
  }
  table.unique_keys = std::move(once);
}

}  // namespace

std::string postgres_table_ddl(const NewTable& table) {
  return create_table(table, {postgres_quoted_table(table.name), postgres_quoted, type_of_new, ""});
}

Result postgres_run(PostgresConnection& connection, const Describe& op) {
  const std::string quoted = postgres_quoted_table(op.table);
  std::vector<PostgresQuery> queries;
  for (const char* sql : {kColumns, kKeys, kTriggers}) queries.emplace_back(sql).bind_text(quoted);
  std::vector<PostgresReply> replies;
  Result result;
  result.error = connection.exchange(queries, replies);
  for (std::size_t i = 0; i < replies.size() && result.ok(); ++i) result.error = connection.named(replies[i].error);
  if (!result.ok()) return result;
  Table table;
  table.name = op.table;
  read_columns(replies[0].rows.get(), table);
  read_keys(replies[1].rows.get(), table);
  const bool rewritten = PQntuples(replies[2].rows.get()) > 0;
  for (Column& column : table.columns) column.rewritten = column.rewritten || rewritten;
  result.table = std::move(table);
  return result;
}

Result postgres_run(PostgresConnection& connection, const CheckDurability&) {
  const PostgresQuery query(
      "SELECT name || ' is ' || setting FROM pg_catalog.pg_settings WHERE name IN ('fsync', 'full_page_writes') AND "
      "setting <> 'on' OR name = 'synchronous_commit' AND setting NOT IN ('on', 'remote_apply') ORDER BY name");
  PostgresReply reply;
  Result result;
  result.error = connection.exchange(query, reply);
  if (result.ok()) result.error = connection.named(reply.error);
  for (int i = 0; result.ok() && i < PQntuples(reply.rows.get()); ++i) {
    result.rows.push_back(postgres_row(reply.rows.get(), i));
  }
  return result;
}

}  // namespace sluice::sql

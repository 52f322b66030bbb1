// PostgresTables: the questions to the catalog, and what failed before.
#include "backends/postgres_tables.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

namespace sluice::sql {

namespace {

constexpr std::uint32_t kSkipsMax = 1024;
constexpr std::size_t kFailuresMax = 1000;  // statements; many shapes are not worth remembering

// Arrays of some types have another separator, or come apart in more columns. A parameter is of a column's own type
// where it is stored; where it is compared, of what a domain is made of. Equality is that of the unique index only for
// types that have one equality, and where a collation takes no texts for equal.
constexpr const char* kColumns = R"(
WITH RECURSIVE c AS (
  SELECT a.attname, t.oid AS type, t.typarray, t.typdelim, a.attcollation
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT c.attname, d.typbasetype, c.typarray, c.typdelim, c.attcollation
  FROM c JOIN pg_catalog.pg_type d ON d.oid = c.type WHERE d.typtype = 'd')
SELECT c.attname::text, CASE WHEN c.typdelim = ',' AND b.typtype <> 'c' THEN c.typarray ELSE 0 END,
       CASE WHEN (b.typtype = 'e' OR b.oid = ANY ('{bool,int2,int4,int8,numeric,float4,float8,text,varchar,bpchar,bytea,
                  date,time,timestamp,timestamptz,uuid}'::regtype[]))
                 AND coalesce((SELECT l.collisdeterministic FROM pg_catalog.pg_collation l WHERE l.oid = c.attcollation),
                              true) THEN b.typarray ELSE 0 END
FROM c JOIN pg_catalog.pg_type b ON b.oid = c.type WHERE b.typtype <> 'd')";

constexpr const char* kKeys = R"(
SELECT i.indexrelid, a.attname::text
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
WHERE c.oid = pg_catalog.to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
  AND i.indexprs IS NULL AND (c.relkind = 'p' OR c.relkind = 'r' AND NOT c.relhassubclass) AND NOT c.relhasrules
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgtype & 1 = 0)
ORDER BY i.indexrelid)";

Oid oid(const PGresult* rows, int row, int column) {
  return static_cast<Oid>(std::strtoul(PQgetvalue(rows, row, column), nullptr, 10));
}

PostgresTable table_of(const PGresult* columns, const PGresult* keys) {
  PostgresTable table;
  for (int i = 0; i < PQntuples(columns); ++i) {
    table.columns[PQgetvalue(columns, i, 0)] = {oid(columns, i, 1), oid(columns, i, 2)};
  }
  Oid index = 0;
  for (int i = 0; i < PQntuples(keys); ++i) {
    if (oid(keys, i, 0) != std::exchange(index, oid(keys, i, 0))) table.keys.emplace_back();
    table.keys.back().emplace_back(PQgetvalue(keys, i, 1));
  }
  for (auto& key : table.keys) std::sort(key.begin(), key.end());
  return table;
}

}  // namespace

bool PostgresTable::is_key(const std::vector<Bound>& key) const {
  const auto is_among = [&](const std::vector<std::string>& names) {
    return names.size() == key.size() && std::all_of(key.begin(), key.end(), [&](const Bound& part) {
             const auto column = columns.find(part.column);
             return column != columns.end() && column->second.keys != 0 &&
                    std::binary_search(names.begin(), names.end(), part.column);
           });
  };
  return std::any_of(keys.begin(), keys.end(), is_among);
}

Error PostgresTables::learn(PostgresConnection& connection, const std::string& table) {
  if (connection_ != connection.number()) {
    tables_.clear();
    failures_.clear();
    connection_ = connection.number();
  }
  if (tables_.contains(table)) return {};
  const std::string quoted = postgres_quoted_table(table);
  std::array<PostgresQuery, 2> queries{PostgresQuery(kColumns), PostgresQuery(kKeys)};
  for (PostgresQuery& query : queries) query.bind_text(quoted);
  std::vector<PostgresReply> replies;
  if (Error error = connection.exchange(queries, replies); error.failure != Failure::none) return error;
  const auto& columns = replies[0].rows;
  const auto& keys = replies[1].rows;
  // Without an answer, or a table, the write itself will tell what is wrong.
  if (columns == nullptr || keys == nullptr || PQntuples(columns.get()) == 0) return {};
  tables_.emplace(table, table_of(columns.get(), keys.get()));
  return {};
}

const PostgresTable* PostgresTables::find(const std::string& table) const {
  const auto found = tables_.find(table);
  return found == tables_.end() ? nullptr : &found->second;
}

bool PostgresTables::may_try(const std::string& sql) {
  const auto found = failures_.find(sql);
  if (found == failures_.end() || found->second.to_skip == 0) return true;
  --found->second.to_skip;
  return false;
}

void PostgresTables::note(const std::string& sql, bool succeeded) {
  if (succeeded) {
    if (!failures_.empty()) failures_.erase(sql);
    return;
  }
  if (failures_.size() >= kFailuresMax) failures_.clear();
  Failures& failures = failures_[sql];
  failures.to_skip = std::min(kSkipsMax, (std::uint32_t{1} << std::min(failures.in_a_row, 10U)) - 1);
  ++failures.in_a_row;
}

}  // namespace sluice::sql

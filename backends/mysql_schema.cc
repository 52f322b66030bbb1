// MysqlSchema: reading information_schema, and checking values that the server would convert.
#include "backends/mysql_schema.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "backends/create_table.h"
#include "backends/mysql_connection.h"
#include "backends/mysql_query.h"

namespace sluice::sql {

namespace {

constexpr std::chrono::seconds kFresh{5};  // how long a description is trusted

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

ColumnType type_of(std::string_view data_type, std::string_view column_type) {
  if (data_type == "tinyint" && column_type.starts_with("tinyint(1)")) return ColumnType::boolean;
  if (is_one_of(data_type, {"tinyint", "smallint", "mediumint", "int", "bigint", "bit"})) return ColumnType::integer;
  if (is_one_of(data_type, {"float", "double"})) return ColumnType::real;
  if (data_type == "decimal") return ColumnType::decimal;
  if (data_type == "date") return ColumnType::date;
  if (data_type == "datetime") return ColumnType::timestamp;
  if (data_type == "timestamp") return ColumnType::timestamptz;
  if (data_type == "time") return ColumnType::time;
  if (data_type == "uuid") return ColumnType::uuid;
  if (data_type == "json") return ColumnType::json;
  if (data_type.ends_with("binary") || data_type.ends_with("blob")) return ColumnType::bytes;
  if (is_one_of(data_type, {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
                            "multipolygon", "geometrycollection"})) {
    return ColumnType::bytes;
  }
  return ColumnType::text;
}

// Whether distinct values stay distinct: text only where neither case nor spaces at the end are ignored.
bool is_exact(std::string_view data_type, ColumnType type, std::string_view collation) {
  if (is_one_of(data_type, {"char", "binary", "enum", "set", "year", "inet4", "inet6"})) return false;
  if (type != ColumnType::text && type != ColumnType::json) return true;
  return collation.ends_with("nopad_bin") || collation == "utf8mb4_0900_bin" || collation == "binary";
}

// Types that store something else than what they are sent: padded, stripped, rounded or written another way.
bool is_rewriting(std::string_view data_type, std::string_view column_type) {
  if (is_one_of(data_type, {"char", "binary", "enum", "set", "year", "json", "inet4", "inet6"})) return true;
  const bool has_digits = column_type.find('(') != std::string_view::npos;
  return has_digits && is_one_of(data_type, {"float", "double"});
}

// Neither server knows the other's collation that tells apart what differs in case or in spaces at the end. MySQL takes
// the second of these comments for a comment, MariaDB the first.
constexpr const char* kExactCollation = "COLLATE /*!80017 utf8mb4_0900_bin */ /*M! utf8mb4_nopad_bin */";
constexpr std::size_t kIndexCharactersMax = 768;  // InnoDB: 3072 bytes

std::string key_text(std::size_t keys) {
  const std::size_t length = std::min<std::size_t>(255, kIndexCharactersMax / keys);
  return "VARCHAR(" + std::to_string(length) + ") CHARACTER SET utf8mb4 " + kExactCollation;
}

std::string type_of_new(const NewColumn& column, std::size_t keys) {
  switch (column.holds) {
    case NewColumn::Holds::text:
      return column.is_key ? key_text(keys) : "LONGTEXT CHARACTER SET utf8mb4";
    case NewColumn::Holds::bytes:
      return "LONGBLOB";
    case NewColumn::Holds::integer:
      return "BIGINT";
    case NewColumn::Holds::uuid:  // MySQL has no type of its own for it
      return "VARCHAR(36) CHARACTER SET utf8mb4 " + std::string(kExactCollation);
    case NewColumn::Holds::moment:
      return "DATETIME(3)";
  }
  return {};
}

// One description in the making.
class Reading {
 public:
  Reading(MysqlConnection& connection, const std::string& name) : connection_(connection) {
    out_.table.name = name;
    const std::size_t dot = name.find('.');
    if (dot != std::string::npos) schema_ = name.substr(0, dot);
    table_ = dot == std::string::npos ? name : name.substr(dot + 1);
  }

  Error run() {
    for (auto step : {&Reading::read_columns, &Reading::read_keys, &Reading::read_triggers, &Reading::read_json}) {
      if (Error error = (this->*step)(); error.failure != Failure::none) return error;
    }
    return {};
  }
  MysqlTable take() { return std::move(out_); }

 private:
  // `select` ends where the name of the column with the schema's name follows.
  std::string where(const std::string& select, const char* schema, const char* table) const {
    return select + " WHERE " + schema + " = " + (schema_.empty() ? "DATABASE()" : "?") + " AND " + table + " = ?";
  }
  void bind(MysqlQuery& query) const {
    if (!schema_.empty()) query.bind_text(schema_);
    query.bind_text(table_);
  }

  Error read_columns() {
    MysqlQuery query(connection_,
                     where("SELECT column_name, data_type, column_type, is_nullable, column_default, extra, "
                           "collation_name, numeric_scale, datetime_precision, character_maximum_length FROM "
                           "information_schema.columns",
                           "table_schema", "table_name") +
                         " ORDER BY ordinal_position",
                     MysqlQuery::Lock::none);
    bind(query);
    while (query.next()) add_column(query);
    if (query.ok() && out_.table.columns.empty()) {
      return connection_.error(Failure::schema, "42S02", "there is no such table, or no right to see it");
    }
    return query.error();
  }

  void add_column(const MysqlQuery& query) {
    const std::string data_type = query.text(1);
    const std::string column_type = query.text(2);
    std::string extra = query.text(5);
    std::transform(extra.begin(), extra.end(), extra.begin(), [](unsigned char c) { return std::tolower(c); });
    const auto has = [&](const char* word) { return extra.find(word) != std::string::npos; };
    Column column;
    column.name = query.text(0);
    column.type = type_of(data_type, column_type);
    column.nullable = query.text(3) == "YES";
    // MariaDB spells out the NULL that a column without a default has.
    const bool is_default_null = query.is_null(4) || (connection_.is_mariadb() && query.text(4) == "NULL");
    column.has_default = !is_default_null || has("auto_increment");
    column.generated = has("virtual generated") || has("stored generated") || has("persistent");
    column.exact = is_exact(data_type, column.type, query.text(6));
    column.rewritten = is_rewriting(data_type, column_type) || has("on update");
    column.single = data_type == "float";
    const bool is_signed = column_type.find("unsigned") == std::string::npos;
    column.narrow = column.type == ColumnType::integer && !(data_type == "bigint" && is_signed);
    if (column.type == ColumnType::decimal) column.scale = static_cast<std::int16_t>(query.integer(7));
    if (!query.is_null(8)) column.scale = static_cast<std::int16_t>(query.integer(8));
    const std::int64_t length = query.integer(9);
    if (is_one_of(data_type, {"char", "varchar"})) column.max_characters = static_cast<std::int32_t>(length);
    if (is_one_of(data_type, {"tinytext", "text", "mediumtext"})) column.max_bytes = static_cast<std::int32_t>(length);
    if (data_type == "longtext" && query.text(6) == "utf8mb4_bin") may_be_json_ = connection_.is_mariadb();
    out_.table.columns.push_back(std::move(column));
  }

  // An index on a part of a text, or on an expression, makes no key, but an INSERT can still run into it.
  Error read_keys() {
    MysqlQuery query(connection_,
                     where("SELECT index_name, column_name, sub_part FROM information_schema.statistics",
                           "table_schema", "table_name") +
                         " AND non_unique = 0 ORDER BY index_name = 'PRIMARY' DESC, index_name, seq_in_index",
                     MysqlQuery::Lock::none);
    bind(query);
    std::string index;
    std::vector<std::string> names;
    bool is_key = false;
    while (query.next()) {
      if (query.text(0) != index) {
        add_key(index, std::move(names), is_key);
        names.clear();
        index = query.text(0);
        is_key = true;
      }
      is_key = is_key && !query.is_null(1) && query.is_null(2);
      if (!query.is_null(1)) names.push_back(query.text(1));
    }
    add_key(index, std::move(names), is_key);
    return query.error();
  }

  void add_key(const std::string& index, std::vector<std::string> names, bool is_key) {
    for (Column& column : out_.table.columns) {
      const bool is_part = std::find(names.begin(), names.end(), column.name) != names.end();
      column.in_unique_key = column.in_unique_key || is_part;
    }
    auto& keys = out_.table.unique_keys;
    if (!is_key || std::find(keys.begin(), keys.end(), names) != keys.end()) return;
    keys.push_back(std::move(names));
    out_.indexes.push_back(index);
  }

  // What a trigger makes of a row cannot be known. Those of sluice change no rows of this table.
  Error read_triggers() {
    MysqlQuery query(
        connection_,
        where("SELECT trigger_name FROM information_schema.triggers", "event_object_schema", "event_object_table"),
        MysqlQuery::Lock::none);
    bind(query);
    while (query.next()) {
      if (query.text(0).starts_with("sluice_")) continue;
      for (Column& column : out_.table.columns) column.rewritten = true;
    }
    return query.error();
  }

  // MariaDB's JSON is text with a check.
  Error read_json() {
    if (!may_be_json_) return {};
    MysqlQuery query(
        connection_,
        where("SELECT check_clause FROM information_schema.check_constraints", "constraint_schema", "table_name"),
        MysqlQuery::Lock::none);
    bind(query);
    std::set<std::string> clauses;
    while (query.next()) clauses.insert(query.text(0));
    for (Column& column : out_.table.columns) {
      if (clauses.contains("json_valid(" + mysql_quoted(column.name) + ")")) column.type = ColumnType::json;
    }
    return query.error();
  }

  MysqlConnection& connection_;
  std::string schema_, table_;
  bool may_be_json_ = false;
  MysqlTable out_;
};

// Beyond the range of Value's own integers.
bool is_large_integer(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc{} && end == text.data() + text.size() && text[0] != '0' &&
         number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
}

bool is_decimal(std::string_view text) {
  double ignored = 0;
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), ignored);
  const bool is_number = text.find_first_not_of("0123456789.-+eE") == std::string_view::npos;
  return is_number && end == text.data() + text.size() && (code == std::errc{} || !text.empty());
}

struct Fit {
  const Column& column;
  const char*& sqlstate;

  bool is_number() const {
    return column.type == ColumnType::integer || column.type == ColumnType::real ||
           column.type == ColumnType::decimal || column.type == ColumnType::boolean;
  }
  const char* operator()(std::monostate) const { return nullptr; }
  const char* operator()(std::int64_t value) const {
    if (!is_number()) return "does not take an integer";
    if (column.type != ColumnType::boolean || value == 0 || value == 1) return nullptr;
    sqlstate = "22003";
    return "is neither 0 nor 1";
  }
  const char* operator()(double value) const {
    if (column.type != ColumnType::real && column.type != ColumnType::decimal) {
      return "does not take a floating-point number";
    }
    if (std::isfinite(value)) return nullptr;
    sqlstate = "22003";
    return "cannot hold NaN or infinity";
  }
  const char* operator()(const std::string& value) const {
    if (column.type == ColumnType::decimal) return is_decimal(value) ? nullptr : "is not a decimal number";
    if (column.type == ColumnType::integer && is_large_integer(value)) return nullptr;
    return is_number() || column.type == ColumnType::bytes ? "does not take text" : nullptr;
  }
  const char* operator()(const Blob&) const {
    return column.type == ColumnType::bytes ? nullptr : "does not take bytes";
  }
};

}  // namespace

std::string mysql_table_ddl(const NewTable& table) {
  return create_table(table, {mysql_quoted_table(table.name), mysql_quoted, type_of_new, " ENGINE = InnoDB"});
}

Error mysql_describe(MysqlConnection& connection, const std::string& name, MysqlTable& out) {
  Reading reading(connection, name);
  Error error = reading.run();
  if (error.failure == Failure::none) out = reading.take();
  return error;
}

const MysqlTable* MysqlSchema::find(MysqlConnection& connection, const std::string& name, Error& error) {
  if (connection.connections() != connection_) tables_.clear();
  connection_ = connection.connections();
  const auto now = std::chrono::steady_clock::now();
  const auto found = tables_.find(name);
  if (found != tables_.end() && now - found->second.since < kFresh) {
    found->second.is_new = false;
    return &found->second.table;
  }
  MysqlTable table;
  error = mysql_describe(connection, name, table);
  if (error.failure != Failure::none) return nullptr;
  Entry& entry = tables_[name];
  entry = {std::move(table), now, true};
  return &entry.table;
}

bool MysqlSchema::forget(const std::string& name) {
  const auto found = tables_.find(name);
  if (found == tables_.end() || found->second.is_new) return false;
  tables_.erase(found);
  return true;
}

const Column* mysql_find_column(const Table& table, std::string_view name) {
  const auto found = std::find_if(table.columns.begin(), table.columns.end(),
                                  [&](const Column& column) { return same_name(column.name, name); });
  return found == table.columns.end() ? nullptr : &*found;
}

const char* mysql_unfit(const Column& column, const Value& value, const char*& sqlstate) {
  sqlstate = "22018";
  return std::visit(Fit{column, sqlstate}, value);
}

}  // namespace sluice::sql

// SqliteSchema: reading the schema through pragmas, and checking values that SQLite itself would not.
#include "backends/sqlite_schema.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <set>

#include "backends/create_table.h"
#include "backends/sqlite_connection.h"

namespace sluice::sql {

namespace {

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string to_upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), upper);
  return out;
}

bool same_name(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return upper(x) == upper(y); });
}

// SQLite's own rules (datatype3.html, 3.1), where they make numbers of text.
bool has_number_affinity(std::string_view declared) {
  const std::string type = to_upper(declared);
  const auto has = [&](const char* part) { return type.find(part) != type.npos; };
  if (has("INT")) return true;
  return !has("CHAR") && !has("CLOB") && !has("TEXT") && !has("BLOB") && !type.empty();
}

bool is_text(ColumnType type) {
  switch (type) {
    case ColumnType::integer:
    case ColumnType::real:
    case ColumnType::decimal:
    case ColumnType::boolean:
    case ColumnType::bytes:
      return false;
    case ColumnType::text:
    case ColumnType::date:
    case ColumnType::timestamp:
    case ColumnType::timestamptz:
    case ColumnType::time:
    case ColumnType::uuid:
    case ColumnType::json:
      return true;
  }
  return true;
}

// Of the values that are text here, dates and UUIDs never look like numbers.
bool looks_like_number(ColumnType type) {
  return type == ColumnType::text || type == ColumnType::json || type == ColumnType::decimal;
}

bool is_canonical_integer(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc{} && end == text.data() + text.size() && std::to_string(number) == text;
}

// Text that SQLite would store as a number and give back in another form.
bool changes_as_number(const std::string& text) {
  if (text.empty() || text.size() > 400 || is_canonical_integer(text)) return false;
  if (text.find_first_not_of("0123456789+-.eE \t\n\v\f\r") != text.npos) return false;
  char* end = nullptr;
  std::strtod(text.c_str(), &end);
  return end != text.c_str() && std::string_view(end).find_first_not_of(" \t\n\v\f\r") == std::string_view::npos;
}

struct Decimal {
  bool valid = false;
  bool whole = false;
  std::size_t significant = 0;  // digits
  std::size_t integral = 0;     // digits before the point
};

Decimal parse_decimal(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  const auto dot = text.find('.');
  const std::string_view before = text.substr(0, dot);
  const std::string_view after = dot == text.npos ? std::string_view() : text.substr(dot + 1);
  std::string digits(before);
  digits += after;
  if (before.empty() || (dot != text.npos && after.empty()) || !std::all_of(digits.begin(), digits.end(), is_digit)) {
    return {};
  }
  const auto last = digits.find_last_not_of('0');
  const auto first = digits.find_first_not_of('0');
  const bool whole = last == digits.npos || last < before.size();
  const std::size_t integral = before.size() - std::min(first, before.size());
  return {true, whole, first == digits.npos ? 0 : last - first + 1, integral};
}

// A decimal is kept as a double, exact for 15 digits, or as an integer.
const char* unfit_decimal(const std::string& text, const char*& sqlstate) {
  const Decimal decimal = parse_decimal(text);
  sqlstate = "22P02";
  if (!decimal.valid) return "is not a decimal number";
  sqlstate = "22003";
  const bool exact = (decimal.significant <= 15 && decimal.integral <= 15) ||
                     (decimal.whole && is_canonical_integer(text.substr(0, text.find('.'))));
  return exact ? nullptr : "has more digits than SQLite keeps";
}

struct Fit {
  const SqliteTable& table;
  std::size_t column;
  const char*& sqlstate;

  ColumnType type() const { return table.table.columns[column].type; }
  const char* operator()(std::monostate) const { return nullptr; }

  const char* operator()(std::int64_t value) const {
    if (type() == ColumnType::boolean && value != 0 && value != 1) {
      sqlstate = "22003";
      return "is neither 0 nor 1";
    }
    return is_text(type()) || type() == ColumnType::bytes ? "does not take an integer" : nullptr;
  }

  const char* operator()(double value) const {
    if (type() != ColumnType::real && type() != ColumnType::decimal) return "does not take a floating-point number";
    if (!std::isnan(value)) return nullptr;
    sqlstate = "22003";
    return "cannot hold NaN";
  }

  const char* operator()(const std::string& value) const {
    if (type() == ColumnType::decimal) return unfit_decimal(value, sqlstate);
    if (!is_text(type())) return "does not take text";
    if (!table.turns_to_numbers[column] || !changes_as_number(value)) return nullptr;
    sqlstate = "22003";
    return "would change this text into a number, as its declared type is none of SQLite's text types";
  }

  const char* operator()(const Blob&) const { return type() == ColumnType::bytes ? nullptr : "does not take bytes"; }
};

// A column's DEFAULT as written in CREATE TABLE, made safe to use as an expression: there a bare or quoted name is
// text, elsewhere it would be a column.
std::string default_expression(const std::string& written) {
  const char first = written.empty() ? '\0' : written[0];
  const bool is_name = std::all_of(written.begin(), written.end(), [](char c) {
    return is_digit(c) || c == '_' || c == '$' || (upper(c) >= 'A' && upper(c) <= 'Z') || (c & 0x80) != 0;
  });
  static const std::set<std::string> kKeywords{"NULL",         "TRUE",         "FALSE",
                                               "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"};
  std::string name;
  if (is_name && !is_digit(first) && first != '\0') {
    if (kKeywords.contains(to_upper(written))) return written;
    name = written;
  } else if ((first == '"' || first == '`' || first == '[') && written.size() >= 2) {
    for (std::size_t i = 1; i + 1 < written.size(); ++i) {
      name += written[i];
      if (written[i] == first && written[i + 1] == first) ++i;
    }
  } else {
    return "(" + (written.empty() ? "NULL" : written) + ")";
  }
  std::string literal = "'";
  for (const char c : name) literal.append(c == '\'' ? 2 : 1, c);
  return literal += '\'';
}

// One description in the making.
class Reading {
 public:
  Reading(SqliteConnection& connection, const std::string& name) : connection_(connection) { out_.table.name = name; }

  Error run() {
    for (auto step :
         {&Reading::read_columns, &Reading::read_keys, &Reading::read_collations, &Reading::read_triggers}) {
      if (Error error = (this->*step)(); error.failure != Failure::none) return error;
    }
    return {};
  }
  SqliteTable take() { return std::move(out_); }

 private:
  Error read_columns() {
    SqliteQuery query(connection_,
                      "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid");
    query.bind(std::string_view(out_.table.name));
    while (query.next()) {
      if (query.integer(5) != 1) add_column(query);  // 1: hidden columns of virtual tables
    }
    if (query.ok() && out_.table.columns.empty()) {
      return connection_.error(Failure::schema, "42P01", "there is no such table");
    }
    return query.error();
  }

  void add_column(const SqliteQuery& query) {
    const std::string declared = query.text(1);
    Column column;
    column.name = query.text(0);
    column.type = sqlite_column_type(declared);
    column.nullable = query.integer(2) == 0;
    column.has_default = !query.is_null(3);
    column.generated = query.integer(5) != 0;
    column.drops_zeros = column.type == ColumnType::decimal;
    const bool numbers = has_number_affinity(declared);
    column.exact = !(numbers && looks_like_number(column.type));
    if (const auto place = static_cast<std::size_t>(query.integer(4)); place > 0) {
      primary_.resize(std::max(primary_.size(), place));
      primary_[place - 1] = column.name;
    }
    out_.table.columns.push_back(std::move(column));
    out_.defaults.push_back(default_expression(query.text(3)));
    out_.turns_to_numbers.push_back(numbers);
  }

  Error read_keys() {
    bool primary_has_index = false;
    if (!primary_.empty()) add_key(primary_);
    SqliteQuery query(connection_,
                      "SELECT name, origin, partial FROM pragma_index_list(?) WHERE \"unique\" = 1 ORDER BY seq DESC");
    query.bind(std::string_view(out_.table.name));
    while (query.next()) {
      const bool is_primary = query.text(1) == "pk";
      primary_has_index = primary_has_index || is_primary;
      if (is_primary) continue;
      if (Error error = add_index(query.text(0), query.integer(2) != 0); error.failure != Failure::none) return error;
    }
    // The primary key of a single column that has no index of its own is the rowid: SQLite fills it in.
    if (primary_.size() == 1 && !primary_has_index && query.ok()) {
      Column& rowid = column(primary_[0]);
      rowid.nullable = false;
      rowid.has_default = true;
    }
    return query.error();
  }

  // A partial index, or one on an expression, makes no key, but an INSERT can still run into it.
  Error add_index(const std::string& index, bool partial) {
    SqliteQuery query(connection_, "SELECT cid, name FROM pragma_index_info(?) ORDER BY seqno");
    query.bind(std::string_view(index));
    std::vector<std::string> names;
    bool is_key = !partial;
    while (query.next()) {
      is_key = is_key && query.integer(0) >= 0;
      if (query.integer(0) >= 0) names.push_back(query.text(1));
    }
    for (const auto& name : names) column(name).in_unique_key = true;
    if (query.ok() && is_key) add_key(std::move(names));
    return query.error();
  }

  void add_key(std::vector<std::string> names) {
    for (const auto& name : names) column(name).in_unique_key = true;
    auto& keys = out_.table.unique_keys;
    if (std::find(keys.begin(), keys.end(), names) == keys.end()) keys.push_back(std::move(names));
  }

  Error read_collations() {
    for (auto& column : out_.table.columns) {
      column.exact = column.exact && connection_.is_binary(out_.table.name, column.name);
    }
    return {};
  }

  // What a trigger makes of a row cannot be known. Those of sluice change no rows of this table.
  Error read_triggers() {
    SqliteQuery query(connection_,
                      "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE AND "
                      "substr(name, 1, 7) <> 'sluice_'");
    query.bind(std::string_view(out_.table.name));
    if (query.next()) {
      for (Column& column : out_.table.columns) column.rewritten = true;
    }
    return query.error();
  }

  Column& column(const std::string& name) {
    return out_.table.columns[static_cast<std::size_t>(find_column(out_.table, name))];
  }

  SqliteConnection& connection_;
  SqliteTable out_;
  std::vector<std::string> primary_;
};

// Of a STRICT table, which has few types. Text is compared byte by byte.
std::string type_of_new(const NewColumn& column, std::size_t) {
  switch (column.holds) {
    case NewColumn::Holds::text:
    case NewColumn::Holds::uuid:
      return "TEXT";
    case NewColumn::Holds::bytes:
      return "BLOB";
    case NewColumn::Holds::integer:
    case NewColumn::Holds::moment:  // Unix time in milliseconds
      return "INTEGER";
  }
  return {};
}

}  // namespace

std::string sqlite_table_ddl(const NewTable& table) {
  return create_table(table, {quoted(table.name), quoted, type_of_new, " STRICT"});
}

ColumnType sqlite_column_type(std::string_view declared) {
  const std::string type = to_upper(declared);
  const auto has = [&](const char* part) { return type.find(part) != type.npos; };
  if (has("INT")) return ColumnType::integer;  // as in SQLite's own rules, "BIGINT" as well as "POINT"
  if (type.starts_with("BOOL")) return ColumnType::boolean;
  if (has("CHAR") || has("CLOB") || has("TEXT")) return ColumnType::text;
  if (has("BLOB") || has("BINARY") || has("BYTEA")) return ColumnType::bytes;
  if (has("REAL") || has("FLOA") || has("DOUB")) return ColumnType::real;
  if (has("DECIMAL") || has("NUMERIC")) return ColumnType::decimal;
  if (has("TIMESTAMPTZ") || has("WITH TIME ZONE")) return ColumnType::timestamptz;
  if (has("DATETIME") || has("TIMESTAMP")) return ColumnType::timestamp;
  if (type.starts_with("DATE")) return ColumnType::date;
  if (type.starts_with("TIME")) return ColumnType::time;
  if (has("UUID")) return ColumnType::uuid;
  if (has("JSON")) return ColumnType::json;
  return ColumnType::text;
}

const SqliteTable* SqliteSchema::find(SqliteConnection& connection, const std::string& name, Error& error) {
  if (const auto found = tables_.find(name); found != tables_.end()) return &found->second;
  Reading reading(connection, name);
  error = reading.run();
  if (error.failure != Failure::none) return nullptr;
  return &tables_.emplace(name, reading.take()).first->second;
}

Error SqliteSchema::refresh(SqliteConnection& connection) {
  SqliteQuery query(connection, "PRAGMA schema_version");
  const std::int64_t version = query.next() ? query.integer(0) : -1;
  if (version != version_ || connection.openings() != opening_) tables_.clear();
  version_ = version;
  opening_ = connection.openings();
  return query.error();
}

int find_column(const Table& table, std::string_view name) {
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (same_name(table.columns[i].name, name)) return static_cast<int>(i);
  }
  return -1;
}

const char* unfit(const SqliteTable& table, int column, const Value& value, const char*& sqlstate) {
  sqlstate = "22P02";
  return std::visit(Fit{table, static_cast<std::size_t>(column), sqlstate}, value);
}

}  // namespace sluice::sql

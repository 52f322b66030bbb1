// PostgresQuery: binding, quoting, and reading the text forms of results.
#include "backends/postgres_query.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "backends/parts.h"

namespace sluice::sql {

namespace {

// Of pg_type; they are part of the protocol and never change.
enum TypeOid : Oid {
  kBool = 16,
  kBytea = 17,
  kInt8 = 20,
  kInt2 = 21,
  kInt4 = 23,
  kOid = 26,
  kJson = 114,
  kFloat4 = 700,
  kFloat8 = 701,
  kDate = 1082,
  kTime = 1083,
  kTimestamp = 1114,
  kTimestamptz = 1184,
  kNumeric = 1700,
  kUuid = 2950,
  kJsonb = 3802,
};

int hex_digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

// "\x0aff", as bytea_output = hex gives it.
std::string bytes_of(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 2; i + 1 < text.size(); i += 2) {
    bytes += static_cast<char>(hex_digit(text[i]) * 16 + hex_digit(text[i + 1]));
  }
  return bytes;
}

// "2024-06-21 10:00:00+00"; anything else (infinity, years of five digits, BC) stays as it is.
std::string timestamp_of(std::string_view text, bool zoned) {
  std::string out(text);
  if (out.size() < 19 || out[10] != ' ' || out.ends_with("BC")) return out;
  out[10] = 'T';
  if (zoned && out.ends_with("+00")) out.replace(out.size() - 3, 3, "Z");
  return with_microseconds(std::move(out));
}

std::string number_text(double value) {
  std::array<char, 32> buffer;
  return {buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr};
}

ColumnType type_of(Oid type) {
  switch (type) {
    case kBool:
      return ColumnType::boolean;
    case kBytea:
      return ColumnType::bytes;
    case kInt2:
    case kInt4:
    case kInt8:
    case kOid:
      return ColumnType::integer;
    case kFloat4:
    case kFloat8:
      return ColumnType::real;
    case kNumeric:
      return ColumnType::decimal;
    case kDate:
      return ColumnType::date;
    case kTime:
      return ColumnType::time;
    case kTimestamp:
      return ColumnType::timestamp;
    case kTimestamptz:
      return ColumnType::timestamptz;
    case kUuid:
      return ColumnType::uuid;
    case kJson:
    case kJsonb:
      return ColumnType::json;
    default:
      return ColumnType::text;
  }
}

}  // namespace

std::string PostgresQuery::add(Parameter parameter) {
  if (!parameter.bytes && parameter.text().find('\0') != std::string::npos) has_nul_ = true;
  parameters_.push_back(std::move(parameter));
  return "$" + std::to_string(parameters_.size());
}

std::string PostgresQuery::bind(const Value& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return bind(*integer);
  if (const auto* text = std::get_if<std::string>(&value)) return bind_text(*text);
  if (const auto* blob = std::get_if<Blob>(&value)) return bind_bytes(blob->bytes);
  Parameter parameter;
  parameter.null = std::holds_alternative<std::monostate>(value);
  parameter.owned = postgres_text(value);
  return add(std::move(parameter));
}

std::string PostgresQuery::bind(std::int64_t value) {
  Parameter parameter;
  parameter.owned = std::to_string(value);
  return add(std::move(parameter));
}

std::string PostgresQuery::bind_key(const Value& value) {
  std::string name = bind(value);
  const auto* const integer = std::get_if<std::int64_t>(&value);
  if (integer != nullptr && *integer != 0 && *integer != 1) parameters_.back().type = kInt8;
  return name;
}

std::string PostgresQuery::bind_text(const std::string& text) {
  Parameter parameter;
  parameter.borrowed = &text;
  return add(std::move(parameter));
}

std::string PostgresQuery::bind_bytes(const std::string& bytes) {
  Parameter parameter;
  parameter.borrowed = &bytes;
  parameter.bytes = true;
  parameter.type = kBytea;
  return add(std::move(parameter));
}

std::string PostgresQuery::bind_array(std::string text, Oid type) {
  Parameter parameter;
  parameter.owned = std::move(text);
  parameter.type = type;
  return add(std::move(parameter));
}

std::string PostgresQuery::cache_key() const {
  std::string key = sql;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Oid type = parameters_[i].type;
    if (type != 0) key.append(1, '\0').append(std::to_string(i)).append(1, ' ').append(std::to_string(type));
  }
  return key;
}

std::string postgres_quoted(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) out.append(c == '"' ? 2 : 1, c);
  return out += '"';
}

std::string postgres_quoted_table(std::string_view table) {
  const std::size_t dot = table.find('.');
  if (dot == std::string_view::npos) return postgres_quoted(table);
  return postgres_quoted(table.substr(0, dot)) + "." + postgres_quoted(table.substr(dot + 1));
}

std::string postgres_text(const Value& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return std::to_string(*integer);
  if (const auto* real = std::get_if<double>(&value)) return number_text(*real);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* blob = std::get_if<Blob>(&value)) return blob->bytes;
  return {};
}

Value postgres_value(const PGresult* result, int row, int column) {
  if (PQgetisnull(result, row, column) != 0) return {};
  const char* const raw = PQgetvalue(result, row, column);
  const std::string_view text(raw, static_cast<std::size_t>(PQgetlength(result, row, column)));
  switch (PQftype(result, column)) {
    case kBool:
      return std::int64_t{text == "t"};
    case kInt2:
    case kInt4:
    case kInt8:
    case kOid: {
      std::int64_t number = 0;
      std::from_chars(text.data(), text.data() + text.size(), number);
      return number;
    }
    case kFloat4:
    case kFloat8:
      return std::strtod(raw, nullptr);
    case kBytea:
      return Blob{bytes_of(text)};
    case kTime:
      return with_microseconds(std::string(text));
    case kTimestamp:
      return timestamp_of(text, false);
    case kTimestamptz:
      return timestamp_of(text, true);
    default:
      return std::string(text);
  }
}

Row postgres_row(const PGresult* result, int row) {
  Row values;
  const int columns = PQnfields(result);
  values.reserve(static_cast<std::size_t>(columns));
  for (int i = 0; i < columns; ++i) values.push_back(postgres_value(result, row, i));
  return values;
}

std::vector<Column> postgres_columns(const PGresult* result) {
  std::vector<Column> columns;
  for (int i = 0; i < PQnfields(result); ++i) {
    Column column;
    column.name = PQfname(result, i);
    column.type = type_of(PQftype(result, i));
    columns.push_back(std::move(column));
  }
  return columns;
}

}  // namespace sluice::sql

// QueryMapping, see query_mapping.h.
#include "policies/query_mapping.h"

#include <charconv>
#include <utility>

#include "policies/column_value.h"
#include "policies/json.h"
#include "policies/text.h"

namespace sluice::policies {
namespace {

using conf::KeyTemplate;
using conf::ValueMode;
using sql::ColumnType;

constexpr std::string_view kTooMuch = "54000";

// A column whose type the database does not know (an expression of SQLite) may hold numbers all the same.
ColumnType type_of(const sql::Column& column, const sql::Value& value) {
  if (column.type != ColumnType::text) return column.type;
  if (std::holds_alternative<std::int64_t>(value)) return ColumnType::integer;
  return std::holds_alternative<double>(value) ? ColumnType::real : ColumnType::text;
}

void append_object(std::string& out, const std::vector<sql::Column>& columns, const sql::Row& row) {
  out += '{';
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (i > 0) out += ',';
    json::append_string(out, columns[i].name);
    out += ':';
    append_json(out, row[i], type_of(columns[i], row[i]));
  }
  out += '}';
}

std::string array_of(const sql::Result& result) {
  std::string out = "[";
  for (const sql::Row& row : result.rows) {
    if (out.size() > 1) out += ',';
    append_object(out, result.columns, row);
  }
  return out += ']';
}

std::vector<std::string> fields_of(const std::vector<sql::Column>& columns, const sql::Row& row) {
  std::vector<std::string> fields;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    auto text = text_of(row[i], type_of(columns[i], row[i]));
    if (!text) continue;
    fields.push_back(columns[i].name);
    fields.push_back(std::move(*text));
  }
  return fields;
}

std::optional<Copy> copy_of_row(ValueMode mode, const std::vector<sql::Column>& columns, const sql::Row& row) {
  Copy copy;
  switch (mode) {
    case ValueMode::json:
      append_object(copy.text, columns, row);
      return copy;
    case ValueMode::hash:
      copy.fields = fields_of(columns, row);
      return copy.fields.empty() ? std::nullopt : std::optional(std::move(copy));
    case ValueMode::raw:
    case ValueMode::counter:
      break;
  }
  auto text = text_of(row[0], type_of(columns[0], row[0]));
  if (!text) return {};
  copy.text = std::move(*text);
  return copy;
}

Checked<sql::Value> value_of(const KeyTemplate::Part& placeholder, std::string_view text) {
  if (placeholder.type == KeyTemplate::Type::integer) {
    std::int64_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);  // the template has looked at it
    return sql::Value(number);
  }
  if (!is_utf8(text) || text.find('\0') != std::string_view::npos) {
    return Why{"'" + placeholder.text + "' in the key is not text"};
  }
  return sql::Value(std::string(text));
}

}  // namespace

Checked<std::vector<sql::Bound>> query_parameters(const conf::PolicyOptions& options, std::string_view redis_key) {
  std::vector<std::string_view> values;
  if (!options.key.match(redis_key, values)) return Why{"the key does not match " + options.key.text()};
  std::vector<sql::Bound> parameters;
  for (const KeyTemplate::Part& part : options.key.parts()) {
    if (!part.is_placeholder) continue;
    auto value = value_of(part, values[parameters.size()]);
    if (!value) return Why{value.why()};
    parameters.push_back({part.text, std::move(*value)});
  }
  return parameters;
}

sql::ReadQuery query_of(const conf::PolicyOptions& options, std::vector<sql::Bound> parameters) {
  sql::ReadQuery query;
  query.sql = options.query;
  query.parameters = std::move(parameters);
  if (options.rows == conf::Rows::one) query.rows_max = 1;
  return query;
}

Checked<std::optional<Copy>> copy_of(const conf::PolicyOptions& options, const sql::Result& result) {
  if (std::string wrong = misfit(options, result.columns); !wrong.empty()) return Why{std::move(wrong)};
  if (options.rows == conf::Rows::many) return std::optional(Copy{array_of(result), {}});
  if (result.rows.empty()) return std::optional<Copy>();
  return copy_of_row(options.value, result.columns, result.rows[0]);
}

std::string misfit(const conf::PolicyOptions& options, const std::vector<sql::Column>& columns) {
  if (options.value != ValueMode::raw || columns.size() == 1) return {};
  return "the query gives " + std::to_string(columns.size()) + " columns: a raw value is one";
}

sql::Error explained(const conf::PolicyOptions& options, sql::Error error) {
  if (options.rows == conf::Rows::one && error.sqlstate == kTooMuch) error.message += " (see rows)";
  return error;
}

}  // namespace sluice::policies

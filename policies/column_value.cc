// Column values, see column_value.h.
#include "policies/column_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "policies/text.h"
#include "resp/integer.h"

namespace sluice::policies {
namespace {

using sql::ColumnType;
using sql::Value;
using Type = json::Member::Type;

Checked<Value> integer_value(std::string_view text) {
  const auto number = resp::parse_integer(text);
  if (!number) return Why{"not an integer of 64 bits"};
  return Value(*number);
}

Checked<Value> real_value(std::string_view text) {
  double number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = end == text.data() + text.size();
  if (!is_number(text) || failed != std::errc() || !whole || !std::isfinite(number)) {
    return Why{"not a number that a double holds"};
  }
  return Value(number);
}

Checked<Value> decimal_value(std::string_view text) {
  if (!is_number(text)) return Why{"not a decimal number"};
  return Value(std::string(text));
}

Checked<Value> text_value(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return Why{"text with a NUL byte"};
  if (!is_utf8(text)) return Why{"not valid UTF-8"};
  return Value(std::string(text));
}

Checked<Value> boolean_value(std::string_view text) {
  if (text == "true" || text == "1") return Value(std::int64_t{1});
  if (text == "false" || text == "0") return Value(std::int64_t{0});
  return Why{"not a boolean (true, false, 1, 0)"};
}

Checked<Value> json_value(std::string_view text) {
  if (!json::is_valid(text)) return Why{"not valid JSON"};
  return Value(std::string(text));
}

Checked<Value> wrap(Checked<std::string> text) {
  if (!text) return Why{text.why()};
  return Value(std::move(*text));
}

Checked<Value> bytes_of_json(const json::Member& member) {
  auto bytes = from_base64(member.text);
  if (member.type != Type::string || !bytes) return Why{"not a string of base64"};
  return Value(sql::Blob{std::move(*bytes)});
}

// A JSON column takes any JSON; `member.text` of a string has lost its quotes.
Checked<Value> json_of_json(const json::Member& member) {
  if (member.type != Type::string) return Value(member.text);
  std::string quoted;
  json::append_string(quoted, member.text);
  return Value(std::move(quoted));
}

std::string print_real(double number) {
  std::array<char, 32> out{};
  return {out.data(), std::to_chars(out.data(), out.data() + out.size(), number).ptr};
}

bool is_numeric(ColumnType type) {
  return type == ColumnType::integer || type == ColumnType::real || type == ColumnType::decimal;
}

Checked<Value> typed(std::string_view text, ColumnType type) {
  switch (type) {
    case ColumnType::integer:
      return integer_value(text);
    case ColumnType::real:
      return real_value(text);
    case ColumnType::decimal:
      return decimal_value(text);
    case ColumnType::text:
      return text_value(text);
    case ColumnType::boolean:
      return boolean_value(text);
    case ColumnType::date:
      return wrap(canonical_date(text));
    case ColumnType::timestamp:
      return wrap(canonical_timestamp(text));
    case ColumnType::timestamptz:
      return wrap(canonical_timestamptz(text));
    case ColumnType::time:
      return wrap(canonical_time(text));
    case ColumnType::uuid:
      return wrap(canonical_uuid(text));
    case ColumnType::json:
      return json_value(text);
    case ColumnType::bytes:
      return Value(sql::Blob{std::string(text)});
  }
  return Why{"of an unknown type"};
}

// A second's fraction in a column that keeps fewer digits.
Checked<Value> whole_enough(Value value, int scale) {
  const auto& text = std::get<std::string>(value);
  const std::size_t point = text.find('.');
  if (point == std::string::npos) return value;
  const std::size_t extra = text.find_first_of("123456789", point + 1 + static_cast<std::size_t>(scale));
  if (extra == std::string::npos) return value;
  return Why{"with more than " + std::to_string(scale) + " digits of a second's fraction"};
}

// What a column of 32 bits reads back.
Value single(double number) {
  std::array<char, 32> out{};
  const char* const end = std::to_chars(out.data(), out.data() + out.size(), static_cast<float>(number)).ptr;
  std::from_chars(out.data(), end, number);
  return number;
}

// A decimal as it reads back.
Checked<Value> decimal_for(std::string_view text, const sql::Column& column) {
  auto decimal = canonical_decimal(text, column.scale);
  if (!decimal || !column.drops_zeros || decimal->find('.') == std::string::npos) return wrap(std::move(decimal));
  decimal->erase(decimal->find_last_not_of('0') + 1);
  if (decimal->ends_with('.')) decimal->pop_back();
  return wrap(std::move(decimal));
}

std::size_t characters(std::string_view utf8) {
  return static_cast<std::size_t>(std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// The database refuses text that is too long, with an error of its own; but spaces at its end it drops without one
// (MariaDB: white space).
Checked<Value> with_its_spaces(Value value, const sql::Column& column) {
  const std::string& text = std::get<std::string>(value);
  const std::string_view kept = std::string_view(text).substr(0, text.find_last_not_of(" \t\n\v\f\r") + 1);
  const auto loses = [](std::int32_t limit, std::size_t all, std::size_t needed) {
    return limit >= 0 && all > static_cast<std::size_t>(limit) && needed <= static_cast<std::size_t>(limit);
  };
  if (column.max_characters >= 0 && loses(column.max_characters, characters(text), characters(kept))) {
    return Why{"longer than " + std::to_string(column.max_characters) + " characters"};
  }
  if (loses(column.max_bytes, text.size(), kept.size())) {
    return Why{"longer than " + std::to_string(column.max_bytes) + " bytes"};
  }
  return value;
}

Checked<Value> fitted(Checked<Value> value, const sql::Column& column) {
  if (!value) return value;
  if (column.single && std::holds_alternative<double>(*value)) return single(std::get<double>(*value));
  if (!std::holds_alternative<std::string>(*value)) return value;
  switch (column.type) {
    case ColumnType::decimal:
      return decimal_for(std::get<std::string>(*value), column);
    case ColumnType::text:
      return with_its_spaces(std::move(*value), column);
    case ColumnType::timestamp:
    case ColumnType::timestamptz:
    case ColumnType::time:
      return column.scale < 0 ? value : whole_enough(std::move(*value), column.scale);
    case ColumnType::integer:
    case ColumnType::real:
    case ColumnType::boolean:
    case ColumnType::date:
    case ColumnType::uuid:
    case ColumnType::json:
    case ColumnType::bytes:
      break;
  }
  return value;
}

}  // namespace

Checked<Value> value_of_text(std::string_view text, const sql::Column& column) {
  return fitted(typed(text, column.type), column);
}

Checked<Value> value_of_json(const json::Member& member, const sql::Column& column) {
  const ColumnType type = column.type;
  const auto expects = [&](bool fits, const char* what) -> Checked<Value> {
    if (!fits) return Why{what};
    return value_of_text(member.text, column);
  };
  if (member.type == Type::null) return Value();
  switch (type) {
    case ColumnType::integer:
      return expects(member.type == Type::integer, "not an integer");
    case ColumnType::real:
    case ColumnType::decimal:
      return expects(member.type == Type::integer || member.type == Type::number, "not a number");
    case ColumnType::boolean:
      return expects(member.type == Type::boolean, "not true or false");
    case ColumnType::bytes:
      return bytes_of_json(member);
    case ColumnType::json:
      return json_of_json(member);
    case ColumnType::text:
    case ColumnType::date:
    case ColumnType::timestamp:
    case ColumnType::timestamptz:
    case ColumnType::time:
    case ColumnType::uuid:
      return expects(member.type == Type::string, "not a string");
  }
  return Why{"of an unknown type"};
}

std::optional<std::string> text_of(const Value& value, ColumnType type) {
  switch (value.index()) {
    case 0:
      return {};
    case 1: {
      const std::int64_t number = std::get<1>(value);
      return type == ColumnType::boolean ? (number != 0 ? "1" : "0") : std::to_string(number);
    }
    case 2:
      return print_real(std::get<2>(value));
    case 3:
      return std::get<3>(value);
    default:
      return std::get<4>(value).bytes;
  }
}

void append_json(std::string& out, const Value& value, ColumnType type) {
  const auto text = text_of(value, type);
  const auto* const number = std::get_if<double>(&value);
  if (!text || (number != nullptr && !std::isfinite(*number))) {
    out += "null";
  } else if (std::holds_alternative<sql::Blob>(value) || type == ColumnType::bytes) {
    json::append_string(out, base64(*text));
  } else if (type == ColumnType::boolean && std::holds_alternative<std::int64_t>(value)) {
    out += *text == "1" ? "true" : "false";
  } else if (type == ColumnType::json && json::is_valid(*text)) {
    out += json::minified(*text);
  } else if (is_numeric(type) && is_number(*text)) {
    out += *text;
  } else {
    json::append_string(out, *text);
  }
}

}  // namespace sluice::policies

// KeyTemplate: the pattern of the keys a policy owns, such as `order:{tenant}:{id:int}`.
#include "conf/key_template.h"

#include <algorithm>
#include <cassert>

#include "conf/key_automaton.h"

namespace sluice::conf {
namespace {

using Part = KeyTemplate::Part;
using Parts = std::vector<Part>;
using ParseError = KeyTemplate::ParseError;
using Type = KeyTemplate::Type;

constexpr std::string_view kReservedPrefix = "__sluice:";
constexpr std::size_t kUuidBytes = 36;
constexpr std::size_t kIntBytesMax = 20;  // a sign and 19 digits

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_int64(std::string_view text) {
  const bool negative = text.starts_with('-');
  const std::string_view digits = text.substr(negative ? 1 : 0);
  if (digits.empty() || digits.size() > 19 || !std::all_of(digits.begin(), digits.end(), is_digit)) return false;
  if (digits[0] == '0') return !negative && digits.size() == 1;
  return digits.size() < 19 || digits <= (negative ? "9223372036854775808" : "9223372036854775807");
}

bool is_uuid(std::string_view text) {
  if (text.size() != kUuidBytes) return false;
  for (std::size_t i = 0; i < kUuidBytes; ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !is_digit(text[i]) && (text[i] < 'a' || text[i] > 'f')) return false;
  }
  return true;
}

// --- Matching: parts from `index` on against the whole of `rest`. A template that can be read in two ways is refused
// by parse(), so the first reading found is the only one.

using Values = std::vector<std::string_view>;

bool match_parts(const Parts& parts, std::size_t index, std::string_view rest, Values& values);

bool match_value(const Parts& parts, std::size_t index, std::string_view rest, std::size_t length, Values& values) {
  values.push_back(rest.substr(0, length));
  if (match_parts(parts, index + 1, rest.substr(length), values)) return true;
  values.pop_back();
  return false;
}

bool match_text(const Parts& parts, std::size_t index, std::string_view rest, Values& values) {
  const std::size_t longest = std::min(rest.find(':'), rest.size());
  const std::size_t after = index + 1;
  if (after == parts.size())
    return longest > 0 && longest == rest.size() && match_value(parts, index, rest, longest, values);
  const bool literal_follows = !parts[after].is_placeholder;
  if (literal_follows && after + 1 == parts.size()) {
    const std::size_t tail = parts[after].text.size();
    return rest.size() > tail && rest.size() - tail <= longest &&
           match_value(parts, index, rest, rest.size() - tail, values);
  }
  for (std::size_t length = 1; length <= longest; ++length) {
    if (literal_follows) length = rest.find(parts[after].text, length);
    if (length > longest) return false;
    if (match_value(parts, index, rest, length, values)) return true;
  }
  return false;
}

bool match_int(const Parts& parts, std::size_t index, std::string_view rest, Values& values) {
  std::size_t longest = rest.starts_with('-') ? 1 : 0;
  while (longest < std::min(rest.size(), kIntBytesMax) && is_digit(rest[longest])) ++longest;
  for (std::size_t length = longest; length > 0; --length) {
    if (is_int64(rest.substr(0, length)) && match_value(parts, index, rest, length, values)) return true;
  }
  return false;
}

bool match_parts(const Parts& parts, std::size_t index, std::string_view rest, Values& values) {
  if (index == parts.size()) return rest.empty();
  const Part& part = parts[index];
  if (!part.is_placeholder) {
    return rest.starts_with(part.text) && match_parts(parts, index + 1, rest.substr(part.text.size()), values);
  }
  switch (part.type) {
    case Type::text:
      return match_text(parts, index, rest, values);
    case Type::integer:
      return match_int(parts, index, rest, values);
    case Type::uuid:
      return is_uuid(rest.substr(0, kUuidBytes)) && match_value(parts, index, rest, kUuidBytes, values);
    case Type::rest:
      return !rest.empty() && match_value(parts, index, rest, rest.size(), values);
  }
  return false;
}

// --- Parsing.

bool fail(ParseError& error, std::string message, std::size_t offset) {
  error = {std::move(message), offset};
  return false;
}

void append_literal(Parts& parts, char c) {
  if (parts.empty() || parts.back().is_placeholder) parts.push_back({});
  parts.back().text += c;
}

// What stands between the braces: name, name:type or name*.
bool parse_placeholder(std::string_view inside, std::size_t offset, Part& part, ParseError& error) {
  part.is_placeholder = true;
  const std::size_t colon = inside.find(':');
  std::string_view name = inside.substr(0, colon);
  if (colon != std::string_view::npos) {
    const std::string_view type = inside.substr(colon + 1);
    if (type != "int" && type != "uuid") {
      return fail(
          error,
          "unknown type '" + std::string(type) + "': a placeholder is {name}, {name:int}, {name:uuid} or {name*}",
          offset);
    }
    part.type = type == "int" ? Type::integer : Type::uuid;
  } else if (name.ends_with('*')) {
    part.type = Type::rest;
    name.remove_suffix(1);
  }
  if (name.empty()) return fail(error, "a placeholder needs the name of a column, such as {id}", offset);
  if (name.find_first_of("{*") != std::string_view::npos) {
    return fail(error, "'" + std::string(name) + "' cannot be the name of a placeholder", offset);
  }
  part.text = name;
  return true;
}

bool parse_parts(std::string_view text, Parts& parts, ParseError& error) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool doubled = i + 1 < text.size() && text[i + 1] == text[i];
    if (text[i] == '}' && !doubled) return fail(error, "a '}' without '{' (a literal brace is written '}}')", i);
    if (text[i] != '{' || doubled) {
      append_literal(parts, text[i]);
      if (text[i] == '{' || text[i] == '}') ++i;
      continue;
    }
    const std::size_t end = text.find('}', i);
    if (end == std::string_view::npos) return fail(error, "a '{' without '}' (a literal brace is written '{{')", i);
    Part part;
    if (!parse_placeholder(text.substr(i + 1, end - i - 1), i, part, error)) return false;
    const auto same = [&](const Part& other) { return other.is_placeholder && other.text == part.text; };
    if (std::any_of(parts.begin(), parts.end(), same)) return fail(error, "{" + part.text + "} is there twice", i);
    if (part.type == Type::rest && end + 1 != text.size()) return fail(error, "{" + part.text + "*} must come last", i);
    parts.push_back(std::move(part));
    i = end;
  }
  return true;
}

bool check_parts(const Parts& parts, ParseError& error) {
  if (parts.empty() || parts[0].is_placeholder)
    return fail(error, "must begin with a literal prefix, such as 'user:{id}'", 0);
  if (parts[0].text.starts_with(kReservedPrefix))
    return fail(error, "keys that begin with '__sluice:' are sluice's own", 0);
  const auto is_placeholder = [](const Part& part) { return part.is_placeholder; };
  if (std::count_if(parts.begin(), parts.end(), is_placeholder) > 1 && KeyAutomaton(parts).ambiguous()) {
    return fail(error, "some keys could be read in two ways: separate the placeholders by ':'", 0);
  }
  return true;
}

}  // namespace

std::optional<KeyTemplate> KeyTemplate::parse(std::string_view text, ParseError& error) {
  KeyTemplate result;
  if (!parse_parts(text, result.parts_, error) || !check_parts(result.parts_, error)) return std::nullopt;
  result.text_ = text;
  result.prefix_ = result.parts_[0].text;
  return result;
}

std::vector<std::string> KeyTemplate::placeholders() const {
  std::vector<std::string> names;
  for (const Part& part : parts_) {
    if (part.is_placeholder) names.push_back(part.text);
  }
  return names;
}

bool KeyTemplate::match(std::string_view key, std::vector<std::string_view>& values) const {
  values.clear();
  return !parts_.empty() && match_parts(parts_, 0, key, values);
}

std::string KeyTemplate::format(const std::vector<std::string_view>& values) const {
  std::string key;
  std::size_t next = 0;
  for (const Part& part : parts_) {
    assert(!part.is_placeholder || next < values.size());
    key += part.is_placeholder ? values[next++] : std::string_view(part.text);
  }
  return key;
}

bool KeyTemplate::overlaps(const KeyTemplate& other) const {
  return !parts_.empty() && !other.parts_.empty() && KeyAutomaton(parts_).intersects(KeyAutomaton(other.parts_));
}

}  // namespace sluice::conf

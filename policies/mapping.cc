// Mapping, see mapping.h.
#include "policies/mapping.h"

#include <algorithm>
#include <set>
#include <utility>

#include "policies/column_value.h"
#include "policies/json.h"
#include "policies/text.h"
#include "resp/ascii.h"

namespace sluice::policies {
namespace {

using conf::UnknownFields;
using conf::ValueMode;

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool same_names(std::vector<std::string> a, std::vector<std::string> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

// Whether two keys could have one row. UUIDs are in lower case in every key: no collation takes one for another.
bool merges(conf::KeyTemplate::Type placeholder, const sql::Column& column) {
  const bool apart = placeholder == conf::KeyTemplate::Type::uuid && column.type == sql::ColumnType::text;
  return !column.exact && !apart;
}

bool may_reset(const Mapping::Field& field) {
  return !field.is_key && !field.in_primary_key && !field.column.generated;
}

// Databases may show integers with zeros in front (ZEROFILL).
std::string_view without_zeros(std::string_view text, sql::ColumnType type) {
  while (type == sql::ColumnType::integer && text.size() > 1 && text[0] == '0') text.remove_prefix(1);
  return text;
}

// A client's name in an error: short enough for a line.
std::string shortened(std::string_view name) {
  constexpr std::size_t kShown = 64;
  return name.size() <= kShown ? std::string(name) : std::string(name.substr(0, kShown)) + "...";
}

}  // namespace

Checked<Mapping> Mapping::make(const conf::PolicyOptions& options, const sql::Table& table) {
  Mapping mapping(options);
  std::string wrong = mapping.add_key(table);
  if (wrong.empty()) wrong = mapping.add_fields(table);
  if (wrong.empty()) wrong = mapping.add_ttl(table);
  if (!wrong.empty()) return Why{"table '" + options.table + "': " + wrong};
  for (Field& field : mapping.fields_) {
    if (!field.shown) continue;
    field.at = mapping.columns_.size();
    mapping.columns_.push_back(field.column.name);
    mapping.computed_ |= (field.column.generated || field.column.rewritten) && !field.is_key;
  }
  if (mapping.ttl_) mapping.columns_.push_back(mapping.ttl_->name);
  return mapping;
}

std::string Mapping::add_key(const sql::Table& table) {
  const std::vector<std::string> names = options_->key.placeholders();
  for (const std::string& name : names) {
    const sql::Column* const column = table.find(name);
    if (column == nullptr) return "no column '" + name + "' for the placeholder of that name";
    key_.push_back(*column);
  }
  const auto& unique = table.unique_keys;
  if (std::none_of(unique.begin(), unique.end(), [&](const auto& columns) { return same_names(columns, names); })) {
    return "the placeholders of the key are not the columns of a unique key";
  }
  std::size_t at = 0;
  for (const conf::KeyTemplate::Part& part : options_->key.parts()) {
    if (!part.is_placeholder || !merges(part.type, key_[at++])) continue;
    return "the key column '" + part.text +
           "' takes different values for one, by its collation or its type: different Redis keys would share a row "
           "(sluice --print-schema shows a column that keeps them apart)";
  }
  return {};
}

std::string Mapping::add_ttl(const sql::Table& table) {
  if (options_->ttl_column.empty()) return {};
  const sql::Column* const column = table.find(options_->ttl_column);
  if (column == nullptr) return "no column '" + options_->ttl_column + "' (ttl_column)";
  const sql::ColumnType type = column->type;
  const bool fits =
      type == sql::ColumnType::timestamp || type == sql::ColumnType::timestamptz || type == sql::ColumnType::integer;
  if (!fits || !column->nullable || column->generated) {
    return "column '" + column->name + "' (ttl_column) is not a timestamp or integer that may be NULL";
  }
  ttl_ = *column;
  return {};
}

std::string Mapping::field_of(const sql::Column& column) const {
  for (const conf::FieldColumn& rename : options_->renames) {
    if (rename.column == column.name) return rename.field;
  }
  return column.name;
}

std::string Mapping::add_fields(const sql::Table& table) {
  const bool one = options_->value == ValueMode::raw || options_->value == ValueMode::counter;
  std::vector<std::string> wanted = options_->only_columns;
  if (one) wanted = {options_->column};
  for (const conf::FieldColumn& rename : options_->renames) {
    if (table.find(rename.column) == nullptr) return "no column '" + rename.column + "'";
  }
  for (const std::string& name : wanted) {
    if (table.find(name) == nullptr) return "no column '" + name + "'";
  }
  std::set<std::string> names;
  for (const sql::Column& column : table.columns) {
    if (column.name == options_->ttl_column) continue;
    Field field;
    field.name = field_of(column);
    field.column = column;
    field.shown = wanted.empty() || has(wanted, column.name);
    field.is_key = std::find(key_.begin(), key_.end(), column) != key_.end();
    field.in_primary_key = !table.unique_keys.empty() && has(table.unique_keys.front(), column.name);
    if (!field.shown && !field.is_key) continue;
    if (field.is_key && options_->value != ValueMode::json && !one) field.shown = false;
    if (!names.insert(field.name).second) return "two columns for the field '" + field.name + "'";
    fields_.push_back(std::move(field));
  }
  if (options_->value == ValueMode::counter && table.find(options_->column)->type != sql::ColumnType::integer) {
    return "column '" + options_->column + "' is not an integer";
  }
  return {};
}

const Mapping::Field* Mapping::find(std::string_view name) const {
  const auto found = std::find_if(fields_.begin(), fields_.end(), [&](const Field& f) { return f.name == name; });
  return found == fields_.end() ? nullptr : &*found;
}

Checked<std::vector<sql::Bound>> Mapping::key(std::string_view redis_key) const {
  std::vector<std::string_view> values;
  if (!options_->key.match(redis_key, values)) return Why{"the key does not match " + options_->key.text()};
  std::vector<sql::Bound> bound;
  for (std::size_t i = 0; i < key_.size(); ++i) {
    auto value = value_of_text(values[i], key_[i]);
    if (!value) return Why{"'" + key_[i].name + "' in the key is " + value.why()};
    if (text_of(*value, key_[i].type) != values[i]) return Why{"'" + key_[i].name + "' in the key is not canonical"};
    bound.push_back({key_[i].name, std::move(*value)});
  }
  return bound;
}

// A column that is not exact is that of a UUID, which every key has in lower case.
std::string Mapping::key_text(std::span<const sql::Value> values) const {
  std::string all;
  for (std::size_t i = 0; i < key_.size(); ++i) {
    std::string text = text_of(values[i], key_[i].type).value_or("");
    if (!key_[i].exact) text = resp::lower(text);
    all.append(std::to_string(text.size())).append(1, ':').append(text);
  }
  return all;
}

std::optional<std::string> Mapping::redis_key(std::span<const std::string> texts) const {
  std::vector<std::string> values;
  for (const conf::KeyTemplate::Part& part : options_->key.parts()) {
    if (!part.is_placeholder) continue;
    const std::size_t at = values.size();
    if (at >= texts.size()) return {};
    // A column that takes `A` for `a` finds the row of a UUID in lower case, which the key has; another one does not.
    const bool is_uuid = part.type == conf::KeyTemplate::Type::uuid;
    const auto text = is_uuid ? canonical_uuid(texts[at]) : texts[at];
    if (!text || (*text != texts[at] && key_[at].exact && key_[at].type != sql::ColumnType::uuid)) return {};
    const auto value = value_of_text(without_zeros(*text, key_[at].type), key_[at]);
    if (!value) return {};
    values.push_back(*text_of(*value, key_[at].type));
  }
  const std::vector<std::string_view> views(values.begin(), values.end());
  std::string redis_key = options_->key.format(views);
  if (texts.size() != values.size() || !key(redis_key)) return {};
  return redis_key;
}

std::optional<std::string> Mapping::redis_key_of(std::span<const sql::Value> values) const {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < key_.size(); ++i) {
    auto text = text_of(values[i], key_[i].type);
    if (!text) return {};
    texts.push_back(*std::move(text));
  }
  return redis_key(texts);
}

std::optional<Copy> Mapping::copy(const sql::Row& row) const {
  Copy copy;
  if (options_->value == ValueMode::json) copy.text = "{";
  std::size_t at = 0;
  for (const Field& field : fields_) {
    if (!field.shown) continue;
    const sql::Value& value = row[at++];
    if (options_->value == ValueMode::json) {
      if (at > 1) copy.text += ',';
      json::append_string(copy.text, field.name);
      copy.text += ':';
      append_json(copy.text, value, field.column.type);
      continue;
    }
    auto text = text_of(value, field.column.type);
    if (options_->value != ValueMode::hash) {
      if (!text) return {};
      copy.text = std::move(*text);
    } else if (text) {
      copy.fields.push_back(field.name);
      copy.fields.push_back(std::move(*text));
    }
  }
  if (options_->value == ValueMode::json) copy.text += '}';
  if (options_->value == ValueMode::hash && copy.fields.empty()) return {};
  return copy;
}

const Mapping::Field& Mapping::raw_field() const {
  return *std::find_if(fields_.begin(), fields_.end(),
                       [&](const Field& field) { return field.column.name == options_->column; });
}

std::string Mapping::forbidden(const Field& field) const {
  if (field.is_key) return refused(field.name, "part of the key");
  if (field.column.generated) return refused(field.name, "computed by the database");
  return {};
}

std::vector<std::string> Mapping::resettable() const {
  std::vector<std::string> columns;
  for (const Field& field : fields_) {
    if (may_reset(field)) columns.push_back(field.column.name);
  }
  return columns;
}

std::optional<std::int64_t> Mapping::expiry(const sql::Row& row) const {
  if (!ttl_) return {};
  const sql::Value& value = row.back();
  if (const auto* const number = std::get_if<std::int64_t>(&value)) return *number;
  const auto* const text = std::get_if<std::string>(&value);
  return text == nullptr ? std::nullopt : ms_of_utc(*text);
}

sql::Bound Mapping::ttl_bound(std::optional<std::int64_t> at) const {
  if (!at) return {ttl_->name, {}};
  if (ttl_->type == sql::ColumnType::integer) return {ttl_->name, *at};
  // A column of whole seconds: the copy must not outlive what it says by being rounded down.
  const bool whole = ttl_->scale >= 0 && ttl_->scale < 3;
  std::string text = utc_of_ms(whole ? (*at + 999) / 1000 * 1000 : *at);
  if (ttl_->type == sql::ColumnType::timestamp) text.pop_back();
  return {ttl_->name, std::move(text)};
}

std::string Mapping::refused(std::string_view field, std::string_view why) const {
  return "field '" + shortened(field) + "' is " + std::string(why);
}

std::string Mapping::unknown(std::string_view field) const {
  return "no column for the field '" + shortened(field) + "' (see unknown_fields)";
}

Checked<Change> Mapping::replace(std::string_view redis_key, std::string_view value) const {
  return options_->value == ValueMode::raw ? replace_bytes(value) : replace_object(redis_key, value);
}

Checked<Change> Mapping::replace_bytes(std::string_view value) const {
  const Field& field = raw_field();
  auto bound = value_of_text(value, field.column);
  if (!bound) return Why{"the value is " + bound.why()};
  Change change;
  change.values.push_back({options_->column, std::move(*bound)});
  change.copy.text = value;
  change.complete = true;
  return change;
}

Checked<Change> Mapping::replace_object(std::string_view redis_key, std::string_view value) const {
  const auto members = json::parse_object(value);
  if (!members) return Why{members.why()};
  const auto key_values = key(redis_key);
  if (!key_values) return Why{key_values.why()};
  Change change;
  change.complete = true;
  std::vector<bool> sent(fields_.size());
  bool dropped = false;
  for (const json::Member& member : *members) {
    const Field* const field = find(member.name);
    if (field == nullptr) {
      if (options_->unknown_fields == UnknownFields::reject) return Why{unknown(member.name)};
      dropped |= options_->unknown_fields == UnknownFields::ignore;
      continue;
    }
    auto bound = value_of_json(member, field->column);
    if (!bound) return Why{refused(member.name, bound.why())};
    if (field->is_key) {
      const sql::Bound expected{field->column.name, std::move(*bound)};
      if (std::find(key_values->begin(), key_values->end(), expected) != key_values->end()) continue;
      return Why{refused(member.name, "not what the key says")};
    }
    if (field->column.generated) return Why{refused(member.name, "computed by the database")};
    sent[static_cast<std::size_t>(field - fields_.data())] = true;
    change.values.push_back({field->column.name, std::move(*bound)});
  }
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    if (may_reset(fields_[i]) && !sent[i]) change.reset.push_back(fields_[i].column.name);
  }
  change.copy.text = dropped ? known_part(*members) : std::string(value);
  return change;
}

// Of members that fit their columns.
std::string Mapping::known_part(std::span<const json::Member> members) const {
  std::string text = "{";
  for (const json::Member& member : members) {
    const Field* const field = find(member.name);
    if (field == nullptr) continue;
    if (text.size() > 1) text += ',';
    json::append_string(text, member.name);
    text += ':';
    append_json(text, *value_of_json(member, field->column), field->column.type);
  }
  return text += '}';
}

Checked<Change> Mapping::merge(std::string_view redis_key, std::span<const std::string> fields) const {
  const auto key_values = key(redis_key);
  if (!key_values) return Why{key_values.why()};
  Change change;
  for (std::size_t i = 0; i + 1 < fields.size(); i += 2) {
    const Field* const field = find(fields[i]);
    if (field == nullptr) {
      if (options_->unknown_fields == UnknownFields::reject) return Why{unknown(fields[i])};
      if (options_->unknown_fields == UnknownFields::ignore) continue;
      change.copy.fields.insert(change.copy.fields.end(), {fields[i], fields[i + 1]});
      continue;
    }
    auto value = value_of_text(fields[i + 1], field->column);
    if (!value) return Why{refused(fields[i], value.why())};
    sql::Bound bound{field->column.name, std::move(*value)};
    if (field->is_key) {
      if (std::find(key_values->begin(), key_values->end(), bound) != key_values->end()) continue;
      return Why{refused(fields[i], "not what the key says")};
    }
    if (field->column.generated) return Why{refused(fields[i], "computed by the database")};
    change.copy.fields.insert(change.copy.fields.end(), {fields[i], *text_of(bound.value, field->column.type)});
    const auto again = std::find_if(change.values.begin(), change.values.end(),
                                    [&](const sql::Bound& b) { return b.column == bound.column; });
    if (again != change.values.end()) {
      again->value = std::move(bound.value);
    } else {
      change.values.push_back(std::move(bound));
    }
  }
  const auto left_out = [&](const Field& field) {
    return field.shown && std::none_of(change.values.begin(), change.values.end(),
                                       [&](const sql::Bound& b) { return b.column == field.column.name; });
  };
  change.complete = std::none_of(fields_.begin(), fields_.end(), left_out);
  return change;
}

}  // namespace sluice::policies

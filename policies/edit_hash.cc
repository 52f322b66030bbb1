// HSET and its kin: single fields of the row.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <utility>

#include "policies/column_value.h"
#include "policies/edit.h"
#include "policies/replies.h"
#include "resp/integer.h"

namespace sluice::policies {
namespace {

using resp::CommandId;

std::int64_t count_new(const Mapping& mapping, const sql::Row* row, const std::vector<sql::Bound>& values) {
  std::int64_t added = 0;
  for (const sql::Bound& value : values) {
    const auto& columns = mapping.columns();
    const auto at = std::find(columns.begin(), columns.end(), value.column) - columns.begin();
    if (row == nullptr || std::holds_alternative<std::monostate>((*row)[static_cast<std::size_t>(at)])) ++added;
  }
  return added;
}

class HashSet final : public Edit {
 public:
  explicit HashSet(Request request) : Edit(std::move(request)) {}

  // A row whose time may be over must be looked at.
  std::optional<sql::RowWrite> statement() const override {
    if (!is_blind() || only_cached()) return {};
    if (auto custom = custom_statement(change_.values)) return custom;
    return sql::MergeRow{options().table, row_key(), change_.values};
  }

  bool only_cached() const override { return cache_only() || change_.values.empty(); }

  sql::RowChange decide(const sql::Row* row) const override {
    if (only_cached()) return {};
    if (refused_by_conflict(live(row))) return {sql::RowChange::Kind::refuse, {}, {}};
    if (live(row) != nullptr && decides_on_conflict()) return {};
    return write_fields(row, change_.values);
  }

  Outcome outcome(const sql::Result& result) const override {
    Outcome outcome;
    const sql::Row* const row = live(row_of(result));
    if (only_cached()) return cached_outcome(row);
    if (auto error = refused_by_conflict(row)) {
      outcome.error = *std::move(error);
      return outcome;
    }
    const bool ignored = row != nullptr && decides_on_conflict();
    outcome.reply = reply(ignored ? 0 : added(result, row));
    if (ignored) return outcome;
    outcome.copy.kind = CopyChange::Kind::merge;
    outcome.copy.copy = change_.copy;
    outcome.copy.whole = change_.complete;
    if (row != nullptr) outcome.copy.until = mapping().expiry(*row);
    // The columns that were not sent have their defaults now.
    const bool began_anew = is_blind() ? result.inserted : row == nullptr;
    if (began_anew && !change_.complete) outcome.copy.kind = CopyChange::Kind::drop;
    return outcome;
  }

 private:
  std::string map_values() override {
    auto change = mapping().merge(key(), std::span(args()).subspan(2));
    if (!change) return change.why();
    change_ = std::move(*change);
    return {};
  }

  bool is_blind() const { return !decides_on_conflict() && !mapping().has_ttl(); }

  // What a write_query has added nobody knows.
  std::int64_t added(const sql::Result& result, const sql::Row* row) const {
    if (!options().write_query.empty()) return 0;
    return is_blind() ? result.affected : count_new(mapping(), row, change_.values);
  }

  std::string reply(std::int64_t added) const {
    return command() == CommandId::hset ? integer_reply(added) : ok_reply();
  }

  // The whole copy: what the row has, and over it what is for the copy alone.
  Outcome cached_outcome(const sql::Row* row) const {
    Outcome outcome;
    outcome.reply = reply(0);
    outcome.copy.kind = CopyChange::Kind::merge;
    if (const auto copy = row == nullptr ? std::nullopt : mapping().copy(*row)) outcome.copy.copy = *copy;
    if (row != nullptr) outcome.copy.until = mapping().expiry(*row);
    auto& fields = outcome.copy.copy.fields;
    fields.insert(fields.end(), change_.copy.fields.begin(), change_.copy.fields.end());
    outcome.copy.whole = true;
    return outcome;
  }

  Change change_;
};

// HSETNX, HINCRBY, HINCRBYFLOAT: one field, whose new value depends on the old.
class FieldEdit : public Edit {
 public:
  explicit FieldEdit(Request request) : Edit(std::move(request)) {}

  sql::RowChange decide(const sql::Row* row) const override {
    const Verdict verdict = judge(live(row));
    if (!verdict.value) return {};
    return write_fields(row, {{field_->column.name, *verdict.value}});
  }

  Outcome outcome(const sql::Result& result) const override {
    Verdict verdict = judge(live(row_of(result)));
    Outcome outcome;
    outcome.reply = std::move(verdict.reply);
    outcome.error = std::move(verdict.error);
    if (!verdict.value) return outcome;
    outcome.copy.kind = live(row_of(result)) == nullptr ? CopyChange::Kind::drop : CopyChange::Kind::merge;
    outcome.copy.copy.fields = {field_->name, *text_of(*verdict.value, field_->column.type)};
    return outcome;
  }

 protected:
  struct Verdict {
    std::optional<sql::Value> value;  // nullopt: nothing is written
    std::string reply;
    std::string error;
  };
  // `old`: nullopt when the field is absent.
  virtual Verdict judge(const std::optional<std::string>& old) const = 0;
  virtual std::string check() { return {}; }
  const Mapping::Field& field() const { return *field_; }

 private:
  std::string map_values() override {
    field_ = mapping().find(args()[2]);
    if (field_ == nullptr) return mapping().unknown(args()[2]);
    if (std::string why = mapping().forbidden(*field_); !why.empty()) return why;
    if (!options().write_query.empty()) return std::string(kNoWriteQuery);
    return check();
  }

  Verdict judge(const sql::Row* row) const {
    return judge(row == nullptr ? std::nullopt : text_of((*row)[field_->at], field_->column.type));
  }

  static constexpr std::string_view kNoWriteQuery = "not supported with a write_query";
  const Mapping::Field* field_ = nullptr;
};

class SetIfAbsent final : public FieldEdit {
 public:
  explicit SetIfAbsent(Request request) : FieldEdit(std::move(request)) {}

 private:
  std::string check() override {
    auto value = value_of_text(args()[3], field().column);
    if (!value) return mapping().refused(field().name, value.why());
    value_ = std::move(*value);
    return {};
  }

  Verdict judge(const std::optional<std::string>& old) const override {
    if (old) return {{}, integer_reply(0), {}};
    return {value_, integer_reply(1), {}};
  }

  sql::Value value_;
};

class Increment final : public FieldEdit {
 public:
  Increment(Request request, std::int64_t by) : FieldEdit(std::move(request)), by_(by) {}

 private:
  Verdict judge(const std::optional<std::string>& old) const override {
    const auto before = resp::parse_integer(old.value_or("0"));
    if (!before) return {{}, {}, "ERR hash value is not an integer"};
    std::int64_t after = 0;
    if (__builtin_add_overflow(*before, by_, &after)) return {{}, {}, "ERR increment or decrement would overflow"};
    auto value = value_of_text(std::to_string(after), field().column);
    if (!value) return {{}, {}, not_fitting(options(), mapping().refused(field().name, value.why()))};
    return {std::move(*value), integer_reply(after), {}};
  }

  const std::int64_t by_;
};

std::optional<long double> parse_float(const std::string& text) {
  if (text.empty() || std::isspace(static_cast<unsigned char>(text[0])) != 0) return {};
  char* end = nullptr;
  const long double number = std::strtold(text.c_str(), &end);
  if (end != text.c_str() + text.size() || std::isnan(number)) return {};
  return number;
}

// As Redis prints the sum: 17 digits after the point, without trailing zeros.
std::string print_float(long double number) {
  std::array<char, 5UL * 1024> out{};
  std::snprintf(out.data(), out.size(), "%.17Lf", number);
  std::string text = out.data();
  if (text.find('.') == std::string::npos) return text;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text == "-0" ? "0" : text;
}

class IncrementFloat final : public FieldEdit {
 public:
  IncrementFloat(Request request, long double by) : FieldEdit(std::move(request)), by_(by) {}

 private:
  Verdict judge(const std::optional<std::string>& old) const override {
    const auto before = parse_float(old.value_or("0"));
    if (!before) return {{}, {}, "ERR hash value is not a float"};
    const long double after = *before + by_;
    if (!std::isfinite(after)) return {{}, {}, "ERR increment would produce NaN or Infinity"};
    const std::string text = print_float(after);
    auto value = value_of_text(text, field().column);
    if (!value) return {{}, {}, not_fitting(options(), mapping().refused(field().name, value.why()))};
    std::string reply;
    resp::append_bulk(reply, text);
    return {std::move(*value), std::move(reply), {}};
  }

  const long double by_;
};

// A deleted field is NULL.
class HashDelete final : public Edit {
 public:
  explicit HashDelete(Request request) : Edit(std::move(request)) {}

  sql::RowChange decide(const sql::Row* row) const override {
    const auto present = this->present(live(row));
    if (present.empty()) return {};
    std::vector<sql::Bound> values;
    values.reserve(present.size());
    for (const Mapping::Field* field : present) values.push_back({field->column.name, {}});
    return {sql::RowChange::Kind::write, std::move(values), {}};
  }

  Outcome outcome(const sql::Result& result) const override {
    Outcome outcome;
    outcome.reply = integer_reply(static_cast<std::int64_t>(present(live(row_of(result))).size()));
    outcome.copy.kind = CopyChange::Kind::remove;
    outcome.copy.copy.fields = {args().begin() + 2, args().end()};
    return outcome;
  }

 private:
  std::string map_values() override {
    if (!options().write_query.empty()) return "HDEL not supported with a write_query";
    for (std::size_t i = 2; i < args().size(); ++i) {
      const Mapping::Field* const field = mapping().find(args()[i]);
      if (field == nullptr) continue;  // deleted already
      if (std::string why = mapping().forbidden(*field); !why.empty()) return why;
      if (std::find(fields_.begin(), fields_.end(), field) == fields_.end()) fields_.push_back(field);
    }
    return {};
  }

  std::vector<const Mapping::Field*> present(const sql::Row* row) const {
    std::vector<const Mapping::Field*> present;
    for (const Mapping::Field* field : fields_) {
      const bool is_null = row == nullptr || std::holds_alternative<std::monostate>((*row)[field->at]);
      if (!is_null) present.push_back(field);
    }
    return present;
  }

  std::vector<const Mapping::Field*> fields_;
};

}  // namespace

Checked<std::shared_ptr<Edit>> parse_hset(Edit::Request request) {
  if (request.args.size() % 2 != 0) return Why{wrong_arity(request.command.name)};
  return std::shared_ptr<Edit>(std::make_shared<HashSet>(std::move(request)));
}

Checked<std::shared_ptr<Edit>> parse_hsetnx(Edit::Request request) {
  return std::shared_ptr<Edit>(std::make_shared<SetIfAbsent>(std::move(request)));
}

Checked<std::shared_ptr<Edit>> parse_hdel(Edit::Request request) {
  return std::shared_ptr<Edit>(std::make_shared<HashDelete>(std::move(request)));
}

Checked<std::shared_ptr<Edit>> parse_hincr(Edit::Request request) {
  if (request.command.id == CommandId::hincrby) {
    const auto by = resp::parse_integer(request.args[3]);
    if (!by) return Why{std::string(kNotInteger)};
    return std::shared_ptr<Edit>(std::make_shared<Increment>(std::move(request), *by));
  }
  const auto by = parse_float(request.args[3]);
  if (!by) return Why{"ERR value is not a valid float"};
  if (std::isinf(*by)) return Why{"ERR value is NaN or Infinity"};
  return std::shared_ptr<Edit>(std::make_shared<IncrementFloat>(std::move(request), *by));
}

}  // namespace sluice::policies

// SET and its kin: a whole new value for the row; and APPEND, which makes one of the old.
#include <memory>
#include <utility>

#include "policies/column_value.h"
#include "policies/edit.h"
#include "policies/replies.h"

namespace sluice::policies {
namespace {

using resp::CommandId;
using When = SetOptions::When;

class Set final : public Edit {
 public:
  Set(Request request, SetOptions set, std::string value)
      : Edit(std::move(request)), set_(set), value_(std::move(value)) {}

  std::optional<sql::RowWrite> statement() const override {
    if (!is_blind()) return {};
    if (auto custom = custom_statement(change_.values)) return custom;
    return sql::ReplaceRow{options().table, row_key(), values(nullptr), change_.reset};
  }

  sql::RowChange decide(const sql::Row* row) const override {
    using Kind = sql::RowChange::Kind;
    if (may_write(row)) return {Kind::write, values(live(row)), change_.reset};
    const bool all_or_nothing = command() == CommandId::msetnx || refused_by_conflict(live(row));
    return {all_or_nothing ? Kind::refuse : Kind::keep, {}, {}};
  }

  Outcome outcome(const sql::Result& result) const override {
    Outcome outcome;
    const sql::Row* const row = live(row_of(result));
    if (auto error = refused_by_conflict(row)) {
      outcome.error = *std::move(error);
      return outcome;
    }
    const bool wrote = is_blind() || may_write(row_of(result));
    outcome.reply = reply(row, wrote || ignores(row));
    if (!wrote) return outcome;
    outcome.copy.kind = CopyChange::Kind::set;
    outcome.copy.copy = change_.copy;
    outcome.copy.expiry = set_.expiry;
    outcome.copy.keep_ttl = set_.keep_ttl;
    if (set_.keep_ttl && row != nullptr) outcome.copy.until = mapping().expiry(*row);
    return outcome;
  }

 private:
  std::string map_values() override {
    const bool custom = !options().write_query.empty();
    if (custom && (set_.when != When::always || set_.get)) return "NX, XX and GET not supported with a write_query";
    auto change = mapping().replace(key(), value_);
    if (!change) return change.why();
    change_ = std::move(*change);
    return {};
  }

  // What KEEPTTL keeps is over, perhaps.
  bool is_blind() const {
    const bool looks = set_.get || (set_.keep_ttl && mapping().has_ttl());
    return set_.when == When::always && !looks && !decides_on_conflict();
  }

  bool may_write(const sql::Row* row) const {
    const bool exists = live(row) != nullptr;
    if (exists && decides_on_conflict()) return false;
    return set_.when == When::always || (set_.when == When::present) == exists;
  }

  // conflict = "ignore": what is there stays, and nobody is told.
  bool ignores(const sql::Row* row) const {
    return row != nullptr && options().conflict == conf::Conflict::ignore && set_.when == When::always;
  }

  // `row`: whose expiry is kept, if it is.
  std::vector<sql::Bound> values(const sql::Row* row) const {
    std::vector<sql::Bound> values = change_.values;
    if (!mapping().has_ttl() || (set_.keep_ttl && row != nullptr)) return values;
    values.push_back(mapping().ttl_bound(set_.expiry ? std::optional(set_.expiry->at(now())) : std::nullopt));
    return values;
  }

  std::string reply(const sql::Row* row, bool done) const {
    if (command() == CommandId::setnx || command() == CommandId::msetnx) return integer_reply(done ? 1 : 0);
    if (set_.get) return bulk_reply(row);
    return done ? ok_reply() : nil_reply();
  }

  const SetOptions set_;
  const std::string value_;
  Change change_;
};

// The value afterwards is known only with the row.
class Append final : public Edit {
 public:
  explicit Append(Request request) : Edit(std::move(request)) {}

  sql::RowChange decide(const sql::Row* row) const override {
    const auto value = value_of_text(after(live(row)), mapping().raw_field().column);
    if (!value) return {};
    return write_fields(row, {{options().column, *value}});
  }

  Outcome outcome(const sql::Result& result) const override {
    Outcome outcome;
    std::string text = after(live(row_of(result)));
    if (const auto value = value_of_text(text, mapping().raw_field().column); !value) {
      outcome.error = not_fitting(options(), "the value would be " + value.why());
      return outcome;
    }
    outcome.reply = integer_reply(static_cast<std::int64_t>(text.size()));
    outcome.copy.kind = CopyChange::Kind::set;
    outcome.copy.copy.text = std::move(text);
    outcome.copy.keep_ttl = true;
    if (const sql::Row* const row = live(row_of(result))) outcome.copy.until = mapping().expiry(*row);
    return outcome;
  }

 private:
  std::string map_values() override {
    return decides_on_conflict() || !options().write_query.empty()
               ? "APPEND not supported with a write_query or a conflict other than \"update\""
               : "";
  }

  std::string after(const sql::Row* row) const {
    const auto copy = row == nullptr ? std::nullopt : mapping().copy(*row);
    return (copy ? copy->text : std::string()) + args()[2];
  }
};

}  // namespace

Checked<std::shared_ptr<Edit>> parse_set(Edit::Request request) {
  const std::vector<std::string>& args = request.args;
  const CommandId id = request.command.id;
  const bool timed = id == CommandId::setex || id == CommandId::psetex;
  SetOptions set;
  if (id == CommandId::set) {
    auto parsed = parse_set_options({args.begin() + 3, args.end()});
    if (!parsed) return Why{parsed.why()};
    set = *parsed;
  } else if (timed) {
    const auto expiry = parse_expiry(id == CommandId::setex ? "EX" : "PX", args[2], request.command.name);
    if (!expiry) return Why{expiry.why()};
    set.expiry = *expiry;
  }
  if (id == CommandId::setnx || id == CommandId::msetnx) set.when = When::absent;
  set.get = set.get || id == CommandId::getset;
  std::string value = args[timed ? 3 : 2];
  return std::shared_ptr<Edit>(std::make_shared<Set>(std::move(request), set, std::move(value)));
}

Checked<std::shared_ptr<Edit>> parse_append(Edit::Request request) {
  return std::shared_ptr<Edit>(std::make_shared<Append>(std::move(request)));
}

}  // namespace sluice::policies

// Write, see write.h.
//
// ARM (the cached copies become burning fuses) -> SQL -> APPLY, or ABORT when SQL certainly did nothing, or INVAL when
// nobody knows. All keys of a command are armed together, written in one transaction and applied together.
#include "policies/write.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "policies/edit.h"
#include "policies/expiry_command.h"
#include "policies/fuse_scripts.h"
#include "policies/ops_field.h"
#include "policies/replies.h"
#include "policies/rights.h"

namespace sluice::policies {
namespace {

using conf::ValueMode;
using resp::CommandId;

class Write final : public Operation {
 public:
  Write(Shared& shared, Request request)
      : shared_(shared), options_(shared.options), request_(std::move(request)), name_(request_.args[0]) {}

  Step start(Turn& turn) override {
    asked_ = turn.now;
    const std::vector<RedisCommand> questions = this->questions();
    if (auto error = check()) decide(*error);
    if (questions.empty()) return go_on(turn);
    state_ = State::awaiting_rights;
    return CallRedis{questions};
  }

  Step resume(Event event, Turn& turn) override {
    switch (state_) {
      case State::awaiting_rights:
        return rights_known(event, turn);
      case State::awaiting_schema:
        return schema_known(event, turn);
      case State::awaiting_turn:
        return turn_came(turn);
      case State::awaiting_arm:
        return armed(event, turn);
      case State::awaiting_commit:
        return committed(std::get<SqlDone>(event).result, turn);
      case State::awaiting_end:
        return ended(event, turn);
      case State::awaiting_acknowledgement:
        return std::move(reply_);
    }
    return Finish{};
  }

 private:
  enum class State : std::uint8_t {
    awaiting_rights,
    awaiting_schema,
    awaiting_turn,
    awaiting_arm,
    awaiting_commit,
    awaiting_end,
    awaiting_acknowledgement,
  };

  struct Part {
    Shared* shared;
    std::string key, side;
    std::vector<std::string> args;  // the command's name, the key, what belongs to it; until they are parsed
    std::shared_ptr<Edit> edit;
    Outcome outcome;
    bool invalidate = false;  // what was applied is not known
  };

  // --- Before anything is touched ----------------------------------------------------------------------------------

  // What is wrong with the command whatever Redis and SQL hold.
  std::optional<std::string> check() {
    if (!request_.command->arity_fits(request_.args.size())) return wrong_arity(request_.command->name);
    if (auto error = take_ops_field()) return error;
    return parse();
  }

  std::optional<std::string> take_ops_field() {
    const bool sets = request_.command->id == CommandId::hset || request_.command->id == CommandId::hmset;
    if (options_.ops_field.empty() || !sets) return {};
    auto ops = OpsField::take(options_.ops_field, request_.args);
    if (!ops) return not_fitting(options_, ops.why());
    ops_ = std::move(*ops);
    return {};
  }

  // The same key twice: the last value wins, as in Redis, and a deleted key counts once.
  void add_part(Shared& shared, std::vector<std::string> args) {
    const auto same = [&](const Part& part) { return part.key == args[1]; };
    parts_.erase(std::remove_if(parts_.begin(), parts_.end(), same), parts_.end());
    parts_.push_back({&shared, args[1], side_key(args[1]), std::move(args), nullptr, {}, false});
  }

  void split() {
    if (request_.keys.empty()) {
      request_.args[1] = request_.key;
      return add_part(shared_, std::move(request_.args));
    }
    for (std::size_t i = 0; i < request_.keys.size(); ++i) {
      std::vector<std::string> args{name_, request_.keys[i].key};
      if (has_pairs()) args.push_back(std::move(request_.args[2 + 2 * i]));
      add_part(*request_.keys[i].policy->rows(), std::move(args));
    }
  }

  bool has_pairs() const {
    return request_.command->id == CommandId::mset || request_.command->id == CommandId::msetnx;
  }

  std::optional<std::string> parse() {
    if (has_pairs() && request_.args.size() % 2 == 0) return wrong_arity(request_.command->name);
    split();
    for (Part& part : parts_) {
      if (part.side.empty()) return key_without_side(part.shared->options);
      Edit::Request request{part.shared->options, *request_.command, std::move(part.args), request_.version,
                            ops_ && ops_->action == OpsField::Action::cache_only};
      const auto make = removes_row() ? make_row_removal : parse_edit;
      auto edit = make(std::move(request));
      if (!edit) return edit.why();
      part.edit = std::move(*edit);
    }
    return {};
  }

  bool removes_row() const { return ops_ && ops_->action == OpsField::Action::remove_row; }

  // The reply is this error. Nobody who may not touch the keys gets to see it.
  void decide(const std::string& error) {
    shared_.metrics.rejected_commands.add();
    reply_ = finish_error(error);
    failure_ = error;
  }

  Step go_on(Turn& turn) { return failure_.empty() ? ask_schemas(turn) : acknowledge(); }

  Step rights_known(const Event& event, Turn& turn) {
    for (std::size_t i = 0; reply_at(event, i) != nullptr; ++i) {
      if (const auto denied = denial(*reply_at(event, i))) return finish_error(*denied);
    }
    if (reply_at(event, 0) == nullptr) return finish_error(upstream_unavailable(), true);
    return go_on(turn);
  }

  // What ACL rules can see of the command: its values are not repeated. And the stream that acknowledges it.
  std::vector<RedisCommand> questions() const {
    if (request_.acl_user.empty()) return {};
    std::vector<std::string> bare{name_};
    if (request_.keys.empty()) bare.push_back(request_.key);
    for (const RequestKey& key : request_.keys) {
      bare.push_back(key.key);
      if (has_pairs()) bare.emplace_back();
    }
    // The shortest form that Redis takes for a complete command; of SET also the options, one of which reads.
    const auto shortest = static_cast<std::size_t>(std::abs(request_.command->arity));
    if (bare.size() < shortest) bare.resize(shortest);
    if (request_.command->id == CommandId::set && request_.args.size() > 3) {
      bare.insert(bare.end(), request_.args.begin() + 3, request_.args.end());
    }
    std::vector<RedisCommand> questions{ask_rights(request_.acl_user, std::move(bare))};
    std::vector<std::string> args = options_.ops_field.empty() ? std::vector<std::string>() : request_.args;
    const auto ops = OpsField::take(options_.ops_field, args);
    if (ops && *ops && !(*ops)->id.empty()) {
      questions.push_back(ask_rights(request_.acl_user, {"XADD", (*ops)->stream(request_.key), "*", "", ""}));
    }
    return questions;
  }

  // --- The tables ---------------------------------------------------------------------------------------------------

  Step ask_schemas(Turn& turn) {
    for (; described_ < parts_.size(); ++described_) {
      state_ = State::awaiting_schema;
      if (auto step = parts_[described_].shared->schema.ask(turn)) return *std::move(step);
      if (auto error = map(parts_[described_])) {
        decide(*error);
        return acknowledge();
      }
    }
    return enter_queues(turn);
  }

  Step schema_known(const Event& event, Turn& turn) {
    const auto error = parts_[described_].shared->schema.take(event, turn);
    if (!error) return ask_schemas(turn);
    shared_.metrics.writes_unavailable.add();
    return fail(sql_failed(options_, *error), turn);
  }

  std::optional<std::string> map(Part& part) {
    const std::string why = part.edit->map(part.shared->schema.mapping());
    if (why.empty()) return {};
    return not_fitting(part.shared->options, why);
  }

  bool forgets_only() const { return ops_ && ops_->action == OpsField::Action::forget; }

  // --- One write of a key at a time ---------------------------------------------------------------------------------

  // In the order of the keys, so that no two commands wait for each other.
  Step enter_queues(Turn& turn) {
    std::sort(parts_.begin(), parts_.end(), [](const Part& a, const Part& b) { return a.key < b.key; });
    return enter_next(turn);
  }

  Step enter_next(Turn& turn) {
    for (; entered_ < parts_.size(); ++entered_) {
      if (parts_[entered_].shared->queue.enter(parts_[entered_].key, turn.self)) continue;
      state_ = State::awaiting_turn;
      return Park{};
    }
    return arm(turn);
  }

  Step turn_came(Turn& turn) {
    ++entered_;
    if (turn.now - asked_ < options_.write_timeout) return enter_next(turn);
    shared_.metrics.writes_unavailable.add();
    const sql::Error late{sql::Failure::unavailable, "", "earlier writes of this key took all the time there was"};
    return fail(sql_failed(options_, late), turn);
  }

  // --- ARM ----------------------------------------------------------------------------------------------------------

  Step arm(Turn& turn) {
    state_ = State::awaiting_arm;
    token_ = make_token(turn);
    armed_at_ = turn.now;
    CallRedis call;
    if (asks_time()) call.commands.push_back({nullptr, {"TIME"}});
    for (const Part& part : parts_) {
      const conf::PolicyOptions& options = part.shared->options;
      call.commands.push_back({&fuse::arm(),
                               {"2", part.key, part.side, token_, table_of(part),
                                std::to_string((options_.write_timeout + kArmMargin).count()),
                                std::to_string(options.fuse.count()), needs_hash(options) ? "hash" : ""}});
    }
    return call;
  }

  // Whose version tells others of the write; none when SQL has no part in it.
  const std::string& table_of(const Part& part) const {
    static const std::string none;
    return forgets_only() || part.edit->only_cached() ? none : part.shared->table;
  }

  // DEL and EXPIRE do not mind what they find.
  bool needs_hash(const conf::PolicyOptions& options) const {
    const CommandId id = request_.command->id;
    return options.value == ValueMode::hash && id != CommandId::del && id != CommandId::unlink &&
           !is_expiry_command(id);
  }

  bool asks_time() const {
    return std::any_of(parts_.begin(), parts_.end(),
                       [](const Part& part) { return !part.shared->options.ttl_column.empty(); });
  }

  Step armed(const Event& event, Turn& turn) {
    if (reply_at(event, 0) == nullptr) return fail(upstream_unavailable(), turn, true);
    std::size_t at = 0;
    if (asks_time()) begin_at(*reply_at(event, at++));
    std::optional<std::string> error;
    bool any_armed = false;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const resp::Reply& reply = *reply_at(event, at + i);
      any_armed = any_armed || !reply.is_error();
      if (reply.is_error() && !error) error = reply.text;
    }
    if (error) return any_armed ? abort(*error, turn) : fail(*error, turn);
    if (forgets_only()) return forget(turn);
    const Milliseconds left = options_.write_timeout - std::chrono::duration_cast<Milliseconds>(turn.now - armed_at_);
    if (left <= Milliseconds(0)) {
      shared_.metrics.writes_unavailable.add();
      return abort(sql_failed(options_, {sql::Failure::unavailable, "", "Redis took all the time of the write"}), turn);
    }
    state_ = State::awaiting_commit;
    return CallSql{statement(), left};
  }

  Step forget(Turn& turn) {
    reply_ = request_.command->id == CommandId::hset ? finish_integer(0) : finish_ok();
    return end_arms(turn, CopyChange::Kind::drop);
  }

  void begin_at(const resp::Reply& time) {
    const auto number = [&](std::size_t i) { return std::strtoll(item(time, i).text.c_str(), nullptr, 10); };
    for (const Part& part : parts_) part.edit->begin_at(number(0) * 1000 + number(1) / 1000);
  }

  // --- SQL ----------------------------------------------------------------------------------------------------------

  static sql::RowWrite row_write(const Part& part) {
    const conf::PolicyOptions& options = part.shared->options;
    auto blind = part.edit->statement();
    sql::RowWrite write =
        blind ? *std::move(blind)
              : sql::ModifyRow{options.table, part.edit->row_key(), part.edit->mapping().columns(), part.edit};
    if (options.invalidation != conf::Invalidation::outbox) return write;
    std::visit(
        [&](auto& one) {
          if constexpr (requires { one.guard; }) one.guard = options.name;
        },
        write);
    return write;
  }

  sql::Op statement() const {
    if (parts_.size() == 1) {
      sql::RowWrite one = row_write(parts_[0]);
      return std::visit([](auto& write) { return sql::Op(std::move(write)); }, one);
    }
    sql::WriteRows all;
    for (const Part& part : parts_) all.writes.push_back(row_write(part));
    return all;
  }

  Step committed(const sql::Result& result, Turn& turn) {
    switch (result.error.failure) {
      case sql::Failure::none:
        return decided(result, turn);
      case sql::Failure::unavailable:
        shared_.metrics.writes_unavailable.add();
        break;
      case sql::Failure::refused:
        shared_.metrics.writes_refused.add();
        break;
      case sql::Failure::schema:
        shared_.metrics.writes_refused.add();
        for (const Part& part : parts_) part.shared->schema.forget();
        break;
      case sql::Failure::unknown:
        return invalidate(sql_failed(options_, result.error));
    }
    return abort(sql_failed(options_, result.error), turn);
  }

  Step decided(const sql::Result& result, Turn& turn) {
    std::optional<std::int64_t> sum;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      Part& part = parts_[i];
      part.outcome = part.edit->outcome(parts_.size() == 1 ? result : result.parts[i]);
      if (!part.outcome.error.empty()) return refuse(part.outcome.error, turn);
      if (part.outcome.count) sum = sum.value_or(0) + *part.outcome.count;
    }
    const bool refused = parts_.size() > 1 && result.affected == 0;
    reply_ = refused ? finish_integer(0) : sum ? finish_integer(*sum) : Finish{parts_[0].outcome.reply};
    if (refused) return end_arms(turn, CopyChange::Kind::keep);
    for (const Part& part : parts_) part.shared->metrics.writes_ok.add();
    return apply(turn);
  }

  // The row decides so, not the database: an error reply, and nothing was applied.
  Step refuse(const std::string& error, Turn& turn) {
    shared_.metrics.writes_refused.add();
    return abort(error, turn);
  }

  // --- APPLY, ABORT, INVAL ------------------------------------------------------------------------------------------

  Step apply(Turn& turn) {
    state_ = State::awaiting_end;
    CallRedis call;
    const std::set<std::string_view> written = written_tables();
    for (Part& part : parts_) call.commands.push_back(ending(part, written, turn));
    return call;
  }

  std::set<std::string_view> written_tables() const {
    std::set<std::string_view> written;
    for (const Part& part : parts_) {
      if (part.outcome.copy.kind != CopyChange::Kind::keep) written.insert(table_of(part));
    }
    return written;
  }

  // All arms end in the same way.
  Step end_arms(Turn& turn, CopyChange::Kind kind) {
    for (Part& part : parts_) {
      part.outcome.copy = {};
      part.outcome.copy.kind = kind;
    }
    return apply(turn);
  }

  // Where SQL has made more of the row than the command says, the next read fills the copy.
  RedisCommand ending(Part& part, const std::set<std::string_view>& written, const Turn& turn) const {
    using Kind = CopyChange::Kind;
    static const std::string none;
    CopyChange& change = part.outcome.copy;
    const conf::PolicyOptions& options = part.shared->options;
    const bool rewritten = options.on_write == conf::OnWrite::invalidate || !options.write_query.empty() ||
                           part.edit->mapping().computed() || !options.tables.empty();
    const bool kept = change.kind == Kind::keep || change.kind == Kind::expire || part.edit->only_cached();
    if (rewritten && !kept) change.kind = Kind::drop;
    // The arm of a table goes with the part that raises its version, not before.
    const bool others = change.kind == Kind::keep && written.contains(table_of(part));
    return end_arm({options, part.key, part.side, token_, others ? none : table_of(part)}, change, part.edit->now(),
                   turn.random);
  }

  Step abort(const std::string& error, Turn& turn) {
    reply_ = finish_error(error);
    failure_ = error;
    return end_arms(turn, CopyChange::Kind::keep);
  }

  Step invalidate(const std::string& error) {
    state_ = State::awaiting_end;
    shared_.metrics.writes_unknown.add();
    reply_ = finish_error(error);
    failure_ = error;
    CallRedis call;
    for (Part& part : parts_) {
      part.invalidate = true;
      call.commands.push_back({&fuse::inval(), {"2", part.key, part.side, token_, table_of(part)}});
    }
    return call;
  }

  // What is committed and not applied burns down, or goes when Redis is back.
  Step ended(const Event& event, Turn& turn) {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      Part& part = parts_[i];
      const resp::Reply* const reply = reply_at(event, i);
      const bool applied = part.outcome.copy.kind != CopyChange::Kind::keep && !part.invalidate;
      if (reply == nullptr || reply->is_error()) {
        if (applied || part.invalidate) part.shared->forgotten.add(part.key);
      } else if (applied && reply->integer == 0) {
        part.shared->metrics.overlaps.add();
      }
    }
    return leave(turn);
  }

  // --- The end ------------------------------------------------------------------------------------------------------

  Step fail(const std::string& error, Turn& turn, bool close = false) {
    reply_ = finish_error(error, close);
    failure_ = error;
    return leave(turn);
  }

  Step leave(Turn& turn) {
    for (std::size_t i = 0; i < entered_; ++i) parts_[i].shared->queue.leave(parts_[i].key, turn);
    entered_ = 0;
    return acknowledge();
  }

  Step acknowledge() {
    if (!ops_ || ops_->id.empty() || reply_.close) return std::move(reply_);
    state_ = State::awaiting_acknowledgement;
    return CallRedis{ops_->acknowledgement(request_.key, failure_, options_.ack_ttl)};
  }

  Shared& shared_;
  const conf::PolicyOptions& options_;
  Request request_;
  const std::string name_;  // of the command, as sent
  State state_ = State::awaiting_schema;
  TimePoint asked_, armed_at_;
  std::string token_;
  std::optional<OpsField> ops_;
  std::vector<Part> parts_;
  std::size_t described_ = 0;  // parts whose table is known
  std::size_t entered_ = 0;    // parts whose queue we are at the head of
  Finish reply_;               // once it is decided
  std::string failure_;        // its error
};

class DropForgotten final : public Operation {
 public:
  DropForgotten(Shared& shared, std::vector<std::string> keys) : shared_(shared), keys_(std::move(keys)) {}

  Step start(Turn& turn) override {
    CallRedis call;
    const std::string token = make_token(turn);
    for (const std::string& key : keys_) {
      call.commands.push_back({&fuse::inval(), {"2", key, side_key(key), token, shared_.table}});
    }
    return call;
  }

  Step resume(Event event, Turn&) override {
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      const resp::Reply* const reply = reply_at(event, i);
      if (reply == nullptr || reply->is_error()) shared_.forgotten.add(std::move(keys_[i]));
    }
    return Finish{};
  }

 private:
  Shared& shared_;
  std::vector<std::string> keys_;
};

}  // namespace

std::unique_ptr<Operation> make_write(Shared& shared, Request request) {
  return std::make_unique<Write>(shared, std::move(request));
}

std::unique_ptr<Operation> make_drop_forgotten(Shared& shared, std::vector<std::string> keys) {
  return std::make_unique<DropForgotten>(shared, std::move(keys));
}

}  // namespace sluice::policies

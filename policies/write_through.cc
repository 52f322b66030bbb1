// Write-through: a write is committed in SQL before it is acknowledged, and no crash leaves an old copy for long.
//
// ARM (the cached copy becomes a burning fuse) -> SQL -> APPLY, or ABORT when SQL certainly did nothing, or INVAL when
// nobody knows. Reads are filled as in cache-aside.
#include <algorithm>
#include <memory>
#include <utility>

#include "policies/fuse_scripts.h"
#include "policies/policy.h"
#include "policies/replies.h"
#include "policies/rights.h"
#include "policies/row_policy.h"
#include "policies/set_options.h"
#include "policies/shared.h"

namespace sluice::policies {
namespace {

using conf::ValueMode;
using resp::CommandId;

// How long an arm outlives the write it announces.
constexpr Milliseconds kArmMargin{2000};

// SET, HSET or HMSET of one key.
class Write : public Operation {
 public:
  Write(Shared& shared, Request request)
      : shared_(shared), options_(shared.options), request_(std::move(request)), side_(side_key(request_.key)) {}

  Step start(Turn& turn) override {
    if (auto error = check_arguments()) return reject(*error);
    if (side_.empty()) return reject(key_without_side(options_));
    asked_ = turn.now;
    state_ = State::awaiting_schema;
    if (auto step = shared_.schema.ask(turn)) return *std::move(step);
    return map_value(turn);
  }

  Step resume(Event event, Turn& turn) override {
    switch (state_) {
      case State::awaiting_rights:
        return rights_known(event);
      case State::awaiting_schema:
        return schema_known(event, turn);
      case State::awaiting_turn:
        return turn_came(turn);
      case State::awaiting_arm:
        return armed(event, turn);
      case State::awaiting_commit:
        return committed(std::get<SqlDone>(event).result, turn);
      case State::awaiting_apply:
        return applied(event, turn);
      case State::awaiting_abort:
        return end(std::move(reply_), turn);
      case State::awaiting_inval:
        return invalidated(event, turn);
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
    awaiting_apply,
    awaiting_abort,
    awaiting_inval,
  };

  bool is_set() const { return request_.command->id == CommandId::set; }
  bool is_hash() const { return options_.value == ValueMode::hash; }

  std::optional<std::string> check_arguments() {
    const std::size_t count = request_.args.size();
    if (is_set() ? count < 3 : count < 4 || count % 2 != 0) return wrong_arity(request_.command->name);
    if (is_set() == is_hash()) return std::string(kWrongType);
    if (!is_set()) return {};
    auto parsed = parse_set_options({request_.args.begin() + 3, request_.args.end()});
    if (!parsed) return parsed.why();
    expiry_ = *parsed;
    if (expiry_.unsupported.empty()) return {};
    return not_supported(options_, "SET with " + expiry_.unsupported + " is", "") + " yet";
  }

  // The command is wrong whatever Redis and SQL hold; but who may not touch the key learns no more than that.
  Step reject(const std::string& error) {
    shared_.metrics.rejected_commands.add();
    if (!asks_rights()) return finish_error(error);
    state_ = State::awaiting_rights;
    reply_ = finish_error(error);
    return CallRedis{{ask_rights(request_.acl_user, bare_command())}};
  }

  Step rights_known(const Event& event) {
    const resp::Reply* const rights = reply_at(event, 0);
    if (rights == nullptr) return finish_error(upstream_unavailable(), true);
    if (const auto denied = denial(*rights)) return finish_error(*denied);
    return std::move(reply_);
  }

  Step schema_known(const Event& event, Turn& turn) {
    const auto error = shared_.schema.take(event, turn);
    if (!error) return map_value(turn);
    shared_.metrics.writes_unavailable.add();
    return finish_error(sql_failed(options_, *error));
  }

  Step map_value(Turn& turn) {
    mapping_ = shared_.schema.mapping();
    auto key = mapping_->key(request_.key);
    if (!key) return reject(not_fitting(options_, key.why()));
    const std::span<const std::string> args(request_.args);
    auto change = is_hash() ? mapping_->merge(request_.key, args.subspan(2)) : mapping_->replace(request_.key, args[2]);
    if (!change) return reject(not_fitting(options_, change.why()));
    key_ = std::move(*key);
    change_ = std::move(*change);
    if (is_hash() && change_.values.empty())
      return acknowledgement(0);  // nothing but ignored fields and the key itself
    if (shared_.queue.enter(request_.key, turn.self)) return arm(turn);
    state_ = State::awaiting_turn;
    return Park{};
  }

  Step turn_came(Turn& turn) {
    if (turn.now - asked_ < options_.write_timeout) return arm(turn);
    shared_.metrics.writes_unavailable.add();
    const sql::Error late{sql::Failure::unavailable, "", "earlier writes of this key took all the time there was"};
    return end(finish_error(sql_failed(options_, late)), turn);
  }

  Step arm(Turn& turn) {
    state_ = State::awaiting_arm;
    token_ = make_token(turn);
    armed_at_ = turn.now;
    CallRedis call;
    if (asks_rights()) call.commands.push_back(ask_rights(request_.acl_user, bare_command()));
    call.commands.push_back(
        {&fuse::arm(),
         {"2", request_.key, side_, token_, std::to_string((options_.write_timeout + kArmMargin).count()),
          std::to_string(options_.fuse.count()), is_hash() ? "hash" : ""}});
    return call;
  }

  bool asks_rights() const { return !request_.acl_user.empty(); }

  // What ACL rules can see of the command: its values are not repeated.
  std::vector<std::string> bare_command() const {
    std::vector<std::string> bare{request_.args[0], request_.key, ""};
    if (is_hash()) bare.emplace_back();
    return bare;
  }

  Step armed(const Event& event, Turn& turn) {
    const resp::Reply* const arm = reply_at(event, asks_rights() ? 1 : 0);
    if (arm == nullptr) return end(finish_error(upstream_unavailable(), true), turn);
    const auto denied = asks_rights() ? denial(*reply_at(event, 0)) : std::nullopt;
    if (arm->is_error()) return end(finish_error(denied ? *denied : arm->text), turn);
    if (denied) return abort(*denied, turn);
    const Milliseconds left = options_.write_timeout - std::chrono::duration_cast<Milliseconds>(turn.now - armed_at_);
    if (left <= Milliseconds(0)) {
      shared_.metrics.writes_unavailable.add();
      return abort(sql_failed(options_, {sql::Failure::unavailable, "", "Redis took all the time of the write"}), turn);
    }
    state_ = State::awaiting_commit;
    return CallSql{statement(), left};
  }

  sql::Op statement() {
    if (is_hash()) return sql::MergeRow{options_.table, std::move(key_), std::move(change_.values)};
    return sql::ReplaceRow{options_.table, std::move(key_), std::move(change_.values), std::move(change_.reset)};
  }

  Step committed(const sql::Result& result, Turn& turn) {
    switch (result.error.failure) {
      case sql::Failure::none:
        return apply(result.affected, turn);
      case sql::Failure::unavailable:
        shared_.metrics.writes_unavailable.add();
        break;
      case sql::Failure::refused:
        shared_.metrics.writes_refused.add();
        break;
      case sql::Failure::schema:
        shared_.metrics.writes_refused.add();
        shared_.schema.forget();
        break;
      case sql::Failure::unknown:
        return invalidate(sql_failed(options_, result.error));
    }
    return abort(sql_failed(options_, result.error), turn);
  }

  Step apply(std::int64_t affected, Turn& turn) {
    state_ = State::awaiting_apply;
    shared_.metrics.writes_ok.add();
    reply_ = acknowledgement(affected);
    RedisCommand command{&fuse::apply(), {"2", request_.key, side_, token_}};
    auto& args = command.args;
    if (options_.on_write == conf::OnWrite::invalidate || mapping_->computed()) {
      args.insert(args.end(), {"DEL"});
    } else if (is_hash()) {
      args.insert(args.end(), {"HSET", "", policy_ttl(turn), change_.complete ? "1" : "0"});
      std::move(change_.copy.fields.begin(), change_.copy.fields.end(), std::back_inserter(args));
    } else {
      const bool own_ttl = !expiry_.option.empty();
      const std::string ttl = own_ttl ? std::to_string(expiry_.milliseconds) : policy_ttl(turn);
      args.insert(args.end(), {"SET", ttl == "0" ? "" : own_ttl ? expiry_.option : "PX", ttl, "1"});
      args.push_back(std::move(change_.copy.text));
    }
    return CallRedis{{std::move(command)}};
  }

  Finish acknowledgement(std::int64_t added) const {
    return request_.command->id == CommandId::hset ? finish_integer(added) : finish_ok();
  }

  std::string policy_ttl(const Turn& turn) const {
    return std::to_string(jittered(options_.ttl, options_.ttl_jitter, turn.random).count());
  }

  Step applied(const Event& event, Turn& turn) {
    const resp::Reply* const reply = reply_at(event, 0);
    if (reply == nullptr || reply->is_error()) {
      shared_.forgotten.add(request_.key);  // it is committed: the old copy burns down, or goes when Redis is back
    } else if (reply->integer == 0) {
      shared_.metrics.overlaps.add();
    }
    return end(std::move(reply_), turn);
  }

  Step abort(const std::string& error, Turn& turn) {
    state_ = State::awaiting_abort;
    reply_ = finish_error(error);
    return CallRedis{{{&fuse::abort(), {"2", request_.key, side_, token_, policy_ttl(turn)}}}};
  }

  Step invalidate(const std::string& error) {
    state_ = State::awaiting_inval;
    shared_.metrics.writes_unknown.add();
    reply_ = finish_error(error);
    return CallRedis{{{&fuse::inval(), {"2", request_.key, side_}}}};
  }

  Step invalidated(const Event& event, Turn& turn) {
    const resp::Reply* const reply = reply_at(event, 0);
    if (reply == nullptr || reply->is_error()) shared_.forgotten.add(request_.key);
    return end(std::move(reply_), turn);
  }

  Step end(Finish finish, Turn& turn) {
    shared_.queue.leave(request_.key, turn);
    return finish;
  }

  Shared& shared_;
  const conf::PolicyOptions& options_;
  const Request request_;
  const std::string side_;
  State state_ = State::awaiting_schema;
  TimePoint asked_, armed_at_;
  std::string token_;
  SetOptions expiry_;
  std::shared_ptr<const Mapping> mapping_;
  std::vector<sql::Bound> key_;
  Change change_;
  Finish reply_;  // once it is decided
};

// Drops the copies of keys that were written while Redis was away.
class DropForgotten : public Operation {
 public:
  DropForgotten(Shared& shared, std::vector<std::string> keys) : shared_(shared), keys_(std::move(keys)) {}

  Step start(Turn&) override {
    CallRedis call;
    for (const std::string& key : keys_) call.commands.push_back({&fuse::inval(), {"2", key, side_key(key)}});
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

class WriteThrough : public RowPolicy {
 public:
  explicit WriteThrough(const conf::PolicyOptions& options) : RowPolicy(options) {
    for (const CommandId id : {CommandId::set, CommandId::hset, CommandId::hmset}) set_handling(id, Handling::operate);
  }

  std::unique_ptr<Operation> begin(Request request) override {
    if (request.verb == Verb::command) return std::make_unique<Write>(shared(), std::move(request));
    return begin_read(std::move(request));
  }

  std::unique_ptr<Operation> due(TimePoint now) override {
    constexpr Milliseconds kPause{200};
    constexpr std::size_t kKeysAtOnce = 500;
    if (shared().forgotten.empty() || now < next_) return nullptr;
    next_ = now + kPause;
    return std::make_unique<DropForgotten>(shared(), shared().forgotten.take(kKeysAtOnce));
  }

 private:
  TimePoint next_;
};

}  // namespace

std::unique_ptr<Policy> make_write_through(const conf::PolicyOptions& options) {
  return std::make_unique<WriteThrough>(options);
}

}  // namespace sluice::policies

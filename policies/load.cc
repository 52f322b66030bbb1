// Load, see load.h: single flight -> lease -> SQL -> fill.
#include "policies/load.h"

#include <algorithm>
#include <utility>

#include "policies/fuse_scripts.h"
#include "policies/replies.h"
#include "policies/rights.h"

namespace sluice::policies {
namespace {

constexpr Milliseconds kPollMin{5};
constexpr Milliseconds kPollMax{50};

class Load : public Operation {
 public:
  Load(Shared& shared, Request request)
      : shared_(shared), options_(shared.options), request_(std::move(request)), side_(side_key(request_.key)) {}

  Step start(Turn& turn) override {
    shared_.metrics.misses.add();
    began_ = turn.now;
    token_ = make_token(turn);
    if (side_.empty()) return finish_error(key_without_side(options_));
    if (request_.redis_down && !may_bypass_redis()) return finish_error(upstream_unavailable(), true);
    redis_ = !request_.redis_down;
    if (request_.distrust) return drop_copy();
    return join(turn);
  }

  Step resume(Event event, Turn& turn) override {
    switch (state_) {
      case State::awaiting_drop:
        return copy_dropped(event, turn);
      case State::awaiting_flight:
        return flight_landed(turn);
      case State::awaiting_schema:
        return schema_known(event, turn);
      case State::awaiting_lease:
        return lease_answered(event, turn);
      case State::sleeping:
        return ask_lease(turn);
      case State::awaiting_slot:
        return slot_freed(turn);
      case State::awaiting_row:
        return row_read(event, turn);
      case State::awaiting_fill:
        return fill_answered(event, turn);
    }
    return Finish{};
  }

 private:
  enum class State : std::uint8_t {
    awaiting_drop,
    awaiting_flight,
    awaiting_schema,
    awaiting_lease,
    sleeping,
    awaiting_slot,
    awaiting_row,
    awaiting_fill,
  };

  // Without Redis nobody can say what this user may read.
  bool may_bypass_redis() const {
    const bool may_read = request_.acl_user.empty() || request_.distrust;  // then Redis has been asked
    return options_.on_redis_down == conf::OnRedisDown::sql && may_read;
  }
  const char* kind() const { return options_.value == conf::ValueMode::hash ? "H" : "S"; }

  // Nobody has asked Redis yet whether this user may read the key.
  Step drop_copy() {
    state_ = State::awaiting_drop;
    const bool asks = !request_.acl_user.empty() && !granted_;
    if (asks) return CallRedis{{ask_rights(request_.acl_user, request_.args)}};
    granted_ = true;
    return CallRedis{{{&fuse::inval(), {"2", request_.key, side_}}}};
  }

  Step copy_dropped(const Event& event, Turn& turn) {
    const resp::Reply* const reply = reply_at(event, 0);
    if (reply == nullptr) return finish_error(upstream_unavailable(), true);
    if (granted_) return join(turn);
    if (const auto denied = denial(*reply)) return finish_error(*denied);
    granted_ = true;
    return drop_copy();
  }

  Step join(Turn& turn) {
    if (shared_.flights.join(request_.key, turn.self)) return lead(turn);
    shared_.metrics.waits.add();
    state_ = State::awaiting_flight;
    return Park{};
  }

  Step flight_landed(Turn& turn) {
    const auto answer = shared_.flights.take(turn.self);
    if (!answer) return lead(turn);
    return finish(*answer, options_.value, request_.version);
  }

  Step lead(Turn& turn) {
    state_ = State::awaiting_schema;
    if (auto step = shared_.schema.ask(turn)) return *std::move(step);
    return map_key(turn);
  }

  Step schema_known(const Event& event, Turn& turn) {
    if (const auto error = shared_.schema.take(event, turn)) return land_sql_error(*error, turn);
    return map_key(turn);
  }

  Step map_key(Turn& turn) {
    mapping_ = shared_.schema.mapping();
    auto key = mapping_->key(request_.key);
    if (!key) return land({}, true, turn);  // no row can have this key: it stays absent, SQL is not asked
    key_ = std::move(*key);
    return redis_ ? ask_lease(turn) : take_slot(turn);
  }

  // Errors of a Redis that takes no writes now, which a plain GET would not meet.
  static bool refuses_writes(std::string_view error) {
    return error.starts_with("OOM ") || error.starts_with("READONLY ") || error.starts_with("MISCONF ") ||
           error.starts_with("NOREPLICAS ");
  }

  Step ask_lease(Turn& turn) {
    state_ = State::awaiting_lease;
    leased_at_ = turn.now;
    shared_.flights.seal(request_.key);
    return CallRedis{
        {{&fuse::lease(), {"2", request_.key, side_, token_, std::to_string(options_.load_timeout.count()), kind()}}}};
  }

  Step lease_answered(const Event& event, Turn& turn) {
    const resp::Reply* const reply = reply_at(event, 0);
    if (reply == nullptr) return without_redis(upstream_unavailable(), true, turn);
    if (reply->is_error()) {
      if (reply->text.starts_with("WRONGTYPE")) return land(failure(reply->text), true, turn);
      if (refuses_writes(reply->text)) {  // Redis is full or a replica: SQL has the row all the same
        shared_.flights.reopen(request_.key);
        return take_slot(turn);
      }
      return without_redis(reply->text, false, turn);
    }
    const std::string& verdict = item(*reply, 0).text;
    if (verdict == "HIT") return land(present(item(*reply, 1)), true, turn);
    if (verdict == "NEG") {
      shared_.metrics.negative_hits.add();
      return land({}, true, turn);
    }
    shared_.flights.reopen(request_.key);
    if (verdict == "WAIT") return wait_for_other(Milliseconds(item(*reply, 1).integer), turn);
    leased_ = true;
    return take_slot(turn);
  }

  // Another proxy reads this row. When that takes too long we read it too, and do not store it.
  Step wait_for_other(Milliseconds left, Turn& turn) {
    if (poll_ == Milliseconds(0)) shared_.metrics.waits.add();
    if (turn.now - began_ >= options_.load_timeout) return take_slot(turn);
    poll_ = std::clamp(poll_ * 2, kPollMin, kPollMax);
    state_ = State::sleeping;
    return Sleep{std::clamp(left, kPollMin, poll_)};
  }

  Step without_redis(const std::string& error, bool close, Turn& turn) {
    if (!may_bypass_redis()) {
      Answer answer = failure(error);
      answer.close = close;
      return land(std::move(answer), true, turn);
    }
    redis_ = false;
    shared_.flights.reopen(request_.key);
    return take_slot(turn);
  }

  Step take_slot(Turn& turn) {
    queued_at_ = leased_ ? leased_at_ : turn.now;
    switch (shared_.slots.acquire(turn.self)) {
      case LoadSlots::Got::now:
        return read_row(turn);
      case LoadSlots::Got::later:
        state_ = State::awaiting_slot;
        return Park{};
      case LoadSlots::Got::never:
        break;
    }
    return too_many_loads(turn);
  }

  Step slot_freed(Turn& turn) {
    if (turn.now - queued_at_ < options_.load_timeout) return read_row(turn);
    shared_.slots.release(turn);
    return too_many_loads(turn);
  }

  Step too_many_loads(Turn& turn) {
    shared_.metrics.load_errors.add();
    return give_up(failure(sql_failed(options_, {sql::Failure::unavailable, "", "too many loads wait for SQL"})), turn);
  }

  Step read_row(Turn& turn) {
    state_ = State::awaiting_row;
    Milliseconds left = options_.load_timeout;
    if (leased_) left -= std::chrono::duration_cast<Milliseconds>(turn.now - leased_at_);
    if (!redis_) shared_.flights.seal(request_.key);
    return CallSql{sql::ReadRow{options_.table, key_, mapping_->columns()}, std::max(left, Milliseconds(1))};
  }

  Step row_read(Event& event, Turn& turn) {
    shared_.slots.release(turn);
    sql::Result& result = std::get<SqlDone>(event).result;
    if (result.ok() && !result.rows.empty() && result.rows[0].size() != mapping_->columns().size()) {
      result.error = {sql::Failure::schema, "", "the row read has other columns than the table"};
    }
    if (!result.ok()) return sql_error(result.error, turn);
    std::optional<Copy> copy;
    if (!result.rows.empty()) copy = mapping_->copy(result.rows[0]);
    if (copy) until_ = mapping_->expiry(result.rows[0]);
    read_ = true;
    if (copy) answer_ = {Answer::Kind::value, std::move(*copy), {}, false};
    if (!redis_) return land(is_over() ? Answer{} : std::move(answer_), true, turn);
    return fill(answer_.kind == Answer::Kind::value ? "VALUE" : "ABSENT", turn);
  }

  // By our own clock: without Redis there is no other.
  bool is_over() const {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return until_ && *until_ <= std::chrono::duration_cast<Milliseconds>(now).count();
  }

  Step sql_error(const sql::Error& error, Turn& turn) {
    shared_.metrics.load_errors.add();
    if (error.failure == sql::Failure::schema) shared_.schema.forget();
    return give_up(sql_answer(error), turn);
  }

  // Nothing was read: the lease is given back, so that nobody waits for it.
  Step give_up(Answer answer, Turn& turn) {
    if (!leased_) return land(std::move(answer), true, turn);
    answer_ = std::move(answer);
    return fill("NONE", turn);
  }

  Step fill(const char* what, Turn& turn) {
    state_ = State::awaiting_fill;
    shared_.flights.seal(request_.key);
    const bool value = answer_.kind == Answer::Kind::value;
    const Milliseconds ttl = value ? jittered(options_.ttl, options_.ttl_jitter, turn.random) : options_.negative_ttl;
    RedisCommand command{&fuse::fill(),
                         {"2", request_.key, side_, token_, kind(), what, std::to_string(ttl.count()),
                          std::to_string(options_.fuse.count()), until_ ? std::to_string(*until_) : ""}};
    if (value && options_.value == conf::ValueMode::hash) {
      command.args.insert(command.args.end(), answer_.copy.fields.begin(), answer_.copy.fields.end());
    } else if (value) {
      command.args.push_back(answer_.copy.text);
    }
    return CallRedis{{std::move(command)}};
  }

  Step fill_answered(const Event& event, Turn& turn) {
    const resp::Reply* const reply = reply_at(event, 0);
    if (reply == nullptr || reply->is_error()) return land(std::move(answer_), !read_, turn);
    const std::string& verdict = item(*reply, 0).text;
    if (verdict == "PRESENT") return land(present(item(*reply, 1)), true, turn);
    if (verdict == "EXPIRED") answer_ = {};
    const bool stored = verdict == "STORED" || (verdict == "EXPIRED" && item(*reply, 1).integer == 1);
    if (leased_ && read_) (stored ? shared_.metrics.fills : shared_.metrics.fills_rejected).add();
    return land(std::move(answer_), stored || !read_, turn);
  }

  Answer present(const resp::Reply& value) const {
    Answer answer{Answer::Kind::value, {value.text, {}}, {}, false};
    for (const resp::Reply& item : value.items) answer.copy.fields.push_back(item.text);
    return answer;
  }

  static Answer failure(std::string error) { return {Answer::Kind::failed, {}, std::move(error), false}; }

  Answer sql_answer(const sql::Error& error) const {
    if (options_.on_sql_error == conf::OnSqlError::miss) return {};
    return failure(sql_failed(options_, error));
  }

  Step land_sql_error(const sql::Error& error, Turn& turn) {
    shared_.metrics.load_errors.add();
    return land(sql_answer(error), true, turn);
  }

  Step land(Answer answer, bool share, Turn& turn) {
    const auto landed = std::make_shared<const Answer>(std::move(answer));
    shared_.flights.land(request_.key, share ? landed : nullptr, turn);
    return finish(*landed, options_.value, request_.version);
  }

  Shared& shared_;
  const conf::PolicyOptions& options_;
  const Request request_;
  const std::string side_;
  State state_ = State::awaiting_flight;
  TimePoint began_;
  std::string token_;
  bool granted_ = false;  // the user's rights are known
  bool redis_ = true;     // ask and fill Redis
  bool leased_ = false;   // what is read may be stored
  bool read_ = false;     // SQL has answered
  TimePoint leased_at_;
  TimePoint queued_at_;   // since when the read has been waiting for its turn
  Milliseconds poll_{0};  // the last pause
  std::shared_ptr<const Mapping> mapping_;
  std::vector<sql::Bound> key_;
  Answer answer_;                      // while the fill is under way
  std::optional<std::int64_t> until_;  // when the row's time is over (ttl_column), as Unix time in milliseconds
};

}  // namespace

std::unique_ptr<Operation> make_load(Shared& shared, Request request) {
  return std::make_unique<Load>(shared, std::move(request));
}

}  // namespace sluice::policies

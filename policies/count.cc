// Counting: INCR and its kin, and GET of a counter that is not in Redis, which is loaded from SQL first.
#include <algorithm>
#include <utility>

#include "policies/counter_scripts.h"
#include "policies/counters.h"
#include "policies/replies.h"
#include "policies/rights.h"
#include "resp/integer.h"

namespace sluice::policies {
namespace {

using resp::CommandId;

constexpr Milliseconds kPollMin{5};
constexpr Milliseconds kPollMax{50};
constexpr const char* kIdleMs = "86400000";  // side keys of clean counters live that long

// The signed increment that a command asks for, or Redis' error.
Checked<std::string> parse_delta(CommandId command, const std::vector<std::string>& args) {
  const bool down = command == CommandId::decr || command == CommandId::decrby;
  if (command == CommandId::incr || command == CommandId::decr) return std::string(down ? "-1" : "1");
  const auto number = resp::parse_integer(args[2]);
  if (!number) return Why{std::string(kNotInteger)};
  if (!down) return std::to_string(*number);
  if (*number == INT64_MIN) return Why{"ERR decrement would overflow"};
  return std::to_string(-*number);
}

class Counting : public Operation {
 public:
  Counting(Counters& counters, Request request)
      : counters_(counters),
        shared_(counters.shared),
        options_(counters.shared.options),
        request_(std::move(request)),
        reads_(request_.verb == Verb::miss),
        side_(side_key(request_.key)) {}

  Step start(Turn& turn) override {
    began_ = turn.now;
    token_ = make_token(turn);
    if (reads_) {
      shared_.metrics.misses.add();
      if (request_.redis_down) return without_redis(turn);
    } else if (!request_.acl_user.empty()) {
      state_ = State::awaiting_rights;
      return CallRedis{{ask_rights(request_.acl_user, request_.args)}};
    }
    return begin();
  }

  Step resume(Event event, Turn& turn) override {
    switch (state_) {
      case State::awaiting_rights:
        return rights_known(event);
      case State::awaiting_result:
        return result(event, turn);
      case State::awaiting_gate:
      case State::sleeping:
        return try_again(turn);
      case State::awaiting_schema:
        return schema_known(event, turn);
      case State::awaiting_slot:
        return slot_freed(turn);
      case State::awaiting_value:
        return value_read(std::get<SqlDone>(event).result, turn);
      case State::awaiting_seed:
        return seeded(event, turn);
    }
    return Finish{};
  }

 private:
  enum class State : std::uint8_t {
    awaiting_rights,
    awaiting_result,
    awaiting_gate,
    sleeping,
    awaiting_schema,
    awaiting_slot,
    awaiting_value,
    awaiting_seed,
  };

  Step rights_known(const Event& event) {
    const resp::Reply* const rights = reply_at(event, 0);
    if (rights == nullptr) return finish_error(upstream_unavailable(), true);
    if (const auto denied = denial(*rights)) return finish_error(*denied);
    return begin();
  }

  Step begin() {
    if (side_.empty()) return finish_error(key_without_side(options_));
    if (!reads_) {
      if (!request_.command->arity_fits(request_.args.size())) return finish_error(wrong_arity(request_.command->name));
      auto delta = parse_delta(request_.command->id, request_.args);
      if (!delta) return finish_error(delta.why());
      delta_ = std::move(*delta);
    }
    return attempt();
  }

  Step attempt() {
    state_ = State::awaiting_result;
    const std::string lease_ms = std::to_string(options_.load_timeout.count());
    if (reads_) return CallRedis{{{&counters::load(), {"2", request_.key, side_, token_, lease_ms}}}};
    return CallRedis{{{&counters::add(), {"3", request_.key, side_, counters_.dirty_key, delta_, token_, lease_ms}}}};
  }

  Step result(const Event& event, Turn& turn) {
    using Type = resp::Reply::Type;
    const resp::Reply* const reply = reply_at(event, 0);
    if (reply == nullptr) return lost(event, turn);
    if (reply->is_error()) return end(finish_error(reply->text), turn);
    if (reply->type != Type::array) return counted(*reply, turn);
    const std::string& verdict = item(*reply, 0).text;
    if (verdict == "HIT") return end(found(item(*reply, 1).text), turn);
    if (verdict == "WAIT") return wait_for_other(Milliseconds(item(*reply, 1).integer), turn);
    inc_ = item(*reply, 1).text;
    n_ = resp::parse_integer(item(*reply, 2).text).value_or(0);
    return seed(turn);
  }

  Step counted(const resp::Reply& reply, Turn& turn) {
    shared_.metrics.increments.add();
    counters_.ledger.touched();
    const auto value = reply.type == resp::Reply::Type::integer ? reply.integer : resp::parse_integer(reply.text);
    return end(finish_integer(value.value_or(0)), turn);
  }

  Finish found(const std::string& value) const {
    Finish finish;
    resp::append_bulk(finish.reply, value);
    return finish;
  }

  Finish absent() const {
    if (options_.missing == conf::Missing::zero) return found("0");
    Finish finish;
    resp::append_nil(finish.reply, request_.version);
    return finish;
  }

  // An increment that may have reached Redis is not sent again, and nobody can say what became of it.
  Step lost(const Event& event, Turn& turn) {
    if (reads_) return without_redis(turn);
    const auto* const loss = std::get_if<RedisLost>(&event);
    if (loss != nullptr && !loss->sent) return end(finish_error(upstream_unavailable(), true), turn);
    return end(Finish{{}, true}, turn);
  }

  Step without_redis(Turn& turn) {
    if (options_.on_redis_down != conf::OnRedisDown::sql || !request_.acl_user.empty()) {
      return end(finish_error(upstream_unavailable(), true), turn);
    }
    redis_ = false;
    return seed(turn);
  }

  Step wait_for_other(Milliseconds left, Turn& turn) {
    if (turn.now - began_ >= options_.load_timeout) return too_late(turn);
    if (poll_ == Milliseconds(0)) shared_.metrics.waits.add();
    poll_ = std::clamp(poll_ * 2, kPollMin, kPollMax);
    if (counters_.gate.wait(request_.key, turn.self)) {
      state_ = State::awaiting_gate;
      return Park{};
    }
    state_ = State::sleeping;
    return Sleep{std::clamp(left, kPollMin, poll_)};
  }

  Step try_again(Turn& turn) {
    if (turn.now - began_ >= 2 * options_.load_timeout) return too_late(turn);
    return attempt();
  }

  Step too_late(Turn& turn) {
    const sql::Error error{sql::Failure::unavailable, "", "the counter could not be loaded in time"};
    return end(finish_error(sql_failed(options_, error)), turn);
  }

  Step seed(Turn& turn) {
    loads_ = redis_ && counters_.gate.open(request_.key);
    leased_at_ = turn.now;
    state_ = State::awaiting_schema;
    if (auto step = shared_.schema.ask(turn)) return *std::move(step);
    return map_key(turn);
  }

  Step schema_known(const Event& event, Turn& turn) {
    if (const auto error = shared_.schema.take(event, turn)) return sql_error(*error, turn);
    return map_key(turn);
  }

  Step map_key(Turn& turn) {
    auto key = shared_.schema.mapping()->key(request_.key);
    if (!key) return give_up(reads_ ? absent() : finish_error(not_fitting(options_, key.why())), turn);
    key_ = std::move(*key);
    if (shared_.breaker.refuses(turn.now)) return sql_error(shared_.breaker.refuse(), turn);
    switch (shared_.slots.acquire(turn.self)) {
      case LoadSlots::Got::now:
        return read_value(turn);
      case LoadSlots::Got::later:
        state_ = State::awaiting_slot;
        return Park{};
      case LoadSlots::Got::never:
        break;
    }
    return sql_error({sql::Failure::unavailable, "", "too many loads wait for SQL"}, turn);
  }

  Step slot_freed(Turn& turn) {
    if (turn.now - leased_at_ < options_.load_timeout) return read_value(turn);
    shared_.slots.release(turn);
    return sql_error({sql::Failure::unavailable, "", "too many loads wait for SQL"}, turn);
  }

  Step read_value(Turn& turn) {
    const auto spent = std::chrono::duration_cast<Milliseconds>(turn.now - leased_at_);
    const auto left = std::max(options_.load_timeout - spent, Milliseconds(1));
    pass_ = shared_.breaker.ask(turn.now, left);
    if (!pass_) {
      shared_.slots.release(turn);
      return sql_error(shared_.breaker.refuse(), turn);
    }
    state_ = State::awaiting_value;
    std::vector<sql::Value> key;
    for (sql::Bound& bound : key_) key.push_back(std::move(bound.value));
    return CallSql{sql::ReadCounter{counters_.table, std::move(key), request_.key, inc_}, left};
  }

  Step value_read(const sql::Result& read, Turn& turn) {
    shared_.slots.release(turn);
    shared_.breaker.report(*pass_, read.error, turn);
    if (!read.ok()) return sql_error(read.error, turn);
    if (read.rows.empty() || read.rows[0].size() < 3) return bad_total(turn);
    const sql::Row& row = read.rows[0];
    const bool no_row = std::holds_alternative<std::monostate>(row[0]);
    const auto* const total = std::get_if<std::int64_t>(&row[0]);
    const auto* const t = std::get_if<std::int64_t>(&row[1]);
    const auto* const n = std::get_if<std::int64_t>(&row[2]);
    if (total == nullptr && !no_row) return bad_total(turn);
    if (reads_ && no_row && n_ <= (n == nullptr ? 0 : *n)) {
      found_nothing_ = true;
      return give_up(absent(), turn);
    }
    if (!redis_) return end(found(std::to_string(no_row ? 0 : *total)), turn);
    std::int64_t base = 0;
    if (__builtin_sub_overflow(no_row ? 0 : *total, t == nullptr ? 0 : *t, &base)) return bad_total(turn);
    return send_seed(std::to_string(base), turn);
  }

  Step bad_total(Turn& turn) {
    return give_up(finish_error(not_fitting(options_, "the total in SQL is not an integer of 64 bits")), turn);
  }

  Step sql_error(const sql::Error& error, Turn& turn) {
    shared_.metrics.load_errors.add();
    if (error.failure == sql::Failure::schema) shared_.schema.forget();
    const bool miss = reads_ && options_.on_sql_error == conf::OnSqlError::miss;
    return give_up(miss ? absent() : finish_error(sql_failed(options_, error)), turn);
  }

  // Nothing to load: the lease is given back before the reply.
  Step give_up(Finish reply, Turn& turn) {
    if (!redis_) return end(std::move(reply), turn);
    reply_ = std::move(reply);
    return send_seed("", turn);
  }

  Step send_seed(const std::string& base, Turn& turn) {
    state_ = State::awaiting_seed;
    const std::string fresh = make_token(turn);
    return CallRedis{{{&counters::seed(), {"2", request_.key, side_, token_, inc_, fresh, base, kIdleMs}}}};
  }

  Step seeded(const Event& event, Turn& turn) {
    const resp::Reply* const reply = reply_at(event, 0);
    // Who lost the lease may have missed a value that is there by now.
    const bool look_again = std::exchange(found_nothing_, false) && reply != nullptr && reply->text == "LOST";
    if (reply_ && !look_again) return end(*std::move(reply_), turn);
    reply_.reset();
    if (reply == nullptr) return end(finish_error(upstream_unavailable(), true), turn);
    if (reply->is_error()) return end(finish_error(reply->text), turn);
    if (reply->text == "OK") shared_.metrics.fills.add();
    close_gate(turn);
    return try_again(turn);
  }

  void close_gate(Turn& turn) {
    if (std::exchange(loads_, false)) counters_.gate.close(request_.key, turn);
  }

  Step end(Finish finish, Turn& turn) {
    close_gate(turn);
    return finish;
  }

  Counters& counters_;
  Shared& shared_;
  const conf::PolicyOptions& options_;
  const Request request_;
  const bool reads_;  // GET rather than an increment
  const std::string side_;
  State state_ = State::awaiting_result;
  TimePoint began_, leased_at_;
  std::string token_, delta_;
  bool redis_ = true;
  bool loads_ = false;    // others wait at the gate for us
  Milliseconds poll_{0};  // the last pause
  std::string inc_;       // the incarnation that is being loaded; empty: a new one
  std::int64_t n_ = 0;    // its changes
  std::vector<sql::Bound> key_;
  std::optional<Breaker::Pass> pass_;  // of the query that SQL works on
  bool found_nothing_ = false;         // SQL has no row
  std::optional<Finish> reply_;        // decided while the lease is given back
};

}  // namespace

std::unique_ptr<Operation> make_count(Counters& counters, Request request) {
  return std::make_unique<Counting>(counters, std::move(request));
}

}  // namespace sluice::policies

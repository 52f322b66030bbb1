// STATUS of a counter: what Redis shows, what SQL holds, and what is still on its way.
#include <cstdlib>
#include <utility>

#include "policies/counters.h"
#include "policies/inspect.h"
#include "policies/replies.h"
#include "policies/rights.h"
#include "policies/text.h"
#include "resp/integer.h"

namespace sluice::policies {
namespace {

class CounterStatus : public Operation {
 public:
  CounterStatus(Counters& counters, Request request)
      : counters_(counters), options_(counters.shared.options), request_(std::move(request)) {}

  Step start(Turn&) override {
    if (side_key(request_.key).empty()) return finish_error(key_without_side(options_));
    if (request_.acl_user.empty()) return look();
    state_ = State::awaiting_rights;
    return CallRedis{{ask_rights(request_.acl_user, {"GET", request_.key})}};
  }

  Step resume(Event event, Turn& turn) override {
    switch (state_) {
      case State::awaiting_rights:
        return rights_known(event);
      case State::awaiting_redis:
        return redis_read(event, turn);
      case State::awaiting_schema:
        return schema_known(event, turn);
      case State::awaiting_value:
        return value_read(std::get<SqlDone>(event).result);
    }
    return Finish{};
  }

 private:
  enum class State : std::uint8_t { awaiting_rights, awaiting_redis, awaiting_schema, awaiting_value };

  Step rights_known(const Event& event) {
    const resp::Reply* const rights = reply_at(event, 0);
    if (rights == nullptr) return finish_error(upstream_unavailable(), true);
    if (const auto denied = denial(*rights)) return finish_error(*denied);
    return look();
  }

  Step look() {
    state_ = State::awaiting_redis;
    return CallRedis{{{nullptr, {"GET", request_.key}},
                      {nullptr, {"HMGET", side_key(request_.key), "inc", "t", "base", "f"}},
                      {nullptr, {"ZSCORE", counters_.dirty_key, request_.key}},
                      {nullptr, {"TIME"}}}};
  }

  Step redis_read(const Event& event, Turn& turn) {
    if (reply_at(event, 3) == nullptr) {
      status_.last_error = upstream_unavailable();
    } else {
      const resp::Reply& shown = *reply_at(event, 0);
      if (shown.is_error()) status_.last_error = shown.text;
      if (!shown.is_error() && !shown.is_nil()) status_.redis = Copy{shown.text, {}};
      take_side(*reply_at(event, 1));
      take_age(*reply_at(event, 2), *reply_at(event, 3));
    }
    state_ = State::awaiting_schema;
    if (auto step = counters_.shared.schema.ask(turn)) return *std::move(step);
    return read_value();
  }

  void take_side(const resp::Reply& side) {
    inc_ = item(side, 0).text;
    t_ = resp::parse_integer(item(side, 1).text).value_or(0);
    base_ = resp::parse_integer(item(side, 2).text);
    if (const auto flushed = resp::parse_integer(item(side, 3).text)) status_.last_flush = utc_of_ms(*flushed);
  }

  void take_age(const resp::Reply& score, const resp::Reply& time) {
    if (score.type != resp::Reply::Type::bulk) return;
    const auto now = resp::parse_integer(item(time, 0).text).value_or(0) * 1000 +
                     resp::parse_integer(item(time, 1).text).value_or(0) / 1000;
    const auto since = static_cast<std::int64_t>(std::strtod(score.text.c_str(), nullptr));
    status_.dirty_age_ms = now > since ? now - since : 0;
    const std::string error = counters_.ledger.error_of(request_.key);
    if (!error.empty()) status_.last_error = error;
  }

  Step schema_known(const Event& event, Turn& turn) {
    if (const auto error = counters_.shared.schema.take(event, turn)) return sql_error(*error);
    return read_value();
  }

  Step read_value() {
    const auto key = counters_.shared.schema.mapping()->key(request_.key);
    if (!key) return finish_error(not_fitting(options_, key.why()));
    sql::ReadCounter read{counters_.table, {}, request_.key, inc_};
    for (const sql::Bound& bound : *key) read.key.push_back(bound.value);
    state_ = State::awaiting_value;
    return CallSql{std::move(read), options_.load_timeout};
  }

  Step value_read(const sql::Result& result) {
    if (!result.ok()) return sql_error(result.error);
    const sql::Row row = result.rows.empty() ? sql::Row(3) : result.rows[0];
    const auto* const value = row.empty() ? nullptr : std::get_if<std::int64_t>(&row[0]);
    const auto* const t_sql = row.size() < 2 ? nullptr : std::get_if<std::int64_t>(&row[1]);
    if (value != nullptr) status_.sql = Copy{std::to_string(*value), {}};
    const std::int64_t flushed = t_sql == nullptr ? 0 : *t_sql;
    std::int64_t total = t_;
    bool overflows = false;
    if (base_) overflows = __builtin_add_overflow(*base_, t_, &total);
    const std::int64_t known = base_ ? (value == nullptr ? 0 : *value) : flushed;
    if (!inc_.empty()) overflows |= __builtin_sub_overflow(total, known, &status_.pending);
    if (overflows) status_.pending = INT64_MAX;
    status_.synced = !status_.dirty_age_ms && status_.pending == 0;
    return finish_status(options_, status_, request_.version);
  }

  Step sql_error(const sql::Error& error) {
    if (error.failure == sql::Failure::schema) counters_.shared.schema.forget();
    status_.last_error = sql_failed(options_, error);
    return finish_status(options_, status_, request_.version);
  }

  Counters& counters_;
  const conf::PolicyOptions& options_;
  const Request request_;
  State state_ = State::awaiting_rights;
  Status status_;
  std::string inc_;
  std::int64_t t_ = 0;
  std::optional<std::int64_t> base_;
};

}  // namespace

std::unique_ptr<Operation> make_counter_status(Counters& counters, Request request) {
  return std::make_unique<CounterStatus>(counters, std::move(request));
}

}  // namespace sluice::policies

// SET of a counter: an absolute value, dirty like an increment, not synchronous.
#include <utility>

#include "policies/counter_scripts.h"
#include "policies/counters.h"
#include "policies/replies.h"
#include "policies/rights.h"
#include "resp/integer.h"

namespace sluice::policies {
namespace {

class CounterSet : public Operation {
 public:
  CounterSet(Counters& counters, Request request)
      : counters_(counters), options_(counters.shared.options), request_(std::move(request)) {}

  Step start(Turn& turn) override {
    if (request_.acl_user.empty()) return begin(turn);
    state_ = State::awaiting_rights;
    return CallRedis{{ask_rights(request_.acl_user, {"SET", request_.key, ""})}};
  }

  Step resume(Event event, Turn& turn) override {
    switch (state_) {
      case State::awaiting_rights:
        return rights_known(event, turn);
      case State::awaiting_schema:
        return schema_known(event, turn);
      case State::awaiting_set:
        return set(event);
    }
    return Finish{};
  }

 private:
  enum class State : std::uint8_t { awaiting_rights, awaiting_schema, awaiting_set };

  Step rights_known(const Event& event, Turn& turn) {
    const resp::Reply* const rights = reply_at(event, 0);
    if (rights == nullptr) return finish_error(upstream_unavailable(), true);
    if (const auto denied = denial(*rights)) return finish_error(*denied);
    return begin(turn);
  }

  Step begin(Turn& turn) {
    const auto& args = request_.args;
    if (args.size() < 3) return finish_error(wrong_arity("set"));
    if (side_key(request_.key).empty()) return finish_error(key_without_side(options_));
    if (args.size() > 3) return finish_error(not_supported(options_, "SET with options is", ""));
    if (!resp::parse_integer(args[2])) return finish_error(kNotInteger);
    state_ = State::awaiting_schema;
    if (auto step = counters_.shared.schema.ask(turn)) return *std::move(step);
    return send(turn);
  }

  Step schema_known(const Event& event, Turn& turn) {
    if (const auto error = counters_.shared.schema.take(event, turn)) {
      return finish_error(sql_failed(options_, *error));
    }
    return send(turn);
  }

  Step send(Turn& turn) {
    const auto key = counters_.shared.schema.mapping()->key(request_.key);
    if (!key) return finish_error(not_fitting(options_, key.why()));
    state_ = State::awaiting_set;
    return CallRedis{
        {{&counters::set(),
          {"3", request_.key, side_key(request_.key), counters_.dirty_key, request_.args[2], make_token(turn)}}}};
  }

  Step set(const Event& event) {
    const resp::Reply* const reply = reply_at(event, 0);
    if (reply != nullptr && reply->is_error()) return finish_error(reply->text);
    if (reply != nullptr) {
      counters_.ledger.touched();
      return finish_ok();
    }
    const auto* const loss = std::get_if<RedisLost>(&event);
    if (loss != nullptr && !loss->sent) return finish_error(upstream_unavailable(), true);
    return Finish{{}, true};
  }

  Counters& counters_;
  const conf::PolicyOptions& options_;
  const Request request_;
  State state_ = State::awaiting_rights;
};

}  // namespace

std::unique_ptr<Operation> make_counter_set(Counters& counters, Request request) {
  return std::make_unique<CounterSet>(counters, std::move(request));
}

}  // namespace sluice::policies

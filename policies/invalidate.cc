// INVALIDATE: forgets cached copies, leases and negative markers, of one key or of all that match a pattern.
#include <algorithm>
#include <utility>

#include "policies/fuse_scripts.h"
#include "policies/inspect.h"
#include "policies/replies.h"
#include "policies/rights.h"

namespace sluice::policies {
namespace {

constexpr std::string_view kSidePrefix = "__sluice:{";
constexpr const char* kKeysAtOnce = "500";

// Whether a key with this prefix may match the pattern.
bool may_match(std::string_view pattern, std::string_view prefix) {
  const std::string_view literal = pattern.substr(0, pattern.find_first_of("*?[\\"));
  return literal.starts_with(prefix) || prefix.starts_with(literal);
}

// The key that a side key belongs to; empty when it is none.
std::string key_of_side(std::string_view side) {
  const auto end = side.find("}:");
  if (!side.starts_with(kSidePrefix) || end == std::string_view::npos) return {};
  std::string key(side.substr(end + 2));
  return side_key(key) == side ? key : std::string();
}

class Invalidation : public Operation {
 public:
  Invalidation(Shared& shared, Request request)
      : shared_(shared), request_(std::move(request)), by_pattern_(is_pattern(request_.key)) {}

  Step start(Turn&) override {
    if (by_pattern_) return may_match(request_.key, shared_.options.key.prefix()) ? scan({}, "0") : finish();
    if (side_key(request_.key).empty()) return finish_error(key_without_side(shared_.options));
    if (request_.acl_user.empty()) return drop_one();
    state_ = State::awaiting_rights;
    return CallRedis{{ask_rights(request_.acl_user, {"GET", request_.key})}};
  }

  Step resume(Event event, Turn&) override {
    switch (state_) {
      case State::awaiting_rights:
        return rights_known(event);
      case State::awaiting_drop:
        return dropped(event);
      case State::awaiting_page:
        return page(event);
    }
    return Finish{};
  }

 private:
  enum class State : std::uint8_t { awaiting_rights, awaiting_drop, awaiting_page };

  Step rights_known(const Event& event) {
    const resp::Reply* const rights = reply_at(event, 0);
    if (rights == nullptr) return finish_error(upstream_unavailable(), true);
    if (const auto denied = denial(*rights)) return finish_error(*denied);
    return drop_one();
  }

  Step drop_one() {
    state_ = State::awaiting_drop;
    return CallRedis{{drop(request_.key)}};
  }

  static RedisCommand drop(const std::string& key) { return {&fuse::inval(), {"2", key, side_key(key)}}; }

  // Sends `call`, and behind it the next page of side keys, or of keys. Those are looked through last: a fill that
  // began before has its lease among the side keys until it makes the key, and one or the other is there to be found.
  Step scan(CallRedis call, const std::string& cursor) {
    state_ = State::awaiting_page;
    const std::string match = sides_ ? "__sluice:{*}:" + request_.key : request_.key;
    call.commands.push_back({nullptr, {"SCAN", cursor, "MATCH", match, "COUNT", kKeysAtOnce}});
    return call;
  }

  Step page(const Event& event) {
    const auto* replies = std::get_if<RedisReplies>(&event);
    if (replies == nullptr || replies->replies.empty()) return finish_error(upstream_unavailable(), true);
    const resp::Reply& found = replies->replies.back();
    if (found.is_error()) return finish_error(found.text);
    count(*replies, replies->replies.size() - 1);
    CallRedis call = drop_all(item(found, 1));
    const std::string& cursor = item(found, 0).text;
    if (cursor != "0") return scan(std::move(call), cursor);
    if (!std::exchange(sides_, false)) return finish_dropping(std::move(call));
    return scan(std::move(call), "0");
  }

  CallRedis drop_all(const resp::Reply& names) {
    CallRedis call;
    std::vector<std::string_view> values;
    for (const resp::Reply& name : names.items) {
      const std::string key = sides_ ? key_of_side(name.text) : name.text;
      if (!shared_.options.key.match(key, values) || side_key(key).empty()) continue;
      call.commands.push_back(drop(key));
    }
    return call;
  }

  Step finish_dropping(CallRedis call) {
    if (call.commands.empty()) return finish();
    state_ = State::awaiting_drop;
    return call;
  }

  Step dropped(const Event& event) {
    const auto* replies = std::get_if<RedisReplies>(&event);
    if (replies == nullptr) return finish_error(upstream_unavailable(), true);
    count(*replies, replies->replies.size());
    return finish();
  }

  // The first replies are those to drop(). What could not be dropped does not keep the rest from being dropped.
  void count(const RedisReplies& replies, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      const resp::Reply& reply = replies.replies[i];
      if (reply.is_error() && error_.empty()) error_ = reply.text;
      dropped_ += reply.integer;
    }
  }

  Step finish() const { return error_.empty() ? finish_integer(dropped_) : finish_error(error_); }

  Shared& shared_;
  const Request request_;
  const bool by_pattern_;
  bool sides_ = true;  // the side keys are being looked through; the keys come next
  State state_ = State::awaiting_page;
  std::int64_t dropped_ = 0;
  std::string error_;  // the first of what could not be dropped
};

}  // namespace

bool is_pattern(std::string_view key) { return key.find_first_of("*?[") != std::string_view::npos; }

std::unique_ptr<Operation> make_invalidation(Shared& shared, Request request) {
  if (request.key.empty()) request.key = shared.options.key.prefix() + "*";
  return std::make_unique<Invalidation>(shared, std::move(request));
}

}  // namespace sluice::policies

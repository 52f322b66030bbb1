// PolicyRedis: greeting, gathering, pipelining and parsing with hiredis' reader.
#include "proxy/policy_redis.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include <hiredis/hiredis.h>

#include "resp/encode.h"

namespace sluice::proxy {
namespace {

using policies::RedisCommand;
using resp::Reply;

constexpr std::size_t kEarlyCallsMax = 10000;
constexpr std::size_t kUnwrittenBytesMax = 256UL << 20;
// A call of a script holds up everybody else in Redis: this many keys take it less than a millisecond.
constexpr std::size_t kBatchPlacesMax = 64;
constexpr std::size_t kBatchBytesMax = 256UL << 10;
constexpr const char* kNoScript = "NOSCRIPT";

Reply decode(const redisReply& from) {
  Reply to;
  switch (from.type) {
    case REDIS_REPLY_STATUS:
      to.type = Reply::Type::status;
      break;
    case REDIS_REPLY_ERROR:
      to.type = Reply::Type::error;
      break;
    case REDIS_REPLY_INTEGER:
      to.type = Reply::Type::integer;
      to.integer = from.integer;
      return to;
    case REDIS_REPLY_STRING:
      to.type = Reply::Type::bulk;
      break;
    case REDIS_REPLY_ARRAY:
      to.type = Reply::Type::array;
      to.items.reserve(from.elements);
      for (std::size_t i = 0; i < from.elements; ++i) to.items.push_back(decode(*from.element[i]));
      return to;
    default:
      return to;  // nil
  }
  to.text.assign(from.str, from.len);
  return to;
}

std::size_t bytes_of(const RedisCommand& command) {
  std::size_t bytes = 0;
  for (const std::string& arg : command.args) bytes += arg.size();
  return bytes;
}

std::size_t number_of(const policies::Script& script) {
  const auto& all = policies::all_scripts();
  return static_cast<std::size_t>(std::find(all.begin(), all.end(), &script) - all.begin());
}

}  // namespace

PolicyRedis::PolicyRedis(EventLoop& loop, const conf::UpstreamOptions& options, std::chrono::milliseconds patience,
                         policies::Count& sent, std::vector<ScriptCounts>& scripts)
    : Flushable(Order::first),
      loop_(loop),
      sent_(sent),
      scripts_(scripts),
      options_(options),
      patience_(patience),
      link_(loop, options.endpoint, options.connect_timeout, *this),
      reader_(redisReaderCreate(), redisReaderFree) {}

PolicyRedis::~PolicyRedis() { close(); }

void PolicyRedis::connect() {
  loop_.cancel(retry_);
  reader_.reset(redisReaderCreate());
  link_.connect();
}

void PolicyRedis::close() {
  closed_ = true;
  ready_ = false;
  loop_.cancel(retry_);
  loop_.cancel(watch_);
  loop_.forget(*this);
  link_.close();
}

void PolicyRedis::call(std::vector<RedisCommand> commands, Done done) {
  assert(!commands.empty());
  auto call = std::make_shared<Call>();
  call->commands = std::move(commands);
  call->unanswered = call->commands.size();
  call->replies.resize(call->unanswered);
  call->done = std::move(done);
  if (ready_ && link_.unwritten() < kUnwrittenBytesMax) {
    issue(call);
  } else if (link_.state() != Link::State::closed && early_.size() < kEarlyCallsMax) {
    early_.push_back(std::move(call));
  } else {
    lose(call);
  }
}

void PolicyRedis::lose(const std::shared_ptr<Call>& call) {
  if (!call->done) return;
  loop_.after(std::chrono::milliseconds(0), [done = std::exchange(call->done, nullptr), sent = call->sent] {
    done({{}, true, sent});
  });
}

void PolicyRedis::lose(const Batch& batch) {
  for (const Place& place : batch.places) lose(place.call);
}

// In line for the flush before the link is: what is gathered leaves in the same write.
void PolicyRedis::issue(const std::shared_ptr<Call>& call) {
  loop_.flush_later(*this);
  for (std::size_t at = 0; at < call->commands.size(); ++at) {
    const policies::Script* const script = call->commands[at].script;
    if (script != nullptr && script->batch) {
      gather({call, at});
    } else {
      send({{{call, at}}});
    }
  }
}

void PolicyRedis::gather(Place place) {
  const std::size_t bytes = bytes_of(place.command());
  Batch& batch = batch_for(place.command());
  if (!batch.places.empty() && batch.bytes + bytes > kBatchBytesMax) send(std::exchange(batch, {}));
  batch.places.push_back(std::move(place));
  batch.bytes += bytes;
  if (batch.places.size() == kBatchPlacesMax || batch.bytes >= kBatchBytesMax) send(std::exchange(batch, {}));
}

// Where the command is gathered. All keys of one call must be on one server: with several of them, there would be a
// batch for each script and hash slot.
PolicyRedis::Batch& PolicyRedis::batch_for(const RedisCommand& command) {
  const std::size_t number = number_of(*command.script);
  if (gathered_.size() <= number) gathered_.resize(number + 1);
  return gathered_[number];
}

void PolicyRedis::flush_turn() {
  for (Batch& batch : gathered_) {
    if (!batch.places.empty()) send(std::exchange(batch, {}));
  }
}

void PolicyRedis::send(Batch batch) {
  sent_.add();
  if (const policies::Script* script = batch.script()) {
    ScriptCounts& counts = scripts_[number_of(*script)];
    counts.calls.add();
    counts.runs.add(batch.places.size());
  }
  for (const Place& place : batch.places) place.call->sent = true;
  write(std::move(batch), policies::ScriptBy::digest);
}

void PolicyRedis::write(Batch batch, policies::ScriptBy by) {
  wire_.clear();
  if (batch.script() == nullptr) {
    resp::append_command(wire_, batch.places.front().command().args);
  } else {
    std::vector<const RedisCommand*> commands;
    commands.reserve(batch.places.size());
    for (const Place& place : batch.places) commands.push_back(&place.command());
    policies::append_script_call(wire_, commands, by);
  }
  link_.send(wire_);
  batch.sent_at = loop_.now();
  pending_.push(std::move(batch));
  if (!watched_) watch(patience_);
}

// One timer for all that is sent while it runs.
void PolicyRedis::watch(std::chrono::milliseconds delay, bool again) {
  watched_ = true;
  watch_ = loop_.after(delay, [this, again] {
    watched_ = false;
    look_whether_silent(again);
  });
}

// A connection that swallows everything and a Redis that hangs look alike; nobody can wait for either for ever. Looks
// again after what has arrived meanwhile was read: it may be this process that stood still.
void PolicyRedis::look_whether_silent(bool again) {
  if (pending_.empty()) return;
  const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - pending_.front().sent_at);
  if (waited < patience_) return watch(patience_ - waited);
  if (!again) return watch(std::chrono::milliseconds(1), true);
  link_.close();
  link_down("Redis has not answered for " + std::to_string(waited.count()) + " ms");
}

void PolicyRedis::link_up() { greet(); }

void PolicyRedis::greet() {
  auto call = std::make_shared<Call>();
  if (!options_.password.empty()) {
    call->commands.push_back({nullptr, {"AUTH"}});
    auto& auth = call->commands.back().args;
    if (!options_.user.empty()) auth.push_back(options_.user);
    auth.push_back(options_.password);
  }
  if (options_.db != 0) call->commands.push_back({nullptr, {"SELECT", std::to_string(options_.db)}});
  for (const policies::Script* script : policies::all_scripts()) {
    call->commands.push_back({nullptr, {"SCRIPT", "LOAD", script->text}});
  }
  call->commands.push_back({nullptr, {"PING"}});
  call->unanswered = call->commands.size();
  call->replies.resize(call->unanswered);
  call->done = [this](const Outcome& outcome) { greeted(outcome); };
  issue(call);
}

void PolicyRedis::greeted(const Outcome& outcome) {
  if (outcome.lost) return;
  for (const Reply& reply : outcome.replies) {
    if (!reply.is_error()) continue;
    link_.close();
    return link_down("Redis refuses the proxy's own connection: " + reply.text);
  }
  ready_ = true;
  why_down_.clear();
  backoff_.reset();
  for (auto& call : std::exchange(early_, {})) issue(call);
  if (changed_) changed_();
}

void PolicyRedis::link_read(std::string_view bytes) {
  redisReaderFeed(reader_.get(), bytes.data(), bytes.size());
  while (link_.state() == Link::State::up) {
    void* reply = nullptr;
    if (redisReaderGetReply(reader_.get(), &reply) != REDIS_OK || (reply != nullptr && pending_.empty())) {
      if (reply != nullptr) freeReplyObject(reply);
      link_.close();
      return link_down("Redis sent what is not a reply");
    }
    if (reply == nullptr) return;
    take(decode(*static_cast<redisReply*>(reply)));
    freeReplyObject(reply);
  }
}

// SCRIPT FLUSH made Redis forget scripts. They did not run; sending their text runs them and loads them again.
void PolicyRedis::take(Reply reply) {
  Batch batch = std::move(pending_.front());
  pending_.pop();
  const policies::Script* const script = batch.script();
  if (script == nullptr) return answer(batch.places.front(), std::move(reply));
  if (reply.is_error() && reply.text.starts_with(kNoScript)) {
    return write(std::move(batch), policies::ScriptBy::text);
  }
  auto replies = policies::split_reply(*script, std::move(reply), batch.places.size());
  for (std::size_t i = 0; i < replies.size(); ++i) answer(batch.places[i], std::move(replies[i]));
}

void PolicyRedis::answer(const Place& place, Reply reply) {
  Call& call = *place.call;
  call.replies[place.at] = std::move(reply);
  if (--call.unanswered != 0 || !call.done) return;
  std::exchange(call.done, nullptr)({std::move(call.replies), false, true});
}

void PolicyRedis::link_down(const std::string& reason) {
  ready_ = false;
  why_down_ = reason;
  for (; !pending_.empty(); pending_.pop()) lose(std::exchange(pending_.front(), {}));
  for (const Batch& batch : std::exchange(gathered_, {})) lose(batch);
  for (const auto& call : std::exchange(early_, {})) lose(call);
  if (changed_) changed_();
  if (!closed_) retry_ = loop_.after(backoff_.next(), [this] { connect(); });
}

}  // namespace sluice::proxy

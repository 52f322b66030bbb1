// PolicyRedis: greeting, pipelining and parsing with hiredis' reader.
#include "proxy/policy_redis.h"

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

void append(std::string& wire, const RedisCommand& command, bool by_text) {
  if (command.script == nullptr) return resp::append_command(wire, command.args);
  resp::append_array_header(wire, command.args.size() + 2);
  resp::append_bulk(wire, by_text ? "EVAL" : "EVALSHA");
  resp::append_bulk(wire, by_text ? command.script->text : command.script->sha1);
  for (const std::string& arg : command.args) resp::append_bulk(wire, arg);
}

}  // namespace

PolicyRedis::PolicyRedis(EventLoop& loop, const conf::UpstreamOptions& options, policies::Count& sent)
    : loop_(loop),
      sent_(sent),
      options_(options),
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
  loop_.cancel(retry_);
  link_.close();
}

void PolicyRedis::call(std::vector<RedisCommand> commands, Done done) {
  assert(!commands.empty());
  auto call = std::make_unique<Call>();
  call->commands = std::move(commands);
  call->done = std::move(done);
  if (ready_ && link_.unwritten() < kUnwrittenBytesMax) {
    send(std::move(call));
  } else if (link_.state() != Link::State::closed && early_.size() < kEarlyCallsMax) {
    early_.push_back(std::move(call));
  } else {
    lose(std::move(call), false);
  }
}

void PolicyRedis::lose(std::unique_ptr<Call> call, bool sent) {
  loop_.after(std::chrono::milliseconds(0), [done = std::move(call->done), sent] { done({{}, true, sent}); });
}

void PolicyRedis::send(std::unique_ptr<Call> call) {
  wire_.clear();
  call->replies.resize(call->commands.size());
  for (std::size_t i = call->commands.size(); i-- > 0;) call->waiting_for.push_back(i);
  for (const RedisCommand& command : call->commands) append(wire_, command, false);
  sent_.add(call->commands.size());
  link_.send(wire_);
  pending_.push(std::move(call));
}

void PolicyRedis::link_up() { greet(); }

void PolicyRedis::greet() {
  auto call = std::make_unique<Call>();
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
  call->done = [this](const Outcome& outcome) { greeted(outcome); };
  send(std::move(call));
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
  for (auto& call : std::exchange(early_, {})) send(std::move(call));
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

void PolicyRedis::take(Reply reply) {
  Call& front = *pending_.front();
  front.replies[front.waiting_for.back()] = std::move(reply);
  front.waiting_for.pop_back();
  if (!front.waiting_for.empty()) return;
  auto call = std::move(pending_.front());
  pending_.pop();
  for (std::size_t i = call->commands.size(); i-- > 0;) {
    const Reply& got = call->replies[i];
    const bool forgotten = call->commands[i].script != nullptr && got.is_error() && got.text.starts_with(kNoScript);
    if (forgotten) call->waiting_for.push_back(i);
  }
  if (!call->waiting_for.empty()) return retry_forgotten(std::move(call));
  call->done({std::move(call->replies), false, true});
}

// SCRIPT FLUSH made Redis forget scripts. They did not run; sending their text runs them and loads them again. They
// then run after the call's other commands: no call may rely on the order of its commands for more than their replies.
void PolicyRedis::retry_forgotten(std::unique_ptr<Call> call) {
  wire_.clear();
  for (auto i = call->waiting_for.rbegin(); i != call->waiting_for.rend(); ++i) append(wire_, call->commands[*i], true);
  link_.send(wire_);
  pending_.push(std::move(call));
}

void PolicyRedis::link_down(const std::string& reason) {
  const bool was_ready = std::exchange(ready_, false);
  why_down_ = reason;
  while (!pending_.empty()) {
    auto call = std::move(pending_.front());
    pending_.pop();
    lose(std::move(call), was_ready);
  }
  for (auto& call : std::exchange(early_, {})) lose(std::move(call), false);
  if (changed_) changed_();
  if (!closed_) retry_ = loop_.after(backoff_.next(), [this] { connect(); });
}

}  // namespace sluice::proxy

// Client: its state in Redis: the connection of its own that this needs, and what commands and replies change.
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/client.h"
#include "proxy/loop.h"
#include "resp/encode.h"

namespace sluice::proxy {
namespace {

using Where = Session::Plan::Where;

// Gives the connection a write of its own, so that WAIT counts from here on (docs/connections.md).
constexpr std::string_view kFence = "*3\r\n$7\r\nPUBLISH\r\n$14\r\n__sluice:fence\r\n$0\r\n\r\n";

// Whether the reply tells what the command has changed.
bool shows_in_reply(Effect effect) {
  return effect == Effect::select || effect == Effect::auth || effect == Effect::hello || effect == Effect::block ||
         effect == Effect::exec_select || effect == Effect::end_multi || effect == Effect::unwatch ||
         effect == Effect::label || effect == Effect::multi || effect == Effect::sticky_once_done ||
         effect == Effect::pause || effect == Effect::unpause || effect == Effect::wait;
}

// The note of Expect::effect: the effect, then the command.
std::string effect_note(Effect effect, std::string_view wire) {
  return std::string(1, static_cast<char>(effect)).append(wire);
}

}  // namespace

// --- A connection of its own -----------------------------------------------------------------------------------------

// False when the client must wait for its shared replies first, or is being closed.
bool Client::pin(PinReason reason) {
  flush_run();
  if (outstanding_ != 0 || !replies_.empty()) return false;
  if (loop_.anybody().shared() == nullptr) {
    if (!loop_.anybody().expects_shared()) refuse_without_upstream(loop_.why_down());
    return false;
  }
  own_ = pool_->lend(id_);
  fenced_ = always_own_;  // all its writes go over this one
  relabel_own({}, session_.labels());
  pin_reason_ = reason;
  loop_.metrics().pin(pin_reason_);
  return true;
}

// The client has a connection of its own, by now for this reason.
void Client::note_pin_reason(PinReason reason) {
  if (always_own_ || reason == pin_reason_) return;
  loop_.metrics().unpin(pin_reason_);
  pin_reason_ = reason;
  loop_.metrics().pin(pin_reason_);
}

void Client::unpin_if_possible() {
  if (!own_ || always_own_ || closed_ || outstanding_ != 0 || run_replies_ != 0) return;
  if (streaming_ || relaying_ || !session_.shareable() || !own_->ready() || loop_.is_paused()) return;
  relabel_own(session_.labels(), {});
  loop_.metrics().unpin(pin_reason_);
  enter(loop_.pool_of(session_.identity(loop_.config().upstream.db)));
  pool_->give_back(std::move(own_));
}

// What Redis refuses now, it has accepted before; a connection that keeps somebody's name is for nobody else.
void Client::relabel_own(const Labels& from, const Labels& to) {
  const Commands commands = commands_to_relabel(from, to);
  if (commands.count == 0) return;
  if (to == Labels{}) {
    own_->prepare({{}, commands});
  } else {
    own_->expect({}, commands.wire, Expect::dropped, commands.count, {});
  }
}

void Client::enter(UpstreamPool& pool) {
  pool.join();
  pool_->leave();
  pool_ = &pool;
}

void Client::discard_own() {
  if (!own_) return;
  loop_.metrics().unpin(pin_reason_);
  loop_.discard(std::move(own_));
}

// --- Commands that change something ----------------------------------------------------------------------------------

// Without a connection of the client's own there is nothing to reset. With one, Redis does it, after what it was sent.
bool Client::take_reset(std::string_view wire) {
  flush_run();
  if (!quiet()) return false;
  if (!own_) {
    reply_now("+RESET\r\n");
    session_.reset();
    enter(loop_.anybody());
    return true;
  }
  if (!own_->ready()) return false;
  if (session_.skips_reply()) {  // RESET ends CLIENT REPLY OFF before its reply, but not SKIP
    own_->forward(id_, wire, 0);
    session_.reset_unseen();
    return true;
  }
  ++outstanding_;
  barrier_ = true;
  own_->expect(id_, wire, Expect::effect, 1, effect_note(Effect::reset, wire));
  return true;
}

bool Client::forward_effect(Upstream& up, std::string_view wire, const Session::Plan& plan) {
  flush_run();
  if (plan.reason == PinReason::subscribe && plan.where == Where::own) {
    up.inspect(session_.version() == resp::Version::resp3);
  }
  const bool relays = plan.effect == Effect::relay;
  if (relays && !quiet()) return false;
  if (plan.effect == Effect::wait && plan.replies != 0 && needs_fence()) return forward_wait(up, wire, plan);
  loop_.metrics().commands_forwarded.add();
  session_.began(plan);
  barrier_ = plan.barrier;
  if (relays) {
    up.send_raw(wire);
    up.relay();
    relaying_ = true;
    return true;
  }
  if (plan.replies == 0) {  // nobody will tell how it went: most likely well
    up.forward(id_, wire, 0);
    apply_effect(plan.effect, wire, {});
    return true;
  }
  ++outstanding_;
  if (plan.effect == Effect::subscribe) {
    up.expect(id_, wire, Expect::confirm, plan.replies, {});
  } else if (shows_in_reply(plan.effect)) {
    up.expect(id_, wire, Expect::effect, 1, effect_note(plan.effect, wire));
  } else {
    up.forward(id_, wire, 1);
  }
  return true;
}

// Writes before this may have gone over another connection, which WAIT knows nothing of.
bool Client::needs_fence() const { return !fenced_ || !loop_.router().empty(); }

// A user who may not PUBLISH cannot give the connection a write: then nothing is known to be replicated.
bool Client::forward_wait(Upstream& up, std::string_view wire, const Session::Plan& plan) {
  resp::CommandParser parser;
  resp::Command command;
  parser.next(wire, command);
  const bool of_file = command.args.size() == 4;  // WAITAOF local replicas timeout
  loop_.metrics().commands_forwarded.add();
  session_.began(plan);
  fenced_ = true;
  ++outstanding_;
  up.expect({}, kFence, Expect::attempt, 1, {});
  const std::string_view nothing = of_file ? "*2\r\n:0\r\n:0\r\n" : ":0\r\n";
  up.expect(id_, wire, Expect::counted, 1, effect_note(plan.effect, nothing));
  return true;
}

// --- What their replies tell -----------------------------------------------------------------------------------------

void Client::effect_seen(std::string_view note, std::string_view reply) {
  const bool refused = reply.starts_with('-') && !reply.starts_with("-EXECABORT");
  const auto effect = static_cast<Effect>(note[0]);
  const bool ends = effect == Effect::end_multi || effect == Effect::exec_select || effect == Effect::unwatch;
  if (ends && refused && own_) session_.stick();
  apply_effect(effect, note.substr(1), reply);
}

// `reply` is empty where none will come: most likely it went well.
void Client::apply_effect(Effect effect, std::string_view wire, std::string_view reply) {
  const bool ok = !reply.starts_with('-') && !reply.starts_with("*-1");
  if (effect == Effect::block || effect == Effect::wait) {
    return reply.empty() ? void() : session_.block_done();
  }
  if (effect == Effect::multi) return ok ? void() : multi_refused();
  if (effect == Effect::exec_select) return session_.exec_select_done(ok);
  if (effect == Effect::reset) {
    if (!reply.starts_with("+RESET")) return session_.stick();
    session_.reset();
    multi_guarded_.clear();
    own_->forget_subscriptions();
    return select_configured_db();
  }
  if (!shows_in_reply(effect)) return;
  resp::CommandParser parser;
  resp::Command command;
  parser.next(wire, command);
  const bool done = reply.starts_with("+OK");
  if (effect == Effect::auth || effect == Effect::hello) return identified(command, reply, ok);
  if (effect == Effect::sticky_once_done) return stick_once_done(command, reply);
  if (effect == Effect::select && done) session_.select_done(plan_of(command).db);
  if (effect == Effect::label && done) session_.label_done(command);
  if (effect == Effect::pause && done) loop_.paused(plan_of(command).pause);
  if (effect == Effect::unpause && done) loop_.paused(std::chrono::milliseconds(0));
  const bool executed = effect == Effect::end_multi && reply.starts_with('*');
  if (executed && session_.queued_pause().count() != 0) loop_.paused(session_.queued_pause());
}

Session::Plan Client::plan_of(const resp::Command& command) const {
  return session_.plan(resp::find_command(command.name()), command);
}

// What an unknown command did before it failed cannot be known, unless Redis does not know it either.
void Client::stick_once_done(const resp::Command& command, std::string_view reply) {
  const bool known = resp::find_command(command.name()) != nullptr;
  const bool refused = reply.starts_with(known ? "-" : "-ERR unknown command");
  if (!refused) session_.stick();
}

// AUTH or HELLO was answered.
void Client::identified(const resp::Command& command, std::string_view reply, bool ok) {
  const bool had_user = !session_.user().empty();
  if (reply.empty()) {
    session_.identify_unseen(command);
  } else if (!ok) {
    session_.identify_refused(command, reply);
  } else {
    session_.identify_done(command);
  }
  if (ok && own_->inspecting()) own_->inspect(session_.version() == resp::Version::resp3);
  if (!had_user && !session_.user().empty() && session_.db() < 0) select_configured_db();
}

// The database of upstream.url could not be selected before the client had authenticated. Nothing is sent before it is.
void Client::select_configured_db() {
  const int db = loop_.config().upstream.db;
  if (db == 0 || !own_) return;
  Transformation commands;
  commands.needed.add({"SELECT", std::to_string(db)});
  commands.may_be_nobody = session_.user().empty();
  own_->prepare(commands);
}

// What followed the MULTI was not queued but done.
void Client::multi_refused() {
  session_.multi_refused();
  if (!multi_guarded_.empty()) loop_.clear_guards(std::exchange(multi_guarded_, {}));
}

void Client::subscription_changed(std::string_view kind, std::int64_t remaining) {
  session_.subscribe_done(kind, remaining);
}

}  // namespace sluice::proxy

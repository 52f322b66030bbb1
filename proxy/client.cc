// Client: taking commands from the input, sending them on, and closing.
#include "proxy/client.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstring>
#include <utility>

#include "policies/policy.h"
#include "proxy/log.h"
#include "proxy/loop.h"
#include "proxy/sluice_dispatch.h"
#include "resp/encode.h"

namespace sluice::proxy {
namespace {

using resp::CommandId;
using Where = Session::Plan::Where;

// While input waits for its turn, this much is read ahead and no more.
constexpr std::size_t kReadAheadBytes = 64UL << 10;
// Room made in the input when part of a command is there already.
constexpr std::size_t kReadBytes = 16UL << 10;
constexpr std::size_t kReadBytesMax = 1UL << 20;
// Commands of one client under way: on a shared connection each of another client may have so many before it. One that
// is blocked is read on, so that its leaving is noticed.
constexpr std::uint32_t kOutstandingMax = 16384;
// With more output waiting than this it is written at once, and a connection of the client's own is not read on.
constexpr std::size_t kOutputAheadBytes = 1UL << 20;
// Replies that cost less to write at once than to copy.
constexpr std::size_t kWriteAtBytes = 32UL << 10;
// How often a client that is leaving looks whether its last commands are written.
constexpr std::chrono::milliseconds kUnwrittenPoll{1};

constexpr std::string_view kUnsure =
    "ERR sluice: not supported on a policy key while the user or the database is uncertain: AUTH, HELLO or SELECT, "
    "outside MULTI and with CLIENT REPLY ON, ends that";
// Gives the connection a write of its own, so that WAIT counts from here on (connections.md, rule 2).
constexpr std::string_view kFence = "*3\r\n$7\r\nPUBLISH\r\n$14\r\n__sluice:fence\r\n$0\r\n\r\n";

resp::CommandLimits limits_of(const conf::ProxyOptions& options) {
  resp::CommandLimits limits;
  limits.bulk_bytes_max = options.max_bulk_length;
  return limits;
}

bool is_word(std::string_view text, std::string_view upper_case) {
  return std::equal(text.begin(), text.end(), upper_case.begin(), upper_case.end(),
                    [](unsigned char a, unsigned char b) { return std::toupper(a) == b; });
}

// POST and Host: come from a browser that was tricked into talking to us; Redis hangs up too.
bool is_cross_protocol(std::string_view name) { return is_word(name, "POST") || is_word(name, "HOST:"); }

// Whether the reply tells what the command has changed.
bool shows_in_reply(Effect effect) {
  return effect == Effect::select || effect == Effect::auth || effect == Effect::hello || effect == Effect::block ||
         effect == Effect::exec_select || effect == Effect::end_multi || effect == Effect::unwatch ||
         effect == Effect::label || effect == Effect::multi || effect == Effect::sticky_once_done ||
         effect == Effect::pause || effect == Effect::unpause || effect == Effect::wait;
}

// A client that has ended its input is taken for gone by then: nobody pops an element for it, or tells it news.
bool waits_for_others(Effect effect) {
  return effect == Effect::block || effect == Effect::subscribe || effect == Effect::relay || effect == Effect::wait;
}

// The note of Expect::effect: the effect, then the command.
std::string effect_note(Effect effect, std::string_view wire) {
  return std::string(1, static_cast<char>(effect)).append(wire);
}

}  // namespace

Client::Client(Loop& loop, ClientId id, Stream::Kind kind)
    : loop_(loop),
      id_(id),
      stream_(loop.events().uv(), kind, *this),
      parser_(limits_of(loop.config().proxy)),
      pool_(&loop.anybody()),
      number_(loop.next_client_number()),
      came_(loop.events().now()),
      last_active_(came_),
      always_own_(loop.config().proxy.connections == conf::Connections::session) {}

Client::~Client() { loop_.events().forget(*this); }

void Client::begin() {
  pool_->join();
  stream_.set_no_delay();
  stream_.start_reading();
}

ClientInfo Client::info() const {
  const auto now = loop_.events().now();
  ClientInfo info{number_, stream_.peer(), session_.labels().name, session_.user(), session_.version()};
  info.db = session_.identity(loop_.config().upstream.db).db;
  info.age = std::chrono::duration_cast<std::chrono::milliseconds>(now - came_);
  info.idle = std::chrono::duration_cast<std::chrono::milliseconds>(now - last_active_);
  if (own_) info.pinned = pin_reason_;
  info.unanswered = outstanding_ + replies_.size();
  info.input_bytes = input_.size();
  info.output_bytes = stream_.unwritten() + replies_.bytes();
  return info;
}

// --- Reading -----------------------------------------------------------------------------------------------------

// Straight into the loop's scratch memory, unless part of a command is already here.
uv_buf_t Client::on_read_buffer() {
  if (input_.empty()) {
    const auto scratch = loop_.events().scratch();
    return uv_buf_init(scratch.data(), static_cast<unsigned>(scratch.size()));
  }
  const auto room = input_.reserve(std::clamp(parser_.bytes_missing(), kReadBytes, kReadBytesMax));
  return uv_buf_init(room.data(), static_cast<unsigned>(room.size()));
}

void Client::on_read(std::size_t bytes) {
  last_active_ = loop_.events().now();
  loop_.events().served(id_.index);
  loop_.metrics().client_bytes_in.add(bytes);
  if (input_.empty()) {
    const std::string_view fresh{loop_.events().scratch().data(), bytes};
    const std::size_t taken = process(fresh);
    if (!closed_) input_.append(fresh.substr(taken));
  } else {
    input_.commit(bytes);
    const std::size_t taken = process(input_.view());
    if (!closed_) input_.consume(taken);
  }
  if (!closed_) continue_reading();
}

void Client::on_end(bool orderly) {
  // A client that shut down its sending side still gets the replies to what it sent; nobody pops an element for it.
  if (!orderly || session_.blocked() || session_.subscribed() || relaying_) return close();
  ended_ = true;
  abandon_stream();
  if (quiet() && !waits_) finish();
}

void Client::resume() {
  if (closed_ || processing_) return;
  if (!input_.empty()) {
    const std::size_t taken = process(input_.view());
    if (closed_) return;
    input_.consume(taken);
  }
  abandon_stream();
  unpin_if_possible();
  if (ended_ && quiet() && !waits_) return finish();
  continue_reading();
}

// Stops reading while what was read has to wait; a command that is merely incomplete is read on.
void Client::continue_reading() {
  if (input_.size() > loop_.config().proxy.query_buffer_limit) {
    loop_.metrics().query_limit_closes.add();
    log_rarely(Level::warning, "query limit", "closed a client whose command passed query_buffer_limit");
    return close();
  }
  note_buffers();
  if (finishing_ || ended_ || (waits_ && input_.size() >= kReadAheadBytes)) {
    stream_.stop_reading();
  } else {
    stream_.start_reading();
  }
}

// Takes the commands that can be taken now; returns how many bytes they had.
std::size_t Client::process(std::string_view input) {
  processing_ = true;
  limit_parser();
  waits_ = full_ = false;
  std::size_t taken = 0;
  while (!closed_ && !finishing_ && !bad_input_ && taken < input.size()) {
    const std::string_view rest = input.substr(taken);
    const std::size_t bytes = streaming_ ? take_part(rest) : take_next(rest);
    if (bytes == 0) break;
    taken += bytes;
  }
  if (!closed_) flush_run();
  if (bad_input_ && !closed_) protocol_error();
  processing_ = false;
  return taken;
}

// Takes one command, or what is none; 0: not now.
std::size_t Client::take_next(std::string_view input) {
  if (barrier_) {
    waits_ = outstanding_ != 0;
    if (waits_) return 0;
    barrier_ = false;
    limit_parser();
  }
  resp::Command command;
  switch (parser_.next(input, command)) {
    case resp::CommandParser::Status::command: {
      const resp::CommandInfo* info = resp::find_command(command.name());
      waits_ = !take(info, command);
      if (waits_) return 0;
      loop_.metrics().count_command(info);
      return command.wire.size();
    }
    case resp::CommandParser::Status::skip:
      flush_run();
      if (relaying_) {
        own_->send_raw(input.substr(0, parser_.skipped()));
      } else if (session_.skips_reply()) {  // an empty command uses up CLIENT REPLY SKIP
        own_->forward(id_, input.substr(0, parser_.skipped()), 0);
        session_.began({});
      }
      return parser_.skipped();
    case resp::CommandParser::Status::error:
      bad_input_ = true;
      return 0;
    case resp::CommandParser::Status::incomplete:
      return take_large(input);
    case resp::CommandParser::Status::part:
      break;
  }
  return 0;
}

// Who must authenticate first is held to small commands, as by Redis. Not before the reply to an AUTH is here.
void Client::limit_parser() {
  parser_.set_authenticated(!session_.user().empty() || loop_.default_user() != DefaultUser::must_authenticate);
}

void Client::protocol_error() {
  abandon_stream();
  if (!quiet() || finishing_) return;  // comes back here when the replies before it are out
  loop_.metrics().protocol_errors.add();
  reply_now(resp::error_reply("ERR " + parser_.error()));
  finish();
}

// --- Taking a command: false leaves it in the input for later -----------------------------------------------------

bool Client::take(const resp::CommandInfo* info, const resp::Command& command) {
  if (info == nullptr && is_word(command.name(), "SLUICE")) return take_sluice(command);
  if (relaying_) return take_relayed(info, command);
  if (info == nullptr && is_cross_protocol(command.name())) {
    close();
    return true;
  }
  if (always_own_ && !own_ && !pin(PinReason::session)) return finishing_;
  if (loop_.is_paused() && !own_ && !pin(PinReason::paused)) return finishing_;
  Session::Plan plan;
  if (info == nullptr || !Session::is_plain(*info) || session_.replies_suppressed()) {
    plan = session_.plan(info, command);
    if (plan.where == Where::quit) return take_quit();
    if (plan.where == Where::reset) return take_reset(command.wire);
    if (plan.where == Where::no) return take_rejected("ERR sluice: CLIENT REPLY inside MULTI not supported");
    if (plan.where == Where::own && !own_ && !pin(plan.reason)) return finishing_;
    if (plan.where == Where::own && session_.shareable()) note_pin_reason(plan.reason);
  }
  if (own_ && !own_->ready()) return false;
  if (ended_ && waits_for_others(plan.effect)) {
    finish();
    return true;
  }
  if (loop_.router().empty()) return forward(command.wire, plan);
  const auto standing = policies_apply();
  if (standing == Standing::unknown) return await_upstream();
  const bool outside = standing == Standing::outside;
  if (info == nullptr) return take_unknown(command, plan, outside);
  const Route route = outside ? loop_.router().route_outside(*info, command, session_.in_multi())
                              : loop_.router().route(*info, command, session_.in_multi());
  if (route.kind != Route::Kind::forward || route.renamed) {
    // Not left to Redis, which may let anybody in from a moment ago on: the policy must not be passed by.
    if (standing == Standing::stranger) return take_rejected("NOAUTH Authentication required.");
    if (standing == Standing::unsure) return take_rejected(kUnsure);
    return take_routed(*info, command, plan, route);
  }
  const bool ends = info->id == CommandId::exec || info->id == CommandId::discard;
  if (ends && !multi_guarded_.empty()) return take_exec(*info, command, plan);
  return forward(command.wire, plan);
}

bool Client::take_unknown(const resp::Command& command, const Session::Plan& plan, bool outside) {
  const Route route = outside ? Route{} : loop_.router().route_unknown(command);
  if (route.kind == Route::Kind::reject) return take_rejected(loop_.router().rejection());
  return forward(command.wire, plan);
}

// Not in Redis' table, and not to be sent to it either.
bool Client::is_own_command(std::string_view name) { return is_word(name, "SLUICE") || is_cross_protocol(name); }

// How policies look at this client's commands.
Client::Standing Client::policies_apply() const {
  if (session_.unsure()) return Standing::unsure;
  if (session_.outside(loop_.config().upstream.db)) return Standing::outside;
  if (session_.subscribed() && session_.version() == resp::Version::resp2) return Standing::outside;
  if (!session_.user().empty()) return Standing::inside;
  switch (loop_.default_user()) {
    case DefaultUser::unknown:
      return Standing::unknown;
    case DefaultUser::ready:
      return Standing::inside;
    case DefaultUser::must_authenticate:
      return Standing::stranger;
  }
  return Standing::unknown;
}

bool Client::take_quit() {
  flush_run();
  if (!quiet()) return false;
  reply_now("+OK\r\n");
  finish();
  return true;
}

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

// MONITOR and its like: replies are not matched any more, so nothing that needs one can be done.
bool Client::take_relayed(const resp::CommandInfo* info, const resp::Command& command) {
  if (own_->congested()) return false;
  if (info != nullptr && !loop_.router().empty()) {
    const Route route = loop_.router().route(*info, command, false);
    if (route.kind != Route::Kind::forward) {
      reply_now(resp::error_reply(
          "ERR sluice: not supported on a policy key after MONITOR, or SUBSCRIBE, AUTH or HELLO inside MULTI"));
      finish();
      return true;
    }
  }
  own_->send_raw(command.wire);
  return true;
}

bool Client::forward(std::string_view wire, const Session::Plan& plan) {
  if (replies_.writing()) return false;
  Upstream* up = upstream();
  if (up == nullptr) return await_upstream();
  if (up->congested()) return false;
  full_ = outstanding_ + run_replies_ >= kOutstandingMax && !session_.blocked();
  if (full_) return false;
  if (plan.effect != Effect::none || plan.replies != 1) return forward_effect(*up, wire, plan);
  loop_.metrics().commands_forwarded.add();
  if (run_replies_ != 0 && run_.data() + run_.size() == wire.data()) {
    run_ = {run_.data(), run_.size() + wire.size()};
  } else {
    flush_run();
    run_ = wire;
  }
  ++run_replies_;
  return true;
}

void Client::flush_run() {
  if (run_replies_ == 0) return;
  outstanding_ += run_replies_;
  upstream()->forward(id_, run_, std::exchange(run_replies_, 0));
  run_ = {};
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

Upstream* Client::upstream() { return own_ ? own_.get() : pool_->shared(); }

// There is no connection to share: false when one is being made, else the client is refused.
bool Client::await_upstream() {
  if (pool_->shared() != nullptr || pool_->expects_shared()) return false;
  return refuse_without_upstream(pool_->why_down().empty() ? loop_.why_down() : pool_->why_down());
}

bool Client::refuse_without_upstream(const std::string& why) {
  if (!quiet()) return false;
  reply_now(resp::error_reply("LOADING sluice: upstream unavailable: " + why));
  finish();
  return true;
}

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

// --- From the upstream -------------------------------------------------------------------------------------------

void Client::reply_bytes(std::string_view bytes) {
  if (closed_) return;
  if (replies_.empty()) {
    loop_.metrics().client_bytes_out.add(bytes.size());
    stream_.send(bytes, kWriteAtBytes);
  } else {
    replies_.append(bytes);
  }
  check_output();
  if (!closed_) loop_.events().flush_later(*this);
}

void Client::reply_now(std::string_view reply) {
  if (session_.replies_suppressed()) return swallow_reply();
  reply_bytes(reply);
}

void Client::replies_done(std::uint32_t replies) {
  outstanding_ -= std::min(outstanding_, replies);
  abandon_stream();
  if (outstanding_ != 0 && !(full_ && outstanding_ <= kOutstandingMax / 2)) return;
  if (bad_input_) protocol_error();
  if (finishing_) return loop_.events().flush_later(*this);
  resume();
}

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
  if (effect == Effect::pause && reply.starts_with("+OK")) {
    loop_.paused(session_.plan(resp::find_command("client"), command).pause);
  } else if (effect == Effect::end_multi && reply.starts_with('*') && session_.queued_pause().count() != 0) {
    loop_.paused(session_.queued_pause());
  } else if (effect == Effect::unpause && reply.starts_with("+OK")) {
    loop_.paused(std::chrono::milliseconds(0));
  } else if (effect == Effect::sticky_once_done) {
    // What an unknown command did before it failed cannot be known, unless Redis does not know it either.
    const bool known = resp::find_command(command.name()) != nullptr;
    if (ok || (!known && !reply.starts_with("-ERR unknown command"))) session_.stick();
  } else if (effect == Effect::select && reply.starts_with("+OK")) {
    session_.select_done(session_.plan(resp::find_command("select"), command).db);
  } else if (effect == Effect::label && reply.starts_with("+OK")) {
    session_.label_done(command);
  } else if (effect == Effect::auth || effect == Effect::hello) {
    identified(command, reply, ok);
  }
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

void Client::upstream_lost(bool sent, const std::string& reason) {
  if (closed_ || finishing_) return;
  outstanding_ = 0;
  if (!sent) reply_bytes(resp::error_reply("LOADING sluice: upstream unavailable: " + reason));
  finish();
}

void Client::own_upstream_down(const std::string& reason) {
  if (closed_) return;
  const bool unused = own_ && !own_->prepared();
  discard_own();
  outstanding_ = 0;
  if (unused) {
    refuse_without_upstream(reason);
  } else {
    finish();
  }
}

void Client::discard_own() {
  if (!own_) return;
  loop_.metrics().unpin(pin_reason_);
  loop_.discard(std::move(own_));
}

// --- Writing and closing -----------------------------------------------------------------------------------------

// What a client has not taken is bounded: by not reading on, where only this client waits, and by closing it. One that
// reads is given the chance to take what there is first.
void Client::check_output() {
  const std::size_t limit = loop_.config().proxy.client_output_buffer_limit;
  if (output_bytes() <= std::min(limit, kOutputAheadBytes)) return;
  if (!stream_.flush()) return close();
  if (own_ && output_bytes() > std::min(limit / 2, kOutputAheadBytes)) own_->pause_reading();
  if (output_bytes() <= limit) return;
  loop_.metrics().output_limit_closes.add();
  log_rarely(Level::warning, "output limit",
             "closed a client that does not read its replies: "
             "they passed client_output_buffer_limit");
  close();
}

void Client::relieve_upstream() {
  if (own_ && output_bytes() == 0) own_->resume_reading();
}

void Client::note_buffers() {
  const std::size_t bytes = closed_ ? 0 : input_.size() + output_bytes();
  if (bytes == noted_bytes_) return;
  policies::Count& gauge = loop_.metrics().client_buffer_bytes;
  gauge.set(gauge.value() + bytes - noted_bytes_);
  noted_bytes_ = bytes;
}

void Client::flush_turn() {
  if (closed_) return;
  if (!stream_.flush()) return close();
  relieve_upstream();
  note_buffers();
  close_if_finished();
}

void Client::on_drained() {
  relieve_upstream();
  note_buffers();
  close_if_finished();
}

// Commands that get no reply (CLIENT REPLY OFF) must still reach Redis.
void Client::close_if_finished() {
  if (!finishing_ || !quiet() || stream_.unwritten() != 0) return;
  if (!own_ || own_->unwritten() == 0) return close();
  loop_.events().after(kUnwrittenPoll, [&loop = loop_, id = id_] {
    if (Client* client = loop.find(id)) client->close_if_finished();
  });
}

void Client::drain() {
  if (closed_) return;
  if (session_.subscribed() || session_.blocked() || relaying_) return close();
  ended_ = true;
  abandon_stream();
  stream_.stop_reading();
  if (quiet() && !waits_) finish();
}

void Client::finish() {
  finishing_ = true;
  stream_.stop_reading();
  loop_.events().flush_later(*this);
}

void Client::close() {
  if (closed_) return;
  closed_ = true;
  note_buffers();
  stream_.stop_reading();
  discard_own();
  pool_->leave();
  loop_.remove(*this);
}

}  // namespace sluice::proxy

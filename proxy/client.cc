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

// A client that has ended its input is taken for gone by then: nobody pops an element for it, or tells it news.
bool waits_for_others(Effect effect) {
  return effect == Effect::block || effect == Effect::subscribe || effect == Effect::relay || effect == Effect::wait;
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
  continue_reading();
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
  if (!welcome_ && loop_.is_probing()) return;
  welcome_ = true;
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

bool Client::too_many_outstanding() {
  full_ = outstanding_ + run_replies_ >= kOutstandingMax && !session_.blocked();
  return full_;
}

bool Client::forward(std::string_view wire, const Session::Plan& plan) {
  if (replies_.writing()) return false;
  Upstream* up = upstream();
  if (up == nullptr) return await_upstream();
  if (up->congested()) return false;
  if (too_many_outstanding()) return false;
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

void Client::upstream_lost(bool sent, const std::string& reason) {
  if (closed_ || finishing_) return;
  outstanding_ = 0;
  abandon_again();
  if (!sent) reply_bytes(resp::error_reply("LOADING sluice: upstream unavailable: " + reason));
  finish();
}

void Client::own_upstream_down(const std::string& reason) {
  if (closed_) return;
  const bool unused = own_ && !own_->prepared();
  discard_own();
  outstanding_ = 0;
  abandon_again();
  if (unused) {
    refuse_without_upstream(reason);
  } else {
    finish();
  }
}

// --- Writing and closing -----------------------------------------------------------------------------------------

// What a client has not taken is bounded: by not reading on, where only this client waits, and by closing it. One that
// reads is given the chance to take what there is first.
void Client::check_output() {
  const std::size_t limit = loop_.config().proxy.client_output_buffer_limit;
  if (output_bytes() <= std::min(limit, kOutputAheadBytes)) return;
  if (!stream_.flush()) return close();
  if (own_ && output_bytes() > std::min(limit / 2, kOutputAheadBytes)) own_->pause_reading();
  if (output_bytes() > limit) close_over_limit();
}

// Without the rest of it the reply is no use.
void Client::reply_kept(std::size_t bytes) {
  kept_bytes_ = bytes;
  if (output_bytes() + bytes > loop_.config().proxy.client_output_buffer_limit) close_over_limit();
}

void Client::close_over_limit() {
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
  const std::size_t bytes = closed_ ? 0 : input_.size() + output_bytes() + kept_bytes_;
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

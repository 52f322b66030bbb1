// Client: its commands on policy keys, and the slots their replies wait in.
#include <algorithm>
#include <functional>
#include <utility>

#include "policies/policy.h"
#include "policies/read.h"
#include "proxy/client.h"
#include "proxy/guards.h"
#include "proxy/loop.h"
#include "proxy/sluice_dispatch.h"
#include "proxy/split_read.h"
#include "resp/encode.h"

namespace sluice::proxy {
namespace {

using resp::CommandId;

// Commands of one client that policies work on at a time.
constexpr std::size_t kSlotsMax = 1024;

// Keys of policies that one transaction may write.
constexpr std::size_t kMultiGuardedMax = 65536;

// In the mode OPTIN Redis tracks only what follows it; in others it is an error that changes nothing.
constexpr std::string_view kCachingYes = "*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n";
constexpr std::string_view kPing = "*1\r\n$4\r\nPING\r\n";
constexpr std::string_view kMulti = "*1\r\n$5\r\nMULTI\r\n";
constexpr std::string_view kExec = "*1\r\n$4\r\nEXEC\r\n";
// Redis refuses it, inside MULTI too, where that makes EXEC fail: as after any command that could not be queued.
constexpr std::string_view kRefused = "*1\r\n$14\r\nSLUICE-REFUSED\r\n";

std::size_t row_of(std::string_view key) { return std::hash<std::string_view>{}(key); }
// Of 64, one that stands for its row.
std::uint64_t bit_of(std::string_view key) { return std::uint64_t{1} << row_of(key) % 64; }

bool has_several(const policies::Request& request) {
  return policies::reads_several(request.command->id) && request.args.size() > 2;
}

// The note of Expect::held: the effect, then the keys whose leases must be cleared.
std::string held_note(Effect effect, const std::vector<std::string>& keys) {
  return std::string(1, static_cast<char>(effect)) + encode_keys(keys);
}

}  // namespace

// --- Taking them -------------------------------------------------------------------------------------

bool Client::take_routed(const resp::CommandInfo& info, const resp::Command& command, const Session::Plan& plan,
                         const Route& route) {
  const std::string_view wire = route.renamed ? std::string_view(loop_.router().wire()) : command.wire;
  switch (route.kind) {
    case Route::Kind::forward:
      return forward_copy(wire, plan);
    case Route::Kind::read:
      return session_.replies_suppressed() ? forward_copy(wire, plan) : take_read(info, command, wire, route);
    case Route::Kind::operate:
      return take_operation(info, command, route.policy);
    case Route::Kind::guard:
    case Route::Kind::script:
      if (route.unmanaged) loop_.wrote_past(route.policy, info);
      return take_guarded(wire, plan, route.kind == Route::Kind::script);
    case Route::Kind::reject:
      if (!take_rejected(loop_.router().rejection())) return false;
      if (route.owned) loop_.router().policy(route.policy).metrics().rejected_commands.add();
      return true;
    case Route::Kind::flush:
      return take_flush(command);
  }
  return true;
}

// Bytes that are not where the client's input is cannot be part of a run.
bool Client::forward_copy(std::string_view wire, const Session::Plan& plan) {
  flush_run();
  if (!forward(wire, plan)) return false;
  flush_run();
  return true;
}

bool Client::take_read(const resp::CommandInfo& info, const resp::Command& command, std::string_view wire,
                       const Route& route) {
  if (replies_.writing() || replies_.size() >= kSlotsMax) return false;
  flush_run();
  const std::uint32_t policy = route.policy;
  Upstream* up = upstream();
  policies::Policy& owner = loop_.router().policy(policy);
  if (up == nullptr) {
    if (pool_->expects_shared()) return false;
    const bool redis_up = loop_.anybody().shared() != nullptr;  // and refuses this user
    if (redis_up || !reads_without_redis(policy, wire)) return await_upstream();
    begin_miss(policy, wire, Miss::redis_down);
    return true;
  }
  const bool distrusts = !loop_.trusts_copies() && owner.options().fills();
  if (distrusts || route.at_once) {
    if (outstanding_ != 0) return false;
    loop_.metrics().commands_policy.add();
    begin_miss(policy, wire, distrusts ? Miss::distrusted : Miss::unasked);
    return true;
  }
  if (up->congested() || too_many_outstanding()) return false;
  loop_.metrics().commands_forwarded.add();
  const bool several = policies::reads_several(info.id);
  rows_read_ = (outstanding_ == 0 ? 0 : rows_read_) | (several ? UINT64_MAX : bit_of(loop_.router().key()));
  ++outstanding_;
  up->expect_read(id_, wire, policy, route.keys, policies::absence_of(info.id, command.args.size()));
  // Redis' sum does not tell which keys are missing: its own will be counted once more, before anything else is sent.
  // And a read that is run again must not be so behind what follows it.
  barrier_ = session_.tracks() || (route.mixed && info.id == CommandId::exists);
  return true;
}

bool Client::take_operation(const resp::CommandInfo& info, const resp::Command& command, std::uint32_t policy) {
  flush_run();
  if (!session_.user().empty() && upstream() == nullptr) return await_upstream();  // Redis may know the user no more
  const bool several = !loop_.router().keys().empty();
  const std::size_t row = several ? ReplyQueue::kEveryRow : row_of(loop_.router().key());
  const bool write = info.has(resp::flag::write);
  if (outstanding_ != 0 || replies_.is_row_busy(row, info) || replies_.size() >= kSlotsMax) return false;
  policies::Request request;
  request.verb = policies::Verb::command;
  request.command = &info;
  request.args = loop_.router().args(command);
  request.key = loop_.router().key();
  request.keys = loop_.router().keys();
  request.version = session_.version();
  request.acl_user = loop_.user_to_check(session_.user());
  request.distrust = !loop_.trusts_copies();
  const std::uint64_t slot = open_slot(row, &info, write);
  loop_.metrics().commands_policy.add();
  loop_.start(loop_.router().policy(policy).begin(std::move(request)), policy, id_, slot);
  return true;
}

// Sends the command together with what clears the leases of its keys; or, where it cannot be wrapped in a transaction
// (it is in one, is a script, may block, or a WATCH would be used up), clears them before it is sent, and again
// before the reply is passed on.
bool Client::take_guarded(std::string_view wire, const Session::Plan& plan, bool script) {
  if (replies_.writing()) return false;
  flush_run();
  const std::vector<std::string>& keys = loop_.router().guarded();
  if (!session_.in_multi() && reads_rows_of(keys)) return false;
  if (session_.in_multi()) {
    if (multi_guarded_.size() + keys.size() > kMultiGuardedMax) {
      return take_rejected("ERR sluice: too many writes on policy keys in one transaction");
    }
    multi_guarded_.insert(multi_guarded_.end(), keys.begin(), keys.end());
    return forward_copy(wire, plan);
  }
  Upstream* up = upstream();
  if (up == nullptr) return await_upstream();
  if (up->congested()) return false;
  const bool restricted = !loop_.user_to_check(session_.user()).empty();  // may have no right to the side keys
  if (script || restricted || session_.watching() || plan.effect == Effect::block || plan.replies == 0) {
    if (!leases_cleared(keys)) return false;
    return forward_held(*up, wire, plan, keys);
  }
  std::string transaction(kMulti);
  for (const std::string& key : keys) policies::append_guard_command(transaction, key);
  transaction.append(wire).append(kExec);
  const auto guards = static_cast<std::uint32_t>(keys.size());
  loop_.metrics().commands_forwarded.add();
  ++outstanding_;
  up->expect(id_, transaction, Expect::guarded, guards + 3, std::to_string(guards));
  return true;
}

// A read that holds a lease from before the command is not to store what it has found; one that gets its lease while
// the command is on its way reads SQL after everything that the client had done before it. False: under way.
bool Client::leases_cleared(const std::vector<std::string>& keys) {
  if (!quiet()) return false;
  if (std::exchange(clearing_, {}) == keys) return true;
  std::vector<Guard> guards;
  guards.reserve(keys.size());
  for (const std::string& key : keys) guards.push_back({key});
  clearing_ = keys;
  loop_.start(make_guard_clearing(std::move(guards), {}), id_, replies_.open(0, nullptr, false, true));
  return false;
}

bool Client::forward_held(Upstream& up, std::string_view wire, const Session::Plan& plan,
                          const std::vector<std::string>& keys) {
  loop_.metrics().commands_forwarded.add();
  session_.began(plan);
  if (plan.replies == 0) {
    up.forward(id_, wire, 0);
    loop_.clear_guards(keys);
    return true;
  }
  ++outstanding_;
  up.expect(id_, wire, Expect::held, 1, held_note(plan.effect, keys));
  return true;
}

// EXEC or DISCARD of a transaction that wrote policy keys.
bool Client::take_exec(const resp::CommandInfo& info, const resp::Command& command, const Session::Plan& plan) {
  flush_run();
  if (info.id == CommandId::exec && reads_rows_of(multi_guarded_)) return false;
  if (info.id == CommandId::exec && !leases_cleared(multi_guarded_)) return false;
  const std::vector<std::string> keys = std::exchange(multi_guarded_, {});
  if (info.id != CommandId::exec) return forward(command.wire, plan);
  if (plan.effect == Effect::relay) return discard_instead();
  return forward_held(*own_, command.wire, plan, keys);
}

// After an EXEC that subscribes, authenticates or says HELLO no reply can be held back, and so no lease be cleared.
bool Client::discard_instead() {
  constexpr std::string_view kDiscard = "*1\r\n$7\r\nDISCARD\r\n";
  session_.began({Session::Plan::Where::own, PinReason::multi, Effect::end_multi});
  ++outstanding_;
  own_->expect(
      id_, kDiscard, Expect::replaced, 1,
      resp::error_reply("EXECABORT sluice: AUTH, HELLO or SUBSCRIBE together with writes of policy keys in MULTI "
                        "not supported: discarded"));
  return true;
}

bool Client::take_flush(const resp::Command& command) {
  flush_run();
  if (outstanding_ != 0 || !replies_.empty()) return false;
  const std::uint64_t slot = open_slot(0, nullptr, true);
  loop_.start_flush(loop_.router().args(command), loop_.user_to_check(session_.user()), id_, slot);
  return true;
}

bool Client::take_rejected(std::string_view reason) {
  flush_run();
  const std::string error = resp::error_reply(reason);
  if (session_.in_multi() && session_.replies_suppressed()) {
    own_->forward(id_, kRefused, 0);
    session_.began({});
    return true;
  }
  if (session_.in_multi()) {
    ++outstanding_;
    own_->expect(id_, kRefused, Expect::replaced, 1, error);
    return true;
  }
  if (outstanding_ != 0) return false;
  reply_now(error);
  return true;
}

bool Client::take_sluice(const resp::Command& command) {
  flush_run();
  if (outstanding_ != 0 || !replies_.empty()) return false;  // it may look at, or change, what is under way
  const bool nobody = session_.user().empty();
  if (!nobody && upstream() == nullptr) return await_upstream();
  if (nobody && loop_.default_user() == DefaultUser::unknown) return await_upstream();
  if (session_.user_unsure() || (nobody && loop_.default_user() == DefaultUser::must_authenticate)) {
    reply_now("-NOAUTH Authentication required.\r\n");
    return true;
  }
  loop_.metrics().commands_local.add();
  const std::string user = nobody ? "default" : session_.user();
  const SluiceCaller caller{session_.version(), user, loop_.user_to_check(session_.user())};
  run_sluice_command(loop_, command, caller, id_, open_slot(0, nullptr, true));
  return true;
}

// --- Slots -------------------------------------------------------------------------------------------------------

// A reply that CLIENT REPLY says is not wanted. SKIP is known to Redis too, and must not reach the next command there.
void Client::swallow_reply() {
  if (session_.skips_reply() && own_) own_->forward(id_, kPing, 0);
  session_.began({});
}

// Of a command that is taken now.
std::uint64_t Client::open_slot(std::size_t row, const resp::CommandInfo* info, bool write) {
  const bool muted = session_.replies_suppressed();
  if (muted) swallow_reply();
  return replies_.open(row, info, write, muted);
}

void Client::hold(std::uint64_t slot, std::size_t bytes) {
  if (closed_) return;
  replies_.hold(slot, bytes);
  check_output();
}

void Client::fill(std::uint64_t slot, policies::Finish finish) {
  if (closed_) return;
  const bool waits = again_ && again_->slot == slot && again_->answer.empty();
  if (waits && run_again(finish)) return;
  settle(slot, std::move(finish));
}

void Client::settle(std::uint64_t slot, policies::Finish finish) {
  replies_.fill(slot, std::move(finish.reply), finish.close);
  check_output();
  if (closed_) return;
  const std::size_t before = stream_.out().size();
  const bool last = replies_.settle(stream_.out());
  loop_.metrics().client_bytes_out.add(stream_.out().size() - before);
  loop_.events().flush_later(*this);
  if (last) return this->finish();
  if (bad_input_) protocol_error();
  resume();
}

// `reply`: what Redis has said, if it was asked. The command came while replies were wanted: what its client has sent
// since changes nothing of that.
void Client::begin_miss(std::uint32_t policy, std::string_view wire, Miss why, std::string_view reply) {
  policies::Request request = miss_of(wire);
  request.version = session_.version();
  request.redis_down = why == Miss::redis_down;
  request.distrust = why == Miss::distrusted;
  if (request.redis_down) request.acl_user = loop_.user_to_refuse(session_.user());
  if (request.distrust || why == Miss::unasked) request.acl_user = loop_.user_to_check(session_.user());
  if (has_several(request)) return begin_split(request, wire, reply);
  const std::uint64_t slot = open_miss(row_of(request.key), false, wire, request);
  loop_.start(loop_.router().policy(policy).begin(std::move(request)), policy, id_, slot);
}

// What a policy is asked when it was Redis that had no answer to this read, or could give none.
policies::Request Client::miss_of(std::string_view wire) const {
  resp::CommandLimits limits;
  limits.bulk_bytes_max = loop_.config().proxy.max_bulk_length;
  resp::CommandParser parser(limits);
  resp::Command command;
  parser.next(wire, command);
  policies::Request request;
  request.verb = policies::Verb::miss;
  request.command = resp::find_command(command.name());
  request.args.assign(command.args.begin(), command.args.end());
  request.key = request.args[1];
  return request;
}

// `holds`: nothing is forwarded until it is filled.
std::uint64_t Client::open_miss(std::size_t row, bool holds, std::string_view wire, const policies::Request& request) {
  const bool tracks = session_.tracks() && own_;
  const std::uint64_t slot = replies_.open(row, nullptr, holds || tracks, false);
  if (tracks) {
    const auto absence = policies::absence_of(request.command->id, request.args.size());
    again_ = std::make_unique<Again>(Again{slot, std::string(wire), absence, {}});
  }
  return slot;
}

void Client::begin_split(const policies::Request& request, std::string_view wire, std::string_view reply) {
  SplitRead read(loop_.router(), *request.command, request.args, reply);
  for (const std::uint32_t policy : read.hits()) loop_.router().policy(policy).metrics().hits.add();
  if (read.parts().empty()) {
    reply_bytes(reply);
    return replies_done(0);
  }
  const bool holds =
      std::any_of(read.parts().begin(), read.parts().end(), [](const auto& part) { return !part.policy; });
  const std::uint64_t slot = open_miss(ReplyQueue::kEveryRow, holds, wire, request);
  hold(slot, read.bytes());
  loop_.start_parts(std::move(read), request, id_, slot);
}

// False: the policy's answer is the reply.
bool Client::run_again(policies::Finish& finish) {
  if (!own_ || !own_->ready() || finish.close || finish.reply.starts_with('-')) {
    again_.reset();
    return false;
  }
  again_->answer = std::move(finish.reply);
  ++outstanding_;
  own_->expect({}, kCachingYes, Expect::dropped, 1, {});
  own_->expect(id_, again_->wire, Expect::again, 1, {});
  return true;
}

// What Redis has by now is newer than what the policy has answered; if it has nothing, that stands.
void Client::ran_again(std::string_view reply) {
  if (closed_ || !again_) return;
  const auto again = std::move(again_);
  --outstanding_;
  const bool absent = resp::is_absent(again->absence, reply, again->wire);
  settle(again->slot, {absent ? std::move(again->answer) : std::string(reply)});
}

// Its connection is gone: the policy's answer is the reply, if it is there already.
void Client::abandon_again() {
  const auto again = std::move(again_);
  if (!again || again->answer.empty()) return;
  replies_.fill(again->slot, std::move(again->answer), false);
  replies_.settle(stream_.out());
}

// Whether reads of these rows, which must not see what a write of them does, are under way.
bool Client::reads_rows_of(const std::vector<std::string>& keys) {
  if (outstanding_ == 0) rows_read_ = 0;
  return std::any_of(keys.begin(), keys.end(), [this](const std::string& key) {
    return (rows_read_ & bit_of(key)) != 0 || replies_.is_row_busy(row_of(key));
  });
}

// Whether SQL may answer the command while Redis cannot be reached.
bool Client::reads_without_redis(std::uint32_t policy, std::string_view wire) {
  const auto from_sql = [this](std::uint32_t index) {
    return loop_.router().policy(index).options().on_redis_down == conf::OnRedisDown::sql;
  };
  if (!from_sql(policy)) return false;
  const policies::Request request = miss_of(wire);
  if (!has_several(request)) return true;
  const SplitRead read(loop_.router(), *request.command, request.args, {});
  return std::all_of(read.parts().begin(), read.parts().end(),
                     [&](const SplitRead::Part& part) { return part.policy && from_sql(*part.policy); });
}

// --- From the upstream -------------------------------------------------------------------------------------------

void Client::read_missed(std::uint32_t policy, std::string_view wire, std::string_view reply) {
  if (closed_) return;
  --outstanding_;
  begin_miss(policy, wire, Miss::absent, reply);
}

// The keys' leases are cleared before the client learns that its write was done: also of those who read meanwhile that
// there is no row.
void Client::held_reply(std::string_view note, std::string_view reply) {
  effect_seen(note, reply);
  --outstanding_;
  const std::uint64_t slot = replies_.open(0, nullptr, false, false);
  loop_.start(make_guard_clearing(loop_.router().guards_of(decode_keys(note.substr(1))), std::string(reply)), id_,
              slot);
}

void Client::read_lost(std::uint32_t policy, std::string_view wire, bool sent, const std::string& reason) {
  const bool redis_up = loop_.anybody().shared() != nullptr;  // it is this user's connection that it has closed
  if (own_ || redis_up || !reads_without_redis(policy, wire)) return upstream_lost(sent, reason);
  if (closed_ || finishing_) return;
  --outstanding_;
  begin_miss(policy, wire, Miss::redis_down);
}

}  // namespace sluice::proxy

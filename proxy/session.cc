// Session: which commands need a connection of their own, and what they change.
#include "proxy/session.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <string_view>
#include <utility>

#include "resp/integer.h"

namespace sluice::proxy {
namespace {

using resp::CommandId;
using Where = Session::Plan::Where;

bool is_word(std::string_view argument, std::string_view lower_case) {
  return std::equal(argument.begin(), argument.end(), lower_case.begin(), lower_case.end(),
                    [](unsigned char a, unsigned char b) { return std::tolower(a) == b; });
}

bool has_word(const resp::Command& command, std::string_view lower_case) {
  return std::any_of(command.args.begin() + 1, command.args.end(),
                     [&](std::string_view argument) { return is_word(argument, lower_case); });
}

bool may_block(const resp::CommandInfo& info, const resp::Command& command) {
  if (!info.has(resp::flag::blocking)) return false;
  const bool by_option = info.id == CommandId::xread || info.id == CommandId::xreadgroup;
  return !by_option || has_word(command, "block");
}

Session::Plan own(PinReason reason, Effect effect, bool barrier = false) {
  return {Where::own, reason, effect, barrier, 1};
}

// CLIENT PAUSE milliseconds [WRITE|ALL]: how long; 0 for what Redis will refuse.
std::chrono::milliseconds pause_of(const resp::Command& command) {
  constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24 * 365);
  const auto& args = command.args;
  const bool fits = args.size() == 3 || (args.size() == 4 && (is_word(args[3], "write") || is_word(args[3], "all")));
  const auto duration = fits ? resp::parse_integer(args[2]) : std::nullopt;
  if (!duration || *duration < 0) return std::chrono::milliseconds(0);
  return std::min(std::chrono::milliseconds(*duration), kLongest);
}

Subscription subscription_of(std::string_view kind) {
  if (kind.starts_with('p')) return Subscription::pattern;
  if (kind.starts_with("ss") || kind.starts_with("sun")) return Subscription::shard;
  return Subscription::channel;
}

}  // namespace

bool Session::is_plain(const resp::CommandInfo& info) {
  constexpr std::uint32_t special = resp::flag::blocking | resp::flag::pubsub | resp::flag::connection |
                                    resp::flag::transaction | resp::flag::no_auth | resp::flag::admin |
                                    resp::flag::scripting;
  return !info.has(special);
}

Session::Plan Session::plan(const resp::CommandInfo* info, const resp::Command& command) const {
  Plan plan = info == nullptr ? plan_unknown(command) : plan_known(*info, command);
  // Confirmations of subscriptions are sent all the same (pubsub.c: CLIENT_PUSHING).
  const bool shown = plan.effect == Effect::reply_on || plan.effect == Effect::subscribe || plan.where == Where::quit;
  if (reply_mode_ != ReplyMode::on && !shown) plan.replies = 0;
  return plan;
}

// Redis refuses everything else while a RESP2 connection has subscriptions.
bool Session::refused_while_subscribed(const resp::CommandInfo& info) const {
  return subscribed() && version_ == resp::Version::resp2 && !info.has(resp::flag::pubsub) &&
         info.id != CommandId::quit && info.id != CommandId::reset;
}

Session::Plan Session::plan_known(const resp::CommandInfo& info, const resp::Command& command) const {
  if (refused_while_subscribed(info)) return {};
  const bool fits = info.arity_fits(command.args.size());
  switch (info.id) {
    case CommandId::quit:
      return {Where::quit, {}, {}, true, 1};
    case CommandId::reset:
      return fits ? Plan{Where::reset, {}, Effect::reset, true, 1} : Plan{};
    case CommandId::subscribe:
    case CommandId::psubscribe:
    case CommandId::ssubscribe:
    case CommandId::unsubscribe:
    case CommandId::punsubscribe:
    case CommandId::sunsubscribe: {
      if (!fits) return {};
      if (multi_) return own(PinReason::subscribe, Effect::queue_hidden);
      // A bare UNSUBSCRIBE is confirmed once per subscription: only when nothing is under way is their number known.
      return {Where::own, PinReason::subscribe, Effect::subscribe, true, confirmations(info, command)};
    }
    case CommandId::exec: {  // with too many words it is refused, and ends the transaction all the same
      if (!multi_) return {};
      if (hides_) return own(PinReason::subscribe, Effect::relay, true);
      const bool selects = fits && queued_db_ >= 0;
      return {Where::any, {}, selects ? Effect::exec_select : Effect::end_multi, selects, 1};
    }
    default:
      break;
  }
  if (!fits) return {};  // Redis refuses it, nothing changes
  switch (info.id) {
    case CommandId::multi:
      return multi_ ? Plan{} : own(PinReason::multi, Effect::multi);
    case CommandId::discard:
      return {Where::any, {}, multi_ ? Effect::end_multi : Effect::none, false, 1};
    case CommandId::watch:
      return multi_ ? Plan{} : own(PinReason::watch, Effect::watch);
    case CommandId::unwatch:
      return {Where::any, {}, multi_ ? Effect::none : Effect::unwatch, false, 1};
    case CommandId::select: {
      Plan plan = own(PinReason::select, multi_ ? Effect::queue_select : Effect::select, !multi_);
      std::from_chars(command.args[1].data(), command.args[1].data() + command.args[1].size(), plan.db);
      return plan;
    }
    case CommandId::auth:
      return own(PinReason::auth, multi_ ? Effect::queue_hidden : Effect::auth, !multi_);
    case CommandId::hello:
      return own(PinReason::hello, multi_ ? Effect::queue_hidden : Effect::hello, !multi_);
    case CommandId::client:
      return plan_client(command);
    case CommandId::monitor:
      return own(PinReason::monitor, Effect::relay, true);
    case CommandId::sync:
    case CommandId::psync:
      return own(PinReason::raw, Effect::relay, true);
    case CommandId::replconf:
      return own(PinReason::raw, lasting());
    case CommandId::wait:
      return own(PinReason::wait, multi_ ? Effect::sticky : Effect::wait);
    case CommandId::shutdown:  // may wait for replicas, until SHUTDOWN ABORT comes on another connection
      return own(PinReason::blocking, Effect::none);
    case CommandId::readonly:
    case CommandId::readwrite:
    case CommandId::asking:
      return own(PinReason::client, Effect::sticky);
    case CommandId::script:
      return command.args.size() > 1 && is_word(command.args[1], "debug") ? own(PinReason::raw, Effect::relay, true)
                                                                          : Plan{};
    default:
      if (multi_) return {};
      // It may run for ever: Redis reads nothing more from its connection until SCRIPT KILL comes on another one.
      if (info.has(resp::flag::scripting)) return own(PinReason::blocking, Effect::none);
      return may_block(info, command) ? own(PinReason::blocking, Effect::block) : Plan{};
  }
}

// WAITAOF came with Redis 7.2.
Session::Plan Session::plan_unknown(const resp::Command& command) const {
  const bool waits = !multi_ && command.args.size() == 4 && is_word(command.name(), "waitaof");
  return waits ? own(PinReason::wait, Effect::wait) : own(PinReason::unknown, lasting());
}

// What Redis refuses changes nothing, but for a transaction, whose parts are not looked at.
Effect Session::lasting() const { return multi_ ? Effect::sticky : Effect::sticky_once_done; }

// CLIENT shows or changes the connection it runs on, but for a few server-wide subcommands.
Session::Plan Session::plan_client(const resp::Command& command) const {
  const std::string_view what = command.args[1];
  if (is_word(what, "help")) return {};
  if (is_word(what, "pause")) {
    return {Where::any, {}, multi_ ? Effect::queue_pause : Effect::pause, false, 1, -1, pause_of(command)};
  }
  // Redis reads nothing from a connection whose command it has paused.
  if (is_word(what, "unpause")) return own(PinReason::client, multi_ ? Effect::none : Effect::unpause);
  if (is_word(what, "getname") && !multi_) return own(PinReason::client, Effect::none);
  const bool labels =
      (is_word(what, "setname") && command.args.size() == 3) || (is_word(what, "setinfo") && command.args.size() == 4);
  if (labels && !multi_) return own(PinReason::client, Effect::label, true);
  if (is_word(what, "tracking")) return own(PinReason::tracking, lasting());
  if (!is_word(what, "reply") || command.args.size() != 3) return own(PinReason::client, lasting());
  // Executed by EXEC it would cut off a part of EXEC's own reply.
  if (multi_) return {Where::no, PinReason::client, Effect::none, false, 1};
  Plan plan = own(PinReason::client, Effect::sticky);
  if (is_word(command.args[2], "on")) {
    plan.effect = Effect::reply_on;
  } else if (is_word(command.args[2], "off")) {
    plan.effect = Effect::reply_off;
    plan.replies = 0;
  } else if (is_word(command.args[2], "skip")) {
    plan.effect = reply_mode_ == ReplyMode::off ? Effect::sticky : Effect::reply_skip;
    plan.replies = 0;
  }
  return plan;
}

std::uint32_t Session::confirmations(const resp::CommandInfo& info, const resp::Command& command) const {
  if (command.args.size() > 1) return static_cast<std::uint32_t>(command.args.size() - 1);
  const auto kind = subscription_of(info.name);
  return static_cast<std::uint32_t>(std::max<std::int64_t>(1, subscribed_[static_cast<std::size_t>(kind)]));
}

void Session::began(const Plan& plan) {
  const bool skipped = reply_mode_ == ReplyMode::skip;
  if (plan.reason == PinReason::tracking) tracks_ = true;
  switch (plan.effect) {
    case Effect::none:
    case Effect::subscribe:
      break;
    case Effect::multi:
      multi_ = true;
      queued_pause_ = std::chrono::milliseconds(0);
      break;
    case Effect::end_multi:
      multi_ = watch_ = hides_ = false;
      queued_db_ = -1;
      break;
    case Effect::exec_select:  // queued_db_ counts until the reply is here
      multi_ = watch_ = false;
      break;
    case Effect::queue_pause:
      queued_pause_ = plan.pause;
      break;
    case Effect::queue_select:
      queued_db_ = plan.db;
      sticky_ = true;
      break;
    case Effect::watch:
      watch_ = true;
      break;
    case Effect::unwatch:
      watch_ = false;
      break;
    case Effect::wait:
      sticky_ = true;
      if (plan.replies != 0) ++blocking_;
      break;
    case Effect::block:
      if (plan.replies != 0) ++blocking_;
      break;
    case Effect::queue_hidden:
      hides_ = sticky_ = true;
      break;
    case Effect::relay:
      relayed_ = sticky_ = true;
      multi_ = false;
      break;
    case Effect::reply_on:
      reply_mode_ = ReplyMode::on;
      sticky_ = true;
      return;
    case Effect::reply_off:
      reply_mode_ = ReplyMode::off;
      sticky_ = true;
      return;
    case Effect::reply_skip:
      reply_mode_ = ReplyMode::skip;
      sticky_ = true;
      return;
    case Effect::select:
      if (plan.replies == 0) db_unsure_ = true;  // nobody will tell whether it succeeded
      break;
    case Effect::auth:
    case Effect::hello:
    case Effect::label:
    case Effect::pause:
    case Effect::unpause:
      break;
    case Effect::sticky_once_done:
      if (plan.replies == 0) sticky_ = true;
      break;
    case Effect::sticky:
      sticky_ = true;
      break;
    case Effect::reset:
      reset();
      break;
  }
  if (skipped) reply_mode_ = ReplyMode::on;
}

void Session::select_done(int db) {
  db_ = db;
  db_unsure_ = false;
}

// Whether the SELECT itself succeeded is somewhere in the reply to EXEC.
void Session::exec_select_done(bool executed) {
  if (executed) db_unsure_ = true;
  queued_db_ = -1;
}

void Session::multi_refused() {
  multi_ = false;
  if (queued_db_ >= 0) db_unsure_ = true;
  if (hides_) user_unsure_ = true;
  queued_db_ = -1;
  queued_pause_ = std::chrono::milliseconds(0);
}

// CLIENT SETNAME name, CLIENT SETINFO LIB-NAME|LIB-VER text
void Session::label_done(const resp::Command& command) {
  const std::string value(command.args.back());
  if (command.args.size() == 3) {
    labels_.name = value;
  } else {
    (is_word(command.args[2], "lib-name") ? labels_.library : labels_.library_version) = value;
  }
}

// AUTH [user] password; HELLO [version [AUTH user password] [SETNAME name]]
void Session::identify_done(const resp::Command& command) {
  if (is_word(command.name(), "auth")) {
    user_ = command.args.size() == 3 ? command.args[1] : "default";
    password_ = command.args.back();
    user_unsure_ = false;
    return;
  }
  if (command.args.size() < 2) return;
  version_ = command.args[1] == "3" ? resp::Version::resp3 : resp::Version::resp2;
  take_hello_options(command);
}

void Session::take_hello_options(const resp::Command& command) {
  for (std::size_t i = 2; i < command.args.size();) {
    if (is_word(command.args[i], "auth") && i + 2 < command.args.size()) {
      user_ = command.args[i + 1];
      password_ = command.args[i + 2];
      user_unsure_ = false;
      i += 3;
    } else if (is_word(command.args[i], "setname") && i + 1 < command.args.size()) {
      labels_.name = command.args[i + 1];
      i += 2;
    } else {
      ++i;
    }
  }
}

// Most likely it went well; where that would give rights, nothing is taken for granted.
void Session::identify_unseen(const resp::Command& command) {
  user_unsure_ = true;
  if (is_word(command.name(), "hello") && command.args.size() > 1) {
    version_ = command.args[1] == "3" ? resp::Version::resp3 : resp::Version::resp2;
  }
}

void Session::reset_unseen() {
  reset();
  user_unsure_ = db_unsure_ = sticky_ = true;
}

// A HELLO may fail after some of its options have been applied: networking.c takes them one by one.
void Session::identify_refused(const resp::Command& command, std::string_view reply) {
  const auto& args = command.args;
  if (!is_word(command.name(), "hello") || args.size() < 3 || reply.starts_with("-NOPROTO")) return;
  const bool first_refused = reply.starts_with("-WRONGPASS") && is_word(args[2], "auth");
  if (first_refused && std::none_of(args.begin() + 3, args.end(), [](auto arg) { return is_word(arg, "auth"); }))
    return;
  user_unsure_ = sticky_ = true;
}

// RESET leaves what SETINFO has told.
void Session::reset() {
  Labels kept = std::move(labels_);
  kept.name.clear();
  *this = Session{};
  labels_ = std::move(kept);
}

void Session::subscribe_done(std::string_view kind, std::int64_t remaining) {
  const auto which = subscription_of(kind);
  const auto at = [this](Subscription s) -> std::int64_t& { return subscribed_[static_cast<std::size_t>(s)]; };
  if (which == Subscription::shard) {
    at(which) = remaining;
  } else {
    const auto other = which == Subscription::channel ? Subscription::pattern : Subscription::channel;
    at(which) = std::max<std::int64_t>(0, remaining - at(other));
  }
}

std::int64_t Session::subscriptions() const { return subscribed_[0] + subscribed_[1] + subscribed_[2]; }

bool Session::shareable() const {
  return !multi_ && !watch_ && !sticky_ && !relayed_ && blocking_ == 0 && subscriptions() == 0;
}

}  // namespace sluice::proxy

// Upstream: sending runs of commands, and giving each reply to the one who waits for it.
#include "proxy/upstream.h"

#include <charconv>
#include <utility>

namespace sluice::proxy {
namespace {

// Runs of commands that wait for their replies, and bytes kept with them; as many as this make it congested, too.
constexpr std::size_t kPendingMax = 1UL << 18;
constexpr std::size_t kNoteBytesMax = 64UL << 20;

// Of a bulk or aggregate, and more of it than an error would be told by.
bool begins_large(std::string_view bytes) {
  constexpr std::size_t kEnough = 4096;
  return bytes.size() > kEnough && bytes[0] != '-' && bytes[0] != '+' && bytes[0] != '>' && bytes[0] != '|';
}

// The text of the first element of an array or push, if that is a bulk string.
std::string_view first_element(std::string_view reply) {
  const auto header = reply.find("\r\n");
  if (header == std::string_view::npos || !reply.substr(header + 2).starts_with('$')) return {};
  const auto text = reply.find("\r\n", header + 2);
  if (text == std::string_view::npos) return {};
  const auto end = reply.find("\r\n", text + 2);
  return end == std::string_view::npos ? std::string_view{} : reply.substr(text + 2, end - text - 2);
}

bool is_confirmation(std::string_view kind) {
  return kind == "subscribe" || kind == "unsubscribe" || kind == "psubscribe" || kind == "punsubscribe" ||
         kind == "ssubscribe" || kind == "sunsubscribe";
}

bool is_message(std::string_view kind) { return kind == "message" || kind == "pmessage" || kind == "smessage"; }

// The integer that ends a confirmation: how many subscriptions are left.
std::int64_t last_integer(std::string_view reply) {
  std::int64_t value = 0;
  const auto colon = reply.rfind(':');
  if (colon != std::string_view::npos) std::from_chars(reply.data() + colon + 1, reply.data() + reply.size(), value);
  return value;
}

}  // namespace

Upstream::Upstream(EventLoop& loop, const conf::UpstreamOptions& options, UpstreamUser& user, policies::Count& sent)
    : link_(loop, options.endpoint, options.connect_timeout, *this), user_(user), sent_(sent) {}

void Upstream::close() {
  link_.close();
  std::string note;
  while (!pending_.empty()) {
    if (pop(note).expect == Expect::held) user_.on_held_lost(note);
  }
}

void Upstream::fail(const std::string& reason) {
  link_.close();
  link_down(reason);
}

void Upstream::send(std::string_view bytes) {
  sent_.add(bytes.size());
  link_.send(bytes);
}

void Upstream::connect() {
  was_up_ = false;
  prepared_ = true;
  link_.connect();
}

void Upstream::prepare(const Transformation& commands) {
  prepared_ = attempt_done_ = false;
  may_be_nobody_ = commands.may_be_nobody;
  if (commands.attempt.count != 0) expect({}, commands.attempt.wire, Expect::attempt, commands.attempt.count, {});
  expect({}, commands.needed.wire, Expect::prepared, commands.needed.count, {});
}

void Upstream::forward(ClientId client, std::string_view wire, std::uint32_t replies) {
  send(wire);
  if (!pending_.empty()) {
    Pending& last = pending_.back();
    if (last.expect == Expect::reply && last.client == client) {
      last.replies += replies;
      return;
    }
  }
  if (replies != 0) pending_.push({client, replies, 0, Expect::reply, {}, 0, 0});
}

void Upstream::expect(ClientId client, std::string_view wire, Expect expect, std::uint32_t replies,
                      std::string_view note) {
  send(wire);
  notes_.append(note);
  pending_.push({client, replies, static_cast<std::uint32_t>(note.size()), expect, {}, 0, 0});
}

void Upstream::expect_read(ClientId client, std::string_view wire, std::uint32_t policy, std::uint32_t keys,
                           resp::Absence absence) {
  expect(client, wire, Expect::read, 1, wire);
  pending_.back().absence = absence;
  pending_.back().keys = static_cast<std::uint16_t>(std::min<std::uint32_t>(keys, UINT16_MAX));
  pending_.back().policy = policy;
}

bool Upstream::above(std::size_t bytes_max) const {
  return link_.unwritten() > bytes_max || pending_.size() > kPendingMax || notes_.size() > kNoteBytesMax;
}

bool Upstream::congested(std::size_t bytes_max) {
  if (above(bytes_max)) congested_ = true;
  return congested_;
}

// Written out, and Redis has answered enough.
void Upstream::check_congestion() {
  if (!congested_ || above(0)) return;
  congested_ = false;
  user_.on_uncongested(*this);
}

void Upstream::pause_reading() {
  if (paused_ || !up()) return;
  paused_ = true;
  link_.stop_reading();
}

void Upstream::resume_reading() {
  if (!std::exchange(paused_, false) || !up()) return;
  link_.start_reading();
}

void Upstream::link_up() {
  was_up_ = true;
  user_.on_up(*this);
}

void Upstream::link_drained() { check_congestion(); }

// The user may close the connection, or send on it, during any call.
void Upstream::link_read(std::string_view bytes) {
  while (!bytes.empty() && usable()) {
    if (relaying_) return user_.on_bytes(bound_, bytes);
    if (mode_ == Mode::between) mode_ = mode_of(bytes);
    if (mode_ == Mode::capturing && framer_.idle() && begins_large(bytes)) {
      show_effect(bytes);
      if (!usable()) return;
    }
    bool in_step = false;
    switch (mode_) {
      case Mode::streaming:
        in_step = stream(bytes);
        break;
      case Mode::unasked:
        in_step = stream_unasked(bytes);
        break;
      case Mode::capturing:
        in_step = capture(bytes);
        break;
      case Mode::dropping:
        in_step = drop(bytes);
        break;
      case Mode::between:
      case Mode::surprise:
        break;
    }
    if (in_step) continue;
    return fail("Redis sent what is not a reply");
  }
  if (congested_ && usable()) check_congestion();
}

Upstream::Mode Upstream::mode_of(std::string_view bytes) {
  if (bytes[0] == '>') return inspecting_ ? Mode::capturing : Mode::unasked;
  if (inspecting_ && !pushes_ && bytes[0] == '*' && expects_messages()) return Mode::capturing;
  if (pending_.empty()) return bound_.generation != 0 ? Mode::unasked : Mode::surprise;
  switch (pending_.front().expect) {
    case Expect::reply:
      return Mode::streaming;
    case Expect::read:
      if (bytes[0] == '-' || resp::may_be_absent(pending_.front().absence, bytes)) return Mode::capturing;
      return Mode::streaming;
    case Expect::effect:
    case Expect::replaced:
    case Expect::guarded:
    case Expect::confirm:
    case Expect::held:
    case Expect::dropped:
    case Expect::attempt:
    case Expect::prepared:
    case Expect::counted:
    case Expect::again:
      return Mode::capturing;
  }
  return Mode::surprise;
}

// How a reply begins says what has changed: the rest of a large one need not be kept.
void Upstream::show_effect(std::string_view bytes) {
  if (inspecting_ || pending_.empty() || pending_.front().expect != Expect::effect) return;
  Pending& front = pending_.front();
  const std::string note(notes_.view().substr(0, front.note_bytes));
  notes_.consume(std::exchange(front.note_bytes, 0));
  front.expect = Expect::reply;
  mode_ = Mode::streaming;
  user_.on_effect(front.client, note, bytes);
}

// Passes on as many replies of one client as follow each other, in one piece.
bool Upstream::stream(std::string_view& bytes) {
  const ClientId client = pending_.front().client;
  std::size_t passed = 0;
  std::uint32_t replies = 0;
  while (mode_ == Mode::streaming) {
    const auto progress = framer_.feed(bytes.substr(passed));
    if (progress.status == resp::ReplyFramer::Status::malformed) return false;
    passed += progress.size;
    if (progress.status == resp::ReplyFramer::Status::more) break;
    mode_ = Mode::between;
    ++replies;
    if (pending_.front().expect == Expect::read) user_.on_hit(pending_.front().policy, pending_.front().keys);
    if (--pending_.front().replies == 0) pop();
    const bool goes_on = passed < bytes.size() && !pending_.empty() && pending_.front().client == client;
    if (goes_on && mode_of(bytes.substr(passed)) == Mode::streaming) mode_ = Mode::streaming;
  }
  const std::string_view whole = bytes.substr(0, passed);
  bytes.remove_prefix(passed);
  user_.on_bytes(client, whole);
  if (replies != 0) user_.on_replies(client, replies);
  return true;
}

bool Upstream::stream_unasked(std::string_view& bytes) {
  const auto progress = framer_.feed(bytes);
  if (progress.status == resp::ReplyFramer::Status::malformed) return false;
  if (progress.status == resp::ReplyFramer::Status::complete) mode_ = Mode::between;
  const std::string_view part = bytes.substr(0, progress.size);
  bytes.remove_prefix(progress.size);
  user_.on_bytes(bound_, part);
  return true;
}

bool Upstream::capture(std::string_view& bytes) {
  const auto progress = framer_.feed(bytes);
  if (progress.status == resp::ReplyFramer::Status::malformed) return false;
  const std::string_view part = bytes.substr(0, progress.size);
  bytes.remove_prefix(progress.size);
  const bool complete = progress.status == resp::ReplyFramer::Status::complete;
  if (!complete || !held_.empty()) held_.append(part);
  if (!complete) {
    if (!is_kept(held_.size())) mode_ = Mode::dropping;
    return true;
  }
  mode_ = Mode::between;
  const Buffer whole = std::move(held_);
  if (!whole.empty()) static_cast<void>(is_kept(0));
  finish(whole.empty() ? part : whole.view());
  return true;
}

// What is kept for a client counts as its output. A push, or what may be a message, is small and not the reply.
bool Upstream::is_kept(std::size_t bytes) {
  if (inspecting_ || pending_.empty() || pending_.front().expect != Expect::read) return true;
  if (user_.on_kept(pending_.front().client, bytes)) return true;
  held_.clear();
  return false;
}

bool Upstream::drop(std::string_view& bytes) {
  const auto progress = framer_.feed(bytes);
  if (progress.status == resp::ReplyFramer::Status::malformed) return false;
  bytes.remove_prefix(progress.size);
  if (progress.status == resp::ReplyFramer::Status::more) return true;
  mode_ = Mode::between;
  pop();
  return true;
}

Upstream::Pending Upstream::pop() {
  const Pending front = pending_.front();
  pending_.pop();
  if (front.note_bytes != 0) notes_.consume(front.note_bytes);
  return front;
}

Upstream::Pending Upstream::pop(std::string& note) {
  note = notes_.view().substr(0, pending_.front().note_bytes);
  return pop();
}

void Upstream::pass(ClientId client, std::string_view reply) {
  user_.on_bytes(client, reply);
  user_.on_replies(client, 1);
}

// A reply that was wanted whole. Entries are removed before the user is told: it may send more.
void Upstream::finish(std::string_view reply) {
  if (inspecting_ && finish_subscription(reply)) return;
  if (reply[0] == '>' || pending_.empty()) return user_.on_bytes(bound_, reply);
  std::string note;
  switch (const Pending front = pending_.front(); front.expect) {
    case Expect::reply:
      if (--pending_.front().replies == 0) pop();
      return pass(front.client, reply);
    case Expect::read:
      pop(note);
      if (resp::is_absent(front.absence, reply, note)) return user_.on_miss(front.client, front.policy, note, reply);
      if (reply[0] != '-') front.keys != 0 ? user_.on_hit(front.policy, front.keys) : user_.on_hits(note);
      return pass(front.client, reply);
    case Expect::effect:
      pop(note);
      user_.on_effect(front.client, note, reply);
      return pass(front.client, reply);
    case Expect::replaced:
      pop(note);
      return pass(front.client, note);
    case Expect::guarded:
      return finish_guarded(reply);
    case Expect::confirm:  // not a confirmation: the command was refused
      pop();
      return pass(front.client, reply);
    case Expect::held:
      pop(note);
      return user_.on_held(front.client, note, reply);
    case Expect::again:
      pop();
      return user_.on_again(front.client, reply);
    case Expect::dropped:
      if (--pending_.front().replies == 0) pop();
      return;
    case Expect::attempt:
      attempt_done_ = reply[0] != '-';
      if (--pending_.front().replies == 0) pop();
      return;
    case Expect::prepared:
      return finish_prepared(reply);
    case Expect::counted:
      pop(note);
      user_.on_effect(front.client, std::string_view(note).substr(0, 1), reply);
      return pass(front.client, attempt_done_ ? reply : std::string_view(note).substr(1));
  }
}

void Upstream::finish_prepared(std::string_view reply) {
  const bool needless = attempt_done_ && pending_.front().replies == 1;
  const bool refused = reply[0] == '-' && !(may_be_nobody_ && reply.starts_with("-NOAUTH"));
  if (refused && !needless) return fail("Redis says: " + std::string(reply.substr(1, reply.find('\r') - 1)));
  if (--pending_.front().replies != 0) return;
  pop();
  prepared_ = true;
  user_.on_ready(*this);
}

// Replies come as: +OK, a +QUEUED per guard, the command's +QUEUED or error, and EXEC's array.
void Upstream::finish_guarded(std::string_view reply) {
  Pending& front = pending_.front();
  const std::uint32_t left = --front.replies;
  if (left == 1 && reply[0] == '-') refusal_ = reply;
  if (left != 0) return;
  std::string guards;
  const Pending done = pop(guards);
  const std::string refusal = std::exchange(refusal_, {});
  if (!refusal.empty()) return pass(done.client, refusal);
  if (reply[0] != '*') return pass(done.client, reply);  // EXEC itself failed
  pass_without_guards(done.client, reply, static_cast<std::uint32_t>(std::stoul(guards)));
}

// EXEC's array: the replies to the guards, the command's, and among them messages that the client has caused to itself.
void Upstream::pass_without_guards(ClientId client, std::string_view reply, std::uint32_t guards) {
  resp::ReplyFramer framer;
  for (reply.remove_prefix(reply.find("\r\n") + 2); !reply.empty();) {
    const std::string_view element = reply.substr(0, framer.feed(reply).size);
    reply.remove_prefix(element.size());
    if (framer.is_push()) {
      user_.on_bytes(client, element);
    } else if (guards != 0) {
      --guards;
    } else {
      pass(client, element);
    }
  }
}

// In RESP2 messages look like any array; there are none without a subscription.
bool Upstream::expects_messages() {
  return channels_ + shards_ > 0 || (!pending_.empty() && pending_.front().expect == Expect::confirm);
}

// True when the reply was a message or a confirmation and is dealt with.
bool Upstream::finish_subscription(std::string_view reply) {
  if (reply[0] != '>' && (reply[0] != '*' || pushes_ || !expects_messages())) return false;
  const std::string_view kind = first_element(reply);
  if (is_message(kind)) {
    user_.on_bytes(bound_, reply);
    return true;
  }
  if (!is_confirmation(kind)) return false;
  user_.on_bytes(bound_, reply);
  (kind.starts_with("ss") || kind.starts_with("sun") ? shards_ : channels_) = last_integer(reply);
  user_.on_subscription(bound_, kind, last_integer(reply));
  if (pending_.empty() || pending_.front().expect != Expect::confirm || --pending_.front().replies != 0) return true;
  user_.on_replies(pop().client, 1);
  return true;
}

void Upstream::link_down(const std::string& reason) {
  paused_ = false;
  framer_ = {};
  mode_ = Mode::between;
  held_.clear();
  refusal_.clear();
  std::string note;
  while (!pending_.empty()) {
    const Pending lost = pop(note);
    if (lost.expect == Expect::read) {
      user_.on_read_lost(lost.client, lost.policy, note, was_up_, reason);
    } else {
      if (lost.expect == Expect::held) user_.on_held_lost(note);
      user_.on_lost(lost.client, was_up_, reason);
    }
  }
  congested_ = false;
  user_.on_down(*this, reason);
}

}  // namespace sluice::proxy

// Client: a command too large to keep, passed on over a connection of the client's own while it still arrives.
#include <algorithm>

#include "proxy/client.h"
#include "proxy/loop.h"

namespace sluice::proxy {
namespace {

// A command of which this much is missing or here already is streamed, if it can be.
constexpr std::size_t kLargeCommandBytes = 1UL << 20;
// How much of it may wait for Redis before the client has to.
constexpr std::size_t kAheadBytes = 1UL << 20;

}  // namespace

// What the parser has seen of a command is incomplete: keep it (0), or begin to pass it on.
std::size_t Client::take_large(std::string_view input) {
  if (input.size() + parser_.bytes_missing() <= kLargeCommandBytes) return 0;
  const auto name = parser_.argument(input, 0);
  if (!name) return 0;
  const resp::CommandInfo* info = resp::find_command(*name);
  if (!may_stream(info, input)) return 0;
  waits_ = !begin_stream(info);
  return streaming_ ? take_part(input) : 0;
}

// Only what goes to Redis unchanged and gets one reply, whatever the arguments that are still to come.
bool Client::may_stream(const resp::CommandInfo* info, std::string_view input) const {
  if (relaying_ || session_.replies_suppressed()) return false;
  if (info == nullptr) return loop_.router().empty() && !is_own_command(*parser_.argument(input, 0));
  if (!Session::is_plain(*info)) return false;
  if (loop_.router().empty()) return true;
  const Standing standing = policies_apply();
  return standing != Standing::unknown &&
         loop_.router().is_elsewhere(*info, parser_.argument(input, 1), standing == Standing::outside);
}

// False when it must wait for replies to earlier commands.
bool Client::begin_stream(const resp::CommandInfo* info) {
  flush_run();
  if (replies_.writing()) return false;
  const PinReason reason = info == nullptr ? PinReason::unknown : PinReason::large_request;
  if (!own_ && !pin(always_own_ ? PinReason::session : reason)) return finishing_;
  if (!own_->ready() || own_->congested(kAheadBytes)) return false;
  loop_.metrics().commands_forwarded.add();
  loop_.metrics().commands_streamed.add();
  loop_.metrics().count_command(info);
  session_.began({});
  if (info == nullptr) session_.stick();  // its reply is not looked at
  ++outstanding_;
  own_->forward(id_, {}, 1);
  parser_.stream();
  streaming_ = true;
  return true;
}

// Passes on what has come of it.
std::size_t Client::take_part(std::string_view input) {
  waits_ = own_->congested(kAheadBytes);
  if (waits_) return 0;
  resp::Command none;
  switch (parser_.next(input, none)) {
    case resp::CommandParser::Status::part:
      own_->send_raw(input.substr(0, parser_.skipped()));
      streaming_ = !parser_.idle();
      return parser_.skipped();
    case resp::CommandParser::Status::error:
      bad_input_ = true;
      return 0;
    case resp::CommandParser::Status::command:
    case resp::CommandParser::Status::skip:
    case resp::CommandParser::Status::incomplete:
      return 0;
  }
  return 0;
}

// The rest of it will never come. Redis is left with half a command, so the connection is for nobody else; it is closed
// once the commands before it are answered.
void Client::abandon_stream() {
  if (!streaming_ || !own_ || waits_ || !(ended_ || bad_input_) || outstanding_ > 1) return;
  streaming_ = false;
  outstanding_ = 0;
  discard_own();
}

}  // namespace sluice::proxy

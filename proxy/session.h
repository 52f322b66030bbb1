// Session: the state that Redis keeps for a client's connection, as far as sluice must know it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/identity.h"
#include "proxy/pin_reason.h"
#include "resp/command.h"
#include "resp/command_table.h"
#include "resp/encode.h"

namespace sluice::proxy {

// What a command or its reply changes in the session.
enum class Effect : std::uint8_t {
  none,
  multi,
  end_multi,
  watch,
  unwatch,
  block,
  wait,
  subscribe,
  queue_hidden,
  queue_pause,
  select,
  queue_select,
  exec_select,
  auth,
  hello,
  label,
  pause,
  unpause,
  reset,
  relay,  // replies can be matched no more
  sticky,
  sticky_once_done,  // as sticky, unless it is refused
  reply_on,
  reply_off,
  reply_skip,
};

// The subscriptions of Redis, which count channels and patterns together and shard channels apart.
enum class Subscription : std::uint8_t { channel, pattern, shard };

// A state machine without I/O: plan() says what a command needs, began() and the *_done() calls move the state.
// The state moves when the command is sent, where Redis' answer cannot matter, else when the reply has come.
class Session {
 public:
  struct Plan {
    enum class Where : std::uint8_t {
      any,    // may share an upstream connection
      own,    // needs a connection of the client's own, for `reason`
      quit,   // ends the client
      no,     // cannot be followed: refused
      reset,  // RESET
    };
    Where where = Where::any;
    PinReason reason = PinReason::unknown;
    Effect effect = Effect::none;
    bool barrier = false;                // what follows waits until this is answered
    std::uint32_t replies = 1;           // how many it gets
    int db = -1;                         // SELECT: which
    std::chrono::milliseconds pause{0};  // CLIENT PAUSE: for how long
  };

  // Whatever its arguments, it changes nothing and may share a connection.
  static bool is_plain(const resp::CommandInfo& info);
  // `info` is null for a command that Redis 7.0 does not know.
  Plan plan(const resp::CommandInfo* info, const resp::Command& command) const;

  void began(const Plan& plan);
  void block_done() { --blocking_; }
  // Redis has refused the MULTI: what followed it was not queued.
  void multi_refused();
  // The connection is for nobody else, until RESET.
  void stick() { sticky_ = true; }
  // RESET has been done, or need not be.
  void reset();
  // These succeeded.
  void select_done(int db);
  void exec_select_done(bool executed);
  void label_done(const resp::Command& command);     // CLIENT SETNAME or SETINFO
  void identify_done(const resp::Command& command);  // AUTH or HELLO
  void identify_refused(const resp::Command& command, std::string_view reply);
  // Its reply was not asked for: who the client is for Redis cannot be told.
  void identify_unseen(const resp::Command& command);
  // A RESET of which the same is true.
  void reset_unseen();
  // A subscription was confirmed, and so many of its family remain.
  void subscribe_done(std::string_view kind, std::int64_t remaining);

  // Nothing on the upstream connection would be missed by the client if it lost it.
  bool shareable() const;
  // The CLIENT PAUSE of the transaction that EXEC has just executed; 0: none.
  std::chrono::milliseconds queued_pause() const { return queued_pause_; }
  bool in_multi() const { return multi_; }
  bool watching() const { return watch_; }
  bool blocked() const { return blocking_ != 0; }
  // It may have turned CLIENT TRACKING on.
  bool tracks() const { return tracks_; }
  bool subscribed() const { return subscriptions() != 0; }
  bool skips_reply() const { return reply_mode_ == ReplyMode::skip; }
  bool replies_suppressed() const { return reply_mode_ != ReplyMode::on; }
  int db() const { return db_; }
  const std::string& user() const { return user_; }  // empty: as the connection began
  bool user_unsure() const { return user_unsure_; }
  resp::Version version() const { return version_; }
  // `first_db`: the one a connection begins in.
  Identity identity(int first_db) const { return {version_, user_, password_, db_ < 0 ? first_db : db_}; }
  const Labels& labels() const { return labels_; }
  // True when a command now gets no policy: the connection is not in the database policies act in.
  bool outside(int policy_db) const { return db_ >= 0 && db_ != policy_db; }
  // Who the client is for Redis, or which database a command now meets, cannot be told.
  bool unsure() const { return user_unsure_ || db_unsure_ || queued_db_ >= 0; }

 private:
  enum class ReplyMode : std::uint8_t { on, off, skip };

  void take_hello_options(const resp::Command& command);
  bool refused_while_subscribed(const resp::CommandInfo& info) const;
  Effect lasting() const;
  Plan plan_unknown(const resp::Command& command) const;
  Plan plan_client(const resp::Command& command) const;
  Plan plan_known(const resp::CommandInfo& info, const resp::Command& command) const;
  std::int64_t subscriptions() const;
  std::uint32_t confirmations(const resp::CommandInfo& info, const resp::Command& command) const;

  bool multi_ = false;
  bool watch_ = false;
  bool sticky_ = false;
  bool relayed_ = false;
  bool tracks_ = false;
  bool user_unsure_ = false;
  bool db_unsure_ = false;
  bool hides_ = false;  // EXEC will subscribe, authenticate or switch the protocol, inside its own reply
  ReplyMode reply_mode_ = ReplyMode::on;
  resp::Version version_ = resp::Version::resp2;
  std::uint32_t blocking_ = 0;
  int db_ = -1;  // -1: as the connection began
  std::chrono::milliseconds queued_pause_{0};
  int queued_db_ = -1;  // a SELECT inside MULTI
  std::array<std::int64_t, 3> subscribed_{};
  std::string user_;
  std::string password_;
  Labels labels_;
};

}  // namespace sluice::proxy

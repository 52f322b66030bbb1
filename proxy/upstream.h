// Upstream: a pipelined connection to Redis that carries clients' commands and matches the replies to them, in order.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "policies/policy_metrics.h"
#include "proxy/identity.h"
#include "proxy/link.h"
#include "proxy/ring.h"
#include "resp/absence.h"
#include "resp/reply_framer.h"

namespace sluice::proxy {

// Names a client of this loop; stale once the client is gone.
struct ClientId {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;  // 0: nobody
  bool operator==(const ClientId&) const = default;
};

// What is done with a reply.
enum class Expect : std::uint8_t {
  reply,     // passed on as it arrives
  read,      // passed on, unless it is that of an absent key: then a policy loads the row
  effect,    // passed on; the client's session looks at it
  replaced,  // dropped; the note is passed on in its place
  guarded,   // the replies to MULTI, guards, a command, EXEC: only the command's is passed on
  confirm,   // confirmations of a SUBSCRIBE or UNSUBSCRIBE
  held,      // kept whole and given to on_held instead
  dropped,   // the proxy's own
  attempt,   // the same; whether it succeeded counts for
  prepared,  // these, the proxy's own that must succeed
  counted,   // passed on if the attempt before it succeeded, else the note is
  again,     // kept whole and given to on_again instead
};

// The owner's and the clients' side of an Upstream. Ids may be stale.
class UpstreamUser {
 public:
  // Bytes for the client: parts of its replies, or pushes.
  virtual void on_bytes(ClientId client, std::string_view bytes) = 0;
  // So many replies of this client have been passed on whole.
  virtual void on_replies(ClientId client, std::uint32_t replies) = 0;
  // What became of an expect_read(), unless it was an error, which is only passed on. on_hits(): of several policies.
  virtual void on_hit(std::uint32_t policy, std::uint32_t keys) = 0;
  virtual void on_hits(std::string_view command) = 0;
  virtual void on_miss(ClientId client, std::uint32_t policy, std::string_view command, std::string_view reply) = 0;
  virtual void on_read_lost(ClientId client, std::uint32_t policy, std::string_view command, bool sent,
                            const std::string& reason) = 0;
  // So much of the reply to an expect_read() is kept; 0: no more. False: nobody wants it.
  virtual bool on_kept(ClientId client, std::size_t bytes) = 0;
  // Before the reply is passed on: `note` is the command.
  virtual void on_effect(ClientId client, std::string_view note, std::string_view reply) = 0;
  virtual void on_held(ClientId client, std::string_view note, std::string_view reply) = 0;
  virtual void on_again(ClientId client, std::string_view reply) = 0;
  // The reply to an Expect::held will not come; the command may have run.
  virtual void on_held_lost(std::string_view note) = 0;
  // A subscription was confirmed, `remaining` are left.
  virtual void on_subscription(ClientId client, std::string_view kind, std::int64_t remaining) = 0;
  // The connection is gone and this client had commands outstanding; `sent` is false when none of it reached Redis.
  virtual void on_lost(ClientId client, bool sent, const std::string& reason) = 0;
  virtual void on_up(class Upstream& upstream) = 0;
  virtual void on_ready(class Upstream& upstream) = 0;                            // after prepare()
  virtual void on_down(class Upstream& upstream, const std::string& reason) = 0;  // after the on_lost calls
  virtual void on_uncongested(class Upstream& upstream) = 0;

 protected:
  ~UpstreamUser() = default;
};

// Loop thread only. Commands sent while it connects wait in its output.
class Upstream final : private Link::Owner {
 public:
  // Bytes sent are added to `sent`.
  Upstream(EventLoop& loop, const conf::UpstreamOptions& options, UpstreamUser& user, policies::Count& sent);

  void connect();
  // Sends commands first that must succeed before anything of a client is sent; else the connection fails.
  void prepare(const Transformation& commands);
  // Whether clients' commands may be sent; they wait in its output while it connects.
  bool ready() const { return prepared_ && usable(); }
  // Whether what prepare() sent has succeeded, also once the connection is gone.
  bool prepared() const { return prepared_; }
  // Forgets what is outstanding, except that on_held_lost() is told.
  void close();
  // As if Redis had closed it.
  void fail(const std::string& reason);
  bool usable() const { return link_.state() != Link::State::closed; }
  bool up() const { return link_.state() == Link::State::up; }
  std::size_t outstanding() const { return pending_.size(); }
  std::size_t unwritten() const { return link_.unwritten(); }

  // Sends `replies` commands of one client, framed and complete, whose replies are passed on as they come.
  void forward(ClientId client, std::string_view wire, std::uint32_t replies);
  // Sends bytes that get `replies` replies, handled as `expect` says. `note` is kept until then.
  void expect(ClientId client, std::string_view wire, Expect expect, std::uint32_t replies, std::string_view note);

  ClientId bound() const { return bound_; }
  // Sends one read on `keys` keys of `policy` (0: on keys of several policies, one of which it is); what Redis finds is
  // passed on, else the policy is asked (on_miss).
  void expect_read(ClientId client, std::string_view wire, std::uint32_t policy, std::uint32_t keys,
                   resp::Absence absence);

  // The connection belongs to one client: what arrives unasked (messages, pushes) is for it.
  void bind(ClientId client) {
    bound_ = client;
    resume_reading();
  }
  // Look into arrays and pushes for messages and confirmations; needed from the first SUBSCRIBE on.
  // `pushes`: the connection speaks RESP3, where these are pushes and arrays are not.
  void inspect(bool pushes) {
    inspecting_ = true;
    pushes_ = pushes;
  }
  bool inspecting() const { return inspecting_; }
  // After RESET.
  void forget_subscriptions() { channels_ = shards_ = 0; }
  // Whether a password set since then would shut out who uses it: connections of different ages differ.
  std::uint32_t age() const { return age_; }
  void set_age(std::uint32_t age) { age_ = age; }
  // From here on every byte is passed to the bound client as it comes, and nothing is matched any more.
  void relay() { relaying_ = true; }
  void send_raw(std::string_view bytes) { send(bytes); }

  // Enough to keep Redis busy; beyond it clients wait with their input unread.
  static constexpr std::size_t kCongestedBytes = 16UL << 20;
  // More is queued than should be: callers hold their clients' input until on_uncongested().
  bool congested(std::size_t bytes_max = kCongestedBytes);

  // Leaves further replies to the kernel, and at last to Redis: for a bound connection whose client is slow.
  void pause_reading();
  void resume_reading();

 private:
  struct Pending {
    ClientId client;
    std::uint32_t replies = 0;
    std::uint32_t note_bytes = 0;
    Expect expect = Expect::reply;
    resp::Absence absence = resp::Absence::nil;  // Expect::read, as are
    std::uint16_t keys = 0;                      // at most
    std::uint32_t policy = 0;
  };

  // What is being done with the reply whose bytes come next.
  enum class Mode : std::uint8_t {
    between,    // no reply has begun
    streaming,  // passed on as it comes
    capturing,  // wanted whole
    dropping,   // of an expect_read(), for nobody
    unasked,    // passed on as it comes; answers nothing
    surprise,   // nobody waits for it: the connection is out of step
  };

  void link_up() override;
  void link_read(std::string_view bytes) override;
  void link_down(const std::string& reason) override;
  void link_drained() override;

  Mode mode_of(std::string_view bytes);
  bool expects_messages();
  void show_effect(std::string_view bytes);
  bool stream(std::string_view& bytes);
  bool stream_unasked(std::string_view& bytes);
  bool capture(std::string_view& bytes);
  bool is_kept(std::size_t bytes);
  bool drop(std::string_view& bytes);
  void finish(std::string_view reply);
  void finish_guarded(std::string_view reply);
  void pass_without_guards(ClientId client, std::string_view reply, std::uint32_t guards);
  void finish_prepared(std::string_view reply);
  bool finish_subscription(std::string_view reply);
  void pass(ClientId client, std::string_view reply);
  Pending pop();
  Pending pop(std::string& note);

  void send(std::string_view bytes);
  bool above(std::size_t bytes_max) const;
  void check_congestion();

  Link link_;
  UpstreamUser& user_;
  policies::Count& sent_;
  resp::ReplyFramer framer_;
  Ring<Pending> pending_;
  Buffer notes_;  // of the pending entries, in order
  Buffer held_;   // the beginning of a reply that is handled whole
  ClientId bound_;
  Mode mode_ = Mode::between;
  bool inspecting_ = false;
  std::int64_t channels_ = 0;  // subscriptions, as last confirmed: channels and patterns, and shard channels
  std::int64_t shards_ = 0;
  std::uint32_t age_ = 0;
  bool pushes_ = false;
  bool relaying_ = false;
  bool congested_ = false;
  bool paused_ = false;
  bool was_up_ = false;
  bool prepared_ = true;
  bool may_be_nobody_ = false;
  bool attempt_done_ = false;  // the Transformation's attempt has succeeded
  std::string refusal_;        // of the guarded command, from its place in the MULTI
};

}  // namespace sluice::proxy

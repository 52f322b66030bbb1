// Client: one client connection: reading its commands, sending them where they belong, and replying in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/event_loop.h"
#include "proxy/reply_queue.h"
#include "proxy/session.h"
#include "proxy/stream.h"
#include "proxy/upstream.h"
#include "resp/command_parser.h"

namespace sluice::policies {
struct Finish;
struct Request;
}  // namespace sluice::policies

namespace sluice::proxy {

class Loop;
struct ClientInfo;
class UpstreamPool;
struct Route;

// Replies keep the order of the commands. Those of forwarded commands come in order by themselves; a command that a
// policy answers gets a slot of the ReplyQueue, and everything that belongs after it waits there. A slot for a read may
// open while later commands are already on their way; one for a write opens only when nothing is, and holds back the
// forwarded commands that follow. Input that must wait stays in `input_`, unparsed.
//
// Loop thread only. Removed through Loop::remove(), destroyed at the end of that turn.
class Client final : private Stream::Handler, private Flushable {
 public:
  Client(Loop& loop, ClientId id, Stream::Kind kind);
  ~Client() override;

  ClientId id() const { return id_; }
  Stream& stream() { return stream_; }
  // The socket is connected.
  void begin();

  // From the upstream connections.
  void reply_bytes(std::string_view bytes);
  void replies_done(std::uint32_t replies);
  void read_missed(std::uint32_t policy, std::string_view command, std::string_view reply);
  void effect_seen(std::string_view note, std::string_view reply);
  void held_reply(std::string_view note, std::string_view reply);
  void reply_kept(std::size_t bytes);
  void ran_again(std::string_view reply);
  void subscription_changed(std::string_view kind, std::int64_t remaining);
  void upstream_lost(bool sent, const std::string& reason);
  void read_lost(std::uint32_t policy, std::string_view command, bool sent, const std::string& reason);
  void own_upstream_down(const std::string& reason);

  // The operation that slot `slot` waits for has ended.
  void fill(std::uint64_t slot, policies::Finish finish);
  // So much is kept for it so far.
  void hold(std::uint64_t slot, std::size_t bytes);
  // Something this client's input may have waited for has changed.
  void resume();
  // Reads no more; the connection closes once the replies to what was read are written.
  void drain();
  // At once; the replies not yet written are lost.
  void close();

  bool idle_since(EventLoop::TimePoint time) const {
    const bool stalled = streaming_ && !waits_;
    return last_active_ < time && (quiet() || stalled) && !session_.subscribed() && !relaying_;
  }
  ClientInfo info() const;
  bool pinned() const { return own_ != nullptr; }
  Upstream* own() { return own_.get(); }

 private:
  // Of the connection to the policies: in another database, under them, not let in by Redis, impossible to tell, or not
  // known yet.
  enum class Standing : std::uint8_t { outside, inside, stranger, unsure, unknown };

  uv_buf_t on_read_buffer() override;
  void on_read(std::size_t bytes) override;
  void on_end(bool orderly) override;
  void on_drained() override;
  void flush_turn() override;

  std::size_t process(std::string_view input);
  std::size_t take_next(std::string_view input);
  std::size_t take_large(std::string_view input);
  std::size_t take_part(std::string_view input);
  static bool is_own_command(std::string_view name);
  bool may_stream(const resp::CommandInfo* info, std::string_view input) const;
  bool begin_stream(const resp::CommandInfo* info);
  void abandon_stream();
  bool take(const resp::CommandInfo* info, const resp::Command& command);
  bool take_relayed(const resp::CommandInfo* info, const resp::Command& command);
  bool take_unknown(const resp::Command& command, const Session::Plan& plan, bool outside);
  bool take_quit();
  bool take_reset(std::string_view wire);
  bool take_sluice(const resp::Command& command);
  bool take_routed(const resp::CommandInfo& info, const resp::Command& command, const Session::Plan& plan,
                   const Route& route);
  bool take_read(const resp::CommandInfo& info, const resp::Command& command, std::string_view wire,
                 const Route& route);
  bool take_exec(const resp::CommandInfo& info, const resp::Command& command, const Session::Plan& plan);
  bool take_operation(const resp::CommandInfo& info, const resp::Command& command, std::uint32_t policy);
  bool take_guarded(std::string_view wire, const Session::Plan& plan, bool script);
  bool leases_cleared(const std::vector<std::string>& keys);
  bool discard_instead();
  bool take_flush(const resp::Command& command);
  bool take_rejected(std::string_view reason);
  bool too_many_outstanding();
  bool forward(std::string_view wire, const Session::Plan& plan);
  bool forward_copy(std::string_view wire, const Session::Plan& plan);
  bool forward_effect(Upstream& upstream, std::string_view wire, const Session::Plan& plan);
  bool forward_held(Upstream& upstream, std::string_view wire, const Session::Plan& plan,
                    const std::vector<std::string>& keys);
  bool needs_fence() const;
  bool forward_wait(Upstream& upstream, std::string_view wire, const Session::Plan& plan);
  bool await_upstream();
  bool refuse_without_upstream(const std::string& why);

  void flush_run();
  bool pin(PinReason reason);
  void note_pin_reason(PinReason reason);
  void unpin_if_possible();
  void relabel_own(const Labels& from, const Labels& to);
  void discard_own();
  void enter(UpstreamPool& pool);
  Upstream* upstream();

  bool quiet() const { return outstanding_ == 0 && run_replies_ == 0 && replies_.empty(); }
  Standing policies_apply() const;
  void reply_now(std::string_view reply);
  void swallow_reply();
  std::uint64_t open_slot(std::size_t row, const resp::CommandInfo* info, bool write);
  enum class Miss : std::uint8_t { absent, redis_down, distrusted, unasked };
  void begin_miss(std::uint32_t policy, std::string_view wire, Miss why, std::string_view reply = {});
  void begin_split(const policies::Request& request, std::string_view wire, std::string_view reply);
  bool reads_without_redis(std::uint32_t policy, std::string_view wire);
  policies::Request miss_of(std::string_view wire) const;
  bool reads_rows_of(const std::vector<std::string>& keys);
  std::uint64_t open_miss(std::size_t row, bool holds, std::string_view wire, const policies::Request& request);
  bool run_again(policies::Finish& finish);
  void abandon_again();
  void settle(std::uint64_t slot, policies::Finish finish);
  void apply_effect(Effect effect, std::string_view wire, std::string_view reply);
  Session::Plan plan_of(const resp::Command& command) const;
  void stick_once_done(const resp::Command& command, std::string_view reply);
  void identified(const resp::Command& command, std::string_view reply, bool ok);
  void select_configured_db();
  void multi_refused();
  void check_output();
  void close_over_limit();
  void relieve_upstream();
  std::size_t output_bytes() const { return stream_.unwritten() + replies_.bytes(); }
  void note_buffers();
  void limit_parser();
  void protocol_error();
  void finish();
  void close_if_finished();
  void continue_reading();

  Loop& loop_;
  const ClientId id_;
  Stream stream_;
  resp::CommandParser parser_;
  Session session_;
  Buffer input_;        // bytes that wait for more, or for their turn
  UpstreamPool* pool_;  // of the identity the client had when it last shared a connection
  std::unique_ptr<Upstream> own_;
  PinReason pin_reason_ = PinReason::unknown;
  bool fenced_ = false;  // own_ has had a write since it was lent

  std::uint32_t outstanding_ = 0;  // forwarded commands not yet answered
  ReplyQueue replies_;             // those that wait for an earlier one
  std::size_t kept_bytes_ = 0;     // of a reply that is wanted whole
  std::uint64_t rows_read_ = 0;    // a bit for the row of each read that was forwarded

  // A read that a policy has answered, and that a client with CLIENT TRACKING runs again, so that Redis tracks its
  // keys.
  struct Again {
    std::uint64_t slot;
    std::string wire;
    resp::Absence absence;
    std::string answer;  // the policy's, once it is there
  };
  std::unique_ptr<Again> again_;  // at most one: such a client's commands wait for each other

  // Commands that go to the same upstream one after the other, sent as one piece.
  std::string_view run_;
  std::uint32_t run_replies_ = 0;

  std::vector<std::string> clearing_;       // keys whose leases are being cleared, or have been, for the next command
  std::vector<std::string> multi_guarded_;  // keys whose leases must be cleared when EXEC has run
  std::size_t noted_bytes_ = 0;             // of its buffers, as the metrics have it
  const std::uint64_t number_;
  const EventLoop::TimePoint came_;
  EventLoop::TimePoint last_active_;
  const bool always_own_;  // connections = "session"
  bool welcome_ = false;   // whether Redis lets in who has not authenticated was looked at when it came
  bool processing_ = false;
  bool waits_ = false;      // a whole command is in the input and cannot be taken yet
  bool barrier_ = false;    // the last command sent must be answered before the next is taken
  bool relaying_ = false;   // MONITOR, SYNC: replies are passed on unmatched
  bool streaming_ = false;  // a large command is on its way, piece by piece; it counts as outstanding
  bool full_ = false;       // the input waits because too many commands are under way
  bool bad_input_ = false;  // the parser has refused the input
  bool ended_ = false;      // no more input will come
  bool finishing_ = false;  // close once everything is written
  bool closed_ = false;
};

}  // namespace sluice::proxy

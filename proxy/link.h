// Link: one outgoing connection to Redis: name look-up, connect with a time limit, reading and writing.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "conf/config.h"
#include "proxy/event_loop.h"
#include "proxy/stream.h"

namespace sluice::proxy {

// Loop thread only. Does not reconnect by itself: the owner decides when to connect() again.
class Link final : private Stream::Handler, private Flushable {
 public:
  class Owner {
   public:
    virtual void link_up() = 0;
    virtual void link_read(std::string_view bytes) = 0;     // the bytes live until it returns
    virtual void link_down(const std::string& reason) = 0;  // also when connecting fails; the Link is closed
    virtual void link_drained() {}                          // all output has reached the kernel

   protected:
    ~Owner() = default;
  };
  enum class State { closed, connecting, up };

  Link(EventLoop& loop, conf::Endpoint endpoint, std::chrono::milliseconds connect_timeout, Owner& owner);
  ~Link() override;

  State state() const { return state_; }
  const conf::Endpoint& endpoint() const { return endpoint_; }
  // From closed to connecting. Never calls the owner before it returns.
  void connect();
  // To closed, without telling the owner. Output not yet written is lost.
  void close();

  // Queues bytes for the end of this turn, or writes them now when they are many; also while connecting. Not when
  // closed.
  void send(std::string_view bytes);
  // The output buffer itself, to append several pieces; call touch() after.
  Buffer& out() { return stream_->out(); }
  void touch() { loop_.flush_later(*this); }
  std::size_t unwritten() const { return stream_ ? stream_->unwritten() : 0; }
  // While it is up: reads no more, so that Redis has to wait; and goes on.
  void stop_reading() { stream_->stop_reading(); }
  void start_reading() { stream_->start_reading(); }

 private:
  struct Attempt;  // what getaddrinfo and connect requests point at; outlives a closed Link

  uv_buf_t on_read_buffer() override;
  void on_read(std::size_t bytes) override;
  void on_end(bool orderly) override;
  void on_drained() override { owner_.link_drained(); }
  void flush_turn() override;

  void limit_attempt();
  void resolve();
  void connect_to_next();
  void connected(int status);
  void fail(const std::string& reason);

  EventLoop& loop_;
  conf::Endpoint endpoint_;
  std::chrono::milliseconds connect_timeout_;
  Owner& owner_;
  State state_ = State::closed;
  std::unique_ptr<Stream> stream_;
  Attempt* attempt_ = nullptr;
  EventLoop::TimerId timer_;
};

// The delays between attempts to reconnect: 0, 50 ms, doubling to 1 s.
class Backoff {
 public:
  std::chrono::milliseconds next();
  void reset() { delay_ = std::chrono::milliseconds(0); }

 private:
  std::chrono::milliseconds delay_{0};
};

}  // namespace sluice::proxy

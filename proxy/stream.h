// Stream: one TCP or Unix socket on a loop, with the bytes that wait to be written to it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <uv.h>

#include "proxy/buffer.h"

namespace sluice::proxy {

// Loop thread only. The owner may destroy it at any time: the handle lingers until libuv lets go of it.
class Stream {
 public:
  // Told of what happens on the socket. Any of these may destroy the Stream.
  class Handler {
   public:
    virtual ~Handler() = default;
    // Where the next bytes go; must stay valid until on_read or on_end.
    virtual uv_buf_t on_read_buffer() = 0;
    virtual void on_read(std::size_t bytes) = 0;
    virtual void on_end(bool orderly) = 0;  // the peer closed (orderly) or the socket failed
    virtual void on_drained() {}            // everything that was in out() has reached the kernel
  };

  enum class Kind { tcp, unix_socket };

  Stream(uv_loop_t* loop, Kind kind, Handler& handler);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  uv_stream_t* handle();
  Kind kind() const;
  void set_no_delay();
  // Who is at the other end: address:port, or "unix"; empty once it is gone.
  std::string peer() const;

  void start_reading();
  void stop_reading();
  bool reading() const { return reading_; }

  // Bytes to be written by the next flush().
  Buffer& out() { return out_; }
  // As out().append(), except that as soon as `write_at` bytes have come together they are written, without being
  // copied where the kernel can take them. flush() must follow all the same: it tells of errors. Only when connected.
  void send(std::string_view bytes, std::size_t write_at);
  // flush() has left bytes to the loop, and does nothing until they are written.
  bool writing() const;
  // Bytes not yet taken by the kernel.
  std::size_t unwritten() const;
  // Writes what it can at once and leaves the rest to the loop. False when the socket has failed.
  [[nodiscard]] bool flush();

 private:
  struct Handle;
  bool write_later();
  static void handle_alloc(uv_handle_t* uv, std::size_t, uv_buf_t* buffer);
  static void handle_read(uv_stream_t* uv, ssize_t bytes, const uv_buf_t*);
  static void handle_written(uv_write_t* request, int status);

  Handle* handle_;  // freed by its close callback
  Buffer out_;
  bool reading_ = false;
};

}  // namespace sluice::proxy

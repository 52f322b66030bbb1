// Stream: reading, writing at once or later, and letting go of the handle.
#include "proxy/stream.h"

#include <algorithm>

namespace sluice::proxy {
namespace {

uv_buf_t to_buffer(std::string_view bytes) { return {const_cast<char*>(bytes.data()), bytes.size()}; }

}  // namespace

// What libuv points at; outlives the Stream until the close callback.
struct Stream::Handle {
  union {
    uv_handle_t any;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  Kind kind;
  Stream* owner;  // nullptr once the Stream is gone
  Handler* handler;
  uv_write_t write;
  Buffer writing;  // given to uv_write, not yet written
};

Stream::Stream(uv_loop_t* loop, Kind kind, Handler& handler) : handle_(new Handle) {
  handle_->kind = kind;
  handle_->owner = this;
  handle_->handler = &handler;
  if (kind == Kind::tcp) {
    uv_tcp_init(loop, &handle_->tcp);
  } else {
    uv_pipe_init(loop, &handle_->pipe, 0);
  }
  handle_->any.data = handle_;
}

Stream::~Stream() {
  handle_->owner = nullptr;
  uv_close(&handle_->any, [](uv_handle_t* uv) { delete static_cast<Handle*>(uv->data); });
}

uv_stream_t* Stream::handle() { return &handle_->stream; }
Stream::Kind Stream::kind() const { return handle_->kind; }

void Stream::set_no_delay() {
  if (handle_->kind == Kind::tcp) uv_tcp_nodelay(&handle_->tcp, 1);
}

std::string Stream::peer() const {
  if (handle_->kind == Kind::unix_socket) return "unix";
  sockaddr_storage address{};
  int size = sizeof address;
  char text[INET6_ADDRSTRLEN] = "";
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (uv_tcp_getpeername(&handle_->tcp, any, &size) != 0 || uv_ip_name(any, text, sizeof text) != 0) return {};
  const bool v6 = address.ss_family == AF_INET6;
  const auto port =
      v6 ? reinterpret_cast<sockaddr_in6*>(any)->sin6_port : reinterpret_cast<sockaddr_in*>(any)->sin_port;
  return (v6 ? "[" + std::string(text) + "]" : std::string(text)) + ":" + std::to_string(ntohs(port));
}

void Stream::start_reading() {
  if (reading_) return;
  reading_ = uv_read_start(&handle_->stream, handle_alloc, handle_read) == 0;
}

void Stream::stop_reading() {
  if (!reading_) return;
  uv_read_stop(&handle_->stream);
  reading_ = false;
}

bool Stream::writing() const { return !handle_->writing.empty(); }
std::size_t Stream::unwritten() const { return out_.size() + uv_stream_get_write_queue_size(&handle_->stream); }

void Stream::send(std::string_view bytes, std::size_t write_at) {
  if (out_.size() + bytes.size() < write_at || writing()) return out_.append(bytes);
  const uv_buf_t pieces[] = {to_buffer(out_.view()), to_buffer(bytes)};
  const unsigned first = out_.empty() ? 1 : 0;
  const int written = uv_try_write(&handle_->stream, pieces + first, 2 - first);
  const std::size_t taken = static_cast<std::size_t>(std::max(written, 0));
  const std::size_t older = std::min(out_.size(), taken);
  if (older != 0) out_.consume(older);
  out_.append(bytes.substr(taken - older));
  // The kernel is full: leave it to the loop, or each call to come would try in vain.
  if (written >= 0 || written == UV_EAGAIN) static_cast<void>(write_later());
}

bool Stream::flush() {
  if (out_.empty() || writing()) return true;
  const uv_buf_t buffer = to_buffer(out_.view());
  const int written = uv_try_write(&handle_->stream, &buffer, 1);
  if (written < 0 && written != UV_EAGAIN) return false;
  if (written > 0) out_.consume(static_cast<std::size_t>(written));
  return write_later();
}

// Has the loop write what is in out() when the kernel can take it.
bool Stream::write_later() {
  if (out_.empty()) return true;
  handle_->writing.swap(out_);
  handle_->write.data = handle_;
  const uv_buf_t rest = to_buffer(handle_->writing.view());
  return uv_write(&handle_->write, &handle_->stream, &rest, 1, handle_written) == 0;
}

void Stream::handle_alloc(uv_handle_t* uv, std::size_t, uv_buf_t* buffer) {
  auto* handle = static_cast<Handle*>(uv->data);
  *buffer = handle->owner == nullptr ? uv_buf_init(nullptr, 0) : handle->handler->on_read_buffer();
}

void Stream::handle_read(uv_stream_t* uv, ssize_t bytes, const uv_buf_t*) {
  auto* handle = static_cast<Handle*>(uv->data);
  if (handle->owner == nullptr || bytes == 0) return;
  if (bytes > 0) {
    handle->handler->on_read(static_cast<std::size_t>(bytes));
  } else {
    handle->owner->stop_reading();
    handle->handler->on_end(bytes == UV_EOF);
  }
}

void Stream::handle_written(uv_write_t* request, int status) {
  auto* handle = static_cast<Handle*>(request->data);
  handle->writing.clear();
  if (handle->owner == nullptr) return;
  if (status < 0 || !handle->owner->flush()) {
    handle->handler->on_end(false);
  } else if (handle->owner->unwritten() == 0) {
    handle->handler->on_drained();
  }
}

}  // namespace sluice::proxy

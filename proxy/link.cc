// Link: the steps from a closed socket to a connected one, and back.
#include "proxy/link.h"

#include <algorithm>
#include <utility>

namespace sluice::proxy {
namespace {

// Added to the time limit, for the loop to see what has happened meanwhile.
constexpr std::chrono::milliseconds kLastLook{5};

// As many as a block of memory that Buffer keeps can hold.
constexpr std::size_t kWriteAtBytes = 256UL << 10;

}  // namespace

struct Link::Attempt {
  Link* link;  // nullptr once the attempt was given up
  uv_getaddrinfo_t resolve;
  uv_connect_t connect;
  addrinfo* found = nullptr;       // what the name stands for
  const addrinfo* next = nullptr;  // the address to try after this one

  ~Attempt() { uv_freeaddrinfo(found); }
};

Link::Link(EventLoop& loop, conf::Endpoint endpoint, std::chrono::milliseconds connect_timeout, Owner& owner)
    : Flushable(Order::first),
      loop_(loop),
      endpoint_(std::move(endpoint)),
      connect_timeout_(connect_timeout),
      owner_(owner) {}

Link::~Link() { close(); }

void Link::connect() {
  const bool tcp = endpoint_.kind == conf::Endpoint::Kind::tcp;
  stream_.reset(new Stream(loop_.uv(), tcp ? Stream::Kind::tcp : Stream::Kind::unix_socket, *this));
  state_ = State::connecting;
  attempt_ = new Attempt{this, {}, {}};
  attempt_->resolve.data = attempt_;
  attempt_->connect.data = attempt_;
  limit_attempt();
  if (tcp) {
    resolve();
  } else {
    uv_pipe_connect(&attempt_->connect, reinterpret_cast<uv_pipe_t*>(stream_->handle()), endpoint_.path.c_str(),
                    [](uv_connect_t* request, int status) {
                      auto attempt = std::unique_ptr<Attempt>(static_cast<Attempt*>(request->data));
                      if (attempt->link != nullptr) attempt->link->connected(status);
                    });
  }
}

// A loop that was held up has not looked how the attempt went: the sockets come first once more.
void Link::limit_attempt() {
  timer_ =
      loop_.after(connect_timeout_, [this] { timer_ = loop_.after(kLastLook, [this] { fail("connect timed out"); }); });
}

void Link::close() {
  if (attempt_ != nullptr) attempt_->link = nullptr;
  attempt_ = nullptr;
  loop_.cancel(timer_);
  loop_.forget(*this);
  stream_.reset();
  state_ = State::closed;
}

void Link::send(std::string_view bytes) {
  if (state_ == State::up) {
    stream_->send(bytes, kWriteAtBytes);
  } else {
    out().append(bytes);
  }
  touch();
}

void Link::resolve() {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  const auto done = [](uv_getaddrinfo_t* request, int status, addrinfo* found) {
    auto attempt = std::unique_ptr<Attempt>(static_cast<Attempt*>(request->data));
    attempt->found = found;
    attempt->next = found;
    if (attempt->link == nullptr) return;
    if (status != 0) return attempt->link->connected(status);
    attempt.release()->link->connect_to_next();
  };
  const int status = uv_getaddrinfo(loop_.uv(), &attempt_->resolve, done, endpoint_.host.c_str(),
                                    std::to_string(endpoint_.port).c_str(), &hints);
  if (status != 0) {
    delete std::exchange(attempt_, nullptr);
    loop_.cancel(timer_);
    timer_ = loop_.after(std::chrono::milliseconds(0), [this, status] { fail(uv_strerror(status)); });
  }
}

// `localhost` may stand for ::1 and 127.0.0.1, with Redis behind one of them.
void Link::connect_to_next() {
  const auto done = [](uv_connect_t* request, int status) {
    auto attempt = std::unique_ptr<Attempt>(static_cast<Attempt*>(request->data));
    if (attempt->link == nullptr) return;
    if (status == 0 || attempt->next == nullptr) return attempt->link->connected(status);
    attempt.release()->link->connect_to_next();
  };
  const sockaddr* address = attempt_->next->ai_addr;
  attempt_->next = attempt_->next->ai_next;
  Buffer waiting = std::move(stream_->out());
  stream_.reset(new Stream(loop_.uv(), Stream::Kind::tcp, *this));
  stream_->out() = std::move(waiting);
  const int status = uv_tcp_connect(&attempt_->connect, reinterpret_cast<uv_tcp_t*>(stream_->handle()), address, done);
  if (status == 0) return;
  delete std::exchange(attempt_, nullptr);
  fail(uv_strerror(status));
}

// The request's callback has freed the attempt, or frees it when this returns.
void Link::connected(int status) {
  attempt_ = nullptr;
  if (status != 0) return fail(uv_strerror(status));
  loop_.cancel(timer_);
  state_ = State::up;
  stream_->set_no_delay();
  stream_->start_reading();
  loop_.flush_later(*this);
  owner_.link_up();
}

void Link::fail(const std::string& reason) {
  close();
  owner_.link_down(to_string(endpoint_) + ": " + reason);
}

uv_buf_t Link::on_read_buffer() {
  const auto scratch = loop_.scratch();
  return uv_buf_init(scratch.data(), static_cast<unsigned>(scratch.size()));
}

void Link::on_read(std::size_t bytes) { owner_.link_read({loop_.scratch().data(), bytes}); }

void Link::on_end(bool orderly) { fail(orderly ? "closed by Redis" : "connection lost"); }

void Link::flush_turn() {
  if (state_ != State::up) return;
  if (!stream_->flush()) return fail("connection lost");
  if (stream_->unwritten() == 0) owner_.link_drained();
}

std::chrono::milliseconds Backoff::next() {
  constexpr std::chrono::milliseconds kFirst{50};
  constexpr std::chrono::milliseconds kLongest{1000};
  const auto delay = delay_;
  delay_ = std::clamp(delay_ * 2, kFirst, kLongest);
  return delay;
}

}  // namespace sluice::proxy

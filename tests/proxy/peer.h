// Peer: the other end of an outgoing connection, scripted by the test that drives the loop.
#pragma once

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <uv.h>

#include "conf/config.h"
#include "proxy/event_loop.h"
#include "resp/command_parser.h"

namespace sluice::proxy {

using Words = std::vector<std::string>;

// Longer than any test: see PolicyRedis.
inline constexpr std::chrono::minutes kPatience{10};

// The complete commands at the start of `bytes`.
inline std::vector<Words> commands_in(std::string_view bytes) {
  std::vector<Words> commands;
  resp::CommandParser parser;
  resp::Command command;
  while (!bytes.empty() && parser.next(bytes, command) == resp::CommandParser::Status::command) {
    commands.emplace_back(command.args.begin(), command.args.end());
    bytes.remove_prefix(command.wire.size());
  }
  return commands;
}

// Listens on a free loopback port or a Unix socket in a temporary folder; serves one connection at a time. Does its
// reading and accepting in step(), on the thread of the test.
class Peer {
 public:
  // What is sent for a command, at once. Without it the test sends by itself.
  using Answer = std::function<std::string(const Words&)>;

  explicit Peer(conf::Endpoint::Kind kind = conf::Endpoint::Kind::unix_socket) {
    std::signal(SIGPIPE, SIG_IGN);  // as the program does
    endpoint_.kind = kind;
    kind == conf::Endpoint::Kind::tcp ? listen_tcp() : listen_unix();
  }
  ~Peer() {
    hang_up();
    stop_listening();
    if (!folder_.empty()) {
      ::unlink(endpoint_.path.c_str());
      ::rmdir(folder_.c_str());
    }
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  const conf::Endpoint& endpoint() const { return endpoint_; }
  void answer_with(Answer answer) { answer_ = std::move(answer); }
  // How many connections were accepted, and what the last one has sent.
  int connections() const { return connections_; }
  bool connected() const { return socket_ >= 0; }
  const std::string& received() const { return received_; }
  std::vector<Words> commands() const { return commands_in(received_); }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  void hang_up() { close_fd(socket_); }
  void stop_listening() { close_fd(listener_); }
  // While paused nothing is read.
  void pause(bool paused) { paused_ = paused; }

  std::vector<int> sockets() const { return {listener_, paused_ ? -1 : socket_}; }
  void step() {
    accept_one();
    if (!paused_) read_some();
  }

 private:
  static void close_fd(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }

  void listen_tcp() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(listener_, reinterpret_cast<const sockaddr*>(&address), size);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    ::listen(listener_, 8);
    endpoint_.host = "127.0.0.1";
    endpoint_.port = ntohs(address.sin_port);
  }

  void listen_unix() {
    char name[] = "/tmp/sluice-peer-XXXXXX";
    folder_ = ::mkdtemp(name);
    endpoint_.path = folder_ + "/s";
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, endpoint_.path.c_str(), endpoint_.path.size() + 1);
    ::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    ::listen(listener_, 8);
  }

  void accept_one() {
    if (listener_ < 0 || socket_ >= 0) return;
    socket_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket_ < 0) return;
    ++connections_;
    received_.clear();
    answered_ = 0;
  }

  void read_some() {
    char bytes[65536];
    while (socket_ >= 0) {
      const auto got = ::recv(socket_, bytes, sizeof bytes, MSG_DONTWAIT);
      if (got == 0) hang_up();
      if (got <= 0) break;
      received_.append(bytes, static_cast<std::size_t>(got));
    }
    if (!answer_) return;
    const auto all = commands();
    for (; answered_ < all.size() && socket_ >= 0; ++answered_) send(answer_(all[answered_]));
  }

  conf::Endpoint endpoint_;
  std::string folder_;
  int listener_ = -1;
  int socket_ = -1;
  int connections_ = 0;
  bool paused_ = false;
  std::string received_;
  std::size_t answered_ = 0;
  Answer answer_;
};

// Runs the loop and the peer until `done` holds. False when it does not within ten seconds: the test has failed.
inline bool run_until(EventLoop& loop, Peer& peer, const std::function<bool()>& done) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!done()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    uv_run(loop.uv(), UV_RUN_NOWAIT);
    peer.step();
    if (done()) return true;
    std::vector<pollfd> waiting{{uv_backend_fd(loop.uv()), POLLIN, 0}};
    for (const int socket : peer.sockets()) {
      if (socket >= 0) waiting.push_back({socket, POLLIN, 0});
    }
    const int timeout = uv_backend_timeout(loop.uv());
    ::poll(waiting.data(), waiting.size(), timeout < 0 ? 20 : std::min(timeout, 20));
  }
  return true;
}

// Lets everything that is under way arrive: a few turns in which nothing new is asked for.
inline void run_some(EventLoop& loop, Peer& peer) {
  for (int turn = 0; turn < 20; ++turn) {
    uv_run(loop.uv(), UV_RUN_NOWAIT);
    peer.step();
  }
}

inline conf::UpstreamOptions upstream_at(const conf::Endpoint& endpoint) {
  conf::UpstreamOptions options;
  options.endpoint = endpoint;
  options.connect_timeout = std::chrono::seconds(5);
  return options;
}

}  // namespace sluice::proxy

// TcpProxy: one thread that polls all of its sockets.
#include "tests/servers/tcp_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace sluice::servers {

namespace {

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

TcpProxy::TcpProxy(int target_port) : target_port_(target_port) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), size) != 0 || listen(listener_, 64) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("the proxy cannot listen");
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { work(); });
}

TcpProxy::~TcpProxy() {
  stopping_ = true;
  thread_.join();
  for (const Pair& pair : pairs_) {
    close(pair.client);
    close(pair.server);
  }
  close(listener_);
}

void TcpProxy::arm(Fault fault, std::string word) {
  const std::lock_guard lock(mutex_);
  fault_ = fault;
  word_ = std::move(word);
}

void TcpProxy::work() {
  while (!stopping_) {
    std::vector<pollfd> fds{{listener_, POLLIN, 0}};
    for (const Pair& pair : pairs_) {
      fds.push_back({pair.client, POLLIN, 0});
      fds.push_back({pair.server, POLLIN, 0});
    }
    if (poll(fds.data(), fds.size(), 20) <= 0) continue;
    std::size_t at = 1;
    for (auto pair = pairs_.begin(); pair != pairs_.end(); at += 2) {
      bool lives = fds[at].revents == 0 || pass_on(*pair, true);
      lives = lives && (fds[at + 1].revents == 0 || pass_on(*pair, false));
      if (lives) {
        ++pair;
        continue;
      }
      close(pair->client);
      close(pair->server);
      pair = pairs_.erase(pair);
    }
    if (fds[0].revents != 0) accept_one();
  }
}

void TcpProxy::accept_one() {
  Pair pair;
  pair.client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  pair.server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(target_port_);
  if (connect(pair.server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    pairs_.push_back(pair);
    return;
  }
  close(pair.client);
  close(pair.server);
}

TcpProxy::Fault TcpProxy::fault_of(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (fault_ == Fault::none || bytes.find(word_) == std::string_view::npos) return Fault::none;
  ++faults_;
  return std::exchange(fault_, Fault::none);
}

// False: the connection ends.
bool TcpProxy::pass_on(Pair& pair, bool from_client) {
  char chunk[65536];
  const ssize_t n = recv(from_client ? pair.client : pair.server, chunk, sizeof chunk, 0);
  if (n <= 0) return false;
  const std::string_view bytes(chunk, static_cast<std::size_t>(n));
  if (from_client && pair.fault == Fault::none) pair.fault = fault_of(bytes);
  if (pair.fault == Fault::hang) return true;
  if (pair.fault == Fault::cut || (pair.fault == Fault::drop_answer && !from_client)) return false;
  return send_all(from_client ? pair.server : pair.client, bytes);
}

}  // namespace sluice::servers

// AcceptPool: sockets and threads.
#include "proxy/accept_pool.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace sluice::proxy {
namespace {

constexpr int kBacklog = 64;
constexpr int kSocketFlags = SOCK_CLOEXEC | SOCK_NONBLOCK;

std::string reason(int error) { return std::generic_category().message(error); }

// Listens on one address; returns the socket, or -1 and errno. No SO_REUSEPORT: an address in use is a mistake.
int listen_on(int family, const sockaddr* address, socklen_t size) {
  const int made = ::socket(family, SOCK_STREAM | kSocketFlags, 0);
  if (made < 0) return -1;
  const int yes = 1;
  ::setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (::bind(made, address, size) == 0 && ::listen(made, kBacklog) == 0) return made;
  const int error = errno;
  ::close(made);
  errno = error;
  return -1;
}

std::uint16_t bound_port(int listening) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(listening, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

// A file left behind by a process that has ended.
bool is_stale(const sockaddr_un& address) {
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return false;
  const int result = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const bool refused = result != 0 && errno == ECONNREFUSED;
  ::close(probe);
  return refused;
}

}  // namespace

AcceptPool::AcceptPool(Serve serve) : serve_(std::move(serve)) {}

AcceptPool::~AcceptPool() { stop(); }

std::string AcceptPool::start(const conf::Endpoint& endpoint, int threads) {
  std::string error = endpoint.kind == conf::Endpoint::Kind::tcp ? listen_tcp(endpoint) : listen_unix(endpoint.path);
  if (!error.empty()) return "cannot listen on " + conf::to_string(endpoint) + ": " + error;
  stop_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (stop_ < 0) return "cannot make an eventfd: " + reason(errno);
  for (int i = 0; i < threads; ++i) threads_.emplace_back(&AcceptPool::work, this);
  return {};
}

std::string AcceptPool::listen_tcp(const conf::Endpoint& endpoint) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const char* host = endpoint.host.empty() ? nullptr : endpoint.host.c_str();
  const int failure = ::getaddrinfo(host, std::to_string(endpoint.port).c_str(), &hints, &found);
  if (failure != 0) return ::gai_strerror(failure);
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, ::freeaddrinfo);
  for (const addrinfo* address = found; address != nullptr && socket_ < 0; address = address->ai_next) {
    socket_ = listen_on(address->ai_family, address->ai_addr, address->ai_addrlen);
  }
  if (socket_ < 0) return reason(errno);
  port_ = bound_port(socket_);
  return {};
}

std::string AcceptPool::listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return "the path is too long for a Unix socket";
  std::memcpy(address.sun_path, path.c_str(), path.size());
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  socket_ = listen_on(AF_UNIX, generic, sizeof address);
  if (socket_ < 0 && errno == EADDRINUSE) {
    if (!is_stale(address)) return reason(EADDRINUSE);
    ::unlink(path.c_str());
    socket_ = listen_on(AF_UNIX, generic, sizeof address);
  }
  if (socket_ < 0) return reason(errno);
  path_ = path;
  return {};
}

void AcceptPool::work() {
  ::pthread_setname_np(::pthread_self(), "sluice-admin");
  while (true) {
    pollfd waiting[] = {{socket_, POLLIN, 0}, {stop_, POLLIN, 0}};
    ::poll(waiting, 2, -1);
    if (waiting[1].revents != 0) return;
    if (waiting[0].revents == 0) continue;
    const int connection = ::accept4(socket_, nullptr, nullptr, kSocketFlags);
    if (connection >= 0) {
      serve_(connection, stop_);
      ::close(connection);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // It stays readable: do not spin until there is room.
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

void AcceptPool::stop() {
  if (stop_ >= 0) ::eventfd_write(stop_, 1);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  if (stop_ >= 0) ::close(std::exchange(stop_, -1));
  if (!path_.empty()) ::unlink(std::exchange(path_, {}).c_str());
}

}  // namespace sluice::proxy

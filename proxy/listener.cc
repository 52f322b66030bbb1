// Listener: opening sockets and accepting from them.
#include "proxy/listener.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/loop.h"

namespace sluice::proxy {
namespace {

constexpr int kBacklog = 511;  // as Redis

int open_tcp(const conf::Endpoint& endpoint, std::string& error) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int status = getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &found);
  if (status != 0) {
    error = gai_strerror(status);
    return -1;
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 && ::listen(fd, kBacklog) == 0) return fd;
  error = std::strerror(errno);
  if (fd >= 0) ::close(fd);
  return -1;
}

// Whether somebody answers on the socket file; a dead one may be replaced.
bool answers(const sockaddr_un& address) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  if (fd >= 0) ::close(fd);
  return connected;
}

int open_unix(const conf::Endpoint& endpoint, std::string& error) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (endpoint.path.size() >= sizeof address.sun_path) {
    error = "the path is too long for a Unix socket";
    return -1;
  }
  std::memcpy(address.sun_path, endpoint.path.c_str(), endpoint.path.size() + 1);
  struct stat info {};
  if (stat(endpoint.path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode) && !answers(address)) {
    unlink(endpoint.path.c_str());
  }
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::listen(fd, kBacklog) == 0) {
    return fd;
  }
  error = std::strerror(errno);
  if (fd >= 0) ::close(fd);
  return -1;
}

bool is_unix(int socket) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

}  // namespace

std::vector<int> open_sockets(const std::vector<conf::Endpoint>& endpoints, std::string& error) {
  std::vector<int> sockets;
  for (const conf::Endpoint& endpoint : endpoints) {
    std::string reason;
    const bool tcp = endpoint.kind == conf::Endpoint::Kind::tcp;
    const int fd = tcp ? open_tcp(endpoint, reason) : open_unix(endpoint, reason);
    if (fd < 0) {
      error = "cannot listen on " + to_string(endpoint) + ": " + reason;
      for (const int open : sockets) ::close(open);
      return {};
    }
    sockets.push_back(fd);
  }
  return sockets;
}

struct Listener::Handle {
  union {
    uv_handle_t any;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  };
  Loop* loop;
  Stream::Kind kind;
};

Listener::Listener(Loop& loop, int socket) : handle_(new Handle) {
  handle_->loop = &loop;
  handle_->kind = is_unix(socket) ? Stream::Kind::unix_socket : Stream::Kind::tcp;
  const int own = fcntl(socket, F_DUPFD_CLOEXEC, 0);
  if (handle_->kind == Stream::Kind::tcp) {
    uv_tcp_init(loop.events().uv(), &handle_->tcp);
    uv_tcp_open(&handle_->tcp, own);
  } else {
    uv_pipe_init(loop.events().uv(), &handle_->pipe, 0);
    uv_pipe_open(&handle_->pipe, own);
  }
  handle_->any.data = handle_;
  uv_listen(&handle_->stream, kBacklog, [](uv_stream_t* server, int status) {
    auto* handle = static_cast<Handle*>(server->data);
    if (status == 0) handle->loop->accept(server, handle->kind);
  });
}

Listener::~Listener() {
  uv_close(&handle_->any, [](uv_handle_t* uv) { delete static_cast<Handle*>(uv->data); });
}

}  // namespace sluice::proxy

// FaultLink: one thread, one poll.
#include "tests/history/fault_link.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <charconv>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdexcept>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/live/harness.h"

namespace sluice::history {
namespace {

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int new_socket() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return fd;
}

int listen_on(int port) {
  const int fd = new_socket();
  const sockaddr_in address = loopback(port);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(fd, 128) != 0) {
    throw std::runtime_error("cannot listen on port " + std::to_string(port));
  }
  return fd;
}

void no_delay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void close_socket(int fd, bool reset) {
  const linger now{1, 0};
  if (reset) setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(fd);
}

// The number in the line at `at`, which moves behind it; -1 while the line is incomplete.
long header(std::string_view bytes, std::size_t& at) {
  const auto end = bytes.find("\r\n", at);
  if (end == std::string_view::npos) return -1;
  long number = 0;
  std::from_chars(bytes.data() + at + 1, bytes.data() + end, number);
  at = end + 2;
  return number;
}

// The first command, always an array of bulk strings here; 0 bytes while it is incomplete.
std::size_t command_size(std::string_view bytes, std::vector<std::string>& command) {
  std::size_t at = 0;
  const long count = header(bytes, at);
  command.clear();
  for (long i = 0; i < count; ++i) {
    const long size = header(bytes, at);
    if (size < 0 || at + static_cast<std::size_t>(size) + 2 > bytes.size()) return 0;
    command.emplace_back(bytes.substr(at, static_cast<std::size_t>(size)));
    at += static_cast<std::size_t>(size) + 2;
  }
  return count < 0 ? 0 : at;
}

}  // namespace

FaultLink::FaultLink(int port, int server_port, Framing framing)
    : port_(port),
      server_port_(server_port),
      framing_(framing),
      listener_(listen_on(port)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { work(); }) {}

FaultLink::~FaultLink() {
  stopping_ = true;
  wake();
  thread_.join();
  for (const Connection& connection : connections_) {
    close(connection.requests.from);
    close(connection.replies.from);
  }
  close(listener_);
  close(wake_);
}

void FaultLink::wake() { eventfd_write(wake_, 1); }

void FaultLink::watch(Watch watch) {
  const std::lock_guard lock(mutex_);
  watch_ = std::move(watch);
}

void FaultLink::cut() {
  cut_ = true;
  wake();
}

void FaultLink::lose(bool requests, bool replies) {
  const std::lock_guard lock(mutex_);
  lose_requests_ = requests;
  lose_replies_ = replies;
}

void FaultLink::work() {
  while (!stopping_) {
    std::vector<pollfd> polled{{wake_, POLLIN, 0}, {listener_, POLLIN, 0}};
    for (const Connection& connection : connections_) {
      for (const Way* way : {&connection.requests, &connection.replies}) polled.push_back({way->from, POLLIN, 0});
    }
    poll(polled.data(), polled.size(), pause());
    eventfd_t unused = 0;
    eventfd_read(wake_, &unused);
    const bool all = cut_;
    std::size_t next = 2;
    for (Connection& connection : connections_) {
      for (Way* way : {&connection.requests, &connection.replies}) {
        if (polled[next++].revents != 0 && !all && !connection.dead) receive(connection, *way);
      }
      connection.reset = connection.reset || all;
    }
    for (Connection& connection : connections_) {
      for (Way* way : {&connection.requests, &connection.replies}) {
        if (!connection.reset) transmit(connection, *way);
      }
    }
    connections_.remove_if([](const Connection& connection) {
      if (!connection.dead && !connection.reset) return false;
      close_socket(connection.requests.from, connection.reset);
      close_socket(connection.replies.from, connection.reset);
      return true;
    });
    if (all) cut_ = false;
    if (polled[1].revents != 0) accept();
  }
}

// Until the next held message is due, in ms; -1: for ever.
int FaultLink::pause() const {
  auto next = Clock::time_point::max();
  for (const Connection& connection : connections_) {
    for (const Way* way : {&connection.requests, &connection.replies}) {
      if (!way->waiting.empty()) next = std::min(next, way->waiting.front().due);
    }
  }
  if (next == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<milliseconds>(next - Clock::now());
  return static_cast<int>(std::max(left, milliseconds(0)).count());
}

void FaultLink::accept() {
  const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  const int server = new_socket();
  const sockaddr_in address = loopback(server_port_);
  if (connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    close_socket(client, true);
    close(server);
    return;
  }
  no_delay(client);
  no_delay(server);
  connections_.emplace_back();
  connections_.back().requests = {client, server, {}, {}};
  connections_.back().replies = {server, client, {}, {}};
}

void FaultLink::receive(Connection& connection, Way& way) {
  char chunk[65536];
  const ssize_t size = recv(way.from, chunk, sizeof chunk, MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    // What was said before still arrives, unless it is held: then it is lost, as with a peer that died.
    for (Way* other : {&connection.requests, &connection.replies}) transmit(connection, *other);
    connection.dead = true;
    connection.reset = connection.reset || size < 0;
    return;
  }
  way.unframed.append(chunk, static_cast<std::size_t>(size));
  frame(connection, way);
}

void FaultLink::frame(Connection& connection, Way& way) {
  const bool is_reply = &way == &connection.replies;
  while (!way.unframed.empty() && !connection.reset) {
    std::vector<std::string> command;
    std::size_t size = way.unframed.size();
    if (framing_ == Framing::redis) {
      size = is_reply ? live::reply_size(way.unframed) : command_size(way.unframed, command);
      if (size == 0) return;
      if (is_reply && !connection.unanswered.empty()) {
        command = std::move(connection.unanswered.front());
        connection.unanswered.pop_front();
      } else if (!is_reply) {
        connection.unanswered.push_back(command);
      }
    } else if (!is_reply) {
      connection.request = way.unframed;
    }
    const std::string bytes = way.unframed.substr(0, size);
    way.unframed.erase(0, size);
    pass(connection, way, {is_reply, command, bytes, connection.request});
  }
}

void FaultLink::pass(Connection& connection, Way& way, const Message& message) {
  Verdict verdict;
  {
    const std::lock_guard lock(mutex_);
    if (watch_) verdict = Watch(watch_)(message);
    if (message.is_reply ? lose_replies_ : lose_requests_) verdict.fate = Verdict::Fate::lose;
  }
  switch (verdict.fate) {
    case Verdict::Fate::lose:
      return;
    case Verdict::Fate::cut:
      connection.reset = true;
      return;
    case Verdict::Fate::pass:
    case Verdict::Fate::cut_after:
      break;
  }
  auto due = Clock::now() + verdict.delay;
  if (!way.waiting.empty()) due = std::max(due, way.waiting.back().due);
  const bool last = verdict.fate == Verdict::Fate::cut_after;
  way.waiting.push_back({verdict.instead.empty() ? std::string(message.bytes) : verdict.instead, due, last});
}

// What is due. Peers that do not read are not a fault that this link needs: it waits for them.
void FaultLink::transmit(Connection& connection, Way& way) {
  while (!way.waiting.empty() && way.waiting.front().due <= Clock::now() && !connection.dead) {
    const Chunk chunk = std::move(way.waiting.front());
    way.waiting.pop_front();
    std::string_view left = chunk.bytes;
    while (!left.empty()) {
      const ssize_t sent = send(way.to, left.data(), left.size(), MSG_NOSIGNAL);
      if (sent < 0) {
        connection.dead = true;
        return;
      }
      left.remove_prefix(static_cast<std::size_t>(sent));
    }
    connection.dead = connection.dead || chunk.last;
  }
}

}  // namespace sluice::history

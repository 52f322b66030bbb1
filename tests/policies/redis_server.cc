// RedisServer, see redis_server.h.
#include "tests/policies/redis_server.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <signal.h>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sluice::policies::testing {

RedisServer& RedisServer::instance() {
  static RedisServer server;
  return server;
}

RedisServer::RedisServer() {
  std::string name = (std::filesystem::temp_directory_path() / "sluice-policies-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  folder_ = name;
  socket_path_ = folder_ + "/redis.sock";
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int null = open("/dev/null", O_RDWR);
    dup2(null, 1);
    dup2(null, 2);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket_path_.c_str(), "--save", "",
           "--appendonly", "no", "--dir", folder_.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  connect();
}

RedisServer::~RedisServer() {
  if (fd_ >= 0) close(fd_);
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void RedisServer::connect() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket_path_.c_str(), sizeof(address.sun_path) - 1);
  for (int attempt = 0; attempt < 1000; ++attempt) {
    fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return;
    close(fd_);
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) break;
    usleep(10000);
  }
  fd_ = -1;
  throw std::runtime_error("redis-server did not start");
}

resp::Reply RedisServer::exchange(std::string_view wire) {
  for (std::size_t sent = 0; sent < wire.size();) {
    const ssize_t n = write(fd_, wire.data() + sent, wire.size() - sent);
    if (n <= 0) throw std::runtime_error("redis-server is gone");
    sent += static_cast<std::size_t>(n);
  }
  return read_reply();
}

resp::Reply RedisServer::call(const std::vector<std::string>& args) {
  std::string wire;
  resp::append_command(wire, args);
  return exchange(wire);
}

resp::Reply RedisServer::run(const RedisCommand& command) {
  if (command.script == nullptr) return call(command.args);
  return run_together({command}).front();
}

std::vector<resp::Reply> RedisServer::run_together(const std::vector<RedisCommand>& commands) {
  std::vector<const RedisCommand*> together;
  together.reserve(commands.size());
  for (const RedisCommand& command : commands) together.push_back(&command);
  const auto ask = [&](ScriptBy by) {
    std::string wire;
    append_script_call(wire, together, by);
    return exchange(wire);
  };
  resp::Reply reply = ask(ScriptBy::digest);
  if (reply.is_error() && reply.text.starts_with("NOSCRIPT")) reply = ask(ScriptBy::text);
  return split_reply(*commands.front().script, std::move(reply), commands.size());
}

std::string RedisServer::text(const std::vector<std::string>& args) {
  const resp::Reply reply = call(args);
  if (reply.is_nil()) return "(nil)";
  if (reply.type == resp::Reply::Type::integer) return std::to_string(reply.integer);
  return (reply.is_error() ? "-" : "") + reply.text;
}

void RedisServer::fill() {
  std::array<char, 65536> chunk;
  const ssize_t n = read(fd_, chunk.data(), chunk.size());
  if (n <= 0) throw std::runtime_error("redis-server is gone");
  buffer_.append(chunk.data(), static_cast<std::size_t>(n));
}

std::string RedisServer::read_line() {
  std::size_t end;
  while ((end = buffer_.find("\r\n")) == std::string::npos) fill();
  std::string line = buffer_.substr(0, end);
  buffer_.erase(0, end + 2);
  return line;
}

std::string RedisServer::read_bytes(std::size_t size) {
  while (buffer_.size() < size + 2) fill();
  std::string bytes = buffer_.substr(0, size);
  buffer_.erase(0, size + 2);
  return bytes;
}

resp::Reply RedisServer::read_reply() {
  using Type = resp::Reply::Type;
  const std::string line = read_line();
  const std::string rest = line.substr(1);
  switch (line[0]) {
    case '+':
      return {Type::status, 0, rest, {}};
    case '-':
      return {Type::error, 0, rest, {}};
    case ':':
      return {Type::integer, std::stoll(rest), {}, {}};
    case '$':
      if (rest == "-1") return {};
      return {Type::bulk, 0, read_bytes(std::stoul(rest)), {}};
    case '*': {
      if (rest == "-1") return {};
      resp::Reply reply{Type::array, 0, {}, {}};
      for (long left = std::stol(rest); left > 0; --left) reply.items.push_back(read_reply());
      return reply;
    }
    default:
      throw std::runtime_error("not RESP2: " + line);
  }
}

}  // namespace sluice::policies::testing

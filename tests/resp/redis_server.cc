// RedisServer: a real redis-server for one test, see redis_server.h.
#include "redis_server.h"

#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <signal.h>
#include <stdexcept>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sluice::resp {
namespace {

std::string make_folder() {
  std::string name = std::filesystem::temp_directory_path() / "sluice-resp-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  return name;
}

[[noreturn]] void become_server(const std::string& folder, const std::vector<std::string>& options, int log) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(log, STDOUT_FILENO);
  const std::string socket = folder + "/redis.sock";
  std::vector<std::string> words{"redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder};
  words.insert(words.end(), options.begin(), options.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  _exit(127);
}

}  // namespace

RedisServer::RedisServer(const std::vector<std::string>& options) : folder_(make_folder()) {
  int log[2];
  if (pipe2(log, O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
  pid_ = fork();
  if (pid_ == 0) become_server(folder_, options, log[1]);
  close(log[1]);
  wait_until_ready(log[0]);
  close(log[0]);
}

RedisServer::~RedisServer() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  std::filesystem::remove_all(folder_);
}

void RedisServer::wait_until_ready(int log) {
  std::string text;
  char bytes[4096];
  while (text.find("ready to accept connections at") == std::string::npos) {
    const ssize_t got = read(log, bytes, sizeof bytes);
    if (got <= 0) throw std::runtime_error("redis-server did not start: " + text);
    text.append(bytes, got);
  }
}

std::string RedisServer::answer_to(std::string_view bytes) const {
  const int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (folder_ + "/redis.sock").c_str(), sizeof address.sun_path - 1);
  if (::connect(socket_fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("cannot connect to redis-server");
  std::string answer;
  char buffer[65536];
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;  // it has seen enough and hung up
    bytes.remove_prefix(sent);
  }
  shutdown(socket_fd, SHUT_WR);
  for (ssize_t got; (got = read(socket_fd, buffer, sizeof buffer)) > 0;) answer.append(buffer, got);
  close(socket_fd);
  return answer;
}

std::unique_ptr<redisContext, decltype(&redisFree)> RedisServer::connect() const {
  return {redisConnectUnix((folder_ + "/redis.sock").c_str()), redisFree};
}

Reply to_reply(const redisReply& reply) {
  Reply copy;
  switch (reply.type) {
    case REDIS_REPLY_STRING:
      copy.type = Reply::Type::bulk;
      break;
    case REDIS_REPLY_STATUS:
      copy.type = Reply::Type::status;
      break;
    case REDIS_REPLY_ERROR:
      copy.type = Reply::Type::error;
      break;
    case REDIS_REPLY_INTEGER:
      copy.type = Reply::Type::integer;
      copy.integer = reply.integer;
      return copy;
    case REDIS_REPLY_ARRAY:
      copy.type = Reply::Type::array;
      for (std::size_t i = 0; i < reply.elements; ++i) copy.items.push_back(to_reply(*reply.element[i]));
      return copy;
    default:
      return copy;
  }
  copy.text.assign(reply.str, reply.len);
  return copy;
}

}  // namespace sluice::resp

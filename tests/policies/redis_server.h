// RedisServer: a private redis-server on a Unix socket, and a client that speaks RESP2 to it.
#pragma once

#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

#include "policies/policy.h"

namespace sluice::policies::testing {

// One server for the whole test binary, started when first asked for and stopped at its end.
class RedisServer {
 public:
  static RedisServer& instance();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;
  ~RedisServer();

  resp::Reply call(const std::vector<std::string>& args);
  // As the proxy does: scripts by their digest, loaded when Redis does not know them.
  resp::Reply run(const RedisCommand& command);
  resp::Reply run(const Script& script, const std::vector<std::string>& args) { return run({&script, args}); }
  // Commands of one batch script in one call.
  std::vector<resp::Reply> run_together(const std::vector<RedisCommand>& commands);

  // The text of a reply to a command; nil is "(nil)", an error begins with '-'.
  std::string text(const std::vector<std::string>& args);

 private:
  RedisServer();
  void connect();
  resp::Reply exchange(std::string_view wire);
  resp::Reply read_reply();
  std::string read_line();
  std::string read_bytes(std::size_t size);
  void fill();

  std::string folder_, socket_path_;
  pid_t pid_ = -1;
  int fd_ = -1;
  std::string buffer_;
};

}  // namespace sluice::policies::testing

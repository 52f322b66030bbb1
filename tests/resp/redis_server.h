// RedisServer: a real redis-server for one test, on a Unix socket in a temporary folder.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <hiredis/hiredis.h>

#include "resp/reply.h"

namespace sluice::resp {

class RedisServer {
 public:
  // Returns when the server accepts connections.
  explicit RedisServer(const std::vector<std::string>& options = {});
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  // Everything the server answers on a new connection to these bytes and their end.
  std::string answer_to(std::string_view bytes) const;

  std::unique_ptr<redisContext, decltype(&redisFree)> connect() const;

 private:
  void wait_until_ready(int log);

  std::string folder_;
  int pid_ = -1;
};

// Copies a reply of hiredis.
Reply to_reply(const redisReply& reply);

}  // namespace sluice::resp

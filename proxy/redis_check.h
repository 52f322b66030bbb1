// RedisCheck: whether Redis is there, lets the proxy in and can serve policies.
#pragma once

#include <string>
#include <vector>

#include "conf/config.h"
#include "policies/table_check.h"

namespace sluice::proxy {

struct RedisReport {
  std::string reached;  // "Redis 7.0.15"; empty: it was not
  std::vector<policies::Finding> findings;
};

// Connects with the proxy's own credentials and waits for the answers: within connect_timeout and a few seconds, the
// look-up of the name aside.
RedisReport check_redis(const conf::Config& config);

}  // namespace sluice::proxy

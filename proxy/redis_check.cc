// RedisCheck: on a blocking connection of hiredis.
#include "proxy/redis_check.h"

#include <algorithm>
#include <chrono>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <sys/time.h>
#include <utility>

#include <hiredis/hiredis.h>

namespace sluice::proxy {
namespace {

constexpr std::chrono::milliseconds kReplyTimeout{3000};

timeval time_of(std::chrono::milliseconds time) {
  return {static_cast<time_t>(time.count() / 1000), static_cast<suseconds_t>(time.count() % 1000 * 1000)};
}

bool is_counter(const conf::PolicyOptions& options) { return options.value == conf::ValueMode::counter; }

// The value of `name` in what INFO replies; empty: there is none.
std::string info_value(std::string_view info, std::string_view name) {
  const std::string start = "\r\n" + std::string(name) + ":";
  const std::size_t at = info.find(start);
  if (at == std::string_view::npos) return {};
  info.remove_prefix(at + start.size());
  return std::string(info.substr(0, info.find("\r\n")));
}

class Check {
 public:
  explicit Check(const conf::Config& config) : config_(config), options_(config.upstream) {}

  RedisReport run() {
    if (!connect() || !log_in()) return std::move(report_);
    report_.reached = "Redis";
    if (config_.policies.empty()) return std::move(report_);
    check_rights();
    check_info();
    return std::move(report_);
  }

 private:
  struct Answer {
    std::string text;
    bool error = false;
  };
  using Words = std::vector<std::string>;

  void mistake(std::string text) { report_.findings.push_back({false, std::move(text)}); }
  void warn(std::string text) { report_.findings.push_back({true, std::move(text)}); }

  bool connect() {
    const conf::Endpoint& to = options_.endpoint;
    const timeval limit = time_of(options_.connect_timeout);
    context_.reset(to.kind == conf::Endpoint::Kind::unix_socket
                       ? redisConnectUnixWithTimeout(to.path.c_str(), limit)
                       : redisConnectWithTimeout(to.host.c_str(), to.port, limit));
    if (context_ != nullptr && context_->err == 0) {
      redisSetTimeout(context_.get(), time_of(kReplyTimeout));
      return true;
    }
    const std::string why = context_ == nullptr ? "out of memory" : context_->errstr;
    mistake("Redis is not reached at " + conf::to_string(to) + ": " + why);
    return false;
  }

  bool log_in() {
    std::vector<Words> commands;
    if (!options_.password.empty()) {
      commands.push_back({"AUTH"});
      if (!options_.user.empty()) commands.back().push_back(options_.user);
      commands.back().push_back(options_.password);
    }
    if (options_.db != 0) commands.push_back({"SELECT", std::to_string(options_.db)});
    commands.push_back({"PING"});
    for (const Words& command : commands) {
      const Answer answer = ask(command);
      if (!answer.error) continue;
      mistake("Redis at " + conf::to_string(options_.endpoint) + " refuses the proxy's own " + command[0] + ": " +
              answer.text);
      return false;
    }
    return true;
  }

  // What policies need besides the commands that they run on keys.
  void check_rights() {
    for (const Words& command : {Words{"SCRIPT", "LOAD", "return 1"}, Words{"ACL", "WHOAMI"}}) {
      const Answer answer = ask(command);
      if (answer.error) mistake("the proxy's own Redis user cannot run " + command[0] + ": " + answer.text);
    }
  }

  void check_info() {
    const Answer info = ask({"INFO"});
    if (info.error) return warn("INFO tells nothing about Redis: " + info.text);
    report_.reached += " " + info_value(info.text, "redis_version");
    if (info_value(info.text, "role") == "slave") mistake("this Redis is a replica, which takes no writes");
    if (info_value(info.text, "cluster_enabled") == "1") {
      mistake("this Redis is in cluster mode, in which policies are not built yet");
    }
    if (keeps_counters()) check_durability(info.text);
  }

  bool keeps_counters() const {
    return std::any_of(config_.policies.begin(), config_.policies.end(), [](const conf::PolicyOptions& policy) {
      return is_counter(policy) && policy.durability_check != conf::DurabilityCheck::off;
    });
  }

  void check_durability(std::string_view info) {
    const std::string policy = info_value(info, "maxmemory_policy");
    if (policy.starts_with("allkeys")) {
      warn("maxmemory-policy is " + policy + ": Redis may evict increments that are not in SQL yet");
    }
    if (info_value(info, "aof_enabled") == "0") {
      warn("Redis keeps no append-only file: increments that are not in SQL yet are lost when it ends");
    }
  }

  Answer ask(const Words& command) {
    std::vector<const char*> words;
    std::vector<std::size_t> sizes;
    for (const std::string& word : command) {
      words.push_back(word.data());
      sizes.push_back(word.size());
    }
    void* const raw = redisCommandArgv(context_.get(), static_cast<int>(words.size()), words.data(), sizes.data());
    const std::unique_ptr<redisReply, void (*)(void*)> reply(static_cast<redisReply*>(raw), freeReplyObject);
    if (reply == nullptr) return {context_->err == REDIS_ERR_IO ? "no answer" : context_->errstr, true};
    if (reply->type != REDIS_REPLY_ERROR && reply->str == nullptr) return {};
    return {std::string(reply->str, reply->len), reply->type == REDIS_REPLY_ERROR};
  }

  const conf::Config& config_;
  const conf::UpstreamOptions& options_;
  std::unique_ptr<redisContext, void (*)(redisContext*)> context_{nullptr, redisFree};
  RedisReport report_;
};

}  // namespace

RedisReport check_redis(const conf::Config& config) { return Check(config).run(); }

}  // namespace sluice::proxy

// CopyTrust, see copy_trust.h.
#include "proxy/copy_trust.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "conf/config.h"
#include "proxy/log.h"
#include "proxy/operations.h"
#include "proxy/policy_redis.h"
#include "proxy/router.h"

namespace sluice::proxy {
namespace {

constexpr const char* kRunKey = "__sluice:run";
// When nobody has connected for so long, it goes; the copies are then dropped once more than needed.
constexpr const char* kRunKeySeconds = "604800";
constexpr std::chrono::seconds kRetry{1};

std::string run_id_of(const std::string& info) {
  constexpr std::string_view kField = "run_id:";
  const std::size_t at = info.find(kField);
  if (at == std::string::npos) return {};
  const std::size_t begin = at + kField.size();
  return info.substr(begin, info.find_first_of("\r\n", begin) - begin);
}

bool keeps_copies(const policies::Policy& policy) {
  return policy.options().value != conf::ValueMode::counter && policy.options().fills();
}

}  // namespace

CopyTrust::CopyTrust(EventLoop& events, PolicyRedis& redis, Operations& operations, Router& router)
    : events_(events), redis_(redis), operations_(operations), router_(router) {
  trusted_ = true;
  for (const auto& policy : router_.policies()) trusted_ = trusted_ && !keeps_copies(*policy);
}

void CopyTrust::close() { events_.cancel(retry_); }

void CopyTrust::connection_changed() {
  ++connection_;
  events_.cancel(retry_);
  const auto& policies = router_.policies();
  if (std::none_of(policies.begin(), policies.end(), [](const auto& policy) { return keeps_copies(*policy); })) return;
  trusted_ = false;
  if (redis_.up()) ask();
}

void CopyTrust::ask() {
  redis_.call({{nullptr, {"INFO", "server"}}, {nullptr, {"GET", kRunKey}}},
              [this, connection = connection_](const PolicyRedis::Outcome& outcome) {
                if (outcome.lost || !is_current(connection)) return;
                answered(run_id_of(outcome.replies[0].text), outcome.replies[1].text);
              });
}

void CopyTrust::answered(const std::string& run_id, const std::string& known) {
  run_id_ = run_id;
  if (run_id_.empty()) return again();
  if (run_id_ == known) return confirm();
  log_rarely(Level::info, "copies", "Redis is another process than before: the cached copies of rows are dropped");
  drop_copies();
}

void CopyTrust::drop_copies() {
  failed_ = false;
  dropping_ = 1;  // this call itself
  for (const auto& policy : router_.policies()) {
    if (!keeps_copies(*policy)) continue;
    ++dropping_;
    policies::Request everything;
    everything.verb = policies::Verb::invalidate;
    operations_.start(policy->begin(std::move(everything)), nullptr,
                      [this, connection = connection_](const policies::Finish& finish) {
                        if (is_current(connection)) dropped(!finish.reply.starts_with('-'));
                      });
  }
  dropped(true);
}

void CopyTrust::dropped(bool done) {
  failed_ = failed_ || !done;
  if (--dropping_ != 0) return;
  if (failed_) return again();
  confirm();
}

// A Redis that takes no writes now keeps no copies either: what is there has been dropped.
void CopyTrust::confirm() {
  trusted_ = true;
  redis_.call({{nullptr, {"SET", kRunKey, run_id_, "EX", kRunKeySeconds}}}, [](const PolicyRedis::Outcome&) {});
}

void CopyTrust::again() {
  retry_ = events_.after(kRetry, [this] { ask(); });
}

}  // namespace sluice::proxy

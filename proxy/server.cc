// Server: putting the parts together and taking them apart in the right order.
#include "proxy/server.h"

#include <algorithm>
#include <future>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#include <utility>

#include "backends/pool.h"
#include "backends/registry.h"
#include "proxy/listener.h"
#include "proxy/log.h"
#include "proxy/loop.h"

namespace sluice::proxy {
namespace {

constexpr std::chrono::milliseconds kProbeTimeout{1000};

// A client that is gone shows as an error of the write.
void block_sigpipe() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

}  // namespace

Server::Server(conf::Config config) : config_(std::move(config)) {}

Server::~Server() {
  request_drain();
  wait();
}

std::string Server::start() {
  std::string error;
  const std::vector<int> sockets = open_sockets(config_.proxy.listen, error);
  if (!error.empty()) return error;
  make_pools();
  make_loops(sockets);
  for (const int socket : sockets) ::close(socket);
  if (config_.admin.listen) {
    admin_ = std::make_unique<AdminServer>(config_.admin, static_cast<AdminSource&>(*this));
    error = admin_->start();
    if (!error.empty()) return error;
  }
  for (std::size_t i = 0; i < loops_.size(); ++i) {
    threads_.emplace_back([loop = loops_[i].get()] {
      block_sigpipe();
      loop->run();
    });
    pthread_setname_np(threads_.back().native_handle(), ("loop-" + std::to_string(i)).c_str());
  }
  started_ = true;
  for (const conf::Endpoint& endpoint : config_.proxy.listen) log(Level::info, "listening on " + to_string(endpoint));
  return {};
}

void Server::make_pools() {
  for (const conf::BackendOptions& options : config_.backends) {
    pools_.push_back(std::make_unique<sql::Pool>(options.name, sql::make_backend(options)));
  }
  process_ = std::make_unique<Process>(config_);
  for (const conf::PolicyOptions& policy : config_.policies) {
    const auto pool = std::find_if(pools_.begin(), pools_.end(),
                                   [&](const auto& candidate) { return candidate->name() == policy.backend; });
    process_->pools.push_back(pool->get());
  }
}

void Server::make_loops(const std::vector<int>& sockets) {
  for (int i = 0; i < config_.proxy.threads; ++i) {
    loops_.push_back(std::make_unique<Loop>(*process_));
    loops_.back()->listen(sockets);
  }
}

void Server::request_drain() {
  if (draining_.exchange(true)) return;
  for (const auto& loop : loops_) loop->request_drain(config_.proxy.shutdown_timeout);
}

// The databases' workers end after the loops, whose last flushes they carry out, and before the loops are destroyed.
int Server::wait() {
  if (ended_) return exit_code_;
  ended_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  if (admin_) admin_->stop();
  for (const auto& pool : pools_) pool->stop();
  remove_socket_files();
  std::uint64_t unflushed = 0;
  for (const auto& loop : loops_) unflushed = std::max(unflushed, loop->unflushed());
  if (unflushed == 0) return 0;
  exit_code_ = 1;
  log(Level::error, std::to_string(unflushed) +
                        " changes are in Redis and not yet in SQL; any sluice with this "
                        "configuration flushes them");
  return exit_code_;
}

void Server::remove_socket_files() const {
  if (loops_.empty()) return;  // they were never ours
  for (const conf::Endpoint& endpoint : config_.proxy.listen) {
    if (endpoint.kind == conf::Endpoint::Kind::unix_socket) unlink(endpoint.path.c_str());
  }
}

// Asks every database at once, so that the answer is of now and takes no longer than the slowest may.
std::vector<Health::Part> Server::backends_health() {
  std::vector<std::future<sql::Result>> answers;
  const auto deadline = std::chrono::steady_clock::now() + kProbeTimeout;
  for (const auto& pool : pools_) {
    auto promise = std::make_shared<std::promise<sql::Result>>();
    answers.push_back(promise->get_future());
    pool->submit({sql::Ping{}, deadline, [promise](sql::Result result) { promise->set_value(std::move(result)); }});
  }
  std::vector<Health::Part> parts;
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    Health::Part& part = parts.emplace_back();
    part.name = pools_[i]->name();
    if (answers[i].wait_until(deadline) != std::future_status::ready) {
      part.reason = "no answer in time";
      continue;
    }
    const sql::Result result = answers[i].get();
    part.ok = result.ok();
    part.reason = result.error.message;
  }
  return parts;
}

Health Server::health() {
  Health health;
  health.started = started_;
  health.draining = draining_;
  health.redis.ok = true;
  for (const auto& loop : loops_) {
    if (loop->redis_up()) continue;
    health.redis.ok = false;
    health.redis.reason = loop->redis_error();
  }
  health.backends = backends_health();
  return health;
}

Snapshot Server::snapshot() {
  Snapshot snapshot;
  for (const auto& loop : loops_) snapshot.loops.push_back(&std::as_const(*loop).metrics());
  for (std::uint32_t i = 0; i < config_.policies.size(); ++i) {
    auto& policy = snapshot.policies.emplace_back();
    policy.name = config_.policies[i].name;
    for (const auto& loop : loops_) policy.loops.push_back(&loop->policy_metrics(i));
  }
  for (const auto& pool : pools_) snapshot.pools.push_back(pool.get());
  return snapshot;
}

}  // namespace sluice::proxy

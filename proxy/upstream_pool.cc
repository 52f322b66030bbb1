// UpstreamPool: making connections, lending them and taking them back.
#include "proxy/upstream_pool.h"

#include <algorithm>
#include <utility>

namespace sluice::proxy {
namespace {

constexpr std::size_t kIdleMax = 64;

}  // namespace

UpstreamPool::UpstreamPool(const Common& common, Identity identity)
    : common_(common),
      identity_(std::move(identity)),
      anybody_(identity_ == Identity{.db = common.options.db}),
      left_at_(common.events.now()) {}

UpstreamPool::~UpstreamPool() { close(); }

void UpstreamPool::close() {
  if (shared_) discard(common_, std::move(shared_));
  for (auto& upstream : idle_) discard(common_, std::move(upstream));
  idle_.clear();
}

std::unique_ptr<Upstream> UpstreamPool::make() {
  common_.metrics.upstream_connections.add();
  auto upstream =
      std::make_unique<Upstream>(common_.events, common_.options, common_.user, common_.metrics.upstream_bytes_out);
  upstream->set_age(common_.age);
  return upstream;
}

// Commands wait until Redis has accepted the password and the database: it would run them as somebody else, or
// elsewhere.
void UpstreamPool::connect(Upstream& upstream) {
  upstream.connect();
  const Transformation commands = commands_to_become(identity_);
  if (commands.needed.count != 0) upstream.prepare(commands);
}

void UpstreamPool::default_user_changed(const std::string& reason) {
  if (!identity_.user.empty()) return;
  for (auto& upstream : idle_) discard(common_, std::move(upstream));
  idle_.clear();
  if (shared_) shared_->fail(reason);
}

bool UpstreamPool::expects_shared() {
  if (anybody_) return shared_ && shared_->usable();
  if (!why_down_.empty()) return false;
  if (!shared_) connect_shared();
  return true;
}

Upstream& UpstreamPool::connect_shared() {
  shared_ = make();
  connect(*shared_);
  return *shared_;
}

std::unique_ptr<Upstream> UpstreamPool::lend(ClientId client) {
  const auto ready = [this](const auto& one) { return one->up() && one->ready() && !is_outdated(*one); };
  const auto found = std::find_if(idle_.rbegin(), idle_.rend(), ready);
  if (found != idle_.rend()) {
    auto upstream = std::move(*found);
    idle_.erase(std::next(found).base());
    upstream->bind(client);
    return upstream;
  }
  auto upstream = make();
  upstream->bind(client);
  connect(*upstream);
  return upstream;
}

void UpstreamPool::give_back(std::unique_ptr<Upstream> upstream) {
  upstream->bind({});
  const bool clean = upstream->up() && !upstream->inspecting() && !is_outdated(*upstream);
  const bool settled = upstream->ready();  // else a name is being taken from it, which Redis may refuse
  if (clean && settled && !anybody_ && !shared_) {
    shared_ = std::move(upstream);
  } else if (clean && idle_.size() < kIdleMax) {
    idle_.push_back(std::move(upstream));
  } else {
    discard(common_, std::move(upstream));
  }
}

// A password may have been set since, or have been missing for a moment, too short for anybody to notice.
bool UpstreamPool::is_outdated(const Upstream& upstream) const {
  const bool may_be_shut = common_.default_user != DefaultUser::ready;
  return identity_.user.empty() && (may_be_shut || upstream.age() != common_.age);
}

void UpstreamPool::discard(const Common& common, std::unique_ptr<Upstream> upstream) {
  if (upstream->usable()) upstream->close();
  common.metrics.upstream_connections.set(common.metrics.upstream_connections.value() - 1);
  common.graveyard.bury(std::move(upstream));
}

bool UpstreamPool::lost(Upstream& upstream, const std::string& reason) {
  if (is_shared(upstream)) {
    if (!upstream.prepared()) why_down_ = reason;
    discard(common_, std::move(shared_));
    return true;
  }
  const auto idle = std::find_if(idle_.begin(), idle_.end(), [&](const auto& one) { return one.get() == &upstream; });
  if (idle == idle_.end()) return false;
  discard(common_, std::move(*idle));
  idle_.erase(idle);
  return true;
}

void UpstreamPool::leave() {
  if (--clients_ == 0) left_at_ = common_.events.now();
}

}  // namespace sluice::proxy

// Loop: clients come and go, upstream connections are shared out, policies do their background work.
#include "proxy/loop.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <utility>

#include "backends/pool.h"
#include "conf/config.h"
#include "policies/write.h"
#include "proxy/guards.h"
#include "proxy/log.h"
#include "proxy/split_read.h"
#include "resp/command_parser.h"
#include "resp/encode.h"

namespace sluice::proxy {
namespace {

constexpr std::chrono::milliseconds kTick{20};
constexpr std::chrono::seconds kUnusedPoolKept{30};
constexpr std::ptrdiff_t kUnusedPoolsMax = 16;
constexpr std::chrono::seconds kProbeInterval{1};
constexpr std::chrono::seconds kMemoryTick{1};
// What a client that came or left may have allocated and freed.
constexpr std::uint64_t kClientBytes = 4096;
constexpr std::string_view kPing = "*1\r\n$4\r\nPING\r\n";
// The least time that the proxy's own connection waits for an answer.
constexpr std::chrono::milliseconds kOwnPatience{5000};
constexpr std::string_view kTooManyClients = "-ERR max number of clients reached\r\n";

// As long as the arm of a write lives, if that is longer.
std::chrono::milliseconds own_patience(const conf::Config& config) {
  auto patience = kOwnPatience;
  for (const auto& policy : config.policies) patience = std::max(patience, policy.write_timeout + policies::kArmMargin);
  return patience;
}

}  // namespace

// --- Life --------------------------------------------------------------------------------------------------------

Loop::Loop(Process& process)
    : process_(process),
      mailbox_(Mailbox::open(events_.uv())),
      router_(process.config),
      policy_redis_(events_, process.config.upstream, own_patience(process.config), metrics_.own_commands,
                    metrics_.scripts),
      operations_(events_, policy_redis_, mailbox_),
      copy_trust_(events_, policy_redis_, operations_, router_),
      acl_(events_, policy_redis_),
      graveyard_(events_),
      common_{events_, process.config.upstream, *this, metrics_, graveyard_, default_user_, connection_age_},
      default_user_probe_(events_, process.config.upstream, [this](DefaultUser now) { default_user_looked_at(now); }),
      background_busy_(router_.size(), false),
      breaker_open_(router_.size(), false) {
  process_.loops.push_back(this);
  pools_.push_back(std::make_unique<UpstreamPool>(common_, Identity{.db = process.config.upstream.db}));
}

Loop::~Loop() { end(); }

void Loop::listen(const std::vector<int>& sockets) {
  for (const int socket : sockets) listeners_.push_back(std::make_unique<Listener>(*this, socket));
}

void Loop::run() {
  connect_shared();
  if (!router_.empty()) {
    policy_redis_.on_change([this] {
      note_redis_state();
      copy_trust_.connection_changed();
      if (policy_redis_.up()) check_durability();
    });
    policy_redis_.connect();
    acl_.start();
  }
  tick();
  events_.run();
}

void Loop::end() {
  if (std::exchange(ended_, true)) return;
  close_clients();
  listeners_.clear();
  events_.cancel(tick_);
  events_.cancel(pause_ends_);
  events_.cancel(reconnect_);
  for (auto& pool : pools_) pool->close();
  default_user_probe_.close();
  copy_trust_.close();
  policy_redis_.close();
  mailbox_->close();
  events_.stop();
}

// --- Clients -----------------------------------------------------------------------------------------------------

void Loop::accept(uv_stream_t* server, Stream::Kind kind) {
  if (free_places_.empty()) {
    free_places_.push_back(static_cast<std::uint32_t>(clients_.size()));
    clients_.emplace_back();
  }
  const std::uint32_t index = free_places_.back();
  Place& place = clients_[index];
  auto client = std::make_unique<Client>(*this, ClientId{index, place.generation}, kind);
  if (uv_accept(server, client->stream().handle()) != 0) return graveyard_.bury(std::move(client));
  if (process_.clients.fetch_add(1, std::memory_order_relaxed) >= config().proxy.max_clients) {
    process_.clients.fetch_sub(1, std::memory_order_relaxed);
    metrics_.clients_rejected.add();
    client->stream().out().append(kTooManyClients);
    static_cast<void>(client->stream().flush());
    return graveyard_.bury(std::move(client));
  }
  free_places_.pop_back();
  place.client = std::move(client);
  look_at_default_user();
  metrics_.clients_accepted.add();
  metrics_.clients.set(++client_count_);
  place.client->begin();
}

void Loop::remove(Client& client) {
  Place& place = clients_[client.id().index];
  graveyard_.bury(std::move(place.client));
  ++place.generation;
  free_places_.push_back(client.id().index);
  process_.clients.fetch_sub(1, std::memory_order_relaxed);
  metrics_.clients.set(--client_count_);
}

Client* Loop::find(ClientId id) {
  if (id.generation == 0 || id.index >= clients_.size()) return nullptr;
  Place& place = clients_[id.index];
  return place.generation == id.generation ? place.client.get() : nullptr;
}

void Loop::close_idle_clients() {
  const auto timeout = config().proxy.idle_timeout;
  if (timeout.count() == 0) return;
  for (Place& place : clients_) {
    if (!place.client || !place.client->idle_since(events_.now() - timeout)) continue;
    metrics_.idle_closes.add();
    place.client->close();
  }
}

std::vector<ClientInfo> Loop::clients_here() const {
  std::vector<ClientInfo> found;
  for (const Place& place : clients_) {
    if (place.client) found.push_back(place.client->info());
  }
  return found;
}

void Loop::paused(std::chrono::milliseconds duration) {
  pause_here(duration);
  for (Loop* loop : process_.loops) {
    if (loop != this) loop->mailbox_->post([loop, duration] { loop->pause_here(duration); });
  }
}

// Redis keeps the later of two ends, too.
void Loop::pause_here(std::chrono::milliseconds duration) {
  const auto until = events_.now() + duration;
  if (paused_ && duration.count() > 0 && until < paused_until_) return;
  events_.cancel(pause_ends_);
  paused_ = duration.count() > 0;
  paused_until_ = until;
  pause_ends_ = events_.after(duration, [this] {
    paused_ = false;
    resume_clients();  // back to the shared connections
  });
}

// Each loop is asked on its own thread; the answers meet on this one.
void Loop::list_clients(bool pins, resp::Version version, ClientId client, std::uint64_t slot) {
  struct Gathered {
    std::size_t left;
    std::vector<ClientInfo> clients;
  };
  auto gathered = std::make_shared<Gathered>();
  gathered->left = process_.loops.size();
  for (Loop* loop : process_.loops) {
    loop->mailbox_->post([=, this, home = mailbox_] {
      home->post([=, this, found = loop->clients_here()] {
        gathered->clients.insert(gathered->clients.end(), found.begin(), found.end());
        if (--gathered->left == 0) answer(client, slot, {client_list(std::move(gathered->clients), pins, version)});
      });
    });
  }
}

// --- Upstream connections ----------------------------------------------------------------------------------------

UpstreamPool& Loop::pool_of(const Identity& identity) {
  const auto found =
      std::find_if(pools_.begin(), pools_.end(), [&](const auto& pool) { return pool->identity() == identity; });
  if (found != pools_.end()) return **found;
  close_oldest_unused_pool();
  return *pools_.emplace_back(std::make_unique<UpstreamPool>(common_, identity));
}

// A client that tries many passwords or databases must not leave as many connections behind.
void Loop::close_oldest_unused_pool() {
  const auto unused = [](const auto& pool) { return pool->unused_since(EventLoop::TimePoint::max()); };
  if (std::count_if(pools_.begin() + 1, pools_.end(), unused) < kUnusedPoolsMax) return;
  const auto older = [&](const auto& a, const auto& b) {
    return unused(a) != unused(b) ? unused(a) : a->left_at() < b->left_at();
  };
  pools_.erase(std::min_element(pools_.begin() + 1, pools_.end(), older));
}

void Loop::close_unused_pools() {
  const auto unused = [&](const auto& pool) {
    return pool.get() != &anybody() && pool->unused_since(events_.now() - kUnusedPoolKept);
  };
  if (std::none_of(pools_.begin() + 1, pools_.end(), unused)) return;
  pools_.erase(std::remove_if(pools_.begin() + 1, pools_.end(), unused), pools_.end());
}

void Loop::connect_shared() {
  default_user_ = DefaultUser::unknown;
  anybody().connect_shared().expect({}, kPing, Expect::held, 1, {});
}

// The reply to the PING shows whether Redis lets in those who do not authenticate. It asks for that before all else but
// the number of its clients: an answer that is not one of these tells nothing, and the connection will be closed.
void Loop::greeted(std::string_view reply) {
  const bool refused = reply.starts_with("-NOAUTH");
  bool open = false;
  for (const char* answer : {"+", "-NOPERM", "-LOADING", "-BUSY", "-MASTERDOWN", "-MISCONF"}) {
    if (reply.starts_with(answer)) open = true;
  }
  if (!refused && !open) return;
  default_user_ = refused ? DefaultUser::must_authenticate : DefaultUser::ready;
  default_user_seen_ = default_user_;
  backoff_.reset();  // not before: a Redis that is full accepts and closes
  resume_clients();
}

void Loop::on_up(Upstream& upstream) {
  if (!anybody().is_shared(upstream)) return;
  if (!why_down_.empty()) log(Level::info, "connected to Redis at " + to_string(config().upstream.endpoint));
  why_down_.clear();
  note_redis_state();
}

void Loop::on_ready(Upstream& upstream) {
  if (Client* client = find(upstream.bound())) return client->resume();
  const bool shared =
      std::any_of(pools_.begin(), pools_.end(), [&](const auto& pool) { return pool->is_shared(upstream); });
  if (shared) resume_clients();
}

void Loop::on_down(Upstream& upstream, const std::string& reason) {
  metrics_.upstream_errors.add();
  if (Client* client = find(upstream.bound())) return client->own_upstream_down(reason);
  const bool redis = anybody().is_shared(upstream);
  const auto owner = std::find_if(pools_.begin(), pools_.end(), [&](const auto& pool) {
    return pool->is_shared(upstream) && pool->lost(upstream, reason);
  });
  if (redis) return redis_lost(reason);
  if (owner != pools_.end()) {
    UpstreamPool& pool = **owner;
    resume_clients();
    return pool.retry();
  }
  for (const auto& pool : pools_) {
    if (pool->lost(upstream, reason)) return;
  }
}

void Loop::redis_lost(const std::string& reason) {
  why_down_ = reason;
  log_rarely(Level::warning, "redis down", "Redis cannot be reached: " + reason);
  note_redis_state();
  default_user_ = default_user_seen_;
  resume_clients();
  if (draining_) return;
  reconnect_ = events_.after(backoff_.next(), [this] {
    metrics_.upstream_reconnects.add();
    connect_shared();
  });
}

void Loop::on_uncongested(Upstream&) { resume_clients(); }

// A password set while connections are open is asked only of new ones: so of clients that come from then on.
void Loop::look_at_default_user() {
  if (events_.now() < next_probe_) return;
  next_probe_ = events_.now() + kProbeInterval;
  default_user_probe_.look();
}

// Connections are let in, or not, as it was when they were made, except that a password taken away lets everybody in.
void Loop::default_user_looked_at(DefaultUser now) {
  const bool closes = now == DefaultUser::must_authenticate && default_user_ == DefaultUser::ready;
  if (now == DefaultUser::ready && default_user_ == DefaultUser::must_authenticate) {
    default_user_ = default_user_seen_ = now;
  }
  if (closes && anybody().shared() != nullptr) {
    log(Level::info, "Redis asks for a password now: connecting anew");
    ++connection_age_;
    default_user_ = default_user_seen_ = now;
    for (std::size_t i = 0; i < pools_.size(); ++i) pools_[i]->default_user_changed("Redis asks for a password now");
  }
  resume_clients();
}

void Loop::resume_clients() {
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    if (clients_[i].client) clients_[i].client->resume();
  }
}

void Loop::on_bytes(ClientId client, std::string_view bytes) {
  metrics_.upstream_bytes_in.add(bytes.size());
  if (Client* found = find(client)) found->reply_bytes(bytes);
}

void Loop::on_replies(ClientId client, std::uint32_t replies) {
  if (Client* found = find(client)) found->replies_done(replies);
}

void Loop::on_hit(std::uint32_t policy, std::uint32_t keys) { router_.policy(policy).metrics().hits.add(keys); }

void Loop::on_hits(std::string_view command) {
  resp::CommandLimits limits;
  limits.bulk_bytes_max = config().proxy.max_bulk_length;
  resp::CommandParser parser(limits);
  resp::Command parsed;
  parser.next(command, parsed);
  router_.count_hits(parsed);
}

bool Loop::on_kept(ClientId client, std::size_t bytes) {
  if (Client* found = find(client)) found->reply_kept(bytes);
  return find(client) != nullptr;
}

void Loop::on_miss(ClientId client, std::uint32_t policy, std::string_view command, std::string_view reply) {
  if (Client* found = find(client)) found->read_missed(policy, command, reply);
}

void Loop::on_read_lost(ClientId client, std::uint32_t policy, std::string_view command, bool sent,
                        const std::string& reason) {
  if (Client* found = find(client)) found->read_lost(policy, command, sent, reason);
}

void Loop::on_effect(ClientId client, std::string_view note, std::string_view reply) {
  if (Client* found = find(client)) found->effect_seen(note, reply);
}

void Loop::on_held(ClientId client, std::string_view note, std::string_view reply) {
  if (client.generation == 0) {  // the PING of connect_shared()
    greeted(reply);
  } else if (Client* found = find(client)) {
    found->held_reply(note, reply);
  } else {
    on_held_lost(note);
  }
}

void Loop::on_again(ClientId client, std::string_view reply) {
  if (Client* found = find(client)) found->ran_again(reply);
}

void Loop::on_held_lost(std::string_view note) {
  if (!note.empty()) clear_guards(decode_keys(note.substr(1)));
}

void Loop::wrote_past(std::uint32_t policy, const resp::CommandInfo& command) {
  policies::Policy& owner = router_.policy(policy);
  owner.metrics().unmanaged_writes.add();
  log_rarely(Level::warning, "unmanaged " + owner.options().name,
             "policy '" + owner.options().name + "': " + std::string(command.name) +
                 " was passed on to Redis; SQL knows nothing of it (unmanaged_writes, multi)");
}

void Loop::clear_guards(const std::vector<std::string>& keys) {
  start(make_guard_clearing(router_.guards_of(keys), {}), {}, 0);
}

void Loop::on_subscription(ClientId client, std::string_view kind, std::int64_t remaining) {
  if (Client* found = find(client)) found->subscription_changed(kind, remaining);
}

void Loop::on_lost(ClientId client, bool sent, const std::string& reason) {
  if (Client* found = find(client)) found->upstream_lost(sent, reason);
}

std::string Loop::user_to_check(const std::string& session_user) { return acl_.must_ask(session_user); }

// --- Operations --------------------------------------------------------------------------------------------------

void Loop::answer(ClientId client, std::uint64_t slot, policies::Finish finish) {
  if (Client* found = find(client)) found->fill(slot, std::move(finish));
}

void Loop::start(std::unique_ptr<policies::Operation> operation, std::uint32_t policy, ClientId client,
                 std::uint64_t slot) {
  operations_.start(std::move(operation), process_.pools[policy],
                    [this, client, slot](policies::Finish finish) { answer(client, slot, std::move(finish)); });
}

void Loop::start(std::unique_ptr<policies::Operation> operation, ClientId client, std::uint64_t slot) {
  operations_.start(std::move(operation), nullptr,
                    [this, client, slot](policies::Finish finish) { answer(client, slot, std::move(finish)); });
}

void Loop::start_parts(SplitRead read, const policies::Request& request, ClientId client, std::uint64_t slot) {
  const auto split = std::make_shared<SplitRead>(std::move(read));
  for (std::size_t i = 0; i < split->parts().size(); ++i) {
    const SplitRead::Part& part = split->parts()[i];
    const auto done = [this, split, i, client, slot](policies::Finish finish) {
      if (auto whole = split->take(i, std::move(finish))) return answer(client, slot, *std::move(whole));
      if (Client* found = find(client)) found->hold(slot, split->bytes());
    };
    if (!part.policy) {
      operations_.start(make_redis_read(request.acl_user, part.args, request.version), nullptr, done);
      continue;
    }
    policies::Request own = request;
    own.args = part.args;
    own.key = own.args[1];
    operations_.start(router_.policy(*part.policy).begin(std::move(own)), process_.pools[*part.policy], done);
  }
}

void Loop::start_flush(std::vector<std::string> args, std::string acl_user, ClientId client, std::uint64_t slot) {
  start(make_flush_guard(router_.dirty_sets(), std::move(args), std::move(acl_user)), client, slot);
}

void Loop::start_everywhere(const policies::Request& request, ClientId client, std::uint64_t slot) {
  struct Sum {
    std::size_t left;
    std::int64_t total = 0;
    std::string error;
  };
  if (router_.size() == 0) {
    std::string nothing;
    resp::append_integer(nothing, 0);
    return answer(client, slot, {std::move(nothing)});
  }
  auto sum = std::make_shared<Sum>();
  sum->left = router_.size();
  for (std::uint32_t policy = 0; policy < router_.size(); ++policy) {
    operations_.start(router_.policy(policy).begin(request), process_.pools[policy],
                      [this, sum, client, slot](const policies::Finish& finish) {
                        std::int64_t rows = 0;
                        const std::string& reply = finish.reply;
                        if (reply.starts_with(':'))
                          std::from_chars(reply.data() + 1, reply.data() + reply.size(), rows);
                        if (reply.starts_with('-') && sum->error.empty()) sum->error = reply;
                        sum->total += rows;
                        if (--sum->left != 0) return;
                        if (sum->error.empty()) resp::append_integer(sum->error, sum->total);
                        answer(client, slot, {sum->error});
                      });
  }
}

void Loop::tick() {
  tick_ = events_.after(kTick, [this] { tick(); });
  metrics_.operations.set(operations_.in_progress());
  metrics_.upstream_pending.set(
      std::accumulate(pools_.begin(), pools_.end(), std::size_t{0},
                      [](std::size_t sum, const auto& pool) { return sum + pool->outstanding(); }));
  close_idle_clients();
  close_unused_pools();
  look_at_memory();
  log_breakers();
  if (!draining_) start_due_work();
}

void Loop::look_at_memory() {
  if (events_.now() - memory_seen_ < kMemoryTick) return;
  memory_seen_ = events_.now();
  const std::uint64_t came_and_left = 2 * metrics_.clients_accepted.value() - client_count_;
  memory_.look(Buffer::released_bytes() + came_and_left * kClientBytes);
}

// Policies do no I/O: it is their metrics that tell.
void Loop::log_breakers() {
  for (std::uint32_t policy = 0; policy < router_.size(); ++policy) {
    const auto& metrics = router_.policy(policy).metrics();
    const bool open = metrics.breaker_open.value() != 0;
    if (open == breaker_open_[policy]) continue;
    breaker_open_[policy] = open;
    const conf::PolicyOptions& options = router_.policy(policy).options();
    const std::string who = "policy '" + options.name + "': backend '" + options.backend + "' ";
    if (open) {
      log(Level::warning,
          who + "does not answer: reads that need it fail at once, but for one that tries now and then");
    } else {
      log(Level::info, who + "answers again");
    }
  }
}

void Loop::start_due_work() {
  for (std::uint32_t policy = 0; policy < router_.size(); ++policy) {
    while (auto refresh = router_.policy(policy).refresh(events_.now())) {
      operations_.start(std::move(refresh), process_.pools[policy], [](const policies::Finish&) {});
    }
    if (background_busy_[policy]) continue;
    auto work = router_.policy(policy).due(events_.now());
    if (!work) continue;
    background_busy_[policy] = true;
    operations_.start(std::move(work), process_.pools[policy],
                      [this, policy](const policies::Finish&) { end_due_work(policy); });
  }
}

void Loop::end_due_work(std::uint32_t policy) {
  background_busy_[policy] = false;
  const policies::Policy& owner = router_.policy(policy);
  const std::string trouble = owner.trouble();
  if (trouble.empty()) return;
  const std::string& name = owner.options().name;
  log_rarely(Level::warning, "background " + name, "policy '" + name + "': " + trouble);
}

// --- Draining ----------------------------------------------------------------------------------------------------

void Loop::request_drain(std::chrono::milliseconds timeout) {
  mailbox_->post([this, timeout] { drain(timeout); });
}

// No new clients; those that are here get the replies to what they sent. Then the policies flush.
void Loop::drain(std::chrono::milliseconds timeout) {
  if (draining_) return;
  draining_ = true;
  listeners_.clear();
  events_.after(timeout, [this] { end_drain(); });
  events_.after(timeout / 2, [this] { close_clients(); });  // the other half is for the policies
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    if (clients_[i].client) clients_[i].client->drain();
  }
  drain_step();
}

void Loop::close_clients() {
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    if (clients_[i].client) clients_[i].client->close();
  }
}

void Loop::drain_step() {
  const bool busy = std::find(background_busy_.begin(), background_busy_.end(), true) != background_busy_.end();
  if (client_count_ != 0 || operations_.in_progress() != 0 || busy) {
    events_.after(std::chrono::milliseconds(2), [this] { drain_step(); });
    return;
  }
  drain_policies();
}

void Loop::drain_policies() {
  for (std::uint32_t policy = 0; policy < router_.size(); ++policy) {
    auto work = router_.policy(policy).drain();
    if (!work) continue;
    ++drains_left_;
    operations_.start(std::move(work), process_.pools[policy], [this](const policies::Finish&) {
      if (--drains_left_ == 0) events_.after(std::chrono::milliseconds(0), [this] { end_drain(); });
    });
  }
  if (drains_left_ == 0) end_drain();
}

void Loop::end_drain() {
  if (ended_) return;
  for (const auto& policy : router_.policies()) unflushed_ += policy->unflushed();
  end();
}

// --- For other threads -------------------------------------------------------------------------------------------

void Loop::note_redis_state() {
  const bool up = why_down_.empty() && (router_.empty() || policy_redis_.up());
  metrics_.own_up.set(policy_redis_.up() ? 1 : 0);
  redis_up_.store(up, std::memory_order_relaxed);
  const std::lock_guard lock(error_mutex_);
  error_ = why_down_.empty() ? policy_redis_.why_down() : why_down_;
  if (!router_.empty() && !policy_redis_.up() && why_down_.empty()) {
    log_rarely(Level::warning, "own connection", "policies cannot work: " + policy_redis_.why_down());
  }
}

// Counts that SQL does not have yet live in Redis alone: say so when this Redis may lose them (`durability_check`).
void Loop::check_durability() {
  const auto& policies = config().policies;
  const bool asked = std::any_of(policies.begin(), policies.end(), [](const conf::PolicyOptions& policy) {
    return policy.value == conf::ValueMode::counter && policy.durability_check != conf::DurabilityCheck::off;
  });
  if (!asked) return;
  policy_redis_.call({{nullptr, {"CONFIG", "GET", "appendonly"}}, {nullptr, {"CONFIG", "GET", "maxmemory-policy"}}},
                     [](const PolicyRedis::Outcome& outcome) {
                       const auto value = [&](std::size_t i) {
                         const resp::Reply& reply = outcome.replies[i];
                         return reply.items.size() == 2 ? reply.items[1].text : std::string();
                       };
                       if (outcome.lost) return;
                       if (value(0) == "no") {
                         log_rarely(
                             Level::warning, "no aof",
                             "Redis has no append-only file: a crash of it loses the counts that SQL does not have "
                             "yet (durability_check)");
                       }
                       if (value(1).starts_with("allkeys")) {
                         log_rarely(Level::warning, "eviction",
                                    "Redis may evict counts that SQL does not have yet: maxmemory-policy is " +
                                        value(1) + " (durability_check)");
                       }
                     });
}

std::string Loop::redis_error() const {
  const std::lock_guard lock(error_mutex_);
  return error_;
}

const policies::PolicyMetrics& Loop::policy_metrics(std::uint32_t policy) const {
  return router_.policies()[policy]->metrics();
}

}  // namespace sluice::proxy

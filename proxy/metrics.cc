// Metrics: sums the counts of all loops and writes them as Prometheus text.
#include "proxy/metrics.h"

#include <algorithm>
#include <limits>
#include <span>
#include <sstream>
#include <utility>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "backends/pool.h"

namespace sluice::proxy {
namespace {

using policies::Count;
using policies::PolicyMetrics;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

// One number of the struct T: what it is called in JSON and in Prometheus' text.
template <class T>
struct Item {
  enum class Kind : std::uint8_t {
    counter,
    gauge,
    highest,    // of the loops' numbers
    highest_ms  // the same of an age
  };
  std::string_view name;
  Count T::*count;
  Kind kind;
  const char* metric;
  const char* help;
  const char* outcome = nullptr;  // neighbours of the same metric differ in this label
};
using LoopItem = Item<LoopMetrics>;
using PolicyItem = Item<PolicyMetrics>;

constexpr std::array kLoopItems{
    LoopItem{"clients", &LoopMetrics::clients, LoopItem::Kind::gauge, "sluice_clients", "Connected clients."},
    LoopItem{"clients_accepted", &LoopMetrics::clients_accepted, LoopItem::Kind::counter,
             "sluice_clients_accepted_total", "Client connections accepted."},
    LoopItem{"clients_rejected", &LoopMetrics::clients_rejected, LoopItem::Kind::counter,
             "sluice_clients_rejected_total", "Client connections refused because of max_clients."},
    LoopItem{"protocol_errors", &LoopMetrics::protocol_errors, LoopItem::Kind::counter, "sluice_protocol_errors_total",
             "Clients closed because of malformed or oversized input."},
    LoopItem{"output_limit_closes", &LoopMetrics::output_limit_closes, LoopItem::Kind::counter,
             "sluice_clients_closed_output_limit_total", "Clients closed because of client_output_buffer_limit."},
    LoopItem{"query_limit_closes", &LoopMetrics::query_limit_closes, LoopItem::Kind::counter,
             "sluice_clients_closed_query_limit_total", "Clients closed because of query_buffer_limit."},
    LoopItem{"idle_closes", &LoopMetrics::idle_closes, LoopItem::Kind::counter, "sluice_clients_closed_idle_total",
             "Clients closed because of idle_timeout."},
    LoopItem{"client_bytes_in", &LoopMetrics::client_bytes_in, LoopItem::Kind::counter,
             "sluice_client_received_bytes_total", "Bytes received from clients."},
    LoopItem{"client_bytes_out", &LoopMetrics::client_bytes_out, LoopItem::Kind::counter,
             "sluice_client_sent_bytes_total", "Bytes sent to clients."},
    LoopItem{"client_buffer_bytes", &LoopMetrics::client_buffer_bytes, LoopItem::Kind::gauge,
             "sluice_client_buffer_bytes", "Input of clients that waits, and replies that they have not taken yet."},
    LoopItem{"commands_forwarded", &LoopMetrics::commands_forwarded, LoopItem::Kind::counter,
             "sluice_commands_forwarded_total", "Commands forwarded to Redis."},
    LoopItem{"commands_streamed", &LoopMetrics::commands_streamed, LoopItem::Kind::counter,
             "sluice_commands_streamed_total", "Forwarded commands too large to keep, passed on as they arrived."},
    LoopItem{"commands_policy", &LoopMetrics::commands_policy, LoopItem::Kind::counter, "sluice_commands_policy_total",
             "Commands done or refused by a policy."},
    LoopItem{"commands_local", &LoopMetrics::commands_local, LoopItem::Kind::counter, "sluice_commands_local_total",
             "Commands answered by the proxy itself."},
    LoopItem{"upstream_connections", &LoopMetrics::upstream_connections, LoopItem::Kind::gauge,
             "sluice_upstream_connections", "Open connections to Redis that carry clients' commands."},
    LoopItem{"upstream_reconnects", &LoopMetrics::upstream_reconnects, LoopItem::Kind::counter,
             "sluice_upstream_reconnects_total", "Connections to Redis made again after a loss."},
    LoopItem{"upstream_errors", &LoopMetrics::upstream_errors, LoopItem::Kind::counter, "sluice_upstream_errors_total",
             "Connections to Redis that failed or were lost."},
    LoopItem{"upstream_bytes_in", &LoopMetrics::upstream_bytes_in, LoopItem::Kind::counter,
             "sluice_upstream_received_bytes_total", "Bytes received from Redis."},
    LoopItem{"upstream_bytes_out", &LoopMetrics::upstream_bytes_out, LoopItem::Kind::counter,
             "sluice_upstream_sent_bytes_total", "Bytes sent to Redis."},
    LoopItem{"upstream_pending", &LoopMetrics::upstream_pending, LoopItem::Kind::gauge, "sluice_upstream_pending_runs",
             "Runs of commands of one client that wait for replies on a shared connection."},
    LoopItem{"own_up", &LoopMetrics::own_up, LoopItem::Kind::gauge, "sluice_own_connections",
             "Connections to Redis for the proxy's own commands that are ready; one per loop."},
    LoopItem{"tables_touched", &LoopMetrics::tables_touched, LoopItem::Kind::counter, "sluice_tables_touched_total",
             "Tables named in SLUICE TOUCH."},
    LoopItem{"own_commands", &LoopMetrics::own_commands, LoopItem::Kind::counter, "sluice_own_commands_total",
             "Commands of the proxy's own sent to Redis."},
    LoopItem{"operations", &LoopMetrics::operations, LoopItem::Kind::gauge, "sluice_operations",
             "Policy operations in progress."},
};

constexpr std::array kPolicyItems{
    PolicyItem{"hits", &PolicyMetrics::hits, PolicyItem::Kind::counter, "sluice_policy_hits_total",
               "Reads answered from Redis."},
    PolicyItem{"misses", &PolicyMetrics::misses, PolicyItem::Kind::counter, "sluice_policy_misses_total",
               "Reads that found nothing in Redis."},
    PolicyItem{"negative_hits", &PolicyMetrics::negative_hits, PolicyItem::Kind::counter,
               "sluice_policy_negative_hits_total", "Reads answered by the memory of an absent row."},
    PolicyItem{"stale", &PolicyMetrics::stale, PolicyItem::Kind::counter, "sluice_policy_stale_total",
               "Cached copies and memories of absent rows dropped because a table they depend on has changed."},
    PolicyItem{"fills", &PolicyMetrics::fills, PolicyItem::Kind::counter, "sluice_policy_fills_total",
               "Rows loaded and stored in Redis."},
    PolicyItem{"fills_rejected", &PolicyMetrics::fills_rejected, PolicyItem::Kind::counter,
               "sluice_policy_fills_rejected_total", "Rows loaded but not stored, because of a newer write."},
    PolicyItem{"waits", &PolicyMetrics::waits, PolicyItem::Kind::counter, "sluice_policy_waits_total",
               "Reads that waited for another's load of the same row."},
    PolicyItem{"load_errors", &PolicyMetrics::load_errors, PolicyItem::Kind::counter, "sluice_policy_load_errors_total",
               "Loads that failed in SQL."},
    PolicyItem{"writes_ok", &PolicyMetrics::writes_ok, PolicyItem::Kind::counter, "sluice_policy_writes_total",
               "Writes by what became of them.", "ok"},
    PolicyItem{"writes_refused", &PolicyMetrics::writes_refused, PolicyItem::Kind::counter,
               "sluice_policy_writes_total", "", "refused"},
    PolicyItem{"writes_unavailable", &PolicyMetrics::writes_unavailable, PolicyItem::Kind::counter,
               "sluice_policy_writes_total", "", "unavailable"},
    PolicyItem{"writes_unknown", &PolicyMetrics::writes_unknown, PolicyItem::Kind::counter,
               "sluice_policy_writes_total", "", "unknown"},
    PolicyItem{"overlaps", &PolicyMetrics::overlaps, PolicyItem::Kind::counter, "sluice_policy_overlaps_total",
               "Writes that met another write of the same key."},
    PolicyItem{"increments", &PolicyMetrics::increments, PolicyItem::Kind::counter, "sluice_policy_increments_total",
               "Increments of counters."},
    PolicyItem{"flushes", &PolicyMetrics::flushes, PolicyItem::Kind::counter, "sluice_policy_flushes_total",
               "Flushes to SQL."},
    PolicyItem{"flushed_rows", &PolicyMetrics::flushed_rows, PolicyItem::Kind::counter,
               "sluice_policy_flushed_rows_total", "Rows written by flushes."},
    PolicyItem{"flush_errors", &PolicyMetrics::flush_errors, PolicyItem::Kind::counter,
               "sluice_policy_flush_errors_total", "Flushes that failed, to be tried again."},
    PolicyItem{"dirty", &PolicyMetrics::dirty, PolicyItem::Kind::gauge, "sluice_policy_dirty_counters",
               "Counters with increments not yet in SQL."},
    PolicyItem{"oldest_dirty_ms", &PolicyMetrics::oldest_dirty_ms, PolicyItem::Kind::highest_ms,
               "sluice_policy_oldest_dirty_seconds", "Age of the oldest increment not yet in SQL."},
    PolicyItem{"outbox_rows", &PolicyMetrics::outbox_rows, PolicyItem::Kind::counter, "sluice_outbox_rows_total",
               "Recorded changes of others, by what came of them.", "invalidated"},
    PolicyItem{"outbox_strangers", &PolicyMetrics::outbox_strangers, PolicyItem::Kind::counter,
               "sluice_outbox_rows_total", "", "no_key"},
    PolicyItem{"outbox_errors", &PolicyMetrics::outbox_errors, PolicyItem::Kind::counter, "sluice_outbox_errors_total",
               "Looks at the outbox that failed, to be tried again."},
    PolicyItem{"outbox_oldest_ms", &PolicyMetrics::outbox_oldest_ms, PolicyItem::Kind::highest_ms,
               "sluice_outbox_oldest_age_seconds", "Age of the oldest recorded change that is not yet dealt with."},
    PolicyItem{"outbox_gaps", &PolicyMetrics::outbox_gaps, PolicyItem::Kind::highest, "sluice_outbox_gaps",
               "What keeps changes of others from being recorded, as of the last check."},
    PolicyItem{"rejected_commands", &PolicyMetrics::rejected_commands, PolicyItem::Kind::counter,
               "sluice_policy_rejected_commands_total", "Commands refused on the policy's keys."},
    PolicyItem{"unmanaged_writes", &PolicyMetrics::unmanaged_writes, PolicyItem::Kind::counter,
               "sluice_policy_unmanaged_writes_total", "Writes on the policy's keys that went to Redis past it."},
    PolicyItem{"refreshes", &PolicyMetrics::refreshes, PolicyItem::Kind::counter, "sluice_policy_refreshes_total",
               "Loads begun to renew a copy before it expires (refresh_ahead)."},
    PolicyItem{"refreshes_stored", &PolicyMetrics::refreshes_stored, PolicyItem::Kind::counter,
               "sluice_policy_refreshes_stored_total", "Copies renewed, or dropped with their row, in this way."},
    PolicyItem{"refreshes_refused", &PolicyMetrics::refreshes_refused, PolicyItem::Kind::counter,
               "sluice_policy_refreshes_refused_total",
               "Copies not renewed, as somebody else wrote or renewed them, or SQL had no answer."},
    PolicyItem{"refreshes_dropped", &PolicyMetrics::refreshes_dropped, PolicyItem::Kind::counter,
               "sluice_policy_refreshes_dropped_total", "Copies not renewed, as too many waited for it."},
    PolicyItem{"breaker_open", &PolicyMetrics::breaker_open, PolicyItem::Kind::gauge, "sluice_breaker_open",
               "Loops that ask the database nothing for this policy's reads, as it has not answered."},
    PolicyItem{"breaker_openings", &PolicyMetrics::breaker_openings, PolicyItem::Kind::counter,
               "sluice_breaker_openings_total", "Times that a loop stopped asking the database."},
    PolicyItem{"breaker_refusals", &PolicyMetrics::breaker_refusals, PolicyItem::Kind::counter,
               "sluice_breaker_refusals_total", "Loads that failed at once, or missed, because of that."},
};

template <class T>
std::uint64_t sum(const Item<T>& item, const std::vector<const T*>& loops) {
  std::uint64_t result = 0;
  for (const T* loop : loops) {
    const std::uint64_t value = (loop->*item.count).value();
    const bool highest = item.kind == Item<T>::Kind::highest_ms || item.kind == Item<T>::Kind::highest;
    result = highest ? std::max(result, value) : result + value;
  }
  return result;
}

template <class T, std::size_t N>
std::vector<Total> totals_of(const std::array<Item<T>, N>& items, const std::vector<const T*>& loops) {
  std::vector<Total> result;
  result.reserve(N);
  for (const Item<T>& item : items) result.push_back({item.name, sum(item, loops)});
  return result;
}

template <std::size_t N>
std::uint64_t sum_at(std::array<Count, N> LoopMetrics::*counts, std::size_t at,
                     const std::vector<const LoopMetrics*>& loops) {
  std::uint64_t result = 0;
  for (const LoopMetrics* loop : loops) result += (loop->*counts)[at].value();
  return result;
}

// The families of one page, in order.
class Page {
 public:
  // A family with this name becomes the one that samples go to.
  void family(const char* name, const char* help, MetricType type) {
    if (!families_.empty() && families_.back().name == name) return;
    families_.push_back({name, help, type, {}});
  }
  void sample(Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (families_.back().type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    families_.back().metric.push_back(std::move(metric));
  }
  void sample(Labels labels, std::uint64_t value) { sample(std::move(labels), static_cast<double>(value)); }
  void sample(Labels labels, ClientMetric::Histogram histogram) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.histogram = std::move(histogram);
    families_.back().metric.push_back(std::move(metric));
  }
  std::string text() {
    std::erase_if(families_, [](const MetricFamily& family) { return family.metric.empty(); });
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families_);
    return std::move(out).str();
  }

 private:
  std::vector<MetricFamily> families_;
};

template <class T>
void add_item(Page& page, const Item<T>& item, const std::vector<const T*>& loops, Labels labels) {
  using Kind = typename Item<T>::Kind;
  page.family(item.metric, item.help, item.kind == Kind::counter ? MetricType::Counter : MetricType::Gauge);
  if (item.outcome != nullptr) labels.push_back({"outcome", item.outcome});
  const auto value = static_cast<double>(sum(item, loops));
  page.sample(std::move(labels), item.kind == Kind::highest_ms ? value / 1000 : value);
}

void add_commands(Page& page, const std::vector<const LoopMetrics*>& loops) {
  page.family("sluice_commands_total", "Commands by name; names unknown to Redis 7.0 are \"other\".",
              MetricType::Counter);
  constexpr std::size_t kKnown = static_cast<std::size_t>(resp::CommandId::count);
  for (std::size_t i = 0; i <= kKnown; ++i) {
    const std::uint64_t value = sum_at(&LoopMetrics::commands, i, loops);
    if (value == 0) continue;
    const std::string_view name = i == kKnown ? "other" : resp::command_info(static_cast<resp::CommandId>(i)).name;
    page.sample({{"cmd", std::string(name)}}, value);
  }
}

void add_scripts(Page& page, const std::vector<const LoopMetrics*>& loops) {
  const auto& scripts = policies::all_scripts();
  const auto add = [&](Count ScriptCounts::*count) {
    for (std::size_t i = 0; i < scripts.size(); ++i) {
      std::uint64_t value = 0;
      for (const LoopMetrics* loop : loops) value += (loop->scripts[i].*count).value();
      if (value != 0) page.sample({{"script", std::string(scripts[i]->name)}}, value);
    }
  };
  page.family("sluice_script_calls_total", "EVALSHA calls of the proxy's own scripts.", MetricType::Counter);
  add(&ScriptCounts::calls);
  page.family("sluice_script_runs_total",
              "Runs of the proxy's own scripts: one call may run a script for several keys.", MetricType::Counter);
  add(&ScriptCounts::runs);
}

void add_pins(Page& page, const std::vector<const LoopMetrics*>& loops) {
  const auto add = [&](std::array<Count, kPinReasonNames.size()> LoopMetrics::*counts) {
    for (std::size_t i = 0; i < kPinReasonNames.size(); ++i) {
      page.sample({{"reason", std::string(kPinReasonNames[i])}}, sum_at(counts, i, loops));
    }
  };
  page.family("sluice_pinned_clients", "Clients that have a connection to Redis of their own.", MetricType::Gauge);
  add(&LoopMetrics::pinned);
  page.family("sluice_pins_total", "Times a client was given a connection of its own.", MetricType::Counter);
  add(&LoopMetrics::pins);
}

void add_policies(Page& page, const std::vector<Snapshot::PolicyLoops>& policies) {
  // Family by family: Prometheus wants the samples of one together.
  for (auto item = kPolicyItems.begin(); item != kPolicyItems.end();) {
    const auto next = std::find_if(item, kPolicyItems.end(), [&](const PolicyItem& other) {
      return std::string_view(other.metric) != item->metric;
    });
    for (const Snapshot::PolicyLoops& policy : policies) {
      for (const PolicyItem& one : std::span(item, next)) add_item(page, one, policy.loops, {{"policy", policy.name}});
    }
    item = next;
  }
}

ClientMetric::Histogram histogram(const sql::Pool::Stats& stats) {
  ClientMetric::Histogram result;
  result.sample_sum = stats.seconds;
  for (std::size_t i = 0; i < stats.buckets.size(); ++i) {
    result.sample_count += stats.buckets[i];
    if (i < sql::Pool::kLatencyBounds.size()) {
      result.bucket.push_back({result.sample_count, sql::Pool::kLatencyBounds[i]});
    }
  }
  result.bucket.push_back({result.sample_count, std::numeric_limits<double>::infinity()});
  return result;
}

struct PoolStats {
  const sql::Pool* pool;
  std::vector<sql::Pool::Stats> operations;  // those ever used
};

void add_sql_operations(Page& page, const std::vector<PoolStats>& pools) {
  page.family("sluice_sql_operations_total", "SQL operations by what became of them.", MetricType::Counter);
  for (const PoolStats& stats : pools) {
    for (const sql::Pool::Stats& op : stats.operations) {
      const std::uint64_t failed = op.unavailable + op.refused + op.unknown + op.schema;
      const std::pair<const char*, std::uint64_t> outcomes[] = {{"ok", op.count - failed},
                                                                {"unavailable", op.unavailable},
                                                                {"refused", op.refused},
                                                                {"unknown", op.unknown},
                                                                {"schema", op.schema}};
      for (const auto& [outcome, value] : outcomes) {
        page.sample({{"backend", stats.pool->name()}, {"op", op.op}, {"outcome", outcome}}, value);
      }
    }
  }
  page.family("sluice_sql_seconds", "Time of SQL operations, waiting for a worker included.", MetricType::Histogram);
  for (const PoolStats& stats : pools) {
    for (const sql::Pool::Stats& op : stats.operations) {
      page.sample({{"backend", stats.pool->name()}, {"op", op.op}}, histogram(op));
    }
  }
}

void add_sql(Page& page, const std::vector<const sql::Pool*>& pools) {
  std::vector<PoolStats> stats;
  for (const sql::Pool* pool : pools) {
    stats.push_back({pool, pool->stats()});
    std::erase_if(stats.back().operations, [](const sql::Pool::Stats& op) { return op.count == 0; });
  }
  add_sql_operations(page, stats);
  const auto add = [&](auto read) {
    for (const sql::Pool* pool : pools) page.sample({{"backend", pool->name()}}, std::uint64_t{read(*pool)});
  };
  page.family("sluice_sql_transactions_total", "SQL transactions committed.", MetricType::Counter);
  add([](const sql::Pool& pool) { return pool.transactions(); });
  page.family("sluice_sql_queue_depth", "SQL operations waiting or running.", MetricType::Gauge);
  add([](const sql::Pool& pool) { return pool.queued(); });
  page.family("sluice_sql_up", "1 when the last SQL operation reached the database.", MetricType::Gauge);
  add([](const sql::Pool& pool) { return pool.healthy() ? 1U : 0U; });
}

}  // namespace

std::string render(const Snapshot& snapshot) {
  Page page;
  page.family("sluice_build_info", "1; the version is in the label.", MetricType::Gauge);
  page.sample({{"version", SLUICE_VERSION}}, 1.0);
  for (const LoopItem& item : kLoopItems) add_item(page, item, snapshot.loops, {});
  add_pins(page, snapshot.loops);
  add_commands(page, snapshot.loops);
  add_scripts(page, snapshot.loops);
  add_policies(page, snapshot.policies);
  add_sql(page, snapshot.pools);
  return page.text();
}

std::vector<Total> totals(const std::vector<const LoopMetrics*>& loops) { return totals_of(kLoopItems, loops); }

std::vector<Total> totals(const std::vector<const policies::PolicyMetrics*>& loops) {
  return totals_of(kPolicyItems, loops);
}

std::vector<Total> pinned(const std::vector<const LoopMetrics*>& loops) {
  std::vector<Total> result;
  for (std::size_t i = 0; i < kPinReasonNames.size(); ++i) {
    const std::uint64_t value = sum_at(&LoopMetrics::pinned, i, loops);
    if (value != 0) result.push_back({kPinReasonNames[i], value});
  }
  return result;
}

}  // namespace sluice::proxy

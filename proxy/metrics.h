// Metrics: what a loop counts, and everything there is to count as text for Prometheus.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy_metrics.h"
#include "policies/script.h"
#include "proxy/pin_reason.h"
#include "resp/command_table.h"

namespace sluice::sql {
class Pool;
}

namespace sluice::proxy {

// Of one script: EVALSHAs sent, and the commands that they ran, most of them for one key.
struct ScriptCounts {
  policies::Count calls, runs;
};

// Written by one loop, read by any thread. A gauge goes down by set().
struct LoopMetrics {
  using Count = policies::Count;

  Count clients;  // gauge: connected now
  Count clients_accepted, clients_rejected, protocol_errors;
  Count output_limit_closes, query_limit_closes, idle_closes;
  Count client_bytes_in, client_bytes_out;
  Count client_buffer_bytes;  // gauge: input that waits, and replies not yet taken

  std::array<Count, kPinReasonNames.size()> pinned;  // gauge: clients with a connection of their own now
  std::array<Count, kPinReasonNames.size()> pins;    // since the start

  Count commands_forwarded, commands_policy, commands_local;  // each command is in one of them
  Count commands_streamed;                                    // of those forwarded
  // Each command again, by its name; the last is for names Redis 7.0 does not know.
  std::array<Count, static_cast<std::size_t>(resp::CommandId::count) + 1> commands;

  Count upstream_connections;  // gauge: open now, shared and pinned
  Count upstream_reconnects, upstream_errors;
  Count upstream_bytes_in, upstream_bytes_out;
  Count upstream_pending;  // gauge: runs of one client's commands that wait for replies on a shared connection

  Count own_up;        // gauge: 1 while the proxy's own connection is ready
  Count own_commands;  // sent on it
  // Scripts among them, in the order of policies::all_scripts().
  std::vector<ScriptCounts> scripts = std::vector<ScriptCounts>(policies::all_scripts().size());
  Count operations;      // gauge: policy operations in progress
  Count tables_touched;  // named in SLUICE TOUCH

  // `info` is null for a name that Redis 7.0 does not know.
  void count_command(const resp::CommandInfo* info, std::uint64_t times = 1) {
    commands[info == nullptr ? commands.size() - 1 : static_cast<std::size_t>(info->id)].add(times);
  }
  void pin(PinReason reason) {
    pinned[static_cast<std::size_t>(reason)].add();
    pins[static_cast<std::size_t>(reason)].add();
  }
  void unpin(PinReason reason) {
    Count& now = pinned[static_cast<std::size_t>(reason)];
    now.set(now.value() - 1);
  }
};

// Where to read everything from. The pointers must be valid while it is used; what they point at may go on counting.
struct Snapshot {
  struct PolicyLoops {
    std::string name;
    std::vector<const policies::PolicyMetrics*> loops;
  };
  std::vector<const LoopMetrics*> loops;
  std::vector<PolicyLoops> policies;
  std::vector<const sql::Pool*> pools;
};

// Prometheus' text format. Labels are names out of the configuration or the code, never keys or values.
std::string render(const Snapshot& snapshot);

// The same sums without labels, for JSON: {"clients_accepted", 3}. Ages are milliseconds and the highest of the loops.
struct Total {
  std::string_view name;
  std::uint64_t value;
};
std::vector<Total> totals(const std::vector<const LoopMetrics*>& loops);
std::vector<Total> totals(const std::vector<const policies::PolicyMetrics*>& loops);
// Clients pinned now, by reason; reasons of nobody are left out.
std::vector<Total> pinned(const std::vector<const LoopMetrics*>& loops);

}  // namespace sluice::proxy

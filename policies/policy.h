// Policy: decides, without doing any I/O, what happens to the commands on the keys it owns.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "backends/sql.h"
#include "policies/script.h"
#include "resp/command.h"
#include "resp/command_table.h"
#include "resp/encode.h"
#include "resp/reply.h"

namespace sluice::conf {
struct PolicyOptions;
}

namespace sluice::policies {

struct PolicyMetrics;
struct Shared;
class Policy;

using Milliseconds = std::chrono::milliseconds;
using TimePoint = std::chrono::steady_clock::time_point;

// Names one operation of the driver's table; stale once that operation has ended.
struct OperationId {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;
  bool operator==(const OperationId&) const = default;
};

// --- Steps: what an operation wants done next -------------------------------------------------------------------

// One command for the proxy's own Redis connection. With a script, `args` are numkeys, the keys and the arguments.
struct RedisCommand {
  const Script* script = nullptr;
  std::vector<std::string> args;
  bool operator==(const RedisCommand&) const = default;
};
struct CallRedis {  // sent back to back; answered by RedisReplies or RedisLost
  std::vector<RedisCommand> commands;
  bool operator==(const CallRedis&) const = default;
};
struct CallSql {  // answered by SqlDone, within `timeout`
  sql::Op op;
  Milliseconds timeout;
  bool operator==(const CallSql&) const = default;
};
struct Sleep {  // answered by Elapsed
  Milliseconds duration;
  bool operator==(const Sleep&) const = default;
};
struct Park {  // answered by Woken, once another operation lists this one in Turn::woken
  bool operator==(const Park&) const = default;
};
struct Finish {        // the operation has ended
  std::string reply;   // RESP bytes for the client; empty for background operations
  bool close = false;  // close the client after the reply
  bool operator==(const Finish&) const = default;
};
using Step = std::variant<CallRedis, CallSql, Sleep, Park, Finish>;

// --- Events: what came of the last step --------------------------------------------------------------------------

struct RedisReplies {
  std::vector<resp::Reply> replies;  // one per command, in order
};
struct RedisLost {
  bool sent = false;  // false: nothing reached Redis; true: some commands may have run
};
struct SqlDone {
  sql::Result result;
};
struct Elapsed {};
struct Woken {};
using Event = std::variant<RedisReplies, RedisLost, SqlDone, Elapsed, Woken>;

// What an operation may look at during one call, besides its event.
struct Turn {
  TimePoint now;
  OperationId self;
  std::uint64_t random = 0;         // fresh for every call
  std::vector<OperationId>& woken;  // parked operations to resume after this call
};

// One command (or background job) in progress. A state machine: each call returns the next step. Loop thread only.
class Operation {
 public:
  virtual ~Operation() = default;
  virtual Step start(Turn& turn) = 0;
  virtual Step resume(Event event, Turn& turn) = 0;
};

// --- Requests ----------------------------------------------------------------------------------------------------

// What the proxy does with a command on a key that a policy owns.
enum class Handling : std::uint8_t {
  forward,     // unchanged; the reply passes untouched
  read,        // forward; when the reply is that of an absent key (policies/read.h), begin() with Verb::miss
  load,        // begin() with Verb::miss at once; nothing is forwarded
  operate,     // begin() with Verb::command; nothing is forwarded
  guard,       // forward inside MULTI/EXEC behind guard_command(), which clears the key's lease and negative marker
  invalidate,  // forward, then drop the copy before the reply is passed on
  reject,      // answer rejection()
};

enum class Verb : std::uint8_t {
  command,  // `args` is the client's command
  miss,     // `args` is a read that found nothing, or was not sent (redis_down, Handling::load)
  status,
  source,
  dbget,
  invalidate,
  sync,  // SLUICE ...: about `key`; for sync and invalidate it may be a pattern
  rows,  // SLUICE ROWS: at most `count`, those after `key`
};

// One of several keys of a command, and the policy that owns it.
struct RequestKey {
  Policy* policy;
  std::string key;
};

struct Request {
  Verb verb = Verb::command;
  const resp::CommandInfo* command = nullptr;  // command, miss
  std::vector<std::string> args;               // command, miss: as sent, the key resolved through the alias
  std::vector<RequestKey> keys;  // command: with several keys, in their order; all of policies that write rows()
  std::string key;  // the real key (of several the first); a pattern or empty (the whole policy) for sync, invalidate
  std::uint32_t count = 0;  // rows
  resp::Version version = resp::Version::resp2;
  std::string acl_user;     // non-empty: ask Redis (ACL DRYRUN) whether this user may, before anything is applied
  bool redis_down = false;  // the read was not answered by Redis
  bool distrust = false;    // what Redis holds may be old: the copy is dropped first
  bool refresh = false;     // miss: an MGET for nobody, which renews copies that are there
};

// One [[policy]] on one loop. Loop thread only; knows nothing of the other loops and proxies: what keeps several
// proxies right keeps several loops right.
class Policy {
 public:
  virtual ~Policy() = default;

  virtual const conf::PolicyOptions& options() const = 0;
  virtual Handling handling(const resp::CommandInfo& command) const = 0;
  // The error (without '-') for Handling::reject: what is not supported, on which policy, which option changes it.
  virtual std::string rejection(const resp::CommandInfo& command) const = 0;
  // Never null. Bad arguments become an operation that finishes with the error at once.
  virtual std::unique_ptr<Operation> begin(Request request) = 0;

  // Background work that is due (a flush), or null. Called about every 20 ms.
  virtual std::unique_ptr<Operation> due(TimePoint now) = 0;
  // Copies to be renewed before they expire, or null: there are none, or enough are being renewed. Called after due(),
  // until it is null: these run side by side.
  virtual std::unique_ptr<Operation> refresh(TimePoint) { return nullptr; }
  // What the last background work met that somebody should know, as a clause for the log; empty: nothing, or it is told
  // elsewhere.
  virtual std::string trouble() const { return {}; }
  // Work to be done before exit (flush everything), or null when there is none (left).
  virtual std::unique_ptr<Operation> drain() = 0;
  // Entries known to be unflushed: dirty counters, queued writes. 0 after a complete drain.
  virtual std::uint64_t unflushed() const = 0;
  // The key that exists in Redis while there are such entries, of this proxy or another; empty: there never are.
  virtual std::string dirty_key() const { return {}; }

  // What the operations share, of a policy that writes rows of a table; otherwise null.
  virtual Shared* rows() { return nullptr; }

  virtual const PolicyMetrics& metrics() const = 0;
  virtual PolicyMetrics& metrics() = 0;
};

// __sluice:{tag}:key, in the hash slot of `key`; empty when the key cannot be wrapped (policies.md).
std::string side_key(std::string_view key);
// Appends the command that clears lease, negative marker and versions of `key`: HDEL side L N V.
void append_guard_command(std::string& wire, std::string_view key);

}  // namespace sluice::policies

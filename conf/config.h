// Config: everything the configuration file can say, as plain structs with their defaults.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "conf/key_template.h"

namespace sluice::conf {

using Duration = std::chrono::milliseconds;

// Where to listen or connect to.
struct Endpoint {
  enum class Kind : std::uint8_t { tcp, unix_socket };
  Kind kind = Kind::tcp;
  std::string host;  // tcp: name or address, no brackets
  std::uint16_t port = 0;
  std::string path;  // unix_socket
  bool operator==(const Endpoint&) const = default;
};
std::string to_string(const Endpoint& endpoint);

enum class Connections : std::uint8_t { automatic, session };

struct ProxyOptions {
  std::vector<Endpoint> listen;
  int threads = 1;
  Connections connections = Connections::automatic;
  int max_clients = 10000;
  Duration idle_timeout{0};  // 0: never
  std::size_t query_buffer_limit = std::size_t{1} << 30;
  std::size_t max_bulk_length = std::size_t{512} << 20;
  std::size_t client_output_buffer_limit = std::size_t{1} << 30;
  Duration shutdown_timeout{10000};
  bool operator==(const ProxyOptions&) const = default;
};

struct UpstreamOptions {
  Endpoint endpoint;
  int db = 0;
  std::string user;      // the proxy's own credentials; empty: the default user
  std::string password;  // secret
  Duration connect_timeout{1000};
  bool operator==(const UpstreamOptions&) const = default;
};

struct AdminOptions {
  std::optional<Endpoint> listen;
  std::string token;  // secret; empty: none
  std::vector<std::string> users{"default"};
  bool operator==(const AdminOptions&) const = default;
};

struct BackendOptions {
  enum class Kind : std::uint8_t { sqlite, postgresql, mysql };
  std::string name;
  Kind kind = Kind::sqlite;
  std::string url;   // as written, secrets included: print with redacted()
  std::string path;  // sqlite: the file
  int connections = 4;

  // postgresql, mysql
  Endpoint endpoint;  // unix_socket: for PostgreSQL the folder of its sockets
  std::string user;
  std::string password;  // secret
  std::string database;
  std::vector<std::pair<std::string, std::string>> parameters;  // of the URL: how to use TLS
  bool operator==(const BackendOptions&) const = default;
};

enum class ValueMode : std::uint8_t { json, hash, raw, counter };
enum class UnknownFields : std::uint8_t { reject, ignore, cache_only };
enum class ReadMode : std::uint8_t { none, cache_aside };
enum class WriteMode : std::uint8_t { none, write_through, write_behind };
enum class Rows : std::uint8_t { one, many };
enum class OnSqlError : std::uint8_t { error, miss };
enum class OnRedisDown : std::uint8_t { error, sql };
enum class Invalidation : std::uint8_t { none, outbox };
enum class OnWrite : std::uint8_t { update, invalidate };
enum class Conflict : std::uint8_t { update, ignore, error };
enum class OnDelete : std::uint8_t { cache, row };
enum class Unmanaged : std::uint8_t { forward, invalidate, reject };
enum class InMulti : std::uint8_t { reject, forward };
enum class DurabilityCheck : std::uint8_t { warn, enforce, off };
enum class OnFull : std::uint8_t { block, write_through, reject };
enum class Missing : std::uint8_t { nil, zero };

// A field of a value and the column that holds it.
struct FieldColumn {
  std::string field;
  std::string column;
  bool operator==(const FieldColumn&) const = default;
};

// One [[policy]]; the meaning of each key is in docs/configuration.md. Defaults that depend on the mode are filled in.
// In the order of the documentation. NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct PolicyOptions {
  std::string name;
  KeyTemplate key;
  std::optional<KeyTemplate> alias;
  std::string backend;
  std::string table;
  ValueMode value = ValueMode::json;

  std::vector<FieldColumn> renames;       // columns = { field = "column" }
  std::vector<std::string> only_columns;  // columns = ["a", "b"]; empty: every column
  std::string column;                     // the one column of raw and counter
  UnknownFields unknown_fields = UnknownFields::reject;

  ReadMode read = ReadMode::none;
  Duration ttl{300000};  // 0: none
  double ttl_jitter = 0.1;
  Duration negative_ttl{10000};
  std::string query;  // empty: rows of `table`, which may then be empty instead
  Rows rows = Rows::one;
  std::vector<std::string> tables;
  double refresh_ahead = 0;
  int max_concurrent_loads = 64;
  Duration load_timeout{3000};
  OnSqlError on_sql_error = OnSqlError::error;
  OnRedisDown on_redis_down = OnRedisDown::error;
  Invalidation invalidation = Invalidation::none;

  WriteMode write = WriteMode::none;
  OnWrite on_write = OnWrite::update;
  std::string write_query;
  Conflict conflict = Conflict::update;
  Duration write_timeout{3000};
  Duration fuse{1000};
  OnDelete on_delete = OnDelete::cache;
  std::string ttl_column;
  Unmanaged unmanaged_writes = Unmanaged::forward;  // reject for write and counter policies
  InMulti multi = InMulti::reject;

  Duration flush_interval{100};  // counter: 1 s
  int batch_size = 500;
  bool coalesce = true;
  DurabilityCheck durability_check = DurabilityCheck::warn;
  std::size_t queue_max_entries = 100000;
  std::size_t queue_max_bytes = std::size_t{256} << 20;
  OnFull on_full = OnFull::block;
  Duration retry_initial_delay{100};
  Duration retry_max_delay{30000};
  std::size_t dlq_max_entries = 10000;
  std::string history_table;
  Missing missing = Missing::nil;
  std::string ops_field;
  Duration ack_ttl{3600000};

  // What Redis holds is not passed on as it is: it is looked at first whether it may be, and whether it is to be
  // renewed.
  bool checks_reads() const { return !tables.empty() || refresh_ahead > 0; }
  // Reads load absent rows: cache-aside, or any policy that writes (its rows can always be loaded again).
  bool fills() const { return read == ReadMode::cache_aside || write != WriteMode::none; }
  bool operator==(const PolicyOptions&) const = default;
};

struct Config {
  ProxyOptions proxy;
  UpstreamOptions upstream;
  AdminOptions admin;
  std::vector<BackendOptions> backends;
  std::vector<PolicyOptions> policies;
  bool operator==(const Config&) const = default;
};

}  // namespace sluice::conf

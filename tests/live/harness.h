// Harness: real redis-server and sluice processes in temporary folders, and plain clients to talk to both.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

struct redisContext;
struct sqlite3;

namespace sluice::live {

using std::chrono::milliseconds;
using Args = std::vector<std::string>;

// How long anything may take before a test gives up on it; sanitizers and a busy machine included.
inline constexpr milliseconds kPatience{20000};

// A folder that goes with the object.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

// A TCP port of 127.0.0.1 that was free a moment ago, below the range that outgoing connections use.
int free_port();

// Of a randomised test; printed. SLUICE_SEED repeats a run.
unsigned chosen_seed();

// Looks every few milliseconds; false when `condition` did not become true in time.
bool eventually(const std::function<bool()>& condition, milliseconds limit = kPatience);

std::string read_file(const std::string& path);
void write_file(const std::string& path, std::string_view text);

// A child process; killed and reaped with the object, and by the kernel should the test die first.
class Process {
 public:
  Process() = default;
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Output and errors are appended to `log`. `prepare` runs in the child before the program.
  void start(const Args& command, const std::string& log, const std::function<void()>& prepare = {});
  pid_t pid() const { return pid_; }
  bool running();
  void signal(int number) const;
  // The exit code, or 128 + the signal that ended it; nullopt when it still runs after `limit`.
  std::optional<int> wait(milliseconds limit = kPatience);
  void kill();

 private:
  pid_t pid_ = -1;
  std::optional<int> status_;
};

struct Output {
  int status = -1;
  std::string text;  // standard output and errors
};
// Runs a program to its end.
Output run(const Args& command, std::string_view input = {}, milliseconds limit = milliseconds{100000});
// The same on a terminal of its own: types each line of `input` once the text so far ends with `prompt`.
Output run_on_terminal(const Args& command, const Args& input, std::string_view prompt);

// Where a server listens: a port of 127.0.0.1, or a Unix socket.
struct Address {
  int port = 0;
  std::string path;
};

std::string wire(const Args& command);                     // a command as RESP
std::size_t reply_size(std::string_view bytes);            // of the first reply; 0 while it is incomplete
std::vector<std::string> replies(std::string_view bytes);  // split; what is left over comes last

// A socket and bytes. Throws when the peer does not answer in time, or closes where an answer was expected.
class Connection {
 public:
  explicit Connection(const Address& address);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool send(std::string_view bytes);        // false when the peer is gone
  bool send_some(std::string_view& bytes);  // as much as goes without waiting; false when the peer is gone
  std::string read_reply();                 // one complete reply
  std::string read_replies(std::size_t count);
  std::string read_to_end();  // until the peer closes
  bool read_available();      // into pending(), without waiting; false once the peer has closed
  std::string& pending() { return buffer_; }
  std::string call(const Args& command);
  void finish_sending();  // the peer sees the end of the input and may still answer
  void close();
  void reset();  // closes with a RST

 private:
  bool read_more(milliseconds limit);
  int fd_ = -1;
  std::string buffer_;
};

// An ordinary client on hiredis. Answers come in the manner of redis-cli: `OK`, `(nil)`, `(integer) 5`, `(error) ERR
// ...`,
// `[a, b]`, and bulk strings as they are; `(lost)` when the connection broke.
class Client {
 public:
  explicit Client(const Address& address);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  std::string run(const Args& command);

 private:
  redisContext* context_;
};

class RedisServer {
 public:
  explicit RedisServer(Args options = {});
  ~RedisServer();
  Address tcp() const { return {port_, {}}; }
  Address unix_socket() const { return {0, dir_.file("redis.sock")}; }
  std::string url() const { return "redis://127.0.0.1:" + std::to_string(port_); }
  void start();  // also again after kill(), with what the append-only file holds
  void kill() { process_.kill(); }
  void forget();  // after kill(): what the append-only file holds
  Process& process() { return process_; }
  std::string run(const Args& command) { return Client(tcp()).run(command); }

 private:
  TempDir dir_;
  int port_;
  Args options_;
  Process process_;
};

// A connection of the test's own to a SQLite file.
class Database {
 public:
  explicit Database(std::string path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  const std::string& path() const { return path_; }
  void exec(const std::string& sql);
  // The rows as `a|b;c|d`, NULL for NULL.
  std::string query(const std::string& sql);

 private:
  std::string path_;
  sqlite3* handle_ = nullptr;
};

struct HttpReply {
  int status = 0;
  std::string body;
};
HttpReply http(int port, const std::string& method, const std::string& path, const Args& headers = {});

struct SluiceOptions {
  std::string upstream;                      // the url
  std::string policies;                      // [backend...] and [[policy]] sections
  std::string proxy, upstream_extra, admin;  // further lines of these sections
  int loops = 1;                             // threads
  bool wait_ready = true;                    // false: only until it listens
  std::function<void()> prepare;             // in the child, before the program
};

// The program under test. The destructor sends SIGTERM and fails the test unless it exits with 0 (sanitizers make it
// exit with something else); a failed test shows its log.
class Sluice {
 public:
  explicit Sluice(SluiceOptions options);
  ~Sluice();
  Sluice(const Sluice&) = delete;
  Sluice& operator=(const Sluice&) = delete;

  Address tcp() const { return {port_, {}}; }
  Address unix_socket() const { return {0, dir_.file("sluice.sock")}; }
  int admin_port() const { return admin_port_; }
  HttpReply get(const std::string& path) const { return http(admin_port_, "GET", path); }
  // The sum of all samples of this metric whose labels contain every one of `labels`, such as `backend="shop"`.
  double metric(const std::string& name, const Args& labels = {}) const;
  double sql_reads() const;   // SELECTs of rows and counters so far
  void start();               // also again after kill()
  std::optional<int> stop();  // SIGTERM; the exit code
  void kill() { process_.kill(); }
  Process& process() { return process_; }
  std::string run(const Args& command) { return Client(tcp()).run(command); }
  std::string log() const { return read_file(dir_.file("sluice.log")); }

 private:
  TempDir dir_;
  SluiceOptions options_;
  int port_, admin_port_;
  Process process_;
};

// What most tests need: a Redis, a SQLite file with `schema`, and a sluice with `policies` (backend `shop`) in between.
struct Rig {
  Rig(const std::string& schema, const std::string& policies, SluiceOptions options = {}, Args redis_options = {});
  TempDir dir;
  RedisServer redis;
  Database db;
  Sluice sluice;
};

// The tables and policies of the acceptance scenarios.
extern const char* const kUsersSchema;
extern const char* const kUsersPolicy;  // user:{name}, json, write-through
extern const char* const kFruitSchema;
extern const char* const kFruitPolicy;  // fruit:{id:int}, json, cache-aside
extern const char* const kCountersSchema;
extern const char* const kCountersPolicy;  // counter:{Id}, flushed every second

}  // namespace sluice::live

// Harness: the processes, clients and files of the live tests.
#include "harness.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iostream>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pty.h>
#include <random>
#include <sstream>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>
#include <hiredis/hiredis.h>
#include <sqlite3.h>

namespace sluice::live {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

void remove_tree(const std::string& path) {
  const auto unused = run({"/bin/rm", "-rf", path});
  (void)unused;
}

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool can_bind(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  const bool ok = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return ok;
}

int connect_to(const Address& where) {
  if (where.path.empty()) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(where.port);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      close(fd);
      return -1;
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
  }
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, where.path.c_str(), sizeof address.sun_path - 1);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

bool listens(const Address& address) {
  const int fd = connect_to(address);
  if (fd < 0) {
    return false;
  }
  close(fd);
  return true;
}

// Turns into the program, or ends. Only what is safe between fork and exec.
[[noreturn]] void become(const std::vector<char*>& argv, const std::function<void()>& prepare) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (prepare) {
    prepare();
  }
  execvp(argv[0], argv.data());
  _exit(127);
}

std::vector<char*> pointers(const Args& command) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& argument : command) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  return argv;
}

int exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

// Reads what there is; false at the end of the stream.
bool drain_into(int fd, std::string& text) {
  char chunk[65536];
  const ssize_t n = read(fd, chunk, sizeof chunk);
  if (n <= 0) {
    return n < 0 && (errno == EAGAIN || errno == EINTR);
  }
  text.append(chunk, static_cast<std::size_t>(n));
  return true;
}

std::string tail(const std::string& text, std::size_t bytes) {
  return text.size() <= bytes ? text : "..." + text.substr(text.size() - bytes);
}

std::string show(const redisReply& reply) {
  switch (reply.type) {
    case REDIS_REPLY_NIL:
      return "(nil)";
    case REDIS_REPLY_INTEGER:
      return "(integer) " + std::to_string(reply.integer);
    case REDIS_REPLY_ERROR:
      return "(error) " + std::string(reply.str, reply.len);
    case REDIS_REPLY_ARRAY: {
      std::string text = "[";
      for (std::size_t i = 0; i < reply.elements; ++i) {
        text += (i == 0 ? "" : ", ") + show(*reply.element[i]);
      }
      return text + "]";
    }
    default:
      return {reply.str, reply.len};
  }
}

}  // namespace

TempDir::TempDir() {
  const char* parent = std::getenv("TMPDIR");
  std::string pattern = std::string(parent != nullptr ? parent : "/tmp") + "/sluice-live.XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    fail("mkdtemp " + pattern);
  }
  path_ = pattern;
}

TempDir::~TempDir() { remove_tree(path_); }

int free_port() {
  static int next = 10000 + static_cast<int>((static_cast<unsigned>(getpid()) * 37U) % 20000U);
  for (int tries = 0; tries < 20000; ++tries) {
    next = next >= 32000 ? 10000 : next + 1;
    if (can_bind(next)) {
      return next;
    }
  }
  fail("no free port");
}

unsigned chosen_seed() {
  const char* given = std::getenv("SLUICE_SEED");
  const unsigned seed =
      given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
  std::cout << "SLUICE_SEED=" << seed << "\n";
  return seed;
}

bool eventually(const std::function<bool()>& condition, milliseconds limit) {
  for (const auto end = Clock::now() + limit; !condition();) {
    if (Clock::now() > end) {
      return false;
    }
    std::this_thread::sleep_for(milliseconds{5});
  }
  return true;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_file(const std::string& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

Process::~Process() { kill(); }

void Process::start(const Args& command, const std::string& log, const std::function<void()>& prepare) {
  const std::vector<char*> argv = pointers(command);
  status_.reset();
  pid_ = fork();
  if (pid_ == 0) {
    const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(open("/dev/null", O_RDONLY), 0);
    dup2(out, 1);
    dup2(out, 2);
    become(argv, prepare);
  }
}

bool Process::running() { return pid_ > 0 && !wait(milliseconds{0}).has_value(); }

void Process::signal(int number) const {
  if (pid_ > 0) {
    ::kill(pid_, number);
  }
}

std::optional<int> Process::wait(milliseconds limit) {
  if (pid_ <= 0) {
    return status_;
  }
  const auto ended = [this] {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == 0) {
      return false;
    }
    status_ = exit_code(status);
    pid_ = -1;
    return true;
  };
  eventually(ended, limit);
  return status_;
}

void Process::kill() {
  signal(SIGKILL);
  wait();
}

Output run(const Args& command, std::string_view input, milliseconds limit) {
  int in[2];
  int out[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
    fail("pipe");
  }
  const std::vector<char*> argv = pointers(command);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    dup2(out[1], 2);
    become(argv, {});
  }
  close(in[0]);
  close(out[1]);
  const ssize_t written = write(in[1], input.data(), input.size());
  (void)written;
  close(in[1]);
  Output output;
  const auto end = Clock::now() + limit;
  pollfd waiting{out[0], POLLIN, 0};
  while (Clock::now() < end) {
    if (poll(&waiting, 1, 100) > 0 && !drain_into(out[0], output.text)) {
      break;
    }
  }
  close(out[0]);
  if (Clock::now() >= end) {
    ::kill(pid, SIGKILL);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  output.status = exit_code(status);
  return output;
}

Output run_on_terminal(const Args& command, const Args& input, std::string_view prompt) {
  const std::vector<char*> argv = pointers(command);
  const winsize size{50, 200, 0, 0};
  int terminal = -1;
  const pid_t pid = forkpty(&terminal, nullptr, nullptr, &size);
  if (pid == 0) {
    setenv("TERM", "dumb", 1);
    setenv("HOME", "/nonexistent", 1);
    become(argv, {});
  }
  Output output;
  const auto end = Clock::now() + kPatience;
  std::size_t line = 0;
  std::size_t seen = 0;
  pollfd waiting{terminal, POLLIN, 0};
  while (Clock::now() < end) {
    if (poll(&waiting, 1, 100) > 0 && !drain_into(terminal, output.text)) {
      break;
    }
    if (line < input.size() && output.text.size() > seen && output.text.ends_with(prompt)) {
      seen = output.text.size();
      const std::string typed = input[line++] + "\n";
      const ssize_t written = write(terminal, typed.data(), typed.size());
      (void)written;
    }
  }
  if (Clock::now() >= end) {
    ::kill(pid, SIGKILL);
  }
  close(terminal);
  int status = 0;
  waitpid(pid, &status, 0);
  output.status = exit_code(status);
  return output;
}

std::string wire(const Args& command) {
  std::string bytes = "*" + std::to_string(command.size()) + "\r\n";
  for (const std::string& argument : command) {
    bytes += "$" + std::to_string(argument.size()) + "\r\n" + argument + "\r\n";
  }
  return bytes;
}

std::size_t reply_size(std::string_view bytes) {
  const std::size_t line = bytes.find("\r\n");
  if (line == std::string_view::npos) {
    return 0;
  }
  const std::size_t header = line + 2;
  const char type = bytes[0];
  if (std::string_view("+-:_,#(").find(type) != std::string_view::npos) {
    return header;
  }
  const long count = std::atol(std::string(bytes.substr(1, line - 1)).c_str());
  if (type == '$' || type == '!' || type == '=') {
    const std::size_t size = count < 0 ? header : header + static_cast<std::size_t>(count) + 2;
    return size <= bytes.size() ? size : 0;
  }
  if (std::string_view("*%~>|").find(type) == std::string_view::npos) {
    fail("not a reply: " + std::string(bytes.substr(0, 80)));
  }
  const long values = (type == '%' || type == '|' ? 2 * count : count) + (type == '|' ? 1 : 0);
  std::size_t size = header;
  for (long i = 0; i < values; ++i) {
    const std::size_t value = reply_size(bytes.substr(size));
    if (value == 0) {
      return 0;
    }
    size += value;
  }
  return size;
}

std::vector<std::string> replies(std::string_view bytes) {
  std::vector<std::string> list;
  while (!bytes.empty()) {
    const std::size_t size = reply_size(bytes);
    list.emplace_back(bytes.substr(0, size == 0 ? bytes.size() : size));
    bytes.remove_prefix(list.back().size());
  }
  return list;
}

Connection::Connection(const Address& address) : fd_(connect_to(address)) {
  if (fd_ < 0) {
    fail("cannot connect to " + (address.path.empty() ? std::to_string(address.port) : address.path));
  }
}

Connection::~Connection() { close(); }

void Connection::finish_sending() { ::shutdown(fd_, SHUT_WR); }

void Connection::close() {
  if (fd_ >= 0) {
    ::close(fd_);
    fd_ = -1;
  }
}

void Connection::reset() {
  const linger now{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close();
}

bool Connection::send(std::string_view bytes) {
  const auto end = Clock::now() + kPatience;
  while (!bytes.empty()) {
    if (!send_some(bytes)) {
      return false;
    }
    if (bytes.empty()) {
      break;
    }
    // A peer that does not read while we do not read either would be a deadlock of this test.
    pollfd waiting{fd_, POLLIN | POLLOUT, 0};
    poll(&waiting, 1, 1000);
    if ((waiting.revents & POLLIN) != 0) {
      drain_into(fd_, buffer_);
    }
    if (Clock::now() > end) {
      fail("the peer does not read");
    }
  }
  return true;
}

bool Connection::send_some(std::string_view& bytes) {
  const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0) {
    return errno == EAGAIN || errno == EINTR;
  }
  bytes.remove_prefix(static_cast<std::size_t>(n));
  return true;
}

bool Connection::read_more(milliseconds limit) {
  pollfd waiting{fd_, POLLIN, 0};
  if (poll(&waiting, 1, static_cast<int>(limit.count())) <= 0) {
    fail("no answer in time; so far: " + tail(buffer_, 300));
  }
  return drain_into(fd_, buffer_);
}

bool Connection::read_available() {
  pollfd waiting{fd_, POLLIN, 0};
  while (poll(&waiting, 1, 0) > 0) {
    if (!drain_into(fd_, buffer_)) {
      return false;
    }
  }
  return true;
}

std::string Connection::read_reply() {
  for (;;) {
    const std::size_t size = reply_size(buffer_);
    if (size > 0) {
      std::string reply = buffer_.substr(0, size);
      buffer_.erase(0, size);
      return reply;
    }
    if (!read_more(kPatience)) {
      fail("closed instead of a reply; so far: " + tail(buffer_, 300));
    }
  }
}

std::string Connection::read_replies(std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) {
    all += read_reply();
  }
  return all;
}

std::string Connection::read_to_end() {
  while (read_more(kPatience)) {
  }
  return std::exchange(buffer_, {});
}

std::string Connection::call(const Args& command) {
  send(wire(command));
  return read_reply();
}

Client::Client(const Address& address)
    : context_(address.path.empty() ? redisConnect("127.0.0.1", address.port)
                                    : redisConnectUnix(address.path.c_str())) {
  const timeval patience{kPatience.count() / 1000, 0};
  if (context_ == nullptr || context_->err != 0 || redisSetTimeout(context_, patience) != REDIS_OK) {
    fail("hiredis cannot connect");
  }
}

Client::~Client() { redisFree(context_); }

std::string Client::run(const Args& command) {
  std::vector<const char*> arguments;
  std::vector<std::size_t> sizes;
  for (const std::string& argument : command) {
    arguments.push_back(argument.data());
    sizes.push_back(argument.size());
  }
  auto* reply = static_cast<redisReply*>(
      redisCommandArgv(context_, static_cast<int>(command.size()), arguments.data(), sizes.data()));
  if (reply == nullptr) {
    return "(lost)";
  }
  std::string text = show(*reply);
  freeReplyObject(reply);
  return text;
}

RedisServer::RedisServer(Args options) : port_(free_port()), options_(std::move(options)) { start(); }

RedisServer::~RedisServer() {
  if (testing::Test::HasFailure()) {
    std::cerr << "--- redis-server ---\n" << tail(read_file(dir_.file("redis.log")), 1500) << "\n";
  }
  process_.kill();
}

void RedisServer::start() {
  Args command{"redis-server",
               "--port",
               std::to_string(port_),
               "--bind",
               "127.0.0.1",
               "--unixsocket",
               dir_.file("redis.sock"),
               "--dir",
               dir_.file(""),
               "--save",
               "",
               "--appendonly",
               "yes",
               "--appendfsync",
               "no",
               "--enable-debug-command",
               "local",
               "--daemonize",
               "no"};
  command.insert(command.end(), options_.begin(), options_.end());
  process_.start(command, dir_.file("redis.log"));
  const bool up = eventually([this] {
    if (!process_.running()) {
      fail("redis-server ended: " + read_file(dir_.file("redis.log")));
    }
    if (!listens(tcp())) {
      return false;
    }
    const std::string answer = run({"PING"});
    return answer == "PONG" || answer.find("NOAUTH") != std::string::npos;
  });
  if (!up) {
    fail("redis-server does not answer");
  }
}

void RedisServer::forget() { remove_tree(dir_.file("appendonlydir")); }

Database::Database(std::string path) : path_(std::move(path)) {
  if (sqlite3_open(path_.c_str(), &handle_) != SQLITE_OK) {
    fail("cannot open " + path_);
  }
  sqlite3_busy_timeout(handle_, static_cast<int>(kPatience.count()));
}

Database::~Database() { sqlite3_close(handle_); }

void Database::exec(const std::string& sql) {
  char* message = nullptr;
  if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, &message) != SQLITE_OK) {
    fail(std::string(message) + " in " + sql);
  }
}

std::string Database::query(const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(handle_, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK) {
    fail(std::string(sqlite3_errmsg(handle_)) + " in " + sql);
  }
  std::string text;
  int outcome = SQLITE_ROW;
  while ((outcome = sqlite3_step(statement)) == SQLITE_ROW) {
    text += text.empty() ? "" : ";";
    for (int i = 0; i < sqlite3_column_count(statement); ++i) {
      const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement, i));
      const bool null = sqlite3_column_type(statement, i) == SQLITE_NULL;
      text += i == 0 ? "" : "|";
      text += null ? "NULL"
                   : std::string(bytes == nullptr ? "" : bytes,
                                 static_cast<std::size_t>(sqlite3_column_bytes(statement, i)));
    }
  }
  sqlite3_finalize(statement);
  if (outcome != SQLITE_DONE) {
    fail(std::string(sqlite3_errmsg(handle_)) + " in " + sql);
  }
  return text;
}

HttpReply http(int port, const std::string& method, const std::string& path, const Args& headers) {
  Connection connection({port, {}});
  std::string request = method + " " + path + " HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) +
                        "\r\nConnection: close\r\nContent-Length: 0\r\n";
  for (const std::string& header : headers) {
    request += header + "\r\n";
  }
  connection.send(request + "\r\n");
  const std::string answer = connection.read_to_end();
  const std::size_t body = answer.find("\r\n\r\n");
  if (!answer.starts_with("HTTP/1.") || body == std::string::npos) {
    fail("not HTTP: " + tail(answer, 300));
  }
  return {std::atoi(answer.c_str() + 9), answer.substr(body + 4)};
}

Sluice::Sluice(SluiceOptions options) : options_(std::move(options)), port_(free_port()), admin_port_(free_port()) {
  std::ostringstream config;
  config << "[proxy]\nlisten = [\"127.0.0.1:" << port_ << "\", \"unix:" << dir_.file("sluice.sock") << "\"]\n"
         << "threads = " << options_.loops << "\n"
         << options_.proxy << "\n[upstream]\nurl = \"" << options_.upstream << "\"\n"
         << options_.upstream_extra << "\n[admin]\nlisten = \"127.0.0.1:" << admin_port_ << "\"\n"
         << options_.admin << "\n"
         << options_.policies;
  write_file(dir_.file("sluice.toml"), config.str());
  start();
}

Sluice::~Sluice() {
  if (process_.running()) {
    const std::optional<int> status = stop();
    EXPECT_EQ(status.value_or(-1), 0) << "sluice did not end well (-1: not at all)";
  }
  if (testing::Test::HasFailure()) {
    std::cerr << "--- sluice ---\n" << tail(log(), 6000) << "\n";
  }
}

void Sluice::start() {
  process_.start({SLUICE_BINARY, "-c", dir_.file("sluice.toml")}, dir_.file("sluice.log"), options_.prepare);
  const bool up = eventually([this] {
    if (!process_.running()) {
      fail("sluice ended: " + tail(log(), 3000));
    }
    return listens(tcp()) && listens({admin_port_, {}}) && (!options_.wait_ready || get("/readyz").status == 200);
  });
  if (!up) {
    fail("sluice does not become ready: " + tail(log(), 3000));
  }
}

std::optional<int> Sluice::stop() {
  process_.signal(SIGTERM);
  return process_.wait();
}

double Sluice::metric(const std::string& name, const Args& labels) const {
  std::istringstream lines(get("/metrics").body);
  double sum = 0;
  for (std::string line; std::getline(lines, line);) {
    const bool named = line.starts_with(name + "{") || line.starts_with(name + " ");
    if (named && std::all_of(labels.begin(), labels.end(),
                             [&](const std::string& label) { return line.find(label) != std::string::npos; })) {
      sum += std::strtod(line.c_str() + line.rfind(' '), nullptr);
    }
  }
  return sum;
}

double Sluice::sql_reads() const {
  return metric("sluice_sql_seconds_count", {"op=\"read_row\""}) +
         metric("sluice_sql_seconds_count", {"op=\"read_rows\""}) +
         metric("sluice_sql_seconds_count", {"op=\"read_query\""}) +
         metric("sluice_sql_seconds_count", {"op=\"read_counter\""});
}

Rig::Rig(const std::string& schema, const std::string& policies, SluiceOptions options, Args redis_options)
    : redis(std::move(redis_options)), db(dir.file("shop.db")), sluice([&] {
        db.exec("PRAGMA journal_mode = WAL");
        db.exec(schema);
        if (options.upstream.empty()) {
          options.upstream = redis.url();
        }
        options.policies = "[backend.shop]\nurl = \"sqlite:" + db.path() + "\"\n" + policies;
        return std::move(options);
      }()) {}

const char* const kUsersSchema =
    "CREATE TABLE users(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, age INTEGER, occupation "
    "TEXT);";
const char* const kUsersPolicy = R"(
[[policy]]
name = "user"
key = "user:{name}"
backend = "shop"
table = "users"
value = "json"
columns = ["name", "age", "occupation"]
write = "write-through"
)";

const char* const kFruitSchema =
    "CREATE TABLE fruit(id INTEGER PRIMARY KEY, name TEXT NOT NULL, quantity INTEGER);"
    "INSERT INTO fruit VALUES (1, 'apple', 100), (2, 'orange', 200), (3, 'pear', 300);";
const char* const kFruitPolicy = R"(
[[policy]]
name = "fruit"
key = "fruit:{id:int}"
backend = "shop"
table = "fruit"
value = "json"
read = "cache-aside"
ttl = "60s"
negative_ttl = "2s"
on_redis_down = "sql"
)";

const char* const kCountersSchema =
    "CREATE TABLE Counters(Id VARCHAR(255) PRIMARY KEY, Value BIGINT, LastUpdated TEXT, CreatedAt TEXT);"
    "CREATE TABLE sluice_counter_src(key TEXT NOT NULL, inc TEXT NOT NULL, n INTEGER NOT NULL, t INTEGER NOT NULL,"
    " retired INTEGER NOT NULL DEFAULT 0, updated_at INTEGER NOT NULL, PRIMARY KEY (key, inc));";
const char* const kCountersPolicy = R"(
[[policy]]
name = "counter"
key = "counter:{Id}"
backend = "shop"
table = "Counters"
value = "counter"
column = "Value"
flush_interval = "1s"
)";

}  // namespace sluice::live

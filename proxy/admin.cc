// Admin: what each path answers, and to whom. The sockets are AcceptPool's, the protocol is cpp-httplib's.
#include "proxy/admin.h"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <string_view>
#include <sys/socket.h>
#include <utility>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include "backends/pool.h"
#include "proxy/accept_pool.h"
#include "proxy/log.h"
#include "resp/ascii.h"

namespace sluice::proxy {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kThreads = 4;
// One connection is one request. Both bounds are on all of it: a client that sends byte after byte, or header after
// header, holds a thread for this long and no longer.
constexpr std::chrono::seconds kConnectionTime{5};
constexpr std::size_t kRequestBytesMax = std::size_t{64} << 10;

// One connection, with the bounds above. An error to httplib once they are reached or the pool stops.
class BoundedStream final : public httplib::Stream {
 public:
  BoundedStream(int connection, int stop) : socket_(connection), stop_(stop), end_(Clock::now() + kConnectionTime) {}

  bool is_readable() const override { return begin_ < filled_ || wait(POLLIN); }
  bool is_writable() const override { return wait(POLLOUT); }

  ssize_t read(char* to, std::size_t size) override {
    if (begin_ == filled_ && !fill()) return -1;
    const std::size_t bytes = std::min(size, filled_ - begin_);
    std::memcpy(to, buffer_.data() + begin_, bytes);
    begin_ += bytes;
    return static_cast<ssize_t>(bytes);
  }
  ssize_t write(const char* from, std::size_t size) override {
    while (wait(POLLOUT)) {
      const ssize_t bytes = ::send(socket_, from, size, MSG_NOSIGNAL);
      if (bytes >= 0 || (errno != EAGAIN && errno != EINTR)) return bytes;
    }
    return -1;
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override { describe(::getpeername, ip, port); }
  void get_local_ip_and_port(std::string& ip, int& port) const override { describe(::getsockname, ip, port); }
  socket_t socket() const override { return socket_; }

  // What the client sent beyond what was read would make the kernel drop the reply on close.
  void discard_input() {
    ::shutdown(socket_, SHUT_WR);
    while (read_bytes_ <= kRequestBytesMax && ::recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT) > 0) {
      read_bytes_ += buffer_.size();
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool fill() {
    while (read_bytes_ < kRequestBytesMax && wait(POLLIN)) {
      const ssize_t bytes = ::recv(socket_, buffer_.data(), buffer_.size(), 0);
      if (bytes > 0) {
        begin_ = 0;
        filled_ = static_cast<std::size_t>(bytes);
        read_bytes_ += filled_;
        return true;
      }
      if (bytes == 0 || (errno != EAGAIN && errno != EINTR)) return false;
    }
    return false;
  }
  bool wait(short event) const {
    while (true) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end_ - Clock::now()).count();
      if (left <= 0) return false;
      pollfd waiting[] = {{socket_, event, 0}, {stop_, POLLIN, 0}};
      const int ready = ::poll(waiting, 2, static_cast<int>(left));
      if (ready < 0 && errno == EINTR) continue;
      return ready > 0 && waiting[1].revents == 0;
    }
  }
  template <class Query>
  void describe(Query query, std::string& ip, int& port) const {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (query(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
    char text[INET6_ADDRSTRLEN] = "";
    if (address.ss_family == AF_INET) {
      const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
      ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
      port = ntohs(v4.sin_port);
    } else if (address.ss_family == AF_INET6) {
      const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
      ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
      port = ntohs(v6.sin6_port);
    } else if (address.ss_family == AF_UNIX) {
      std::strcpy(text, "unix");
    }
    ip = text;
  }

  const int socket_;
  const int stop_;
  const Clock::time_point end_;
  std::array<char, 4096> buffer_{};
  std::size_t begin_ = 0, filled_ = 0;
  std::size_t read_bytes_ = 0;
};

// As BoundedStream names peers. Unknown ones are not.
bool is_loopback(std::string_view ip) {
  if (ip == "unix" || ip == "::1") return true;
  if (ip.starts_with("::ffff:")) ip.remove_prefix(7);
  return ip.starts_with("127.");
}

// A Host header without its port and brackets.
std::string host_of(std::string_view header) {
  if (header.starts_with('[')) return resp::lower(header.substr(1, header.find(']') - 1));
  return resp::lower(header.substr(0, header.find(':')));
}

bool same_secret(std::string_view given, std::string_view expected) {
  return given.size() == expected.size() && CRYPTO_memcmp(given.data(), expected.data(), given.size()) == 0;
}

Json to_json(const Health::Part& part) {
  Json out{{"ok", part.ok}};
  if (!part.ok) out["reason"] = part.reason;
  return out;
}

Json to_json(const Health& health) {
  Json backends = Json::object();
  for (const Health::Part& backend : health.backends) backends[backend.name] = to_json(backend);
  return {{"ready", health.ready()},
          {"started", health.started},
          {"draining", health.draining},
          {"redis", to_json(health.redis)},
          {"backends", std::move(backends)}};
}

Json to_json(const std::vector<Total>& totals) {
  Json out = Json::object();
  for (const Total& total : totals) out[std::string(total.name)] = total.value;
  return out;
}

Json to_json(const sql::Pool& pool) {
  Json operations = Json::object();
  for (const sql::Pool::Stats& op : pool.stats()) {
    if (op.count == 0) continue;
    operations[op.op] = {{"count", op.count},     {"seconds", op.seconds}, {"unavailable", op.unavailable},
                         {"refused", op.refused}, {"unknown", op.unknown}, {"schema", op.schema}};
  }
  return {{"healthy", pool.healthy()},
          {"last_error", pool.last_error()},
          {"queue_depth", pool.queued()},
          {"transactions", pool.transactions()},
          {"operations", std::move(operations)}};
}

Json to_json(const Snapshot& snapshot) {
  Json policies = Json::object();
  for (const Snapshot::PolicyLoops& policy : snapshot.policies) policies[policy.name] = to_json(totals(policy.loops));
  Json backends = Json::object();
  for (const sql::Pool* pool : snapshot.pools) backends[pool->name()] = to_json(*pool);
  Json proxy = to_json(totals(snapshot.loops));
  proxy["pinned"] = to_json(pinned(snapshot.loops));
  return {{"version", SLUICE_VERSION},
          {"loops", snapshot.loops.size()},
          {"proxy", std::move(proxy)},
          {"policies", std::move(policies)},
          {"backends", std::move(backends)}};
}

void answer_text(httplib::Response& response, int status, const std::string& sentence) {
  response.status = status;
  response.set_content(sentence + "\n", "text/plain; charset=utf-8");
}

void answer_json(httplib::Response& response, int status, const Json& json) {
  response.status = status;
  // Reasons may quote what a database said, in whatever encoding.
  response.set_content(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", "application/json");
}

}  // namespace

bool Health::ready() const {
  return started && !draining && redis.ok &&
         std::all_of(backends.begin(), backends.end(), [](const Part& part) { return part.ok; });
}

class AdminServer::Http final : private httplib::Server {
 public:
  Http(const conf::AdminOptions& options, AdminSource& source)
      : options_(options), source_(source), pool_([this](int connection, int stop) { serve(connection, stop); }) {
    route();
    set_payload_max_length(kRequestBytesMax);
    set_default_headers({{"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}});
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      return admit(request, response) ? HandlerResponse::Unhandled : HandlerResponse::Handled;
    });
    set_exception_handler([](const httplib::Request&, httplib::Response& response, const std::exception_ptr&) {
      answer_text(response, 500, "internal error");
    });
    set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (response.body.empty()) answer_text(response, response.status, "bad request");
    });
  }

  std::string start() { return pool_.start(*options_.listen, kThreads); }
  void stop_serving() { pool_.stop(); }
  std::uint16_t port() const { return pool_.port(); }

 private:
  using Handle = void (Http::*)(httplib::Response&);
  struct Page {
    std::string_view path;
    bool open;  // to everyone who can connect
    Handle handle;
  };
  static const std::array<Page, 5> kPages;

  static const Page* find_page(std::string_view path) {
    const auto* found = std::find_if(kPages.begin(), kPages.end(), [&](const Page& page) { return page.path == path; });
    return found == kPages.end() ? nullptr : found;
  }

  void route() {
    for (const Page& page : kPages) {
      Get(std::string(page.path), [this, handle = page.handle](const httplib::Request&, httplib::Response& response) {
        (this->*handle)(response);
      });
    }
  }

  void serve(int connection, int stop) {
    BoundedStream stream(connection, stop);
    bool closed = false;
    process_request(stream, /*close_connection=*/true, closed, nullptr);
    stream.discard_input();
  }

  // False: `response` says why not.
  bool admit(const httplib::Request& request, httplib::Response& response) {
    const Page* page = find_page(request.path);
    if ((page == nullptr || !page->open) && !may_enter(request, response)) return false;
    if (page == nullptr) {
      answer_text(response, 404, "there is no such page");
      return false;
    }
    if (request.method == "GET" || request.method == "HEAD") return true;
    response.set_header("Allow", "GET, HEAD");
    answer_text(response, 405, "only GET and HEAD");
    return false;
  }

  bool may_enter(const httplib::Request& request, httplib::Response& response) {
    // A page in a browser may reach this port under a name of its author's: such a name is not known.
    if (request.get_header_value_count("Host") != 1 || !is_known_host(host_of(request.get_header_value("Host")))) {
      answer_text(response, 403, "unknown Host: use localhost or the address of [admin] listen");
      return false;
    }
    if (options_.token.empty()) {
      if (is_loopback(request.remote_addr)) return true;
      answer_text(response, 403, "only from this host, as [admin] has no token");
      return false;
    }
    if (has_token(request)) return true;
    log_rarely(Level::warning, "admin-token", "admin: a request from " + request.remote_addr + " without the token");
    response.set_header("WWW-Authenticate", "Bearer");
    answer_text(response, 401, "needs the token: Authorization: Bearer TOKEN");
    return false;
  }

  bool is_known_host(std::string_view host) const {
    return host == "localhost" || host == "127.0.0.1" || host == "::1" ||
           (!options_.listen->host.empty() && host == resp::lower(options_.listen->host));
  }

  bool has_token(const httplib::Request& request) const {
    constexpr std::string_view kScheme = "bearer ";
    const std::string header = request.get_header_value("Authorization");
    if (request.get_header_value_count("Authorization") != 1 || header.size() < kScheme.size()) return false;
    if (resp::lower(header.substr(0, kScheme.size())) != kScheme) return false;
    const std::string_view given = std::string_view(header).substr(kScheme.size());
    // httplib has undone %XX in the header.
    return same_secret(given, options_.token) || same_secret(given, httplib::detail::decode_url(options_.token, false));
  }

  void livez(httplib::Response& response) { answer_text(response, 200, "alive"); }
  void startupz(httplib::Response& response) {
    const bool started = source_.health().started;
    answer_text(response, started ? 200 : 503, started ? "started" : "starting");
  }
  void readyz(httplib::Response& response) {
    const Health health = source_.health();
    answer_json(response, health.ready() ? 200 : 503, to_json(health));
  }
  void metrics(httplib::Response& response) {
    response.set_content(render(source_.snapshot()), "text/plain; version=0.0.4; charset=utf-8");
  }
  void stats(httplib::Response& response) { answer_json(response, 200, to_json(source_.snapshot())); }

  const conf::AdminOptions options_;
  AdminSource& source_;
  AcceptPool pool_;  // last: its threads use the rest
};

const std::array<AdminServer::Http::Page, 5> AdminServer::Http::kPages{{{"/livez", true, &Http::livez},
                                                                        {"/readyz", true, &Http::readyz},
                                                                        {"/startupz", true, &Http::startupz},
                                                                        {"/metrics", true, &Http::metrics},
                                                                        {"/stats", false, &Http::stats}}};

AdminServer::AdminServer(const conf::AdminOptions& options, AdminSource& source)
    : http_(std::make_unique<Http>(options, source)) {}

AdminServer::~AdminServer() { stop(); }

std::string AdminServer::start() {
  std::string error = http_->start();
  return error.empty() ? error : "admin: " + error;
}

void AdminServer::stop() { http_->stop_serving(); }

std::uint16_t AdminServer::port() const { return http_->port(); }

}  // namespace sluice::proxy

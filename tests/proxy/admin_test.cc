// Admin: who gets what over HTTP, through real sockets.
#include "proxy/admin.h"

#include <arpa/inet.h>
#include <cstdlib>
#include <cstring>
#include <ifaddrs.h>
#include <memory>
#include <net/if.h>
#include <netinet/in.h>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class FakeSource final : public AdminSource {
 public:
  Health health() override {
    if (broken) throw std::runtime_error("a secret");
    return state;
  }
  Snapshot snapshot() override { return {{&loop}, {{"fruit", {&policy}}}, {}}; }

  Health state{true, false, {"redis", true, ""}, {{"shop", true, ""}}};
  bool broken = false;
  LoopMetrics loop;
  policies::PolicyMetrics policy;
};

class Socket {
 public:
  Socket(int family, const sockaddr* address, socklen_t size, const char* from = nullptr)
      : fd_(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (from != nullptr) bind_to(from);
    EXPECT_EQ(::connect(fd_, address, size), 0) << std::strerror(errno);
  }
  ~Socket() { ::close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  void send(const std::string& bytes) const { ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  // Until the server closes.
  std::string read() const {
    std::string text;
    char buffer[4096];
    for (ssize_t n = 0; (n = ::recv(fd_, buffer, sizeof buffer, 0)) > 0;)
      text.append(buffer, static_cast<std::size_t>(n));
    return text;
  }

 private:
  void bind_to(const char* from) const {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    ::inet_pton(AF_INET, from, &address.sin_addr);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }

  int fd_;
};

// An address of this machine that is not a loopback one.
std::optional<std::string> outer_address() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  std::optional<std::string> found;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
    if ((entry->ifa_flags & IFF_LOOPBACK) != 0) continue;
    char text[INET_ADDRSTRLEN] = "";
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr, text, sizeof text);
    found = text;
  }
  ::freeifaddrs(list);
  return found;
}

conf::Endpoint loopback(std::uint16_t port = 0) { return {conf::Endpoint::Kind::tcp, "127.0.0.1", port, ""}; }

class Admin : public testing::Test {
 protected:
  void serve(const std::string& token = "") {
    options.listen = loopback();
    options.token = token;
    server = std::make_unique<AdminServer>(options, source);
    ASSERT_EQ(server->start(), "");
  }
  std::unique_ptr<Socket> connect(const char* from = nullptr) const {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return std::make_unique<Socket>(AF_INET, reinterpret_cast<sockaddr*>(&address), sizeof address, from);
  }
  std::string raw(const std::string& request, const char* from = nullptr) const {
    const auto socket = connect(from);
    socket->send(request);
    return socket->read();
  }
  std::string get(const std::string& path, const std::string& headers = "", const std::string& host = "localhost",
                  const char* from = nullptr) const {
    return raw("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + headers + "\r\n", from);
  }
  static int status(const std::string& reply) {
    return reply.starts_with("HTTP/1.1 ") ? std::atoi(reply.c_str() + 9) : -1;
  }

  FakeSource source;
  conf::AdminOptions options;
  std::unique_ptr<AdminServer> server;
};

TEST_F(Admin, LivezAnswersWhateverElseIsWrong) {
  source.state.redis.ok = false;
  serve();
  EXPECT_EQ(status(get("/livez")), 200);
}

TEST_F(Admin, StartupzWaitsForTheStart) {
  source.state.started = false;
  serve();
  EXPECT_EQ(status(get("/startupz")), 503);
  source.state.started = true;
  EXPECT_EQ(status(get("/startupz")), 200);
}

TEST_F(Admin, ReadyzIsOkWhenEveryPartIs) {
  serve();
  const std::string reply = get("/readyz");
  EXPECT_EQ(status(reply), 200);
  EXPECT_THAT(reply, HasSubstr("Content-Type: application/json"));
  EXPECT_THAT(reply, HasSubstr("\"ready\": true"));
  EXPECT_THAT(reply, HasSubstr("\"shop\": {"));
}

TEST_F(Admin, ReadyzSaysWhyRedisIsNot) {
  source.state.redis = {"redis", false, "connection refused"};
  serve();
  const std::string reply = get("/readyz");
  EXPECT_EQ(status(reply), 503);
  EXPECT_THAT(reply, HasSubstr("\"reason\": \"connection refused\""));
}

TEST_F(Admin, ReadyzSaysWhichBackendIsNotAndWhy) {
  source.state.backends.push_back({"users", false, "no \"such\" file\xff"});
  serve();
  const std::string reply = get("/readyz");
  EXPECT_EQ(status(reply), 503);
  EXPECT_THAT(reply, HasSubstr("\"users\": {"));
  EXPECT_THAT(reply, HasSubstr("no \\\"such\\\" file\xef\xbf\xbd"));
}

TEST_F(Admin, ReadyzEndsWhenDraining) {
  source.state.draining = true;
  serve();
  const std::string reply = get("/readyz");
  EXPECT_EQ(status(reply), 503);
  EXPECT_THAT(reply, HasSubstr("\"draining\": true"));
}

TEST_F(Admin, MetricsAreText) {
  source.loop.clients.set(3);
  serve();
  const std::string reply = get("/metrics");
  EXPECT_EQ(status(reply), 200);
  EXPECT_THAT(reply, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(reply, HasSubstr("\nsluice_clients 3\n"));
}

TEST_F(Admin, StatsAreJson) {
  source.policy.hits.add(5);
  source.loop.pin(PinReason::multi);
  serve();
  const std::string reply = get("/stats");
  EXPECT_EQ(status(reply), 200);
  EXPECT_THAT(reply, HasSubstr("\"hits\": 5"));
  EXPECT_THAT(reply, HasSubstr("\"multi\": 1"));
}

TEST_F(Admin, HeadHasNoBody) {
  serve();
  const std::string reply = raw("HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(status(reply), 200);
  EXPECT_TRUE(reply.ends_with("\r\n\r\n"));
}

TEST_F(Admin, AnUnknownPathIsNotFound) {
  serve();
  EXPECT_EQ(status(get("/")), 404);
  EXPECT_EQ(status(get("/metrics/")), 404);
}

TEST_F(Admin, OtherMethodsAreRefused) {
  serve();
  const std::string reply = raw("POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi");
  EXPECT_EQ(status(reply), 405);
  EXPECT_THAT(reply, HasSubstr("Allow: GET, HEAD"));
}

TEST_F(Admin, WithATokenStatsNeedItOnLoopbackToo) {
  serve("s3cret");
  const std::string refused = get("/stats");
  EXPECT_EQ(status(refused), 401);
  EXPECT_THAT(refused, HasSubstr("WWW-Authenticate: Bearer"));
  EXPECT_EQ(status(get("/stats", "Authorization: Bearer s3cret\r\n")), 200);
  EXPECT_EQ(status(get("/stats", "Authorization: bearer s3cret\r\n")), 200);
}

TEST_F(Admin, AWrongTokenIsRefused) {
  serve("s3cret");
  for (const char* header : {"Bearer s3creT", "Bearer s3cre", "Bearer s3crett", "Bearer ", "Basic s3cret", "s3cret"}) {
    EXPECT_EQ(status(get("/stats", "Authorization: " + std::string(header) + "\r\n")), 401) << header;
  }
  EXPECT_EQ(status(get("/stats", "Authorization: Bearer s3cret\r\nAuthorization: Bearer x\r\n")), 401);
}

TEST_F(Admin, ATokenMayContainAPercentSign) {
  serve("a%41b");
  EXPECT_EQ(status(get("/stats", "Authorization: Bearer a%41b\r\n")), 200);
}

TEST_F(Admin, ProbesAndMetricsNeedNoTokenAndNoHost) {
  serve("s3cret");
  for (const char* path : {"/livez", "/readyz", "/startupz", "/metrics"}) {
    EXPECT_EQ(status(get(path, "", "10.1.2.3:9380")), 200) << path;
    EXPECT_EQ(status(raw("GET " + std::string(path) + " HTTP/1.0\r\n\r\n")), 200) << path;
  }
}

TEST_F(Admin, AnUnknownPathNeedsTheTokenToo) {
  serve("s3cret");
  EXPECT_EQ(status(get("/nothing")), 401);
}

TEST_F(Admin, KnownHostsAreThoseOfThisMachineAndTheListener) {
  serve();
  for (const char* host : {"localhost", "LOCALHOST:9380", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:9380"}) {
    EXPECT_EQ(status(get("/stats", "", host)), 200) << host;
  }
}

TEST_F(Admin, AnUnknownHostIsRefused) {
  serve();
  for (const char* host : {"evil.example", "localhost.evil.example", "127.0.0.1.evil.example:9380", "[::2]", "[", ""}) {
    EXPECT_EQ(status(get("/stats", "", host)), 403) << host;
  }
  EXPECT_EQ(status(raw("GET /stats HTTP/1.0\r\n\r\n")), 403);
  EXPECT_EQ(status(get("/stats", "Host: evil.example\r\n")), 403) << "two of them";
}

TEST_F(Admin, AnUnknownHostIsRefusedWithTheTokenToo) {
  serve("s3cret");
  EXPECT_EQ(status(get("/stats", "Authorization: Bearer s3cret\r\n", "evil.example")), 403);
}

TEST_F(Admin, WithoutATokenOnlyThisHostGetsStats) {
  const auto from = outer_address();
  if (!from) GTEST_SKIP() << "this machine has loopback addresses only";
  serve();
  EXPECT_EQ(status(get("/stats", "", "localhost", from->c_str())), 403);
  EXPECT_EQ(
      status(get("/stats", "REMOTE_ADDR: 127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\n", "localhost", from->c_str())),
      403);
  EXPECT_EQ(status(get("/metrics", "", "localhost", from->c_str())), 200);
}

TEST_F(Admin, WithATokenOtherHostsGetStats) {
  const auto from = outer_address();
  if (!from) GTEST_SKIP() << "this machine has loopback addresses only";
  serve("s3cret");
  EXPECT_EQ(status(get("/stats", "Authorization: Bearer s3cret\r\n", "localhost", from->c_str())), 200);
}

TEST_F(Admin, AnExceptionIsNotShown) {
  source.broken = true;
  serve();
  const std::string reply = get("/readyz");
  EXPECT_EQ(status(reply), 500);
  EXPECT_THAT(reply, Not(HasSubstr("a secret")));
}

TEST_F(Admin, GarbageIsABadRequest) {
  serve();
  EXPECT_EQ(status(raw("garbage\r\n\r\n")), 400);
}

TEST_F(Admin, HeadersWithoutEndAreCutOff) {
  serve();
  std::string request = "GET /livez HTTP/1.1\r\nHost: localhost\r\n";
  while (request.size() < 64 * 1024 - 4000) request += "X-Filler: " + std::string(3000, 'x') + "\r\n";
  request += "X: " + std::string(64 * 1024 - request.size() - 5, 'x') + "\r\n";
  EXPECT_EQ(status(raw(request)), 400);
}

TEST_F(Admin, ALongPathIsRefused) {
  serve();
  EXPECT_EQ(status(get("/" + std::string(20000, 'x'))), 414);
}

TEST_F(Admin, SeveralAreServedAtOnce) {
  serve();
  const auto silent = connect();  // sends nothing, and holds one thread for a while
  EXPECT_EQ(status(get("/livez")), 200);
}

TEST_F(Admin, StopReturnsWithARequestInProgress) {
  serve();
  const auto silent = connect();
  silent->send("GET /livez HTT");
  EXPECT_EQ(status(get("/livez")), 200);
  server->stop();
  EXPECT_THAT(silent->read(), IsEmpty());
}

TEST_F(Admin, StopMayBeCalledAgainAndBeforeTheStart) {
  options.listen = loopback();
  AdminServer idle(options, source);
  idle.stop();
  serve();
  server->stop();
  server->stop();
}

TEST_F(Admin, ATakenAddressIsAnErrorThatNamesIt) {
  serve();
  conf::AdminOptions same;
  same.listen = loopback(server->port());
  AdminServer second(same, source);
  const std::string error = second.start();
  EXPECT_THAT(error, HasSubstr("127.0.0.1:" + std::to_string(server->port())));
  EXPECT_THAT(error, HasSubstr("Address already in use"));
}

TEST_F(Admin, AnUnknownNameIsAnError) {
  options.listen = conf::Endpoint{conf::Endpoint::Kind::tcp, "256.256.256.256", 1, ""};
  AdminServer nowhere(options, source);
  EXPECT_THAT(nowhere.start(), HasSubstr("cannot listen on 256.256.256.256:1"));
}

class AdminOnUnixSocket : public Admin {
 protected:
  AdminOnUnixSocket() {
    EXPECT_NE(::mkdtemp(dir), nullptr);
    path = std::string(dir) + "/admin.sock";
    options.listen = conf::Endpoint{conf::Endpoint::Kind::unix_socket, "", 0, path};
    server = std::make_unique<AdminServer>(options, source);
  }
  ~AdminOnUnixSocket() override {
    server.reset();
    ::unlink(path.c_str());
    ::rmdir(dir);
  }
  std::string get_stats() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const Socket socket(AF_UNIX, reinterpret_cast<sockaddr*>(&address), sizeof address);
    socket.send("GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n");
    return socket.read();
  }
  bool exists() const { return ::access(path.c_str(), F_OK) == 0; }

  char dir[32] = "/tmp/sluice-admin-XXXXXX";
  std::string path;
};

TEST_F(AdminOnUnixSocket, IsThisHost) {
  ASSERT_EQ(server->start(), "");
  EXPECT_EQ(status(get_stats()), 200);
}

TEST_F(AdminOnUnixSocket, RemovesItsFile) {
  ASSERT_EQ(server->start(), "");
  server->stop();
  EXPECT_FALSE(exists());
}

TEST_F(AdminOnUnixSocket, TakesTheFileOfAProcessThatIsGone) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const int gone = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(::bind(gone, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(gone);
  ASSERT_TRUE(exists());
  EXPECT_EQ(server->start(), "");
  EXPECT_EQ(status(get_stats()), 200);
}

TEST_F(AdminOnUnixSocket, LeavesTheFileOfAProcessThatListens) {
  ASSERT_EQ(server->start(), "");
  {
    AdminServer second(options, source);
    EXPECT_THAT(second.start(), HasSubstr("Address already in use"));
  }
  EXPECT_EQ(status(get_stats()), 200);
}

}  // namespace
}  // namespace sluice::proxy

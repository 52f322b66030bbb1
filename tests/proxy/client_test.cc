// Client: commands in, replies out in order, over a real loop and a Redis made of canned answers.
#include "proxy/client.h"

#include <chrono>
#include <csignal>
#include <cstring>
#include <map>
#include <memory>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/listener.h"
#include "proxy/loop.h"
#include "tests/proxy/peer.h"

namespace sluice::proxy {
namespace {

using testing::StartsWith;

conf::Endpoint unix_endpoint(const std::string& path) {
  conf::Endpoint endpoint;
  endpoint.kind = conf::Endpoint::Kind::unix_socket;
  endpoint.path = path;
  return endpoint;
}

int connect_to(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return fd;
}

// Answers on any number of connections, on a thread of its own. Knows MULTI and EXEC; every other command is answered
// by its name, or as `answers` says.
class FakeRedis {
 public:
  explicit FakeRedis(const std::string& path) {
    std::string error;
    listener_ = open_sockets({unix_endpoint(path)}, error).at(0);
    EXPECT_EQ(::pipe(stop_), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeRedis() {
    ::close(stop_[1]);
    thread_.join();
    ::close(stop_[0]);
    ::close(listener_);
  }
  // Before any client connects.
  std::map<std::string, std::string> answers;

 private:
  struct Connection {
    std::string received;
    std::size_t answered = 0;
    bool multi = false;
    std::string queued;
    int queued_count = 0;
  };

  void serve() {
    std::map<int, Connection> connections;
    while (true) {
      std::vector<pollfd> waiting{{stop_[0], POLLIN, 0}, {listener_, POLLIN, 0}};
      for (const auto& [fd, connection] : connections) waiting.push_back({fd, POLLIN, 0});
      ::poll(waiting.data(), waiting.size(), -1);
      if (waiting[0].revents != 0) break;
      if (waiting[1].revents != 0) connections.emplace(::accept(listener_, nullptr, nullptr), Connection{});
      for (std::size_t i = 2; i < waiting.size(); ++i) {
        if (waiting[i].revents != 0 && !read(waiting[i].fd, connections[waiting[i].fd])) {
          ::close(waiting[i].fd);
          connections.erase(waiting[i].fd);
        }
      }
    }
    for (const auto& [fd, connection] : connections) ::close(fd);
  }

  bool read(int fd, Connection& connection) {
    char bytes[65536];
    const auto got = ::recv(fd, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    connection.received.append(bytes, static_cast<std::size_t>(got));
    const auto commands = commands_in(connection.received);
    std::string replies;
    for (; connection.answered < commands.size(); ++connection.answered) {
      replies += answer(connection, commands[connection.answered][0]);
    }
    return ::send(fd, replies.data(), replies.size(), MSG_NOSIGNAL) >= 0;
  }

  std::string answer(Connection& connection, const std::string& name) {
    if (name == "MULTI") {
      connection.multi = true;
      return "+OK\r\n";
    }
    if (name == "EXEC") {
      connection.multi = false;
      return "*" + std::to_string(std::exchange(connection.queued_count, 0)) + "\r\n" +
             std::exchange(connection.queued, {});
    }
    const auto found = answers.find(name);
    const std::string reply = found == answers.end() ? "+" + name + "\r\n" : found->second;
    if (!connection.multi) return reply;
    connection.queued += reply;
    ++connection.queued_count;
    return "+QUEUED\r\n";
  }

  int listener_ = -1;
  int stop_[2] = {-1, -1};
  std::thread thread_;
};

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() {
    std::signal(SIGPIPE, SIG_IGN);  // as the program does
    char name[] = "/tmp/sluice-client-XXXXXX";
    folder_ = ::mkdtemp(name);
    redis_ = std::make_unique<FakeRedis>(folder_ + "/redis");
    config_.proxy.listen = {unix_endpoint(folder_ + "/proxy")};
    config_.upstream = upstream_at(unix_endpoint(folder_ + "/redis"));
  }
  ~ClientTest() override {
    if (loop_) {
      loop_->request_drain(std::chrono::seconds(5));
      thread_.join();
    }
    if (client_ >= 0) ::close(client_);
    redis_.reset();
    for (const char* file : {"/redis", "/proxy"}) ::unlink((folder_ + file).c_str());
    ::rmdir(folder_.c_str());
  }

  void start() {
    process_ = std::make_unique<Process>(config_);
    loop_ = std::make_unique<Loop>(*process_);
    std::string error;
    const auto sockets = open_sockets(config_.proxy.listen, error);
    loop_->listen(sockets);
    for (const int socket : sockets) ::close(socket);
    thread_ = std::thread([this] { loop_->run(); });
    client_ = connect_to(folder_ + "/proxy");
  }

  void send(std::string_view bytes) {
    EXPECT_EQ(::send(client_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  // So many bytes, or what came before the connection closed or ten seconds passed.
  std::string receive(std::size_t bytes) {
    std::string got;
    while (got.size() < bytes) {
      pollfd waiting{client_, POLLIN, 0};
      if (::poll(&waiting, 1, 10000) <= 0) break;
      char buffer[4096];
      const auto count = ::recv(client_, buffer, std::min(sizeof buffer, bytes - got.size()), 0);
      if (count <= 0) break;
      got.append(buffer, static_cast<std::size_t>(count));
    }
    return got;
  }
  void expect_replies(std::string_view replies) { EXPECT_EQ(receive(replies.size()), replies); }
  void expect_closed() { EXPECT_EQ(receive(1), ""); }

  std::string folder_;
  conf::Config config_;
  std::unique_ptr<FakeRedis> redis_;
  std::unique_ptr<Process> process_;
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
  int client_ = -1;
};

TEST_F(ClientTest, RepliesComeInTheOrderOfTheCommands) {
  start();
  send("PING\r\nGET a\r\n*2\r\n$4\r\nTYPE\r\n$1\r\na\r\n");
  expect_replies("+PING\r\n+GET\r\n+TYPE\r\n");
}

TEST_F(ClientTest, ACommandMayComeByteByByte) {
  start();
  for (const char byte : std::string_view("*2\r\n$3\r\nGET\r\n$1\r\na\r\n")) send({&byte, 1});
  expect_replies("+GET\r\n");
}

TEST_F(ClientTest, AConnectionOfItsOwnChangesNoReply) {
  start();
  send("GET a\r\nMULTI\r\nGET a\r\nTYPE a\r\nEXEC\r\nGET a\r\n");
  expect_replies("+GET\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+GET\r\n+TYPE\r\n+GET\r\n");
}

TEST_F(ClientTest, QuitIsAnsweredAfterEverythingBeforeItThenClosed) {
  start();
  send("GET a\r\nQUIT\r\nGET b\r\n");
  expect_replies("+GET\r\n+OK\r\n");
  expect_closed();
}

TEST_F(ClientTest, MalformedInputIsAnsweredInRedisWordsAfterEverythingBeforeIt) {
  start();
  send("GET a\r\n*1\r\n!oops\r\n");
  expect_replies("+GET\r\n-ERR Protocol error: expected '$', got '!'\r\n");
  expect_closed();
}

TEST_F(ClientTest, AClientThatStopsSendingGetsItsReplies) {
  start();
  send("GET a\r\nSELECT 1\r\nGET b\r\n");
  ::shutdown(client_, SHUT_WR);
  expect_replies("+GET\r\n+SELECT\r\n+GET\r\n");
  expect_closed();
}

TEST_F(ClientTest, AnUnknownCommandGetsRedisOwnError) {
  redis_->answers["FOO"] = "-ERR unknown command\r\n";
  start();
  send("FOO\r\nGET a\r\n");
  expect_replies("-ERR unknown command\r\n+GET\r\n");
}

TEST_F(ClientTest, ACommandOfAModuleThatSucceedsIsPassedOn) {
  start();
  send("JSON.SET k $ 1\r\nGET a\r\n");
  expect_replies("+JSON.SET\r\n+GET\r\n");
}

TEST_F(ClientTest, ResetIsAnsweredByTheProxy) {
  start();
  send("SELECT 1\r\nRESET\r\nGET a\r\n");
  expect_replies("+SELECT\r\n+RESET\r\n+GET\r\n");
}

TEST_F(ClientTest, SilencedCommandsGetNoReply) {
  redis_->answers["CLIENT"] = "";
  redis_->answers["SET"] = "";
  start();
  send("CLIENT REPLY SKIP\r\nSET a 1\r\nGET a\r\n");
  expect_replies("+GET\r\n");
}

TEST_F(ClientTest, WithoutRedisACommandIsDeclinedAndTheConnectionClosed) {
  redis_.reset();
  start();
  send("GET a\r\n");
  EXPECT_THAT(receive(1000), StartsWith("-LOADING sluice: upstream unavailable: "));
}

TEST_F(ClientTest, OneClientTooManyIsToldSo) {
  config_.proxy.max_clients = 0;
  start();
  expect_replies("-ERR max number of clients reached\r\n");
  expect_closed();
}

TEST_F(ClientTest, TheProxysOwnCommandsKeepTheirPlace) {
  start();
  send("GET a\r\nSLUICE NONSENSE\r\nGET b\r\n");
  expect_replies("+GET\r\n-ERR");
}

}  // namespace
}  // namespace sluice::proxy

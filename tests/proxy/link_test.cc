// Link: connecting, failing to, and telling its owner once.
#include "proxy/link.h"

#include <chrono>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/proxy/peer.h"

namespace sluice::proxy {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Owner final : public Link::Owner {
 public:
  void link_up() override { ++ups; }
  void link_read(std::string_view bytes) override { read.append(bytes); }
  void link_down(const std::string& reason) override { reasons.push_back(reason); }
  void link_drained() override { ++drained; }

  int ups = 0;
  int drained = 0;
  std::string read;
  std::vector<std::string> reasons;
};

class LinkTest : public ::testing::TestWithParam<conf::Endpoint::Kind> {
 protected:
  bool until(const std::function<bool()>& done) { return run_until(loop_, peer_, done); }

  EventLoop loop_;
  Peer peer_{GetParam()};
  Owner owner_;
  Link link_{loop_, peer_.endpoint(), std::chrono::seconds(5), owner_};
};

TEST_P(LinkTest, IsConnectingUntilItIsUp) {
  EXPECT_EQ(link_.state(), Link::State::closed);
  link_.connect();
  EXPECT_EQ(link_.state(), Link::State::connecting);
  EXPECT_EQ(owner_.ups, 0);
  ASSERT_TRUE(until([&] { return owner_.ups == 1; }));
  EXPECT_EQ(link_.state(), Link::State::up);
}

TEST_P(LinkTest, SendsWhatWasQueuedWhileConnectingAndReads) {
  link_.connect();
  link_.send("one ");
  link_.send("two");
  ASSERT_TRUE(until([&] { return peer_.received() == "one two"; }));
  peer_.send("three");
  EXPECT_TRUE(until([&] { return owner_.read == "three"; }));
}

TEST_P(LinkTest, TellsWhyItCouldNotConnect) {
  peer_.stop_listening();
  if (GetParam() == conf::Endpoint::Kind::unix_socket) ::unlink(peer_.endpoint().path.c_str());
  link_.connect();
  EXPECT_TRUE(owner_.reasons.empty());
  ASSERT_TRUE(until([&] { return !owner_.reasons.empty(); }));
  EXPECT_THAT(owner_.reasons, ElementsAre(HasSubstr(to_string(peer_.endpoint()))));
  EXPECT_EQ(link_.state(), Link::State::closed);
}

TEST_P(LinkTest, TellsOnceThatThePeerHasClosed) {
  link_.connect();
  ASSERT_TRUE(until([&] { return owner_.ups == 1 && peer_.connected(); }));
  peer_.hang_up();
  ASSERT_TRUE(until([&] { return !owner_.reasons.empty(); }));
  run_some(loop_, peer_);
  EXPECT_THAT(owner_.reasons, ElementsAre(HasSubstr("closed by Redis")));
  EXPECT_EQ(link_.unwritten(), 0U);
}

TEST_P(LinkTest, ConnectsAgainAfterALoss) {
  link_.connect();
  ASSERT_TRUE(until([&] { return owner_.ups == 1 && peer_.connected(); }));
  peer_.hang_up();
  ASSERT_TRUE(until([&] { return !owner_.reasons.empty(); }));
  link_.connect();
  link_.send("again");
  EXPECT_TRUE(until([&] { return peer_.received() == "again"; }));
  EXPECT_EQ(peer_.connections(), 2);
}

TEST_P(LinkTest, ClosingItTellsNobodyAndStopsAnAttempt) {
  link_.connect();
  link_.close();
  run_some(loop_, peer_);
  EXPECT_EQ(owner_.ups, 0);
  EXPECT_TRUE(owner_.reasons.empty());
  EXPECT_EQ(link_.state(), Link::State::closed);
}

TEST_P(LinkTest, MayBeDestroyedInTheMiddleOfAnAttempt) {
  {
    Link other(loop_, peer_.endpoint(), std::chrono::seconds(5), owner_);
    other.connect();
    other.send("never");
  }
  run_some(loop_, peer_);
  EXPECT_EQ(owner_.ups, 0);
}

TEST_P(LinkTest, WritesAnythingLargeInTheEndAndSaysSo) {
  link_.connect();
  ASSERT_TRUE(until([&] { return owner_.ups == 1 && peer_.connected(); }));
  peer_.pause(true);
  const std::string bytes(12UL << 20, 'x');
  link_.send(bytes);
  run_some(loop_, peer_);
  EXPECT_GT(link_.unwritten(), 0U);
  peer_.pause(false);
  ASSERT_TRUE(until([&] { return owner_.drained != 0; }));
  EXPECT_TRUE(until([&] { return peer_.received().size() == bytes.size(); }));
}

TEST_P(LinkTest, WritesMuchAtOnceBehindWhatWasSentBefore) {
  link_.connect();
  ASSERT_TRUE(until([&] { return owner_.ups == 1 && peer_.connected(); }));
  const std::string bytes(300UL << 10, 'x');
  link_.send("before ");
  EXPECT_EQ(link_.unwritten(), std::strlen("before "));
  link_.send(bytes);
  EXPECT_LT(link_.unwritten(), bytes.size());
  link_.send(" after");
  ASSERT_TRUE(until([&] { return peer_.received().ends_with(" after"); }));
  EXPECT_EQ(peer_.received(), "before " + bytes + " after");
}

TEST_P(LinkTest, KeepsTheOrderWhenThePeerIsSlow) {
  link_.connect();
  ASSERT_TRUE(until([&] { return owner_.ups == 1 && peer_.connected(); }));
  peer_.pause(true);
  std::string all;
  for (int i = 0; i < 40; ++i) {
    const std::string piece((i % 2 == 0 ? 10UL : 400UL << 10) + static_cast<std::size_t>(i),
                            static_cast<char>('A' + i));
    link_.send(piece);
    all += piece;
    if (i % 5 == 0) run_some(loop_, peer_);
  }
  EXPECT_GT(link_.unwritten(), 0U);
  peer_.pause(false);
  ASSERT_TRUE(until([&] { return peer_.received().size() >= all.size(); }));
  EXPECT_TRUE(peer_.received() == all);
}

TEST_P(LinkTest, TellsOfALossThatShowsWhileMuchIsWritten) {
  link_.connect();
  ASSERT_TRUE(until([&] { return owner_.ups == 1 && peer_.connected(); }));
  peer_.hang_up();
  for (int i = 0; i < 4; ++i) link_.send(std::string(300UL << 10, 'x'));
  EXPECT_TRUE(owner_.reasons.empty());
  ASSERT_TRUE(until([&] { return !owner_.reasons.empty(); }));
  run_some(loop_, peer_);
  EXPECT_EQ(owner_.reasons.size(), 1U);
}

INSTANTIATE_TEST_SUITE_P(Kinds, LinkTest,
                         ::testing::Values(conf::Endpoint::Kind::tcp, conf::Endpoint::Kind::unix_socket),
                         [](const auto& kind) { return kind.param == conf::Endpoint::Kind::tcp ? "Tcp" : "Unix"; });

// A listener whose queue is full: the kernel answers nobody who connects.
class FullListener {
 public:
  FullListener() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    sockets_.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(sockets_[0], any, size), 0);
    EXPECT_EQ(::listen(sockets_[0], 0), 0);
    EXPECT_EQ(::getsockname(sockets_[0], any, &size), 0);
    for (int i = 0; i < 4; ++i) {
      sockets_.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      static_cast<void>(::connect(sockets_.back(), any, size));
    }
    endpoint_.kind = conf::Endpoint::Kind::tcp;
    endpoint_.host = "127.0.0.1";
    endpoint_.port = ntohs(address.sin_port);
  }
  ~FullListener() {
    for (const int socket : sockets_) ::close(socket);
  }
  FullListener(const FullListener&) = delete;
  FullListener& operator=(const FullListener&) = delete;
  const conf::Endpoint& endpoint() const { return endpoint_; }

 private:
  std::vector<int> sockets_;
  conf::Endpoint endpoint_;
};

TEST(Link, GivesUpConnectingWhenTheTimeIsOver) {
  EventLoop loop;
  const FullListener full;
  Peer peer;
  Owner owner;
  Link link(loop, full.endpoint(), milliseconds(20), owner);
  link.connect();
  ASSERT_TRUE(run_until(loop, peer, [&] { return !owner.reasons.empty() || owner.ups != 0; }));
  EXPECT_THAT(owner.reasons, ElementsAre(HasSubstr("connect timed out")));
  EXPECT_EQ(owner.ups, 0);
}

TEST(Link, IsNotTimedOutByALoopThatWasHeldUp) {
  EventLoop loop;
  Peer peer(conf::Endpoint::Kind::unix_socket);
  Owner owner;
  Link link(loop, peer.endpoint(), milliseconds(200), owner);
  link.connect();
  const auto busy_until = std::chrono::steady_clock::now() + milliseconds(400);
  while (std::chrono::steady_clock::now() < busy_until) continue;
  ASSERT_TRUE(run_until(loop, peer, [&] { return owner.ups == 1 || !owner.reasons.empty(); }));
  EXPECT_THAT(owner.reasons, IsEmpty());
}

TEST(Link, TellsThatAHostNameIsUnknown) {
  EventLoop loop;
  Peer peer;
  Owner owner;
  conf::Endpoint endpoint;
  endpoint.host = "no such host";
  endpoint.port = 1;
  Link link(loop, endpoint, std::chrono::seconds(8), owner);
  link.connect();
  ASSERT_TRUE(run_until(loop, peer, [&] { return !owner.reasons.empty(); }));
  EXPECT_THAT(owner.reasons, ElementsAre(HasSubstr("no such host")));
}

TEST(Backoff, BeginsAtOnceAndDoublesUpToASecond) {
  Backoff backoff;
  std::vector<long> delays;
  for (int i = 0; i < 8; ++i) delays.push_back(backoff.next().count());
  EXPECT_THAT(delays, ElementsAre(0, 50, 100, 200, 400, 800, 1000, 1000));
  backoff.reset();
  EXPECT_EQ(backoff.next(), milliseconds(0));
}

}  // namespace
}  // namespace sluice::proxy

// Memory: an idle client costs little, and what a burst has used goes back to the kernel.
#include <algorithm>
#include <memory>
#include <sys/resource.h>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

class Memory : public testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "a sanitizer's memory is not sluice's";
    redis = std::make_unique<RedisServer>(Args{"--maxclients", "15000", "--appendonly", "no"});
    SluiceOptions options;
    options.upstream = redis->url();
    sluice = std::make_unique<Sluice>(options);
    connect(100);
    use_large_values(1UL << 20);
    clients.clear();
    before = settled();
  }

  // Resident bytes of sluice.
  double resident() {
    const std::string path = "/proc/" + std::to_string(sluice->process().pid()) + "/smaps_rollup";
    const std::string text = read_file(path);
    return std::stod(text.substr(text.find("Rss:") + 4)) * 1024;
  }
  // Once every client is gone and it has not become less for a while.
  double settled() {
    EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_clients") == 0; }));
    double least = resident();
    for (int same = 0; same < 30; ++same) {
      eventually([] { return false; }, milliseconds(100));
      const double now = resident();
      if (now < least * 0.99) same = 0;
      least = std::min(least, now);
    }
    return least;
  }
  bool returns_to_before() {
    return eventually([&] { return resident() <= before * 1.2; });
  }
  void connect(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      clients.push_back(std::make_unique<Connection>(sluice->tcp()));
      ASSERT_EQ(clients.back()->call({"PING"}), "+PONG\r\n");
    }
  }
  void use_large_values(std::size_t bytes) {
    const std::string value(bytes, 'x');
    Connection client(sluice->tcp());
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(client.call({"SET", "k", value}), "+OK\r\n");
      ASSERT_GT(client.call({"GET", "k"}).size(), bytes);
      client.send(wire({"MULTI"}) + wire({"GET", "k"}) + wire({"EXEC"}));
      ASSERT_GT(client.read_replies(3).size(), bytes);
    }
  }

  std::unique_ptr<RedisServer> redis;
  std::unique_ptr<Sluice> sluice;
  std::vector<std::unique_ptr<Connection>> clients;
  double before = 0;
};

TEST_F(Memory, TenThousandIdleClientsCostFourKilobytesEachAndLeaveNothing) {
  constexpr std::size_t kClients = 10000;
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  if (files.rlim_max < kClients + 500) GTEST_SKIP() << "not enough open files allowed";
  files.rlim_cur = files.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  connect(kClients - 1);  // the harness needs one, too
  EXPECT_TRUE(eventually([&] { return (resident() - before) / kClients <= 4096; }))
      << (resident() - before) / kClients << " bytes each";
  RecordProperty("bytes_per_client", std::to_string((resident() - before) / kClients));
  clients.clear();
  EXPECT_TRUE(returns_to_before()) << resident() << " after " << before;
}

TEST_F(Memory, ValuesOf64MegabytesLeaveNothing) {
  use_large_values(64UL << 20);
  EXPECT_TRUE(returns_to_before()) << resident() << " after " << before;
}

}  // namespace
}  // namespace sluice::live

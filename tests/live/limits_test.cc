// Limits: large requests and replies, giant pipelines and slow clients cost bounded memory and hold up nobody else.
#include <array>
#include <csignal>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

constexpr std::size_t kMiB = 1UL << 20;

// Bytes that show where they come from.
std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i * 2654435761U) >> 13U);
  return bytes;
}

std::string bulk(const std::string& value) { return "$" + std::to_string(value.size()) + "\r\n" + value + "\r\n"; }

// Sends until the peer takes nothing for a good while, or `bytes` is empty.
void send_what_goes(Connection& connection, std::string_view& bytes) {
  for (int idle = 0; idle < 100 && !bytes.empty(); ++idle) {
    const std::size_t left = bytes.size();
    ASSERT_TRUE(connection.send_some(bytes));
    if (bytes.size() != left) idle = 0;
    eventually([] { return false; }, milliseconds(3));
  }
}

class Limits : public testing::TestWithParam<const char*> {
 protected:
  static SluiceOptions options(const std::string& proxy = {}) {
    SluiceOptions options;
    options.proxy = "connections = \"" + std::string(GetParam()) + "\"\n" + proxy;
    return options;
  }
  bool is_auto() const { return std::string(GetParam()) == "auto"; }
  // Connections to Redis, the proxy's own included.
  int redis_clients(RedisServer& redis) {
    const std::string info = redis.run({"INFO", "clients"});
    return std::stoi(info.substr(info.find("connected_clients:") + 18));
  }
};
INSTANTIATE_TEST_SUITE_P(Connections, Limits, testing::Values("auto", "session"),
                         [](const auto& info) { return std::string(info.param); });

// --- large requests -----------------------------------------------------------------------------------------------

TEST_P(Limits, ALargeValueIsPassedOnAsItArrives) {
  Rig rig(kUsersSchema, kUsersPolicy, options());
  const std::string value = pattern(16 * kMiB);
  Connection client(rig.sluice.tcp());
  client.send(wire({"SET", "n", "1"}) + wire({"SET", "k", value}) + wire({"INCR", "n"}) + wire({"STRLEN", "k"}));
  EXPECT_EQ(client.read_replies(4), "+OK\r\n+OK\r\n:2\r\n:16777216\r\n");
  EXPECT_TRUE(rig.redis.run({"GET", "k"}) == value);
  EXPECT_EQ(rig.sluice.metric("sluice_commands_streamed_total"), 1);
  EXPECT_EQ(rig.sluice.metric("sluice_pins_total", {"large_request"}), is_auto() ? 1 : 0);
  EXPECT_EQ(rig.sluice.metric("sluice_pinned_clients", {"large_request"}), 0);
}

TEST_P(Limits, ManyArgumentsArePassedOnAsTheyArrive) {
  Rig rig(kUsersSchema, kUsersPolicy, options());
  Args command{"RPUSH", "list"};
  for (int i = 0; i < 300000; ++i) command.push_back(std::to_string(i));
  Connection client(rig.sluice.tcp());
  EXPECT_EQ(client.call(command), ":300000\r\n");
  EXPECT_EQ(client.call({"LINDEX", "list", "-1"}), "$6\r\n299999\r\n");
  EXPECT_EQ(rig.sluice.metric("sluice_commands_streamed_total"), 1);
}

// With policies it is kept whole: any of its arguments may be a key that one of them writes.
TEST_P(Limits, ALargeCommandOfAModuleIsPassedOnAsItArrives) {
  Rig rig("", "", options());
  Connection client(rig.sluice.tcp());
  EXPECT_TRUE(client.call({"JSON.SET", "k", pattern(4 * kMiB)}).starts_with("-ERR unknown command"));
  EXPECT_EQ(client.call({"PING"}), "+PONG\r\n");
  EXPECT_EQ(rig.sluice.metric("sluice_commands_streamed_total"), 1);
}

TEST_P(Limits, ALargeCommandInATransactionKeepsItsPlace) {
  Rig rig(kUsersSchema, kUsersPolicy, options());
  const std::string value = pattern(3 * kMiB);
  Connection client(rig.sluice.tcp());
  client.send(wire({"MULTI"}) + wire({"SET", "k", value}) + wire({"STRLEN", "k"}) + wire({"EXEC"}) + wire({"PING"}));
  EXPECT_EQ(client.read_replies(5), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:3145728\r\n+PONG\r\n");
}

TEST_P(Limits, ALargeValueOfAPolicyIsKeptWhole) {
  Rig rig(kUsersSchema, kUsersPolicy + std::string("write_timeout = \"30s\"\n"), options());
  const std::string value = R"({"name":"E","age":1,"occupation":")" + std::string(3 * kMiB, 'x') + R"("})";
  Connection client(rig.sluice.tcp());
  EXPECT_EQ(client.call({"SET", "user:E", value}), "+OK\r\n");
  EXPECT_EQ(rig.db.query("SELECT length(occupation) FROM users"), "3145728");
  EXPECT_EQ(client.call({"MSET", "plain", pattern(2 * kMiB), "user:E", "x"}).substr(0, 12), "-ERR sluice:");
  EXPECT_EQ(client.call({"APPEND", "user:E", pattern(2 * kMiB)}).substr(0, 12), "-ERR sluice:");
  EXPECT_EQ(rig.redis.run({"EXISTS", "plain"}), "(integer) 0");
  EXPECT_EQ(rig.sluice.metric("sluice_commands_streamed_total"), 0);
}

TEST_P(Limits, AClientWaitsForARedisThatDoesNotTakeItsLargeValue) {
  Rig rig(kUsersSchema, kUsersPolicy, options());
  const std::string value = pattern(64 * kMiB);
  const std::string command = wire({"SET", "k", value}) + wire({"STRLEN", "k"});
  Connection client(rig.sluice.tcp());
  EXPECT_EQ(client.call({"PING"}), "+PONG\r\n");
  rig.redis.process().signal(SIGSTOP);
  std::string_view rest = command;
  send_what_goes(client, rest);
  EXPECT_GT(rest.size(), 32 * kMiB);  // the kernel's own buffers took some
  EXPECT_LT(rig.sluice.metric("sluice_client_buffer_bytes"), 2 * kMiB);
  rig.redis.process().signal(SIGCONT);
  client.send(rest);
  EXPECT_EQ(client.read_replies(2), "+OK\r\n:67108864\r\n");
  EXPECT_TRUE(rig.redis.run({"GET", "k"}) == value);
}

TEST_P(Limits, AnErrorFoundLateInALargeCommandEndsBothConnections) {
  Rig rig(kUsersSchema, kUsersPolicy, options());
  const int before = redis_clients(rig.redis);
  Connection client(rig.sluice.tcp());
  const std::string large = wire({"SET", "k", pattern(4 * kMiB)});
  client.send(wire({"SET", "first", "1"}) + "*4" + large.substr(2) + "!oops\r\n");
  EXPECT_EQ(client.read_to_end(), "+OK\r\n-ERR Protocol error: expected '$', got '!'\r\n");
  EXPECT_EQ(rig.redis.run({"EXISTS", "k"}), "(integer) 0");
  EXPECT_TRUE(eventually([&] { return redis_clients(rig.redis) <= before; }));
  EXPECT_EQ(rig.sluice.run({"ECHO", "next"}), "next");
}

TEST_P(Limits, AClientThatLeavesInTheMiddleOfALargeCommandTakesItsConnectionAlong) {
  Rig rig(kUsersSchema, kUsersPolicy, options());
  const int before = redis_clients(rig.redis);
  const std::string large = wire({"SET", "k", pattern(4 * kMiB)});
  for (int i = 0; i < 6; ++i) {
    Connection client(rig.sluice.tcp());
    client.send(large.substr(0, large.size() - static_cast<std::size_t>(1 + i)));
    ASSERT_TRUE(eventually([&] { return rig.sluice.metric("sluice_commands_streamed_total") == i + 1; }));
    i % 2 == 0 ? client.close() : client.reset();
    Connection next(rig.sluice.tcp());
    EXPECT_EQ(next.call({"MULTI"}), "+OK\r\n");
    EXPECT_EQ(next.call({"ECHO", "mine"}), "+QUEUED\r\n");
    EXPECT_EQ(next.call({"EXEC"}), "*1\r\n$4\r\nmine\r\n");
  }
  EXPECT_EQ(rig.redis.run({"EXISTS", "k"}), "(integer) 0");
  EXPECT_TRUE(eventually([&] { return redis_clients(rig.redis) <= before + 1; }));  // one may be kept for the next
}

TEST_P(Limits, ALargeCommandCutOffByTheEndOfTheInputIsNotDone) {
  Rig rig(kUsersSchema, kUsersPolicy, options());
  Connection client(rig.sluice.tcp());
  client.send(wire({"SET", "first", "1"}) + wire({"SET", "k", pattern(4 * kMiB)}).substr(0, 3 * kMiB));
  client.finish_sending();
  EXPECT_EQ(client.read_to_end(), "+OK\r\n");
  EXPECT_EQ(rig.redis.run({"EXISTS", "k"}), "(integer) 0");
}

TEST_P(Limits, ALargeCommandThatIsCompleteIsAnsweredAfterTheEndOfTheInput) {
  Rig rig(kUsersSchema, kUsersPolicy, options());
  Connection client(rig.sluice.tcp());
  client.send(wire({"SET", "k", pattern(16 * kMiB)}));
  client.finish_sending();
  EXPECT_EQ(client.read_to_end(), "+OK\r\n");
}

// --- large replies ------------------------------------------------------------------------------------------------

TEST_P(Limits, ASlowReaderOnAConnectionOfItsOwnMakesRedisWait) {
  Rig rig(kUsersSchema, kUsersPolicy, options());
  const std::string value = pattern(32 * kMiB);
  Connection client(rig.sluice.tcp());
  ASSERT_EQ(client.call({"SET", "k", value}), "+OK\r\n");
  client.send(wire({"MULTI"}) + wire({"GET", "k"}) + wire({"GET", "k"}) + wire({"EXEC"}));
  Connection other(rig.sluice.tcp());
  double most = 0;
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(other.call({"ECHO", "other"}), "$5\r\nother\r\n");
    most = std::max(most, rig.sluice.metric("sluice_client_buffer_bytes"));
  }
  EXPECT_LT(most, 4 * kMiB);
  EXPECT_EQ(client.read_replies(3), "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
  EXPECT_TRUE(client.read_reply() == "*2\r\n" + bulk(value) + bulk(value));
  EXPECT_EQ(client.call({"ECHO", "done"}), "$4\r\ndone\r\n");
}

TEST(SharedConnection, NeverWaitsForASlowReader) {
  Rig rig(kUsersSchema, kUsersPolicy);
  const std::string value = pattern(32 * kMiB);
  Connection client(rig.sluice.tcp());
  ASSERT_EQ(client.call({"SET", "k", value}), "+OK\r\n");
  client.send(wire({"GET", "k"}) + wire({"GET", "k"}));
  Connection other(rig.sluice.tcp());
  EXPECT_EQ(other.call({"ECHO", "other"}), "$5\r\nother\r\n");
  EXPECT_TRUE(eventually([&] { return rig.sluice.metric("sluice_client_buffer_bytes") > 40 * kMiB; }));
  EXPECT_EQ(other.call({"ECHO", "other"}), "$5\r\nother\r\n");
  EXPECT_TRUE(client.read_reply() == bulk(value));
  EXPECT_TRUE(client.read_reply() == bulk(value));
  EXPECT_EQ(client.call({"ECHO", "done"}), "$4\r\ndone\r\n");
  EXPECT_TRUE(eventually([&] { return rig.sluice.metric("sluice_client_buffer_bytes") == 0; }));
}

TEST(SharedConnection, AClientPastItsOutputLimitIsClosedAndNobodyElse) {
  SluiceOptions options;
  options.proxy = "client_output_buffer_limit = \"8mb\"";
  Rig rig(kUsersSchema, kUsersPolicy, options);
  ASSERT_EQ(rig.redis.run({"SET", "k", pattern(32 * kMiB)}), "OK");
  Connection other(rig.sluice.tcp());
  Connection client(rig.sluice.tcp());
  EXPECT_EQ(other.call({"ECHO", "before"}), "$6\r\nbefore\r\n");
  client.send(wire({"GET", "k"}) + wire({"GET", "k"}) + wire({"GET", "k"}));
  EXPECT_TRUE(eventually([&] { return rig.sluice.metric("sluice_clients_closed_output_limit_total") == 1; }));
  EXPECT_EQ(other.call({"ECHO", "after"}), "$5\r\nafter\r\n");
  EXPECT_LT(client.read_to_end().size(), 32 * kMiB);
  EXPECT_EQ(rig.sluice.metric("sluice_upstream_reconnects_total"), 0);
  EXPECT_TRUE(eventually([&] { return rig.sluice.metric("sluice_client_buffer_bytes") == 0; }));
}

// --- one client among others --------------------------------------------------------------------------------------

TEST_P(Limits, AGiantPipelineLetsOthersGoBetween) {
  constexpr int kCommands = 500000;
  Rig rig(kUsersSchema, kUsersPolicy, options());
  std::string pipeline;
  for (int i = 0; i < kCommands; ++i) pipeline += "*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n";
  Connection other(rig.sluice.tcp());
  EXPECT_EQ(other.call({"SET", "n", "0"}), "+OK\r\n");
  Connection client(rig.sluice.tcp());
  std::string_view rest = pipeline;
  int answers = 0;  // that came while the pipeline was under way
  while (true) {
    ASSERT_TRUE(client.send_some(rest));
    ASSERT_TRUE(client.read_available());
    const std::string seen = other.call({"GET", "n"});
    if (std::stoi(seen.substr(seen.find('\n') + 1)) == kCommands) break;
    ++answers;
  }
  EXPECT_GT(answers, 20);
}

// --- configured limits --------------------------------------------------------------------------------------------

TEST_P(Limits, ACommandThatMustBeKeptWholeIsHeldToTheQueryBuffer) {
  Rig rig(kUsersSchema, kUsersPolicy, options("query_buffer_limit = \"1mb\""));
  Connection client(rig.sluice.tcp());
  client.send(wire({"SET", "user:E", pattern(4 * kMiB)}));
  EXPECT_EQ(client.read_to_end(), "");
  EXPECT_EQ(rig.sluice.metric("sluice_clients_closed_query_limit_total"), 1);
  Connection plain(rig.sluice.tcp());
  EXPECT_EQ(plain.call({"SET", "plain", pattern(4 * kMiB)}), "+OK\r\n");
}

TEST_P(Limits, ABulkBeyondItsLimitIsRefusedAlsoInsideALargeCommand) {
  Rig rig(kUsersSchema, kUsersPolicy, options("max_bulk_length = \"2mb\""));
  const std::string part = pattern(2 * kMiB);
  Connection client(rig.sluice.tcp());
  client.send("*4\r\n$5\r\nRPUSH\r\n$1\r\nk\r\n" + bulk(part) + "$2097153\r\n");
  EXPECT_EQ(client.read_to_end(), "-ERR Protocol error: invalid bulk length\r\n");
  EXPECT_EQ(rig.sluice.metric("sluice_protocol_errors_total"), 1);
  EXPECT_EQ(rig.sluice.metric("sluice_commands_streamed_total"), 1);
}

TEST_P(Limits, ASilentClientIsClosedAlsoInTheMiddleOfALargeCommand) {
  Rig rig(kUsersSchema, kUsersPolicy, options("idle_timeout = \"300ms\""));
  Connection quiet(rig.sluice.tcp());
  EXPECT_EQ(quiet.call({"PING"}), "+PONG\r\n");
  EXPECT_EQ(quiet.read_to_end(), "");
  Connection stalled(rig.sluice.tcp());
  stalled.send(wire({"SET", "k", pattern(4 * kMiB)}).substr(0, 3 * kMiB));
  EXPECT_EQ(stalled.read_to_end(), "");
  Connection subscriber(rig.sluice.tcp());
  subscriber.call({"SUBSCRIBE", "news"});
  Connection third(rig.sluice.tcp());
  EXPECT_EQ(third.read_to_end(), "");
  EXPECT_EQ(subscriber.call({"PING"}), "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
  EXPECT_GE(rig.sluice.metric("sluice_clients_closed_idle_total"), 3);
}

TEST_P(Limits, WhoMustAuthenticateIsHeldToSmallCommands) {
  RedisServer redis({"--requirepass", "secret"});
  SluiceOptions more = options();
  more.upstream = redis.url();
  Sluice sluice(more);
  const std::string many = wire({"MSET", "a", "1", "b", "2", "c", "3", "d", "4", "e", "5"});
  const std::string long_one = wire({"SET", "k", std::string(16385, 'x')});
  const auto answer = [&](const std::string& bytes) {
    Connection client(sluice.tcp());
    client.send(bytes);
    return client.read_to_end();
  };
  EXPECT_EQ(answer(many), "-ERR Protocol error: unauthenticated multibulk length\r\n");
  EXPECT_EQ(answer(long_one), "-ERR Protocol error: unauthenticated bulk length\r\n");
  const std::string auth = wire({"AUTH", "secret"});
  EXPECT_EQ(answer(auth + many + long_one + wire({"QUIT"})), "+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
  EXPECT_EQ(answer(wire({"HELLO", "2", "AUTH", "default", "wrong"}) + many).substr(0, 10), "-WRONGPASS");
  EXPECT_EQ(answer(auth + wire({"RESET"}) + many),
            "+OK\r\n+RESET\r\n-ERR Protocol error: unauthenticated multibulk length\r\n");
}

}  // namespace
}  // namespace sluice::live

// The checker against applications that keep a cache in step by themselves, as most do: it finds what is wrong.
#include <atomic>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "tests/history/checker.h"
#include "tests/history/tables.h"
#include "tests/live/harness.h"

namespace sluice::history {
namespace {

enum class Protocol : std::uint8_t {
  serial,           // one at a time: right, and what the others are compared with
  set_after_sql,    // SQL, then SET; a miss loads and stores
  delete_after_sql  // SQL, then DEL; a miss loads and stores
};

const char* name(Protocol protocol) {
  switch (protocol) {
    case Protocol::serial:
      return "Serial";
    case Protocol::set_after_sql:
      return "SetAfterSql";
    case Protocol::delete_after_sql:
      return "DeleteAfterSql";
  }
  return "";
}

// One key of the application.
struct Place {
  Protocol protocol;
  int id;
  std::string key;
  std::mutex serial;
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
  Time now() const { return std::chrono::duration_cast<Time>(std::chrono::steady_clock::now() - began); }
};

Cells row(const std::string& value) { return value.empty() || value == "(nil)" ? Cells{} : Cells{{"a", value}}; }

// A server of the application: a thread with connections of its own.
class Server {
 public:
  Server(const Tables& tables, const live::Address& redis, int number)
      : sql_(tables.connect()), redis_(redis), number_(number), random_(std::random_device{}()) {}

  // `dies`: after SQL, before it has seen to the cache.
  void write(Place& place, bool dies = false) {
    Operation operation = begin(place, Kind::write);
    const std::string value = std::to_string(number_) + "." + std::to_string(++writes_);
    operation.cells = row(value);
    const std::unique_lock lock = one_at_a_time(place);
    sql_->query("INSERT INTO doc VALUES (" + std::to_string(place.id) + ", '" + value +
                "') ON CONFLICT (id) DO UPDATE SET a = excluded.a");
    pause();
    if (dies) operation.outcome = Outcome::unknown;
    if (!dies && place.protocol == Protocol::set_after_sql) redis_.run({"SET", place.key, value});
    if (!dies && place.protocol != Protocol::set_after_sql) redis_.run({"DEL", place.key});
    end(place, std::move(operation));
  }

  void read(Place& place) {
    Operation operation = begin(place, Kind::read);
    const std::unique_lock lock = one_at_a_time(place);
    std::string value = redis_.run({"GET", place.key});
    if (value == "(nil)") {
      value = sql_->query("SELECT a FROM doc WHERE id = " + std::to_string(place.id));
      pause();
      if (!value.empty()) redis_.run({"SET", place.key, value});
    }
    operation.cells = row(value);
    end(place, std::move(operation));
  }

  void work(Place& place) {
    for (int i = 0; i < 12; ++i) {
      random_() % 3 == 0 ? write(place) : read(place);
      pause();
    }
  }

  std::vector<Operation> take() { return std::exchange(done_, {}); }

 private:
  void pause() { std::this_thread::sleep_for(std::chrono::microseconds(random_() % 1500)); }
  static std::unique_lock<std::mutex> one_at_a_time(Place& place) {
    return place.protocol == Protocol::serial ? std::unique_lock(place.serial) : std::unique_lock<std::mutex>();
  }
  Operation begin(const Place& place, Kind kind) const {
    Operation operation;
    operation.client = number_;
    operation.kind = kind;
    operation.invoked = place.now();
    return operation;
  }
  void end(const Place& place, Operation operation) {
    operation.returned = place.now();
    done_.push_back(std::move(operation));
  }

  std::unique_ptr<Session> sql_;
  live::Client redis_;
  const int number_;
  int writes_ = 0;
  std::mt19937 random_;
  std::vector<Operation> done_;
};

struct Application {
  Application() {
    for (int i = 0; i < 4; ++i) servers.push_back(std::make_unique<Server>(*tables, redis.tcp(), i));
  }

  // What the checker says of a key that only `act` has touched.
  std::vector<Violation> round(Protocol protocol, const std::function<void(Place&)>& act) {
    Place place{protocol, ++last_id, "doc:" + std::to_string(last_id), {}};
    act(place);
    History history{
        place.key, {"a"}, {}, row(session->query("SELECT a FROM doc WHERE id = " + std::to_string(last_id))), {}};
    for (const auto& server : servers) {
      for (Operation& operation : server->take()) history.operations.push_back(std::move(operation));
    }
    std::vector<Violation> found = check_copy(place.key, history.after, row(redis.run({"GET", place.key})));
    for (Violation& violation : check(history, {})) found.push_back(std::move(violation));
    return found;
  }

  std::vector<Violation> race(Protocol protocol) {
    return round(protocol, [this](Place& place) {
      std::vector<std::thread> threads;
      for (const auto& server : servers) threads.emplace_back([&] { server->work(place); });
      for (std::thread& thread : threads) thread.join();
    });
  }

  live::RedisServer redis;
  std::unique_ptr<Tables> tables = make_tables(Engine::sqlite);
  std::unique_ptr<Session> session = [this] {
    auto created = tables->connect();
    created->query("CREATE TABLE doc (id INTEGER PRIMARY KEY, a TEXT)");
    return created;
  }();
  std::vector<std::unique_ptr<Server>> servers;
  int last_id = 0;
};

constexpr int kRounds = 400;

TEST(Naive, OneAtATimeIsRight) {
  Application application;
  for (int i = 0; i < 20; ++i) {
    for (const Violation& violation : application.race(Protocol::serial)) ADD_FAILURE() << print(violation);
  }
}

class NaiveRace : public testing::TestWithParam<Protocol> {};

TEST_P(NaiveRace, IsCaught) {
  Application application;
  for (int i = 1; i <= kRounds; ++i) {
    const auto violations = application.race(GetParam());
    if (violations.empty()) continue;
    std::cout << "after " << i << " rounds: " << print(violations[0]) << "\n";
    return;
  }
  FAIL() << "nothing was found in " << kRounds << " rounds";
}

INSTANTIATE_TEST_SUITE_P(, NaiveRace, testing::Values(Protocol::set_after_sql, Protocol::delete_after_sql),
                         [](const auto& info) { return std::string(name(info.param)); });

// Even one at a time: the copy is never seen to.
TEST(Naive, ADeathBetweenSqlAndTheCacheIsCaught) {
  Application application;
  const auto violations = application.round(Protocol::serial, [&](Place& place) {
    application.servers[0]->write(place);
    application.servers[1]->read(place);
    application.servers[0]->write(place, true);
  });
  ASSERT_FALSE(violations.empty());
  EXPECT_EQ(violations[0].invariant, Invariant::convergence);
}

}  // namespace
}  // namespace sluice::history

// The outbox: what others change directly in the database is soon seen through the cache, on every database.
#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engines.h"
#include "harness.h"
#include "held_script.h"
#include "policies/tables.h"
#include "tests/servers/sql_client.h"

namespace sluice::live {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Copies that are not dropped stay for longer than any test.
const char* const kPolicies = R"(
[[policy]]
name = "order"
key = "order:{tenant}:{id:int}"
alias = "old-order:{id:int}:{tenant}"
backend = "shop"
table = "orders"
value = "json"
columns = ["item"]
read = "cache-aside"
ttl = "1d"
negative_ttl = "1d"
invalidation = "outbox"

[[policy]]
name = "profile"
key = "profile:{id:uuid}"
backend = "shop"
table = "profiles"
value = "hash"
columns = { city = "home_city" }
write = "write-through"
ttl = "1d"
negative_ttl = "1d"
invalidation = "outbox"

[[policy]]
name = "blob"
key = "blob:{id*}"
backend = "shop"
table = "blobs"
value = "raw"
column = "content"
write = "write-through"
ttl = "1d"
negative_ttl = "1d"
invalidation = "outbox"
)";

// Nothing is recorded for it.
const char* const kDependent = R"(
[[policy]]
name = "label"
key = "label:{tenant}:{id:int}"
backend = "shop"
table = "orders"
tables = ["orders"]
value = "raw"
column = "item"
read = "cache-aside"
ttl = "1d"
negative_ttl = "1d"
)";

const std::string kId = "00000000-0000-4000-8000-00000000000a";

class OutboxOf : public OnEveryEngine {
 protected:
  explicit OutboxOf(bool own_server = false) : db(GetParam(), own_server) {
    write_file(dir.file("sluice.toml"),
               "upstream.url = \"" + redis.url() + "\"\n" + backend() + kPolicies + kDependent);
  }
  std::string backend() const { return "[backend.shop]\nurl = \"" + db.url() + "\"\n"; }
  // What the program prints, as it is.
  std::string schema_of(const std::string& policy) {
    const Output output = run({SLUICE_BINARY, "--print-schema", policy, "-c", dir.file("sluice.toml")});
    EXPECT_EQ(output.status, 0) << output.text;
    return output.text;
  }
  void create_all() {
    for (const char* policy : {"order", "profile", "blob"}) db.exec(schema_of(policy));
  }
  std::unique_ptr<Sluice> serve() { return serve(redis.url()); }
  std::unique_ptr<Sluice> serve(const history::FaultLink& link) {
    return serve("redis://127.0.0.1:" + std::to_string(link.port()));
  }
  std::unique_ptr<Sluice> serve(const std::string& upstream) {
    SluiceOptions options;
    options.upstream = upstream;
    options.policies = backend() + kPolicies + kDependent;
    return std::make_unique<Sluice>(std::move(options));
  }
  static bool is(Engine engine) { return GetParam() == engine; }
  static std::string item(const std::string& text) { return R"({"item":")" + text + "\"}"; }
  // A read, again and again: nobody but the outbox can change what it gives.
  static testing::AssertionResult becomes(Sluice& sluice, const Args& command, const std::string& reply) {
    std::string last;
    if (eventually([&] { return (last = sluice.run(command)) == reply; })) return testing::AssertionSuccess();
    return testing::AssertionFailure() << command[1] << " is still " << last << ", not " << reply;
  }
  std::string waiting() { return db.query("SELECT count(*) FROM sluice_outbox"); }

  TempDir dir;
  RedisServer redis;
  EngineDatabase db;
};

class OutboxEngines : public OutboxOf {};
ON_EVERY_ENGINE(OutboxEngines);

TEST_P(OutboxEngines, RowsThatOthersInsertUpdateAndDeleteAreSeen) {
  create_all();
  const auto sluice = serve();
  const Args get{"GET", "order:acme:7"}, get_next{"GET", "order:acme:8"};
  for (const Args& read : {get, get_next}) EXPECT_EQ(sluice->run(read), "(nil)") << "remembered for a day";
  db.exec("INSERT INTO orders (tenant, id, item) VALUES ('acme', 7, 'nuts')");
  EXPECT_TRUE(becomes(*sluice, get, item("nuts")));
  db.exec("UPDATE orders SET item = 'bolts' WHERE id = 7");
  EXPECT_TRUE(becomes(*sluice, get, item("bolts")));
  EXPECT_EQ(sluice->run({"GET", "old-order:7:acme"}), item("bolts"));
  db.exec("UPDATE orders SET id = 8 WHERE id = 7");
  EXPECT_TRUE(becomes(*sluice, get_next, item("bolts")));
  EXPECT_TRUE(becomes(*sluice, get, "(nil)"));
  db.exec("DELETE FROM orders");
  EXPECT_TRUE(becomes(*sluice, get_next, "(nil)"));
  EXPECT_EQ(sluice->run({"GET", "old-order:8:acme"}), "(nil)");
  EXPECT_TRUE(eventually([&] { return waiting() == "0"; }));
  const Args invalidated{"policy=\"order\"", "outcome=\"invalidated\""};
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_outbox_rows_total", invalidated) == 5; }));
  EXPECT_EQ(sluice->metric("sluice_outbox_errors_total"), 0);
}

TEST_P(OutboxEngines, WhatOtherPoliciesHaveCachedOfTheTableIsOutdatedToo) {
  create_all();
  const auto one = serve(), two = serve();
  const Args get{"GET", "label:acme:7"};
  for (Sluice* sluice : {one.get(), two.get()}) EXPECT_EQ(sluice->run(get), "(nil)");
  db.exec("INSERT INTO orders (tenant, id, item) VALUES ('acme', 7, 'nuts')");
  for (Sluice* sluice : {one.get(), two.get()}) EXPECT_TRUE(becomes(*sluice, get, "nuts"));
  db.exec("UPDATE orders SET item = 'bolts' WHERE id = 7");
  for (Sluice* sluice : {one.get(), two.get()}) EXPECT_TRUE(becomes(*sluice, get, "bolts"));
  db.exec("INSERT INTO orders (tenant, id, item) VALUES ('with:colon', 7, 'nuts')");
  db.exec("DELETE FROM orders WHERE tenant = 'acme'");
  for (Sluice* sluice : {one.get(), two.get()}) EXPECT_TRUE(becomes(*sluice, get, "(nil)"));
}

TEST_P(OutboxEngines, HashesAndBytesAreSeenToo) {
  create_all();
  const auto sluice = serve();
  EXPECT_EQ(sluice->run({"HSET", "profile:" + kId, "city", "Paris"}), "(integer) 1");
  EXPECT_EQ(sluice->run({"HGETALL", "profile:" + kId}), "[city, Paris]");
  db.exec("UPDATE profiles SET home_city = 'Rome'");
  EXPECT_TRUE(becomes(*sluice, {"HGETALL", "profile:" + kId}, "[city, Rome]"));
  const Args ids{"a:b", "it's", "{x}", "\xc3\xa9", "Abc", "abc", " "};
  for (const std::string& id : ids) EXPECT_EQ(sluice->run({"SET", "blob:" + id, "old"}), "OK");
  db.exec(std::string("UPDATE blobs SET content = ") + (is(Engine::postgresql) ? "'\\x6e6577'" : "X'6e6577'"));
  for (const std::string& id : ids) EXPECT_TRUE(becomes(*sluice, {"GET", "blob:" + id}, "new"));
  db.exec("DELETE FROM profiles");
  EXPECT_TRUE(becomes(*sluice, {"HGETALL", "profile:" + kId}, "[]"));
}

TEST_P(OutboxEngines, TransactionsThatCommitInTheOppositeOrderLoseNothing) {
  if (is(Engine::sqlite)) GTEST_SKIP() << "one transaction writes at a time";
  create_all();
  db.exec("INSERT INTO orders (tenant, id, item) VALUES ('acme', 1, 'old'), ('acme', 2, 'old')");
  const auto sluice = serve();
  for (const char* key : {"order:acme:1", "order:acme:2"}) EXPECT_TRUE(becomes(*sluice, {"GET", key}, item("old")));
  ASSERT_TRUE(eventually([&] { return waiting() == "0"; }));
  const auto first = db.connect(), second = db.connect();
  first->query("BEGIN");
  first->query("UPDATE orders SET item = 'new' WHERE tenant = 'acme' AND id = 1");
  second->query("UPDATE orders SET item = 'new' WHERE tenant = 'acme' AND id = 2");
  EXPECT_TRUE(becomes(*sluice, {"GET", "order:acme:2"}, item("new")));
  ASSERT_TRUE(eventually([&] { return waiting() == "0"; })) << "the later number is dealt with";
  EXPECT_EQ(sluice->run({"GET", "order:acme:1"}), item("old"));
  first->query("COMMIT");
  EXPECT_TRUE(becomes(*sluice, {"GET", "order:acme:1"}, item("new")));
}

TEST_P(OutboxEngines, WhatSluiceItselfWritesIsNotRecorded) {
  create_all();
  const auto sluice = serve();
  EXPECT_EQ(sluice->run({"HSET", "profile:" + kId, "city", "Paris"}), "(integer) 1");
  EXPECT_EQ(sluice->run({"HDEL", "profile:" + kId, "city"}), "(integer) 1");
  EXPECT_EQ(sluice->metric("sluice_outbox_rows_total"), 0);
  EXPECT_EQ(waiting(), "0");
  db.exec("UPDATE profiles SET home_city = 'Rome'");
  EXPECT_TRUE(becomes(*sluice, {"HGETALL", "profile:" + kId}, "[city, Rome]"));
  ASSERT_TRUE(eventually([&] { return waiting() == "0"; }));
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_outbox_rows_total") == 1; }));
}

TEST_P(OutboxEngines, RowsThatNoKeyStandsForAreForgotten) {
  create_all();
  const auto sluice = serve();
  db.exec("INSERT INTO orders (tenant, id, item) VALUES ('with:colon', 7, 'nuts')");
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_outbox_rows_total", {"outcome=\"no_key\""}) == 1; }));
  EXPECT_TRUE(eventually([&] { return waiting() == "0"; }));
}

// While it runs, fills of old rows meet changes and their entries all the time: no copy of an old row may stay.
TEST_P(OutboxEngines, TwoProxiesConsumeSideBySideAndNoOldRowStays) {
  create_all();
  constexpr int kRows = 10, kRounds = 30;
  for (int id = 0; id < kRows; ++id) {
    db.exec("INSERT INTO orders (tenant, id, item) VALUES ('acme', " + std::to_string(id) + ", '0')");
  }
  const auto one = serve(), two = serve();
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (Sluice* sluice : {one.get(), two.get(), one.get(), two.get()}) {
    readers.emplace_back([&stop, sluice] {
      Client client(sluice->tcp());
      for (int i = 0; !stop; ++i) client.run({"GET", "order:acme:" + std::to_string(i % kRows)});
    });
  }
  for (int round = 1; round <= kRounds; ++round) {
    const std::string value = "'" + std::to_string(round) + "'";
    if (round % 2 == 0) {
      db.exec("UPDATE orders SET item = " + value);
      continue;
    }
    for (int id = 0; id < kRows; ++id) {
      db.exec("UPDATE orders SET item = " + value + " WHERE id = " + std::to_string(id));
    }
  }
  for (int id = 0; id < kRows; ++id) {
    const Args get{"GET", "order:acme:" + std::to_string(id)};
    for (Sluice* sluice : {one.get(), two.get()}) EXPECT_TRUE(becomes(*sluice, get, item(std::to_string(kRounds))));
  }
  ASSERT_TRUE(eventually([&] { return waiting() == "0"; }));
  stop = true;
  for (std::thread& reader : readers) reader.join();
  for (int id = 0; id < kRows; ++id) {
    EXPECT_EQ(one->run({"GET", "order:acme:" + std::to_string(id)}), item(std::to_string(kRounds)));
  }
  const auto consumed = [](const std::unique_ptr<Sluice>& sluice) {
    return sluice->metric("sluice_outbox_rows_total");
  };
  EXPECT_TRUE(eventually([&] { return consumed(one) + consumed(two) >= kRows * (kRounds + 1); }));
  int round = kRounds;
  EXPECT_TRUE(eventually([&] {
    db.exec("UPDATE orders SET item = '" + std::to_string(++round) + "'");
    return consumed(one) > 0 && consumed(two) > 0;
  })) << "only one of them consumes";
}

TEST_P(OutboxEngines, NothingIsForgottenWhileRedisIsDown) {
  create_all();
  db.exec("INSERT INTO orders (tenant, id, item) VALUES ('acme', 7, 'old')");
  const auto sluice = serve();
  ASSERT_TRUE(eventually([&] { return waiting() == "0"; }));
  EXPECT_EQ(sluice->run({"GET", "order:acme:7"}), item("old"));
  redis.kill();
  db.exec("UPDATE orders SET item = 'new'");
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_outbox_errors_total", {"policy=\"order\""}) >= 2; }));
  EXPECT_EQ(waiting(), "1");
  EXPECT_GT(sluice->metric("sluice_outbox_oldest_age_seconds", {"policy=\"order\""}), 0);
  redis.start();
  EXPECT_TRUE(becomes(*sluice, {"GET", "order:acme:7"}, item("new")));
  EXPECT_TRUE(eventually([&] { return waiting() == "0"; }));
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_outbox_oldest_age_seconds") == 0; }));
}

TEST_P(OutboxEngines, WhatKeepsChangesFromBeingRecordedIsNamedByTheCheck) {
  create_all();
  const Args check{SLUICE_BINARY, "--check", "--connect", "-c", dir.file("sluice.toml")};
  EXPECT_EQ(run(check).status, 0) << run(check).text;
  db.exec(std::string("DROP TRIGGER sluice_outbox_blob") + (is(Engine::postgresql) ? " ON blobs" : "_delete"));
  const Output one = run(check);
  EXPECT_EQ(one.status, 78);
  EXPECT_THAT(one.text, AllOf(HasSubstr("invalidation = \"outbox\": there is no trigger 'sluice_outbox_blob"),
                              Not(HasSubstr("sluice_outbox_order"))));
  db.exec("DROP TABLE sluice_outbox");
  EXPECT_THAT(run(check).text, HasSubstr("invalidation = \"outbox\": there is no table 'sluice_outbox'"));
}

TEST_P(OutboxEngines, WhatKeepsChangesFromBeingRecordedIsToldWhileItRuns) {
  create_all();
  db.exec(std::string("DROP TRIGGER sluice_outbox_blob") + (is(Engine::postgresql) ? " ON blobs" : "_delete"));
  const auto sluice = serve();
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_outbox_gaps", {"policy=\"blob\""}) == 1; }));
  EXPECT_EQ(sluice->metric("sluice_outbox_gaps", {"policy=\"order\""}), 0);
  EXPECT_TRUE(eventually([&] {
    return sluice->log().find(
               "policy 'blob': not all changes of others are recorded: there is no trigger "
               "'sluice_outbox_blob") != std::string::npos;
  }));
}

// Stops a proxy that has dealt with a first page of entries, and has read a second one.
struct HeldMidway : HeldScript {
  explicit HeldMidway(history::FaultLink& link) : HeldScript(link, policies::tables::touch_script(), 1) {}
};

// Many rows are changed at once by a transaction with higher numbers than one that commits later, and a proxy is killed
// while both are busy with them.
TEST_P(OutboxEngines, AChangeIsSeenThoughAProxyIsKilledWhileItConsumes) {
  create_all();
  constexpr int kRows = 10000, kWatched = 30, kRounds = 4;
  std::string rows = "INSERT INTO orders (tenant, id, item) VALUES ('late', 0, '0')";
  for (int id = 1; id <= kRows; ++id) rows += ", ('acme', " + std::to_string(id) + ", '0')";
  // Whoever changes many rows here passes over those that are locked and not wanted.
  if (is(Engine::mysql)) db.exec("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
  db.exec(rows);
  std::vector<Args> watched{{"GET", "order:late:0"}};
  for (int i = 0; i < kWatched; ++i) {
    watched.push_back({"GET", "order:acme:" + std::to_string(1 + i * (kRows / kWatched))});
  }
  history::FaultLink first_link(free_port(), redis.tcp().port, history::FaultLink::Framing::redis);
  history::FaultLink second_link(free_port(), redis.tcp().port, history::FaultLink::Framing::redis);
  const auto one = serve(first_link), two = serve(second_link);
  for (int round = 1; round <= kRounds; ++round) {
    const auto set = "UPDATE orders SET item = '" + std::to_string(round) + "' WHERE tenant = ";
    ASSERT_TRUE(eventually([&] { return waiting() == "0"; }));
    for (const Args& get : watched) EXPECT_EQ(one->run(get), item(std::to_string(round - 1)));
    std::unique_ptr<servers::SqlClient> late;
    if (!is(Engine::sqlite)) {
      late = db.connect();
      late->query("BEGIN");
      late->query(set + "'late'");
    }
    Sluice& victim = round % 2 == 0 ? *one : *two;
    Sluice& other = round % 2 == 0 ? *two : *one;
    {
      HeldMidway first(first_link), second(second_link);
      db.exec(set + "'acme'");
      ASSERT_TRUE((round % 2 == 0 ? first : second).await());
      victim.kill();
      EXPECT_NE(waiting(), "0") << "there is more to be done";
    }
    if (late) late->query("COMMIT");
    if (!late) db.exec(set + "'late'");
    for (const Args& get : watched) EXPECT_TRUE(becomes(other, get, item(std::to_string(round))));
    victim.start();
    for (const Args& get : watched) EXPECT_EQ(victim.run(get), item(std::to_string(round)));
  }
}

// Nobody else is there to go on where it was killed.
TEST_P(OutboxEngines, WhatAKilledProxyHasLeftItFindsWhenItIsBack) {
  create_all();
  constexpr int kRows = 20000;
  std::string rows = "INSERT INTO orders (tenant, id, item) VALUES ('acme', 0, 'old')";
  for (int id = 1; id <= kRows; ++id) rows += ", ('acme', " + std::to_string(id) + ", 'old')";
  db.exec(rows);
  history::FaultLink link(free_port(), redis.tcp().port, history::FaultLink::Framing::redis);
  const auto sluice = serve(link);
  ASSERT_TRUE(eventually([&] { return waiting() == "0"; }));
  const Args first{"GET", "order:acme:0"}, last{"GET", "order:acme:" + std::to_string(kRows)};
  for (const Args& get : {first, last}) EXPECT_EQ(sluice->run(get), item("old"));
  {
    HeldMidway held(link);
    db.exec("UPDATE orders SET item = 'new'");
    ASSERT_TRUE(held.await());
    sluice->kill();
  }
  EXPECT_NE(waiting(), "0") << "there is more to be done";
  EXPECT_NE(waiting(), std::to_string(kRows + 1));
  sluice->start();
  for (const Args& get : {first, last}) EXPECT_TRUE(becomes(*sluice, get, item("new")));
  EXPECT_TRUE(eventually([&] { return waiting() == "0"; }));
}

class OutboxServers : public OutboxOf {
 protected:
  OutboxServers() : OutboxOf(true) {}
};
INSTANTIATE_TEST_SUITE_P(Engines, OutboxServers, testing::Values(Engine::postgresql, Engine::mysql),
                         [](const auto& engine) { return to_string(engine.param); });

TEST_P(OutboxServers, ADatabaseThatWasAwayIsLookedAtAgain) {
  create_all();
  db.exec("INSERT INTO orders (tenant, id, item) VALUES ('acme', 7, 'old')");
  const auto sluice = serve();
  ASSERT_TRUE(eventually([&] { return waiting() == "0"; }));
  ASSERT_TRUE(eventually([&] {
    EXPECT_EQ(sluice->run({"GET", "order:acme:7"}), item("old"));
    return redis.run({"EXISTS", "order:acme:7"}) == "(integer) 1";
  }));
  db.exclude_others();
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_outbox_errors_total", {"policy=\"order\""}) >= 2; }));
  EXPECT_EQ(sluice->run({"GET", "order:acme:7"}), item("old"));
  db.admit_others();
  // The server, which has crashed and is none of the durable ones, may have lost the row.
  db.connect()->query("DELETE FROM orders; INSERT INTO orders (tenant, id, item) VALUES ('acme', 7, 'new')");
  EXPECT_TRUE(becomes(*sluice, {"GET", "order:acme:7"}, item("new")));
}

}  // namespace
}  // namespace sluice::live

// Tests of the database servers of the tests themselves.
#include <memory>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

#include "tests/servers/sql_database.h"

namespace sluice::servers {
namespace {

class Servers : public testing::TestWithParam<Engine> {};

TEST_P(Servers, ATestHasADatabaseOfItsOwnThatGoesWithIt) {
  std::string name;
  {
    SqlDatabase one(GetParam());
    SqlDatabase two(GetParam());
    name = one.name();
    EXPECT_NE(name, two.name());
    one.exec("CREATE TABLE fruit (id INTEGER PRIMARY KEY, name VARCHAR(20))");
    two.exec("CREATE TABLE fruit (id INTEGER PRIMARY KEY)");
    one.exec("INSERT INTO fruit VALUES (1, 'apple'); INSERT INTO fruit VALUES (2, NULL)");
    EXPECT_EQ(one.query("SELECT * FROM fruit ORDER BY id"), "1|apple;2|NULL");
    EXPECT_THROW(one.query("SELECT * FROM nuts"), std::runtime_error);
  }
  EXPECT_THROW(connect(GetParam(), shared_port(GetParam()), name), std::runtime_error);
}

TEST_P(Servers, AServerOfTheTestsOwnComesBackFromACrashWithItsData) {
  const auto server = start_server(GetParam(), {.durable = true, .arguments = {}});
  EXPECT_NE(server->port(), shared_port(GetParam()));
  SqlDatabase database(GetParam(), server->port());
  database.exec("CREATE TABLE fruit (id INTEGER PRIMARY KEY)");
  database.exec("INSERT INTO fruit VALUES (1)");
  server->kill();
  EXPECT_THROW(database.query("SELECT * FROM fruit"), std::runtime_error);
  server->start();
  EXPECT_EQ(database.query("SELECT * FROM fruit"), "1");
  server->stop();
  EXPECT_THROW(database.query("SELECT * FROM fruit"), std::runtime_error);
  server->start();
  EXPECT_EQ(database.query("SELECT * FROM fruit"), "1");
}

INSTANTIATE_TEST_SUITE_P(All, Servers, testing::Values(Engine::postgresql, Engine::mysql),
                         [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace sluice::servers

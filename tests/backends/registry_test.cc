// Tests of the registry of backends.
#include "backends/registry.h"

#include <gtest/gtest.h>

#include "conf/config.h"

namespace sluice::sql {
namespace {

TEST(Registry, SqliteHasOneWriterAndTheOtherConnectionsRead) {
  conf::BackendOptions options;
  options.connections = 4;
  auto backend = make_backend(options);
  ASSERT_NE(backend, nullptr);
  EXPECT_EQ(backend->writers(), 1);
  EXPECT_EQ(backend->readers(), 3);
  options.connections = 1;
  EXPECT_EQ(make_backend(options)->readers(), 1);
}

TEST(Registry, PostgresqlSharesItsConnectionsBetweenWritersAndReadersAndHasMoreForWaiting) {
  conf::BackendOptions options;
  options.kind = conf::BackendOptions::Kind::postgresql;
  options.connections = 5;
  const auto backend = make_backend(options);
  ASSERT_NE(backend, nullptr);
  EXPECT_EQ(backend->writers(), 2);
  EXPECT_EQ(backend->readers(), 3);
  EXPECT_EQ(backend->lone_writers(), 2);
  options.connections = 1;
  EXPECT_EQ(make_backend(options)->writers(), 1);
  EXPECT_EQ(make_backend(options)->readers(), 1);
}

TEST(Registry, TheConnectionsOfMysqlAreSharedByReadersAndWriters) {
  conf::BackendOptions options;
  options.kind = conf::BackendOptions::Kind::mysql;
  options.connections = 5;
  const auto backend = make_backend(options);
  ASSERT_NE(backend, nullptr);
  EXPECT_EQ(backend->writers(), 2);
  EXPECT_EQ(backend->readers(), 3);
  EXPECT_GT(backend->lone_writers(), 0);
  options.connections = 1;
  EXPECT_EQ(make_backend(options)->writers(), 1);
  EXPECT_EQ(make_backend(options)->readers(), 1);
}

}  // namespace
}  // namespace sluice::sql

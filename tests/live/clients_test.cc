// Client libraries: what a real one sees through sluice is what it sees directly. The programs are in tests/clients.
#include <ostream>
#include <sstream>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

struct Library {
  std::string name;
  Args program;
  Args arguments = {};                 // after the ports
  std::string expected = "facts.txt";  // what it must print
  friend std::ostream& operator<<(std::ostream& out, const Library& library) { return out << library.name; }
};

std::string source(const std::string& file) { return SLUICE_SOURCE_DIR "/tests/clients/" + file; }
std::string built(const std::string& file) { return SLUICE_CLIENTS_BUILD "/" + file; }
Args node(const std::string& file) { return {"env", "NODE_PATH=" + built("node_modules"), "node", source(file)}; }

const std::vector<Library>& libraries() {
  static const std::vector<Library> list{
      {"redis_py", {"/usr/bin/python3", source("client.py")}, {"python"}},
      {"redis_py_with_hiredis", {"/usr/bin/python3", source("client.py")}, {"hiredis"}},
      {"hiredis", {built("client_c")}},
      {"phpredis", {"php", source("client.php")}},
      {"redis_rb", {"ruby", source("client.rb")}},
      {"redigo", {built("client_go")}},
      {"ioredis_resp2", node("ioredis.js"), {"2"}},
      {"ioredis_resp3", node("ioredis.js"), {"3"}},
      {"node_redis_resp2", node("node_redis.js"), {"2"}},
      {"node_redis_resp3", node("node_redis.js"), {"3"}},
      {"bullmq", node("bullmq.js"), {}, "bullmq.txt"},
  };
  return list;
}

// Two Redis servers, one open and one with users, and a sluice of the same `connections` before each.
struct Servers {
  explicit Servers(const std::string& connections) {
    open_options.upstream = open.url();
    secured_options.upstream = secured.url();
    secured_options.upstream_extra = "password = \"secret\"";
    open_options.proxy = secured_options.proxy = "connections = \"" + connections + "\"";
  }
  RedisServer open;
  RedisServer secured{{"--requirepass", "secret", "--user", "app", "on", ">app-secret", "~app:*", "&*", "+@all"}};
  SluiceOptions open_options, secured_options;
};

Args command_of(const Library& library, const Address& open, const Address& secured) {
  Args command = library.program;
  command.push_back(std::to_string(open.port));
  command.push_back(std::to_string(secured.port));
  command.insert(command.end(), library.arguments.begin(), library.arguments.end());
  return command;
}

// Lines that begin with `also: ` are the library's own, the others the facts that all of them tell.
std::string facts_in(const std::string& text, bool also) {
  std::istringstream lines(text);
  std::string facts;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("#") && (also || !line.starts_with("also: "))) {
      facts += line + "\n";
    }
  }
  return facts;
}

// Runs the program to its end and gives what it printed. It shuts the open Redis down once, which then comes back.
std::string told(const Library& library, Servers& servers, const Address& open, const Address& secured) {
  const TempDir dir;
  Process program;
  program.start(command_of(library, open, secured), dir.file("out"));
  const bool ended = eventually(
      [&] {
        if (!servers.open.process().running()) {
          servers.open.start();
        }
        return !program.running();
      },
      6 * kPatience);
  EXPECT_TRUE(ended) << library << " hangs";
  EXPECT_EQ(program.wait(milliseconds{0}).value_or(-1), 0) << library << "\n" << read_file(dir.file("out"));
  return read_file(dir.file("out"));
}

using Case = std::tuple<Library, std::string>;

struct ClientLibrary : testing::TestWithParam<Case> {};

TEST_P(ClientLibrary, SeesWhatItSeesDirectly) {
  const auto& [library, connections] = GetParam();
  Servers servers(connections);
  const std::string direct = told(library, servers, servers.open.tcp(), servers.secured.tcp());
  ASSERT_EQ(facts_in(direct, false), facts_in(read_file(source(library.expected)), false));
  servers.open.run({"FLUSHALL"});
  servers.secured.run({"FLUSHALL"});
  Sluice open(servers.open_options);
  Sluice secured(servers.secured_options);
  const std::string proxied = told(library, servers, open.tcp(), secured.tcp());
  EXPECT_EQ(facts_in(proxied, true), facts_in(direct, true));
}

// A pinned client has a connection to Redis for itself: what every application does must not cost that.
struct PlainUse : testing::TestWithParam<Library> {};

TEST_P(PlainUse, LeavesTheConnectionsShared) {
  const Library& library = GetParam();
  Servers servers("auto");
  const Sluice open(servers.open_options);
  const Sluice secured(servers.secured_options);
  Client admin(servers.secured.tcp());
  ASSERT_EQ(admin.run({"AUTH", "secret"}), "OK");
  ASSERT_EQ(admin.run({"SELECT", "2"}), "OK");

  const TempDir dir;
  Process program;
  Args command = command_of(library, open.tcp(), secured.tcp());
  command.push_back("plain");
  program.start(command, dir.file("out"));
  EXPECT_TRUE(eventually([&] { return admin.run({"GET", "app:ready"}) == "1" || !program.running(); }));
  EXPECT_GE(secured.metric("sluice_clients"), 1);
  EXPECT_EQ(secured.metric("sluice_pinned_clients"), 0) << secured.get("/metrics").body;
  admin.run({"SET", "app:done", "1"});
  EXPECT_EQ(program.wait().value_or(-1), 0) << read_file(dir.file("out"));
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  return std::get<0>(info.param).name + "_" + std::get<1>(info.param);
}

INSTANTIATE_TEST_SUITE_P(Clients, ClientLibrary,
                         testing::Combine(testing::ValuesIn(libraries()), testing::Values("auto", "session")), name_of);
INSTANTIATE_TEST_SUITE_P(Clients, PlainUse, testing::ValuesIn(libraries()), testing::PrintToStringParamName());

}  // namespace
}  // namespace sluice::live

// Transparency: for keys without a policy, replies are byte for byte those of Redis.
#include <iostream>
#include <memory>
#include <random>
#include <regex>

#include <gtest/gtest.h>

#include "harness.h"

namespace sluice::live {
namespace {

using namespace std::string_literals;

// A rig whose sluice has written down which Redis it has found: from then on only clients change the data.
struct SettledRig : Rig {
  SettledRig(const std::string& schema, const std::string& policies) : Rig(schema, policies) {
    EXPECT_TRUE(eventually([this] { return redis.run({"EXISTS", "__sluice:run"}) == "(integer) 1"; }));
  }
};

// The number of the connection differs from one to the next, also without a proxy.
std::string without_connection_id(const std::string& bytes) {
  static const std::regex id("\\$2\r\nid\r\n:[0-9]+\r\n");
  return std::regex_replace(bytes, id, "$$2\r\nid\r\n:N\r\n");
}

// What comes back for `bytes` and a final RESET and QUIT, on an empty server. `cuts` are the sizes of the pieces sent.
std::string exchange(RedisServer& redis, const Address& address, const std::string& bytes,
                     const std::vector<std::size_t>& cuts = {}) {
  Client direct(redis.tcp());
  for (const Args& command : std::vector<Args>{{"FLUSHALL"}, {"SCRIPT", "FLUSH"}, {"FUNCTION", "FLUSH"}}) {
    EXPECT_EQ(direct.run(command), "OK");
  }
  Connection connection(address);
  // RESET first: a client that switched replies off would not be closed by Redis' own QUIT.
  const std::string all = bytes + wire({"RESET"}) + wire({"QUIT"});
  std::string_view rest = all;
  for (const std::size_t cut : cuts) {
    connection.send(rest.substr(0, cut));
    connection.read_available();
    rest.remove_prefix(std::min(cut, rest.size()));
  }
  connection.send(rest);
  return without_connection_id(connection.read_to_end());
}

std::string pipeline(const std::vector<Args>& commands) {
  std::string bytes;
  for (const Args& command : commands) {
    bytes += wire(command);
  }
  return bytes;
}

// Where two streams of replies part, shortened; empty when they are the same.
std::string first_difference(const std::string& direct, const std::string& proxied) {
  if (direct == proxied) {
    return {};
  }
  std::vector<std::string> expected = replies(direct);
  std::vector<std::string> actual;
  try {
    actual = replies(proxied);
  } catch (const std::exception&) {
    return proxied;  // not even replies
  }
  expected.resize(std::max(expected.size(), actual.size()));
  actual.resize(expected.size());
  std::size_t i = 0;
  while (i + 1 < expected.size() && expected[i] == actual[i]) {
    ++i;
  }
  return "reply " + std::to_string(i) + " is " + testing::PrintToString(actual[i].substr(0, 300)) + ", from Redis " +
         testing::PrintToString(expected[i].substr(0, 300));
}

// With policies that own none of the keys used.
struct Transparency : testing::Test {
  SettledRig rig{std::string(kFruitSchema) + kUsersSchema + kCountersSchema,
                 std::string(kFruitPolicy) + kUsersPolicy + kCountersPolicy};

  void expect_same(const std::string& bytes) {
    SCOPED_TRACE("for: " + bytes.substr(0, 300));
    const std::string direct = exchange(rig.redis, rig.redis.tcp(), bytes);
    const std::string digest = rig.redis.run({"DEBUG", "DIGEST"});
    std::string proxied;
    try {
      proxied = exchange(rig.redis, rig.sluice.tcp(), bytes);
    } catch (const std::exception& error) {
      proxied = error.what();
    }
    EXPECT_EQ(first_difference(direct, proxied), "");
    EXPECT_EQ(rig.redis.run({"DEBUG", "DIGEST"}), digest);
    ++probes;
  }
  void expect_same(const std::vector<Args>& commands) { expect_same(pipeline(commands)); }
  int probes = 0;
};

TEST_F(Transparency, InlineCommandsAndProtocolErrors) {
  for (const std::string& bytes : {
           "PING\r\n"s,
           "PING\n"s,
           "  ping   hello  \r\n"s,
           "\r\n\r\nPING\r\n"s,
           "SET a \"b \\x41\\n c\"\r\nGET a\r\n"s,
           "SET a 'b c'\r\nGET a\r\nget\r\n"s,
           "GET 'unbalanced\r\n"s,
           "GET \"a\"b\r\n"s,
           "nonsense with words\r\n"s,
           "\1\2\xff\r\n"s,
           "*0\r\nPING\r\n"s,
           "*-1\r\nPING\r\n"s,
           "*1\r\n$4\r\nPING\r\n"s,
           "*abc\r\n"s,
           "*1048577\r\n"s,
           "*2147483648\r\n"s,
           "*1\r\n!4\r\nPING\r\n"s,
           "*1\r\nPING\r\n"s,
           "*1\r\n$-1\r\n"s,
           "*1\r\n$abc\r\n"s,
           "*2\r\n$3\r\nGET\r\n$629145600\r\n"s,
           "*1\r\n$0\r\n\r\n"s,
           "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\n\r\n\0\1\2\r\nGET a\r\n"s,
           "*1\r\n$4\r\nPINGxxPING\r\n"s,
           std::string(300000, 'a'),
           "*"s + std::string(300000, '1'),
           "*1\r\n$" + std::string(300000, '1'),
           "PING\r\n*1\r\n$4\r\nPING\r\nPING\r\n*x\r\nPING\r\n"s,
           "POST / HTTP/1.1\r\n\r\n"s,
       }) {
    expect_same(bytes);
  }
  EXPECT_EQ(probes, 29);
}

TEST_F(Transparency, DataCommands) {
  const std::vector<std::vector<Args>> list = {
      {{"SET", "a", "1"}, {"GET", "a"}, {"GET", "none"}, {"GETSET", "a", "2"}, {"GETDEL", "a"}, {"GETEX", "a"}},
      {{"SET", "a", "1", "EX", "100"}, {"PERSIST", "a"}, {"SET", "a", "2", "NX"}, {"SET", "a", "2", "XX", "GET"}},
      {{"SET", "a", "1", "EX", "0"}, {"SET", "a", "1", "EX"}, {"SET", "a", "1", "BAD"}, {"SETEX", "a", "x", "1"}},
      {{"SET"}, {"GET"}, {"GET", "a", "b"}, {"HSET", "h"}, {"MSET", "a"}, {"PING", "a", "b"}},
      {{"NOSUCH"},
       {"NOSUCH", "a", "b", std::string(200, 'x')},
       {"no\r\nsuch"},
       {"CONFIG", "NOSUCH"},
       {"DEBUG", "NOSUCH"}},
      {{"MSET", "a", "1", "b", "2"},
       {"MGET", "a", "none", "b"},
       {"MSETNX", "a", "1", "c", "2"},
       {"EXISTS", "a", "a", "c"}},
      {{"APPEND", "a", "12"},
       {"STRLEN", "a"},
       {"GETRANGE", "a", "0", "-1"},
       {"SETRANGE", "a", "5", "x"},
       {"SUBSTR", "a", "0", "1"}},
      {{"INCR", "n"},
       {"INCRBY", "n", "41"},
       {"DECR", "n"},
       {"INCRBYFLOAT", "n", "1.5"},
       {"INCR", "n"},
       {"INCRBY", "n", "x"}},
      {{"SETBIT", "b", "7", "1"},
       {"BITCOUNT", "b"},
       {"BITPOS", "b", "1"},
       {"BITFIELD", "b", "GET", "u8", "0"},
       {"BITOP", "NOT", "c", "b"}},
      {{"LPUSH", "l", "a", "b", "c"},
       {"LRANGE", "l", "0", "-1"},
       {"LPOP", "l", "2"},
       {"LPOP", "none", "2"},
       {"LPOS", "l", "a"},
       {"LMPOP", "1", "l", "LEFT"}},
      {{"RPUSH", "l", "3", "1", "2"},
       {"SORT", "l"},
       {"SORT", "l", "DESC", "STORE", "m"},
       {"LINDEX", "m", "0"},
       {"LINSERT", "m", "BEFORE", "2", "x"},
       {"LMOVE", "l", "m", "LEFT", "RIGHT"}},
      {{"SET", "a", "1"},
       {"LPUSH", "a", "x"},
       {"HGET", "a", "x"},
       {"SADD", "a", "x"},
       {"ZADD", "a", "1", "x"},
       {"INCR", "a"}},
      {{"HSET", "h", "f", "1", "g", "2"},
       {"HGETALL", "h"},
       {"HGET", "h", "f"},
       {"HMGET", "h", "f", "none"},
       {"HDEL", "h", "f"},
       {"HINCRBY", "h", "g", "3"},
       {"HINCRBYFLOAT", "h", "g", "0.5"},
       {"HSCAN", "h", "0"}},
      {{"HGETALL", "none"},
       {"HKEYS", "none"},
       {"LRANGE", "none", "0", "1"},
       {"SMEMBERS", "none"},
       {"ZRANGE", "none", "0", "1"},
       {"HRANDFIELD", "none"}},
      {{"SADD", "s", "3", "1", "2"},
       {"SMEMBERS", "s"},
       {"SISMEMBER", "s", "1"},
       {"SMISMEMBER", "s", "1", "9"},
       {"SINTERCARD", "1", "s"},
       {"SSCAN", "s", "0"},
       {"SREM", "s", "1"}},
      {{"ZADD", "z", "1", "a", "2.5", "b", "inf", "c"},
       {"ZRANGE", "z", "0", "-1", "WITHSCORES"},
       {"ZSCORE", "z", "b"},
       {"ZINCRBY", "z", "1", "a"},
       {"ZPOPMIN", "z"},
       {"ZMPOP", "1", "z", "MAX"},
       {"ZADD", "z", "nan", "a"}},
      {{"XADD", "x", "1-1", "f", "v"},
       {"XADD", "x", "1-1", "f", "v"},
       {"XRANGE", "x", "-", "+"},
       {"XLEN", "x"},
       {"XREAD", "COUNT", "1", "STREAMS", "x", "0"},
       {"XREAD", "STREAMS", "x", "9-9"},
       {"XINFO", "STREAM", "x"}},
      {{"XADD", "x", "1-1", "f", "v"},
       {"XGROUP", "CREATE", "x", "g", "0"},
       {"XREADGROUP", "GROUP", "g", "c", "STREAMS", "x", ">"},
       {"XACK", "x", "g", "1-1"},
       {"XGROUP", "CREATE", "x", "g", "0"}},
      {{"GEOADD", "g", "13.361389", "38.115556", "Palermo"},
       {"GEOPOS", "g", "Palermo", "none"},
       {"GEOHASH", "g", "Palermo"},
       {"PFADD", "p", "a"},
       {"PFCOUNT", "p"}},
      {{"SET", "a", "1"},
       {"TYPE", "a"},
       {"TYPE", "none"},
       {"OBJECT", "ENCODING", "a"},
       {"OBJECT", "FREQ", "a"},
       {"OBJECT", "HELP"},
       {"OBJECT", "REFCOUNT", "none"}},
      {{"SET", "a", "x"},
       {"DUMP", "a"},
       {"COPY", "a", "b"},
       {"RENAME", "b", "c"},
       {"RENAME", "none", "c"},
       {"DEL", "a", "c"},
       {"UNLINK", "a"},
       {"DBSIZE"}},
      {{"SET", "a", "1"},
       {"EXPIRE", "a", "1000"},
       {"EXPIRE", "a", "x"},
       {"TTL", "none"},
       {"PEXPIREAT", "a", "9999999999999"},
       {"EXPIRETIME", "a"},
       {"PEXPIRETIME", "a"},
       {"EXPIRE", "a", "-1"},
       {"EXISTS", "a"}},
      {{"SET", "a", "1"},
       {"SCAN", "0"},
       {"SCAN", "0", "MATCH", "b*"},
       {"SCAN", "x"},
       {"KEYS", "*"},
       {"RANDOMKEY"},
       {"TOUCH", "a", "none"}},
      {{"SET", "big", std::string(1 << 20, 'v')}, {"GET", "big"}, {"STRLEN", "big"}},
      {{"SET", std::string("k\0\r\n", 4), std::string("\0\r\n$-1\r\n", 8)}, {"GET", std::string("k\0\r\n", 4)}},
      {{"LCS", "a", "b"},
       {"SET", "a", "ohmytext"},
       {"SET", "b", "mynewtext"},
       {"LCS", "a", "b"},
       {"LCS", "a", "b", "IDX"}},
      {{"SELECT", "1"}, {"SET", "a", "1"}, {"SELECT", "0"}, {"GET", "a"}, {"MOVE", "a", "1"}, {"GET", "a"}},
      {{"SELECT", "99"}, {"SELECT", "x"}, {"SELECT"}, {"SET", "a", "1"}, {"SELECT", "3"}, {"DBSIZE"}, {"FLUSHDB"}},
  };
  for (const auto& commands : list) {
    expect_same(commands);
  }
  EXPECT_GE(probes, 28);
}

TEST_F(Transparency, ScriptsTransactionsAndServerCommands) {
  const std::vector<std::vector<Args>> list = {
      {{"EVAL", "return {1,'a',{2,false},redis.status_reply('S'),nil}", "0"},
       {"EVAL", "return redis.error_reply('MY err')", "0"}},
      {{"EVAL", "return redis.call('SET',KEYS[1],ARGV[1])", "1", "a", "1"},
       {"EVAL", "return redis.call('NOSUCH')", "0"},
       {"EVAL", "syntax(", "0"},
       {"EVAL", "return 1", "x"}},
      {{"EVALSHA", std::string(40, 'f'), "0"},
       {"SCRIPT", "LOAD", "return 7"},
       {"SCRIPT", "EXISTS", std::string(40, 'f')},
       {"EVALSHA", "5c0b5ec3a3ba1a2ac5b7d4e3f5d4c5b6a7980123", "0"}},
      {{"FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function(k,a) return a[1] end)"},
       {"FCALL", "f", "0", "x"},
       {"FCALL", "none", "0"},
       {"FUNCTION", "LIST"}},
      {{"EVAL_RO", "return redis.call('SET','a','1')", "0"},
       {"EVAL", "return redis.pcall('LPUSH',KEYS[1],'x')", "1", "l"}},
      {{"MULTI"}, {"SET", "a", "1"}, {"GET", "a"}, {"LPUSH", "a", "x"}, {"EXEC"}},
      {{"MULTI"}, {"MULTI"}, {"SET", "a"}, {"NOSUCH"}, {"EXEC"}, {"GET", "a"}},
      {{"EXEC"}, {"DISCARD"}, {"MULTI"}, {"SET", "a", "1"}, {"DISCARD"}, {"GET", "a"}, {"UNWATCH"}},
      {{"WATCH", "a"}, {"MULTI"}, {"SET", "a", "1"}, {"EXEC"}, {"MULTI"}, {"WATCH", "a"}, {"EXEC"}},
      {{"WATCH", "a"}, {"SET", "a", "2"}, {"MULTI"}, {"SET", "a", "1"}, {"EXEC"}, {"GET", "a"}},
      {{"MULTI"}, {"EXEC"}, {"MULTI"}, {"PING"}, {"SELECT", "2"}, {"SET", "a", "1"}, {"EXEC"}, {"GET", "a"}},
      {{"MULTI"}, {"SET", "a", "1"}},
      {{"BLPOP", "l", "0.05"},
       {"LPUSH", "l", "x"},
       {"BLPOP", "none", "l", "0"},
       {"BRPOP", "l", "x"},
       {"BLPOP", "l", "-1"}},
      {{"RPUSH", "l", "a", "b"},
       {"BLMOVE", "l", "m", "LEFT", "RIGHT", "0"},
       {"BRPOPLPUSH", "l", "m", "0"},
       {"BLMPOP", "0.05", "1", "l", "LEFT"},
       {"BZPOPMIN", "z", "0.05"}},
      {{"XREAD", "BLOCK", "20", "STREAMS", "x", "$"},
       {"XADD", "x", "1-1", "f", "v"},
       {"XREAD", "BLOCK", "20", "STREAMS", "x", "0"}},
      {{"SUBSCRIBE", "c", "d"},
       {"PING"},
       {"GET", "a"},
       {"UNSUBSCRIBE"},
       {"PING"},
       {"UNSUBSCRIBE"},
       {"UNSUBSCRIBE", "x"}},
      {{"PSUBSCRIBE", "c*"},
       {"PSUBSCRIBE", "c*"},
       {"SUBSCRIBE", "e"},
       {"PUNSUBSCRIBE", "c*"},
       {"PING", "x"},
       {"UNSUBSCRIBE", "e"},
       {"ECHO", "x"}},
      {{"SSUBSCRIBE", "c"},
       {"SUNSUBSCRIBE"},
       {"PUBLISH", "c", "x"},
       {"SPUBLISH", "c", "x"},
       {"PUBSUB", "CHANNELS"},
       {"PUBSUB", "NUMSUB", "c"}},
      {{"HELLO", "3"},
       {"SUBSCRIBE", "c"},
       {"PUBLISH", "c", "self"},
       {"GET", "a"},
       {"UNSUBSCRIBE", "c"},
       {"UNSUBSCRIBE"}},
      {{"HELLO", "3"},  // the message comes inside EXEC's reply
       {"SUBSCRIBE", "c"},
       {"MULTI"},
       {"PUBLISH", "c", "self"},
       {"SET", "a", "1"},
       {"EXEC"},
       {"BLPOP", "none", "0.05"}},
      {{"MULTI"}, {"SUBSCRIBE", "c"}, {"EXEC"}, {"UNSUBSCRIBE"}},
      {{"HELLO"},
       {"HELLO", "2"},
       {"HELLO", "4"},
       {"HELLO", "x"},
       {"HELLO", "3"},
       {"GET", "none"},
       {"HELLO", "2"},
       {"GET", "none"}},
      {{"HELLO", "3", "SETNAME", "me"}, {"CLIENT", "GETNAME"}, {"HELLO", "3", "BAD"}, {"HELLO", "3", "AUTH", "u", "p"}},
      {{"HELLO", "3"},
       {"HSET", "h", "f", "1"},
       {"HGETALL", "h"},
       {"HGETALL", "none"},
       {"SADD", "s", "1"},
       {"SMEMBERS", "s"},
       {"ZADD", "z", "1.5", "a"},
       {"ZSCORE", "z", "a"},
       {"ZRANGE", "z", "0", "-1", "WITHSCORES"}},
      {{"HELLO", "3"},
       {"DEBUG", "PROTOCOL", "string"},
       {"DEBUG", "PROTOCOL", "integer"},
       {"DEBUG", "PROTOCOL", "double"},
       {"DEBUG", "PROTOCOL", "null"},
       {"DEBUG", "PROTOCOL", "array"},
       {"DEBUG", "PROTOCOL", "set"},
       {"DEBUG", "PROTOCOL", "map"}},
      {{"HELLO", "3"},
       {"DEBUG", "PROTOCOL", "attrib"},
       {"DEBUG", "PROTOCOL", "verbatim"},
       {"DEBUG", "PROTOCOL", "true"},
       {"DEBUG", "PROTOCOL", "false"},
       {"DEBUG", "PROTOCOL", "bignum"},
       {"PING"}},
      {{"DEBUG", "PROTOCOL", "attrib"},
       {"DEBUG", "PROTOCOL", "map"},
       {"DEBUG", "PROTOCOL", "verbatim"},
       {"DEBUG", "PROTOCOL", "bignum"},
       {"DEBUG", "PROTOCOL", "true"}},
      {{"HELLO", "3"},
       {"DEBUG", "PROTOCOL", "push"},
       {"PING"},
       {"EVAL", "redis.setresp(3); return redis.call('HGETALL',KEYS[1])", "1", "h"}},
      {{"CLIENT", "REPLY", "OFF"}, {"SET", "a", "1"}, {"NOSUCH"}, {"CLIENT", "REPLY", "ON"}, {"GET", "a"}},
      {{"CLIENT", "REPLY", "SKIP"},
       {"SET", "a", "1"},
       {"GET", "a"},
       {"CLIENT", "REPLY", "SKIP"},
       {"CLIENT", "REPLY", "ON"},
       {"PING"}},
      {{"CLIENT", "REPLY", "OFF"}, {"SET", "a", "1"}},
      {{"CLIENT", "REPLY"}, {"CLIENT", "REPLY", "BAD"}, {"CLIENT", "NOSUCH"}, {"CLIENT"}, {"CLIENT", "HELP"}},
      {{"CLIENT", "SETNAME", "me"},
       {"CLIENT", "GETNAME"},
       {"CLIENT", "SETNAME", "a b"},
       {"CLIENT", "SETNAME", ""},
       {"CLIENT", "GETNAME"}},
      {{"CLIENT", "NO-EVICT", "ON"},
       {"CLIENT", "NO-EVICT", "BAD"},
       {"CLIENT", "KILL", "ID", "999999"},
       {"CLIENT", "UNBLOCK", "999999"},
       {"CLIENT", "GETREDIR"}},
      {{"HELLO", "3"},
       {"CLIENT", "TRACKING", "ON"},
       {"GET", "a"},
       {"SET", "a", "1"},
       {"GET", "a"},
       {"CLIENT", "TRACKING", "OFF"}},
      {{"CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a", "PREFIX", "ab"},
       {"CLIENT", "CACHING", "YES"},
       {"CLIENT", "TRACKINGINFO"}},
      {{"SELECT", "2"}, {"SET", "a", "1"}, {"RESET"}, {"GET", "a"}},
      {{"MULTI"}, {"SET", "a", "1"}, {"RESET"}, {"GET", "a"}, {"EXEC"}},
      {{"SUBSCRIBE", "c"}, {"RESET"}, {"GET", "a"}, {"HELLO", "3"}, {"RESET"}, {"GET", "a"}},
      {{"QUIT"}, {"SET", "a", "1"}},
      {{"MULTI"}, {"QUIT"}},
      {{"AUTH", "x"}, {"AUTH", "default", "x"}, {"AUTH"}, {"ACL", "WHOAMI"}, {"AUTH", "none", "x"}},
      {{"ACL", "CAT"}, {"ACL", "DRYRUN", "default", "GET", "a"}, {"ACL", "GETUSER", "default"}, {"ACL", "NOSUCH"}},
      {{"COMMAND", "COUNT"},
       {"COMMAND", "INFO", "get", "none"},
       {"COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2"},
       {"COMMAND", "DOCS", "get", "set"},
       {"COMMAND", "LIST", "FILTERBY", "PATTERN", "xadd"}},
      {{"COMMAND"}, {"COMMAND", "DOCS"}},
      {{"HELLO", "3"}, {"COMMAND"}, {"COMMAND", "DOCS"}},
      {{"CONFIG", "GET", "maxmemory*"},
       {"CONFIG", "SET", "nosuch", "1"},
       {"CONFIG", "GET", "nosuch"},
       {"CONFIG", "SET", "hz", "10"}},
      {{"CLUSTER", "INFO"}, {"READONLY"}, {"READWRITE"}, {"ASKING"}, {"CLUSTER", "KEYSLOT", "a"}},
      {{"WAIT", "0", "0"}, {"SET", "a", "1"}, {"WAIT", "1", "10"}, {"WAIT", "x", "0"}},
      {{"SLOWLOG", "HELP"}, {"LATENCY", "HELP"}, {"MEMORY", "DOCTOR"}, {"MEMORY", "USAGE", "none"}, {"MODULE", "LIST"}},
      {{"ECHO", "x"}, {"PING"}, {"PING", "x"}, {"ECHO"}, {"FAILOVER", "ABORT"}, {"REPLICAOF", "NO", "ONE"}, {"ROLE"}},
      {{"DEBUG", "SLEEP", "0"}, {"DEBUG", "SET-ACTIVE-EXPIRE", "1"}, {"DEBUG", "JMAP"}, {"OBJECT"}, {"XINFO", "HELP"}},
  };
  for (const auto& commands : list) {
    expect_same(commands);
  }
  EXPECT_GE(probes, 50);
}

// --- random streams -----------------------------------------------------------------------------------------------

class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  std::string stream(std::size_t commands) {
    std::string bytes;
    for (std::size_t i = 0; i < commands; ++i) {
      bytes += roll(12) == 0 ? inline_command() : wire(command());
    }
    return bytes;
  }
  std::vector<std::size_t> cuts(std::size_t size) {
    std::vector<std::size_t> list;
    const std::size_t largest = 1 + roll(roll(2) == 0 ? 8 : 200);
    for (std::size_t sent = 0; sent < size && list.size() < 400; sent += list.back()) {
      list.push_back(1 + roll(largest));
    }
    return list;
  }
  // Commands that each get one reply, and that others may speak between; who the client is changes now and then.
  std::string polite_stream(std::size_t commands) {
    std::string bytes;
    for (std::size_t i = 0; i < commands; ++i) bytes += wire(roll(6) == 0 ? identity_command() : polite_command());
    return bytes;
  }
  std::size_t roll(std::size_t sides) { return random_() % sides; }

 private:
  Args polite_command() {
    while (true) {
      Args one = command();
      if (one[0] != "SUBSCRIBE" && one[0] != "UNSUBSCRIBE" && one[0] != "CLIENT") return one;
    }
  }
  Args identity_command() {
    switch (roll(10)) {
      case 0:
        return {"AUTH", "bob", roll(3) == 0 ? "wrong" : "pw"};
      case 1:
        return {"HELLO", roll(2) == 0 ? "2" : "3"};
      case 2:
        return {"HELLO", "3", "AUTH", "bob", "pw", "SETNAME", "n" + std::to_string(roll(3))};
      case 3:
        return {"SELECT", std::to_string(roll(4))};
      case 4:
        return {"CLIENT", "SETNAME", roll(4) == 0 ? "not a name" : "n" + std::to_string(roll(3))};
      case 5:
        return {"CLIENT", "GETNAME"};
      case 6:
        return {"ACL", "WHOAMI"};
      case 7:
        return {"CLIENT", "SETINFO", "LIB-NAME", "x"};
      case 8:
        return {"CONFIG", "GET", "port"};  // dangerous: not for bob
      default:
        return {"RESET"};
    }
  }
  std::string key() { return std::string("k") + static_cast<char>('a' + roll(6)); }
  std::string word() {
    static const std::string bytes("\r\n\0 $*\"'ab1", 12);
    std::string text;
    for (std::size_t i = roll(12); i > 0; --i) {
      text += bytes[roll(bytes.size())];
    }
    return roll(40) == 0 ? std::string(roll(200000), 'v') : text;
  }
  std::string number() { return std::to_string(static_cast<long>(roll(200)) - 100); }

  std::string inline_command() {
    static const std::vector<std::string> lines{"PING\r\n", "SET ka '1 2'\r\n", "GET ka\n", "\r\n",       "*0\r\n",
                                                "get\r\n",  "nosuch a b\r\n",   "*-5\r\n",  "INCR kn\r\n"};
    return lines[roll(lines.size())];
  }

  Args command() {
    switch (roll(46)) {
      case 0:
      case 1:
      case 2:
        return {"SET", key(), word()};
      case 3:
      case 4:
      case 5:
        return {"GET", key()};
      case 6:
        return {"INCRBY", key(), number()};
      case 7:
        return {"APPEND", key(), word()};
      case 8:
        return {"MGET", key(), key(), key()};
      case 9:
        return {"MSET", key(), word(), key(), word()};
      case 10:
        return {"DEL", key(), key()};
      case 11:
        return {"LPUSH", key(), word(), word()};
      case 12:
        return {"LRANGE", key(), "0", "-1"};
      case 13:
        return {"RPOP", key(), number()};
      case 14:
        return {"HSET", key(), "f" + number(), word()};
      case 15:
        return {"HGETALL", key()};
      case 16:
        return {"ZADD", key(), number(), "m" + number()};
      case 17:
        return {"ZRANGE", key(), "0", "-1", "WITHSCORES"};
      case 18:
        return {"SADD", key(), number()};
      case 19:
        return {"SMEMBERS", key()};
      case 20:
        return {"XADD", key(), std::to_string(1 + roll(9)) + "-1", "f", word()};
      case 21:
        return {"XRANGE", key(), "-", "+"};
      case 22:
        return {"TYPE", key()};
      case 23:
        return {"RENAME", key(), key()};
      case 24:
        return {"EXPIRE", key(), "1000"};
      case 25:
        return {"PERSIST", key()};
      case 26:
        return {"EVAL", "return {redis.call('TYPE',KEYS[1]),ARGV[1],false,3}", "1", key(), word()};
      case 27:
        return {"EVAL", "return redis.call('GET',KEYS[1])", "1", key()};
      case 28:
      case 29:
        in_multi_ = true;
        return {"MULTI"};
      case 30:
      case 31:
      case 32:
        in_multi_ = false;
        return {"EXEC"};
      case 33:
        in_multi_ = false;
        return {"DISCARD"};
      case 34:
        return {"WATCH", key()};
      case 35:
        return {"SELECT", std::to_string(roll(3))};
      case 36:
        return {"BLPOP", key(), key(), "0.01"};
      case 37:
        return {"SUBSCRIBE", key()};
      case 38:
        return {"UNSUBSCRIBE"};
      case 39:
        return {"PUBLISH", key(), word()};
      case 40:
        return {"HELLO", roll(2) == 0 ? "2" : "3"};
      case 41:
        // Inside MULTI sluice refuses them: EXEC would cut its own reply off in the middle.
        return in_multi_ ? Args{"PING"} : Args{"CLIENT", "REPLY", roll(3) == 0 ? "OFF" : roll(2) == 0 ? "SKIP" : "ON"};
      case 42:
        return in_multi_ ? Args{"PING"} : Args{"CLIENT", "REPLY", "ON"};
      case 43:
        in_multi_ = false;
        return {"RESET"};
      case 44:
        return {"NOSUCH" + number(), word()};
      default:
        return {"PING", word()};
    }
  }

  std::mt19937 random_;
  bool in_multi_ = false;
};

// SLUICE_TRIALS streams, by default as many as a minute of a slow machine allows.
unsigned chosen_trials(unsigned usual) {
  const char* given = std::getenv("SLUICE_TRIALS");
  return given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : usual;
}

TEST(Differential, RandomStreamsCutAnywhereAreAnsweredAsByRedis) {
  SettledRig rig(kFruitSchema, kFruitPolicy);
  const unsigned seed = chosen_seed();
  const unsigned trials = chosen_trials(1500);
  for (unsigned round = 0; round < trials; ++round) {
    Generator generator(seed + round);
    const std::string bytes = generator.stream(5 + generator.roll(60));
    SCOPED_TRACE("SLUICE_SEED=" + std::to_string(seed + round) +
                 " makes this the first round: " + testing::PrintToString(bytes.substr(0, 3000)));
    const std::string direct = exchange(rig.redis, rig.redis.tcp(), bytes, generator.cuts(bytes.size()));
    const std::string digest = rig.redis.run({"DEBUG", "DIGEST"});
    std::string proxied;
    try {
      proxied = exchange(rig.redis, rig.sluice.tcp(), bytes, generator.cuts(bytes.size()));
    } catch (const std::exception& error) {
      proxied = error.what();
    }
    ASSERT_EQ(first_difference(direct, proxied), "");
    ASSERT_EQ(rig.redis.run({"DEBUG", "DIGEST"}), digest);
  }
}

// What several clients say by turns: each waits for its answers, so that their order is certain.
struct Turn {
  std::size_t client;
  std::size_t replies;
  std::string bytes;
  std::vector<std::size_t> cuts;
};

constexpr std::size_t kTalkers = 4;

std::vector<Turn> conversation(Generator& generator) {
  std::vector<Turn> turns;
  for (std::size_t i = 3 + generator.roll(20); i > 0; --i) {
    Turn turn{generator.roll(kTalkers), 1 + generator.roll(8), {}, {}};
    turn.bytes = generator.polite_stream(turn.replies);
    turn.cuts = generator.cuts(turn.bytes.size());
    turns.push_back(std::move(turn));
  }
  return turns;
}

std::vector<std::string> converse(RedisServer& redis, const Address& address, const std::vector<Turn>& turns) {
  Client direct(redis.tcp());
  EXPECT_EQ(direct.run({"FLUSHALL"}), "OK");
  std::vector<std::unique_ptr<Connection>> clients;
  for (std::size_t i = 0; i < kTalkers; ++i) clients.push_back(std::make_unique<Connection>(address));
  std::vector<std::string> heard;
  for (const Turn& turn : turns) {
    Connection& client = *clients[turn.client];
    std::string_view rest = turn.bytes;
    for (const std::size_t cut : turn.cuts) {
      client.send(rest.substr(0, cut));
      rest.remove_prefix(std::min(cut, rest.size()));
    }
    client.send(rest);
    heard.push_back(without_connection_id(client.read_replies(turn.replies)));
  }
  return heard;
}

TEST(Differential, ClientsThatSpeakByTurnsHearWhatRedisWouldTellEachOfThem) {
  SettledRig rig(kFruitSchema, kFruitPolicy);
  EXPECT_EQ(rig.redis.run({"ACL", "SETUSER", "bob", "on", ">pw", "~k*", "&*", "+@all", "-@dangerous"}), "OK");
  const unsigned seed = chosen_seed();
  const unsigned trials = chosen_trials(700);
  for (unsigned round = 0; round < trials; ++round) {
    Generator generator(seed + round);
    const std::vector<Turn> turns = conversation(generator);
    const std::vector<std::string> direct = converse(rig.redis, rig.redis.tcp(), turns);
    const std::string digest = rig.redis.run({"DEBUG", "DIGEST"});
    const std::vector<std::string> proxied = converse(rig.redis, rig.sluice.tcp(), turns);
    for (std::size_t i = 0; i < turns.size(); ++i) {
      SCOPED_TRACE("SLUICE_SEED=" + std::to_string(seed + round) + " makes this the first round; turn " +
                   std::to_string(i) + " of client " + std::to_string(turns[i].client) + ": " +
                   testing::PrintToString(turns[i].bytes.substr(0, 3000)));
      ASSERT_EQ(first_difference(direct[i], proxied[i]), "");
    }
    ASSERT_EQ(rig.redis.run({"DEBUG", "DIGEST"}), digest);
  }
}

}  // namespace
}  // namespace sluice::live

// Tests against a real redis-server: the command table, the key positions, and what it makes of odd and random bytes.
#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parsed_commands.h"
#include "redis_server.h"
#include "resp/command_table.h"
#include "resp/encode.h"

namespace sluice::resp {
namespace {

using namespace std::string_view_literals;
using Words = std::vector<std::string>;

class RedisAgreement : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = new RedisServer(); }
  static void TearDownTestSuite() { delete server_; }

  Reply ask(const Words& words) {
    std::vector<const char*> args;
    std::vector<std::size_t> sizes;
    for (const std::string& word : words) {
      args.push_back(word.data());
      sizes.push_back(word.size());
    }
    auto* const reply = static_cast<redisReply*>(
        redisCommandArgv(connection_.get(), static_cast<int>(args.size()), args.data(), sizes.data()));
    if (reply == nullptr) throw std::runtime_error(connection_->errstr);
    Reply copy = to_reply(*reply);
    freeReplyObject(reply);
    return copy;
  }

  static RedisServer* server_;
  std::unique_ptr<redisContext, decltype(&redisFree)> connection_ = server_->connect();
};

RedisServer* RedisAgreement::server_ = nullptr;

std::set<std::string> texts_of(const Reply& array) {
  std::set<std::string> texts;
  for (const Reply& item : array.items) texts.insert(item.text);
  return texts;
}

// The flags of an entry of COMMAND, its subcommands' included.
std::set<std::string> flags_of(const Reply& entry) {
  std::set<std::string> flags = texts_of(entry.items[2]);
  flags.merge(texts_of(entry.items[6]));
  for (const Reply& subcommand : entry.items[9].items) {
    if (subcommand.items[0].text.ends_with("|help")) continue;
    flags.merge(flags_of(subcommand));
    if (subcommand.items[3].integer > 0) flags.insert("movablekeys");
  }
  if (flags.contains("write")) flags.erase("readonly");
  if (entry.items[0].text == "wait") flags.insert("blocking");
  return flags;
}

TEST_F(RedisAgreement, OnEveryCommand) {
  const std::map<std::string, std::uint32_t> names{{"write", flag::write},
                                                   {"readonly", flag::readonly},
                                                   {"blocking", flag::blocking},
                                                   {"pubsub", flag::pubsub},
                                                   {"admin", flag::admin},
                                                   {"no_auth", flag::no_auth},
                                                   {"movablekeys", flag::movable_keys},
                                                   {"@connection", flag::connection},
                                                   {"@transaction", flag::transaction},
                                                   {"@scripting", flag::scripting}};
  const Reply commands = ask({"COMMAND"});
  EXPECT_EQ(commands.items.size(), static_cast<std::size_t>(CommandId::count));
  for (const Reply& entry : commands.items) {
    const CommandInfo* const info = find_command(entry.items[0].text);
    ASSERT_NE(info, nullptr) << entry.items[0].text;
    EXPECT_EQ(info->arity, entry.items[1].integer) << info->name;
    EXPECT_EQ(info->first_key, entry.items[3].integer) << info->name;
    EXPECT_EQ(info->last_key, entry.items[4].integer) << info->name;
    EXPECT_EQ(info->key_step, entry.items[5].integer) << info->name;
    const std::set<std::string> flags = flags_of(entry);
    for (const auto& [name, bit] : names) EXPECT_EQ(info->has(bit), flags.contains(name)) << info->name << ' ' << name;
  }
}

Words keys_of(const Words& words) {
  const std::vector<std::string_view> args(words.begin(), words.end());
  std::vector<std::uint32_t> found;
  find_keys(*find_command(words[0]), Command{.wire = {}, .args = args}, found);
  Words keys;
  for (const std::uint32_t at : found) keys.push_back(words[at]);
  return keys;
}

TEST_F(RedisAgreement, OnTheKeysOfEveryCommandWithFixedOnes) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(CommandId::count); ++i) {
    const CommandInfo& info = command_info(static_cast<CommandId>(i));
    if (info.has(flag::movable_keys) || info.first_key == 0) continue;
    // PFMERGE may have a destination only, but then its key positions say otherwise.
    for (std::size_t count = info.id == CommandId::pfmerge ? 3 : 2; count < 9; ++count) {
      Words words{std::string(info.name)};
      for (std::size_t arg = 1; arg < count; ++arg) words.push_back("arg" + std::to_string(arg));
      Words question{"COMMAND", "GETKEYS"};
      question.insert(question.end(), words.begin(), words.end());
      const Reply answer = ask(question);
      Words expected;
      for (const Reply& key : answer.items) expected.push_back(key.text);
      EXPECT_EQ(keys_of(words), expected) << testing::PrintToString(words) << answer.text;
    }
  }
}

TEST_F(RedisAgreement, OnTheKeysOfCommandsWithMovableOnes) {
  for (const char* line : {
           "EVAL s 2 a b c",
           "EVAL s 0",
           "EVAL s 0 x",
           "EVAL s 3 a b",
           "EVAL s x a",
           "EVALSHA s 1 a",
           "EVAL_RO s 1 a x",
           "EVALSHA_RO s 1 a",
           "FCALL f 2 a b",
           "FCALL_RO f 1 a",
           "FCALL f -1 a",
           "LMPOP 2 a b LEFT",
           "LMPOP 5 a LEFT",
           "ZMPOP 1 a MIN",
           "BLMPOP 0 2 a b LEFT COUNT 1",
           "BZMPOP 0 1 a MAX",
           "SINTERCARD 2 a b LIMIT 1",
           "ZINTERCARD 2 a b",
           "ZDIFF 2 a b WITHSCORES",
           "ZINTER 1 a",
           "ZUNION 2 a b",
           "ZDIFFSTORE d 2 a b",
           "ZINTERSTORE d 1 a AGGREGATE MAX",
           "ZUNIONSTORE d 2 a b WEIGHTS 1 2",
           "ZUNIONSTORE d 3 a b",
           "ZUNIONSTORE d x a",
           "XREAD STREAMS a 0",
           "XREAD COUNT 1 BLOCK 5 STREAMS a b 0 0",
           "XREAD block 5 streams a b c 0 0 0",
           "XREADGROUP GROUP g c STREAMS a >",
           "XREADGROUP GROUP g c NOACK COUNT 5 STREAMS a b > >",
           "XREADGROUP GROUP g c COUNT 5 NOACK a >",
           "SORT a",
           "SORT a LIMIT 0 1 ALPHA",
           "SORT a BY w_* GET # GET o_* STORE d",
           "SORT a STORE x STORE d",
           "SORT a DESC store d",
           "SORT_RO a BY w_* LIMIT 0 5",
           "GEORADIUS a 1 2 3 km",
           "GEORADIUS a 1 2 3 km STORE d",
           "GEORADIUS a 1 2 3 km COUNT 1 ASC STOREDIST d",
           "GEORADIUSBYMEMBER a m 3 km WITHDIST STORE d",
           "MIGRATE h 1 a 0 5",
           "MIGRATE h 1 a 0 5 COPY REPLACE",
           "MIGRATE h 1 a 0 5 AUTH2 u p",
           "XGROUP CREATE s g $",
           "XGROUP SETID s g 0",
           "XGROUP DESTROY s g",
           "XGROUP CREATECONSUMER s g c",
           "XGROUP DELCONSUMER s g c",
           "XGROUP HELP",
           "XINFO STREAM s FULL",
           "XINFO GROUPS s",
           "XINFO CONSUMERS s g",
           "OBJECT ENCODING a",
           "OBJECT FREQ a",
           "OBJECT IDLETIME a",
           "OBJECT REFCOUNT a",
           "OBJECT HELP",
           "MEMORY USAGE a",
           "MEMORY USAGE a SAMPLES 5",
           "MEMORY STATS",
           "PUBSUB CHANNELS a",
           "CONFIG GET a",
           "SET a 1 GET",
           "BITFIELD a GET u8 0",
           "COPY a b REPLACE",
           "LCS a b IDX",
           "RENAME a b",
           "SMOVE a b m",
       }) {
    std::istringstream stream(line);
    const Words words{std::istream_iterator<std::string>(stream), {}};
    Words question{"COMMAND", "GETKEYS"};
    question.insert(question.end(), words.begin(), words.end());
    const Reply answer = ask(question);
    Words expected;
    for (const Reply& key : answer.items) expected.push_back(key.text);
    EXPECT_EQ(keys_of(words), expected) << line << ": " << answer.text;
  }
}

std::string own_answer_to_error(std::string_view bytes, CommandLimits limits = {}) {
  std::string answer;
  const std::string error = parse_commands(bytes, bytes.size(), limits).error;
  if (!error.empty()) append_error(answer, "ERR " + error);
  return answer;
}

TEST_F(RedisAgreement, OnProtocolErrors) {
  const std::string digits(65537, '1');
  for (const std::string& bytes : Words{"*x\r\n",
                                        "*\r\n",
                                        "*+1\r\n",
                                        "*01\r\n",
                                        "*-0\r\n",
                                        "*1 \r\n",
                                        "*2147483648\r\n",
                                        "*99999999999999999999\r\n",
                                        "*1\r\n$-1\r\n",
                                        "*1\r\n$\r\n",
                                        "*1\r\n$+1\r\n",
                                        "*1\r\n$01\r\n",
                                        "*1\r\n$536870913\r\n",
                                        "*1\r\n$9223372036854775808\r\n",
                                        "*1\r\n:1\r\n",
                                        "*1\r\nPING\r\n",
                                        "*1\r\n\r\n",
                                        "*1\r\n\n\r\n",
                                        "*1\r\n*1\r\n",
                                        "*2\r\n$1\r\na\r\n%1\r\n",
                                        "*1\r\n\xff\r\n",
                                        "\"abc\r\n",
                                        "'abc\r\n",
                                        "\"abc\"d\r\n",
                                        "a \"\\x4\"\"\r\n",
                                        digits,
                                        "*" + digits,
                                        "*1\r\n$" + digits,
                                        "*1\r\n" + digits}) {
    EXPECT_NE(own_answer_to_error(bytes), "") << bytes.substr(0, 50);
    EXPECT_EQ(own_answer_to_error(bytes), server_->answer_to(bytes)) << bytes.substr(0, 50);
  }
}

TEST(RedisAgreementBeforeAuth, OnProtocolErrors) {
  const RedisServer server({"--requirepass", "secret"});
  for (const std::string bytes : {"*10\r\n", "*11\r\n", "*2147483648\r\n", "*1\r\n$16384\r\n", "*1\r\n$16385\r\n",
                                  "*1\r\n$536870913\r\n", "*1\r\nx\r\n"})
    EXPECT_EQ(own_answer_to_error(bytes, {.authenticated = false}), server.answer_to(bytes)) << bytes;
}

std::string up_to_nul(std::string_view text, std::size_t limit) {
  text = text.substr(0, limit);
  return std::string(text.substr(0, text.find('\0')));
}

// What Redis answers to a command it does not know tells how it has read it.
void append_unknown_command(std::string& out, const Words& args) {
  const std::string text = "ERR unknown command '" + up_to_nul(args[0], 128) + "', with args beginning with: ";
  std::string shown;
  for (std::size_t i = 1; i < args.size() && shown.size() < 128; ++i)
    shown += "'" + up_to_nul(args[i], 128 - shown.size()) + "' ";
  append_error(out, text + shown);
}

std::string own_answer_to(const ParsedCommands& parsed) {
  std::string answer;
  for (const ParsedCommands::One& one : parsed.commands) append_unknown_command(answer, one.args);
  if (!parsed.error.empty()) append_error(answer, "ERR " + parsed.error);
  return answer;
}

// Streams of commands that Redis does not know, some with a few bytes changed.
class RandomStreams {
 public:
  explicit RandomStreams(unsigned seed) : random_(seed) {}

  std::string next() {
    std::string stream;
    for (unsigned i = below(4); i < 5; ++i) below(3) == 0 ? append_line(stream) : append_array(stream);
    for (unsigned changes = below(4); changes > 0; --changes) change(stream);
    return stream;
  }

 private:
  unsigned below(unsigned limit) { return std::uniform_int_distribution<unsigned>(0, limit - 1)(random_); }

  char odd_byte() {
    static constexpr std::string_view kBytes = "\r\n\0\"'\\ \t\v$*-+0123456789xxAf\xff"sv;
    return kBytes[below(kBytes.size())];
  }

  std::string word(unsigned limit) {
    std::string bytes(below(limit), 'q');
    for (char& c : bytes) c = odd_byte();
    return bytes;
  }

  void append_array(std::string& out) {
    Words args{"q" + word(3)};
    for (unsigned i = below(13); i > 1; --i) args.push_back(word(10));
    append_command(out, std::span<const std::string>(args));
  }

  void append_line(std::string& out) { out += "q " + word(20) + (below(2) == 0 ? "\r\n" : "\n"); }

  void change(std::string& stream) {
    const unsigned at = below(static_cast<unsigned>(stream.size()));
    switch (below(3)) {
      case 0:
        stream[at] = odd_byte();
        break;
      case 1:
        stream.erase(at, 1);
        break;
      default:
        stream.insert(at, 1, odd_byte());
    }
  }

  std::mt19937 random_;
};

TEST_F(RedisAgreement, OnRandomStreams) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  RandomStreams random(seed);
  for (int round = 0; round < 3000; ++round) {
    const std::string stream = random.next();
    const ParsedCommands parsed = parse_commands(stream, stream.size());
    ASSERT_EQ(parsed, parse_commands(stream, 1 + round % 7)) << testing::PrintToString(stream);
    ASSERT_EQ(own_answer_to(parsed), server_->answer_to(stream)) << "round " << round << testing::PrintToString(stream);
  }
}

}  // namespace
}  // namespace sluice::resp

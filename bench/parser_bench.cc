// Benchmarks of resp: parsing pipelines of commands, framing pipelines of replies, finding commands.
#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>

#include "resp/command_parser.h"
#include "resp/command_table.h"
#include "resp/encode.h"
#include "resp/reply_framer.h"

namespace sluice::resp {
namespace {

constexpr int kPipelined = 64;

template <typename... Args>
std::string pipeline_of(Args... args) {
  const std::array<std::string_view, sizeof...(args)> words{args...};
  std::string stream;
  for (int i = 0; i < kPipelined; ++i) append_command(stream, words);
  return stream;
}

void parse_all(benchmark::State& state, const std::string& stream) {
  CommandParser parser;
  Command command;
  std::size_t commands = 0;
  for (auto _ : state) {
    std::string_view rest = stream;
    while (parser.next(rest, command) == CommandParser::Status::command) {
      benchmark::DoNotOptimize(command.args.data());
      rest.remove_prefix(command.wire.size());
      ++commands;
    }
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(commands));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * stream.size()));
}

void ParseGet(benchmark::State& state) { parse_all(state, pipeline_of("GET", "key:000000012345")); }
BENCHMARK(ParseGet);

void ParseSet64Bytes(benchmark::State& state) {
  parse_all(state, pipeline_of("SET", "key:000000012345", std::string(64, 'x')));
}
BENCHMARK(ParseSet64Bytes);

void ParseSet64KiB(benchmark::State& state) {
  parse_all(state, pipeline_of("SET", "key:000000012345", std::string(65536, 'x')));
}
BENCHMARK(ParseSet64KiB);

void ParseInlinePing(benchmark::State& state) {
  std::string stream;
  for (int i = 0; i < kPipelined; ++i) stream += "PING\r\n";
  parse_all(state, stream);
}
BENCHMARK(ParseInlinePing);

// One command with very many arguments, in reads of 64 KiB.
void ParseMset100kArgumentsIn64KiBReads(benchmark::State& state) {
  const std::vector<std::string> args(100'000, "argument");
  std::string stream;
  append_command(stream, args);
  CommandParser parser;
  Command command;
  for (auto _ : state) {
    std::size_t size = 0;
    do {
      size = std::min(size + 65536, stream.size());
    } while (parser.next(std::string_view(stream).substr(0, size), command) == CommandParser::Status::incomplete);
    benchmark::DoNotOptimize(command.args.data());
  }
  state.SetItemsProcessed(state.iterations() * 100'000);
}
BENCHMARK(ParseMset100kArgumentsIn64KiBReads)->Unit(benchmark::kMicrosecond);

// `read` bytes at a time, 0 = the whole pipeline.
void frame_all(benchmark::State& state, const std::string& reply, std::size_t read = 0) {
  std::string stream;
  for (int i = 0; i < kPipelined; ++i) stream += reply;
  if (read == 0) read = stream.size();
  ReplyFramer framer;
  std::size_t replies = 0;
  for (auto _ : state) {
    for (std::string_view unread = stream; !unread.empty(); unread.remove_prefix(std::min(read, unread.size()))) {
      std::string_view rest = unread.substr(0, read);
      while (!rest.empty()) {
        const ReplyFramer::Progress progress = framer.feed(rest);
        benchmark::DoNotOptimize(progress);
        rest.remove_prefix(progress.size);
        replies += progress.status == ReplyFramer::Status::complete ? 1 : 0;
      }
    }
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(replies));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * stream.size()));
}

std::string bulk(std::size_t size) {
  std::string reply;
  append_bulk(reply, std::string(size, 'x'));
  return reply;
}

void FrameOk(benchmark::State& state) { frame_all(state, "+OK\r\n"); }
BENCHMARK(FrameOk);

void FrameInteger(benchmark::State& state) { frame_all(state, ":1234567\r\n"); }
BENCHMARK(FrameInteger);

void FrameNull(benchmark::State& state) { frame_all(state, "$-1\r\n"); }
BENCHMARK(FrameNull);

void FrameBulk64Bytes(benchmark::State& state) { frame_all(state, bulk(64)); }
BENCHMARK(FrameBulk64Bytes);

void FrameBulk64KiBIn16KiBReads(benchmark::State& state) { frame_all(state, bulk(65536), 16384); }
BENCHMARK(FrameBulk64KiBIn16KiBReads);

void FrameArrayOf100Bulks(benchmark::State& state) {
  std::string reply;
  append_array_header(reply, 100);
  for (int i = 0; i < 100; ++i) reply += bulk(16);
  frame_all(state, reply);
}
BENCHMARK(FrameArrayOf100Bulks);

void FindCommand(benchmark::State& state) {
  const std::array<std::string_view, 8> names{"GET",           "set",    "HGETALL", "MGET",
                                              "zrangebyscore", "EXPIRE", "incr",    "XADD"};
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(find_command(names[i++ % names.size()]));
}
BENCHMARK(FindCommand);

void FindKeysOfMset(benchmark::State& state) {
  const std::vector<std::string_view> args(21, "word");
  const Command command{.wire = {}, .args = args};
  std::vector<std::uint32_t> keys;
  for (auto _ : state) {
    find_keys(command_info(CommandId::mset), command, keys);
    benchmark::DoNotOptimize(keys.data());
  }
}
BENCHMARK(FindKeysOfMset);

}  // namespace
}  // namespace sluice::resp

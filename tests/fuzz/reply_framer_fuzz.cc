// Fuzz target: ReplyFramer finds the same replies however the bytes arrive, and those that hiredis finds.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <hiredis/hiredis.h>

#include "resp/reply_framer.h"

namespace {

using sluice::resp::ReplyFramer;

void require(bool truth) {
  if (!truth) std::abort();
}

struct Outcome {
  std::vector<std::size_t> sizes;
  std::string facts;  // what the framer tells of each reply
  bool malformed = false;
  bool operator==(const Outcome&) const = default;
};

// Feeds `stream` in pieces, each with nothing readable behind it.
Outcome frame(std::string_view stream, std::size_t piece) {
  Outcome outcome;
  ReplyFramer framer;
  std::size_t size = 0;
  while (!stream.empty()) {
    const std::string_view head = stream.substr(0, piece);
    const std::vector<char> input(head.begin(), head.end());
    const ReplyFramer::Progress progress = framer.feed({input.data(), input.size()});
    require(progress.size <= input.size());
    stream.remove_prefix(progress.size);
    size += progress.size;
    if (progress.status == ReplyFramer::Status::malformed) {
      outcome.malformed = true;
      break;
    }
    if (progress.status == ReplyFramer::Status::more) {
      require(progress.size == input.size());
      continue;
    }
    require(framer.idle() && framer.header_done() && framer.type() != '\0');
    outcome.sizes.push_back(size);
    outcome.facts += framer.type();
    outcome.facts += framer.is_null() ? 'n' : framer.is_empty() ? 'e' : '.';
    size = 0;
  }
  return outcome;
}

// hiredis says which replies it finds, byte by byte, until it finds a mistake.
Outcome frame_by_hiredis(std::string_view stream) {
  Outcome outcome;
  // Without functions that build replies it allocates nothing for `*2147483647`, and does not judge integers.
  const std::unique_ptr<redisReader, decltype(&redisReaderFree)> reader{redisReaderCreateWithFunctions(nullptr),
                                                                        redisReaderFree};
  std::size_t size = 0;
  for (const char byte : stream) {
    ++size;
    void* reply = nullptr;
    redisReaderFeed(reader.get(), &byte, 1);
    if (redisReaderGetReply(reader.get(), &reply) != REDIS_OK) {
      outcome.malformed = true;
      return outcome;
    }
    if (reply == nullptr) continue;
    outcome.sizes.push_back(size);
    size = 0;
  }
  return outcome;
}

// The replies that both have found before one of them gave up must be the same. hiredis does not check the line end of
// a bulk and goes seven levels deep only; the framer also knows RESP3.
void compare_with_hiredis(const Outcome& ours, std::string_view stream) {
  const Outcome theirs = frame_by_hiredis(stream);
  const std::size_t common = std::min(ours.sizes.size(), theirs.sizes.size());
  for (std::size_t i = 0; i < common; ++i) require(ours.sizes[i] == theirs.sizes[i]);
  require(theirs.malformed || ours.malformed || ours.sizes.size() == theirs.sizes.size());
}

bool fits_hiredis(std::string_view stream) {
  // Its length arithmetic overflows, and it does not know these types.
  return stream.find_first_of("_,#!=(%~>|") == std::string_view::npos &&
         stream.find("99999999999") == std::string_view::npos && stream.find("$9223") == std::string_view::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::size_t piece = 1 + data[0];
  const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = frame(stream, size);
  require(frame(stream, 1) == whole);
  require(frame(stream, piece) == whole);
  if (fits_hiredis(stream)) compare_with_hiredis(whole, stream);
  return 0;
}

// Tests of ReplyFramer against hiredis' reader: both see the same replies in random RESP2 streams.
#include <memory>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <hiredis/hiredis.h>

#include "framed_replies.h"
#include "resp/encode.h"

namespace sluice::resp {
namespace {

class RandomReplies {
 public:
  explicit RandomReplies(unsigned seed) : random_(seed) {}

  unsigned below(unsigned limit) { return std::uniform_int_distribution<unsigned>(0, limit - 1)(random_); }

  // hiredis 0.14 goes seven levels deep.
  void append_reply(std::string& out, int depth = 0) {
    switch (below(depth < 6 ? 8 : 6)) {
      case 0:
        return append_status(out, text(20));
      case 1:
        return append_error(out, text(40));
      case 2:
        return append_integer(out, static_cast<std::int64_t>(random_()));
      case 3:
        return append_nil(out, Version::resp2);
      case 4:
        out += "*-1\r\n";
        return;
      case 5:
        return append_bulk(out, text(below(10) == 0 ? 5000 : 30));
      default:
        append_array(out, depth);
    }
  }

 private:
  void append_array(std::string& out, int depth) {
    const unsigned elements = below(5);
    append_array_header(out, elements);
    for (unsigned i = 0; i < elements; ++i) append_reply(out, depth + 1);
  }

  std::string text(unsigned limit) {
    std::string bytes(below(limit + 1), '\0');
    for (char& c : bytes) c = "\r\n$*:-+0123abc"[below(15)];
    return bytes;
  }

  std::mt19937_64 random_;
};

// Where hiredis finds replies to end, reading them one by one.
std::vector<std::size_t> sizes_by_hiredis(std::string_view stream) {
  std::vector<std::size_t> sizes;
  const std::unique_ptr<redisReader, decltype(&redisReaderFree)> reader{redisReaderCreate(), redisReaderFree};
  std::size_t size = 0;
  for (const char byte : stream) {
    ++size;
    void* reply = nullptr;
    redisReaderFeed(reader.get(), &byte, 1);
    EXPECT_EQ(redisReaderGetReply(reader.get(), &reply), REDIS_OK) << reader->errstr;
    if (reply == nullptr) continue;
    freeReplyObject(reply);
    sizes.push_back(size);
    size = 0;
  }
  return sizes;
}

TEST(ReplyFramerAndHiredis, FindTheSameRepliesInRandomStreams) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  RandomReplies random(seed);
  for (int round = 0; round < 200; ++round) {
    std::string stream;
    for (int i = 0; i < 10; ++i) random.append_reply(stream);
    const std::vector<std::size_t> expected = sizes_by_hiredis(stream);
    ASSERT_EQ(expected.size(), 10U);
    for (const std::size_t piece : {stream.size(), std::size_t{1}, std::size_t{1 + random.below(50)}})
      ASSERT_EQ(sizes_of(frame_replies(stream, piece)), expected) << "round " << round << " piece " << piece;
  }
}

}  // namespace
}  // namespace sluice::resp

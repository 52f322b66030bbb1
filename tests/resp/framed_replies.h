// FramedReplies: what ReplyFramer makes of a stream of bytes that arrives in pieces.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "resp/reply_framer.h"

namespace sluice::resp {

struct FramedReplies {
  struct One {
    std::size_t size = 0;
    char type = '\0';
    bool is_null = false;
    bool is_empty = false;
    bool operator==(const One&) const = default;
  };

  std::vector<One> replies;
  std::size_t rest = 0;  // bytes of a reply that goes on
  bool malformed = false;
  bool operator==(const FramedReplies&) const = default;
};

FramedReplies frame_replies(std::string_view stream, std::size_t piece);

// Only the sizes of the complete replies.
std::vector<std::size_t> sizes_of(const FramedReplies& framed);

}  // namespace sluice::resp

// FramedReplies: see framed_replies.h.
#include "framed_replies.h"

namespace sluice::resp {

FramedReplies frame_replies(std::string_view stream, std::size_t piece) {
  FramedReplies result;
  ReplyFramer framer;
  while (!stream.empty()) {
    const std::string input(stream.substr(0, piece));  // its own memory: reading beyond it is an error
    const ReplyFramer::Progress progress = framer.feed(input);
    stream.remove_prefix(progress.size);
    result.rest += progress.size;
    if (progress.status == ReplyFramer::Status::malformed) {
      result.malformed = true;
      result.rest = 0;  // where it gives up is its own affair
      return result;
    }
    if (progress.status == ReplyFramer::Status::more) continue;
    result.replies.push_back({result.rest, framer.type(), framer.is_null(), framer.is_empty()});
    result.rest = 0;
  }
  return result;
}

std::vector<std::size_t> sizes_of(const FramedReplies& framed) {
  std::vector<std::size_t> sizes;
  for (const FramedReplies::One& one : framed.replies) sizes.push_back(one.size);
  return sizes;
}

}  // namespace sluice::resp

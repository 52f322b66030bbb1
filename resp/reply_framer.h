// ReplyFramer: finds where each RESP2 or RESP3 reply ends in a stream of bytes, without decoding or keeping them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::resp {

// Streaming: every byte is shown once; the caller may pass bytes on before the reply is complete. Nesting of any depth
// costs no memory: only the number of values still to come is kept. An attribute (`|`) belongs to the reply after it.
class ReplyFramer {
 public:
  enum class Status {
    more,       // all of `input` belongs to a reply that goes on
    complete,   // the reply ends after `size` bytes of `input`
    malformed,  // not RESP: the connection is unusable
  };
  struct Progress {
    Status status;
    std::size_t size;  // bytes of `input` that belong to this reply
  };

  // Feeds the bytes that follow those fed before. After `complete`, the next call begins a new reply.
  Progress feed(std::string_view input);

  // About the reply in progress, or the one just completed. Attributes are looked through.
  char type() const;        // its first byte, '\0' while unknown: + - : $ * _ , # ! = ( % ~ >
  bool is_push() const;     // `>`: answers no command
  bool is_error() const;    // `-` or `!`
  bool is_null() const;     // `$-1`, `*-1`, `_`
  bool is_empty() const;    // `*0`, `%0`, `~0`, `$0`
  bool header_done() const; // the first line of the reply proper was seen: the four above are final
  bool idle() const;        // between replies
};

}  // namespace sluice::resp

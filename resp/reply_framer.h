// ReplyFramer: finds where each RESP2 or RESP3 reply ends in a stream of bytes, without decoding or keeping them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::resp {

// Streaming: every byte is shown once; the caller may pass bytes on before the reply is complete. Nesting of any depth
// costs no memory: only the number of values still to come is kept. An attribute (`|`) belongs to the reply after it.
// A push inside a reply belongs to it and is none of its elements: Redis before 7.2 writes what a client tells itself
// where the reply in progress happens to be (MULTI, PUBLISH, EXEC). The confirmation of a SUBSCRIBE inside MULTI, which
// is an element of EXEC's reply, cannot be told from it: such a reply is not to be framed.
// Checks what decides where a reply ends: types, lengths, line ends. Streamed types (`$?`, `*?`) are malformed.
class ReplyFramer {
 public:
  enum class Status {
    more,       // all of `input` belongs to a reply that goes on
    complete,   // the reply ends after `size` bytes of `input`
    malformed,  // not RESP: the connection is unusable. Final
  };
  struct Progress {
    Status status;
    std::size_t size;  // bytes of `input` that belong to this reply
  };

  // Feeds the bytes that follow those fed before. After `complete`, the next call begins a new reply.
  Progress feed(std::string_view input);

  // About the reply in progress, or the one just completed. Attributes are looked through.
  char type() const { return type_; }            // its first byte, '\0' while unknown: +-:$*_,#!=(%~>
  bool is_push() const { return type_ == '>'; }  // answers no command
  bool is_error() const { return type_ == '-' || type_ == '!'; }
  bool is_null() const { return type_ == '_' || size_ == -1; }  // `$-1`, `*-1`, `_`
  bool is_empty() const;                                        // `*0`, `%0`, `~0`, `$0`
  bool header_done() const { return header_done_; }  // the first line of the reply proper was seen: the above are final
  bool idle() const { return values_left_ == 0; }    // between replies

 private:
  // What the next byte is part of.
  enum class State : std::uint8_t { value, line, length, length_end, bulk, bulk_cr, bulk_lf, malformed };

  const char* whole_bulk(const char* p, const char* end);
  void begin_reply();
  void begin_value(char type);
  const char* whole_value(const char* p, const char* end);
  const char* advance(const char* p, const char* end);
  const char* advance_line(const char* p, const char* end);
  const char* advance_length(const char* p, const char* end);
  const char* advance_bulk(const char* p, const char* end);
  void start_value(char type);
  void add_digit(char c);
  void end_length();
  void end_aggregate_header(std::int64_t size);
  bool stands_for_nothing() const;
  void note_size(std::int64_t size);
  bool add_values(std::uint64_t count);
  void end_value();

  State state_ = State::value;
  char type_ = '\0';
  char value_type_ = '\0';  // of the value being read, which may be an element of the reply or of an attribute
  bool proper_ = false;     // the value being read is the reply proper, at its header
  bool header_done_ = false;
  bool cr_seen_ = false;  // the last byte of the line so far is a CR
  bool negative_ = false;
  bool digit_seen_ = false;
  std::int64_t number_ = 0;  // the length being read; then bytes of the bulk still to come
  std::int64_t size_ = 1;    // of the reply proper, when it has one
  std::uint64_t values_left_ = 0;
};

}  // namespace sluice::resp

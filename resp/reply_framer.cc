// ReplyFramer: finds where each reply ends. Values that lie wholly in the input take the short way (whole_value);
// the rest goes through a state machine that can stop at any byte (advance).
#include "resp/reply_framer.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "resp/integer.h"

namespace sluice::resp {
namespace {

// Far above anything Redis sends, far below overflow.
constexpr std::int64_t kBulkBytesMax = std::int64_t{1} << 62;
constexpr std::int64_t kElementsMax = std::int64_t{1} << 32;
constexpr std::uint64_t kValuesMax = std::uint64_t{1} << 62;

enum class Kind : std::uint8_t { unknown, line, bulk, aggregate };

constexpr std::array<Kind, 256> kKinds = [] {
  std::array<Kind, 256> kinds{};
  for (const unsigned char c : std::string_view("+-:_,#(")) kinds[c] = Kind::line;
  for (const unsigned char c : std::string_view("$!=")) kinds[c] = Kind::bulk;
  for (const unsigned char c : std::string_view("*%~>|")) kinds[c] = Kind::aggregate;
  return kinds;
}();

inline Kind kind_of(char type) { return kKinds[static_cast<unsigned char>(type)]; }

bool may_be_null(char type) { return type == '$' || type == '*'; }

inline bool ends_line(const char* p) { return p[0] == '\r' && p[1] == '\n'; }

inline const char* read_length_line(const char* p, const char* end, std::int64_t& length) {
  const char* const next = read_usual_length(p, end, length);
  return next != nullptr && next[-1] == '\n' ? next : nullptr;
}

// What follows the line that begins at p, nullptr when it does not end here.
inline const char* after_line(const char* p, const char* end) {
  // Most lines are numbers: a short loop beats a call.
  for (const char* const near = p + std::min<std::ptrdiff_t>(end - p, 16); p < near; ++p)
    if (*p == '\n' && p[-1] == '\r') return p + 1;
  while (p < end) {
    p = static_cast<const char*>(std::memchr(p, '\n', end - p));
    if (p == nullptr) return nullptr;
    if (p[-1] == '\r') return p + 1;
    ++p;
  }
  return nullptr;
}

// What follows the bulk whose length begins at p (-1 for null), nullptr when it does not end here.
inline const char* after_bulk(const char* p, const char* end, std::int64_t& size) {
  const char* const bulk = read_length_line(p, end, size);
  if (bulk != nullptr) return end - bulk >= size + 2 && ends_line(bulk + size) ? bulk + size + 2 : nullptr;
  if (end - p < 4 || std::memcmp(p, "-1\r\n", 4) != 0) return nullptr;
  size = -1;
  return p + 4;
}

}  // namespace

bool ReplyFramer::is_empty() const {
  return size_ == 0 && (type_ == '$' || type_ == '*' || type_ == '%' || type_ == '~');
}

ReplyFramer::Progress ReplyFramer::feed(std::string_view input) {
  const char* const begin = input.data();
  const char* const end = begin + input.size();
  if (values_left_ == 0 && !input.empty()) {
    if (const char* const next = whole_bulk(begin, end))
      return {Status::complete, static_cast<std::size_t>(next - begin)};
    begin_reply();
  }
  const char* p = begin;
  while (p != end && state_ != State::malformed) {
    const char* const next = state_ == State::value ? whole_value(p, end) : nullptr;
    p = next != nullptr ? next : advance(p, end);
    if (values_left_ == 0) return {Status::complete, static_cast<std::size_t>(p - begin)};
  }
  return {state_ == State::malformed ? Status::malformed : Status::more, static_cast<std::size_t>(p - begin)};
}

// Most replies: a bulk string that lies wholly in the input. nullptr, and nothing done, for all others.
inline const char* ReplyFramer::whole_bulk(const char* p, const char* end) {
  std::int64_t size = 0;
  const char* const bulk = *p == '$' && state_ == State::value ? read_length_line(p + 1, end, size) : nullptr;
  if (bulk == nullptr || end - bulk < size + 2 || !ends_line(bulk + size)) return nullptr;
  type_ = '$';
  header_done_ = true;
  size_ = size;
  return bulk + size + 2;
}

void ReplyFramer::begin_reply() {
  values_left_ = 1;
  type_ = '\0';
  header_done_ = false;
  size_ = 1;
}

// At the first byte of a value. The reply proper is the first outermost value that is no attribute.
inline void ReplyFramer::begin_value(char type) {
  value_type_ = type;
  if (type_ != '\0' || values_left_ != 1 || type == '|') return;
  type_ = type;
  proper_ = true;
}

// Reads one value (of an aggregate: its header) that lies wholly in the input, in its usual form, and returns what
// follows it. nullptr when it does not; the value is then still to be read.
const char* ReplyFramer::whole_value(const char* p, const char* end) {
  const char* next = nullptr;
  std::int64_t size = 0;
  switch (kind_of(*p)) {
    case Kind::unknown:
      break;
    case Kind::line:
      next = after_line(p + 1, end);
      if (next == nullptr) break;
      begin_value(*p);
      end_value();
      break;
    case Kind::bulk:
      next = after_bulk(p + 1, end, size);
      if (next == nullptr || (size < 0 && *p != '$')) return nullptr;
      begin_value(*p);
      note_size(size);
      end_value();
      break;
    case Kind::aggregate:
      next = read_length_line(p + 1, end, size);
      if (next == nullptr) break;
      begin_value(*p);
      end_aggregate_header(size);
      break;
  }
  return next;
}

const char* ReplyFramer::advance(const char* p, const char* end) {
  switch (state_) {
    case State::value:
      start_value(*p);
      return p + 1;
    case State::line:
      return advance_line(p, end);
    case State::length:
      return advance_length(p, end);
    case State::length_end:
      if (*p == '\n') {
        end_length();
      } else {
        state_ = State::malformed;
      }
      return p + 1;
    case State::bulk:
      return advance_bulk(p, end);
    case State::bulk_cr:
      state_ = *p == '\r' ? State::bulk_lf : State::malformed;
      return p + 1;
    case State::bulk_lf:
      if (*p == '\n') {
        end_value();
      } else {
        state_ = State::malformed;
      }
      return p + 1;
    case State::malformed:
      break;
  }
  return end;
}

void ReplyFramer::start_value(char type) {
  number_ = 0;
  negative_ = digit_seen_ = cr_seen_ = false;
  if (kind_of(type) == Kind::unknown) {
    state_ = State::malformed;
    return;
  }
  begin_value(type);
  state_ = kind_of(type) == Kind::line ? State::line : State::length;
}

const char* ReplyFramer::advance_line(const char* p, const char* end) {
  if (cr_seen_ && *p == '\n') {
    end_value();
    return p + 1;
  }
  const char* const next = after_line(p + 1, end);
  if (next != nullptr) {
    end_value();
    return next;
  }
  cr_seen_ = end[-1] == '\r';
  return end;
}

const char* ReplyFramer::advance_length(const char* p, const char* end) {
  while (p != end && state_ == State::length) {
    if (*p == '\r' && digit_seen_) {
      state_ = State::length_end;
    } else {
      add_digit(*p);
    }
    ++p;
  }
  return p;
}

// Lengths have no leading zeros; -1, the null of RESP2, is the only negative one.
void ReplyFramer::add_digit(char c) {
  const bool first = !digit_seen_ && !negative_;
  if (c == '-' && first && may_be_null(value_type_)) {
    negative_ = true;
    return;
  }
  const bool leading_zero = digit_seen_ && number_ == 0;
  const bool good =
      digit(c) <= 9 && !leading_zero && (!negative_ || (c == '1' && !digit_seen_)) && number_ <= kBulkBytesMax / 10 - 1;
  if (!good) {
    state_ = State::malformed;
    return;
  }
  number_ = number_ * 10 + digit(c);
  digit_seen_ = true;
}

const char* ReplyFramer::advance_bulk(const char* p, const char* end) {
  const std::int64_t step = std::min<std::int64_t>(number_, end - p);
  number_ -= step;
  if (number_ == 0) state_ = State::bulk_cr;
  return p + step;
}

// The length line of the value is complete.
void ReplyFramer::end_length() {
  const std::int64_t size = negative_ ? -1 : number_;
  if (kind_of(value_type_) == Kind::aggregate) {
    end_aggregate_header(size);
    return;
  }
  note_size(size);
  if (size < 0) {
    end_value();
  } else {
    state_ = size > 0 ? State::bulk : State::bulk_cr;
  }
}

void ReplyFramer::end_aggregate_header(std::int64_t size) {
  const std::uint64_t per_element = value_type_ == '%' || value_type_ == '|' ? 2 : 1;
  if (size > kElementsMax || (size > 0 && !add_values(size * per_element))) {
    state_ = State::malformed;
  } else if (stands_for_nothing()) {
    state_ = State::value;  // the value in whose place it came is still to come
  } else {
    note_size(size);
    end_value();
  }
}

// Of the aggregate being read: an attribute, or a push inside a reply.
bool ReplyFramer::stands_for_nothing() const { return value_type_ == '|' || (value_type_ == '>' && !proper_); }

void ReplyFramer::note_size(std::int64_t size) {
  if (!proper_) return;
  size_ = size;
  header_done_ = true;
}

bool ReplyFramer::add_values(std::uint64_t count) {
  if (count > kValuesMax - values_left_) return false;
  values_left_ += count;
  return true;
}

void ReplyFramer::end_value() {
  header_done_ = header_done_ || proper_;
  proper_ = false;
  state_ = State::value;
  --values_left_;
}

}  // namespace sluice::resp

// CommandParser: finds the commands in what a client sends. Every rule here mirrors processInputBuffer in Redis'
// networking.c, odd ones included: proxy and server must never disagree on where a command ends.
#include "resp/command_parser.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "resp/inline_args.h"
#include "resp/integer.h"

namespace sluice::resp {
namespace {

constexpr std::int64_t kArgsMaxBeforeAuth = 10;
constexpr std::int64_t kBulkBytesMaxBeforeAuth = 16384;

// What stays allocated for the next command: always, and when the client pauses.
constexpr std::size_t kArgsKept = 1024, kArgsKeptIdle = 64;
constexpr std::size_t kTextBytesKept = 256;

template <typename T>
void clear_and_keep(std::vector<T>& items, std::size_t kept) {
  items.clear();
  if (items.capacity() > kept) std::vector<T>().swap(items);
}

}  // namespace

CommandParser::Status CommandParser::next(std::string_view input, Command& command) {
  bytes_missing_ = 0;
  if (form_ == Form::unknown) {
    if (!tidy_ || input.empty()) forget_last_command(input.empty());
    if (input.empty()) return Status::incomplete;
    if (next_usual(input, command)) return Status::command;
    args_.clear();
    tidy_ = false;
    form_ = input.front() == '*' ? Form::array : Form::line;
  }
  switch (form_) {
    case Form::array:
      return next_array(input, command);
    case Form::line:
      return next_line(input, command);
    case Form::streamed:
      return next_part(input);
    case Form::failed:
    case Form::unknown:
      break;
  }
  return Status::error;
}

// Nearly all commands: an array of a few short arguments that lies wholly in the input. False, and nothing done, for
// all that deserves a closer look.
bool CommandParser::next_usual(std::string_view input, Command& command) {
  constexpr std::size_t kHeaderBytes = 4;  // "*3\r\n"
  const char* p = input.data();
  const char* const end = p + input.size();
  if (input.size() < kHeaderBytes || p[0] != '*' || p[2] != '\r') return false;
  const unsigned args = digit(p[1]);
  if (args - 1 > 8 || args > limits_.args_max) return false;
  if (args_.size() < args) args_.resize(args);
  const std::size_t bulk_max = std::min<std::size_t>(limits_.bulk_bytes_max, kBulkBytesMaxBeforeAuth);
  p += kHeaderBytes;
  for (std::string_view *arg = args_.data(), *last = arg + args; arg != last; ++arg) {
    std::int64_t size = 0;
    if (p == end || *p != '$') return false;
    p = read_usual_length(p + 1, end, size);
    if (p == nullptr || static_cast<std::size_t>(size) > bulk_max || end - p < size + 2) return false;
    *arg = {p, static_cast<std::size_t>(size)};
    p += size + 2;
  }
  command.wire = {input.data(), static_cast<std::size_t>(p - input.data())};
  command.args = {args_.data(), args};
  command.is_inline = false;
  return true;
}

void CommandParser::forget_last_command(bool trim) {
  tidy_ = true;
  clear_and_keep(args_, trim ? kArgsKeptIdle : kArgsKept);
  if (parts_.capacity() > 0) clear_and_keep(parts_, trim ? kArgsKeptIdle : kArgsKept);
  if (text_.capacity() > kTextBytesKept) std::string().swap(text_);
}

CommandParser::Status CommandParser::next_line(std::string_view input, Command& command) {
  std::size_t end = 0;
  const Status found = find_line_end(input, '\n', "too big inline request", end);
  if (found != Status::command) return found;
  const bool has_cr = end > 0 && input[end - 1] == '\r';
  if (!split_inline(input.substr(0, end - (has_cr ? 1 : 0)), text_, args_)) return fail("unbalanced quotes in request");
  offset_ = end + 1;
  return finish(input, command, true);
}

CommandParser::Status CommandParser::next_array(std::string_view input, Command& command) {
  if (args_left_ == 0) {
    const Status header = read_array_size(input);
    if (header != Status::command) return header;
    if (args_left_ == 0) return finish(input, command, false);
    args_.reserve(std::min<std::size_t>(args_left_, kArgsKept));
  }
  const std::size_t usual_max = std::min<std::size_t>(limits_.bulk_bytes_max, kBulkBytesMaxBeforeAuth);
  const char* const end = input.data() + input.size();
  const char* p = input.data() + offset_;
  while (args_left_ > 0) {
    if (bulk_bytes_ < 0) {
      std::int64_t size = 0;
      const char* const bulk = p != end && *p == '$' ? read_usual_length(p + 1, end, size) : nullptr;
      if (bulk != nullptr && static_cast<std::size_t>(size) <= usual_max) {
        bulk_bytes_ = size;
        p = bulk;
      } else {
        resume_after(std::max<std::size_t>(offset_, p - input.data()));
        const Status header = read_bulk_size(input);
        if (header == Status::incomplete) return suspend_array(input);
        if (header != Status::command) return header;
        p = input.data() + offset_;
      }
    }
    if (end - p < bulk_bytes_ + 2) break;
    args_.emplace_back(p, bulk_bytes_);
    p += bulk_bytes_ + 2;
    bulk_bytes_ = -1;
    --args_left_;
  }
  resume_after(p - input.data());
  return args_left_ > 0 ? suspend_array(input) : finish(input, command, false);
}

std::optional<std::string_view> CommandParser::argument(std::string_view input, std::size_t at) const {
  if (at >= parts_.size()) return std::nullopt;
  return input.substr(parts_[at].offset, parts_[at].size);
}

void CommandParser::stream() {
  form_ = Form::streamed;
  parts_.clear();
  if (bulk_bytes_ >= 0) bulk_bytes_ += 2;
}

// Everything up to the end of the input, but for a length that is not complete.
CommandParser::Status CommandParser::next_part(std::string_view input) {
  while (args_left_ > 0) {
    if (bulk_bytes_ < 0) {
      const Status header = read_bulk_size(input);
      if (header == Status::error) return header;
      if (header == Status::incomplete) break;
      bulk_bytes_ += 2;
    }
    const auto present = std::min<std::size_t>(bulk_bytes_, input.size() - offset_);
    resume_after(offset_ + present);
    bulk_bytes_ -= static_cast<std::int64_t>(present);
    if (bulk_bytes_ > 0) break;
    bulk_bytes_ = -1;
    --args_left_;
  }
  skipped_ = std::exchange(offset_, 0);
  searched_ -= std::min(searched_, skipped_);
  bytes_missing_ = bulk_bytes_ > 0 ? static_cast<std::size_t>(bulk_bytes_) : 0;
  if (args_left_ == 0) form_ = Form::unknown;
  return skipped_ == 0 ? Status::incomplete : Status::part;
}

CommandParser::Status CommandParser::read_array_size(std::string_view input) {
  const char* const begin = input.data();
  if (const char* const body = read_usual_length(begin + 1, begin + input.size(), args_left_);
      body != nullptr && args_left_ <= std::min(limits_.args_max, kArgsMaxBeforeAuth)) {
    resume_after(body - begin);
    return Status::command;
  }
  args_left_ = 0;
  std::size_t end = 0;
  const Status found = find_line_end(input, '\r', "too big mbulk count string", end);
  if (found != Status::command) return found;
  if (input.size() - end < 2) return Status::incomplete;
  const std::optional<std::int64_t> size = parse_integer(input.substr(1, end - 1));
  if (!size || *size > limits_.args_max) return fail("invalid multibulk length");
  if (!limits_.authenticated && *size > kArgsMaxBeforeAuth) return fail("unauthenticated multibulk length");
  args_left_ = std::max<std::int64_t>(*size, 0);
  resume_after(end + 2);
  return Status::command;
}

CommandParser::Status CommandParser::read_bulk_size(std::string_view input) {
  std::size_t end = 0;
  const Status found = find_line_end(input, '\r', "too big bulk count string", end);
  if (found != Status::command) return found;
  if (input.size() - end < 2) return Status::incomplete;
  const char first = input[offset_];
  if (first != '$') {
    // Redis blanks line ends out of its error replies.
    const char shown = first == '\r' || first == '\n' ? ' ' : first;
    return fail(std::string("expected '$', got '") + shown + "'");
  }
  const std::optional<std::int64_t> size = parse_integer(input.substr(offset_ + 1, end - offset_ - 1));
  if (!size || *size < 0 || static_cast<std::size_t>(*size) > limits_.bulk_bytes_max)
    return fail("invalid bulk length");
  if (!limits_.authenticated && *size > kBulkBytesMaxBeforeAuth) return fail("unauthenticated bulk length");
  bulk_bytes_ = *size;
  resume_after(end + 2);
  return Status::command;
}

// Turns what this call found into offsets: the bytes may have moved before the next one.
CommandParser::Status CommandParser::suspend_array(std::string_view input) {
  for (const std::string_view arg : args_)
    parts_.push_back({static_cast<std::size_t>(arg.data() - input.data()), arg.size()});
  args_.clear();
  if (bulk_bytes_ >= 0) bytes_missing_ = bulk_bytes_ + 2 - (input.size() - offset_);
  return Status::incomplete;
}

// Finds `stop` in the line that begins at offset_, where Redis' strchr would: a NUL byte hides all that follows. The
// length is judged as if the bytes came one by one, so that the verdict does not depend on how they were split.
CommandParser::Status CommandParser::find_line_end(std::string_view input, char stop, const char* too_long,
                                                   std::size_t& end) {
  const std::string_view rest = input.substr(searched_);
  const std::size_t at = rest.find(stop);
  const std::size_t nul = rest.substr(0, at).find('\0');
  const bool found = at != std::string_view::npos && nul == std::string_view::npos;
  end = found ? searched_ + at : input.size();
  if (end - offset_ > limits_.inline_bytes_max) return fail(too_long);
  searched_ += std::min({at, nul, rest.size()});
  return found ? Status::command : Status::incomplete;
}

void CommandParser::resume_after(std::size_t offset) {
  offset_ = offset;
  searched_ = std::max(searched_, offset);
}

// The command or skip is the input up to offset_.
CommandParser::Status CommandParser::finish(std::string_view input, Command& command, bool is_inline) {
  if (!parts_.empty()) {
    args_.insert(args_.begin(), parts_.size(), {});
    std::transform(parts_.begin(), parts_.end(), args_.begin(),
                   [input](const Part& part) { return input.substr(part.offset, part.size); });
    parts_.clear();
  }
  const std::size_t size = offset_;
  form_ = Form::unknown;
  offset_ = searched_ = 0;
  skipped_ = 0;
  if (args_.empty()) {
    skipped_ = size;
    return Status::skip;
  }
  command.wire = input.substr(0, size);
  command.args = args_;
  command.is_inline = is_inline;
  return Status::command;
}

CommandParser::Status CommandParser::fail(std::string_view reason) {
  form_ = Form::failed;
  error_ = "Protocol error: ";
  error_ += reason;
  return Status::error;
}

}  // namespace sluice::resp

// Encoding: append one RESP value or command to a string, see encode.h.
#include "resp/encode.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace sluice::resp {
namespace {

void append_number_line(std::string& out, char type, std::int64_t value) {
  std::array<char, 24> line;  // type, sign, 19 digits, line end
  line[0] = type;
  char* const end = std::to_chars(line.data() + 1, line.data() + 22, value).ptr;
  end[0] = '\r';
  end[1] = '\n';
  out.append(line.data(), end + 2);
}

void append_text_line(std::string& out, char type, std::string_view text) {
  out += type;
  const std::size_t start = out.size();
  out += text;
  std::replace_if(
      out.begin() + static_cast<std::ptrdiff_t>(start), out.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  out += "\r\n";
}

template <typename Args>
void append_args(std::string& out, const Args& args) {
  append_array_header(out, args.size());
  for (const std::string_view arg : args) append_bulk(out, arg);
}

}  // namespace

void append_status(std::string& out, std::string_view text) { append_text_line(out, '+', text); }

void append_error(std::string& out, std::string_view text) { append_text_line(out, '-', text); }

std::string error_reply(std::string_view text) {
  std::string out;
  append_error(out, text);
  return out;
}

void append_integer(std::string& out, std::int64_t value) { append_number_line(out, ':', value); }

void append_bulk(std::string& out, std::string_view bytes) {
  append_number_line(out, '$', static_cast<std::int64_t>(bytes.size()));
  out += bytes;
  out += "\r\n";
}

void append_nil(std::string& out, Version version) { out += version == Version::resp2 ? "$-1\r\n" : "_\r\n"; }

void append_array_header(std::string& out, std::size_t elements) {
  append_number_line(out, '*', static_cast<std::int64_t>(elements));
}

void append_map_header(std::string& out, std::size_t pairs, Version version) {
  if (version == Version::resp2) {
    append_array_header(out, 2 * pairs);
  } else {
    append_number_line(out, '%', static_cast<std::int64_t>(pairs));
  }
}

void append_command(std::string& out, std::span<const std::string_view> args) { append_args(out, args); }

void append_command(std::string& out, std::span<const std::string> args) { append_args(out, args); }

}  // namespace sluice::resp

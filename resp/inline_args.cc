// Inline arguments: splits a plain line, see inline_args.h. The rules are those of sdssplitargs in Redis' sds.c.
#include "resp/inline_args.h"

#include <cstddef>

namespace sluice::resp {
namespace {

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Vertical tab and form feed are skipped between arguments but do not end one.
bool ends_bare_word(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

char unescaped(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'b':
      return '\b';
    case 'a':
      return '\a';
    default:
      return c;
  }
}

class Splitter {
 public:
  Splitter(std::string_view line, std::string& text) : line_(line), text_(text) {}

  void skip_blanks() {
    while (!at_end() && is_blank(line_[at_])) ++at_;
  }

  bool at_end() const { return at_ == line_.size(); }

  // Appends the next argument to the text. A quote may open anywhere in it; closing one ends it.
  bool append_argument() {
    while (!at_end() && !ends_bare_word(line_[at_])) {
      const char c = line_[at_++];
      if (c == '"') return append_double_quoted();
      if (c == '\'') return append_single_quoted();
      text_ += c;
    }
    return true;
  }

 private:
  char peek(std::size_t ahead) const { return at_ + ahead < line_.size() ? line_[at_ + ahead] : '\0'; }

  bool closed() const { return at_end() || is_blank(line_[at_]); }

  bool append_double_quoted() {
    while (!at_end()) {
      const char c = line_[at_++];
      if (c == '"') return closed();
      if (c == '\\' && !at_end()) {
        append_escaped();
      } else {
        text_ += c;
      }
    }
    return false;
  }

  void append_escaped() {
    const int high = hex_value(peek(1));
    const int low = hex_value(peek(2));
    if (peek(0) == 'x' && high >= 0 && low >= 0) {
      text_ += static_cast<char>(high * 16 + low);
      at_ += 3;
    } else {
      text_ += unescaped(line_[at_++]);
    }
  }

  bool append_single_quoted() {
    while (!at_end()) {
      char c = line_[at_++];
      if (c == '\'') return closed();
      if (c == '\\' && peek(0) == '\'') c = line_[at_++];
      text_ += c;
    }
    return false;
  }

  std::string_view line_;
  std::size_t at_ = 0;
  std::string& text_;
};

}  // namespace

bool split_inline(std::string_view line, std::string& text, std::vector<std::string_view>& args) {
  text.clear();
  text.reserve(line.size());  // unescaping never lengthens, so the views below stay valid
  Splitter splitter(line, text);
  for (splitter.skip_blanks(); !splitter.at_end(); splitter.skip_blanks()) {
    const std::size_t start = text.size();
    if (!splitter.append_argument()) return false;
    args.emplace_back(text.data() + start, text.size() - start);
  }
  return true;
}

}  // namespace sluice::resp

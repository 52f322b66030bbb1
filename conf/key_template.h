// KeyTemplate: the pattern of the keys a policy owns, such as `order:{tenant}:{id:int}`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::conf {

// A non-empty literal prefix, then placeholders and literals, if any. `{name}` matches one or more bytes except ':',
// `{name:int}` a canonical 64-bit integer, `{name:uuid}` a lower-case UUID, a last `{name*}` one or more of any byte.
// `{{` and `}}` are literal braces. A placeholder's name is the key column it binds.
class KeyTemplate {
 public:
  enum class Type : std::uint8_t { text, integer, uuid, rest };
  struct Part {
    bool is_placeholder = false;
    std::string text;  // the literal, or the placeholder's name
    Type type = Type::text;
    bool operator==(const Part&) const = default;
  };
  struct ParseError {
    std::string message;
    std::size_t offset;  // byte of the template
  };

  // Nullopt and `error` filled when `text` is not a template, or when one key could be read in two ways: for a given
  // key there is never more than one list of values.
  static std::optional<KeyTemplate> parse(std::string_view text, ParseError& error);

  const std::string& text() const { return text_; }          // as configured
  const std::string& prefix() const { return prefix_; }      // the literal every key begins with
  const std::vector<Part>& parts() const { return parts_; }  // the first is the prefix
  std::vector<std::string> placeholders() const;

  // The placeholders' values in order, as views into `key`; false when `key` does not match.
  // `values` is replaced; nothing is allocated beyond its capacity.
  bool match(std::string_view key, std::vector<std::string_view>& values) const;

  // The key with these placeholder values, one for each: the inverse of match(). Does not check that they fit.
  std::string format(const std::vector<std::string_view>& values) const;

  // True when some key matches both. Exact; for load time, it is not fast.
  bool overlaps(const KeyTemplate& other) const;

  bool operator==(const KeyTemplate&) const = default;

 private:
  std::string text_;
  std::string prefix_;
  std::vector<Part> parts_;
};

}  // namespace sluice::conf

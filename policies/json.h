// JSON: the objects that clients send and the ones that rows become.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "policies/checked.h"

namespace sluice::policies::json {

struct Member {
  enum class Type : std::uint8_t { null, boolean, integer, number, string, composite };
  std::string name;
  Type type = Type::null;
  // boolean: true or false; integer, number: as written, never through a double; string: its content;
  // composite: an object or array, without whitespace.
  std::string text;
  bool operator==(const Member&) const = default;
};

// The members of one JSON object, in order. Fails for anything else, and for a name that appears twice.
Checked<std::vector<Member>> parse_object(std::string_view text);

bool is_valid(std::string_view text);
// `text`, which is valid, without whitespace between tokens.
std::string minified(std::string_view text);
// Both are objects with the same members, whatever their order and whitespace; a member that is null counts as absent.
bool equal(std::string_view a, std::string_view b);

// Appends `text` as a JSON string. Bytes that are not UTF-8 become U+FFFD.
void append_string(std::string& out, std::string_view text);

}  // namespace sluice::policies::json

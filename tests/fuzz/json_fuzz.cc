// Fuzzes the reading of JSON objects: it says of any text what the JSON library says, and nothing is lost in it.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "policies/json.h"

namespace {

using Library = nlohmann::json;
using sluice::policies::json::Member;

void check(bool good, const char* what, std::string_view text) {
  if (good) return;
  std::fprintf(stderr, "%s:\n%.*s\n", what, static_cast<int>(text.size()), text.data());
  std::abort();
}

// Fractions and integers of more than 64 bits stay as they were written, which the library does not keep.
bool is_same(const Member& member, const Library& value) {
  switch (member.type) {
    case Member::Type::null:
      return value.is_null();
    case Member::Type::boolean:
      return value.is_boolean() && member.text == value.dump();
    case Member::Type::integer:
      return value.is_number_float() || (value.is_number_integer() && member.text == value.dump());
    case Member::Type::number:
      return value.is_number_float() && Library::parse(member.text) == value;
    case Member::Type::string:
      return value.is_string() && member.text == value.get_ref<const std::string&>();
    case Member::Type::composite:
      return value.is_structured() && Library::parse(member.text) == value;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto members = sluice::policies::json::parse_object(text);
  if (!Library::accept(text)) {
    check(!members, "not JSON, and it was read", text);
    return 0;
  }
  const Library object = Library::parse(text);
  if (!members) {
    const bool twice = members.why().find("twice") != std::string::npos;
    check(!object.is_object() || twice, "a JSON object, and it was not read", text);
    return 0;
  }
  check(object.is_object() && object.size() == members->size(), "other members", text);
  for (const Member& member : *members) {
    check(object.contains(member.name) && is_same(member, object[member.name]), "another value", text);
  }
  const std::string minified = sluice::policies::json::minified(text);
  check(Library::parse(minified) == object, "minified, it is another object", text);
  check(sluice::policies::json::equal(text, minified), "minified, it is not equal", text);
  return 0;
}

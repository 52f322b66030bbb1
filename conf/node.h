// Node: one value of the configuration file and where it stands, free of the TOML library.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "conf/place.h"

namespace sluice::conf {

struct Member;

struct Node {
  enum class Kind : std::uint8_t { string, integer, real, boolean, moment, array, table };
  Kind kind = Kind::table;
  Place place;
  std::string text;  // string: before ${...} is expanded
  std::int64_t integer = 0;
  double real = 0;
  bool boolean = false;
  std::vector<Node> items;      // array
  std::vector<Member> members;  // table, in the order of the file

  const Member* find(std::string_view name) const;
};

struct Member {
  std::string name;
  Place place;  // of the name
  Node value;
};

inline const Member* Node::find(std::string_view name) const {
  for (const Member& member : members) {
    if (member.name == name) return &member;
  }
  return nullptr;
}

}  // namespace sluice::conf

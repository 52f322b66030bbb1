// Reply: one decoded RESP2 reply to a command of the proxy's own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::resp {

struct Reply {
  enum class Type : std::uint8_t { nil, status, error, integer, bulk, array };

  Type type = Type::nil;
  std::int64_t integer = 0;
  std::string text;  // status, error (without '-') and bulk
  std::vector<Reply> items;

  bool is_nil() const { return type == Type::nil; }
  bool is_error() const { return type == Type::error; }
  bool operator==(const Reply&) const = default;
};

}  // namespace sluice::resp

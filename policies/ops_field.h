// OpsField: the field of a HSET that says what the HSET does, and the stream that says what came of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policies/checked.h"
#include "policies/policy.h"

namespace sluice::policies {

struct OpsField {
  enum class Action : std::uint8_t {
    write,       // "=": as without the field
    cache_only,  // "+": Redis gets the fields, SQL does not
    forget,      // "-": the copy goes, the row stays
    remove_row,  // "~": both go
  };
  Action action = Action::write;
  std::string id;  // what follows the sign; not empty: the client wants an acknowledgement

  // Takes the field `name` out of HSET's arguments; nullopt when it is not there.
  static Checked<std::optional<OpsField>> take(const std::string& name, std::vector<std::string>& args);
  // Where the acknowledgement goes: "{key}id".
  std::string stream(std::string_view key) const;
  // `failure`: the error of the write, empty when it was done.
  std::vector<RedisCommand> acknowledgement(std::string_view key, const std::string& failure, Milliseconds ttl) const;
};

}  // namespace sluice::policies

// CopyChange: what becomes of the cached copy once SQL has done its part, and the command of Redis that does it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "conf/config.h"
#include "policies/mapping.h"
#include "policies/policy.h"
#include "policies/set_options.h"

namespace sluice::policies {

struct CopyChange {
  enum class Kind : std::uint8_t {
    keep,    // SQL changed nothing: the copy gets its expiry back
    drop,    // the next read fills it again
    set,     // it becomes `copy`
    merge,   // `copy.fields` are set in a copy that is there, or make one when they are the whole value
    remove,  // the fields named in `copy.fields` go from a copy that is there
    expire,  // only its expiry changes
  };
  Kind kind = Kind::keep;
  Copy copy;
  bool whole = false;                 // merge: the fields are all there are
  std::optional<std::int64_t> until;  // when the row's own time is over (ttl_column), as Unix time in milliseconds
  std::optional<Expiry> expiry;       // set: the client's own; expire: none to persist
  bool keep_ttl = false;              // set
};

// A key that a write has armed.
struct ArmedKey {
  const conf::PolicyOptions& options;
  const std::string& key;
  const std::string& side;
  const std::string& token;  // of the arm
  const std::string& table;  // whose version is raised with it; empty: none
};

// The script call that carries out the change and takes the arm away: APPLY, or ABORT for Kind::keep. A copy that is
// made, or has no expiry to keep, gets the policy's ttl, but not beyond the row's own time; `now` is Redis' Unix time
// in milliseconds, needed where there is one. `random` spreads the ttl. The values are moved out of `change`.
RedisCommand end_arm(const ArmedKey& armed, CopyChange& change, std::int64_t now, std::uint64_t random);

}  // namespace sluice::policies

// PrefixTable: finds the policy that owns a key. Among matching templates the longest literal prefix wins.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "conf/key_template.h"

namespace sluice::policies {

class PrefixTable {
 public:
  struct Entry {
    conf::KeyTemplate key;
    std::uint32_t policy;  // index given back by find()
    bool is_alias;         // a match must be rewritten to the policy's real key
  };
  struct Match {
    enum class Kind : std::uint8_t {
      none,      // no policy has anything to say
      owned,     // `policy` owns the key
      alias,     // `policy` owns the key that real_key() gives
      off_grid,  // has the prefix of `policy` but matches no template: reads pass, writes on a write policy are errors
      reserved,  // begins with __sluice: clients may not write it
    };
    Kind kind = Kind::none;
    std::uint32_t policy = 0;
    std::uint32_t entry = 0;
  };

  explicit PrefixTable(std::vector<Entry> entries);

  bool empty() const;
  // Allocates nothing. A key that begins like no template costs a look at its first bytes.
  Match find(std::string_view key) const;
  // For Kind::alias: the key under the policy's own template.
  std::string real_key(const Match& match, std::string_view key) const;
};

}  // namespace sluice::policies

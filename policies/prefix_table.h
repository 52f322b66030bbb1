// PrefixTable: finds the policy that owns a key. Among matching templates the longest literal prefix wins.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "conf/key_template.h"

namespace sluice::policies {

// Immutable; any thread may look things up.
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
    bool operator==(const Match&) const = default;
  };

  explicit PrefixTable(std::vector<Entry> entries);

  bool empty() const { return entries_.empty(); }
  // Allocates nothing once warm. A key that begins like no template costs a look at its first byte.
  Match find(std::string_view key) const {
    const auto first = key.empty() ? 0 : static_cast<unsigned char>(key[0]);
    if (key.empty() || !begins_[first]) return {};
    return find_among(first, key);
  }
  // For Kind::alias: the key under the policy's own template.
  std::string real_key(const Match& match, std::string_view key) const;

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Prefix {
    std::string text;
    std::uint32_t first_entry, last_entry;  // its entries: [first, last)
    std::uint32_t parent = kNone;           // the longest other prefix that this one begins with
  };
  struct Rewrite {                    // of an alias
    std::uint32_t own = kNone;        // the policy's own entry
    std::vector<std::uint32_t> take;  // for each of its placeholders, the alias's placeholder
  };

  // Index of the longest prefix that `key` begins with, or kNone.
  std::uint32_t longest_prefix(unsigned char first, std::string_view key) const;
  Match find_among(unsigned char first, std::string_view key) const;

  std::vector<Entry> entries_;              // sorted by prefix
  std::vector<Prefix> prefixes_;            // sorted by text
  std::vector<Rewrite> rewrites_;           // one per entry, of use for aliases
  std::array<bool, 256> begins_{};          // some prefix, or the reserved one, begins with this byte
  std::array<std::uint32_t, 257> range_{};  // prefixes_ beginning with byte b: [range_[b], range_[b + 1])
};

}  // namespace sluice::policies

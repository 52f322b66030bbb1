// PrefixTable, see prefix_table.h: the longest prefix among the sorted ones, then up the chain of shorter ones.
#include "policies/prefix_table.h"

#include <algorithm>
#include <cassert>

namespace sluice::policies {
namespace {

constexpr std::string_view kReserved = "__sluice:";

// Kept per thread so that its capacity is: match() then allocates nothing.
std::vector<std::string_view>& scratch() {
  thread_local std::vector<std::string_view> values;
  return values;
}

}  // namespace

PrefixTable::PrefixTable(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return a.key.prefix() < b.key.prefix(); });
  for (std::uint32_t i = 0; i < entries_.size(); ++i) {
    const std::string& text = entries_[i].key.prefix();
    assert(!text.empty());
    if (prefixes_.empty() || prefixes_.back().text != text) prefixes_.push_back({text, i, i, kNone});
    prefixes_.back().last_entry = i + 1;
  }
  for (std::uint32_t i = 1; i < prefixes_.size(); ++i) {
    std::uint32_t parent = i - 1;
    while (parent != kNone && !prefixes_[i].text.starts_with(prefixes_[parent].text)) parent = prefixes_[parent].parent;
    prefixes_[i].parent = parent;
  }
  for (const Prefix& prefix : prefixes_) {
    const auto first = static_cast<unsigned char>(prefix.text[0]);
    begins_[first] = true;
    ++range_[first + 1U];
  }
  for (std::size_t b = 1; b < range_.size(); ++b) range_[b] += range_[b - 1];
  begins_[static_cast<unsigned char>(kReserved[0])] = true;

  rewrites_.resize(entries_.size());
  for (std::uint32_t i = 0; i < entries_.size(); ++i) {
    if (!entries_[i].is_alias) continue;
    const auto own = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& e) { return !e.is_alias && e.policy == entries_[i].policy; });
    if (own == entries_.end()) continue;
    rewrites_[i].own = static_cast<std::uint32_t>(own - entries_.begin());
    const std::vector<std::string> has = entries_[i].key.placeholders();
    for (const std::string& name : own->key.placeholders()) {
      const auto at = std::find(has.begin(), has.end(), name);
      assert(at != has.end());
      rewrites_[i].take.push_back(static_cast<std::uint32_t>(at - has.begin()));
    }
  }
}

std::uint32_t PrefixTable::longest_prefix(unsigned char first, std::string_view key) const {
  constexpr std::uint32_t kFewPrefixes = 8;
  std::uint32_t at = range_[first + 1U];
  if (at - range_[first] <= kFewPrefixes) {
    // Backwards: of two prefixes of `key` the longer one comes later.
    while (at > range_[first]) {
      if (key.starts_with(prefixes_[--at].text)) return at;
    }
    return kNone;
  }
  // Every prefix of `key` is on the parent chain of the greatest prefix that is not greater than `key`.
  const auto begin = prefixes_.begin() + range_[first];
  const auto above = std::upper_bound(begin, prefixes_.begin() + at, key,
                                      [](std::string_view k, const Prefix& p) { return k < p.text; });
  at = above == begin ? kNone : static_cast<std::uint32_t>(above - prefixes_.begin() - 1);
  while (at != kNone && !key.starts_with(prefixes_[at].text)) at = prefixes_[at].parent;
  return at;
}

PrefixTable::Match PrefixTable::find_among(unsigned char first, std::string_view key) const {
  if (first == static_cast<unsigned char>(kReserved[0]) && key.starts_with(kReserved)) {
    return {Match::Kind::reserved, 0, 0};
  }
  Match off_grid;
  for (std::uint32_t at = longest_prefix(first, key); at != kNone; at = prefixes_[at].parent) {
    const Prefix& prefix = prefixes_[at];
    for (std::uint32_t i = prefix.first_entry; i < prefix.last_entry; ++i) {
      const Entry& entry = entries_[i];
      if (!entry.key.match(key, scratch())) continue;
      return {entry.is_alias ? Match::Kind::alias : Match::Kind::owned, entry.policy, i};
    }
    if (off_grid.kind == Match::Kind::none) {
      off_grid = {Match::Kind::off_grid, entries_[prefix.first_entry].policy, prefix.first_entry};
    }
  }
  return off_grid;
}

std::string PrefixTable::real_key(const Match& match, std::string_view key) const {
  const Rewrite& rewrite = rewrites_[match.entry];
  assert(match.kind == Match::Kind::alias && rewrite.own != kNone);
  std::vector<std::string_view> has;
  if (!entries_[match.entry].key.match(key, has)) return {};
  std::vector<std::string_view> values;
  for (const std::uint32_t index : rewrite.take) values.push_back(has[index]);
  return entries_[rewrite.own].key.format(values);
}

}  // namespace sluice::policies

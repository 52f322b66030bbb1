// The command table: finds a command by its name in one probe or so of a table built at compile time.
#include "resp/command_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

namespace sluice::resp {
namespace {

constexpr std::size_t kCount = static_cast<std::size_t>(CommandId::count);

constexpr std::array<CommandInfo, kCount> kCommands{{
#define COMMAND(id, name, arity, flags, first_key, last_key, key_step) \
  {name, CommandId::id, arity, flags, first_key, last_key, key_step},
#include "resp/commands.def"
#undef COMMAND
}};

constexpr std::size_t kNameMax =
    std::max_element(kCommands.begin(), kCommands.end(), [](const CommandInfo& a, const CommandInfo& b) {
      return a.name.size() < b.name.size();
    })->name.size();

constexpr std::size_t kSlots = 1024;  // a power of two, four times the commands: most names sit in their own slot
constexpr std::uint8_t kFree = 255;
static_assert(kCount < kFree);

constexpr std::size_t slot_of(std::string_view name) {
  std::uint32_t hash = 0;
  for (const char c : name) hash = hash * 31 + (static_cast<unsigned char>(c) | 0x20U);  // letters in lower case
  return (hash * 2654435769U) >> 22;  // the top bits are the well mixed ones
}
static_assert(std::size_t{0xffffffffU >> 22} == kSlots - 1);

constexpr std::array<std::uint8_t, kSlots> kIndex = [] {
  std::array<std::uint8_t, kSlots> index{};
  index.fill(kFree);
  for (std::size_t i = 0; i < kCount; ++i) {
    std::size_t slot = slot_of(kCommands[i].name);
    while (index[slot] != kFree) slot = (slot + 1) % kSlots;
    index[slot] = static_cast<std::uint8_t>(i);
  }
  return index;
}();

// Short names of letters alone, which is what most commands have, are compared as one number: their letters in lower
// case, the first in the lowest byte.
constexpr std::size_t kShortMax = 8;
constexpr std::uint64_t kLowerCase = 0x2020202020202020;

constexpr std::uint64_t pack_by_byte(std::string_view name) {
  std::uint64_t packed = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    packed |= std::uint64_t{static_cast<unsigned char>(name[i])} << (8 * i);
  }
  return packed | kLowerCase;
}

// The same by reads that may overlap.
inline std::uint64_t pack(std::string_view name) {
  const std::size_t size = name.size();
  if (std::endian::native != std::endian::little || size == 0) return pack_by_byte(name);
  const auto byte = [name](std::size_t i) { return std::uint64_t{static_cast<unsigned char>(name[i])} << (8 * i); };
  if (size < 4) return byte(0) | byte(size / 2) | byte(size - 1) | kLowerCase;
  std::uint32_t head = 0, tail = 0;
  std::memcpy(&head, name.data(), 4);
  std::memcpy(&tail, name.data() + size - 4, 4);
  return head | std::uint64_t{tail} << (8 * (size - 4)) | kLowerCase;
}

constexpr bool is_short(std::string_view name) {
  return name.size() <= kShortMax && std::all_of(name.begin(), name.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

constexpr std::size_t short_slot_of(std::uint64_t packed) { return (packed * 0x9e3779b97f4a7c15) >> 54; }
static_assert(std::size_t{~std::uint64_t{0} >> 54} == kSlots - 1);

// 0 for a name that is not short.
constexpr std::array<std::uint64_t, kCount> kPacked = [] {
  std::array<std::uint64_t, kCount> packed{};
  for (std::size_t i = 0; i < kCount; ++i)
    packed[i] = is_short(kCommands[i].name) ? pack_by_byte(kCommands[i].name) : 0;
  return packed;
}();

constexpr std::array<std::uint8_t, kSlots> kShortIndex = [] {
  std::array<std::uint8_t, kSlots> index{};
  index.fill(kFree);
  for (std::size_t i = 0; i < kCount; ++i) {
    if (kPacked[i] == 0) continue;
    std::size_t slot = short_slot_of(kPacked[i]);
    while (index[slot] != kFree) slot = (slot + 1) % kSlots;
    index[slot] = static_cast<std::uint8_t>(i);
  }
  return index;
}();

const CommandInfo* find_short(std::string_view name) {
  const std::uint64_t packed = pack(name);
  for (std::size_t slot = short_slot_of(packed); kShortIndex[slot] != kFree; slot = (slot + 1) % kSlots) {
    const std::size_t i = kShortIndex[slot];
    if (kPacked[i] == packed && kCommands[i].name.size() == name.size()) return &kCommands[i];
  }
  return nullptr;
}

// Only letters lie at 'a' or above in the names of commands; setting their 0x20 makes them lower case.
bool is_named(const CommandInfo& info, std::string_view name) {
  return std::equal(name.begin(), name.end(), info.name.begin(), info.name.end(),
                    [](char given, char known) { return (known >= 'a' ? given | 0x20 : given) == known; });
}

}  // namespace

bool CommandInfo::arity_fits(std::size_t args) const {
  return arity >= 0 ? args == static_cast<std::size_t>(arity) : args >= static_cast<std::size_t>(-arity);
}

const CommandInfo* find_command(std::string_view name) {
  if (name.size() > kNameMax) return nullptr;
  if (name.size() <= kShortMax) {
    if (const CommandInfo* info = find_short(name)) return info;
  }
  for (std::size_t slot = slot_of(name); kIndex[slot] != kFree; slot = (slot + 1) % kSlots)
    if (is_named(kCommands[kIndex[slot]], name)) return &kCommands[kIndex[slot]];
  return nullptr;
}

const CommandInfo& command_info(CommandId id) { return kCommands[static_cast<std::size_t>(id)]; }

}  // namespace sluice::resp

// The command table: finds a command by its name in one probe or so of a table built at compile time.
#include "resp/command_table.h"

#include <algorithm>
#include <array>
#include <cstddef>

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
  for (std::size_t slot = slot_of(name); kIndex[slot] != kFree; slot = (slot + 1) % kSlots)
    if (is_named(kCommands[kIndex[slot]], name)) return &kCommands[kIndex[slot]];
  return nullptr;
}

const CommandInfo& command_info(CommandId id) { return kCommands[static_cast<std::size_t>(id)]; }

}  // namespace sluice::resp

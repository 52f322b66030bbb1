// What the configuration format has and this version does not: keys and values that are refused by name.
#include "conf/not_built.h"

#include <array>
#include <cstdint>

namespace sluice::conf {
namespace {

enum class Refuse : std::uint8_t { always, equal, prefix };

struct Entry {
  std::string_view section;
  std::string_view key;
  Refuse refuse;  // always, or when the value equals or begins with `value`
  std::string_view value;
};

// Whoever builds one of these deletes its line.
constexpr std::array kEntries{
    Entry{"upstream", "url", Refuse::prefix, "rediss://"},
    Entry{"upstream", "url", Refuse::prefix, "redis+cluster://"},
    Entry{"upstream", "url", Refuse::prefix, "redis+sentinel://"},
    Entry{"policy", "write", Refuse::equal, "write-behind"},
    Entry{"policy", "coalesce", Refuse::equal, "false"},
    Entry{"policy", "durability_check", Refuse::equal, "enforce"},
    Entry{"policy", "queue_max_entries", Refuse::always, ""},
    Entry{"policy", "queue_max_bytes", Refuse::always, ""},
    Entry{"policy", "on_full", Refuse::always, ""},
    Entry{"policy", "retry_initial_delay", Refuse::always, ""},
    Entry{"policy", "retry_max_delay", Refuse::always, ""},
    Entry{"policy", "dlq_max_entries", Refuse::always, ""},
    Entry{"policy", "history_table", Refuse::always, ""},
};

bool applies(const Entry& entry, std::string_view value) {
  switch (entry.refuse) {
    case Refuse::always:
      return true;
    case Refuse::equal:
      return value == entry.value;
    case Refuse::prefix:
      return value.starts_with(entry.value);
  }
  return false;
}

std::string message(const Entry& entry) {
  const std::string key(entry.key);
  switch (entry.refuse) {
    case Refuse::always:
      return "\"" + key + "\" is not built yet";
    case Refuse::equal:
      return key + " = \"" + std::string(entry.value) + "\" is not built yet";
    case Refuse::prefix:
      return std::string(entry.value) + " is not built yet";
  }
  return {};
}

}  // namespace

std::string not_built(std::string_view section, std::string_view key, std::string_view value) {
  for (const Entry& entry : kEntries) {
    if (entry.section == section && entry.key == key && applies(entry, value)) return message(entry);
  }
  return {};
}

bool is_key_not_built(std::string_view section, std::string_view key) {
  for (const Entry& entry : kEntries) {
    if (entry.section == section && entry.key == key && entry.refuse == Refuse::always) return true;
  }
  return false;
}

}  // namespace sluice::conf

// Units: durations such as "250ms" and sizes such as "64kb", from text and back.
#include "conf/units.h"

#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <span>

namespace sluice::conf {
namespace {

// From the largest to the smallest.
struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
constexpr std::array<Unit, 5> kDurations{{{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}}};
constexpr std::array<Unit, 4> kSizes{{{"gb", 1ULL << 30}, {"mb", 1ULL << 20}, {"kb", 1ULL << 10}, {"b", 1}}};
constexpr std::uint64_t kDurationMax = 3650ULL * 86400000;
constexpr std::uint64_t kSizeMax = 1ULL << 40;

// What makes durations and sizes different.
struct Kind {
  std::string_view noun;
  std::string_view units;
  std::string_view usual;  // the unit to suggest
  std::string_view limit;
  std::span<const Unit> table;
  std::uint64_t max;
};
const Kind kDuration{"duration", "ms, s, m, h or d", "s", "3650d", kDurations, kDurationMax};
const Kind kSize{"size", "b, kb, mb or gb", "mb", "1024gb", kSizes, kSizeMax};

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

const Unit* find_unit(const Kind& kind, std::string_view name) {
  for (const Unit& unit : kind.table) {
    if (unit.name == name) return &unit;
  }
  return nullptr;
}

std::optional<std::uint64_t> parse(const Kind& kind, std::string_view text, std::string& error) {
  std::uint64_t number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (status == std::errc::invalid_argument) {
    error =
        quoted(text) + " is not a " + std::string(kind.noun) + ": write a whole number and " + std::string(kind.units);
    return std::nullopt;
  }
  if (rest.empty() && status == std::errc()) {
    error = "a unit is missing: write " + quoted(std::string(text) + std::string(kind.usual));
    return std::nullopt;
  }
  const Unit* unit = find_unit(kind, lower(rest));
  if (unit == nullptr) {
    error = quoted(text) + " is not a " + std::string(kind.noun) + ": the units are " + std::string(kind.units) +
            ", the number is whole";
    return std::nullopt;
  }
  if (status != std::errc() || number > kind.max / unit->factor) {
    error = quoted(text) + " is too much: at most " + std::string(kind.limit);
    return std::nullopt;
  }
  return number * unit->factor;
}

std::string format(const Kind& kind, std::uint64_t value, std::string_view zero) {
  if (value == 0) return std::string(zero);
  for (const Unit& unit : kind.table) {
    if (value % unit.factor == 0) return std::to_string(value / unit.factor) + std::string(unit.name);
  }
  return {};
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view text, std::string& error) {
  const auto value = parse(kDuration, text, error);
  return value ? std::optional(Duration(static_cast<Duration::rep>(*value))) : std::nullopt;
}

std::string format_duration(Duration duration) {
  return format(kDuration, static_cast<std::uint64_t>(duration.count()), "0s");
}

std::optional<std::size_t> parse_size(std::string_view text, std::string& error) { return parse(kSize, text, error); }

std::string format_size(std::size_t bytes) { return format(kSize, bytes, "0b"); }

std::string format_fraction(double value) {
  std::array<char, 32> digits{};
  return {digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr};
}

}  // namespace sluice::conf

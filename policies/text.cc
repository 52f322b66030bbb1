// Text, see text.h.
#include "policies/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>

namespace sluice::policies {
namespace {

// Length of the valid UTF-8 sequence that `text` begins with, 0 when there is none (RFC 3629).
std::size_t sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned b = byte(0);
  if (b < 0x80) return 1;
  if (b < 0xC2) return 0;
  if (b < 0xE0) return tail(1) ? 2 : 0;
  if (b < 0xF0) {
    const bool fits = b == 0xE0 ? byte(1) >= 0xA0 : b != 0xED || byte(1) < 0xA0;
    return fits && tail(1) && tail(2) ? 3 : 0;
  }
  const bool fits = b == 0xF0 ? byte(1) >= 0x90 : b < 0xF4 || (b == 0xF4 && byte(1) < 0x90);
  return fits && tail(1) && tail(2) && tail(3) ? 4 : 0;
}

constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The number in text[at, at + digits), -1 when these are not all digits.
int number(std::string_view text, std::size_t at, std::size_t digits) {
  if (text.size() < at + digits) return -1;
  int value = 0;
  for (const char c : text.substr(at, digits)) {
    if (!is_digit(c)) return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

std::size_t skip_digits(std::string_view text, std::size_t at) {
  while (at < text.size() && is_digit(text[at])) ++at;
  return at;
}

using Days = std::chrono::sys_days;

std::optional<Days> parse_date(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return {};
  const int year = number(text, 0, 4);
  const int month = number(text, 5, 2);
  const int day = number(text, 8, 2);
  if (year < 1 || month < 1 || day < 1) return {};
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return {};
  return Days(date);
}

struct ClockTime {
  int seconds = 0;
  int micros = 0;
};

std::optional<ClockTime> parse_time(std::string_view text) {
  if (text.size() < 8 || text[2] != ':' || text[5] != ':') return {};
  const int hour = number(text, 0, 2);
  const int minute = number(text, 3, 2);
  const int second = number(text, 6, 2);
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return {};
  ClockTime time{hour * 3600 + minute * 60 + second, 0};
  if (text.size() == 8) return time;
  const std::size_t digits = text.size() - 9;
  if (text[8] != '.' || digits < 1 || digits > 6) return {};
  time.micros = number(text, 9, digits);
  if (time.micros < 0) return {};
  for (std::size_t i = digits; i < 6; ++i) time.micros *= 10;
  return time;
}

std::string print_date(Days days) {
  const std::chrono::year_month_day date(days);
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "%04d-%02u-%02u", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
  return out.data();
}

std::string print_time(const ClockTime& time) {
  std::array<char, 48> out{};
  std::snprintf(out.data(), out.size(), "%02d:%02d:%02d", time.seconds / 3600, time.seconds / 60 % 60,
                time.seconds % 60);
  std::string text = out.data();
  if (time.micros == 0) return text;
  std::snprintf(out.data(), out.size(), ".%06d", time.micros);
  return text + out.data();
}

struct Timestamp {
  Days days;
  ClockTime time;
};

std::optional<Timestamp> parse_timestamp(std::string_view text) {
  const auto days = parse_date(text.substr(0, 10));
  if (!days) return {};
  if (text.size() == 10) return Timestamp{*days, {}};
  if (text[10] != 'T' && text[10] != ' ') return {};
  const auto time = parse_time(text.substr(11));
  if (!time) return {};
  return Timestamp{*days, *time};
}

std::string print(const Timestamp& at) { return print_date(at.days) + "T" + print_time(at.time); }

// Takes a zone off the end of `text`: its minutes east of UTC; nullopt for a malformed one.
std::optional<int> take_zone(std::string_view& text) {
  if (text.ends_with('Z')) {
    text.remove_suffix(1);
    return 0;
  }
  const auto sign = text.size() > 10 ? text.find_first_of("+-", 11) : std::string_view::npos;
  if (sign == std::string_view::npos) return 0;
  const std::string_view zone = text.substr(sign);
  const int hours = number(zone, 1, 2);
  const int minutes = zone.size() == 3 ? 0 : zone.size() == 6 && zone[3] == ':' ? number(zone, 4, 2) : -1;
  if (hours < 0 || hours > 15 || minutes < 0 || minutes > 59) return {};
  text.remove_suffix(zone.size());
  return (hours * 60 + minutes) * (zone[0] == '-' ? -1 : 1);
}

}  // namespace

bool is_utf8(std::string_view text) {
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  for (;;) {
    const auto other = std::find_if_not(text.begin(), text.end(), is_ascii);
    text.remove_prefix(static_cast<std::size_t>(other - text.begin()));
    if (text.empty()) return true;
    const std::size_t size = sequence(text);
    if (size == 0) return false;
    text.remove_prefix(size);
  }
}

std::string repaired_utf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t size = sequence(text);
    out += size == 0 ? std::string_view("\xEF\xBF\xBD") : text.substr(0, size);
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return out;
}

std::string base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8U | (j < have ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    for (std::size_t j = 0; j < 4; ++j) out += j <= have ? kBase64[group >> (18 - 6 * j) & 63U] : '=';
  }
  return out;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return {};
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const std::size_t have = i + 4 == text.size() ? 4 - padding : 4;
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const auto digit = j < have ? kBase64.find(text[i + j]) : 0;
      if (digit == std::string_view::npos) return {};
      group = group << 6U | static_cast<std::uint32_t>(digit);
    }
    for (std::size_t j = 0; j + 1 < have; ++j) out += static_cast<char>(group >> (16 - 8 * j) & 255U);
  }
  return out;
}

bool is_number(std::string_view text) {
  std::size_t at = text.starts_with('-') ? 1 : 0;
  const std::size_t whole = at;
  at = skip_digits(text, at);
  if (at == whole || (text[whole] == '0' && at > whole + 1)) return false;
  if (at < text.size() && text[at] == '.') {
    const std::size_t fraction = at + 1;
    at = skip_digits(text, fraction);
    if (at == fraction) return false;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    const std::size_t exponent = at;
    at = skip_digits(text, exponent);
    if (at == exponent) return false;
  }
  return at == text.size();
}

Checked<std::string> canonical_date(std::string_view text) {
  const auto days = parse_date(text);
  if (!days) return Why{"not a date (YYYY-MM-DD)"};
  return print_date(*days);
}

Checked<std::string> canonical_time(std::string_view text) {
  const auto time = parse_time(text);
  if (!time) return Why{"not a time (hh:mm:ss[.ffffff])"};
  return print_time(*time);
}

Checked<std::string> canonical_timestamp(std::string_view text) {
  const auto at = parse_timestamp(text);
  if (!at) return Why{"not a timestamp without a zone (YYYY-MM-DDThh:mm:ss[.ffffff])"};
  return print(*at);
}

Checked<std::string> canonical_timestamptz(std::string_view text) {
  const Why why{"not a timestamp (YYYY-MM-DDThh:mm:ss[.ffffff]Z)"};
  const auto minutes_east = take_zone(text);
  const auto at = parse_timestamp(text);
  if (!minutes_east || !at) return why;
  const std::chrono::sys_seconds utc =
      at->days + std::chrono::seconds(at->time.seconds) - std::chrono::minutes(*minutes_east);
  const Days days = std::chrono::floor<std::chrono::days>(utc);
  const std::chrono::year year = std::chrono::year_month_day(days).year();
  if (year < std::chrono::year(1) || year > std::chrono::year(9999)) return why;
  return print({days, {static_cast<int>((utc - days).count()), at->time.micros}}) + "Z";
}

std::string utc_of_ms(std::int64_t unix_ms) {
  const std::chrono::sys_time<std::chrono::milliseconds> at{std::chrono::milliseconds(unix_ms)};
  const Days days = std::chrono::floor<std::chrono::days>(at);
  const auto of_day = (at - days).count();
  return print({days, {static_cast<int>(of_day / 1000), static_cast<int>(of_day % 1000) * 1000}}) + "Z";
}

std::optional<std::int64_t> ms_of_utc(std::string_view text) {
  const auto minutes_east = take_zone(text);
  const auto at = parse_timestamp(text);
  if (!minutes_east || !at) return {};
  const std::chrono::sys_seconds utc =
      at->days + std::chrono::seconds(at->time.seconds) - std::chrono::minutes(*minutes_east);
  return utc.time_since_epoch().count() * 1000 + at->time.micros / 1000;
}

Checked<std::string> canonical_decimal(std::string_view text, int scale) {
  constexpr std::int64_t kDigitsMax = 1000;
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const std::size_t e = std::min(text.find_first_of("eE"), text.size());
  std::int64_t exponent = 0;
  if (e < text.size()) {
    std::string_view power = text.substr(e + 1);
    if (power.starts_with('+')) power.remove_prefix(1);
    const auto [end, failed] = std::from_chars(power.data(), power.data() + power.size(), exponent);
    if (failed != std::errc() || exponent > kDigitsMax || exponent < -kDigitsMax) return Why{"too large a number"};
  }
  const std::string_view mantissa = text.substr(0, e);
  const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
  std::string digits(mantissa.substr(0, point));
  if (point < mantissa.size()) digits += mantissa.substr(point + 1);
  std::int64_t whole = static_cast<std::int64_t>(point) + exponent;  // digits before the point
  if (whole <= 0) digits.insert(0, static_cast<std::size_t>(1 - whole), '0');
  whole = std::max<std::int64_t>(whole, 1);
  if (static_cast<std::int64_t>(digits.size()) < whole) digits.resize(static_cast<std::size_t>(whole), '0');
  std::string fraction = digits.substr(static_cast<std::size_t>(whole));
  digits.resize(static_cast<std::size_t>(whole));
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
  if (scale >= 0) {
    const auto kept = static_cast<std::size_t>(scale);
    if (fraction.size() > kept && fraction.find_first_not_of('0', kept) != std::string::npos) {
      return Why{"a number with more than " + std::to_string(scale) + " digits after the point"};
    }
    fraction.resize(kept, '0');
  }
  const bool zero = (digits + fraction).find_first_not_of('0') == std::string::npos;
  return (negative && !zero ? "-" : "") + digits + (fraction.empty() ? "" : ".") + fraction;
}

Checked<std::string> canonical_uuid(std::string_view text) {
  const Why why{"not a UUID"};
  if (text.size() != 36) return why;
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i] >= 'A' && text[i] <= 'F' ? static_cast<char>(text[i] - 'A' + 'a') : text[i];
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? c != '-' : !(is_digit(c) || (c >= 'a' && c <= 'f'))) return why;
    out += c;
  }
  return out;
}

}  // namespace sluice::policies

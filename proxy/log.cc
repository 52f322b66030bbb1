// Log: spdlog behind our own two functions.
#include "proxy/log.h"

#include <atomic>
#include <cstdio>
#include <functional>
#include <memory>
#include <mutex>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace sluice::proxy {
namespace {

constexpr const char* kTextPattern = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
constexpr const char* kJsonPattern = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","message":"%v"})";

std::atomic<LogFormat> current_format{LogFormat::text};

// Never destroyed: threads may log until the very end.
spdlog::logger& logger() {
  static spdlog::logger& instance = *[] {
    auto* made = new spdlog::logger("sluice", std::make_shared<spdlog::sinks::stdout_sink_mt>());
    made->set_pattern(kTextPattern, spdlog::pattern_time_type::utc);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return instance;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

// How many bytes at `at` are one valid UTF-8 character; 0: none.
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  const std::size_t length = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t i = at + 1; i < at + length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && byte(at + 1) < 0xa0) || (first == 0xf0 && byte(at + 1) < 0x90);
  const bool surrogate = first == 0xed && byte(at + 1) > 0x9f;
  const bool too_high = first == 0xf4 && byte(at + 1) > 0x8f;
  return overlong || surrogate || too_high ? 0 : length;
}

void append_control(std::string& out, char c) {
  switch (c) {
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  char escape[8];
  std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
  out += escape;
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// A message must not be able to look like two.
std::string one_line(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (is_control(c)) {
      append_control(out, c);
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string json_escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    const std::size_t length = utf8_length(text, i);
    if (is_control(c)) {
      append_control(out, c);
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (length == 0) {
      out += "\xef\xbf\xbd";  // U+FFFD
    } else {
      out += text.substr(i, length);
    }
    i += length == 0 ? 1 : length;
  }
  return out;
}

void log(Level level, std::string_view message) {
  if (!logger().should_log(to_spdlog(level))) return;
  const bool json = current_format.load(std::memory_order_relaxed) == LogFormat::json;
  const std::string line = json ? json_escaped(message) : one_line(message);
  logger().log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

void set_level(Level level) { logger().set_level(to_spdlog(level)); }

void set_format(LogFormat format) {
  current_format = format;
  logger().set_pattern(format == LogFormat::json ? kJsonPattern : kTextPattern, spdlog::pattern_time_type::utc);
}

void log_rarely(Level level, std::string_view key, std::string_view message, std::chrono::seconds every) {
  static std::mutex mutex;
  static RateLimit& limit = *new RateLimit;
  std::optional<std::uint64_t> refused;
  {
    const std::scoped_lock lock(mutex);
    refused = limit.allow(key, std::chrono::steady_clock::now(), every);
  }
  if (!refused) return;
  log(level, *refused == 0 ? std::string(message)
                           : std::string(message) + " (and " + std::to_string(*refused) + " more since the last time)");
}

std::optional<std::uint64_t> RateLimit::allow(std::string_view key, TimePoint now, std::chrono::seconds every) {
  auto found = seen_.find(key);
  if (found == seen_.end()) {
    if (seen_.size() == kKeysMax) seen_.clear();
    seen_.emplace(std::string(key), Seen{now});
    return 0;
  }
  Seen& seen = found->second;
  if (now - seen.last < every) {
    ++seen.refused;
    return std::nullopt;
  }
  seen.last = now;
  return std::exchange(seen.refused, 0);
}

}  // namespace sluice::proxy

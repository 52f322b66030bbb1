// Log: lines on standard output, as text or as JSON.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::proxy {

enum class Level : std::uint8_t { debug, info, warning, error };
enum class LogFormat : std::uint8_t { text, json };

// One line per message, written at once; control characters are escaped. Any thread.
void log(Level level, std::string_view message);

// Messages below `level` are dropped. The first is info.
void set_level(Level level);
void set_format(LogFormat format);

// For warnings that may repeat without end: at most one message per `key` and `every`; the next one says how many were
// left out. `key` comes from the code or the configuration, never from a client. Any thread.
void log_rarely(Level level, std::string_view key, std::string_view message,
                std::chrono::seconds every = std::chrono::seconds(10));

// The bookkeeping of log_rarely(). Not thread-safe.
class RateLimit {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // Nullopt: not now. Else how many were refused since the last time.
  std::optional<std::uint64_t> allow(std::string_view key, TimePoint now, std::chrono::seconds every);

 private:
  static constexpr std::size_t kKeysMax = 1024;  // then it forgets them all: some lines too many, no growth
  struct Seen {
    TimePoint last;
    std::uint64_t refused = 0;
  };
  std::map<std::string, Seen, std::less<>> seen_;
};

// `text` as the inside of a JSON string: quotes, backslashes and control characters escaped, bytes that are not UTF-8
// replaced.
std::string json_escaped(std::string_view text);

}  // namespace sluice::proxy

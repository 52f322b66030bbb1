// The options of SET, see set_options.h.
#include "policies/set_options.h"

#include <algorithm>
#include <cctype>
#include <limits>

#include "policies/replies.h"
#include "resp/integer.h"

namespace sluice::policies {
namespace {

// Redis adds "now" to a relative time and refuses what overflows; this is later than any now.
constexpr std::int64_t kLatestNow = std::int64_t{1} << 43U;

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

// True when `options` cannot go together.
bool clash(const SetOptions& seen, bool nx, bool xx, bool keep) { return (nx && xx) || (keep && !seen.option.empty()); }

Checked<std::int64_t> milliseconds(std::string_view text, bool in_seconds, bool relative) {
  const Why invalid{"ERR invalid expire time in 'set' command"};
  const auto number = resp::parse_integer(text);
  if (!number) return Why{std::string(kNotInteger)};
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  if (*number <= 0 || (in_seconds && *number > kMax / 1000)) return invalid;
  const std::int64_t ms = in_seconds ? *number * 1000 : *number;
  if (relative && ms > kMax - kLatestNow) return invalid;
  return ms;
}

}  // namespace

Checked<SetOptions> parse_set_options(std::span<const std::string> options) {
  const Why syntax{std::string(kSyntaxError)};
  SetOptions parsed;
  bool nx = false;
  bool xx = false;
  bool keep = false;
  std::string_view amount;
  bool in_seconds = false;
  for (std::size_t i = 0; i < options.size(); ++i) {
    const std::string word = upper(options[i]);
    nx |= word == "NX";
    xx |= word == "XX";
    keep |= word == "KEEPTTL";
    const bool expiry = word == "EX" || word == "PX" || word == "EXAT" || word == "PXAT";
    if (word == "NX" || word == "XX" || word == "KEEPTTL" || word == "GET") {
      if (parsed.unsupported.empty()) parsed.unsupported = word;
    } else if (expiry && parsed.option.empty() && i + 1 < options.size()) {
      in_seconds = word[0] == 'E';
      parsed.option = word.size() == 4 ? "PXAT" : "PX";
      amount = options[++i];
    } else {
      return syntax;
    }
    if (clash(parsed, nx, xx, keep)) return syntax;
  }
  if (parsed.option.empty()) return parsed;
  const auto ms = milliseconds(amount, in_seconds, parsed.option == "PX");
  if (!ms) return Why{ms.why()};
  parsed.milliseconds = *ms;
  return parsed;
}

}  // namespace sluice::policies

// The options of SET, see set_options.h.
#include "policies/set_options.h"

#include <limits>

#include "policies/replies.h"
#include "resp/ascii.h"
#include "resp/integer.h"

namespace sluice::policies {
namespace {

using When = SetOptions::When;

// Redis adds "now" to a relative time and refuses what overflows; this is later than any now.
constexpr std::int64_t kLatestNow = std::int64_t{1} << 43U;

bool is_unit(std::string_view word) { return word == "EX" || word == "PX" || word == "EXAT" || word == "PXAT"; }

// One word of SET's options, other than an expiry. False: there is no such option, or not together with the others.
bool take_word(const std::string& word, SetOptions& options) {
  if (word == "NX" || word == "XX") {
    const When when = word == "NX" ? When::absent : When::present;
    if (options.when != When::always && options.when != when) return false;
    options.when = when;
    return true;
  }
  if (word == "GET") return options.get = true;
  return word == "KEEPTTL" && (options.keep_ttl = true);
}

}  // namespace

Checked<Expiry> parse_any_expiry(std::string_view unit, std::string_view number, std::string_view command) {
  const Why invalid{"ERR invalid expire time in '" + std::string(command) + "' command"};
  const auto parsed = resp::parse_integer(number);
  if (!parsed) return Why{std::string(kNotInteger)};
  const std::string name = resp::upper(unit);
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  const bool in_seconds = name[0] == 'E';
  if (in_seconds && (*parsed > kMax / 1000 || *parsed < -kMax / 1000)) return invalid;
  const std::int64_t ms = in_seconds ? *parsed * 1000 : *parsed;
  const bool absolute = name.size() == 4;
  if (!absolute && ms > kMax - kLatestNow) return invalid;
  return Expiry{absolute, ms};
}

Checked<Expiry> parse_expiry(std::string_view unit, std::string_view number, std::string_view command) {
  auto expiry = parse_any_expiry(unit, number, command);
  if (expiry && expiry->milliseconds <= 0) {
    return Why{"ERR invalid expire time in '" + std::string(command) + "' command"};
  }
  return expiry;
}

Checked<SetOptions> parse_set_options(std::span<const std::string> options) {
  const Why syntax{std::string(kSyntaxError)};
  SetOptions parsed;
  std::string unit;
  std::string amount;
  for (std::size_t i = 0; i < options.size(); ++i) {
    const std::string word = resp::upper(options[i]);
    if (is_unit(word) && unit.empty() && i + 1 < options.size()) {
      unit = word;
      amount = options[++i];
    } else if (!take_word(word, parsed)) {
      return syntax;
    }
    if (parsed.keep_ttl && !unit.empty()) return syntax;
  }
  if (unit.empty()) return parsed;
  const auto expiry = parse_expiry(unit, amount, "set");
  if (!expiry) return Why{expiry.why()};
  parsed.expiry = *expiry;
  return parsed;
}

}  // namespace sluice::policies

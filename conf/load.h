// Loading: the configuration file (TOML) and its overrides become a Config, or the full list of mistakes.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/config.h"
#include "conf/place.h"

namespace sluice::conf {

struct Mistake {
  int line = 0;  // from 1; 0: not about a place in the file (an override, a missing file)
  int column = 0;
  std::string message;
};

// A mistake that is about what stands at `place`.
Mistake mistake_at(const Place& place, std::string message);

struct Loaded {
  Config config;                  // meaningful only without mistakes
  Places places;                  // of what is in `config`, in its order
  std::vector<Mistake> mistakes;  // in the order of the file
  bool ok() const { return mistakes.empty(); }
};

// One `--set section.key=value`; `value` is TOML, or a bare string where TOML does not parse it.
using Override = std::pair<std::string, std::string>;

// Reads no file but the `_file` twins of secrets; `${VAR}` comes from the environment.
Loaded load_text(std::string_view text, const std::vector<Override>& overrides = {});

// `FILE:LINE:COLUMN: message`.
std::string to_string(const Mistake& mistake, std::string_view file);

// The whole configuration as TOML, defaults included, secrets as "<redacted>". Loads again to the same Config
// (secrets aside).
std::string print(const Config& config);

// `url` with its password replaced by "<redacted>".
std::string redacted(std::string_view url);

}  // namespace sluice::conf

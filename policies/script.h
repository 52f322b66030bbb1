// Script: a Lua script of the proxy's own, with the SHA1 that EVALSHA needs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::policies {

struct Script {
  std::string_view name;  // for errors and metrics
  std::string text;
  std::string sha1;  // 40 lower-case hex digits
};

// `name` must live for ever.
Script make_script(std::string_view name, std::string text);

// Every script, for SCRIPT LOAD when a connection is made.
const std::vector<const Script*>& all_scripts();

}  // namespace sluice::policies

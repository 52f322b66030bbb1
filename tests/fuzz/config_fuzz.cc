// Fuzzes the configuration: any text loads or has mistakes, and what loads prints as something that loads to the same.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "conf/load.h"

namespace {

using sluice::conf::Config;
using sluice::conf::Loaded;

// Secrets are printed as a placeholder.
void hide_secrets(Config& config) {
  for (std::string* secret : {&config.upstream.password, &config.admin.token}) {
    if (!secret->empty()) *secret = "<redacted>";
  }
}

void check(bool good, const char* what, const std::string& text) {
  if (good) return;
  std::fprintf(stderr, "%s:\n%s\n", what, text.c_str());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // "!name=value" is an override of an empty file, anything else a file.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t equals = text.find('=');
  const bool is_override = text.starts_with('!') && equals != std::string_view::npos;
  Loaded loaded = is_override
                      ? sluice::conf::load_text(
                            "", {{std::string(text.substr(1, equals - 1)), std::string(text.substr(equals + 1))}})
                      : sluice::conf::load_text(text);
  for (const auto& mistake : loaded.mistakes) check(!mistake.message.empty(), "an empty message", "");
  if (!loaded.ok()) return 0;
  const std::string printed = sluice::conf::print(loaded.config);
  const Loaded again = sluice::conf::load_text(printed);
  check(again.ok(), "what was printed does not load", printed);
  hide_secrets(loaded.config);
  check(again.config == loaded.config, "what was printed loads to something else", printed);
  return 0;
}

// Text: the strings of a configuration file: ${VAR} inside them, and how they are written.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sluice::conf {

// `text` with ${VAR} and ${VAR:-default} replaced from the environment; $${ is a literal ${. The default also stands in
// for an empty variable. Nullopt: `error` says which variable is not set, or what is malformed.
std::optional<std::string> expand(std::string_view text, std::string& error);

// `text` as a TOML string which expands to itself.
std::string quote(std::string_view text);
std::string quote_key(std::string_view name);  // as a TOML key: nothing in it is expanded

bool is_utf8(std::string_view text);

// The contents of a file without the newlines at its end. Nullopt: `error` says why it cannot be read.
std::optional<std::string> read_secret_file(const std::string& path, std::string& error);

}  // namespace sluice::conf

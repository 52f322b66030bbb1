// Encoding: append one RESP value or command to a string.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sluice::resp {

enum class Version : std::uint8_t { resp2 = 2, resp3 = 3 };

// Lines: CR and LF in the text become spaces.
void append_status(std::string& out, std::string_view text);  // +OK
void append_error(std::string& out, std::string_view text);   // -ERR ...
std::string error_reply(std::string_view text);
void append_integer(std::string& out, std::int64_t value);
void append_bulk(std::string& out, std::string_view bytes);
void append_nil(std::string& out, Version version);  // $-1 or _
void append_array_header(std::string& out, std::size_t elements);
void append_map_header(std::string& out, std::size_t pairs, Version version);  // *2n or %n
void append_command(std::string& out, std::span<const std::string_view> args);
void append_command(std::string& out, std::span<const std::string> args);

}  // namespace sluice::resp

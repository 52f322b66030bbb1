// Text: the strings of a configuration file: ${VAR} inside them, and how they are written.
#include "conf/text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace sluice::conf {
namespace {

constexpr std::size_t kSecretBytesMax = 65536;

bool is_variable_name(std::string_view name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto fits = [&](char c) { return letter(c) || (c >= '0' && c <= '9'); };
  return !name.empty() && letter(name[0]) && std::all_of(name.begin(), name.end(), fits);
}

// The value of what stands between the braces: VAR or VAR:-default.
std::optional<std::string> expand_variable(std::string_view inside, std::string& error) {
  const std::size_t dash = inside.find(":-");
  const std::string name(inside.substr(0, dash));
  if (!is_variable_name(name)) {
    error = "\"${" + std::string(inside) + "}\" does not name a variable ($${ is a literal ${)";
    return std::nullopt;
  }
  const char* value = std::getenv(name.c_str());
  if (dash != std::string_view::npos) {
    return value == nullptr || *value == '\0' ? std::string(inside.substr(dash + 2)) : std::string(value);
  }
  if (value == nullptr) {
    error = "the environment variable " + name + " is not set, and ${" + name + "} has no default";
    return std::nullopt;
  }
  return value;
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

std::optional<std::string> expand(std::string_view text, std::string& error) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    if (rest.starts_with("$${")) {
      result += "${";
      i += 2;
      continue;
    }
    if (!rest.starts_with("${")) {
      result += text[i];
      continue;
    }
    const std::size_t end = rest.find('}');
    if (end == std::string_view::npos) {
      error = "a \"${\" without \"}\" ($${ is a literal ${)";
      return std::nullopt;
    }
    const auto value = expand_variable(rest.substr(2, end - 2), error);
    if (!value) return std::nullopt;
    result += *value;
    i += end;
  }
  if (!is_utf8(result) || result.find('\0') != std::string::npos) {
    error = "holds a zero byte or is not UTF-8";
    return std::nullopt;
  }
  return result;
}

std::string quote(std::string_view text) {
  std::string escaped;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with("${")) escaped += '$';
    escaped += text[i];
  }
  return quote_key(escaped);
}

std::string quote_key(std::string_view name) {
  std::string result = "\"";
  for (const char c : name) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04X", static_cast<unsigned>(c));
      result += escape.data();
    } else {
      result += c;
    }
  }
  return result + "\"";
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || i + length > text.size()) return false;
    std::uint32_t point = length == 1 ? lead : lead & (0xffU >> (length + 1));
    for (std::size_t j = 1; j < length; ++j) {
      const auto byte = static_cast<unsigned char>(text[i + j]);
      if ((byte & 0xc0) != 0x80) return false;
      point = point << 6 | (byte & 0x3fU);
    }
    const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    if (overlong || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
    i += length;
  }
  return true;
}

std::optional<std::string> read_secret_file(const std::string& path, std::string& error) {
  const auto fail = [&](const std::string& why) {
    error = "cannot read \"" + path + "\": " + why;
    return std::nullopt;
  };
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rbe"));
  if (!file) return fail(std::strerror(errno));
  std::string contents(kSecretBytesMax + 1, '\0');
  contents.resize(std::fread(contents.data(), 1, contents.size(), file.get()));
  if (std::ferror(file.get()) != 0) return fail(std::strerror(errno));
  if (contents.size() > kSecretBytesMax) return fail("it is larger than 64 KiB");
  while (contents.ends_with('\n') || contents.ends_with('\r')) contents.pop_back();
  if (contents.empty()) return fail("it is empty");
  return contents;
}

}  // namespace sluice::conf

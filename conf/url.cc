// Url: the addresses a configuration names: where to listen, Redis, databases.
#include "conf/url.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>

#include "conf/load.h"
#include "conf/text.h"

namespace sluice::conf {
namespace {

constexpr std::uint16_t kRedisPort = 6379;
constexpr std::size_t kUnixPathMax = 107;  // sockaddr_un, less its final zero

// Also puts the reason into `error`, so that callers can write `return fail(...)`.
bool fail(std::string& error, std::string message) {
  error = std::move(message);
  return false;
}

std::string quoted(std::string_view text) { return "\"" + redacted(text) + "\""; }

template <class Number>
bool parse_number(std::string_view text, Number max, Number& number) {
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  return status == std::errc() && end == text.data() + text.size() && number >= 0 && number <= max && text[0] != '-';
}

bool consume(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool parse_unix_path(std::string_view path, Endpoint& endpoint, std::string& error) {
  while (path.starts_with("//")) path.remove_prefix(1);
  if (!path.starts_with('/') || path.size() < 2) return fail(error, "a Unix socket is written unix:/path");
  if (path.size() > kUnixPathMax) return fail(error, "the path of a Unix socket has at most 107 bytes");
  endpoint = {Endpoint::Kind::unix_socket, {}, 0, std::string(path)};
  return true;
}

bool is_host_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_';
}

// host, host:port, [v6] or [v6]:port; `port` is left alone when there is none.
bool parse_host_port(std::string_view text, Endpoint& endpoint, bool& has_port, std::string& error) {
  const bool brackets = text.starts_with('[');
  const std::size_t close = text.find(']');
  if (brackets && close == std::string_view::npos) return fail(error, quoted(text) + " lacks a ']'");
  const std::size_t colon = text.find(':', brackets ? close : 0);
  const std::string_view host = brackets ? text.substr(1, close - 1) : text.substr(0, colon);
  const auto fits = [&](char c) { return brackets ? (c == ':' || c == '%' || is_host_byte(c)) : is_host_byte(c); };
  if (brackets && close + 1 != std::min(colon, text.size()))
    return fail(error, quoted(text) + " is not [address]:port");
  if (colon != std::string_view::npos && text.find(':', colon + 1) != std::string_view::npos) {
    return fail(error, quoted(text) + ": an IPv6 address needs brackets, such as [::1]:6379");
  }
  if (host.empty()) return fail(error, quoted(text) + " names no host (every address is 0.0.0.0 or [::])");
  if (!std::all_of(host.begin(), host.end(), fits)) return fail(error, quoted(host) + " is not a host");
  endpoint.kind = Endpoint::Kind::tcp;
  endpoint.host = host;
  has_port = colon != std::string_view::npos;
  if (has_port && !parse_number<std::uint16_t>(text.substr(colon + 1), 65535, endpoint.port)) {
    return fail(error, "a port is a number from 0 to 65535");
  }
  return true;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool percent_decode(std::string_view text, std::string& decoded, std::string& error) {
  decoded.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
    if (high < 0 || low < 0) return fail(error, "the credentials have a '%' that two hexadecimal digits do not follow");
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return true;
}

bool parse_credentials(std::string_view text, UpstreamOptions& upstream, std::string& error) {
  const std::size_t colon = text.find(':');
  if (!percent_decode(text.substr(0, colon), upstream.user, error)) return false;
  if (!is_utf8(upstream.user) || upstream.user.find('\0') != std::string::npos)
    return fail(error, "the user is not UTF-8");
  return colon == std::string_view::npos || percent_decode(text.substr(colon + 1), upstream.password, error);
}

bool parse_db(std::string_view text, int& db, std::string& error) {
  if (parse_number(text, std::numeric_limits<int>::max(), db)) return true;
  return fail(error, quoted(text) + " is not the number of a Redis database");
}

bool parse_unix_upstream(std::string_view rest, UpstreamOptions& upstream, std::string& error) {
  const std::size_t query = rest.find('?');
  if (!parse_unix_path(rest.substr(0, query), upstream.endpoint, error)) return false;
  if (query == std::string_view::npos) return true;
  std::string_view parameter = rest.substr(query + 1);
  if (!consume(parameter, "db=")) return fail(error, "the only parameter of a Unix socket is ?db=N");
  return parse_db(parameter, upstream.db, error);
}

// What the URLs of a database server may say.
struct Server {
  BackendOptions::Kind kind;
  std::uint16_t port;
  std::string_view socket;  // the parameter that names a Unix socket
  std::string_view parameters;
};
constexpr Server kPostgres{BackendOptions::Kind::postgresql, 5432, "host", "sslmode sslrootcert sslcert sslkey"};
constexpr Server kMysql{BackendOptions::Kind::mysql, 3306, "socket", "ssl-mode ssl-ca ssl-cert ssl-key"};

bool has_word(std::string_view words, std::string_view word) {
  const std::string spaced = " " + std::string(words) + " ";
  return spaced.find(" " + std::string(word) + " ") != std::string::npos;
}

bool parse_parameter(std::string_view text, const Server& server, BackendOptions& backend, std::string& error) {
  const std::size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  std::string value;
  if (equals == std::string_view::npos) return fail(error, quoted(text) + ": a parameter is written name=value");
  if (!percent_decode(text.substr(equals + 1), value, error)) return false;
  if (name == server.socket) {
    if (!value.starts_with('/')) return fail(error, std::string(name) + ": a Unix socket is an absolute path");
    backend.endpoint = {Endpoint::Kind::unix_socket, {}, backend.endpoint.port, value};
    return true;
  }
  if (!has_word(server.parameters, name)) {
    return fail(error, quoted(name) + " is no parameter of this URL; there are: " + std::string(server.socket) + " " +
                           std::string(server.parameters));
  }
  backend.parameters.emplace_back(name, std::move(value));
  return true;
}

bool parse_parameters(std::string_view text, const Server& server, BackendOptions& backend, std::string& error) {
  while (!text.empty()) {
    const std::size_t end = text.find('&');
    if (!parse_parameter(text.substr(0, end), server, backend, error)) return false;
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return true;
}

bool parse_login(std::string_view text, BackendOptions& backend, std::string& error) {
  const std::size_t colon = text.find(':');
  return percent_decode(text.substr(0, colon), backend.user, error) &&
         (colon == std::string_view::npos || percent_decode(text.substr(colon + 1), backend.password, error));
}

bool parse_server(std::string_view rest, const Server& server, BackendOptions& backend, std::string& error) {
  backend.kind = server.kind;
  backend.endpoint = {Endpoint::Kind::tcp, "localhost", server.port, {}};
  const std::size_t query = std::min(rest.find('?'), rest.size());
  const std::string_view parameters = rest.substr(query);
  rest = rest.substr(0, query);
  if (const std::size_t at = rest.rfind('@'); at != std::string_view::npos) {
    if (!parse_login(rest.substr(0, at), backend, error)) return false;
    rest.remove_prefix(at + 1);
  }
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos || slash + 1 == rest.size()) return fail(error, "the URL names no database");
  bool has_port = false;
  if (slash != 0 && !parse_host_port(rest.substr(0, slash), backend.endpoint, has_port, error)) return false;
  if (backend.endpoint.port == 0) return fail(error, "the port of a database is not 0");
  return percent_decode(rest.substr(slash + 1), backend.database, error) &&
         (parameters.empty() || parse_parameters(parameters.substr(1), server, backend, error));
}

bool parse_sqlite_path(std::string_view path, BackendOptions& backend, std::string& error) {
  if (path.starts_with("//") && !path.starts_with("///")) {
    return fail(error, quoted(backend.url) + ": a file is written sqlite:FILE or sqlite:///ABSOLUTE/FILE");
  }
  if (path.starts_with("///")) path.remove_prefix(2);
  if (path.empty()) return fail(error, "the URL names no file: write sqlite:FILE");
  if (path.starts_with(":memory:")) return fail(error, "a database in memory is lost at exit: write sqlite:FILE");
  if (path.find('?') != std::string_view::npos) {
    return fail(error, quoted(backend.url) + ": sqlite: takes no parameters");
  }
  backend.kind = BackendOptions::Kind::sqlite;
  backend.path = path;
  return true;
}

}  // namespace

std::optional<Endpoint> parse_endpoint(std::string_view text, std::string& error) {
  Endpoint endpoint;
  std::string_view rest = text;
  if (consume(rest, "unix:")) return parse_unix_path(rest, endpoint, error) ? std::optional(endpoint) : std::nullopt;
  bool has_port = false;
  if (!parse_host_port(text, endpoint, has_port, error)) return std::nullopt;
  if (!has_port) {
    error = quoted(text) + " lacks a port: write host:port or unix:/path";
    return std::nullopt;
  }
  return endpoint;
}

bool parse_upstream_url(std::string_view url, UpstreamOptions& upstream, std::string& error) {
  std::string_view rest = url;
  if (consume(rest, "unix:")) return parse_unix_upstream(rest, upstream, error);
  if (!consume(rest, "redis://")) {
    return fail(error, "not the URL of a Redis: write redis://host:port/db or unix:/path");
  }
  const std::size_t at = rest.rfind('@');
  if (at != std::string_view::npos) {
    if (!parse_credentials(rest.substr(0, at), upstream, error)) return false;
    rest.remove_prefix(at + 1);
  }
  const std::size_t slash = rest.find('/');
  upstream.endpoint.port = kRedisPort;
  bool has_port = false;
  if (!parse_host_port(rest.substr(0, slash), upstream.endpoint, has_port, error)) return false;
  if (upstream.endpoint.port == 0) return fail(error, "the port of a Redis is not 0");
  const std::string_view db = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  return db.empty() || parse_db(db, upstream.db, error);
}

std::string format_upstream_url(const UpstreamOptions& upstream) {
  const std::string endpoint = to_string(upstream.endpoint);
  const std::string db = std::to_string(upstream.db);
  if (upstream.endpoint.kind == Endpoint::Kind::unix_socket) return endpoint + (upstream.db == 0 ? "" : "?db=" + db);
  return "redis://" + endpoint + "/" + db;
}

bool parse_backend_url(std::string_view url, BackendOptions& backend, std::string& error) {
  backend.url = url;
  std::string_view rest = url;
  if (consume(rest, "sqlite:")) return parse_sqlite_path(rest, backend, error);
  const bool postgres = consume(rest, "postgresql://") || consume(rest, "postgres://");
  if (!postgres && !consume(rest, "mysql://")) {
    return fail(error,
                "not the URL of a database: write sqlite:FILE, postgresql://user@host:5432/database or "
                "mysql://user@host:3306/database");
  }
  return parse_server(rest, postgres ? kPostgres : kMysql, backend, error);
}

std::string redacted(std::string_view url) {
  const std::size_t scheme = url.find("://");
  if (url.starts_with("sqlite:") || scheme == std::string_view::npos) return std::string(url);
  std::string result(url);
  const std::size_t parameter = url.find("password=");
  if (parameter != std::string_view::npos) {
    const std::size_t begin = parameter + 9;
    const std::size_t end = std::min(url.find('&', begin), url.size());
    result.replace(begin, end - begin, "<redacted>");
  }
  const std::size_t at = result.rfind('@');
  const std::size_t colon = result.find(':', scheme + 3);
  if (at != std::string::npos && colon < at) result.replace(colon + 1, at - colon - 1, "<redacted>");
  return result;
}

}  // namespace sluice::conf

// Url: the addresses a configuration names: where to listen, Redis, databases.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "conf/config.h"

namespace sluice::conf {

// host:port, [v6]:port or unix:/path. Port 0 stands for any free one. Nullopt: `error` says what is wrong.
std::optional<Endpoint> parse_endpoint(std::string_view text, std::string& error);

// redis://[user[:password]@]host[:port][/db] or unix:/path[?db=N]. Sets endpoint, db, user and password.
bool parse_upstream_url(std::string_view url, UpstreamOptions& upstream, std::string& error);
std::string format_upstream_url(const UpstreamOptions& upstream);  // without the credentials

// sqlite:PATH, or postgresql:// or mysql://[user[:password]@][host[:port]]/database[?parameter=value&...]. Sets kind
// and url, and path or endpoint, user, password, database and parameters. A Unix socket is the parameter `host` (a
// folder) or `socket` (a file).
bool parse_backend_url(std::string_view url, BackendOptions& backend, std::string& error);

}  // namespace sluice::conf

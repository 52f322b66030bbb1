// Fields: the keys of [proxy], [upstream], [admin] and [backend.NAME].
#include <chrono>
#include <string>
#include <vector>

#include "conf/field.h"
#include "conf/not_built.h"
#include "conf/url.h"

namespace sluice::conf {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kKilobyte = 1024;

std::optional<Endpoint> read_endpoint(const Node& node, Reader& reader) {
  const auto text = reader.name(node);
  if (!text) return std::nullopt;
  std::string error;
  auto endpoint = parse_endpoint(*text, error);
  if (!endpoint) reader.mistake(node, error);
  return endpoint;
}

void append_endpoint(const Node& node, ProxyOptions& proxy, Reader& reader) {
  const auto endpoint = read_endpoint(node, reader);
  if (!endpoint) return;
  for (const Endpoint& other : proxy.listen) {
    if (other == *endpoint && endpoint->port != 0)
      return reader.mistake(node, quote(to_string(other)) + " is there twice");
  }
  proxy.listen.push_back(*endpoint);
}

void read_listen(const Node& node, ProxyOptions& proxy, Reader& reader) {
  proxy.listen.clear();
  if (node.kind == Node::Kind::string) return append_endpoint(node, proxy, reader);
  if (node.kind != Node::Kind::array) {
    return reader.mistake(node, std::string("expected an array of addresses, not ") + describe(node.kind));
  }
  if (node.items.empty()) reader.mistake(node, "names no address: write host:port or unix:/path");
  for (const Node& item : node.items) append_endpoint(item, proxy, reader);
}

std::string print_listen(const ProxyOptions& proxy) {
  std::vector<std::string> names;
  for (const Endpoint& endpoint : proxy.listen) names.push_back(to_string(endpoint));
  return print_names(names);
}

void read_admin_listen(const Node& node, AdminOptions& admin, Reader& reader) {
  if (node.kind == Node::Kind::string && node.text.empty()) {
    admin.listen.reset();
  } else if (const auto endpoint = read_endpoint(node, reader)) {
    admin.listen = endpoint;
  }
}

std::string print_admin_listen(const AdminOptions& admin) {
  return quote(admin.listen ? to_string(*admin.listen) : std::string());
}

void read_upstream_url(const Node& node, UpstreamOptions& upstream, Reader& reader) {
  const auto text = reader.name(node);
  if (!text) return;
  UpstreamOptions parsed = upstream;
  parsed.db = 0;
  std::string error;
  if (parse_upstream_url(*text, parsed, error)) {
    upstream = parsed;
  } else {
    reader.mistake(node, error);
  }
}

void read_user(const Node& node, UpstreamOptions& upstream, Reader& reader) {
  const auto text = reader.name(node);
  if (text && !upstream.user.empty()) reader.mistake(node, "the url has one already");
  if (text) upstream.user = *text;
}

std::string print_user(const UpstreamOptions& upstream) { return upstream.user.empty() ? "" : quote(upstream.user); }

void set_backend_url(const Node& node, const std::string& url, BackendOptions& backend, Reader& reader) {
  std::string error;
  if (!parse_backend_url(url, backend, error)) reader.mistake(node, error);
}

void read_backend_url(const Node& node, BackendOptions& backend, Reader& reader) {
  if (const auto url = reader.name(node)) set_backend_url(node, *url, backend, reader);
}

void read_backend_url_file(const Node& node, BackendOptions& backend, Reader& reader) {
  const auto url = reader.secret_file(node);
  if (!url) return;
  if (!is_utf8(*url) || url->find('\0') != std::string::npos) return reader.mistake(node, "the file holds no URL");
  set_backend_url(node, *url, backend, reader);
}

std::string print_backend_url(const BackendOptions& backend) { return quote(redacted(backend.url)); }

template <class Options>
std::string print_nothing(const Options&) {
  return {};
}

}  // namespace

std::string print_names(const std::vector<std::string>& names) {
  std::string text = "[";
  for (const std::string& name : names) text += (text.size() > 1 ? ", " : "") + quote(name);
  return text + "]";
}

const Fields<ProxyOptions>& proxy_fields() {
  using P = ProxyOptions;
  static const Fields<P> fields{
      {"listen", read_listen, print_listen},
      integer_field("threads", &P::threads, 1, 64),
      choice_field("connections", &P::connections, {"auto", "session"}),
      integer_field("max_clients", &P::max_clients, 1, 1000000),
      duration_field("idle_timeout", &P::idle_timeout, milliseconds(0)),
      size_field("query_buffer_limit", &P::query_buffer_limit, kKilobyte),
      size_field("max_bulk_length", &P::max_bulk_length, kKilobyte),
      size_field("client_output_buffer_limit", &P::client_output_buffer_limit, kKilobyte),
      duration_field("shutdown_timeout", &P::shutdown_timeout, milliseconds(1)),
  };
  return fields;
}

const Fields<UpstreamOptions>& upstream_fields() {
  using U = UpstreamOptions;
  static const Fields<U> fields = [] {
    Fields<U> all{{"url", read_upstream_url, [](const U& upstream) { return quote(format_upstream_url(upstream)); }},
                  {"user", read_user, print_user}};
    append_secret_fields(all, "password", "password_file", &U::password);
    all.push_back(duration_field("connect_timeout", &U::connect_timeout, milliseconds(1)));
    return all;
  }();
  return fields;
}

const Fields<AdminOptions>& admin_fields() {
  using A = AdminOptions;
  static const Fields<A> fields = [] {
    Fields<A> all{{"listen", read_admin_listen, print_admin_listen}};
    append_secret_fields(all, "token", "token_file", &A::token);
    all.push_back(names_field("users", &A::users));
    return all;
  }();
  return fields;
}

const Fields<BackendOptions>& backend_fields() {
  using B = BackendOptions;
  static const Fields<B> fields = [] {
    Fields<B> all{Field<B>{"url", read_backend_url, print_backend_url}.must(),
                  {"url_file", read_backend_url_file, print_nothing<B>}};
    append_secret_fields(all, "password", "password_file", &B::password);
    all.push_back(integer_field("connections", &B::connections, 1, 1000));
    return all;
  }();
  return fields;
}

}  // namespace sluice::conf

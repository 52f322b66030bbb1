// ClientList: one map per client.
#include "proxy/client_list.h"

#include <algorithm>
#include <string_view>

namespace sluice::proxy {
namespace {

class Writer {
 public:
  Writer(std::string& out, resp::Version version) : out_(out), version_(version) {}

  void begin(std::size_t fields) { resp::append_map_header(out_, fields, version_); }
  void text(std::string_view field, std::string_view value) {
    resp::append_bulk(out_, field);
    value.empty() ? resp::append_nil(out_, version_) : resp::append_bulk(out_, value);
  }
  void number(std::string_view field, std::uint64_t value) {
    resp::append_bulk(out_, field);
    resp::append_integer(out_, static_cast<std::int64_t>(value));
  }

 private:
  std::string& out_;
  const resp::Version version_;
};

std::string_view reason_of(const ClientInfo& client) {
  return client.pinned ? kPinReasonNames[static_cast<std::size_t>(*client.pinned)] : std::string_view();
}

void write_pin(Writer& writer, const ClientInfo& client) {
  writer.begin(4);
  writer.number("id", client.number);
  writer.text("addr", client.address);
  writer.text("user", client.user);
  writer.text("pinned", reason_of(client));
}

void write_client(Writer& writer, const ClientInfo& client) {
  writer.begin(12);
  writer.number("id", client.number);
  writer.text("addr", client.address);
  writer.text("name", client.name);
  writer.text("user", client.user);
  writer.number("resp", static_cast<std::uint64_t>(client.version));
  writer.number("db", static_cast<std::uint64_t>(client.db));
  writer.number("age_ms", static_cast<std::uint64_t>(client.age.count()));
  writer.number("idle_ms", static_cast<std::uint64_t>(client.idle.count()));
  writer.text("pinned", reason_of(client));
  writer.number("unanswered", client.unanswered);
  writer.number("input_bytes", client.input_bytes);
  writer.number("output_bytes", client.output_bytes);
}

}  // namespace

std::string client_list(std::vector<ClientInfo> clients, bool pins, resp::Version version) {
  if (pins) std::erase_if(clients, [](const ClientInfo& client) { return !client.pinned; });
  std::sort(clients.begin(), clients.end(),
            [](const ClientInfo& a, const ClientInfo& b) { return a.number < b.number; });
  std::string out;
  resp::append_array_header(out, clients.size());
  Writer writer(out, version);
  for (const ClientInfo& client : clients) pins ? write_pin(writer, client) : write_client(writer, client);
  return out;
}

}  // namespace sluice::proxy

// Outbox, see outbox.h.
#include "backends/outbox.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace sluice::sql {

namespace {

constexpr const char* kAdvice = "; sluice --print-schema prints the statements that make it";

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> from_hex(std::string_view hex) {
  if (hex.size() % 2 != 0) return {};
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = digit(hex[i]), low = digit(hex[i + 1]);
    if (high < 0 || low < 0) return {};
    bytes += static_cast<char>(high * 16 + low);
  }
  return bytes;
}

// MariaDB shows a literal without its escapes.
std::string squeezed(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::isspace(static_cast<unsigned char>(c)) == 0 && c != '\\') out += c;
  }
  return out;
}

// Who guards the rows of which table. Names of tables may differ and mean the same one: in upper and lower case, with a
// schema or without.
class Guards {
 public:
  void add(const std::string& table, const std::string& guard) {
    std::string name = table.substr(table.rfind('.') + 1);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    guards_[name].insert(guard);
  }
  template <class Other>
  void add(const Other& write) {
    if constexpr (requires { write.guard; }) add(write.table, write.guard);
  }
  void add(const RunStatement&) { anything_ = true; }
  void add(const WriteRows& all) {
    for (const RowWrite& write : all.writes) {
      std::visit([this](const auto& one) { add(one); }, write);
    }
  }

  std::string mark() const {
    std::string mark;
    if (anything_) return mark;
    std::set<std::string> never, names;
    for (const auto& [table, of_table] : guards_)
      (of_table.size() > 1 ? never : names).insert(of_table.begin(), of_table.end());
    for (const std::string& name : names) {
      if (!name.empty() && !never.contains(name)) mark += (mark.empty() ? "," : "") + name + ",";
    }
    return mark;
  }

 private:
  std::map<std::string, std::set<std::string>> guards_;
  bool anything_ = false;
};

void add(Result& result, std::string text) { result.rows.push_back({std::move(text)}); }

}  // namespace

std::string outbox_trigger(const Recorded& recorded, std::string_view event) {
  std::string name = std::string(kOutbox) + "_" + recorded.policy;
  if (!event.empty()) name.append("_").append(event);
  return name;
}

std::string outbox_literal(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out.append(c == '\'' ? 2 : 1, c);
  return out += '\'';
}

std::string outbox_hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string hex;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

std::string outbox_mark(std::span<const Op* const> writes) {
  Guards guards;
  for (const Op* op : writes) {
    std::visit([&](const auto& one) { guards.add(one); }, *op);
  }
  return guards.mark();
}

std::string outbox_mark(const Op& write) {
  const Op* const one[] = {&write};
  return outbox_mark(one);
}

std::string outbox_marked(const Recorded& recorded) { return "," + recorded.policy + ","; }

Row outbox_row(std::int64_t seq, std::int64_t age_ms, std::string_view key) {
  Row row{seq, age_ms};
  while (true) {
    const std::size_t end = key.find('.');
    auto part = from_hex(key.substr(0, end));
    if (!part) return {seq, age_ms};
    row.emplace_back(std::move(*part));
    if (end == std::string_view::npos) return row;
    key.remove_prefix(end + 1);
  }
}

Error outbox_error(Error error) {
  const bool missing = error.sqlstate == "42P01" || error.sqlstate == "42S02";
  if (missing && error.message.find(kOutbox) != std::string::npos) error.message += kAdvice;
  return error;
}

void outbox_check_table(Result& result, bool exists) {
  if (!exists) add(result, "there is no table '" + std::string(kOutbox) + "'" + kAdvice);
}

void outbox_check_type(Result& result, const std::string& column, const std::string& type) {
  add(result, "the key column '" + column + "' is of the type " + type + ", whose values triggers cannot record");
}

void outbox_check_right(Result& result) {
  add(result, "there is no right to SELECT from and DELETE from '" + std::string(kOutbox) + "'");
}

void outbox_check_trigger(Result& result, const std::string& name, std::string_view expected, std::string_view found) {
  if (found.empty()) {
    add(result, "there is no trigger '" + name + "', or it is turned off, or there is no right to see it" + kAdvice);
  } else if (squeezed(found) != squeezed(expected)) {
    add(result, "the trigger '" + name + "' is not the one for this policy" + kAdvice);
  }
}

}  // namespace sluice::sql

// Client: commands and replies.
#include "tests/history/client.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace sluice::history {
namespace {

constexpr const char* kTooLarge = "5000";  // CHECK (n < 1000)

// The bulk strings of a flat array.
std::vector<std::string> items(const std::string& reply) {
  std::vector<std::string> list;
  for (std::size_t at = reply.find("\r\n"); at + 2 < reply.size();) {
    const std::size_t line = reply.find("\r\n", at + 2);
    const auto size = static_cast<std::size_t>(std::stol(reply.substr(at + 3)));
    list.push_back(reply.substr(line + 2, size));
    at = line + 2 + size;
  }
  return list;
}

bool is_shown(const std::string& field) { return field == "a" || field == "b" || field == "c"; }

}  // namespace

live::Args write_command(const Shape& shape, const std::string& key, int id, const Intent& intent,
                         const std::string& value) {
  if (shape.hash) {
    const bool may_be_alone = intent.fields.size() == 1 && !intent.refused;
    if (intent.variant == 1 && may_be_alone) return {"HSETNX", key, intent.fields[0], value};
    live::Args command{intent.variant == 0 ? "HMSET" : "HSET", key};
    for (const std::string& field : intent.fields) command.insert(command.end(), {field, value});
    if (intent.refused) command.insert(command.end(), {"n", kTooLarge});
    return command;
  }
  std::string text = "{\"id\":" + std::to_string(id);
  for (const std::string& field : intent.fields) text += ",\"" + field + "\":\"" + value + "\"";
  text += std::string(",\"n\":") + (intent.refused ? kTooLarge : "1") + "}";
  switch (intent.variant) {
    case 0:
      return {"SETEX", key, "50", text};
    case 1:
      return {"SET", key, text, "KEEPTTL"};
    case 2:
      return {"SET", key, text, "XX", "GET"};
    case 3:
      return {"SET", key, text, "NX"};
    default:
      return {"SET", key, text};
  }
}

live::Args touch_command(Touch touch, const std::string& key) {
  switch (touch) {
    case Touch::drop:
      return {"DEL", key};
    case Touch::expire:
      return {"EXPIRE", key, "100"};
    case Touch::persist:
      break;
  }
  return {"PERSIST", key};
}

live::Args read_command(const Shape& shape, const std::string& key) { return {shape.hash ? "HGETALL" : "GET", key}; }

Cells cells_of(const Shape& shape, const std::string& reply) {
  Cells cells;
  if (reply.starts_with("$-1") || reply.starts_with("*-1")) return cells;
  if (shape.hash) {
    const auto list = items(reply);
    for (std::size_t i = 0; i + 1 < list.size(); i += 2) {
      if (is_shown(list[i])) cells[list[i]] = list[i + 1];
    }
    return cells;
  }
  const std::string text = reply.substr(reply.find("\r\n") + 2);
  const auto object = nlohmann::json::parse(text.substr(0, text.size() - 2));
  for (const auto& [field, value] : object.items()) {
    if (is_shown(field) && value.is_string()) cells[field] = value.get<std::string>();
  }
  return cells;
}

// SET with GET answers with what was there before: nil means that XX did nothing.
Outcome outcome_of_write(const live::Args& command, const std::string& reply) {
  const bool unmet = reply == "$-1\r\n" || (command[0] == "HSETNX" && reply == ":0\r\n");
  if (unmet) return Outcome::refused;
  if (!reply.starts_with('-')) return Outcome::ok;
  return reply.starts_with("-SQLUNKNOWN") ? Outcome::unknown : Outcome::refused;
}

}  // namespace sluice::history

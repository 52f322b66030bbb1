// Client: commands and replies.
#include "tests/history/client.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace sluice::history {
namespace {

constexpr const char* kTooLarge = "5000";  // CHECK (n < 1000)

// The replies in an array.
std::vector<std::string> elements(const std::string& reply) {
  return live::replies(std::string_view(reply).substr(reply.find("\r\n") + 2));
}

bool is_nil(const std::string& reply) { return reply.starts_with("$-1") || reply.starts_with("*-1"); }

// Of a bulk string.
std::string text_of(const std::string& reply) {
  const std::size_t line = reply.find("\r\n");
  return reply.substr(line + 2, reply.size() - line - 4);
}

bool is_shown(const std::string& field) { return field == "a" || field == "b" || field == "c"; }

}  // namespace

const Shape& written_shape(const Shape& shape) { return shape.family == Family::joined ? kCrew : shape; }

bool is_direct(const Shape& shape, const Intent& intent) {
  switch (shape.family) {
    case Family::written:
      return false;
    case Family::direct:
    case Family::recorded:
      return true;
    case Family::joined:
      break;
  }
  return intent.fields == std::vector<std::string>{"c"};
}

const char* direct_table(const Shape& shape) { return shape.family == Family::joined ? kShip : shape.name; }

live::Args outdate_command(const Shape& shape, const std::string& key) {
  return shape.family == Family::joined ? live::Args{"SLUICE", "TOUCH", kShip} : touch_command(Touch::invalidate, key);
}

std::string version_key(const std::string& table) { return "__sluice:table:" + table; }

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
    case Touch::invalidate:
      return {"SLUICE", "INVALIDATE", key};
    case Touch::persist:
      break;
  }
  return {"PERSIST", key};
}

live::Args read_command(const Shape& shape, const std::string& key) { return {shape.hash ? "HGETALL" : "GET", key}; }

live::Args read_command(const Shape& shape, const std::string& key, const std::string& other, int variant) {
  switch (variant) {
    case 0:
      return {"EXISTS", key};
    case 1:
      return {shape.hash ? "HLEN" : "STRLEN", key};
    case 2:
      if (shape.hash) return {"HGET", key, "a"};
      return other.empty() ? live::Args{"MGET", key} : live::Args{"MGET", key, other};
    case 3:
      return shape.hash ? live::Args{"HMGET", key, "b", "a"} : live::Args{"GETEX", key};
    default:
      return read_command(shape, key);
  }
}

bool is_read(const live::Args& command) {
  static constexpr std::string_view kCommands[] = {"GET",  "MGET",    "GETEX", "STRLEN", "EXISTS",
                                                   "HGET", "HGETALL", "HMGET", "HLEN"};
  return std::find(std::begin(kCommands), std::end(kCommands), command[0]) != std::end(kCommands);
}

Sight sight_of(const Shape& shape, const live::Args& command, const std::string& reply, std::size_t place) {
  const std::string& name = command[0];
  Sight sight;
  if (name == "EXISTS" || name == "STRLEN" || name == "HLEN") {
    sight.tells = reply == ":0\r\n";  // then there is no row; otherwise there is one, whatever is in it
  } else if (name == "MGET") {
    sight.cells = cells_of(shape, elements(reply).at(place));
  } else if (name == "HGET" || name == "HMGET") {
    sight.shown.assign(command.begin() + 2, command.end());
    const auto values = name == "HGET" ? std::vector{reply} : elements(reply);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!is_nil(values[i])) sight.cells[sight.shown[i]] = text_of(values[i]);
    }
  } else {
    sight.cells = cells_of(shape, reply);
  }
  return sight;
}

Cells cells_of(const Shape& shape, const std::string& reply) {
  Cells cells;
  if (is_nil(reply)) return cells;
  if (shape.hash) {
    const auto list = elements(reply);
    for (std::size_t i = 0; i + 1 < list.size(); i += 2) {
      if (is_shown(text_of(list[i]))) cells[text_of(list[i])] = text_of(list[i + 1]);
    }
    return cells;
  }
  const auto object = nlohmann::json::parse(text_of(reply));
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

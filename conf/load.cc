// Loading: the configuration file (TOML) and its overrides become a Config, or the full list of mistakes.
#include "conf/load.h"

#include <algorithm>
#include <optional>
#include <tuple>

#include <toml++/toml.h>

#include "conf/field.h"
#include "conf/node.h"
#include "conf/read.h"
#include "conf/words.h"

namespace sluice::conf {
namespace {

// --- From the TOML library's tree to ours.

Place place_at(const toml::source_position& position) {
  return {static_cast<int>(position.line), static_cast<int>(position.column), {}};
}

Node convert(const toml::node& from);

void convert_table(const toml::table& table, Node& node) {
  for (const auto& [key, value] : table) {
    node.members.push_back({std::string(key.str()), place_at(key.source().begin), convert(value)});
  }
  const auto order = [](const Member& member) { return std::tuple(member.place.line, member.place.column); };
  std::stable_sort(node.members.begin(), node.members.end(),
                   [&](const Member& a, const Member& b) { return order(a) < order(b); });
}

Node convert(const toml::node& from) {
  Node node;
  node.place = place_at(from.source().begin);
  switch (from.type()) {
    case toml::node_type::table:
      convert_table(*from.as_table(), node);
      return node;
    case toml::node_type::array:
      node.kind = Node::Kind::array;
      for (const toml::node& item : *from.as_array()) node.items.push_back(convert(item));
      return node;
    case toml::node_type::string:
      node.kind = Node::Kind::string;
      node.text = from.as_string()->get();
      return node;
    case toml::node_type::integer:
      node.kind = Node::Kind::integer;
      node.integer = from.as_integer()->get();
      return node;
    case toml::node_type::floating_point:
      node.kind = Node::Kind::real;
      node.real = from.as_floating_point()->get();
      return node;
    case toml::node_type::boolean:
      node.kind = Node::Kind::boolean;
      node.boolean = from.as_boolean()->get();
      return node;
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time:
    case toml::node_type::none:
      node.kind = Node::Kind::moment;
      return node;
  }
  return node;
}

// Nullopt after a syntax error, which is put into `mistake`.
std::optional<Node> parse_toml(std::string_view text, Mistake& mistake) {
  try {
    Node root = convert(toml::parse(text));
    root.place = {};
    return root;
  } catch (const toml::parse_error& error) {
    const Place place = place_at(error.source().begin);
    mistake = {place.line, place.column, "not TOML: " + std::string(error.description())};
    return std::nullopt;
  }
}

// --- Overrides: values put into the tree before it is read.

void set_place(Node& node, const std::string& override_name) {
  node.place = {0, 0, override_name};
  for (Node& item : node.items) set_place(item, override_name);
  for (Member& member : node.members) {
    member.place = node.place;
    set_place(member.value, override_name);
  }
}

Node override_value(const Override& override) {
  Mistake mistake;
  Node value;
  std::optional<Node> parsed = parse_toml("value = " + override.second, mistake);
  const bool one_value = parsed && parsed->members.size() == 1 && parsed->members[0].value.kind != Node::Kind::moment;
  if (one_value) {
    value = std::move(parsed->members[0].value);
  } else {
    value.kind = Node::Kind::string;
    value.text = override.second;
  }
  set_place(value, override.first);
  return value;
}

Node& member_table(Node& node, const std::string& name, const Place& place) {
  for (Member& member : node.members) {
    if (member.name == name) return member.value;
  }
  node.members.push_back({name, place, Node{}});
  node.members.back().value.place = place;
  return node.members.back().value;
}

Node* find_policy(Node& root, std::string_view name) {
  for (Member& member : root.members) {
    if (member.name != "policy") continue;
    for (Node& table : member.value.items) {
      const Member* own = table.find("name");
      if (own != nullptr && own->value.text == name) return &table;
    }
  }
  return nullptr;
}

std::string form_of_overrides() {
  return "an override is SECTION.KEY=VALUE, policy.NAME.KEY=VALUE or backend.NAME.KEY=VALUE";
}

// The table that an override is about; nullptr after a mistake.
Node* override_table(Node& root, const Override& override, Mistakes& mistakes) {
  const std::string& path = override.first;
  const Place place{0, 0, path};
  const std::size_t first = path.find('.');
  const std::size_t last = path.rfind('.');
  const std::string section = path.substr(0, first);
  const bool named = section == "policy" || section == "backend";
  if (first == std::string::npos || last + 1 == path.size() || named != (first != last)) {
    mistakes.add(place, form_of_overrides());
    return nullptr;
  }
  if (!named) return &member_table(root, section, place);
  const std::string name = path.substr(first + 1, last - first - 1);
  if (section == "backend") return &member_table(member_table(root, section, place), name, place);
  Node* table = find_policy(root, name);
  if (table == nullptr) mistakes.add(place, "there is no policy named \"" + name + "\"");
  return table;
}

void apply_override(Node& root, const Override& override, Mistakes& mistakes) {
  Node* table = override_table(root, override, mistakes);
  if (table == nullptr) return;
  const std::string key = override.first.substr(override.first.rfind('.') + 1);
  std::erase_if(table->members, [&](const Member& member) { return member.name == key; });
  table->members.push_back({key, {0, 0, override.first}, override_value(override)});
}

}  // namespace

Loaded load_text(std::string_view text, const std::vector<Override>& overrides) {
  Loaded loaded;
  Mistake syntax;
  std::optional<Node> root = parse_toml(text, syntax);
  if (!root) {
    loaded.mistakes.push_back(std::move(syntax));
    return loaded;
  }
  Mistakes mistakes;
  for (const Override& override : overrides) apply_override(*root, override, mistakes);
  loaded.config = read_config(*root, mistakes);
  loaded.mistakes = mistakes.take();
  if (loaded.ok()) loaded.places = places_in(*root);
  return loaded;
}

std::string to_string(const Mistake& mistake, std::string_view file) {
  std::string place(file);
  if (mistake.line > 0) place += ":" + std::to_string(mistake.line) + ":" + std::to_string(mistake.column);
  return place + ": " + mistake.message;
}

}  // namespace sluice::conf

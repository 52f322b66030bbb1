// Reader: turns single nodes into typed values, and collects what is wrong with them.
#include "conf/reader.h"

#include <algorithm>
#include <tuple>

#include "conf/text.h"
#include "conf/units.h"
#include "conf/words.h"

namespace sluice::conf {

Mistake mistake_at(const Place& place, std::string message) {
  if (!place.override_name.empty()) return {0, 0, "--set " + place.override_name + ": " + message};
  return {place.line, place.column, std::move(message)};
}

void Mistakes::add(const Place& place, std::string message) {
  mistakes_.push_back(mistake_at(place, std::move(message)));
}

std::vector<Mistake> Mistakes::take() {
  const auto order = [](const Mistake& mistake) {
    return std::tuple(mistake.line == 0 ? std::numeric_limits<int>::max() : mistake.line, mistake.column);
  };
  std::stable_sort(mistakes_.begin(), mistakes_.end(),
                   [&](const Mistake& a, const Mistake& b) { return order(a) < order(b); });
  return std::move(mistakes_);
}

void Reader::mistake(const Node& node, const std::string& message) {
  mistakes_.add(node.place, std::string(key_) + ": " + message);
}

bool Reader::is(const Node& node, Node::Kind kind, const char* expected) {
  if (node.kind == kind) return true;
  mistake(node, std::string("expected ") + expected + ", not " + describe(node.kind));
  return false;
}

std::optional<std::string> Reader::text(const Node& node) {
  if (!is(node, Node::Kind::string, "a string")) return std::nullopt;
  std::string error;
  auto expanded = expand(node.text, error);
  if (!expanded) mistake(node, error);
  return expanded;
}

std::optional<std::string> Reader::name(const Node& node) {
  auto value = text(node);
  if (!value || !value->empty()) return value;
  mistake(node, "must not be empty");
  return std::nullopt;
}

std::optional<std::int64_t> Reader::integer(const Node& node, std::int64_t min, std::int64_t max) {
  if (!is(node, Node::Kind::integer, "an integer")) return std::nullopt;
  if (node.integer >= min && node.integer <= max) return node.integer;
  mistake(node,
          "must be " + std::to_string(min) + " to " + std::to_string(max) + ", not " + std::to_string(node.integer));
  return std::nullopt;
}

std::optional<double> Reader::fraction(const Node& node, double max) {
  const bool whole = node.kind == Node::Kind::integer;
  if (!whole && !is(node, Node::Kind::real, "a number")) return std::nullopt;
  const double value = whole ? static_cast<double>(node.integer) : node.real;
  if (value >= 0 && value <= max) return value;
  mistake(node, "must be 0 to " + format_fraction(max) + ", not " + format_fraction(value));
  return std::nullopt;
}

std::optional<bool> Reader::boolean(const Node& node) {
  return is(node, Node::Kind::boolean, "true or false") ? std::optional(node.boolean) : std::nullopt;
}

std::optional<Duration> Reader::duration(const Node& node, Duration min) {
  if (node.kind == Node::Kind::integer) {
    mistake(node, "a unit is missing: write \"" + std::to_string(node.integer) + "s\"");
    return std::nullopt;
  }
  if (!is(node, Node::Kind::string, "a duration such as \"10s\"")) return std::nullopt;
  const auto written = text(node);
  if (!written) return std::nullopt;
  std::string error;
  auto value = parse_duration(*written, error);
  if (value && *value < min) {
    error = "must be at least " + quote(format_duration(min)) + ", not " + quote(*written);
    value.reset();
  }
  if (!value) mistake(node, error);
  return value;
}

std::optional<std::size_t> Reader::size(const Node& node, std::size_t min) {
  if (node.kind == Node::Kind::integer) {
    mistake(node, "a unit is missing: write \"" + std::to_string(node.integer) + "mb\" or \"" +
                      std::to_string(node.integer) + "b\"");
    return std::nullopt;
  }
  if (!is(node, Node::Kind::string, "a size such as \"64kb\"")) return std::nullopt;
  const auto written = text(node);
  if (!written) return std::nullopt;
  std::string error;
  auto value = parse_size(*written, error);
  if (value && *value < min) {
    error = "must be at least " + quote(format_size(min)) + ", not " + quote(*written);
    value.reset();
  }
  if (!value) mistake(node, error);
  return value;
}

std::optional<std::size_t> Reader::choice(const Node& node, const std::vector<std::string_view>& choices) {
  const auto value = text(node);
  if (!value) return std::nullopt;
  const auto found = std::find(choices.begin(), choices.end(), *value);
  if (found != choices.end()) return static_cast<std::size_t>(found - choices.begin());
  mistake(node, "must be " + any_of(choices) + ", not " + quote(*value) + did_you_mean(*value, choices));
  return std::nullopt;
}

std::optional<std::vector<std::string>> Reader::names(const Node& node) {
  if (!is(node, Node::Kind::array, "an array of strings")) return std::nullopt;
  std::vector<std::string> values;
  bool fine = true;
  for (const Node& item : node.items) {
    const auto value = name(item);
    if (value && std::find(values.begin(), values.end(), *value) != values.end()) {
      mistake(item, quote(*value) + " is there twice");
      fine = false;
    }
    if (value) values.push_back(*value);
    fine = fine && value;
  }
  return fine ? std::optional(values) : std::nullopt;
}

std::optional<std::string> Reader::secret_file(const Node& node) {
  const auto path = name(node);
  if (!path) return std::nullopt;
  std::string error;
  auto secret = read_secret_file(*path, error);
  if (!secret) mistake(node, error);
  return secret;
}

const char* describe(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::string:
      return "a string";
    case Node::Kind::integer:
      return "an integer";
    case Node::Kind::real:
      return "a float";
    case Node::Kind::boolean:
      return "a boolean";
    case Node::Kind::moment:
      return "a date or time";
    case Node::Kind::array:
      return "an array";
    case Node::Kind::table:
      return "a table";
  }
  return "nothing";
}

}  // namespace sluice::conf

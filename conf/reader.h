// Reader: turns single nodes into typed values, and collects what is wrong with them.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "conf/load.h"
#include "conf/node.h"

namespace sluice::conf {

class Mistakes {
 public:
  void add(const Place& place, std::string message);
  std::size_t size() const { return mistakes_.size(); }
  // In the order of the file; those that are not about a place in it come last.
  std::vector<Mistake> take();

 private:
  std::vector<Mistake> mistakes_;
};

// Reads the value of one key. Each function returns nullopt after it has reported a mistake.
class Reader {
 public:
  Reader(std::string_view key, Mistakes& mistakes) : key_(key), mistakes_(mistakes) {}

  std::string_view key() const { return key_; }
  void mistake(const Node& node, const std::string& message);  // the key is put in front

  std::optional<std::string> text(const Node& node);  // ${...} expanded
  std::optional<std::string> name(const Node& node);  // as text(), not empty
  std::optional<std::int64_t> integer(const Node& node, std::int64_t min, std::int64_t max);
  std::optional<double> fraction(const Node& node, double max);  // from 0
  std::optional<bool> boolean(const Node& node);
  std::optional<Duration> duration(const Node& node, Duration min);
  std::optional<std::size_t> size(const Node& node, std::size_t min);
  std::optional<std::size_t> choice(const Node& node, const std::vector<std::string_view>& choices);  // its index
  std::optional<std::vector<std::string>> names(const Node& node);  // an array of name()s, none twice
  std::optional<std::string> secret_file(const Node& node);         // the contents of the file it names

 private:
  bool is(const Node& node, Node::Kind kind, const char* expected);

  std::string_view key_;
  Mistakes& mistakes_;
};

// `a string`, `an integer`: what a node is, for messages.
const char* describe(Node::Kind kind);

}  // namespace sluice::conf

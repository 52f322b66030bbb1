// Read: the tree of a configuration file becomes a Config, defaults filled in, every mistake reported.
#pragma once

#include "conf/config.h"
#include "conf/node.h"
#include "conf/reader.h"

namespace sluice::conf {

Config read_config(const Node& root, Mistakes& mistakes);
// Of a tree that is read without mistakes.
Places places_in(const Node& root);

// Where `key` of a table stands, or the table itself when it has no such key.
const Place& place_of(const Node& table, std::string_view key);

}  // namespace sluice::conf

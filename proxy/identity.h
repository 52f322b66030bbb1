// Identity: whose connection to Redis it is, in which database, and in which protocol: what those who share one agree
// in.
#pragma once

#include <cstdint>
#include <string>

#include "resp/encode.h"

namespace sluice::proxy {

// Two identities are equal only if Redis has checked the same password for both.
struct Identity {
  resp::Version version = resp::Version::resp2;
  std::string user = {};  // empty: never authenticated, and what Redis lets such a connection do
  std::string password = {};
  int db = 0;

  bool operator==(const Identity&) const = default;
};

// What CLIENT SETNAME and CLIENT SETINFO have told Redis about a connection.
struct Labels {
  std::string name;
  std::string library;
  std::string library_version;

  bool operator==(const Labels&) const = default;
};

// Commands, and how many.
struct Commands {
  std::string wire;
  std::uint32_t count = 0;

  void add(std::initializer_list<std::string> words);
};

// Make a fresh connection one of `identity`.
struct Transformation {
  Commands attempt;            // may fail, and if it does not, the last of `needed` may
  Commands needed;             // must succeed
  bool may_be_nobody = false;  // -NOAUTH will do: the client is to authenticate by itself
};
Transformation commands_to_become(const Identity& identity);
// Change the labels of a connection.
Commands commands_to_relabel(const Labels& from, const Labels& to);

}  // namespace sluice::proxy

// Identity: the commands that give it to a connection.
#include "proxy/identity.h"

#include <span>

namespace sluice::proxy {

void Commands::add(std::initializer_list<std::string> words) {
  resp::append_command(wire, std::span<const std::string>(words.begin(), words.size()));
  ++count;
}

// The database is selected before and after the user is: the one who came here may have had the right to, this one not,
// or the other way round.
Transformation commands_to_become(const Identity& identity) {
  Transformation commands;
  const bool known = !identity.user.empty();
  commands.may_be_nobody = !known && identity.version == resp::Version::resp2;
  if (known && identity.db != 0) commands.attempt.add({"SELECT", std::to_string(identity.db)});
  if (identity.version == resp::Version::resp3) {
    known ? commands.needed.add({"HELLO", "3", "AUTH", identity.user, identity.password})
          : commands.needed.add({"HELLO", "3"});
  } else if (known) {
    commands.needed.add({"AUTH", identity.user, identity.password});
  }
  if (identity.db != 0) commands.needed.add({"SELECT", std::to_string(identity.db)});
  return commands;
}

Commands commands_to_relabel(const Labels& from, const Labels& to) {
  Commands commands;
  if (from.name != to.name) commands.add({"CLIENT", "SETNAME", to.name});
  if (from.library != to.library) commands.add({"CLIENT", "SETINFO", "LIB-NAME", to.library});
  if (from.library_version != to.library_version) commands.add({"CLIENT", "SETINFO", "LIB-VER", to.library_version});
  return commands;
}

}  // namespace sluice::proxy

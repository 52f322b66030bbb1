// Read: the read commands that a policy fills, and their replies as Redis would make them from the value.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "conf/config.h"
#include "policies/shared.h"
#include "resp/absence.h"
#include "resp/command_table.h"
#include "resp/encode.h"

namespace sluice::policies {

// Whether a policy with such values fills the command. One that is for another type of value is filled too: it is
// WRONGTYPE once the value is there; but to MGET such a key is nil like an absent one.
bool is_filled(conf::ValueMode mode, resp::CommandId command);
// What Redis replies to a command that is filled, of `words` words, when its key, or some of them, are absent.
resp::Absence absence_of(resp::CommandId command, std::size_t words);
// Whether the command may have several keys: MGET, EXISTS.
bool reads_several(resp::CommandId command);
// Whether it has names of fields after its key, and needs these only.
bool reads_fields(resp::CommandId command);
// Whether only Redis can say: the expiry of a copy, the type of a value that is not the policy's.
bool asks_redis(resp::CommandId command, const Answer& answer);
// Whether the answer for one key is the reply to a command with several: a failure, but for another type of value.
bool ends_read(const Answer& answer);

// What a command that is filled gets. `args`: as sent. `answers`: one for each of its keys.
struct Reading {
  const resp::CommandInfo& command;
  const std::vector<std::string>& args;
  resp::Version version;
  conf::ValueMode mode;
};
Finish finish_read(const Reading& reading, const std::vector<const Answer*>& answers);

}  // namespace sluice::policies

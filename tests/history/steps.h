// Steps: which step of the protocol a message on a link is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "policies/script.h"
#include "tests/history/fault_link.h"
#include "tests/history/schedule.h"

namespace sluice::history {

// `sql`: the link is to the database. There statements are prepared: what they do cannot be told from what is sent.
bool is_step(const Step& step, bool sql, const FaultLink::Message& message);

// Whether the command runs one of these scripts.
bool runs(const std::vector<std::string>& command, const std::vector<const policies::Script*>& scripts);

// Those of a step, none when it is not a script.
std::vector<const policies::Script*> scripts_at(Point point);

}  // namespace sluice::history

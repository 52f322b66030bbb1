// Client: runs commands on the shapes of a trial through one proxy or another, and reads their replies as operations.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "tests/history/history.h"
#include "tests/history/schedule.h"
#include "tests/live/harness.h"

namespace sluice::history {

// SET or HSET of `fields`, each to `value`; `refused`: with a number that the table does not take.
live::Args write_command(const Shape& shape, const std::string& key, int id, const std::vector<std::string>& fields,
                         const std::string& value, bool refused);
live::Args read_command(const Shape& shape, const std::string& key);
// The fields a, b and c of a reply to read_command().
Cells cells_of(const Shape& shape, const std::string& reply);
// Of a reply to a write. `-LOADING`, `-TRYAGAIN` and the like are definite.
Outcome outcome_of_write(const std::string& reply);

}  // namespace sluice::history

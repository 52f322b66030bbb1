// Client: runs commands on the shapes of a trial through one proxy or another, and reads their replies as operations.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "tests/history/history.h"
#include "tests/history/schedule.h"
#include "tests/live/harness.h"

namespace sluice::history {

// SET or HSET, or a relative of theirs, of the intent's fields, each to `value`.
live::Args write_command(const Shape& shape, const std::string& key, int id, const Intent& intent,
                         const std::string& value);
live::Args touch_command(Touch touch, const std::string& key);
live::Args read_command(const Shape& shape, const std::string& key);
// The fields a, b and c of a reply to read_command().
Cells cells_of(const Shape& shape, const std::string& reply);
// Of a reply to a write_command(). `-LOADING`, `-TRYAGAIN` and the like are definite, and so are conditions (NX, XX)
// that are not met.
Outcome outcome_of_write(const live::Args& command, const std::string& reply);

}  // namespace sluice::history

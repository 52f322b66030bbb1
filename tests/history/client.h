// Client: runs commands on the shapes of a trial through one proxy or another, and reads their replies as operations.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "tests/history/history.h"
#include "tests/history/schedule.h"
#include "tests/live/harness.h"

namespace sluice::history {

// The shape of the rows that are written through a proxy; for what is joined those of one of its tables.
const Shape& written_shape(const Shape& shape);
// Whether the intent writes in the database itself; and to which table, and what is to be done after it.
bool is_direct(const Shape& shape, const Intent& intent);
const char* direct_table(const Shape& shape);
live::Args outdate_command(const Shape& shape, const std::string& key);
// Where Redis holds the version of a table.
std::string version_key(const std::string& table);

// SET or HSET, or a relative of theirs, of the intent's fields, each to `value`.
live::Args write_command(const Shape& shape, const std::string& key, int id, const Intent& intent,
                         const std::string& value);
live::Args touch_command(Touch touch, const std::string& key);
// The whole value.
live::Args read_command(const Shape& shape, const std::string& key);
// The fields a, b and c of a reply to read_command().
Cells cells_of(const Shape& shape, const std::string& reply);
// Another command that reads, by its number; MGET reads `other` too, unless it is empty.
live::Args read_command(const Shape& shape, const std::string& key, const std::string& other, int variant);
bool is_read(const live::Args& command);
// What a reply to such a command, other than an error, says of its key, or of that with this place among its keys.
struct Sight {
  bool tells = true;  // anything
  Cells cells;
  std::vector<std::string> shown;  // see Operation
};
Sight sight_of(const Shape& shape, const live::Args& command, const std::string& reply, std::size_t place = 0);
// Of a reply to a write_command(). `-LOADING`, `-TRYAGAIN` and the like are definite, and so are conditions (NX, XX)
// that are not met.
Outcome outcome_of_write(const live::Args& command, const std::string& reply);

}  // namespace sluice::history

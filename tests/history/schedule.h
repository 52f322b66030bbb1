// Schedule: what the clients of a trial do and which faults they meet, all from one number.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/history/history.h"

namespace sluice::history {

using std::chrono::milliseconds;

// How what a policy caches comes to change.
enum class Family : std::uint8_t {
  written,   // write-through
  direct,    // its rows are written in the database itself, and then invalidated
  joined,    // it is a query over two tables: one is written through another policy, the other in the database itself
  recorded,  // its rows are written in the database itself, whose outbox tells of it
};

// The policies of every trial: a key template and a policy each, of the same name, and of the table of that name
// unless it is joined.
struct Shape {
  const char* name;
  bool hash;
  bool invalidate;  // on_write
  Family family = Family::written;
};
inline constexpr Shape kShapes[] = {
    {"doc", false, false},
    {"note", false, true},
    {"card", true, false},
    {"form", true, true},
    {"leaf", false, false, Family::direct},
    {"page", true, false, Family::direct},
    {"team", false, false, Family::joined},
    {"gang", true, false, Family::joined},
    {"tree", false, false, Family::recorded},
    {"book", true, false, Family::recorded},
};
// The tables of what is joined: that of `a` and `b`, written through a policy of its own, and that of `c`.
inline constexpr Shape kCrew{"crew", true, false};
inline constexpr const char* kShip = "ship";

// Where a message is on its way, each way twice: before it arrives, and before its answer does.
enum class Point : std::uint8_t { read, arm, apply, abort, lease, fill, inval, touch, statement, commit };
struct Step {
  Point point;
  bool reply;
};
std::string print(const Step& step);

enum class Action : std::uint8_t {
  kill,        // SIGKILL the proxy
  stop,        // SIGSTOP it for `length`
  cut,         // reset its connections to this server
  lose,        // nothing passes in this direction for `length`, then cut
  delay,       // this message, by `length`
  empty,       // Redis is killed, and comes back empty
  restart,     // and comes back with its data
  evict,       // the side key vanishes
  forget,      // the versions of tables vanish
  lock,        // somebody else locks the row or the table for `length`
  end_backend  // the database ends all sessions
};
const char* name(Action action);

struct Fault {
  Step step{};
  int nth = 1;     // time that this step comes
  int proxy = -1;  // -1: any
  int key = -1;    // -1: any
  Action action = Action::delay;
  milliseconds length{0};
  bool arrives = false;  // the message still does
};
std::string print(const Fault& fault);

// What is done to a copy.
enum class Touch : std::uint8_t { drop, expire, persist, invalidate };

// What a client is about to do.
struct Intent {
  Kind kind = Kind::read;
  int key = 0;
  int proxy = 0;
  std::vector<std::string> fields;  // to write
  int variant = 0;                  // of the command that writes or reads
  Touch touch = Touch::drop;
  bool refused = false;   // the value breaks a constraint
  milliseconds pause{0};  // before it
};

struct KeyPlan {
  int shape = 0;
  bool exists = false;  // the row
  bool warm = false;    // and its copy
};

struct Schedule {
  unsigned seed = 0;
  int proxies = 1;
  std::vector<KeyPlan> keys;
  std::vector<std::vector<Intent>> clients;
  std::vector<Fault> faults;
  bool quiet = false;         // nobody writes any more once a fault has struck, so that what it left behind shows
  int noise_percent = 0;      // of the messages that are held up for a moment,
  milliseconds noise_max{0};  // at most this long
};
std::string print(const Schedule& schedule);

// `sql_link`: there are links to the database, too. Consecutive seeds go through all pairs of a step and an action.
// `only`: keys of this family; else of any but the recorded.
Schedule make_schedule(unsigned seed, int proxies, bool sql_link, std::optional<Family> only = {});

// How many pairs that is.
std::size_t pairs_of_step_and_action(bool sql_link);

}  // namespace sluice::history

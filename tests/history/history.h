// History: what the clients of one key did, saw and were told, and what the database held in the end.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::history {

// Since the history began.
using Time = std::chrono::microseconds;

// Fields and their values; a field that is absent, or NULL, is not in the map. Every write has a name of its own, and
// every value it writes is that name: whoever sees a value knows which write it is from.
using Cells = std::map<std::string, std::string>;

enum class Kind : std::uint8_t {
  write,
  read,   // through a proxy
  copy,   // the cached copy, looked at in Redis itself; only when there is one
  touch,  // the cached copy is dropped, or gets another expiry
};

enum class Outcome : std::uint8_t {
  ok,       // a write is committed, a read has `cells`
  refused,  // certainly nothing was applied
  unknown,  // SQLUNKNOWN or a lost connection: applied once, or not at all
};

struct Operation {
  int client = 0;
  int proxy = -1;  // that it went through
  Kind kind = Kind::read;
  Cells cells;  // written, or seen
  // A read that shows only these fields; empty: all of them.
  std::vector<std::string> shown = {};
  Time invoked{0};
  Time returned{0};
  Outcome outcome = Outcome::ok;
  // Redis was lost to the proxy while it wrote: the old copy may live on for the allowance.
  bool redis_lost = false;
  // A write that reads may miss until everything is over.
  bool in_the_end = false;
  std::string note;  // for people: the command, the proxy, the reply

  bool is_read() const { return (kind == Kind::read || kind == Kind::copy) && outcome == Outcome::ok; }
  bool shows(const std::string& field) const {
    return shown.empty() || std::find(shown.begin(), shown.end(), field) != shown.end();
  }
};

// Of one key.
struct History {
  std::string key;
  std::vector<std::string> fields;  // all that there are
  Cells before;                     // in the database when the history began
  Cells after;                      // and when everything was over
  std::vector<Operation> operations;
};

// As a table, in the order of invocation. `marked` are indices into `operations`.
std::string print(const History& history, const std::vector<std::size_t>& marked = {});
std::string print(const Cells& cells);

}  // namespace sluice::history

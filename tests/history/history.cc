// History: printing.
#include "tests/history/history.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace sluice::history {
namespace {

const char* name(Kind kind) {
  switch (kind) {
    case Kind::write:
      return "write";
    case Kind::read:
      return "read";
    case Kind::copy:
      return "copy";
    case Kind::touch:
      return "touch";
  }
  return "";
}

const char* name(Outcome outcome) {
  switch (outcome) {
    case Outcome::ok:
      return "ok";
    case Outcome::refused:
      return "refused";
    case Outcome::unknown:
      return "unknown";
  }
  return "";
}

std::string milliseconds(Time time) {
  char text[32];
  std::snprintf(text, sizeof text, "%9.3f", static_cast<double>(time.count()) / 1000);
  return text;
}

std::string line(const Operation& operation, bool marked) {
  return std::string(marked ? "> " : "  ") + milliseconds(operation.invoked) + " .." +
         milliseconds(operation.returned) + "  client " + std::to_string(operation.client) + "  " +
         name(operation.kind) + " " + name(operation.outcome) + (operation.redis_lost ? " (Redis lost)" : "") + "  " +
         print(operation.cells) + "  " + operation.note + "\n";
}

}  // namespace

std::string print(const Cells& cells) {
  std::string text = "{";
  for (const auto& [field, value] : cells) text += (text.size() == 1 ? "" : ", ") + field + "=" + value;
  return text + "}";
}

std::string print(const History& history, const std::vector<std::size_t>& marked) {
  std::vector<std::size_t> order(history.operations.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return history.operations[a].invoked < history.operations[b].invoked;
  });
  std::string text = history.key + ": times in ms since the beginning\n  SQL before: " + print(history.before) + "\n";
  for (const std::size_t i : order) {
    text += line(history.operations[i], std::find(marked.begin(), marked.end(), i) != marked.end());
  }
  return text + "  SQL after: " + print(history.after) + "\n";
}

}  // namespace sluice::history

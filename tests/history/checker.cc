// Checker: nodes are the writes that happened and the reads; deduction in stages, each with more of the promises.
#include "tests/history/checker.h"

#include <algorithm>
#include <optional>
#include <set>

#include "tests/history/order.h"

namespace sluice::history {
namespace {

constexpr Time kNever = Time::max();

// A write that happened, a read, the state before everything (a write) or after everything (a read).
struct Node {
  bool writes = false;
  const Operation* operation = nullptr;  // null: the state before or after
  std::size_t index = 0;                 // of the operation
  Cells cells;
  Time invoked{0}, returned{0};
};

// What a stage takes for granted, beyond what the stages before it did.
enum class Stage : std::uint8_t { end, rows, writes, reads, copies, clients, together };

class Deduction {
 public:
  Deduction(const History& history, const Rules& rules) : history_(history), rules_(rules) {
    nodes_.push_back({true, nullptr, 0, history.before, Time::min(), Time::min()});
    const std::set<std::string> seen = values_seen();
    for (std::size_t i = 0; i < history.operations.size(); ++i) add_node(i, seen);
    nodes_.push_back({false, nullptr, 0, history.after, kNever, kNever});
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (!nodes_[i].writes) continue;
      for (const std::string& field : history.fields) writers_[field].push_back(i);
    }
    for (auto& [field, writers] : writers_) {
      std::erase_if(writers, [&](std::size_t w) { return w != 0 && !nodes_[w].cells.contains(field); });
    }
  }

  // What contradicts the promises up to this stage.
  std::optional<std::vector<std::size_t>> contradiction(Stage stage) {
    stage_ = stage;
    order_.emplace(nodes_.size());
    if (!relate()) return culprits_;
    for (changed_ = true; changed_;) {
      changed_ = false;
      if (!deduce()) return culprits_;
    }
    return std::nullopt;
  }

  // Whether one of these is a write of which nobody knew whether it was applied.
  bool involves_unknown(const std::vector<std::size_t>& operations) const {
    for (const std::size_t i : operations) {
      if (history_.operations[i].kind == Kind::write && history_.operations[i].outcome == Outcome::unknown) return true;
    }
    return false;
  }

 private:
  std::set<std::string> values_seen() const {
    std::set<std::string> seen;
    for (const auto& [field, value] : history_.after) seen.insert(value);
    for (const Operation& operation : history_.operations) {
      if (!operation.is_read()) continue;
      for (const auto& [field, value] : operation.cells) seen.insert(value);
    }
    return seen;
  }

  void add_node(std::size_t index, const std::set<std::string>& seen) {
    const Operation& operation = history_.operations[index];
    if (operation.is_read()) {
      nodes_.push_back({false, &operation, index, operation.cells, operation.invoked, operation.returned});
    } else if (operation.kind == Kind::write && operation.outcome == Outcome::ok) {
      nodes_.push_back({true, &operation, index, operation.cells, operation.invoked, operation.returned});
    } else if (operation.kind == Kind::write && operation.outcome == Outcome::unknown) {
      // It may have happened at any time later; when nobody saw it, it did not.
      if (!operation.cells.empty() && !seen.contains(operation.cells.begin()->second)) return;
      nodes_.push_back({true, &operation, index, operation.cells, operation.invoked, kNever});
    }
  }

  bool fail(std::initializer_list<std::size_t> nodes) {
    culprits_.clear();
    for (const std::size_t node : nodes) {
      if (nodes_[node].operation != nullptr) culprits_.push_back(nodes_[node].index);
    }
    return false;
  }

  bool relate() {
    for (std::size_t a = 0; a < nodes_.size(); ++a) {
      for (std::size_t b = 0; b < nodes_.size(); ++b) {
        if (a != b && known_before(nodes_[a], nodes_[b]) && !order_->add(a, b)) return fail({a, b});
      }
    }
    return true;
  }

  // Whether the times, and the promises of this stage, say so.
  bool known_before(const Node& a, const Node& b) const {
    if (a.returned == kNever || a.returned >= b.invoked) return false;
    if (a.operation == nullptr) return true;  // the state before
    if (stage_ == Stage::rows) return false;
    if (b.operation == nullptr) return stage_ != Stage::end || a.writes;  // the state after
    if (b.writes) return true;
    if (a.writes) return promised_after_write(a, b);
    return promised_after_read(a, b);
  }

  bool late_enough(const Node& a, const Node& b) const { return a.returned + rules_.allowance < b.invoked; }

  bool promised_after_write(const Node& write, const Node& read) const {
    if (stage_ < (read.operation->kind == Kind::copy ? Stage::copies : Stage::reads)) return false;
    if (write.operation->in_the_end) return false;
    return !write.operation->redis_lost || late_enough(write, read);
  }

  bool promised_after_read(const Node& a, const Node& b) const {
    if (stage_ < Stage::clients || (!rules_.strict && !late_enough(a, b))) return false;
    return stage_ == Stage::together || a.operation->client == b.operation->client;
  }

  // One round over all reads.
  bool deduce() {
    for (std::size_t read = 0; read < nodes_.size(); ++read) {
      const bool in_the_end = nodes_[read].operation == nullptr;
      if (nodes_[read].writes || (stage_ == Stage::end && !in_the_end)) continue;
      for (const std::string& field : history_.fields) {
        if (!in_the_end && !nodes_[read].operation->shows(field)) continue;
        const auto source = source_of(nodes_[read], field);
        if (source && !place(read, *source, writers_[field])) return false;
      }
    }
    return true;
  }

  std::optional<std::size_t> source_of(const Node& read, const std::string& field) const {
    const auto cell = read.cells.find(field);
    const std::string value = cell == read.cells.end() ? "" : cell->second;
    for (const std::size_t writer : writers_.at(field)) {
      const auto written = nodes_[writer].cells.find(field);
      if ((written == nodes_[writer].cells.end() ? "" : written->second) == value) return writer;
    }
    return std::nullopt;  // a phantom, reported as such
  }

  bool place(std::size_t read, std::size_t source, const std::vector<std::size_t>& writers) {
    if (!add(source, read)) return fail({source, read});
    for (const std::size_t other : writers) {
      if (other == source) continue;
      if (order_->precedes(other, read) && !add(other, source)) return fail({source, other, read});
      if (order_->precedes(source, other) && !add(read, other)) return fail({source, other, read});
    }
    return true;
  }

  bool add(std::size_t a, std::size_t b) {
    if (order_->precedes(a, b)) return true;
    changed_ = true;
    return order_->add(a, b);
  }

  const History& history_;
  const Rules& rules_;
  std::vector<Node> nodes_;
  std::map<std::string, std::vector<std::size_t>> writers_;  // of each field, the state before among them
  Stage stage_ = Stage::rows;
  std::optional<Order> order_;
  bool changed_ = false;
  std::vector<std::size_t> culprits_;
};

// Who wrote each value.
std::map<std::string, std::size_t> writers_of_values(const History& history) {
  std::map<std::string, std::size_t> writers;
  for (std::size_t i = 0; i < history.operations.size(); ++i) {
    if (history.operations[i].kind != Kind::write) continue;
    for (const auto& [field, value] : history.operations[i].cells) writers.emplace(value, i);
  }
  return writers;
}

// Invariants 2 and 3: the values in `seen`, by `reader` (null: SQL at the end).
void check_values(const History& history, const Cells& seen, const Operation* reader, std::size_t index,
                  std::vector<Violation>& violations) {
  const auto writers = writers_of_values(history);
  const std::string who = reader == nullptr ? "SQL at the end" : "a read";
  for (const auto& [field, value] : history.before) {
    if (seen.contains(field) || (reader != nullptr && !reader->shows(field))) continue;
    violations.push_back({reader == nullptr ? Invariant::durable_ack : Invariant::atomic_row,
                          who + " lacks " + field + ", which the row always had",
                          reader == nullptr ? std::vector<std::size_t>{} : std::vector{index}});
  }
  for (const auto& [field, value] : seen) {
    const auto before = history.before.find(field);
    if (before != history.before.end() && before->second == value) continue;
    std::vector<std::size_t> involved;
    if (reader != nullptr) involved.push_back(index);
    const auto writer = writers.find(value);
    if (writer == writers.end()) {
      violations.push_back(
          {Invariant::no_phantom, who + " shows " + field + "=" + value + ", which nobody wrote", involved});
      continue;
    }
    const Operation& write = history.operations[writer->second];
    involved.push_back(writer->second);
    if (!write.cells.contains(field)) {
      violations.push_back(
          {Invariant::no_phantom, who + " shows " + value + " in " + field + ", where nobody wrote it", involved});
    } else if (write.outcome == Outcome::refused) {
      violations.push_back(
          {Invariant::refusal_has_no_effect, who + " shows " + value + ", which was refused", involved});
    } else if (reader != nullptr && write.invoked > reader->returned) {
      violations.push_back({Invariant::no_phantom, who + " shows " + value + " before it was written", involved});
    }
  }
}

struct Finding {
  Stage stage;
  Invariant invariant;
  const char* what;
};

// In this order: the first stage that cannot be explained names the promise that is broken.
constexpr Finding kFindings[] = {
    {Stage::end, Invariant::durable_ack, "SQL lost an acknowledged write"},
    {Stage::rows, Invariant::atomic_row, "fields are shown together that one write wrote together"},
    {Stage::writes, Invariant::atomic_row, "fields are shown together that SQL never had together"},
    {Stage::reads, Invariant::freshness, "a read is older than a write acknowledged before it began"},
    {Stage::copies, Invariant::no_stale_fill, "a copy in Redis is older than a write acknowledged before"},
    {Stage::clients, Invariant::monotone, "a client went back in time"},
    {Stage::together, Invariant::freshness, "the reads contradict every order of the writes"},
};

// Whether the read among them shows no row at all.
bool shows_nothing(const History& history, const std::vector<std::size_t>& operations) {
  return std::any_of(operations.begin(), operations.end(), [&](std::size_t i) {
    const Operation& operation = history.operations[i];
    return operation.is_read() && operation.cells.empty() && operation.shown.empty();
  });
}

std::optional<Violation> check_order(const History& history, const Rules& rules) {
  Deduction deduction(history, rules);
  const Stage last = rules.strict ? Stage::together : Stage::clients;
  if (!deduction.contradiction(last)) return std::nullopt;
  for (const Finding& finding : kFindings) {
    const auto culprits = deduction.contradiction(finding.stage);
    if (!culprits) continue;
    if (finding.stage == Stage::reads && shows_nothing(history, *culprits)) {
      return Violation{Invariant::negative, "a read misses a row that was inserted before it began", *culprits};
    }
    if (!deduction.involves_unknown(*culprits)) return Violation{finding.invariant, finding.what, *culprits};
    return Violation{Invariant::unknown_at_most_once,
                     std::string("a write of unknown outcome is not there at most once, and whole: ") + finding.what,
                     *culprits};
  }
  return std::nullopt;
}

}  // namespace

std::vector<Violation> check(const History& history, const Rules& rules) {
  std::vector<Violation> violations;
  for (std::size_t i = 0; i < history.operations.size(); ++i) {
    const Operation& operation = history.operations[i];
    if (operation.is_read()) check_values(history, operation.cells, &operation, i, violations);
  }
  check_values(history, history.after, nullptr, 0, violations);
  if (!violations.empty()) return violations;  // the order of values from nowhere cannot be judged
  if (auto violation = check_order(history, rules)) violations.push_back(std::move(*violation));
  return violations;
}

std::vector<Violation> check_end(const std::string& what, const Cells& row, const Cells& seen) {
  if (seen == row) return {};
  return {{Invariant::convergence, what + ": " + print(seen) + " is not the row " + print(row), {}}};
}

std::vector<Violation> check_copy(const std::string& key, const Cells& row, const Cells& copy) {
  if (copy.empty()) return {};
  return check_end("the copy of " + key, row, copy);
}

std::string print(const Violation& violation) {
  return "invariant " + std::to_string(static_cast<int>(violation.invariant)) + ": " + violation.what;
}

}  // namespace sluice::history

// OutboxCheck, see outbox_check.h.
#include "policies/outbox_check.h"

#include <utility>
#include <variant>

#include "policies/proposed_table.h"

namespace sluice::policies {
namespace {

constexpr double kJitter = 0.2;

}  // namespace

void OutboxChecks::done(const Turn& turn) { next_ = turn.now + jittered(kPause, kJitter, turn.random); }

void OutboxChecks::failed(const Turn& turn) { next_ = turn.now + jittered(kPauseAfterErrors, kJitter, turn.random); }

Step OutboxCheck::start(Turn&) {
  trouble_.clear();
  return CallSql{sql::CheckOutbox{recorded_rows(shared_.options)}, shared_.options.load_timeout};
}

// A database that is away is told by those who look into the outbox; what the last check found is still what is known.
Step OutboxCheck::resume(Event event, Turn& turn) {
  const sql::Result& result = std::get<SqlDone>(event).result;
  if (!result.ok()) {
    checks_.failed(turn);
    if (result.error.failure != sql::Failure::unavailable) {
      trouble_ = "whether changes of others are recorded cannot be told: " + result.error.message;
    }
    return Finish{};
  }
  checks_.done(turn);
  shared_.metrics.outbox_gaps.set(result.rows.size());
  for (const sql::Row& row : result.rows) {
    trouble_ += (trouble_.empty() ? "not all changes of others are recorded: " : "; ") + std::get<std::string>(row[0]);
  }
  return Finish{};
}

}  // namespace sluice::policies

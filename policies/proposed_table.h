// ProposedTable: the table that a policy could have, as far as the configuration tells, and what it needs beside it.
#pragma once

#include "backends/sql.h"
#include "conf/config.h"

namespace sluice::policies {

// Every column that the configuration names. Where it does not say what a column holds, a remark says so.
sql::NewTable proposed_table(const conf::PolicyOptions& options);
// What the triggers of invalidation = "outbox" record.
sql::Recorded recorded_rows(const conf::PolicyOptions& options);

}  // namespace sluice::policies

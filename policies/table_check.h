// TableCheck: what is wrong with a real table for the policy that is to use it, for an operator.
#pragma once

#include <string>
#include <vector>

#include "backends/sql.h"
#include "conf/config.h"

namespace sluice::policies {

// Something that an operator should know.
struct Finding {
  bool warning = false;  // it works, but perhaps not as meant
  std::string text;
  bool operator==(const Finding&) const = default;
};

// More than Mapping::make() refuses: also what makes single commands or keys fail.
std::vector<Finding> check_table(const conf::PolicyOptions& options, const sql::Table& table);

// The columns that the policy's query gives.
std::vector<Finding> check_query(const conf::PolicyOptions& options, const std::vector<sql::Column>& columns);

// The table of the counters' bookkeeping. `ddl` creates a right one.
std::vector<Finding> check_counter_source(const sql::Table& table, const std::string& ddl);

}  // namespace sluice::policies

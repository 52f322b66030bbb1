// QueryMapping: what a key says to its policy's query, and the value that the result becomes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/sql.h"
#include "conf/config.h"
#include "policies/checked.h"
#include "policies/mapping.h"

namespace sluice::policies {

// The values of the key's placeholders by their names: integers for {NAME:int}, otherwise text. Refuses bytes that are
// no text, with which no database would compare anything.
Checked<std::vector<sql::Bound>> query_parameters(const conf::PolicyOptions& options, std::string_view redis_key);
sql::ReadQuery query_of(const conf::PolicyOptions& options, std::vector<sql::Bound> parameters);

// json: the row as an object, or an array of objects; hash: its columns as fields, those that are NULL left out; raw:
// its one column. Nullopt when there is no row, or nothing that Redis could hold: a raw NULL, a hash without fields.
Checked<std::optional<Copy>> copy_of(const conf::PolicyOptions& options, const sql::Result& result);

// Why these columns do not fit the policy; empty: they do.
std::string misfit(const conf::PolicyOptions& options, const std::vector<sql::Column>& columns);

// With what the policy has to do with the error.
sql::Error explained(const conf::PolicyOptions& options, sql::Error error);

}  // namespace sluice::policies

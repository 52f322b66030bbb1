// Replies: the errors of sluice's own in the words of the contract, and the small Finish steps.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "backends/sql.h"
#include "conf/config.h"
#include "policies/policy.h"

namespace sluice::policies {

inline constexpr std::string_view kWrongType = "WRONGTYPE Operation against a key holding the wrong kind of value";
inline constexpr std::string_view kNotInteger = "ERR value is not an integer or out of range";
inline constexpr std::string_view kSyntaxError = "ERR syntax error";

// These answer the text after '-'.
std::string wrong_arity(std::string_view command);
std::string not_fitting(const conf::PolicyOptions& options, std::string_view why);
std::string not_supported(const conf::PolicyOptions& options, std::string_view what, std::string_view option);
std::string upstream_unavailable();
// `error` must not be Failure::none.
std::string sql_failed(const conf::PolicyOptions& options, const sql::Error& error);
std::string key_without_side(const conf::PolicyOptions& options);

// The reply to command `index` of the CallRedis before; null when the connection was lost.
const resp::Reply* reply_at(const Event& event, std::size_t index);
// An element of an array; a nil when there is none.
const resp::Reply& item(const resp::Reply& reply, std::size_t index);
// The first word of what a script says, which may be all of it.
const std::string& verdict_of(const resp::Reply& reply);

Finish finish_error(std::string_view text, bool close = false);
Finish finish_integer(std::int64_t value);
Finish finish_ok();

// An operation that has nothing to do but this.
std::unique_ptr<Operation> make_finished(Finish finish);

}  // namespace sluice::policies

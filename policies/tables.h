// Tables: the versions of tables, in Redis, that outdate what was cached of their rows.
//
// __sluice:table:NAME is one hash for each table: `v` is its version, a counter that begins at random, and `a:<token>`
// = deadline an arm for every write under way. Who caches what depends on tables reads their versions before it asks
// SQL and keeps them with it; it is good while they are the same. Who writes a row raises the version before SQL and,
// together with taking its arm away, after it; what is cached while there is an arm lives no longer than the fuse, and
// an arm past its deadline (its writer died, or does not know what became of the write) raises the version once more. A
// table without a version is like none that anybody has seen. Times are Redis' own, in ms.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy.h"
#include "policies/script.h"

namespace sluice::policies::tables {

// By what name a version is kept: that of different tables may be the same, whose writes then outdate more than needed.
std::string version_name(std::string_view table);
// Those of several, as scripts want them.
std::string version_names(const std::vector<std::string>& tables);

// Lua functions for scripts, after `call` and `whole`.
std::string_view functions();

// Raises the versions of tables, by their version_name(). `token`: of make_token(). Answers their number.
RedisCommand touch(const std::vector<std::string>& names, const std::string& token);
const Script& touch_script();

// SLUICE TOUCH: the same for tables as users name them.
std::unique_ptr<Operation> make_touch(const std::vector<std::string>& tables);

}  // namespace sluice::policies::tables

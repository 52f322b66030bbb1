// LoadScripts: the calls of scripts that a load makes: a lease before SQL is asked, a fill after it has answered.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "policies/load_target.h"
#include "policies/policy.h"
#include "policies/shared.h"

namespace sluice::policies {

// Of one load. `shared` and `request` must outlive it.
class LoadScripts {
 public:
  LoadScripts(const Shared& shared, const Request& request);

  RedisCommand lease(const Target& target, const std::string& token) const;
  // Ends the read of this key, whatever came of it. `random` is for the jitter of the ttl.
  RedisCommand fill(const Target& target, const std::string& token, std::uint64_t random) const;

  // What of a value that is there a lease tells, in one word; empty: the whole value.
  const std::string& part() const { return part_; }
  // Whether a copy with this much of its life left is to be renewed; negative: it does not end, or not for now.
  bool is_due(Milliseconds left) const;
  // Whether the copies depend on tables.
  bool is_versioned() const { return !shared_.depends_on.empty(); }

  // The copy in what a script says of it.
  static Answer present(const resp::Reply& value);

 private:
  void choose_part();
  const char* kind() const { return options_.value == conf::ValueMode::hash ? "H" : "S"; }
  Milliseconds refresh_from() const;

  const Shared& shared_;
  const conf::PolicyOptions& options_;
  const Request& request_;
  std::vector<std::string> asked_;  // the last arguments of a lease
  std::string part_;
};

}  // namespace sluice::policies

// ExpiryCommand: EXPIRE and its kin, PERSIST and GETEX, parsed as Redis parses them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "policies/checked.h"
#include "policies/set_options.h"
#include "resp/command_table.h"

namespace sluice::policies {

struct ExpiryCommand {
  std::optional<Expiry> expiry;
  bool persist = false;
  bool nx = false, xx = false, gt = false, lt = false;
  bool reads = false;  // GETEX: the reply is the value

  // Whether the key's expiry is to be changed; `old` as Unix time in milliseconds, nullopt: it has none.
  bool applies(std::optional<std::int64_t> old, std::int64_t now) const;
  // PX, PXAT, PERSIST or nothing, and the number: what the Lua script takes.
  std::string mode() const { return persist ? "PERSIST" : !expiry ? "" : expiry->absolute ? "PXAT" : "PX"; }
  std::string amount() const { return std::to_string(expiry ? expiry->milliseconds : 0); }
  std::string conditions() const;  // the letters N, X, G, L
};

bool is_expiry_command(resp::CommandId command);
// Errors are Redis' own.
Checked<ExpiryCommand> parse_expiry_command(const resp::CommandInfo& command, const std::vector<std::string>& args);

}  // namespace sluice::policies

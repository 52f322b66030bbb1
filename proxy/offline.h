// Offline: what the program says about a configuration without serving it.
#pragma once

#include <string>

#include "conf/load.h"
#include "proxy/sluice_command.h"

namespace sluice::proxy {

struct Printed {
  int exit_code = 0;
  std::string output;  // for standard output
  std::string error;   // for standard error
};

// Every mistake as FILE:LINE:COLUMN: message, or one line that says there is none.
Printed print_check(const conf::Loaded& loaded, const std::string& file);
// The tables that the policy needs: a proposal for its own, and the bookkeeping of a counter.
Printed print_schema(const conf::Config& config, const std::string& policy);
// Which policy owns `key` and what the commands on it do.
Printed print_explanation(const conf::Config& config, const std::string& key);

}  // namespace sluice::proxy

// ConnectedCheck: a configuration compared with the Redis and the databases that it names.
#pragma once

#include <string>

#include "conf/load.h"
#include "proxy/offline.h"

namespace sluice::proxy {

// For a configuration without mistakes. What is wrong, as FILE:LINE:COLUMN: message, and what was reached. Ends within
// seconds for each thing that does not answer.
Printed print_connected_check(const conf::Loaded& loaded, const std::string& file);

}  // namespace sluice::proxy

// The registry of backends: makes the Backend of a configuration entry, from the list in backends.def.
#pragma once

#include <memory>

#include "backends/sql.h"

namespace sluice::conf {
struct BackendOptions;
}

namespace sluice::sql {

// Does not connect. Nullptr for a kind this build does not have.
std::unique_ptr<Backend> make_backend(const conf::BackendOptions& options);

}  // namespace sluice::sql

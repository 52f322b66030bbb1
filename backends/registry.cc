// The registry of backends, expanded from backends.def.
#include "backends/registry.h"

#include "conf/config.h"

namespace sluice::sql {

#define BACKEND(NAME) std::unique_ptr<Backend> make_##NAME(const conf::BackendOptions& options);
#include "backends/backends.def"
#undef BACKEND

std::unique_ptr<Backend> make_backend(const conf::BackendOptions& options) {
#define BACKEND(NAME) \
  if (options.kind == conf::BackendOptions::Kind::NAME) return make_##NAME(options);
#include "backends/backends.def"
#undef BACKEND
  return nullptr;
}

}  // namespace sluice::sql

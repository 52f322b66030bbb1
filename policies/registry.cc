// The registry of policies, see registry.h.
#include "policies/registry.h"

#include "conf/config.h"

namespace sluice::policies {

#define POLICY(name) std::unique_ptr<Policy> make_##name(const conf::PolicyOptions& options);
#include "policies/policies.def"
#undef POLICY

namespace {

enum class Kind : std::uint8_t {
#define POLICY(name) name,
#include "policies/policies.def"
#undef POLICY
};

Kind policy_kind(const conf::PolicyOptions& options) {
  if (options.value == conf::ValueMode::counter) return Kind::counter;
  return options.write == conf::WriteMode::none ? Kind::cache_aside : Kind::write_through;
}

}  // namespace

std::unique_ptr<Policy> make_policy(const conf::PolicyOptions& options) {
  switch (policy_kind(options)) {
#define POLICY(name) \
  case Kind::name:   \
    return make_##name(options);
#include "policies/policies.def"
#undef POLICY
  }
  return nullptr;
}

}  // namespace sluice::policies

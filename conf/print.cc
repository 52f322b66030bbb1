// Print: a Config as the TOML that would load it again.
#include <string>
#include <string_view>

#include "conf/field.h"
#include "conf/load.h"
#include "conf/not_built.h"
#include "conf/text.h"

namespace sluice::conf {
namespace {

template <class Options>
void append_field(std::string& out, std::string_view section, const Field<Options>& field, const Options& options) {
  const std::string value = field.print(options);
  if (!value.empty() && !is_key_not_built(section, field.name)) out += std::string(field.name) + " = " + value + "\n";
}

template <class Options>
void append_section(std::string& out, std::string_view section, const Fields<Options>& fields, const Options& options) {
  for (const Field<Options>& field : fields) append_field(out, section, field, options);
}

void append_policy(std::string& out, const PolicyOptions& policy) {
  const Modes mode = mode_of(policy);
  for (const Field<PolicyOptions>& field : policy_fields()) {
    const bool belongs = (field.modes & mode) != 0 && (field.values & value_of(policy)) != 0;
    const bool implied = field.name == "read" && policy.read == ReadMode::none;
    if (belongs && !implied) append_field(out, "policy", field, policy);
  }
}

}  // namespace

std::string print(const Config& config) {
  std::string out = "[proxy]\n";
  append_section(out, "proxy", proxy_fields(), config.proxy);
  out += "\n[upstream]\n";
  append_section(out, "upstream", upstream_fields(), config.upstream);
  out += "\n[admin]\n";
  append_section(out, "admin", admin_fields(), config.admin);
  for (const BackendOptions& backend : config.backends) {
    out += "\n[backend." + quote_key(backend.name) + "]\n";
    append_section(out, "backend", backend_fields(), backend);
  }
  for (const PolicyOptions& policy : config.policies) {
    out += "\n[[policy]]\n";
    append_policy(out, policy);
  }
  return out;
}

}  // namespace sluice::conf

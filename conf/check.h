// Check: what must hold between the keys of a policy, between policies, and between sections.
#pragma once

#include <string_view>
#include <vector>

#include "conf/config.h"
#include "conf/node.h"
#include "conf/reader.h"

namespace sluice::conf {

// Keys that need or exclude each other within one policy.
void check_policy(const PolicyOptions& policy, const Node& table, Mistakes& mistakes);

// `tables` are those of config.policies, in order; `backends` every backend that the file names.
void check_policies(const Config& config, const std::vector<const Node*>& tables,
                    const std::vector<std::string_view>& backends, Mistakes& mistakes);

void check_addresses(const Config& config, const Node& root, Mistakes& mistakes);

}  // namespace sluice::conf

// SluiceDispatch: runs the SLUICE commands: answers them, or has the policies do it.
#pragma once

#include <cstdint>
#include <string>

#include "proxy/upstream.h"
#include "resp/command.h"
#include "resp/encode.h"

namespace sluice::proxy {

class Loop;

struct SluiceCaller {
  resp::Version version;
  std::string user;      // authenticated
  std::string acl_user;  // the same, if Redis must be asked what it may do; else empty
};

// The reply goes to slot `slot` of `client`.
void run_sluice_command(Loop& loop, const resp::Command& command, const SluiceCaller& caller, ClientId client,
                        std::uint64_t slot);

}  // namespace sluice::proxy

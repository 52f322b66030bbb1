// ClientList: the replies to SLUICE CLIENTS and SLUICE PINS.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proxy/pin_reason.h"
#include "resp/encode.h"

namespace sluice::proxy {

// What is told about a connected client.
struct ClientInfo {
  std::uint64_t number = 0;  // in the order they came, over all loops
  std::string address;
  std::string name;
  std::string user;  // empty: not authenticated
  resp::Version version = resp::Version::resp2;
  int db = 0;
  std::chrono::milliseconds age{0};
  std::chrono::milliseconds idle{0};
  std::optional<PinReason> pinned = std::nullopt;
  std::size_t unanswered = 0;    // commands
  std::size_t input_bytes = 0;   // not yet taken
  std::size_t output_bytes = 0;  // not yet written
};

// An array of maps, the oldest client first; with `pins` of the pinned ones only, and in few words.
std::string client_list(std::vector<ClientInfo> clients, bool pins, resp::Version version);

}  // namespace sluice::proxy

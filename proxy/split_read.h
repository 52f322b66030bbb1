// SplitRead: an MGET or EXISTS whose keys have several owners: each answers for its own, and what they say is put
// together again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policies/policy.h"
#include "resp/command_table.h"

namespace sluice::proxy {

class Router;

class SplitRead {
 public:
  struct Part {
    std::optional<std::uint32_t> policy;  // nullopt: Redis itself
    std::vector<std::string> args;        // the command with these keys only
    std::vector<std::size_t> places;      // of the keys among all
  };

  // `reply`: Redis' own, of which an MGET keeps what it found; empty if Redis was not asked.
  SplitRead(const Router& router, const resp::CommandInfo& command, const std::vector<std::string>& args,
            std::string_view reply);

  // Nobody: Redis' own reply is what it is.
  const std::vector<Part>& parts() const { return parts_; }

  // What a part has answered; the whole reply once it was the last.
  std::optional<policies::Finish> take(std::size_t part, policies::Finish finish);
  // What is kept until then.
  std::size_t bytes() const { return bytes_; }
  // The policy of each key that Redis found.
  const std::vector<std::uint32_t>& hits() const { return hits_; }

 private:
  Part& part_of(std::optional<std::uint32_t> policy, std::string_view command);
  policies::Finish whole() const;

  const bool counts_;  // EXISTS
  std::vector<Part> parts_;
  std::size_t left_ = 0;               // parts that have not answered
  std::vector<std::string> elements_;  // MGET
  std::size_t bytes_ = 0;              // of these
  std::vector<std::uint32_t> hits_;
  std::int64_t count_ = 0;    // EXISTS
  policies::Finish failure_;  // the first of the parts', if any has a reply
};

// Runs `args`, an MGET or EXISTS, on the proxy's own connection, once Redis says that `acl_user` may (empty: it has).
std::unique_ptr<policies::Operation> make_redis_read(std::string acl_user, std::vector<std::string> args,
                                                     resp::Version version);

}  // namespace sluice::proxy

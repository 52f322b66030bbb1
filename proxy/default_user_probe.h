// DefaultUserProbe: looks whether Redis lets in a connection that does not authenticate.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "conf/config.h"
#include "proxy/event_loop.h"
#include "proxy/link.h"

namespace sluice::proxy {

// How Redis takes a connection that has not authenticated.
enum class DefaultUser : std::uint8_t { unknown, ready, must_authenticate };

// With a fresh connection each time: Redis keeps letting in those that it let in before a password was set. Needs no
// rights. Loop thread only.
class DefaultUserProbe final : private Link::Owner {
 public:
  // `seen` is told what each look has found: unknown when Redis could not be reached, or did not say.
  DefaultUserProbe(EventLoop& loop, const conf::UpstreamOptions& options, std::function<void(DefaultUser)> seen)
      : link_(loop, options.endpoint, options.connect_timeout, *this), seen_(std::move(seen)) {}

  // Begins to look, unless it does already.
  void look();
  bool looking() const { return link_.state() != Link::State::closed; }
  void close() { link_.close(); }

 private:
  void link_up() override;
  void link_read(std::string_view bytes) override;
  void link_down(const std::string&) override { seen_(DefaultUser::unknown); }

  Link link_;
  std::function<void(DefaultUser)> seen_;
};

}  // namespace sluice::proxy

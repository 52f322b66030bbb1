// Graveyard: where clients and upstream connections removed during a turn stay until it ends.
#pragma once

#include <memory>
#include <vector>

#include "proxy/event_loop.h"

namespace sluice::proxy {

class Client;
class Upstream;

// Loop thread only. What is buried may still be on the call stack.
class Graveyard final : public Flushable {
 public:
  explicit Graveyard(EventLoop& events);
  ~Graveyard();
  void bury(std::unique_ptr<Client> client);
  void bury(std::unique_ptr<Upstream> upstream);
  void flush_turn() override;

 private:
  EventLoop& events_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Upstream>> upstreams_;
};

}  // namespace sluice::proxy

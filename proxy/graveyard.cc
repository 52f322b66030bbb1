// Graveyard: freeing what was buried, at the end of the turn.
#include "proxy/graveyard.h"

#include <utility>

#include "proxy/client.h"
#include "proxy/upstream.h"

namespace sluice::proxy {

Graveyard::Graveyard(EventLoop& events) : events_(events) {}

Graveyard::~Graveyard() { events_.forget(*this); }

void Graveyard::bury(std::unique_ptr<Client> client) {
  clients_.push_back(std::move(client));
  events_.flush_later(*this);
}

void Graveyard::bury(std::unique_ptr<Upstream> upstream) {
  upstreams_.push_back(std::move(upstream));
  events_.flush_later(*this);
}

void Graveyard::flush_turn() {
  clients_.clear();
  upstreams_.clear();
}

}  // namespace sluice::proxy

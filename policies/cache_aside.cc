// Cache-aside: reads that find nothing are answered from SQL and stored; writes are about the cached copy only.
#include <memory>
#include <utility>

#include "policies/expire.h"
#include "policies/row_policy.h"

namespace sluice::policies {
namespace {

class CacheAside : public RowPolicy {
 public:
  // GETEX reads, and is a write of the copy.
  explicit CacheAside(const conf::PolicyOptions& options) : RowPolicy(options) {
    if (options.fills()) set_handling(resp::CommandId::getex, Handling::operate);
  }

  std::unique_ptr<Operation> begin(Request request) override {
    if (request.verb == Verb::command) return make_expire(shared(), std::move(request));
    return begin_read(std::move(request));
  }
};

}  // namespace

std::unique_ptr<Policy> make_cache_aside(const conf::PolicyOptions& options) {
  return std::make_unique<CacheAside>(options);
}

}  // namespace sluice::policies

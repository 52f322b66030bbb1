// Cache-aside: reads that find nothing are answered from SQL and stored; writes are about the cached copy only.
#include <memory>
#include <utility>

#include "policies/replies.h"
#include "policies/row_policy.h"

namespace sluice::policies {
namespace {

class CacheAside : public RowPolicy {
 public:
  using RowPolicy::RowPolicy;
  std::unique_ptr<Operation> begin(Request request) override { return begin_read(std::move(request)); }
};

}  // namespace

std::unique_ptr<Policy> make_cache_aside(const conf::PolicyOptions& options) {
  return std::make_unique<CacheAside>(options);
}

}  // namespace sluice::policies

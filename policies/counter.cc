// Counter: INCR at Redis' speed, flushed to SQL in batches, each increment exactly once.
#include <memory>
#include <utility>

#include "policies/counters.h"
#include "policies/inspect.h"
#include "policies/listing.h"
#include "policies/replies.h"
#include "policies/row_policy.h"

namespace sluice::policies {
namespace {

using resp::CommandId;

class Counter : public Policy {
 public:
  explicit Counter(const conf::PolicyOptions& options) : counters_(options), handling_(default_handling(options)) {
    handling_[index(CommandId::get)] = Handling::read;
    for (const CommandId id :
         {CommandId::incr, CommandId::incrby, CommandId::decr, CommandId::decrby, CommandId::set}) {
      handling_[index(id)] = Handling::operate;
    }
    // About the copy only: what was counted is kept beside it, the total reloads.
    for (const CommandId id :
         {CommandId::expire, CommandId::pexpire, CommandId::expireat, CommandId::pexpireat, CommandId::persist}) {
      handling_[index(id)] = Handling::guard;
    }
    handling_[index(CommandId::incrbyfloat)] = Handling::reject;
  }

  const conf::PolicyOptions& options() const override { return counters_.shared.options; }
  Handling handling(const resp::CommandInfo& command) const override { return handling_[index(command.id)]; }

  std::string rejection(const resp::CommandInfo& command) const override {
    if (command.id != CommandId::incrbyfloat) return reject_text(options(), command);
    return not_supported(options(), "INCRBYFLOAT is", "") + ": a counter is an integer";
  }

  std::unique_ptr<Operation> begin(Request request) override {
    switch (request.verb) {
      case Verb::command:
        if (request.command->id == CommandId::set) return make_counter_set(counters_, std::move(request));
        return make_count(counters_, std::move(request));
      case Verb::miss:
        return make_count(counters_, std::move(request));
      case Verb::status:
        return make_counter_status(counters_, std::move(request));
      case Verb::source:
      case Verb::dbget:
        return make_inspection(counters_.shared, std::move(request));
      case Verb::invalidate:
        return make_invalidation(counters_.shared, std::move(request));
      case Verb::rows:
        return make_listing(counters_.shared, std::move(request));
      case Verb::sync:
        return make_sync(counters_, std::move(request));
    }
    return nullptr;
  }

  std::unique_ptr<Operation> due(TimePoint now) override {
    if (flushing_ || now < next_flush_) return nullptr;
    flushing_ = true;
    next_flush_ = now + std::max(options().flush_interval, counters_.ledger.pause());
    return make_flush(counters_, false, &flushing_);
  }

  std::unique_ptr<Operation> drain() override {
    if (!counters_.ledger.worth_flushing()) return nullptr;
    return make_flush(counters_, true, nullptr);
  }

  std::string dirty_key() const override { return counters_.dirty_key; }
  std::uint64_t unflushed() const override { return counters_.ledger.unflushed(); }
  const PolicyMetrics& metrics() const override { return counters_.shared.metrics; }
  PolicyMetrics& metrics() override { return counters_.shared.metrics; }

 private:
  static std::size_t index(CommandId id) { return static_cast<std::size_t>(id); }

  Counters counters_;
  std::vector<Handling> handling_;  // by CommandId
  TimePoint next_flush_;
  bool flushing_ = false;
};

}  // namespace

std::unique_ptr<Policy> make_counter(const conf::PolicyOptions& options) { return std::make_unique<Counter>(options); }

}  // namespace sluice::policies

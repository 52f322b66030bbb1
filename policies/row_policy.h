// RowPolicy: what cache-aside and write-through have in common as policies.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policies/outbox.h"
#include "policies/policy.h"
#include "policies/shared.h"

namespace sluice::policies {

class RowPolicy : public Policy {
 public:
  explicit RowPolicy(const conf::PolicyOptions& options);

  const conf::PolicyOptions& options() const override { return shared_.options; }
  Handling handling(const resp::CommandInfo& command) const override;
  std::string rejection(const resp::CommandInfo& command) const override;
  std::unique_ptr<Operation> due(TimePoint now) override { return outbox_ ? outbox_->due(now) : nullptr; }
  std::unique_ptr<Operation> refresh(TimePoint now) override;
  std::string trouble() const override { return outbox_ ? outbox_->trouble() : std::string(); }
  std::unique_ptr<Operation> drain() override { return nullptr; }
  std::uint64_t unflushed() const override { return 0; }
  const PolicyMetrics& metrics() const override { return shared_.metrics; }
  PolicyMetrics& metrics() override { return shared_.metrics; }

 protected:
  Shared& shared() { return shared_; }
  void set_handling(resp::CommandId id, Handling handling);
  // For every verb but `command`.
  std::unique_ptr<Operation> begin_read(Request request);

 private:
  Shared shared_;
  std::optional<Outbox> outbox_;
  std::vector<Handling> handling_;  // by CommandId
};

// What a policy does with each command unless it says otherwise: reads pass, DEL and UNLINK pass behind a guard when
// they are about the copy only, other writes go as unmanaged_writes says.
std::vector<Handling> default_handling(const conf::PolicyOptions& options);
// The error for Handling::reject.
std::string reject_text(const conf::PolicyOptions& options, const resp::CommandInfo& command);

}  // namespace sluice::policies

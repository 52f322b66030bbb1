// OutboxCheck: looks whether the triggers of an outbox are there and are the ones of the policy; without them changes
// of others would stay unseen, and nothing would tell.
#pragma once

#include <memory>
#include <string>

#include "policies/policy.h"
#include "policies/shared.h"

namespace sluice::policies {

// When, and what it has found.
class OutboxChecks {
 public:
  static constexpr Milliseconds kPause{60000}, kPauseAfterErrors{5000};

  bool is_due(TimePoint now) const { return now >= next_; }
  void done(const Turn& turn);
  void failed(const Turn& turn);

 private:
  TimePoint next_;
};

// One check. Counts in metrics.outbox_gaps what it finds; `trouble` gets it in words, or becomes empty.
class OutboxCheck : public Operation {
 public:
  OutboxCheck(Shared& shared, OutboxChecks& checks, std::string& trouble)
      : shared_(shared), checks_(checks), trouble_(trouble) {}
  Step start(Turn& turn) override;
  Step resume(Event event, Turn& turn) override;

 private:
  Shared& shared_;
  OutboxChecks& checks_;
  std::string& trouble_;
};

}  // namespace sluice::policies

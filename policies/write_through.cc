// Write-through: a write is committed in SQL before it is acknowledged, and no crash leaves an old copy for long.
// Reads are filled as in cache-aside.
#include <memory>
#include <utility>

#include "policies/edit.h"
#include "policies/expire.h"
#include "policies/expiry_command.h"
#include "policies/policy.h"
#include "policies/row_policy.h"
#include "policies/write.h"

namespace sluice::policies {
namespace {

using resp::CommandId;

// Whether DEL and UNLINK are left to Redis: they only forget the copy.
bool only_forgets(const conf::PolicyOptions& options, CommandId id) {
  return options.on_delete == conf::OnDelete::cache && (id == CommandId::del || id == CommandId::unlink);
}

class WriteThrough final : public RowPolicy {
 public:
  explicit WriteThrough(const conf::PolicyOptions& options) : RowPolicy(options) {
    for (std::uint16_t i = 0; i < static_cast<std::uint16_t>(CommandId::count); ++i) {
      const auto id = static_cast<CommandId>(i);
      if (has_edit(options, id) && !only_forgets(options, id)) set_handling(id, Handling::operate);
    }
  }

  std::unique_ptr<Operation> begin(Request request) override {
    if (request.verb != Verb::command) return begin_read(std::move(request));
    const CommandId id = request.command->id;
    const bool plain_getex = id == CommandId::getex && request.args.size() == 2;
    if (is_expiry_command(id) && (options().ttl_column.empty() || plain_getex)) {
      return make_expire(shared(), std::move(request));
    }
    return make_write(shared(), std::move(request));
  }

  Shared* rows() override { return &shared(); }

  std::unique_ptr<Operation> due(TimePoint now) override {
    constexpr Milliseconds kPause{200};
    constexpr std::size_t kKeysAtOnce = 500;
    if (shared().forgotten.empty() || now < next_) return RowPolicy::due(now);
    next_ = now + kPause;
    return make_drop_forgotten(shared(), shared().forgotten.take(kKeysAtOnce));
  }

 private:
  TimePoint next_;
};

}  // namespace

std::unique_ptr<Policy> make_write_through(const conf::PolicyOptions& options) {
  return std::make_unique<WriteThrough>(options);
}

}  // namespace sluice::policies

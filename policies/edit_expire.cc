// EXPIRE and its kin, PERSIST and GETEX of a policy with a ttl_column: the row says when it expires.
#include <memory>
#include <utility>

#include "policies/edit.h"
#include "policies/expiry_command.h"

namespace sluice::policies {
namespace {

class Expire final : public Edit {
 public:
  Expire(Request request, ExpiryCommand wanted) : Edit(std::move(request)), wanted_(wanted) {}

  // Expiry never deletes a row: one whose time is over stays, unseen.
  sql::RowChange decide(const sql::Row* row) const override {
    if (!applies(row)) return {};
    return {sql::RowChange::Kind::write, {mapping().ttl_bound(at())}, {}};
  }

  Outcome outcome(const sql::Result& result) const override {
    const sql::Row* const row = row_of(result);
    Outcome outcome;
    outcome.reply = wanted_.reads ? bulk_reply(live(row)) : integer_reply(applies(row) ? 1 : 0);
    if (!applies(row)) return outcome;
    outcome.copy.kind = CopyChange::Kind::expire;
    if (const auto at = this->at()) outcome.copy.expiry = Expiry{true, *at};
    return outcome;
  }

 private:
  bool applies(const sql::Row* row) const {
    return live(row) != nullptr && wanted_.applies(mapping().expiry(*row), now());
  }
  std::optional<std::int64_t> at() const {
    return wanted_.persist ? std::nullopt : std::optional(wanted_.expiry->at(now()));
  }

  const ExpiryCommand wanted_;
};

}  // namespace

Checked<std::shared_ptr<Edit>> parse_expire(Edit::Request request) {
  const auto wanted = parse_expiry_command(request.command, request.args);
  if (!wanted) return Why{wanted.why()};
  return std::shared_ptr<Edit>(std::make_shared<Expire>(std::move(request), *wanted));
}

}  // namespace sluice::policies

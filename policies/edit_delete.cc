// DEL, UNLINK and GETDEL: the row goes (on_delete = "row"), or GETDEL reads it and only the copy goes.
#include <memory>
#include <utility>

#include "policies/edit.h"

namespace sluice::policies {
namespace {

using resp::CommandId;

class Delete final : public Edit {
 public:
  explicit Delete(Request request) : Edit(std::move(request)) {}

  sql::RowChange decide(const sql::Row* row) const override {
    if (row == nullptr || options().on_delete != conf::OnDelete::row) return {};
    return {sql::RowChange::Kind::remove, {}, {}};
  }

  Outcome outcome(const sql::Result& result) const override {
    const sql::Row* const row = live(row_of(result));
    Outcome outcome;
    outcome.copy.kind = CopyChange::Kind::drop;
    if (command() == CommandId::getdel) {
      outcome.reply = bulk_reply(row);
    } else {
      outcome.count = row == nullptr ? 0 : 1;
      outcome.reply = integer_reply(*outcome.count);
    }
    return outcome;
  }
};

class RowRemoval final : public Edit {
 public:
  explicit RowRemoval(Request request) : Edit(std::move(request)) {}

  std::optional<sql::RowWrite> statement() const override { return sql::DeleteRow{options().table, row_key()}; }

  Outcome outcome(const sql::Result&) const override {
    Outcome outcome;
    outcome.reply = command() == CommandId::hset ? integer_reply(0) : ok_reply();
    outcome.copy.kind = CopyChange::Kind::drop;
    return outcome;
  }
};

}  // namespace

Checked<std::shared_ptr<Edit>> make_row_removal(Edit::Request request) {
  return std::shared_ptr<Edit>(std::make_shared<RowRemoval>(std::move(request)));
}

Checked<std::shared_ptr<Edit>> parse_delete(Edit::Request request) {
  return std::shared_ptr<Edit>(std::make_shared<Delete>(std::move(request)));
}

}  // namespace sluice::policies

// RowPolicy, see row_policy.h.
#include "policies/row_policy.h"

#include <cassert>
#include <utility>

#include "policies/inspect.h"
#include "policies/listing.h"
#include "policies/load.h"
#include "policies/read.h"
#include "policies/replies.h"

namespace sluice::policies {
namespace {

using resp::CommandId;

std::size_t index(CommandId id) { return static_cast<std::size_t>(id); }

bool deletes(CommandId id) { return id == CommandId::del || id == CommandId::unlink; }

Handling handling_of_write(const conf::PolicyOptions& options, CommandId id) {
  if (deletes(id)) return options.on_delete == conf::OnDelete::cache ? Handling::guard : Handling::reject;
  switch (options.unmanaged_writes) {
    case conf::Unmanaged::forward:
      return Handling::guard;
    case conf::Unmanaged::invalidate:
      return Handling::invalidate;
    case conf::Unmanaged::reject:
      break;
  }
  return Handling::reject;
}

}  // namespace

std::vector<Handling> default_handling(const conf::PolicyOptions& options) {
  std::vector<Handling> table(index(CommandId::count), Handling::forward);
  for (std::size_t i = 0; i < table.size(); ++i) {
    const auto& info = resp::command_info(static_cast<CommandId>(i));
    if (info.has(resp::flag::write)) table[i] = handling_of_write(options, info.id);
  }
  return table;
}

std::string reject_text(const conf::PolicyOptions& options, const resp::CommandInfo& command) {
  std::string name(command.name);
  for (char& c : name) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return not_supported(options, name + " is", deletes(command.id) ? "on_delete" : "unmanaged_writes");
}

RowPolicy::RowPolicy(const conf::PolicyOptions& options) : shared_(options), handling_(default_handling(options)) {
  if (options.invalidation == conf::Invalidation::outbox) outbox_.emplace(shared_);
  for (std::size_t i = 0; options.fills() && i < handling_.size(); ++i) {
    if (!is_filled(options.value, static_cast<CommandId>(i))) continue;
    handling_[i] = options.checks_reads() ? Handling::load : Handling::read;
  }
}

Handling RowPolicy::handling(const resp::CommandInfo& command) const { return handling_[index(command.id)]; }

std::string RowPolicy::rejection(const resp::CommandInfo& command) const {
  return reject_text(shared_.options, command);
}

void RowPolicy::set_handling(CommandId id, Handling handling) { handling_[index(id)] = handling; }

// The copies that are to be renewed; not while the database is left alone.
std::unique_ptr<Operation> RowPolicy::refresh(TimePoint now) {
  if (shared_.breaker.refuses(now)) return nullptr;
  auto keys = shared_.refreshes.begin(shared_.options.query.empty() ? sql::kReadRowsMax : 1);
  return keys.empty() ? nullptr : make_refresh(shared_, std::move(keys));
}

std::unique_ptr<Operation> RowPolicy::begin_read(Request request) {
  switch (request.verb) {
    case Verb::command:
      break;
    case Verb::miss:
      return make_load(shared_, std::move(request));
    case Verb::status:
    case Verb::source:
    case Verb::dbget:
      return make_inspection(shared_, std::move(request));
    case Verb::invalidate:
      return make_invalidation(shared_, std::move(request));
    case Verb::rows:
      return make_listing(shared_, std::move(request));
    case Verb::sync:
      return make_finished(finish_integer(0));  // nothing waits to be flushed
  }
  return make_finished(finish_error(not_supported(shared_.options, "this is", "")));
}

}  // namespace sluice::policies

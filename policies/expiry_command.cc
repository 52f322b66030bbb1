// ExpiryCommand, see expiry_command.h.
#include "policies/expiry_command.h"

#include <limits>

#include "policies/replies.h"
#include "resp/ascii.h"

namespace sluice::policies {
namespace {

using resp::CommandId;

std::string_view unit_of(CommandId command) {
  if (command == CommandId::expire) return "EX";
  if (command == CommandId::pexpire) return "PX";
  return command == CommandId::expireat ? "EXAT" : "PXAT";
}

Checked<ExpiryCommand> parse_getex(const std::vector<std::string>& args) {
  ExpiryCommand parsed;
  parsed.reads = true;
  if (args.size() == 2) return parsed;
  const std::string word = resp::upper(args[2]);
  if (word == "PERSIST" && args.size() == 3) {
    parsed.persist = true;
    return parsed;
  }
  const bool unit = word == "EX" || word == "PX" || word == "EXAT" || word == "PXAT";
  if (!unit || args.size() != 4) return Why{std::string(kSyntaxError)};
  const auto expiry = parse_expiry(word, args[3], "getex");
  if (!expiry) return Why{expiry.why()};
  parsed.expiry = *expiry;
  return parsed;
}

}  // namespace

bool ExpiryCommand::applies(std::optional<std::int64_t> old, std::int64_t now) const {
  if (persist) return old.has_value();
  if (!expiry || (nx && old) || (xx && !old)) return false;
  constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
  if (gt && expiry->at(now) <= old.value_or(kNever)) return false;
  return !lt || expiry->at(now) < old.value_or(kNever);
}

std::string ExpiryCommand::conditions() const {
  return std::string(nx ? "N" : "") + (xx ? "X" : "") + (gt ? "G" : "") + (lt ? "L" : "");
}

bool is_expiry_command(CommandId command) {
  return command == CommandId::expire || command == CommandId::pexpire || command == CommandId::expireat ||
         command == CommandId::pexpireat || command == CommandId::persist || command == CommandId::getex;
}

Checked<ExpiryCommand> parse_expiry_command(const resp::CommandInfo& command, const std::vector<std::string>& args) {
  if (command.id == CommandId::getex) return parse_getex(args);
  ExpiryCommand parsed;
  if (command.id == CommandId::persist) {
    parsed.persist = true;
    return parsed;
  }
  for (std::size_t i = 3; i < args.size(); ++i) {
    const std::string word = resp::upper(args[i]);
    const bool known = word == "NX" || word == "XX" || word == "GT" || word == "LT";
    if (!known) return Why{"ERR Unsupported option " + args[i]};
    (word == "NX" ? parsed.nx : word == "XX" ? parsed.xx : word == "GT" ? parsed.gt : parsed.lt) = true;
  }
  if (parsed.nx && (parsed.xx || parsed.gt || parsed.lt)) {
    return Why{"ERR NX and XX, GT or LT options at the same time are not compatible"};
  }
  if (parsed.gt && parsed.lt) return Why{"ERR GT and LT options at the same time are not compatible"};
  const auto expiry = parse_any_expiry(unit_of(command.id), args[2], command.name);
  if (!expiry) return Why{expiry.why()};
  parsed.expiry = *expiry;
  return parsed;
}

}  // namespace sluice::policies

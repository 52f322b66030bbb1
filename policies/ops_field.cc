// OpsField, see ops_field.h.
#include "policies/ops_field.h"

namespace sluice::policies {
namespace {

std::optional<OpsField::Action> action_of(char sign) {
  switch (sign) {
    case '=':
      return OpsField::Action::write;
    case '+':
      return OpsField::Action::cache_only;
    case '-':
      return OpsField::Action::forget;
    case '~':
      return OpsField::Action::remove_row;
    default:
      return {};
  }
}

}  // namespace

Checked<std::optional<OpsField>> OpsField::take(const std::string& name, std::vector<std::string>& args) {
  std::optional<OpsField> found;
  for (std::size_t i = 2; i + 1 < args.size();) {
    if (args[i] != name) {
      i += 2;
      continue;
    }
    const std::string& value = args[i + 1];
    const auto action = value.empty() ? std::nullopt : action_of(value[0]);
    if (!action) return Why{"the field '" + name + "' (ops_field) begins with none of =, +, - and ~"};
    found = OpsField{*action, value.substr(1)};
    const auto at = args.begin() + static_cast<std::ptrdiff_t>(i);
    args.erase(at, at + 2);
  }
  return found;
}

std::string OpsField::stream(std::string_view key) const { return "{" + std::string(key) + "}" + id; }

std::vector<RedisCommand> OpsField::acknowledgement(std::string_view key, const std::string& failure,
                                                    Milliseconds ttl) const {
  constexpr const char* kEntriesMax = "1000";
  RedisCommand add{nullptr, {"XADD", stream(key), "MAXLEN", "~", kEntriesMax, "*", "status"}};
  if (failure.empty()) {
    add.args.emplace_back("done");
  } else {
    add.args.insert(add.args.end(), {"failed", "error", failure});
  }
  return {std::move(add), {nullptr, {"PEXPIRE", stream(key), std::to_string(ttl.count())}}};
}

}  // namespace sluice::policies

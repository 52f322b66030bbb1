// SluiceDispatch: who may run what, and where it goes.
#include "proxy/sluice_dispatch.h"

#include <algorithm>
#include <utility>

#include "conf/table_name.h"
#include "policies/tables.h"
#include "proxy/guards.h"
#include "proxy/log.h"
#include "proxy/loop.h"
#include "proxy/sluice_command.h"

namespace sluice::proxy {
namespace {

using policies::Verb;

// What the policies are asked to do, for the verbs that they answer.
Verb verb_of(SluiceCommand::Verb verb) {
  switch (verb) {
    case SluiceCommand::Verb::status:
      return Verb::status;
    case SluiceCommand::Verb::source:
      return Verb::source;
    case SluiceCommand::Verb::dbget:
      return Verb::dbget;
    case SluiceCommand::Verb::invalidate:
      return Verb::invalidate;
    case SluiceCommand::Verb::rows:
      return Verb::rows;
    case SluiceCommand::Verb::sync:
    case SluiceCommand::Verb::help:
    case SluiceCommand::Verb::version:
    case SluiceCommand::Verb::policy:
    case SluiceCommand::Verb::explain:
    case SluiceCommand::Verb::clients:
    case SluiceCommand::Verb::pins:
    case SluiceCommand::Verb::touch:
      break;
  }
  return Verb::sync;
}

class Dispatch {
 public:
  Dispatch(Loop& loop, const SluiceCaller& caller, ClientId client, std::uint64_t slot)
      : loop_(loop), caller_(caller), client_(client), slot_(slot) {}

  void run(const resp::Command& raw) {
    std::string error;
    const auto command = parse_sluice(raw.args, error);
    if (!command) return answer(resp::error_reply(error));
    if (access_of(*command, policies()) == Access::admin && !is_admin()) {
      return answer(resp::error_reply("NOPERM this user may not run this SLUICE command ([admin] users)"));
    }
    switch (command->verb) {
      case SluiceCommand::Verb::help:
        return answer(sluice_help());
      case SluiceCommand::Verb::version:
        return answer(sluice_version());
      case SluiceCommand::Verb::policy:
        return answer(command->argument.empty() ? sluice_policies(policies())
                                                : sluice_policy(policies(), command->argument, caller_.version));
      case SluiceCommand::Verb::explain:
        return explain(command->argument);
      case SluiceCommand::Verb::clients:
      case SluiceCommand::Verb::pins:
        return loop_.list_clients(command->verb == SluiceCommand::Verb::pins, caller_.version, client_, slot_);
      case SluiceCommand::Verb::touch:
        return touch(*command);
      case SluiceCommand::Verb::sync:
      case SluiceCommand::Verb::invalidate:
        return run_on_target(*command);
      case SluiceCommand::Verb::rows:
        return list_rows(*command);
      case SluiceCommand::Verb::status:
      case SluiceCommand::Verb::source:
      case SluiceCommand::Verb::dbget:
        return run_on_key(*command);
    }
  }

 private:
  const std::vector<std::unique_ptr<policies::Policy>>& policies() const { return loop_.router().policies(); }

  bool is_admin() const {
    const auto& users = loop_.config().admin.users;
    return std::find(users.begin(), users.end(), caller_.user) != users.end();
  }

  void answer(std::string reply) { loop_.answer(client_, slot_, {std::move(reply)}); }

  void explain(const std::string& key) {
    std::string reply = sluice_explain(loop_.router().explain(key), caller_.version);
    if (caller_.acl_user.empty()) return answer(std::move(reply));
    loop_.start(make_right_to_read(caller_.acl_user, key, std::move(reply)), client_, slot_);
  }

  void touch(const SluiceCommand& command) {
    std::vector<std::string> tables = command.more;
    tables.push_back(command.argument);
    for (const std::string& table : tables) {
      if (!is_known(table)) warn_of_unknown(table);
    }
    loop_.metrics().tables_touched.add(tables.size());
    loop_.start(policies::tables::make_touch(tables), client_, slot_);
  }

  // Whether a policy here writes the table, or depends on it.
  bool is_known(const std::string& table) const {
    const auto is_it = [&](const std::string& other) { return conf::bare_table(other) == conf::bare_table(table); };
    return std::any_of(policies().begin(), policies().end(), [&](const auto& policy) {
      const conf::PolicyOptions& options = policy->options();
      const bool writes = options.write != conf::WriteMode::none || options.value == conf::ValueMode::counter;
      return (writes && is_it(options.table)) || std::any_of(options.tables.begin(), options.tables.end(), is_it);
    });
  }

  // Other proxies may have policies that depend on it.
  static void warn_of_unknown(const std::string& table) {
    constexpr std::size_t kShown = 64;
    const std::string name = json_escaped(table.substr(0, kShown));
    log_rarely(Level::warning, "touch " + name,
               "SLUICE TOUCH: no policy of this proxy writes the table '" + name + "' or lists it in tables",
               std::chrono::hours(24));
  }

  policies::Request request(const SluiceCommand& command) const {
    policies::Request request;
    request.verb = verb_of(command.verb);
    request.key = command.argument;
    request.version = caller_.version;
    return request;
  }

  void run_on_key(const SluiceCommand& command) {
    policies::Request about = request(command);
    about.acl_user = caller_.acl_user;
    std::uint32_t index = 0;
    policies::Policy* owner = loop_.router().owner(about.key, index);
    if (owner == nullptr) return answer(resp::error_reply("ERR sluice: no policy owns this key"));
    loop_.start(owner->begin(std::move(about)), index, client_, slot_);
  }

  void run_on_target(const SluiceCommand& command) {
    policies::Request about = request(command);
    Target target = target_of(command.argument, policies());
    if (target == Target::policy && command.verb == SluiceCommand::Verb::invalidate) target = Target::key;
    switch (target) {
      case Target::policy:
        about.key.clear();
        return run_on_policy(command.argument, std::move(about));
      case Target::pattern:
        return loop_.start_everywhere(about, client_, slot_);
      case Target::key:
        return run_on_key(command);
    }
  }

  void list_rows(const SluiceCommand& command) {
    policies::Request about = request(command);
    about.key = command.after;
    about.count = command.count;
    run_on_policy(command.argument, std::move(about));
  }

  void run_on_policy(const std::string& name, policies::Request about) {
    const auto named = std::find_if(policies().begin(), policies().end(),
                                    [&](const auto& policy) { return policy->options().name == name; });
    if (named == policies().end()) return answer(no_policy(name));
    const auto index = static_cast<std::uint32_t>(named - policies().begin());
    loop_.start((*named)->begin(std::move(about)), index, client_, slot_);
  }

  Loop& loop_;
  const SluiceCaller& caller_;
  ClientId client_;
  std::uint64_t slot_;
};

}  // namespace

void run_sluice_command(Loop& loop, const resp::Command& command, const SluiceCaller& caller, ClientId client,
                        std::uint64_t slot) {
  Dispatch(loop, caller, client, slot).run(command);
}

}  // namespace sluice::proxy

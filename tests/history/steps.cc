// Steps: scripts are known by their digests.
#include "tests/history/steps.h"

#include <algorithm>

#include "policies/fuse_scripts.h"
#include "policies/tables.h"
#include "tests/history/client.h"

namespace sluice::history {
namespace {

bool is_at_sql(Point point, std::string_view request) {
  const bool commits = request.find("COMMIT") != request.npos;
  return point == (commits ? Point::commit : Point::statement);
}

}  // namespace

std::vector<const policies::Script*> scripts_at(Point point) {
  using namespace policies;
  switch (point) {
    case Point::arm:
      return {&fuse::arm()};
    case Point::apply:
      return {&fuse::apply()};
    case Point::abort:
      return {&fuse::abort()};
    case Point::lease:
      return {&fuse::lease(), &fuse::lease_checked()};
    case Point::fill:
      return {&fuse::fill(), &fuse::fill_checked()};
    case Point::inval:
      return {&fuse::inval()};
    case Point::touch:
      return {&tables::touch_script()};
    case Point::read:
    case Point::statement:
    case Point::commit:
      break;
  }
  return {};
}

bool runs(const std::vector<std::string>& command, const std::vector<const policies::Script*>& scripts) {
  if (command.size() < 2 || (command[0] != "EVALSHA" && command[0] != "EVAL")) return false;
  return std::any_of(scripts.begin(), scripts.end(), [&](const policies::Script* script) {
    return command[1] == (command[0] == "EVAL" ? script->text : script->sha1);
  });
}

bool is_step(const Step& step, bool sql, const FaultLink::Message& message) {
  if (step.reply != message.is_reply) return false;
  if (sql) return is_at_sql(step.point, message.is_reply ? message.request : message.bytes);
  if (message.command.empty()) return false;
  return step.point == Point::read ? is_read(message.command) : runs(message.command, scripts_at(step.point));
}

}  // namespace sluice::history

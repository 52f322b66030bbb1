// DefaultUserProbe: one connection, one command, one answer.
#include "proxy/default_user_probe.h"

namespace sluice::proxy {
namespace {

// Changes nothing, needs to be authenticated, and is not shown by MONITOR.
constexpr std::string_view kQuestion = "*3\r\n$8\r\nREPLCONF\r\n$4\r\ncapa\r\n$6\r\nsluice\r\n";

}  // namespace

void DefaultUserProbe::look() {
  if (!looking()) link_.connect();
}

void DefaultUserProbe::link_up() { link_.send(kQuestion); }

// Other errors (Redis loads its data, has too many clients) tell nothing.
void DefaultUserProbe::link_read(std::string_view bytes) {
  link_.close();
  const bool open = bytes.starts_with("+OK") || bytes.starts_with("-NOPERM");
  const bool closed = bytes.starts_with("-NOAUTH");
  seen_(open ? DefaultUser::ready : closed ? DefaultUser::must_authenticate : DefaultUser::unknown);
}

}  // namespace sluice::proxy

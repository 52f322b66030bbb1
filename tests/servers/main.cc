// sluice_test_servers: the database servers that all tests of one ctest run share.
//
//   sluice_test_servers start FILE   starts them, writes their ports to FILE, returns when they answer
//   sluice_test_servers stop FILE    stops those of FILE
//
// They end with the process that called `start` (ctest), if nobody stops them before.
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include "tests/servers/sql_database.h"

namespace {

using sluice::servers::Engine;

// The keeper of the servers in FILE, or 0. A process of that number that is another program is not it.
pid_t keeper_of(const std::string& file) {
  std::ifstream in(file);
  std::string word;
  pid_t pid = 0;
  if (!(in >> word >> pid) || word != "keeper" || pid <= 0) return 0;
  std::error_code gone;
  const auto theirs = std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/exe", gone);
  return !gone && theirs == std::filesystem::read_symlink("/proc/self/exe") ? pid : 0;
}

int stop(const std::string& file) {
  const pid_t keeper = keeper_of(file);
  if (keeper > 0) kill(keeper, SIGTERM);
  const bool ended = sluice::servers::wait_until([&] { return keeper_of(file) == 0; }, 60000);
  std::error_code ignored;
  std::filesystem::remove(file, ignored);
  return ended ? 0 : 1;
}

// Until SIGTERM, which is blocked, or the end of `caller`.
void wait_for_end(pid_t caller, const sigset_t& signals) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, caller, 0));
  for (;;) {
    const timespec pause{0, 200'000'000};
    if (sigtimedwait(&signals, nullptr, &pause) > 0) return;
    pollfd ended{fd, POLLIN, 0};
    if (fd < 0 || poll(&ended, 1, 0) > 0) return;
  }
}

// Writes '+' or an error to `ready`, then lives as long as the servers.
void keep(const std::string& file, pid_t caller, int ready) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  std::string answer = "+";
  std::unique_ptr<sluice::servers::ServerProcess> postgres;
  std::unique_ptr<sluice::servers::ServerProcess> mariadb;
  try {
    postgres = start_server(Engine::postgresql);
    mariadb = start_server(Engine::mysql);
    std::ofstream(file + ".new") << "keeper " << getpid() << "\npostgresql " << postgres->port() << "\nmysql "
                                 << mariadb->port() << '\n';
    std::filesystem::rename(file + ".new", file);
  } catch (const std::exception& error) {
    answer = error.what();
  }
  const bool told = write(ready, answer.data(), answer.size()) > 0;
  close(ready);
  if (told && answer == "+") wait_for_end(caller, signals);
}

int start(const std::string& file) {
  if (stop(file) != 0) return 1;  // left over from a run that was killed
  const pid_t caller = getppid();
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0) return 1;
  const pid_t pid = fork();
  if (pid == 0) {
    setsid();
    const int null = open("/dev/null", O_RDWR);
    for (const int fd : {0, 1, 2}) dup2(null, fd);  // ctest waits for all that hold its pipe
    close(ready[0]);
    keep(file, caller, ready[1]);
    return 0;
  }
  close(ready[1]);
  std::string answer;
  char chunk[4096];
  for (ssize_t n = 0; (n = read(ready[0], chunk, sizeof chunk)) > 0;) answer.append(chunk, static_cast<std::size_t>(n));
  if (answer == "+") return 0;
  std::fprintf(stderr, "%s\n", answer.empty() ? "the servers did not start" : answer.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "start") == 0) return start(argv[2]);
  if (argc == 3 && std::strcmp(argv[1], "stop") == 0) return stop(argv[2]);
  std::fprintf(stderr, "usage: sluice_test_servers start|stop FILE\n");
  return 2;
}

// ServerProcess: folders, ports, users and signals.
#include "tests/servers/server_process.h"

#include <arpa/inet.h>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sstream>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

namespace sluice::servers {

namespace {

constexpr int kPatience = 60000;  // milliseconds that a server has to start or stop; a busy machine included
constexpr int kPortTries = 3;     // another process may take the port between our look and the server's bind

bool can_bind(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool ok = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(fd);
  return ok;
}

// Below the range that outgoing connections use.
int free_port() {
  static int next = 10000 + static_cast<int>((static_cast<unsigned>(getpid()) * 41U) % 20000U);
  for (int tries = 0; tries < 20000; ++tries) {
    next = next >= 32000 ? 10000 : next + 1;
    if (can_bind(next)) return next;
  }
  throw std::runtime_error("there is no free port");
}

std::string tail_of(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  const std::string all = text.str();
  return all.size() <= 2000 ? all : all.substr(all.size() - 2000);
}

// The account of that name; null when this process is not root's and so cannot change who it is.
const passwd* account(const std::string& user) {
  if (geteuid() != 0) return nullptr;
  const passwd* const found = getpwnam(user.c_str());
  if (found == nullptr) throw std::runtime_error("there is no user " + user);
  return found;
}

}  // namespace

bool wait_until(const std::function<bool()>& condition, int milliseconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

ServerProcess::ServerProcess(std::string name, std::string user, int stop_signal, int crash_signal)
    : name_(std::move(name)), user_(std::move(user)), stop_signal_(stop_signal), crash_signal_(crash_signal) {}

ServerProcess::~ServerProcess() {
  if (pid_ > 0) {
    thaw();
    ::kill(pid_, crash_signal_);
    if (!wait_for_end(kPatience)) ::kill(pid_, SIGKILL);
    wait_for_end(kPatience);
  }
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

std::string ServerProcess::socket_folder() const { return folder_; }

void ServerProcess::make_folder() {
  std::string pattern = std::filesystem::temp_directory_path() / ("sluice-" + name_ + "-XXXXXX");
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
  folder_ = pattern;
  const passwd* const owner = account(user_);
  if (owner != nullptr && chown(folder_.c_str(), owner->pw_uid, owner->pw_gid) != 0) fail("chown");
}

void ServerProcess::run_to_end(const std::vector<std::string>& command) {
  launch(command, SIGKILL);
  int status = 0;
  waitpid(std::exchange(pid_, -1), &status, 0);
  if (status != 0) fail(command[0] + " failed");
}

void ServerProcess::start() {
  for (int tries = 1;; ++tries) {
    if (port_ == 0) port_ = free_port();
    launch(command(), crash_signal_);
    bool ended = false;
    const bool up = wait_until([&] { return (ended = wait_for_end(0)) || answers(); }, kPatience);
    if (up && !ended) return;
    if (!ended || tries == kPortTries) fail("it did not start");
    port_ = 0;
  }
}

void ServerProcess::stop() { end(stop_signal_); }

void ServerProcess::kill() { end(crash_signal_); }

void ServerProcess::end(int signal) {
  if (pid_ <= 0) return;
  thaw();
  ::kill(pid_, signal);
  if (!wait_for_end(kPatience)) fail("it did not stop");
}

void ServerProcess::freeze() const { ::kill(pid_, SIGSTOP); }

void ServerProcess::thaw() const { ::kill(pid_, SIGCONT); }

void ServerProcess::launch(const std::vector<std::string>& command, int death_signal) {
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const std::string log = file("log");
  const passwd* const user = account(user_);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ != 0) return;
  // Who it is first: the kernel forgets the death signal of a process that changes its user.
  const bool changed = user == nullptr || (initgroups(user->pw_name, user->pw_gid) == 0 && setgid(user->pw_gid) == 0 &&
                                           setuid(user->pw_uid) == 0);
  prctl(PR_SET_PDEATHSIG, death_signal);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (!changed || getppid() != parent) _exit(126);
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(open("/dev/null", O_RDONLY), 0);
  dup2(out, 1);
  dup2(out, 2);
  if (chdir("/") == 0) execvp(argv[0], argv.data());
  _exit(127);
}

bool ServerProcess::wait_for_end(int milliseconds) {
  const auto ended = [this] { return pid_ <= 0 || waitpid(pid_, nullptr, WNOHANG) != 0; };
  if (!wait_until(ended, milliseconds)) return false;
  pid_ = -1;
  return true;
}

void ServerProcess::fail(const std::string& what) const {
  throw std::runtime_error(name_ + ": " + what + "\n" + tail_of(file("log")));
}

}  // namespace sluice::servers

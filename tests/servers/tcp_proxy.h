// TcpProxy: passes connections on to a server of the tests, and breaks them at a chosen moment.
#pragma once

#include <atomic>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace sluice::servers {

// Any thread may arm it. It works in a thread of its own.
class TcpProxy {
 public:
  enum class Fault : std::uint8_t {
    none,
    cut,          // nothing of what holds the word reaches the server, and the connection ends
    drop_answer,  // the server gets it and answers, but the connection ends before the client hears
    hang,         // nothing of it reaches the server, nor anything after it
  };

  explicit TcpProxy(int target_port);
  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  int port() const { return port_; }
  // When a client next sends `word`; once. Of the words of one connection only the first is met.
  void arm(Fault fault, std::string word);
  int faults() const { return faults_; }  // so far

 private:
  struct Pair {
    int client = -1, server = -1;
    Fault fault = Fault::none;
  };

  void work();
  void accept_one();
  bool pass_on(Pair& pair, bool from_client);
  Fault fault_of(std::string_view bytes);

  const int target_port_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> faults_{0};
  std::mutex mutex_;
  Fault fault_ = Fault::none;  // guarded by mutex_, as is the word
  std::string word_;
  std::list<Pair> pairs_;
  std::thread thread_;
};

}  // namespace sluice::servers

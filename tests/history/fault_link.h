// FaultLink: a TCP proxy between sluice and a server that holds, loses, changes and cuts what passes through it.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace sluice::history {

using std::chrono::milliseconds;

class FaultLink {
 public:
  // What a message is: a command or a reply of Redis, or whatever was read at once.
  enum class Framing : std::uint8_t { redis, bytes };

  struct Message {
    bool is_reply = false;
    const std::vector<std::string>& command;  // the one that this is, or that this answers; empty with Framing::bytes
    std::string_view bytes;
    std::string_view request;  // Framing::bytes: what was sent last towards the server
  };

  struct Verdict {
    enum class Fate : std::uint8_t {
      pass,       // after `delay`; later messages of this direction stay behind it
      lose,       // and nothing tells the sender
      cut,        // both sides of the connection are reset instead
      cut_after,  // it arrives, and then nothing more does
    };
    Fate fate = Fate::pass;
    milliseconds delay{0};
    std::string instead;  // of its bytes, unless empty
  };
  // Called on the link's thread for every message, which waits meanwhile.
  using Watch = std::function<Verdict(const Message& message)>;

  // To a port of 127.0.0.1. `port`: where it listens itself.
  FaultLink(int port, int server_port, Framing framing);
  ~FaultLink();
  FaultLink(const FaultLink&) = delete;
  FaultLink& operator=(const FaultLink&) = delete;
  int port() const { return port_; }

  // These may be called on any thread, and within a Watch.
  void watch(Watch watch);                 // in place of the one before; empty: pass everything
  void cut();                              // resets every connection, soon
  bool cutting() const { return cut_; }    // that is still to be done
  void lose(bool requests, bool replies);  // from here on; connections look alive

 private:
  using Clock = std::chrono::steady_clock;
  struct Chunk {
    std::string bytes;
    Clock::time_point due;
    bool last = false;  // the connection ends with it
  };
  // One direction of a connection.
  struct Way {
    int from = -1, to = -1;
    std::string unframed;
    std::deque<Chunk> waiting;
  };
  struct Connection {
    Way requests, replies;
    std::deque<std::vector<std::string>> unanswered;
    std::string request;
    bool dead = false, reset = false;
  };

  void work();
  int pause() const;
  void accept();
  void receive(Connection& connection, Way& way);
  void frame(Connection& connection, Way& way);
  void pass(Connection& connection, Way& way, const Message& message);
  void transmit(Connection& connection, Way& way);
  void wake();

  const int port_, server_port_;
  const Framing framing_;
  int listener_ = -1, wake_ = -1;
  std::list<Connection> connections_;  // the thread's own
  std::recursive_mutex mutex_;         // guards what follows
  Watch watch_;
  bool lose_requests_ = false, lose_replies_ = false;
  std::atomic<bool> cut_{false}, stopping_{false};
  std::thread thread_;
};

}  // namespace sluice::history

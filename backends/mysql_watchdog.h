// MysqlWatchdog: the thread that shuts a connection's socket when an answer has not come in time.
#pragma once

#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "backends/sql.h"

namespace sluice::sql {

// One for the process; its thread starts with the first connection. The driver blocks until its socket ends: here it
// is made to end.
class MysqlWatchdog {
 public:
  // A connection's place with the watchdog. Used by the thread of the connection, destroyed before it is closed.
  class Watch {
   public:
    explicit Watch(int socket);  // keeps a duplicate: the driver may close the socket at any time
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    void set(Deadline deadline);  // from here on; Deadline::max(): nothing is awaited
    bool fired() const;           // the socket has been shut

   private:
    friend class MysqlWatchdog;
    const int socket_;
    Deadline deadline_ = Deadline::max();  // guarded by MysqlWatchdog::mutex_, as is fired_
    bool fired_ = false;
  };

  MysqlWatchdog(const MysqlWatchdog&) = delete;
  MysqlWatchdog& operator=(const MysqlWatchdog&) = delete;

 private:
  MysqlWatchdog();
  ~MysqlWatchdog();
  static MysqlWatchdog& instance();
  void set(Watch& watch, Deadline deadline);
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::set<std::pair<Deadline, Watch*>> awaited_;  // guarded by mutex_, as are the next two
  Deadline wakes_at_ = Deadline::min();            // when the thread looks next
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sluice::sql

// TrialClient: carries out what a schedule has for one client, on a thread of its own.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/history/trial.h"

namespace sluice::history {

// Its operations are in the histories of their keys once they are merged, when it is done.
class Trial::Client {
 public:
  Client(Trial& trial, int number);

  void run(const std::vector<Intent>& intents);
  // Reads the whole value of the key, through this proxy.
  void read(std::size_t key, int proxy);
  // At the copy in Redis.
  void look(std::size_t key);
  // A direct write is over when no copy from before is used any more. False: that was never acknowledged.
  bool outdate(std::size_t key, int proxy);
  int number() const { return number_; }
  void merge();

 private:
  Operation begin(Kind kind) const;
  void end(std::size_t key, Operation operation);
  void carry_out(const Intent& intent);
  // The key that a MGET of this one reads, too: itself when there is no other.
  std::size_t read_along(std::size_t key) const;
  // In the database itself; then what was cached of it is outdated.
  void write_row(const Intent& intent);
  Outcome commit(const std::string& sql, const Intent& intent);
  // `place`: of the key among those of the command.
  void understand(const Shape& shape, Operation& operation, const live::Args& command,
                  const std::optional<std::string>& reply, std::size_t place = 0);
  bool connect(std::size_t proxy);
  std::optional<std::string> call(std::size_t proxy, const live::Args& command);

  Trial& trial_;
  const int number_;
  std::vector<std::unique_ptr<live::Connection>> connections_;
  std::unique_ptr<Session> session_;  // null until it is needed
  int writes_ = 0;
  bool silent_ = false;
  std::vector<std::pair<std::size_t, Operation>> done_, stuck_;
};

}  // namespace sluice::history

// MysqlGroup, see mysql_group.h.
#include "backends/mysql_group.h"

#include <random>
#include <thread>
#include <utility>
#include <variant>

#include "backends/mysql_batch.h"
#include "backends/mysql_errors.h"
#include "backends/mysql_rows.h"
#include "backends/outbox.h"
#include "backends/parts.h"

namespace sluice::sql {

namespace {

// A group gives up on what is left when more rows than this were locked: each has cost the others a wait.
constexpr std::size_t kLockedMax = 8;

struct Runner {
  MysqlConnection& connection;
  MysqlSchema& schema;
  Result operator()(const ReplaceRow& op) const { return mysql_run(connection, schema, op); }
  Result operator()(const MergeRow& op) const { return mysql_run(connection, schema, op); }
  Result operator()(const DeleteRow& op) const { return mysql_run(connection, schema, op); }
  Result operator()(const ModifyRow& op) const { return mysql_run(connection, schema, op); }
  Result operator()(const RunStatement& op) const { return mysql_run(connection, schema, op); }
  template <class Other>
  Result operator()(const Other&) const {
    return {};  // groups hold row writes only
  }
};

}  // namespace

Result mysql_write_row(MysqlConnection& connection, MysqlSchema& schema, const Op& op) {
  return std::visit(Runner{connection, schema}, op);
}

void mysql_pause_after_deadlock() {
  thread_local std::minstd_rand random{std::random_device{}()};
  std::uniform_int_distribution<int> spread(0, 3000);
  std::this_thread::sleep_for(std::chrono::microseconds(spread(random)));
}

MysqlGroup::MysqlGroup(MysqlConnection& connection, MysqlSchema& schema, std::span<const Op* const> ops,
                       std::vector<Result>& results)
    : connection_(connection), schema_(schema), ops_(ops), results_(results), order_(mysql_batch_order(ops)) {}

Error MysqlGroup::run() {
  Error error;
  Next next = Next::again;
  while (next == Next::again && !order_.empty()) {
    next = attempt(error);
    if (next == Next::on) return {};
    connection_.rollback();
    std::erase_if(order_, [&](std::size_t i) { return failed_.contains(i); });
  }
  if (next == Next::again) return {};  // each has failed by itself
  for (const std::size_t i : order_) {
    results_[i] = {};
    results_[i].error = error;
  }
  return error;
}

bool MysqlGroup::may_try_again() const { return connection_.last_code() == kMysqlDeadlock && !connection_.expired(); }

MysqlGroup::Next MysqlGroup::attempt(Error& error) {
  wrote_ = false;
  error = connection_.write();
  if (error.failure == Failure::none) error = connection_.mark(outbox_mark(ops_));
  if (error.failure != Failure::none) return Next::end;
  const std::span<const std::size_t> order(order_);
  for (std::size_t begin = 0; begin < order.size();) {
    const std::size_t count = mysql_batch_size(ops_, order.subspan(begin));
    if (const Next next = write_batch(order.subspan(begin, count), error); next != Next::on) return next;
    begin += count;
  }
  if (!wrote_) {
    connection_.rollback();
    return Next::on;
  }
  error = connection_.commit();
  if (error.failure == Failure::none) return Next::on;
  if (!may_try_again()) return Next::end;
  mysql_pause_after_deadlock();
  return Next::again;
}

MysqlGroup::Next MysqlGroup::write_batch(std::span<const std::size_t> batch, Error& error) {
  if (batch.size() > 1) {
    connection_.name_in_messages(*ops_[batch[0]]);
    error = mysql_run_batch(connection_, schema_, ops_, batch, results_);
    if (error.failure == Failure::none) {
      wrote_ = true;
      return Next::on;
    }
    const bool undone = fails_alone(error.failure) || mysql_is_wait(connection_.last_code());
    if (!undone && may_try_again()) {
      mysql_pause_after_deadlock();
      return Next::again;
    }
    if (!undone) return Next::end;
    if (wrote_ && !connection_.still_in_transaction()) return Next::again;
  }
  for (const std::size_t i : batch) {
    if (failed_.contains(i)) continue;
    if (const Next next = write_alone(i, error); next != Next::on) return next;
  }
  return Next::on;
}

MysqlGroup::Next MysqlGroup::write_alone(std::size_t i, Error& error) {
  if (locked_ >= kLockedMax) {
    give_up_on(i);
    return Next::on;
  }
  connection_.name_in_messages(*ops_[i]);
  Result result = mysql_write_row(connection_, schema_, *ops_[i]);
  if (!result.ok()) return after_failure(i, std::move(result), error);
  wrote_ = true;
  results_[i] = std::move(result);
  return Next::on;
}

MysqlGroup::Next MysqlGroup::after_failure(std::size_t i, Result result, Error& error) {
  error = result.error;
  const bool waited = error.failure == Failure::unavailable && mysql_is_wait(connection_.last_code());
  if (!fails_alone(error.failure) && !waited) {
    if (!may_try_again()) return Next::end;
    mysql_pause_after_deadlock();
    return Next::again;
  }
  result.locked = waited;
  locked_ += waited ? 1 : 0;
  const bool leaves_changes = mysql_leaves_changes(error);
  results_[i] = std::move(result);
  failed_.insert(i);
  if (connection_.expired()) {  // that is the error of the others
    error = connection_.error(Failure::unavailable, "57014", "the time was over before COMMIT");
    return Next::end;
  }
  return leaves_changes || (wrote_ && !connection_.still_in_transaction()) ? Next::again : Next::on;
}

void MysqlGroup::give_up_on(std::size_t i) {
  results_[i] = {};
  results_[i].error = connection_.error(Failure::unavailable, "57014", "too many rows beside it are locked");
  results_[i].locked = true;
  failed_.insert(i);
}

}  // namespace sluice::sql

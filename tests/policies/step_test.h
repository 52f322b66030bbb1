// Stepper: one operation, driven by hand: every step is looked at and every event given by the test.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "policies/policy.h"
#include "tests/policies/sql_map.h"

namespace sluice::policies::testing {

class Stepper {
 public:
  Stepper(std::unique_ptr<Operation> operation, std::uint32_t id = 1) : operation_(std::move(operation)), id_{id, 1} {}

  Step start() {
    Turn turn = this->turn();
    return operation_->start(turn);
  }
  Step resume(Event event) {
    Turn turn = this->turn();
    return operation_->resume(std::move(event), turn);
  }
  Step redis(std::vector<resp::Reply> replies) { return resume(RedisReplies{std::move(replies)}); }
  Step sql(sql::Result result) { return resume(SqlDone{std::move(result)}); }
  Step lost(bool sent = false) { return resume(RedisLost{sent}); }

  Milliseconds clock{1000};
  std::vector<OperationId> woken;

 private:
  Turn turn() { return {TimePoint(clock), id_, 0x0123456789abcdefULL, woken}; }

  std::unique_ptr<Operation> operation_;
  OperationId id_;
};

inline resp::Reply integer(std::int64_t value) { return {resp::Reply::Type::integer, value, {}, {}}; }
inline resp::Reply bulk(std::string text) { return {resp::Reply::Type::bulk, 0, std::move(text), {}}; }
inline resp::Reply status(std::string text) { return {resp::Reply::Type::status, 0, std::move(text), {}}; }
inline resp::Reply error(std::string text) { return {resp::Reply::Type::error, 0, std::move(text), {}}; }
inline resp::Reply array(std::vector<resp::Reply> items) { return {resp::Reply::Type::array, 0, {}, std::move(items)}; }

inline sql::Result described(sql::Table table) {
  sql::Result result;
  result.table = std::move(table);
  return result;
}
inline sql::Result failed(sql::Failure failure, std::string sqlstate = "08000") {
  sql::Result result;
  result.error = {failure, std::move(sqlstate), "because"};
  return result;
}
inline sql::Result affected(std::int64_t rows) {
  sql::Result result;
  result.affected = rows;
  return result;
}
inline sql::Result rows(std::vector<sql::Row> rows) {
  sql::Result result;
  result.rows = std::move(rows);
  return result;
}

inline Step reply(std::string text, bool close = false) { return Finish{std::move(text), close}; }

}  // namespace sluice::policies::testing

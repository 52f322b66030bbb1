// QueryRows: what a ReadQuery has given so far, within its limits.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "backends/sql.h"

namespace sluice::sql {

// begin(), then add() for each row, until it says that the rest is not to be read. wrong() tells why the whole is
// refused, if it is, without the backend and the operation in its message.
class QueryRows {
 public:
  explicit QueryRows(const ReadQuery& op) : rows_max_(op.rows_max), bytes_max_(op.bytes_max) {}

  bool begin(std::vector<Column> columns);  // false: they are wrong
  bool begun() const { return !result_.columns.empty(); }
  // Of what is refused a little more is read, and dropped: a result of two rows is no reason to lose a connection.
  bool add(Row row);

  const Error& wrong() const { return result_.error; }
  Result take() { return std::move(result_); }

 private:
  const std::size_t rows_max_, bytes_max_;
  std::size_t bytes_ = 0, dropped_ = 0;
  Result result_;
};

// Bytes that it takes in memory.
std::size_t size_of(const Row& row);

// Adds a row of a ListRows. False: that is enough for one page.
bool add_listed(Result& result, std::size_t& bytes, Row row);

// What is wrong with the columns of a query: there are none, or two have one name.
Error wrong_columns(const std::vector<Column>& columns);

// Of a query that would change something, whatever the database calls it.
bool refused_as_write(const Error& error);
inline constexpr const char* kWouldWrite = "a query must not change anything";
inline constexpr const char* kNoParameter = "there is no value for the parameter :";

}  // namespace sluice::sql

// QueryRows, see query_rows.h.
#include "backends/query_rows.h"

#include <set>
#include <string_view>
#include <utility>

namespace sluice::sql {

namespace {

constexpr std::size_t kDroppedMax = 1000;  // rows

}  // namespace

std::size_t size_of(const Row& row) {
  std::size_t bytes = sizeof(Row) + row.size() * sizeof(Value);
  for (const Value& value : row) {
    if (const auto* text = std::get_if<std::string>(&value)) bytes += text->size();
    if (const auto* blob = std::get_if<Blob>(&value)) bytes += blob->bytes.size();
  }
  return bytes;
}

bool add_listed(Result& result, std::size_t& bytes, Row row) {
  bytes += size_of(row);
  result.rows.push_back(std::move(row));
  result.affected = bytes >= kQueryBytesMax ? 1 : 0;
  return result.affected == 0;
}

bool QueryRows::begin(std::vector<Column> columns) {
  result_.error = wrong_columns(columns);
  result_.columns = std::move(columns);
  return result_.ok();
}

bool QueryRows::add(Row row) {
  bytes_ += size_of(row);
  const bool too_large = bytes_ > bytes_max_;
  if (!result_.ok()) return !too_large && ++dropped_ < kDroppedMax;
  const bool too_many = result_.rows.size() == rows_max_;
  if (!too_many && !too_large) {
    result_.rows.push_back(std::move(row));
    return true;
  }
  const std::string limit = too_many ? std::to_string(rows_max_) + (rows_max_ == 1 ? " row" : " rows")
                                     : std::to_string(bytes_max_) + " bytes";
  result_.error = {Failure::refused, "54000", "the result has more than " + limit};
  result_.rows.clear();
  return !too_large;
}

Error wrong_columns(const std::vector<Column>& columns) {
  if (columns.empty()) return {Failure::schema, "42601", "it gives no columns: it must be a SELECT"};
  std::set<std::string_view> names;
  for (const Column& column : columns) {
    if (names.insert(column.name).second) continue;
    return {Failure::schema, "42701",
            "two columns of the result are named '" + column.name + "': give one of them another name (AS)"};
  }
  return {};
}

bool refused_as_write(const Error& error) { return error.sqlstate == "25006"; }

}  // namespace sluice::sql

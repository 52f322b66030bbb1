// PostgresQuery: one statement with its parameters, and the forms that values have on the way to PostgreSQL and back.
#pragma once

#include <cstdint>
#include <libpq-fe.h>
#include <string>
#include <string_view>
#include <vector>

#include "backends/sql.h"

namespace sluice::sql {

// Parameters are bound as text whose type the server takes from where they stand; only bytes and arrays say what they
// are.
//   PostgresQuery query("SELECT name FROM fruit WHERE id = ");
//   query.sql += query.bind(id);
class PostgresQuery {
 public:
  struct Parameter {
    const std::string* borrowed = nullptr;
    std::string owned;
    bool null = false;
    bool bytes = false;
    Oid type = 0;  // 0: as the server infers
    const std::string& text() const { return borrowed != nullptr ? *borrowed : owned; }
  };

  PostgresQuery() = default;
  explicit PostgresQuery(std::string text) : sql(std::move(text)) {}

  // The name of the new parameter: "$1". Texts and bytes are not copied: they must outlive the query.
  std::string bind(const Value& value);
  std::string bind(std::int64_t value);
  // To compare a key column with: an integer says that it is of 64 bits, so that one beyond the column's range is that
  // of no row, and no error. 0 and 1 say nothing: they may be for a boolean.
  std::string bind_key(const Value& value);
  std::string bind_text(const std::string& text);
  std::string bind_bytes(const std::string& bytes);
  std::string bind_array(std::string text, Oid type);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  bool has_nul() const { return has_nul_; }  // in a text, which no text of PostgreSQL can hold
  std::string cache_key() const;             // the text and the types of the parameters

  std::string sql;

 private:
  std::string add(Parameter parameter);
  std::vector<Parameter> parameters_;
  bool has_nul_ = false;
};

// "schema"."table", with the quotes inside doubled; a dot separates the two.
std::string postgres_quoted_table(std::string_view table);
std::string postgres_quoted(std::string_view name);

// Numbers as text; what two values of a key have in common when they name one row.
std::string postgres_text(const Value& value);

// In the form that the column's type has in sql.h.
Value postgres_value(const PGresult* result, int row, int column);
Row postgres_row(const PGresult* result, int row);
// Of a result: only their names and types.
std::vector<Column> postgres_columns(const PGresult* result);

}  // namespace sluice::sql

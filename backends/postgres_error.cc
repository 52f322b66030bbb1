// Errors of PostgreSQL: SQLSTATEs to classes, see postgres_error.h.
#include "backends/postgres_error.h"

#include <algorithm>
#include <array>

namespace sluice::sql {

namespace {

using namespace std::string_view_literals;

template <std::size_t N>
bool has(const std::array<std::string_view, N>& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

// By its first two characters: the statement as such cannot run here, with any values.
constexpr std::array kSchemaClasses{"0A"sv, "21"sv, "26"sv, "28"sv, "2B"sv, "34"sv, "3D"sv, "3F"sv, "42"sv};
// The row is at fault: its values, a constraint, a trigger that raised.
constexpr std::array kRefusedClasses{"09"sv, "22"sv, "23"sv, "27"sv, "2F"sv, "38"sv, "39"sv, "44"sv, "54"sv, "P0"sv};

std::string field(const PGresult* result, int code) {
  const char* const text = PQresultErrorField(result, code);
  return text == nullptr ? "" : text;
}

// PostgreSQL quotes the value that it does not take: 'invalid input syntax for type integer: "12abc"'.
std::string without_values(std::string text) {
  const std::size_t first = text.find('"');
  const std::size_t last = text.rfind('"');
  if (first != std::string::npos && last > first) text.replace(first + 1, last - first - 1, "...");
  return text;
}

bool is_sqlstate(std::string_view text) {
  return text.size() == 5 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); });
}

std::string one_line(std::string_view text) {
  std::string out(text.substr(0, text.find_last_not_of('\n') + 1));
  std::replace(out.begin(), out.end(), '\n', ' ');
  return out;
}

}  // namespace

Failure postgres_class(std::string_view sqlstate) {
  if (sqlstate == "XX001" || sqlstate == "XX002" || sqlstate == "55000") return Failure::schema;
  const std::string_view kind = sqlstate.substr(0, 2);
  if (has(kSchemaClasses, kind)) return Failure::schema;
  return has(kRefusedClasses, kind) ? Failure::refused : Failure::unavailable;
}

// In the verbose form: "... FATAL:  28P01: password authentication failed for user "x"\nLOCATION: ...".
PostgresRefusal postgres_refusal(const PGconn* connection) {
  const std::string_view all = PQerrorMessage(connection);
  std::string_view text = all.substr(0, all.find("\nLOCATION:"));
  for (std::size_t at = text.find(":  "); at != std::string_view::npos; at = text.find(":  ", at + 1)) {
    const std::string_view code = text.substr(at + 3, 5);
    if (is_sqlstate(code) && text.substr(at + 8).starts_with(": ")) {
      return {std::string(code), one_line(text.substr(at + 10))};
    }
  }
  return {"08001", one_line(text)};
}

std::string postgres_sqlstate(const PGresult* result) { return field(result, PG_DIAG_SQLSTATE); }

std::string postgres_message(const PGresult* result) {
  std::string text = field(result, PG_DIAG_MESSAGE_PRIMARY);
  if (text.empty()) text = one_line(PQresultErrorMessage(result));
  return postgres_sqlstate(result).starts_with("22") ? without_values(std::move(text)) : text;
}

bool postgres_is_fatal(const PGresult* result) {
  return postgres_sqlstate(result).empty() || field(result, PG_DIAG_SEVERITY_NONLOCALIZED) != "ERROR";
}

}  // namespace sluice::sql

// TableName, see table_name.h.
#include "conf/table_name.h"

namespace sluice::conf {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return result;
}

bool has_schema(std::string_view table) { return table.find('.') != std::string_view::npos; }

}  // namespace

std::string bare_table(std::string_view table) {
  const auto dot = table.rfind('.');
  return lower(dot == std::string_view::npos ? table : table.substr(dot + 1));
}

bool may_be_same_table(std::string_view a, std::string_view b) {
  return has_schema(a) && has_schema(b) ? lower(a) == lower(b) : bare_table(a) == bare_table(b);
}

}  // namespace sluice::conf

// LoadRows: the query for the rows of some keys, and which row is whose.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "policies/load_target.h"
#include "policies/mapping.h"

namespace sluice::policies {

// The rows of a table; of one key by itself, of several in one query. Every target has its row_key.
sql::Op read_of(const std::string& table, const Mapping& mapping, const std::vector<Target*>& targets);

// Makes it an error if a row has not the columns that read_of() asks for.
void check_columns(sql::Result& result, const Mapping& mapping, const std::vector<Target*>& targets);

struct DealtRows {
  std::vector<std::pair<Target*, sql::Row>> found;  // without the key's columns
  std::vector<Target*> without;
  // A row says its key otherwise than the client does: it is of one that seems to have none.
  bool left_over = false;
};

// By their keys, of several targets.
DealtRows deal_rows(std::vector<sql::Row>& rows, const Mapping& mapping, const std::vector<Target*>& targets);

}  // namespace sluice::policies

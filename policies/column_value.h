// Column values: between the text or JSON of a client and the typed values of a column, checked before SQL sees them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "backends/sql.h"
#include "policies/checked.h"
#include "policies/json.h"

namespace sluice::policies {

// The text of a hash field, a raw value or a part of a key, as the column will hold it: refused when that is not
// exactly what was sent. Booleans are true, false, 1 or 0.
Checked<sql::Value> value_of_text(std::string_view text, const sql::Column& column);
// Bytes are base64 in JSON.
Checked<sql::Value> value_of_json(const json::Member& member, const sql::Column& column);

// What a hash field or a raw value holds; nullopt for NULL. Booleans are 1 and 0, reals the shortest that reads back.
std::optional<std::string> text_of(const sql::Value& value, sql::ColumnType type);
void append_json(std::string& out, const sql::Value& value, sql::ColumnType type);

}  // namespace sluice::policies

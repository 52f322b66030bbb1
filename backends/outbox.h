// Outbox: the table in which triggers record the rows that others have changed, as far as the dialects have it in
// common.
//
// sluice_outbox(seq, policy, tbl, op, key, at): a row for each changed row, written in the transaction of the change.
// `key` has the row's key columns, in the order of the policy's template: the text of each (or its bytes, when it holds
// bytes) in hexadecimal, joined by points. `seq` is never used again, so that who deletes an entry by its number
// deletes the one that it has read.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "backends/sql.h"

namespace sluice::sql {

inline constexpr const char* kOutbox = "sluice_outbox";

// Of a trigger: sluice_outbox_POLICY, with _EVENT behind it where each event has a trigger of its own.
std::string outbox_trigger(const Recorded& recorded, std::string_view event = {});

// A text as SQL, the quotes inside doubled.
std::string outbox_literal(std::string_view text);

// Bytes as SQLite and MySQL write them: in capitals.
std::string outbox_hex(std::string_view bytes);

// What a transaction of these writes tells the triggers: ",POLICY,POLICY,", the policies whose triggers need not record
// it. A write that is not theirs, to the same table, is to be recorded, and then they all are: one mark is all that a
// transaction has. Empty: everything is recorded; so it is with a statement of the user's own, which may change any
// row.
std::string outbox_mark(std::span<const Op* const> writes);
std::string outbox_mark(const Op& write);
// How a policy is found in a mark.
std::string outbox_marked(const Recorded& recorded);

// A row of ReadOutbox's result. `key`: as in the table.
Row outbox_row(std::int64_t seq, std::int64_t age_ms, std::string_view key);

// A missing table is for the operator, who wants to know how to make it.
Error outbox_error(Error error);

// What CheckOutbox says of a trigger: nothing, or that it is missing (`found` is empty) or made for something else.
// White space and backslashes do not matter.
void outbox_check_trigger(Result& result, const std::string& name, std::string_view expected, std::string_view found);
void outbox_check_table(Result& result, bool exists);
void outbox_check_type(Result& result, const std::string& column, const std::string& type);  // of a key, not recorded
void outbox_check_right(Result& result);  // one of SELECT and DELETE is missing

}  // namespace sluice::sql

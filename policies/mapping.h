// Mapping: how the values under one policy's keys become rows of its table, and back.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/sql.h"
#include "conf/config.h"
#include "policies/checked.h"

namespace sluice::policies {

namespace json {
struct Member;
}

// The value of a key as Redis holds it: `text` of a string (json, raw, counter), or `fields` of a hash: name, value,
// ...
struct Copy {
  std::string text;
  std::vector<std::string> fields;
  bool operator==(const Copy&) const = default;
};

// What a client's value does to its row, and to the cached copy.
struct Change {
  std::vector<sql::Bound> values;
  std::vector<std::string> reset;  // columns that get their default
  Copy copy;                       // hash: the fields that were sent
  bool complete = false;           // hash: `copy` is the whole value
  bool operator==(const Change&) const = default;
};

// Immutable. Nothing here throws or waits.
class Mapping {
 public:
  // Checks the policy against the table as it is. `options` must outlive the mapping.
  static Checked<Mapping> make(const conf::PolicyOptions& options, const sql::Table& table);

  // The key columns of a Redis key; refuses a key that is not the one its row would get.
  Checked<std::vector<sql::Bound>> key(std::string_view redis_key) const;
  // What two values of the key columns, in the order of key(), have in common when they are those of one Redis key.
  std::string key_text(std::span<const sql::Value> values) const;
  // The inverse: the Redis key of the row whose key columns have these texts, as a database writes them. Nullopt when
  // there is none.
  std::optional<std::string> redis_key(std::span<const std::string> texts) const;
  // Of a row with these values in its key columns.
  std::optional<std::string> redis_key_of(std::span<const sql::Value> values) const;
  // The columns that copy() and expiry() expect, in order.
  const std::vector<std::string>& columns() const { return columns_; }
  // Nullopt when the row is nothing that Redis could hold: a raw NULL, a hash without fields.
  std::optional<Copy> copy(const sql::Row& row) const;

  Checked<Change> replace(std::string_view redis_key, std::string_view value) const;  // json, raw
  Checked<Change> merge(std::string_view redis_key,
                        std::span<const std::string> fields) const;  // hash; name, value, ...

  // The database changes mapped columns itself: what a client wrote is not what a fill would read.
  bool computed() const { return computed_; }

  // --- For those who change single fields.
  struct Field {
    std::string name;
    sql::Column column;
    bool is_key = false;
    bool shown = false;           // part of the value
    bool in_primary_key = false;  // never reset: it identifies the row, whatever the policy's own key is
    std::size_t at = 0;           // shown: its place in columns()
  };
  // Null: there is none of this name.
  const Field* find(std::string_view name) const;
  // The one column of a raw policy.
  const Field& raw_field() const;
  // What a client may not change about the field, or nothing. `key_values`: of key().
  std::string forbidden(const Field& field) const;
  std::string refused(std::string_view field, std::string_view why) const;
  std::string unknown(std::string_view field) const;
  // Every column that a whole new value resets.
  std::vector<std::string> resettable() const;

  // --- ttl_column
  bool has_ttl() const { return ttl_.has_value(); }
  // When the row expires, as Unix time in milliseconds; nullopt: never.
  std::optional<std::int64_t> expiry(const sql::Row& row) const;
  sql::Bound ttl_bound(std::optional<std::int64_t> at) const;

 private:
  explicit Mapping(const conf::PolicyOptions& options) : options_(&options) {}
  std::string add_fields(const sql::Table& table);  // empty, or what is wrong
  std::string add_key(const sql::Table& table);
  std::string add_ttl(const sql::Table& table);
  std::string field_of(const sql::Column& column) const;

  Checked<Change> replace_object(std::string_view redis_key, std::string_view value) const;
  std::string known_part(std::span<const json::Member> members) const;
  Checked<Change> replace_bytes(std::string_view value) const;

  const conf::PolicyOptions* options_;
  std::vector<Field> fields_;     // in the table's order
  std::vector<sql::Column> key_;  // in the template's order
  std::vector<std::string> columns_;
  bool computed_ = false;
  std::optional<sql::Column> ttl_;
};

}  // namespace sluice::policies

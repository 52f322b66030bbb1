// Fields: the keys of a [[policy]], and which policies may have them.
#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>

#include "conf/field.h"
#include "conf/words.h"

namespace sluice::conf {
namespace {

using std::chrono::milliseconds;
using P = PolicyOptions;

constexpr Modes kFlushing = kWriteBehind | kCounter;
constexpr std::int64_t kMillion = 1000000;

std::optional<KeyTemplate> read_template(const Node& node, Reader& reader) {
  const auto text = reader.text(node);
  if (!text) return std::nullopt;
  KeyTemplate::ParseError error;
  auto parsed = KeyTemplate::parse(*text, error);
  if (!parsed) reader.mistake(node, quote(*text) + ", byte " + std::to_string(error.offset + 1) + ": " + error.message);
  return parsed;
}

void read_key(const Node& node, P& policy, Reader& reader) {
  if (auto parsed = read_template(node, reader)) policy.key = std::move(*parsed);
}

void read_alias(const Node& node, P& policy, Reader& reader) {
  if (auto parsed = read_template(node, reader)) policy.alias = std::move(parsed);
}

void read_policy_name(const Node& node, P& policy, Reader& reader) {
  const auto name = reader.name(node);
  if (!name) return;
  if (!is_name(*name)) return reader.mistake(node, quote(*name) + ": " + kNameRule);
  policy.name = *name;
}

void read_renames(const Node& table, P& policy, Reader& reader) {
  for (const Member& member : table.members) {
    const auto column = reader.name(member.value);
    if (!column) continue;
    const auto same = [&](const FieldColumn& other) { return other.column == *column; };
    if (std::any_of(policy.renames.begin(), policy.renames.end(), same)) {
      reader.mistake(member.value, "two fields are stored in the column " + quote(*column));
    }
    policy.renames.push_back({member.name, *column});
  }
}

void read_columns(const Node& node, P& policy, Reader& reader) {
  const auto is_table = [](const Node& item) { return item.kind == Node::Kind::table; };
  if (node.kind == Node::Kind::table) return read_renames(node, policy, reader);
  if (node.kind != Node::Kind::array || std::any_of(node.items.begin(), node.items.end(), is_table)) {
    return reader.mistake(node, "expected either a table of renames, { field = \"column\" }, or a list of columns");
  }
  if (node.items.empty()) return reader.mistake(node, "lists no column");
  if (const auto names = reader.names(node)) policy.only_columns = *names;
}

std::string print_columns(const P& policy) {
  if (!policy.only_columns.empty()) return print_names(policy.only_columns);
  std::string text;
  for (const FieldColumn& pair : policy.renames) {
    text += (text.empty() ? "{ " : ", ") + quote_key(pair.field) + " = " + quote(pair.column);
  }
  return text.empty() ? text : text + " }";
}

Fields<P> mapping_fields() {
  return {
      Field<P>{"name", read_policy_name, [](const P& policy) { return quote(policy.name); }}.must(),
      Field<P>{"key", read_key, [](const P& policy) { return quote(policy.key.text()); }}.must(),
      text_field("backend", &P::backend).must(),
      text_field("table", &P::table).must("query"),
      {"alias", read_alias, [](const P& policy) { return policy.alias ? quote(policy.alias->text()) : ""; }},
      choice_field("value", &P::value, {"json", "hash", "raw", "counter"}).must(),
      Field<P>{"columns", read_columns, print_columns}.of(kJson | kHash),
      text_field("column", &P::column).of(kRaw | kCounterValue),
      choice_field("unknown_fields", &P::unknown_fields, {"reject", "ignore", "cache-only"})
          .in(kWriting)
          .of(kJson | kHash),
  };
}

Fields<P> read_fields() {
  return {
      choice_field("read", &P::read, {"none", "cache-aside"}).in(kFilling),
      duration_field("ttl", &P::ttl, milliseconds(0)).in(kFilling),
      fraction_field("ttl_jitter", &P::ttl_jitter, 0.9).in(kFilling),
      duration_field("negative_ttl", &P::negative_ttl, milliseconds(0)).in(kFilling),
      text_field("query", &P::query).in(kCacheAside),
      choice_field("rows", &P::rows, {"one", "many"}).in(kCacheAside),
      names_field("tables", &P::tables).in(kFilling),
      fraction_field("refresh_ahead", &P::refresh_ahead, 0.9).in(kFilling),
      integer_field("max_concurrent_loads", &P::max_concurrent_loads, 1, kMillion),
      duration_field("load_timeout", &P::load_timeout, milliseconds(1)),
      choice_field("on_sql_error", &P::on_sql_error, {"error", "miss"}).in(kFilling),
      choice_field("on_redis_down", &P::on_redis_down, {"error", "sql"}).in(kFilling),
      choice_field("invalidation", &P::invalidation, {"none", "outbox"}).in(kFilling),
  };
}

Fields<P> write_fields() {
  return {
      choice_field("write", &P::write, {"none", "write-through", "write-behind"}).in(kFilling),
      choice_field("on_write", &P::on_write, {"update", "invalidate"}).in(kWriteThrough),
      text_field("write_query", &P::write_query).in(kWriting),
      choice_field("conflict", &P::conflict, {"update", "ignore", "error"}).in(kWriting),
      duration_field("write_timeout", &P::write_timeout, milliseconds(1)).in(kWriting | kCounter),
      duration_field("fuse", &P::fuse, milliseconds(1)).in(kWriteThrough),
      choice_field("on_delete", &P::on_delete, {"cache", "row"}).in(kWriting | kCounter),
      text_field("ttl_column", &P::ttl_column).in(kWriting),
      choice_field("unmanaged_writes", &P::unmanaged_writes, {"forward", "invalidate", "reject"}),
      choice_field("multi", &P::multi, {"reject", "forward"}).in(kWriting | kCounter),
  };
}

Fields<P> flush_fields() {
  return {
      duration_field("flush_interval", &P::flush_interval, milliseconds(1)).in(kFlushing),
      integer_field("batch_size", &P::batch_size, 1, 100000).in(kFlushing),
      boolean_field("coalesce", &P::coalesce).in(kFlushing),
      choice_field("durability_check", &P::durability_check, {"warn", "enforce", "off"}).in(kFlushing),
      integer_field("queue_max_entries", &P::queue_max_entries, 1, 1000 * kMillion).in(kWriteBehind),
      size_field("queue_max_bytes", &P::queue_max_bytes, 1024).in(kWriteBehind),
      choice_field("on_full", &P::on_full, {"block", "write-through", "reject"}).in(kWriteBehind),
      duration_field("retry_initial_delay", &P::retry_initial_delay, milliseconds(1)).in(kWriteBehind),
      duration_field("retry_max_delay", &P::retry_max_delay, milliseconds(1)).in(kWriteBehind),
      integer_field("dlq_max_entries", &P::dlq_max_entries, 1, 1000 * kMillion).in(kWriteBehind),
      text_field("history_table", &P::history_table).in(kCounter),
      choice_field("missing", &P::missing, {"nil", "0"}).in(kCounter),
      text_field("ops_field", &P::ops_field).in(kWriting).of(kHash),
      duration_field("ack_ttl", &P::ack_ttl, milliseconds(1)).in(kWriting).of(kHash),
  };
}

}  // namespace

Modes mode_of(const PolicyOptions& policy) {
  if (policy.value == ValueMode::counter) return kCounter;
  if (policy.write == WriteMode::write_through) return kWriteThrough;
  if (policy.write == WriteMode::write_behind) return kWriteBehind;
  return policy.read == ReadMode::cache_aside ? kCacheAside : 0;
}

Values value_of(const PolicyOptions& policy) {
  switch (policy.value) {
    case ValueMode::json:
      return kJson;
    case ValueMode::hash:
      return kHash;
    case ValueMode::raw:
      return kRaw;
    case ValueMode::counter:
      return kCounterValue;
  }
  return 0;
}

const Fields<PolicyOptions>& policy_fields() {
  static const Fields<P> fields = [] {
    Fields<P> all;
    for (const Fields<P>& some : {mapping_fields(), read_fields(), write_fields(), flush_fields()}) {
      all.insert(all.end(), some.begin(), some.end());
    }
    return all;
  }();
  return fields;
}

}  // namespace sluice::conf

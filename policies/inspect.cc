// Inspection, see inspect.h.
#include "policies/inspect.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <utility>

#include "policies/fuse_scripts.h"
#include "policies/json.h"
#include "policies/query_mapping.h"
#include "policies/replies.h"
#include "policies/rights.h"

namespace sluice::policies {
namespace {

using conf::ValueMode;

// Reads the copy (but for DBGET) and the row, and shows them.
class Inspection : public Operation {
 public:
  Inspection(Shared& shared, Request request)
      : shared_(shared), options_(shared.options), request_(std::move(request)) {}

  Step start(Turn& turn) override {
    if (request_.acl_user.empty()) return look(turn);
    state_ = State::awaiting_rights;
    return CallRedis{{ask_rights(request_.acl_user, {"GET", request_.key})}};
  }

  Step resume(Event event, Turn& turn) override {
    switch (state_) {
      case State::awaiting_rights:
        return rights_known(event, turn);
      case State::awaiting_copy:
        return copy_read(event, turn);
      case State::awaiting_schema:
        return schema_known(event, turn);
      case State::awaiting_row:
        return row_read(std::get<SqlDone>(event).result);
    }
    return Finish{};
  }

 private:
  enum class State : std::uint8_t { awaiting_rights, awaiting_copy, awaiting_schema, awaiting_row };

  bool has_query() const { return !options_.query.empty(); }
  bool is_hash() const { return options_.value == ValueMode::hash; }

  Step rights_known(const Event& event, Turn& turn) {
    const resp::Reply* const rights = reply_at(event, 0);
    if (rights == nullptr) return finish_error(upstream_unavailable(), true);
    if (const auto denied = denial(*rights)) return finish_error(*denied);
    return look(turn);
  }

  Step look(Turn& turn) {
    if (request_.verb == Verb::dbget) return need_schema(turn);
    state_ = State::awaiting_copy;
    if (reads_as_client()) return look_as_client(turn);
    return CallRedis{{{nullptr, {is_hash() ? "HGETALL" : "GET", request_.key}}}};
  }

  bool reads_as_client() const { return request_.verb == Verb::source; }

  // As a read would, but for the lease. The time is Redis' own.
  Step look_as_client(Turn& turn) {
    const std::string side = side_key(request_.key);
    if (side.empty()) return finish_error(key_without_side(options_));
    const bool checked = !shared_.depends_on.empty();
    RedisCommand look{checked ? &fuse::lease_checked() : &fuse::lease(),
                      {"2", request_.key, side, make_token(turn), "0"}};
    if (checked) look.args.push_back(shared_.depends_on);
    look.args.emplace_back(is_hash() ? "H" : "S");
    CallRedis call{{std::move(look)}};
    if (!options_.ttl_column.empty()) call.commands.push_back({nullptr, {"TIME"}});
    return call;
  }

  // Of Redis: TIME's seconds and microseconds.
  void take_time(const resp::Reply& time) {
    const auto part = [&](std::size_t i) {
      std::int64_t number = 0;
      const std::string& text = item(time, i).text;
      std::from_chars(text.data(), text.data() + text.size(), number);
      return number;
    };
    now_ = part(0) * 1000 + part(1) / 1000;
  }

  Step copy_read(const Event& event, Turn& turn) {
    const resp::Reply* reply = reply_at(event, 0);
    if (reads_as_client() && reply != nullptr && !reply->is_error()) {
      const std::string& found = verdict_of(*reply);
      if (found == "NEG") return show_source("none", {});
      if (const resp::Reply* const time = reply_at(event, 1)) take_time(*time);
      reply = &item(*reply, found == "HIT" ? 1 : SIZE_MAX);
    }
    if (reply == nullptr) {
      status_.last_error = upstream_unavailable();
    } else if (reply->is_error()) {
      if (request_.verb == Verb::source) return finish_error(reply->text);
      status_.last_error = reply->text;
    } else if (!reply->is_nil() && (!is_hash() || !reply->items.empty())) {
      status_.redis = Copy{reply->text, {}};
      for (const resp::Reply& item : reply->items) status_.redis->fields.push_back(item.text);
      if (request_.verb == Verb::source) return show_source("redis", status_.redis);
    }
    return need_schema(turn);
  }

  Step need_schema(Turn& turn) {
    state_ = State::awaiting_schema;
    if (has_query()) return run_query();
    if (auto step = shared_.schema.ask(turn)) return *std::move(step);
    return read_row();
  }

  Step schema_known(const Event& event, Turn& turn) {
    if (const auto error = shared_.schema.take(event, turn)) return sql_error(*error);
    return read_row();
  }

  Step read_row() {
    mapping_ = shared_.schema.mapping();
    auto key = mapping_->key(request_.key);
    if (!key) return finish_error(not_fitting(options_, key.why()));
    state_ = State::awaiting_row;
    return CallSql{sql::ReadRow{options_.table, std::move(*key), mapping_->columns()}, options_.load_timeout};
  }

  Step run_query() {
    auto parameters = query_parameters(options_, request_.key);
    if (!parameters) return finish_error(not_fitting(options_, parameters.why()));
    state_ = State::awaiting_row;
    return CallSql{query_of(options_, std::move(*parameters)), options_.load_timeout};
  }

  Step query_answered(const sql::Result& result) {
    auto copy = copy_of(options_, result);
    if (!copy) return finish_error(not_fitting(options_, copy.why()));
    status_.sql = std::move(*copy);
    return show();
  }

  Step row_read(const sql::Result& result) {
    if (!result.ok()) return sql_error(explained(options_, result.error));
    if (has_query()) return query_answered(result);
    if (!result.rows.empty() && result.rows[0].size() == mapping_->columns().size()) {
      status_.sql = mapping_->copy(result.rows[0]);
      const auto until = mapping_->expiry(result.rows[0]);
      if (reads_as_client() && until && *until <= now_) status_.sql.reset();
    }
    return show();
  }

  Step sql_error(const sql::Error& error) {
    if (error.failure == sql::Failure::schema) shared_.schema.forget();
    if (request_.verb != Verb::status) return finish_error(sql_failed(options_, error));
    status_.last_error = sql_failed(options_, error);
    return show();
  }

  Step show() {
    if (request_.verb == Verb::status) {
      status_.synced = !status_.last_error && synced();
      return finish_status(options_, status_, request_.version);
    }
    if (request_.verb == Verb::source) return show_source(status_.sql ? "sql" : "none", status_.sql);
    Finish finish;
    append_copy(finish.reply, status_.sql, options_.value, request_.version);
    return finish;
  }

  Step show_source(std::string_view source, const std::optional<Copy>& copy) const {
    Finish finish;
    resp::append_array_header(finish.reply, 2);
    append_copy(finish.reply, copy, options_.value, request_.version);
    resp::append_bulk(finish.reply, source);
    return finish;
  }

  // Nothing cached is nothing wrong.
  bool synced() const {
    if (!status_.redis) return true;
    if (!status_.sql) return false;
    switch (options_.value) {
      case ValueMode::json:
        return status_.redis->text == status_.sql->text || json::equal(status_.redis->text, status_.sql->text);
      case ValueMode::hash:
        return sorted(status_.redis->fields) == sorted(status_.sql->fields);
      case ValueMode::raw:
      case ValueMode::counter:
        break;
    }
    return status_.redis->text == status_.sql->text;
  }

  static std::vector<std::pair<std::string, std::string>> sorted(const std::vector<std::string>& fields) {
    std::vector<std::pair<std::string, std::string>> pairs;
    for (std::size_t i = 0; i + 1 < fields.size(); i += 2) pairs.emplace_back(fields[i], fields[i + 1]);
    std::sort(pairs.begin(), pairs.end());
    return pairs;
  }

  Shared& shared_;
  const conf::PolicyOptions& options_;
  const Request request_;
  State state_ = State::awaiting_rights;
  std::shared_ptr<const Mapping> mapping_;
  Status status_;
  std::int64_t now_ = 0;  // in Redis, as Unix time in milliseconds; 0: nobody has asked
};

void append_text(std::string& out, const std::optional<std::string>& text, resp::Version version) {
  if (text) {
    resp::append_bulk(out, *text);
  } else {
    resp::append_nil(out, version);
  }
}

}  // namespace

void append_copy(std::string& out, const std::optional<Copy>& copy, ValueMode mode, resp::Version version) {
  if (!copy) {
    resp::append_nil(out, version);
  } else if (mode == ValueMode::hash) {
    resp::append_map_header(out, copy->fields.size() / 2, version);
    for (const std::string& part : copy->fields) resp::append_bulk(out, part);
  } else {
    resp::append_bulk(out, copy->text);
  }
}

Finish finish_status(const conf::PolicyOptions& options, const Status& status, resp::Version version) {
  Finish finish;
  std::string& out = finish.reply;
  resp::append_map_header(out, 8, version);
  resp::append_bulk(out, "policy");
  resp::append_bulk(out, options.name);
  resp::append_bulk(out, "redis");
  append_copy(out, status.redis, options.value, version);
  resp::append_bulk(out, "sql");
  append_copy(out, status.sql, options.value, version);
  resp::append_bulk(out, "pending");
  resp::append_integer(out, status.pending);
  resp::append_bulk(out, "synced");
  resp::append_integer(out, status.synced ? 1 : 0);
  resp::append_bulk(out, "dirty_age_ms");
  if (status.dirty_age_ms) {
    resp::append_integer(out, *status.dirty_age_ms);
  } else {
    resp::append_nil(out, version);
  }
  resp::append_bulk(out, "last_flush");
  append_text(out, status.last_flush, version);
  resp::append_bulk(out, "last_error");
  append_text(out, status.last_error, version);
  return finish;
}

std::unique_ptr<Operation> make_inspection(Shared& shared, Request request) {
  return std::make_unique<Inspection>(shared, std::move(request));
}

}  // namespace sluice::policies

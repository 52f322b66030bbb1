// Flush: carries what was counted from Redis to SQL, a batch of counters per transaction.
//
// Find dirty counters -> read them -> SQL -> mark clean what did not change meanwhile. Stopping anywhere is safe: what
// is flushed again changes nothing. Counters that SQL refuses stay dirty and are passed over.
#include <algorithm>
#include <cstdlib>
#include <deque>
#include <utility>

#include "policies/counter_scripts.h"
#include "policies/counters.h"
#include "policies/inspect.h"
#include "policies/replies.h"
#include "policies/rights.h"
#include "policies/tables.h"
#include "resp/integer.h"

namespace sluice::policies {
namespace {

constexpr const char* kIdleMs = "86400000";  // side keys of clean counters live that long
constexpr const char* kMatchesAtOnce = "1000";

enum class Scope : std::uint8_t {
  all,      // by age, in pages of the dirty set
  pattern,  // those that match, found first
  key,
};

struct Plan {
  Scope scope = Scope::all;
  std::string match;     // the key or the pattern
  bool forced = false;   // also what SQL refused a moment ago
  bool replies = false;  // for a client
  bool* running = nullptr;
  std::string acl_user;
};

// One counter on its way.
struct Entry {
  std::string key;
  sql::CounterDelta delta;  // without incarnation: there is nothing to flush
  std::int64_t change = 0;  // what SQL made of it
  bool refused = false;
};

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> found;
  while (!text.empty()) {
    const auto end = std::min(text.find(' '), text.size());
    if (end > 0) found.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return found;
}

std::int64_t integer_of(const resp::Reply& reply) { return resp::parse_integer(reply.text).value_or(0); }

// TIME in milliseconds.
std::int64_t time_of(const resp::Reply& reply) {
  return integer_of(item(reply, 0)) * 1000 + integer_of(item(reply, 1)) / 1000;
}

// `row` is {inc, n, t, base, retired}.
void take_counter(Entry& entry, const resp::Reply& row) {
  sql::CounterDelta& delta = entry.delta;
  delta.redis_key = entry.key;
  delta.inc = item(row, 0).text;
  delta.n = integer_of(item(row, 1));
  delta.t = integer_of(item(row, 2));
  if (item(row, 3).is_nil()) return;
  delta.base = integer_of(item(row, 3));
  delta.retired = words(item(row, 4).text);
}

std::string text_at(const sql::Row& row, std::size_t index) {
  const auto* const text = index < row.size() ? std::get_if<std::string>(&row[index]) : nullptr;
  return text == nullptr ? std::string() : *text;
}

class Flush : public Operation {
 public:
  Flush(Counters& counters, Plan plan)
      : counters_(counters),
        metrics_(counters.shared.metrics),
        options_(counters.shared.options),
        batch_size_(static_cast<std::size_t>(std::max(options_.batch_size, 1))),
        plan_(std::move(plan)) {}

  Step start(Turn&) override {
    if (plan_.scope == Scope::all) counters_.ledger.pass_begins();
    if (!plan_.acl_user.empty()) {
      state_ = State::awaiting_rights;
      return CallRedis{{ask_rights(plan_.acl_user, {"GET", plan_.match})}};
    }
    if (plan_.replies || !plan_.forced || counters_.ledger.pause() == Milliseconds(0)) return look_for_work();
    state_ = State::pausing;  // draining, and the last attempt failed
    return Sleep{counters_.ledger.pause()};
  }

  Step resume(Event event, Turn& turn) override {
    switch (state_) {
      case State::awaiting_rights:
        return rights_known(event);
      case State::pausing:
        return look_for_work();
      case State::awaiting_score:
        return score_known(event, turn);
      case State::awaiting_matches:
        return matches_found(event, turn);
      case State::awaiting_page:
        return page_read(event, turn);
      case State::awaiting_schema:
        return schema_known(event, turn);
      case State::awaiting_counters:
        return counters_read(event, turn);
      case State::awaiting_commit:
        return committed(std::get<SqlDone>(event).result, turn);
      case State::awaiting_touch:
        return touched(event, turn);
      case State::awaiting_clean:
        return cleaned(event, turn);
      case State::awaiting_rest:
        return rest_known(event);
    }
    return Finish{};
  }

 private:
  enum class State : std::uint8_t {
    awaiting_rights,
    pausing,
    awaiting_score,
    awaiting_matches,
    awaiting_page,
    awaiting_schema,
    awaiting_counters,
    awaiting_commit,
    awaiting_touch,
    awaiting_clean,
    awaiting_rest,
  };

  Step rights_known(const Event& event) {
    const resp::Reply* const rights = reply_at(event, 0);
    if (rights == nullptr) return fail(upstream_unavailable());
    if (const auto denied = denial(*rights)) return finish_error(*denied);
    return look_for_work();
  }

  Step look_for_work() {
    switch (plan_.scope) {
      case Scope::all:
        return read_page();
      case Scope::pattern:
        return find_matches("0");
      case Scope::key:
        break;
    }
    state_ = State::awaiting_score;
    return CallRedis{{{nullptr, {"ZSCORE", counters_.dirty_key, plan_.match}}}};
  }

  Step score_known(const Event& event, Turn& turn) {
    const resp::Reply* const score = reply_at(event, 0);
    if (score == nullptr || score->is_error()) return fail(score == nullptr ? upstream_unavailable() : score->text);
    if (!score->is_nil()) todo_.push_back(plan_.match);
    return next_batch(turn);
  }

  Step find_matches(const std::string& cursor) {
    state_ = State::awaiting_matches;
    return CallRedis{
        {{nullptr, {"ZSCAN", counters_.dirty_key, cursor, "MATCH", plan_.match, "COUNT", kMatchesAtOnce}}}};
  }

  Step matches_found(const Event& event, Turn& turn) {
    const resp::Reply* const found = reply_at(event, 0);
    if (found == nullptr || found->is_error()) return fail(found == nullptr ? upstream_unavailable() : found->text);
    const auto& pairs = item(*found, 1).items;
    for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) todo_.push_back(pairs[i].text);
    const std::string& cursor = item(*found, 0).text;
    return cursor == "0" ? next_batch(turn) : find_matches(cursor);
  }

  Step read_page() {
    state_ = State::awaiting_page;
    const std::string first = std::to_string(passed_over_);
    const std::string last = std::to_string(passed_over_ + batch_size_ - 1);
    return CallRedis{{{nullptr, {"TIME"}}, {nullptr, {"ZRANGE", counters_.dirty_key, first, last, "WITHSCORES"}}}};
  }

  // What became dirty after the pass began, or was changed again during it, is for the next one.
  Step page_read(const Event& event, Turn& turn) {
    const resp::Reply* const page = reply_at(event, 1);
    if (page == nullptr || page->is_error()) return fail(page == nullptr ? upstream_unavailable() : page->text);
    if (began_ms_ == 0) began_ms_ = time_of(*reply_at(event, 0));
    const auto& pairs = page->items;
    std::size_t resting = 0;
    for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) {
      if (std::strtod(pairs[i + 1].text.c_str(), nullptr) > static_cast<double>(began_ms_)) break;
      if (!plan_.forced && counters_.ledger.is_resting(pairs[i].text, turn.now)) {
        ++resting;
      } else {
        todo_.push_back(pairs[i].text);
      }
    }
    passed_over_ += resting;
    if (todo_.empty() && resting == batch_size_) return read_page();
    if (pairs.empty() && passed_over_ == 0) return end_pass(0, 0);
    return next_batch(turn);
  }

  Step next_batch(Turn& turn) {
    if (todo_.empty()) return plan_.scope == Scope::all ? look_at_rest() : reply();
    state_ = State::awaiting_schema;
    if (auto step = counters_.shared.schema.ask(turn)) return *std::move(step);
    return read_counters(turn);
  }

  Step schema_known(const Event& event, Turn& turn) {
    if (const auto error = counters_.shared.schema.take(event, turn)) return fail(sql_failed(options_, *error));
    return read_counters(turn);
  }

  Step read_counters(Turn& turn) {
    batch_.clear();
    while (!todo_.empty() && batch_.size() < batch_size_) {
      std::string key = std::move(todo_.front());
      todo_.pop_front();
      auto bound = counters_.shared.schema.mapping()->key(key);
      if (!bound || side_key(key).empty()) {
        refuse(key, "not a key of this policy", turn.now);
        continue;
      }
      batch_.push_back({std::move(key), {}});
      for (sql::Bound& part : *bound) batch_.back().delta.key.push_back(std::move(part.value));
    }
    if (batch_.empty()) return after_batch(turn);
    state_ = State::awaiting_counters;
    RedisCommand read{&counters::read(), {std::to_string(batch_.size())}};
    for (const Entry& entry : batch_) read.args.push_back(side_key(entry.key));
    return CallRedis{{std::move(read)}};
  }

  Step counters_read(const Event& event, Turn& turn) {
    const resp::Reply* const rows = reply_at(event, 0);
    if (rows == nullptr || rows->is_error()) return fail(rows == nullptr ? upstream_unavailable() : rows->text);
    read_at_ = item(*rows, 0).text;
    sql::FlushCounters flush{counters_.table, {}};
    for (std::size_t i = 0; i < batch_.size(); ++i) {
      take_counter(batch_[i], item(*rows, i + 1));
      if (!batch_[i].delta.inc.empty()) flush.deltas.push_back(batch_[i].delta);
    }
    if (flush.deltas.empty()) return clean(turn);
    state_ = State::awaiting_commit;
    return CallSql{std::move(flush), options_.write_timeout};
  }

  Step committed(const sql::Result& result, Turn& turn) {
    if (!result.ok()) {
      if (result.error.failure == sql::Failure::schema) counters_.shared.schema.forget();
      return fail(sql_failed(options_, result.error));
    }
    metrics_.flushes.add();
    const std::int64_t before = rows_;
    std::size_t at = 0;
    for (Entry& entry : batch_) {
      if (entry.delta.inc.empty()) continue;
      if (at >= result.rows.size()) return fail(not_fitting(options_, "SQL did not answer for every counter"));
      take_verdict(entry, result.rows[at++], turn.now);
    }
    return rows_ > before ? touch(turn) : clean(turn);
  }

  // Who caches rows of the table learns of it before the counters are clean: else nobody would come back to it.
  Step touch(Turn& turn) {
    state_ = State::awaiting_touch;
    return CallRedis{{tables::touch({counters_.shared.table}, make_token(turn))}};
  }

  Step touched(const Event& event, Turn& turn) {
    const resp::Reply* const reply = reply_at(event, 0);
    if (reply == nullptr || reply->is_error()) return fail(reply == nullptr ? upstream_unavailable() : reply->text);
    return clean(turn);
  }

  // `row` is {change}, or {NULL, sqlstate, message} when SQL refused this counter.
  void take_verdict(Entry& entry, const sql::Row& row, TimePoint now) {
    const auto* const change = row.empty() ? nullptr : std::get_if<std::int64_t>(&row[0]);
    if (change == nullptr) {
      entry.refused = true;
      refuse(entry.key, sql_failed(options_, {sql::Failure::refused, text_at(row, 1), text_at(row, 2)}), now);
      return;
    }
    entry.change = *change;
    ++rows_;
    metrics_.flushed_rows.add();
    counters_.ledger.flushed(entry.key);
  }

  void refuse(const std::string& key, const std::string& error, TimePoint now) {
    ++passed_over_;
    metrics_.flush_errors.add();
    refusal_ = error;
    counters_.ledger.refused(key, error, now);
  }

  Step clean(Turn& turn) {
    CallRedis call;
    for (const Entry& entry : batch_) {
      if (entry.refused) continue;
      const sql::CounterDelta& delta = entry.delta;
      call.commands.push_back(
          {&counters::clean(),
           {"3", entry.key, side_key(entry.key), counters_.dirty_key, delta.inc, std::to_string(delta.n),
            std::to_string(entry.change), delta.base ? "1" : "0", read_at_, kIdleMs}});
    }
    if (call.commands.empty()) return after_batch(turn);
    state_ = State::awaiting_clean;
    return call;
  }

  Step cleaned(const Event& event, Turn& turn) {
    const auto* const done = std::get_if<RedisReplies>(&event);
    if (done == nullptr) return fail(upstream_unavailable());
    // What Redis did not mark is dirty still: the next page would bring it at once.
    for (const resp::Reply& reply : done->replies) {
      if (reply.is_error()) return fail(reply.text);
    }
    return after_batch(turn);
  }

  Step after_batch(Turn& turn) {
    if (todo_.empty() && plan_.scope == Scope::all) return read_page();
    return next_batch(turn);
  }

  Step look_at_rest() {
    state_ = State::awaiting_rest;
    return CallRedis{{{nullptr, {"TIME"}},
                      {nullptr, {"ZCARD", counters_.dirty_key}},
                      {nullptr, {"ZRANGE", counters_.dirty_key, "0", "0", "WITHSCORES"}}}};
  }

  Step rest_known(const Event& event) {
    const resp::Reply* const oldest = reply_at(event, 2);
    if (oldest == nullptr || oldest->is_error()) return fail(upstream_unavailable());
    const double since = std::strtod(item(*oldest, 1).text.c_str(), nullptr);
    const auto age = since > 0 ? time_of(*reply_at(event, 0)) - static_cast<std::int64_t>(since) : 0;
    return end_pass(static_cast<std::uint64_t>(std::max<std::int64_t>(reply_at(event, 1)->integer, 0)),
                    static_cast<std::uint64_t>(std::max<std::int64_t>(age, 0)));
  }

  Step end_pass(std::uint64_t dirty, std::uint64_t oldest_ms) {
    metrics_.dirty.set(dirty);
    metrics_.oldest_dirty_ms.set(oldest_ms);
    counters_.ledger.pass_ends(dirty);
    return reply();
  }

  Step reply() {
    if (plan_.running != nullptr) *plan_.running = false;
    if (!plan_.replies) return Finish{};
    if (plan_.scope == Scope::key && !refusal_.empty()) return finish_error(refusal_);
    return finish_integer(rows_);
  }

  Step fail(const std::string& error) {
    metrics_.flush_errors.add();
    counters_.ledger.failed(error);
    if (plan_.running != nullptr) *plan_.running = false;
    return plan_.replies ? finish_error(error) : Finish{};
  }

  Counters& counters_;
  PolicyMetrics& metrics_;
  const conf::PolicyOptions& options_;
  const std::size_t batch_size_;
  const Plan plan_;
  State state_ = State::awaiting_page;
  std::int64_t began_ms_ = 0;    // Redis' clock
  std::size_t passed_over_ = 0;  // how many stay dirty at the old end of the set
  std::deque<std::string> todo_;
  std::vector<Entry> batch_;
  std::string read_at_;
  std::string refusal_;  // the last one
  std::int64_t rows_ = 0;
};

}  // namespace

std::unique_ptr<Operation> make_flush(Counters& counters, bool forced, bool* running) {
  return std::make_unique<Flush>(counters, Plan{Scope::all, {}, forced, false, running, {}});
}

std::unique_ptr<Operation> make_sync(Counters& counters, Request request) {
  const Scope scope = request.key.empty() ? Scope::all : is_pattern(request.key) ? Scope::pattern : Scope::key;
  std::string acl_user = scope == Scope::key ? std::move(request.acl_user) : std::string();
  return std::make_unique<Flush>(counters,
                                 Plan{scope, std::move(request.key), true, true, nullptr, std::move(acl_user)});
}

}  // namespace sluice::policies

// Load, see load.h: single flight -> lease -> SQL -> fill.
#include "policies/load.h"

#include <algorithm>
#include <span>
#include <unordered_map>
#include <utility>

#include "policies/fuse_scripts.h"
#include "policies/load_rows.h"
#include "policies/load_scripts.h"
#include "policies/load_target.h"
#include "policies/query_mapping.h"
#include "policies/read.h"
#include "policies/replies.h"
#include "policies/rights.h"

namespace sluice::policies {
namespace {

// Keys with a query each that are led at a time: who waits for the last one waits for so many queries.
constexpr std::size_t kQueriesMax = 8;
constexpr Milliseconds kPollMin{5};
constexpr Milliseconds kPollMax{50};
// Added to one random number it makes others, far apart (the golden section): what is filled together does not expire
// together.
constexpr std::uint64_t kApart = 0x9E3779B97F4A7C15ULL;

using Stage = Target::Stage;
using Share = Flights::Share;

// Each step does its part for all keys that are at this stage, in one call.
class Load : public Operation {
 public:
  Load(Shared& shared, Request request) : shared_(shared), options_(shared.options), request_(std::move(request)) {
    add_targets();
  }
  ~Load() override {
    if (request_.refresh) shared_.refreshes.end();
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  Step start(Turn& turn) override {
    token_ = make_token(turn);
    for (const Target& target : targets_) {
      if (target.side.empty()) return finish_error(key_without_side(options_));
    }
    if (request_.redis_down && !may_bypass_redis()) return finish_error(upstream_unavailable(), true);
    for (Target& target : targets_) target.redis = !request_.redis_down;
    if (request_.acl_user.empty() || request_.redis_down) return begin(turn);
    state_ = State::awaiting_rights;
    return CallRedis{{ask_rights(request_.acl_user, request_.args)}};
  }

  Step resume(Event event, Turn& turn) override {
    switch (state_) {
      case State::awaiting_rights:
        return rights_known(event, turn);
      case State::awaiting_drop:
        return copies_dropped(event, turn);
      case State::awaiting_flight:
        return flights_landed(turn);
      case State::awaiting_schema:
        return schema_known(event, turn);
      case State::awaiting_leases:
        return leases_answered(event, turn);
      case State::sleeping:
        return ask_leases(turn);
      case State::awaiting_slot:
        return slot_freed(turn);
      case State::awaiting_rows:
        return rows_read(event, turn);
      case State::awaiting_fills:
        return fills_answered(event, turn);
      case State::awaiting_redis:
        return redis_said(event);
    }
    return Finish{};
  }

 private:
  enum class State : std::uint8_t {
    awaiting_rights,
    awaiting_drop,
    awaiting_flight,
    awaiting_schema,
    awaiting_leases,
    sleeping,
    awaiting_slot,
    awaiting_rows,
    awaiting_fills,
    awaiting_redis,
  };

  // --- The keys

  void add_targets() {
    if (!reads_several(request_.command->id)) {
      targets_.emplace_back(request_.key);
      return;
    }
    for (std::size_t i = 1; i < request_.args.size(); ++i) {
      const auto [at, first] = places_.try_emplace(request_.args[i], targets_.size());
      if (first) targets_.emplace_back(at->first);
    }
  }

  // The targets that are worked on: as many as a query takes.
  std::span<Target> part() { return std::span(targets_).subspan(part_begin_, part_end_ - part_begin_); }

  // Those of them at this stage, at most `most`; valid until the operation ends.
  std::vector<Target*> at(Stage stage, std::size_t most = SIZE_MAX) {
    std::vector<Target*> found;
    for (Target& target : part()) {
      if (target.stage == stage && found.size() < most) found.push_back(&target);
    }
    return found;
  }
  bool any(Stage stage) {
    return std::any_of(part().begin(), part().end(), [&](const Target& target) { return target.stage == stage; });
  }
  bool any_lease() {
    return std::any_of(part().begin(), part().end(),
                       [](const Target& target) { return target.stage == Stage::reading && target.leased; });
  }
  Target& target_of(const std::string& key) { return targets_.size() == 1 ? targets_[0] : targets_[places_.at(key)]; }

  void count(Target& target, bool hit) {
    if (!std::exchange(target.counted, true)) (hit ? shared_.metrics.hits : shared_.metrics.misses).add();
  }
  void count_miss(Target& target) { count(target, false); }

  // --- Before anything is read

  // Without Redis nobody can say what this user may read.
  bool may_bypass_redis() const {
    const bool may_read = request_.acl_user.empty() || granted_;
    return options_.on_redis_down == conf::OnRedisDown::sql && may_read;
  }
  bool has_query() const { return !options_.query.empty(); }
  // `left`: of the life of its copy.
  void look_ahead(const Target& target, Milliseconds left) {
    if (scripts_.is_due(left) && !shared_.refreshes.add(target.key)) shared_.metrics.refreshes_dropped.add();
  }

  // Nobody else has asked Redis whether this user may read the keys.
  Step rights_known(const Event& event, Turn& turn) {
    const resp::Reply* const rights = reply_at(event, 0);
    if (rights == nullptr) return finish_error(upstream_unavailable(), true);
    if (const auto denied = denial(*rights)) return finish_error(*denied);
    granted_ = true;
    return begin(turn);
  }

  Step begin(Turn& turn) { return request_.distrust ? drop_copies() : join(turn); }

  Step drop_copies() {
    state_ = State::awaiting_drop;
    CallRedis call;
    for (const Target& target : targets_) call.commands.push_back({&fuse::inval(), {"2", target.key, target.side}});
    return call;
  }

  Step copies_dropped(const Event& event, Turn& turn) {
    if (reply_at(event, 0) == nullptr) return finish_error(upstream_unavailable(), true);
    for (std::size_t i = 0; i < targets_.size(); ++i) {
      const resp::Reply* const dropped = reply_at(event, i);
      if (dropped != nullptr && dropped->is_error()) targets_[i].undropped = dropped->text;
    }
    return join(turn);
  }

  // --- Single flight

  // Leads the flights of the keys that nobody leads yet. Only when there are none it waits, for all others at once:
  // who leads never waits for another who may wait for it.
  Step join(Turn& turn) {
    joining_ = true;
    Step step;
    do {
      again_ = false;
      step = join_part(turn);
    } while (again_);
    joining_ = false;
    return step;
  }

  // The same from within join(), which then begins anew: many parts with nothing to wait for must not be a deep stack.
  Step join_again(Turn& turn) {
    again_ = joining_;
    return joining_ ? Step(Park{}) : join(turn);
  }

  Step join_part(Turn& turn) {
    if (const Answer* failed = find_end()) return finish_error(failed->error, failed->close);
    if (!any(Stage::idle)) next_part();
    if (part().empty()) return answer();
    for (Target* target : at(Stage::idle)) {
      if (!request_.refresh && shared_.flights.is_led(target->key)) continue;
      if (!request_.refresh) shared_.flights.join(target->key, turn.self);
      target->stage = Stage::leasing;
    }
    return any(Stage::leasing) ? lead(turn) : wait_for_flights(turn);
  }

  void next_part() {
    part_begin_ = part_end_;
    const std::size_t most = has_query() ? kQueriesMax : sql::kReadRowsMax;
    part_end_ = std::min(targets_.size(), part_begin_ + most);
  }

  // What is the reply whatever the other keys have.
  const Answer* find_end() {
    if (!reads_several(request_.command->id)) return nullptr;
    for (const Target& target : part()) {
      if (target.answer != nullptr && ends_read(*target.answer)) return target.answer.get();
    }
    return nullptr;
  }

  Step wait_for_flights(Turn& turn) {
    const bool missed = !options_.checks_reads();  // Redis has been asked
    for (Target* target : at(Stage::idle)) {
      if (missed) count_miss(*target);
      shared_.flights.join(target->key, turn.self);
      target->stage = Stage::waiting;
    }
    if (missed) shared_.metrics.waits.add();
    state_ = State::awaiting_flight;
    return Park{};
  }

  Step flights_landed(Turn& turn) {
    for (Flights::Landed& landed : shared_.flights.take(turn.self)) {
      Target& target = target_of(landed.key);
      const bool other = landed.answer && !landed.answer->part.empty() && landed.answer->part != scripts_.part();
      target.stage = other ? Stage::idle : landed.answer ? Stage::landed : Stage::leasing;
      if (!other) target.answer = std::move(landed.answer);
      if (target.stage == Stage::landed) count_shared(target);
    }
    const bool leads = any(Stage::leasing);
    if (!leads && find_end() == nullptr && any(Stage::waiting)) return Park{};
    for (Target* target : at(Stage::waiting)) {
      shared_.flights.leave(target->key, turn.self);
      target->stage = Stage::idle;
    }
    return leads ? lead(turn) : join(turn);
  }

  // What another operation has found out.
  void count_shared(Target& target) {
    if (target.counted) return;
    if (!target.answer->hit) shared_.metrics.waits.add();
    count(target, target.answer->hit);
  }

  Step lead(Turn& turn) {
    state_ = State::awaiting_schema;
    led_since_ = turn.now;
    poll_ = Milliseconds(0);
    if (has_query()) return map_keys(turn);  // it brings its columns along
    const bool asks = shared_.schema.mapping() == nullptr;
    if (asks && shared_.breaker.refuses(turn.now)) return schema_unknown(shared_.breaker.refuse(), turn);
    if (auto step = shared_.schema.ask(turn)) {
      if (std::holds_alternative<CallSql>(*step)) pass_ = shared_.breaker.ask(turn.now, options_.load_timeout);
      return *std::move(step);
    }
    return map_keys(turn);
  }

  Step schema_known(const Event& event, Turn& turn) {
    const auto* const done = std::get_if<SqlDone>(&event);
    if (done != nullptr && pass_) shared_.breaker.report(*pass_, done->result.error, turn);
    const auto error = shared_.schema.take(event, turn);
    return error ? schema_unknown(*error, turn) : map_keys(turn);
  }

  Step schema_unknown(const sql::Error& error, Turn& turn) {
    shared_.metrics.load_errors.add();
    for (Target* target : at(Stage::leasing)) land(*target, sql_answer(error), Share::early, turn);
    if (error.failure == sql::Failure::unavailable) give_up_rest(sql_answer(error));
    return go_on(turn);
  }

  // Of keys that have not been begun: asking once more would take as long again.
  void give_up_rest(Answer answer) {
    const auto shared = std::make_shared<const Answer>(std::move(answer));
    for (Target& target : targets_) {
      if (target.stage != Stage::idle) continue;
      count_miss(target);
      target.stage = Stage::landed;
      target.answer = shared;
    }
    part_end_ = targets_.size();
  }

  Step map_keys(Turn& turn) {
    mapping_ = shared_.schema.mapping();
    for (Target* target : at(Stage::leasing)) {
      auto key = has_query() ? query_parameters(options_, target->key) : mapping_->key(target->key);
      if (!key) {
        land(*target, {}, Share::early, turn);  // no row can have this key: it stays absent, SQL is not asked
        continue;
      }
      target->row_key = std::move(*key);
      if (!target->redis) target->stage = Stage::reading;
      if (!target->undropped.empty()) not_dropped(*target, turn);
    }
    return any(Stage::leasing) ? ask_leases(turn) : go_on(turn);
  }

  // What is to be done for the keys it leads; then the others.
  Step go_on(Turn& turn) {
    if (has_query() && any(Stage::filling)) return fill(turn);  // before the next key's query: it has a lease
    if (any(Stage::reading)) return take_slot(turn);
    if (any(Stage::filling)) return fill(turn);
    if (any(Stage::leasing)) return wait_for_others();
    return join_again(turn);
  }

  // --- Leases

  // Errors of a Redis that takes no writes now, which a plain GET would not meet.
  static bool refuses_writes(std::string_view error) {
    return error.starts_with("OOM ") || error.starts_with("READONLY ") || error.starts_with("MISCONF ") ||
           error.starts_with("NOREPLICAS ");
  }

  Step ask_leases(Turn& turn) {
    state_ = State::awaiting_leases;
    leased_at_ = turn.now;
    asked_sql_ = false;
    wait_ = kPollMax;
    CallRedis call;
    for (const Target* target : at(Stage::leasing)) {
      seal(*target);
      call.commands.push_back(scripts_.lease(*target, token_));
    }
    return call;
  }

  Step leases_answered(const Event& event, Turn& turn) {
    const std::vector<Target*> asked = at(Stage::leasing);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const resp::Reply* const reply = reply_at(event, i);
      if (request_.refresh) {
        refresh_answered(*asked[i], reply, turn);
      } else if (reply != nullptr) {
        lease_answered(*asked[i], *reply, turn);
      } else {
        without_redis(*asked[i], upstream_unavailable(), true, turn);
      }
    }
    return go_on(turn);
  }

  // Whoever has the lease, or writes, makes the copy new; one that is gone is loaded by who reads it.
  void refresh_answered(Target& target, const resp::Reply* reply, Turn& turn) {
    target.leased = reply != nullptr && verdict_of(*reply) == "LEASE";
    target.stage = Stage::reading;
    (target.leased ? shared_.metrics.refreshes : shared_.metrics.refreshes_refused).add();
    if (!target.leased) return land(target, {}, Share::nobody, turn);
    target.versions = item(*reply, 1).text;
    target.ends = item(*reply, 3).text;
  }

  void lease_answered(Target& target, const resp::Reply& reply, Turn& turn) {
    const std::string& verdict = verdict_of(reply);
    if (item(reply, 2).integer == 1) shared_.metrics.stale.add();
    if (verdict == "HIT") {
      count(target, true);
      look_ahead(target, Milliseconds(item(reply, 3).integer));
      Answer found = LoadScripts::present(item(reply, 1));
      found.part = scripts_.part();
      found.hit = true;
      return land(target, std::move(found), Share::early, turn);
    }
    count_miss(target);
    if (reply.is_error()) return lease_failed(target, reply.text, turn);
    if (verdict == "NEG") {
      shared_.metrics.negative_hits.add();
      return land(target, {}, Share::early, turn);
    }
    shared_.flights.reopen(target.key);
    if (verdict == "WAIT") return look_again(target, Milliseconds(item(reply, 1).integer), turn);
    target.leased = true;
    target.versions = item(reply, 1).text;
    target.stage = Stage::reading;
  }

  void lease_failed(Target& target, const std::string& error, Turn& turn) {
    if (error.starts_with("WRONGTYPE")) return land(target, failure(error), Share::early, turn);
    if (!refuses_writes(error)) return without_redis(target, error, false, turn);
    shared_.flights.reopen(target.key);  // Redis is full or a replica: SQL has the row all the same
    target.stage = Stage::reading;
  }

  void without_redis(Target& target, const std::string& error, bool close, Turn& turn) {
    if (!may_bypass_redis()) {
      Answer answer = failure(error);
      answer.close = close;
      return land(target, std::move(answer), Share::early, turn);
    }
    target.redis = false;
    shared_.flights.reopen(target.key);
    target.stage = Stage::reading;
  }

  // What is in Redis may be old, so neither a lease nor a fill may answer with it.
  void not_dropped(Target& target, Turn& turn) {
    if (!refuses_writes(target.undropped)) return without_redis(target, target.undropped, false, turn);
    target.redis = false;
    target.stage = Stage::reading;
  }

  // Another proxy reads this row. When that takes too long we read it too, and do not store it.
  void look_again(Target& target, Milliseconds left, Turn& turn) {
    if (poll_ == Milliseconds(0)) shared_.metrics.waits.add();
    if (turn.now - led_since_ >= options_.load_timeout) target.stage = Stage::reading;
    wait_ = std::min(wait_, left);
  }

  Step wait_for_others() {
    poll_ = std::clamp(poll_ * 2, kPollMin, kPollMax);
    state_ = State::sleeping;
    return Sleep{std::clamp(wait_, kPollMin, poll_)};
  }

  // --- SQL

  Step take_slot(Turn& turn) {
    if (!sql_down_ && shared_.breaker.refuses(turn.now)) sql_down_ = shared_.breaker.refuse();
    if (sql_down_) return without_sql(turn);
    if (has_query() && renew_leases(turn)) return ask_leases(turn);
    queued_at_ = any_lease() ? leased_at_ : turn.now;
    switch (shared_.slots.acquire(turn.self)) {
      case LoadSlots::Got::now:
        return read_rows(turn);
      case LoadSlots::Got::later:
        state_ = State::awaiting_slot;
        return Park{};
      case LoadSlots::Got::never:
        break;
    }
    return too_many_loads(turn);
  }

  // Leases of several keys were got together, but each key has a query of its own: for the last ones they may have
  // become too short.
  bool renew_leases(const Turn& turn) {
    if (!asked_sql_ || !any_lease() || turn.now - leased_at_ < options_.load_timeout / 2) return false;
    for (Target* target : at(Stage::reading)) {
      if (std::exchange(target->leased, false)) target->stage = Stage::leasing;
    }
    return true;
  }

  Step slot_freed(Turn& turn) {
    if (turn.now - queued_at_ < options_.load_timeout) return read_rows(turn);
    shared_.slots.release(turn);
    return too_many_loads(turn);
  }

  Step too_many_loads(Turn& turn) {
    shared_.metrics.load_errors.add();
    const sql::Error error{sql::Failure::unavailable, "", "too many loads wait for SQL"};
    for (Target* target : at(Stage::reading)) give_up(*target, sql_answer(error), turn);
    return go_on(turn);
  }

  Step without_sql(Turn& turn) {
    for (Target* target : at(Stage::reading)) give_up(*target, sql_answer(*sql_down_), turn);
    return go_on(turn);
  }

  // The rows of the next query.
  std::vector<Target*> batch() { return at(Stage::reading, one_by_one_ || has_query() ? 1 : sql::kReadRowsMax); }

  Step read_rows(Turn& turn) {
    const Milliseconds left = time_left(turn);
    pass_ = shared_.breaker.ask(turn.now, left);
    if (!pass_) {
      shared_.slots.release(turn);
      sql_down_ = shared_.breaker.refuse();
      return without_sql(turn);
    }
    state_ = State::awaiting_rows;
    asked_sql_ = true;
    const std::vector<Target*> wanted = batch();
    for (const Target* target : wanted) {
      if (!request_.refresh) shared_.flights.mark(target->key);
      if (!target->redis) seal(*target);
    }
    if (has_query()) return CallSql{query_of(options_, wanted[0]->row_key), left};
    return CallSql{read_of(options_.table, *mapping_, wanted), left};
  }

  // As long as the leases live. One by one that may soon be over: what is read then is not stored.
  Milliseconds time_left(Turn& turn) {
    if (!any_lease()) return options_.load_timeout;
    const auto left = options_.load_timeout - std::chrono::duration_cast<Milliseconds>(turn.now - leased_at_);
    if (!one_by_one_ || 2 * left > options_.load_timeout) return std::max(left, Milliseconds(1));
    for (Target* target : at(Stage::reading)) target->leased = false;
    return options_.load_timeout;
  }

  Step rows_read(Event& event, Turn& turn) {
    sql::Result& result = std::get<SqlDone>(event).result;
    shared_.breaker.report(*pass_, result.error, turn);
    const std::vector<Target*> wanted = batch();
    if (has_query()) return query_answered(*wanted[0], result, turn);
    check_columns(result, *mapping_, wanted);
    if (result.error.failure == sql::Failure::refused && wanted.size() > 1) {
      one_by_one_ = true;  // one key may be what it refuses: the others have rows
    } else if (!result.ok()) {
      sql_failed_for(wanted, result.error, turn);
    } else if (wanted.size() == 1) {
      take_row(*wanted[0], result.rows.empty() ? nullptr : &result.rows[0], turn);
    } else {
      take_rows(wanted, result.rows, turn);
    }
    if (any(Stage::reading) && !sql_down_) return read_rows(turn);
    one_by_one_ = false;
    shared_.slots.release(turn);
    return go_on(turn);
  }

  Step query_answered(Target& target, const sql::Result& result, Turn& turn) {
    if (!result.ok()) {
      sql_failed_for({&target}, explained(options_, result.error), turn);
    } else if (auto copy = copy_of(options_, result)) {
      take_copy(target, std::move(*copy), turn);
    } else {
      shared_.metrics.load_errors.add();
      give_up(target, failure(not_fitting(options_, copy.why())), turn);
    }
    shared_.slots.release(turn);
    return go_on(turn);
  }

  // Where a row is left over, those that seem to have none are read again, each for itself.
  void take_rows(const std::vector<Target*>& wanted, std::vector<sql::Row>& rows, Turn& turn) {
    DealtRows dealt = deal_rows(rows, *mapping_, wanted);
    for (const auto& [target, row] : dealt.found) take_row(*target, &row, turn);
    one_by_one_ = dealt.left_over;
    if (one_by_one_) return;
    for (Target* target : dealt.without) take_row(*target, nullptr, turn);
  }

  // `row`: null when there is none.
  void take_row(Target& target, const sql::Row* row, Turn& turn) {
    auto copy = row == nullptr ? std::nullopt : mapping_->copy(*row);
    if (copy) target.until = mapping_->expiry(*row);
    take_copy(target, std::move(copy), turn);
  }

  void take_copy(Target& target, std::optional<Copy> copy, Turn& turn) {
    target.read = true;
    target.stage = Stage::filling;
    if (copy) target.found = {Answer::Kind::value, std::move(*copy), {}, false, {}};
    if (!target.redis) land(target, is_over(target) ? Answer{} : std::move(target.found), Share::early, turn);
  }

  // By our own clock: without Redis there is no other.
  static bool is_over(const Target& target) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return target.until && *target.until <= std::chrono::duration_cast<Milliseconds>(now).count();
  }

  void sql_failed_for(const std::vector<Target*>& wanted, const sql::Error& error, Turn& turn) {
    shared_.metrics.load_errors.add();
    if (error.failure == sql::Failure::schema) shared_.schema.forget();
    if (error.failure == sql::Failure::unavailable) sql_down_ = error;
    for (Target* target : wanted) give_up(*target, sql_answer(error), turn);
  }

  // Nothing was read: the lease is given back, so that nobody waits for it.
  void give_up(Target& target, Answer answer, Turn& turn) {
    if (!target.leased) return land(target, std::move(answer), Share::early, turn);
    target.found = std::move(answer);
    target.stage = Stage::filling;
  }

  // --- The fill

  Step fill(Turn& turn) {
    state_ = State::awaiting_fills;
    CallRedis call;
    std::uint64_t random = turn.random;
    for (Target* target : at(Stage::filling)) {
      seal(*target);
      call.commands.push_back(scripts_.fill(*target, token_, random));
      random += kApart;
    }
    return call;
  }

  Step fills_answered(const Event& event, Turn& turn) {
    const std::vector<Target*> told = at(Stage::filling);
    for (std::size_t i = 0; i < told.size(); ++i) fill_answered(*told[i], reply_at(event, i), turn);
    return go_on(turn);
  }

  void fill_answered(Target& target, const resp::Reply* reply, Turn& turn) {
    const Share unread = target.read ? Share::nobody : Share::early;
    if (reply == nullptr || reply->is_error()) return land(target, std::move(target.found), unread, turn);
    const std::string& verdict = verdict_of(*reply);
    if (verdict == "PRESENT" && !request_.refresh)
      return land(target, LoadScripts::present(item(*reply, 1)), Share::early, turn);
    if (verdict == "EXPIRED") target.found = {};
    const bool stored = verdict == "STORED" || (verdict == "EXPIRED" && item(*reply, 1).integer == 1);
    if (request_.refresh) return refreshed(target, stored, turn);
    if (target.leased && target.read) (stored ? shared_.metrics.fills : shared_.metrics.fills_rejected).add();
    // A table that is written all the time lets nothing be stored: who asked before SQL was need not ask it again.
    const Share unstored = scripts_.is_versioned() && target.read ? Share::marked : unread;
    land(target, std::move(target.found), stored ? Share::early : unstored, turn);
  }

  void refreshed(Target& target, bool stored, Turn& turn) {
    (stored ? shared_.metrics.refreshes_stored : shared_.metrics.refreshes_refused).add();
    land(target, {}, Share::nobody, turn);
  }

  // --- Answers

  static Answer failure(std::string error) { return {Answer::Kind::failed, {}, std::move(error), false, {}}; }

  Answer sql_answer(const sql::Error& error) const {
    if (options_.on_sql_error == conf::OnSqlError::miss) return {};
    return failure(sql_failed(options_, error));
  }

  void land(Target& target, Answer answer, Share share, Turn& turn) {
    target.stage = Stage::landed;
    target.answer = std::make_shared<const Answer>(std::move(answer));
    if (request_.refresh) return;
    count_miss(target);
    shared_.flights.land(target.key, target.answer, share, turn);
  }

  void seal(const Target& target) {
    if (!request_.refresh) shared_.flights.seal(target.key);
  }

  Step answer() {
    if (request_.refresh) return Finish{};
    if (targets_[0].redis && asks_redis(request_.command->id, *targets_[0].answer)) {
      state_ = State::awaiting_redis;
      return CallRedis{{{nullptr, {std::string(request_.command->name), request_.key}}}};
    }
    return finish();
  }

  Step redis_said(const Event& event) {
    const resp::Reply* const reply = reply_at(event, 0);
    if (reply == nullptr) return finish_error(upstream_unavailable(), true);
    if (reply->is_error()) return finish_error(reply->text);
    const bool gone = reply->integer < -1 && reply->type == resp::Reply::Type::integer;
    if (gone) return finish();
    Finish said;
    if (reply->type == resp::Reply::Type::integer) resp::append_integer(said.reply, reply->integer);
    if (reply->type == resp::Reply::Type::status) resp::append_status(said.reply, reply->text);
    return said.reply.empty() ? finish() : said;
  }

  Finish finish() const {
    std::vector<const Answer*> answers;
    if (reads_several(request_.command->id)) {
      for (std::size_t i = 1; i < request_.args.size(); ++i) {
        answers.push_back(targets_[places_.at(request_.args[i])].answer.get());
      }
    } else {
      answers.push_back(targets_[0].answer.get());
    }
    return finish_read({*request_.command, request_.args, request_.version, options_.value}, answers);
  }

  Shared& shared_;
  const conf::PolicyOptions& options_;
  const Request request_;
  const LoadScripts scripts_{shared_, request_};
  std::vector<Target> targets_;                          // distinct keys, in their order
  std::unordered_map<std::string, std::size_t> places_;  // MGET, EXISTS: of each key, in targets_
  std::size_t part_begin_ = 0, part_end_ = 0;            // what is worked on, in targets_
  State state_ = State::awaiting_flight;
  std::string token_;
  bool granted_ = false;                // the user's rights are known
  std::optional<sql::Error> sql_down_;  // it did not answer: it is not asked again
  bool one_by_one_ = false;             // each row has a query of its own
  bool asked_sql_ = false;              // since the leases were asked for
  bool joining_ = false;                // join() is under way
  bool again_ = false;                  // and to begin anew
  TimePoint led_since_;
  TimePoint leased_at_;
  TimePoint queued_at_;                // since when the read has been waiting for its turn
  Milliseconds poll_{0};               // the last pause
  Milliseconds wait_{0};               // until the first lease of others is over
  std::optional<Breaker::Pass> pass_;  // of the query that SQL works on
  std::shared_ptr<const Mapping> mapping_;
};

}  // namespace

std::unique_ptr<Operation> make_load(Shared& shared, Request request) {
  return std::make_unique<Load>(shared, std::move(request));
}

std::unique_ptr<Operation> make_refresh(Shared& shared, std::vector<std::string> keys) {
  Request request;
  request.verb = Verb::miss;
  request.command = resp::find_command("mget");
  request.refresh = true;
  request.args = std::move(keys);
  request.args.insert(request.args.begin(), "mget");
  return make_load(shared, std::move(request));
}

}  // namespace sluice::policies

// Outbox, see outbox.h.
#include "policies/outbox.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include "policies/fuse_scripts.h"
#include "policies/replies.h"
#include "policies/tables.h"

namespace sluice::policies {
namespace {

constexpr std::uint32_t kEntriesAtOnce = 500;
constexpr int kPagesAtOnce = 20;
constexpr std::uint64_t kLeapPages = 16;
constexpr double kJitter = 0.2;                      // so that not all proxies look at the same time
constexpr std::size_t kBeforeKey = 2;                // columns of an entry: its number, its age
constexpr std::size_t kTouch = 0, kBeforeDrops = 1;  // calls of Redis

class Consumption : public Operation {
 public:
  Consumption(Shared& shared, OutboxPace& pace, std::string& trouble)
      : shared_(shared), metrics_(shared.metrics), options_(shared.options), pace_(pace), trouble_(trouble) {}

  Step start(Turn& turn) override {
    trouble_.clear();
    if (auto step = shared_.schema.ask(turn)) return *std::move(step);
    return read();
  }

  Step resume(Event event, Turn& turn) override {
    switch (state_) {
      case State::awaiting_schema:
        if (const auto error = shared_.schema.take(event, turn)) return fail(error->message, turn);
        return read();
      case State::awaiting_entries:
        return entries_read(std::get<SqlDone>(event).result, turn);
      case State::awaiting_drop:
        return dropped(event, turn);
      case State::awaiting_deletion:
        return deleted(std::get<SqlDone>(event).result, turn);
    }
    return Finish{};
  }

 private:
  enum class State : std::uint8_t { awaiting_schema, awaiting_entries, awaiting_drop, awaiting_deletion };

  struct Entry {
    std::int64_t number = 0;
    std::optional<std::size_t> call;  // that drops its key; nothing: no key of the policy stands for the row
  };

  Step read() {
    mapping_ = shared_.schema.mapping();
    state_ = State::awaiting_entries;
    entries_.clear();
    keys_.clear();
    places_.clear();
    return CallSql{sql::ReadOutbox{options_.name, kEntriesAtOnce, after_}, options_.load_timeout};
  }

  Step entries_read(const sql::Result& result, Turn& turn) {
    if (!result.ok()) return fail(result.error.message, turn);
    if (after_ == 0) note_age(result.rows, turn);
    is_full_ = result.rows.size() >= kEntriesAtOnce;
    if (!result.rows.empty()) last_ = std::get<std::int64_t>(result.rows.back()[0]);
    if (result.rows.empty()) return end(turn);
    for (const sql::Row& row : result.rows) take(row);
    state_ = State::awaiting_drop;
    CallRedis call{{tables::touch({tables::version_name(options_.table)}, make_token(turn))}};
    for (const std::string& key : keys_) call.commands.push_back({&fuse::inval(), {"2", key, side_key(key)}});
    return call;
  }

  // The clock of the database may have been set back.
  void note_age(const std::vector<sql::Row>& rows, const Turn& turn) {
    const std::int64_t age = rows.empty() ? 0 : std::max<std::int64_t>(std::get<std::int64_t>(rows[0][1]), 0);
    pace_.waiting_since(turn.now - Milliseconds(age));
    metrics_.outbox_oldest_ms.set(static_cast<std::uint64_t>(age));
  }

  void take(const sql::Row& row) {
    std::vector<std::string> texts;
    for (std::size_t i = kBeforeKey; i < row.size(); ++i) texts.push_back(std::get<std::string>(row[i]));
    Entry& entry = entries_.emplace_back();
    entry.number = std::get<std::int64_t>(row[0]);
    const auto key = mapping_->redis_key(texts);
    if (!key || side_key(*key).empty()) return;
    const auto [at, is_new] = places_.try_emplace(*key, keys_.size());
    if (is_new) keys_.push_back(*key);
    entry.call = kBeforeDrops + at->second;
  }

  // What Redis has not dropped stays; the entries behind it do not wait for it. All stay while what was cached of the
  // table is not known to be outdated.
  Step dropped(const Event& event, Turn& turn) {
    if (!std::holds_alternative<RedisReplies>(event)) return fail(upstream_unavailable(), turn);
    const bool touched = is_done(event, kTouch);
    std::erase_if(entries_, [&](const Entry& entry) {
      const bool done = !entry.call || is_done(event, *entry.call);
      return !touched || !done;
    });
    return delete_entries(turn);
  }

  bool is_done(const Event& event, std::size_t call) {
    const resp::Reply* const reply = reply_at(event, call);
    if (reply != nullptr && !reply->is_error()) return true;
    reads_on_ = true;
    refusal_ = reply == nullptr ? upstream_unavailable() : reply->text;
    return false;
  }

  Step delete_entries(Turn& turn) {
    if (entries_.empty()) return go_on(turn);
    state_ = State::awaiting_deletion;
    sql::ForgetOutbox forget;
    for (const Entry& entry : entries_) forget.entries.push_back(entry.number);
    return CallSql{std::move(forget), options_.load_timeout};
  }

  // Others who have read the same entries may have deleted, and counted, some of them.
  Step deleted(const sql::Result& result, Turn& turn) {
    if (!result.ok()) return fail(result.error.message, turn);
    if (result.affected == 0 && pace_.has_stayed(entries_.front().number)) {
      return fail("entries of sluice_outbox are read, but deleting them has no effect", turn);
    }
    const auto strangers = std::count_if(entries_.begin(), entries_.end(), [](const Entry& e) { return !e.call; });
    const std::int64_t counted = std::min<std::int64_t>(strangers, result.affected);
    metrics_.outbox_strangers.add(static_cast<std::uint64_t>(counted));
    metrics_.outbox_rows.add(static_cast<std::uint64_t>(std::max<std::int64_t>(result.affected - counted, 0)));
    strangers_ += counted;
    if (is_full_ && result.affected < static_cast<std::int64_t>(entries_.size())) leap(turn);
    return go_on(turn);
  }

  // Somebody else is at the same entries, of which there are many: we go on where they are not, and come back for what
  // is left in between.
  void leap(const Turn& turn) {
    after_ = last_ + static_cast<std::int64_t>(turn.random % kLeapPages * kEntriesAtOnce);
    has_leapt_ = true;
  }

  // While there is more it is read at once, but not for ever: others are waiting for their turn.
  Step go_on(Turn& turn) {
    found_ = true;
    if (reads_on_) after_ = std::max(after_, last_);
    if (is_full_ && ++pages_ < kPagesAtOnce) return read();
    return end(turn);
  }

  Step end(Turn& turn) {
    if (!refusal_.empty()) return fail(refusal_, turn);
    tell_of_strangers();
    if (!found_) {
      pace_.found_nothing(turn);
      return Finish{};
    }
    const bool all = !is_full_ && !has_leapt_;
    if (all) note_age({}, turn);
    pace_.found(turn.now, all);
    return Finish{};
  }

  void tell_of_strangers() {
    if (strangers_ == 0) return;
    trouble_ = "changes of others, to " + std::to_string(strangers_) + " rows that no key '" + options_.key.text() +
               "' stands for, have been passed over";
  }

  // What was not deleted is read again.
  Step fail(std::string why, Turn& turn) {
    metrics_.outbox_errors.add();
    trouble_ = "a look into the outbox failed and is tried again: " + std::move(why);
    pace_.failed(turn);
    metrics_.outbox_oldest_ms.set(pace_.waiting_ms(turn.now));
    return Finish{};
  }

  Shared& shared_;
  PolicyMetrics& metrics_;
  const conf::PolicyOptions& options_;
  OutboxPace& pace_;
  std::string& trouble_;
  State state_ = State::awaiting_schema;
  std::shared_ptr<const Mapping> mapping_;  // another operation may have the table looked at again
  std::vector<Entry> entries_;
  std::vector<std::string> keys_;
  std::unordered_map<std::string, std::size_t> places_;  // of the keys
  std::int64_t after_ = 0;                               // what is read next begins behind it
  std::int64_t last_ = 0;                                // of the entries just read
  std::string refusal_;                                  // why some stay
  bool reads_on_ = false;                                // past those
  bool has_leapt_ = false;
  bool is_full_ = false;  // there may be more
  bool found_ = false;
  int pages_ = 0;
  std::int64_t strangers_ = 0;
};

}  // namespace

void OutboxPace::found(TimePoint now, bool all) {
  pause_ = kBusy;
  failing_ = Milliseconds(0);
  next_ = all ? now + pause_ : now;
}

void OutboxPace::found_nothing(const Turn& turn) {
  failing_ = Milliseconds(0);
  next_ = turn.now + jittered(pause_, kJitter, turn.random);
  pause_ = std::min(pause_ + pause_ / 4, kIdle);
}

void OutboxPace::failed(const Turn& turn) {
  failing_ = std::clamp(failing_ * 2, kBusy, kFailingMax);
  next_ = turn.now + jittered(failing_, kJitter, turn.random);
}

bool OutboxPace::has_stayed(std::int64_t entry) { return std::exchange(undeleted_, entry) == entry; }

std::uint64_t OutboxPace::waiting_ms(TimePoint now) const {
  if (!since_) return 0;
  return static_cast<std::uint64_t>(
      std::max<std::int64_t>(std::chrono::duration_cast<Milliseconds>(now - *since_).count(), 0));
}

std::unique_ptr<Operation> Outbox::due(TimePoint now) {
  if (checks_.is_due(now)) return std::make_unique<OutboxCheck>(shared_, checks_, trouble_);
  if (pace_.is_due(now)) return std::make_unique<Consumption>(shared_, pace_, trouble_);
  return nullptr;
}

}  // namespace sluice::policies

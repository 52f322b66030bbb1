// Outbox, see outbox.h.
#include "policies/outbox.h"

#include <algorithm>
#include <set>
#include <utility>

#include "policies/fuse_scripts.h"
#include "policies/replies.h"

namespace sluice::policies {
namespace {

constexpr std::uint32_t kEntriesAtOnce = 500;
constexpr double kJitter = 0.2;        // so that not all proxies look at the same time
constexpr std::size_t kBeforeKey = 2;  // columns of an entry: its number, its age

class Consumption : public Operation {
 public:
  Consumption(Shared& shared, OutboxPace& pace)
      : shared_(shared), metrics_(shared.metrics), options_(shared.options), pace_(pace) {}

  Step start(Turn& turn) override {
    if (auto step = shared_.schema.ask(turn)) return *std::move(step);
    return read();
  }

  Step resume(Event event, Turn& turn) override {
    switch (state_) {
      case State::awaiting_schema:
        if (shared_.schema.take(event, turn)) return fail(turn);
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

  Step read() {
    state_ = State::awaiting_entries;
    return CallSql{sql::ReadOutbox{options_.name, kEntriesAtOnce}, options_.load_timeout};
  }

  Step entries_read(const sql::Result& result, Turn& turn) {
    if (!result.ok()) return fail(turn);
    if (result.rows.empty()) {
      metrics_.outbox_oldest_ms.set(0);
      pace_.found_nothing(turn);
      return Finish{};
    }
    const auto age = std::get<std::int64_t>(result.rows[0][1]);  // the clock of the database may have been set back
    metrics_.outbox_oldest_ms.set(static_cast<std::uint64_t>(std::max<std::int64_t>(age, 0)));
    for (const sql::Row& row : result.rows) {
      entries_.push_back(std::get<std::int64_t>(row[0]));
      take_key(row);
    }
    if (keys_.empty()) return delete_entries();
    state_ = State::awaiting_drop;
    CallRedis call;
    for (const std::string& key : keys_) call.commands.push_back({&fuse::inval(), {"2", key, side_key(key)}});
    return call;
  }

  void take_key(const sql::Row& row) {
    std::vector<std::string> texts;
    for (std::size_t i = kBeforeKey; i < row.size(); ++i) texts.push_back(std::get<std::string>(row[i]));
    auto key = shared_.schema.mapping()->redis_key(texts);
    if (key && !side_key(*key).empty()) {
      keys_.insert(std::move(*key));
    } else {
      ++strangers_;
    }
  }

  Step dropped(const Event& event, Turn& turn) {
    const auto* const done = std::get_if<RedisReplies>(&event);
    if (done == nullptr) return fail(turn);
    for (const resp::Reply& reply : done->replies) {
      if (reply.is_error()) return fail(turn);
    }
    return delete_entries();
  }

  Step delete_entries() {
    state_ = State::awaiting_deletion;
    return CallSql{sql::ForgetOutbox{entries_}, options_.load_timeout};
  }

  Step deleted(const sql::Result& result, Turn& turn) {
    if (!result.ok()) return fail(turn);
    metrics_.outbox_rows.add(entries_.size() - strangers_);
    metrics_.outbox_strangers.add(strangers_);
    const bool all = entries_.size() < kEntriesAtOnce;
    if (all) metrics_.outbox_oldest_ms.set(0);
    pace_.found(turn.now, all);
    return Finish{};
  }

  // What was not deleted is read again.
  Step fail(Turn& turn) {
    metrics_.outbox_errors.add();
    pace_.failed(turn);
    return Finish{};
  }

  Shared& shared_;
  PolicyMetrics& metrics_;
  const conf::PolicyOptions& options_;
  OutboxPace& pace_;
  State state_ = State::awaiting_schema;
  std::vector<std::int64_t> entries_;
  std::set<std::string> keys_;
  std::uint64_t strangers_ = 0;  // entries of rows that no key of the policy stands for
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

std::unique_ptr<Operation> Outbox::due(TimePoint now) {
  if (!pace_.is_due(now)) return nullptr;
  return std::make_unique<Consumption>(shared_, pace_);
}

}  // namespace sluice::policies

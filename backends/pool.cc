// Pool: lanes of waiting jobs, the threads that take them, and what became of each.
#include "backends/pool.h"

#include <algorithm>
#include <pthread.h>
#include <span>
#include <utility>

namespace sluice::sql {

namespace {

using Clock = std::chrono::steady_clock;

template <std::size_t... I>
std::array<Pool::Stats, sizeof...(I)> named_stats(std::index_sequence<I...>) {
  std::array<Pool::Stats, sizeof...(I)> stats;
  ((stats[I].op = name(Op(std::in_place_index<I>))), ...);
  return stats;
}

std::size_t bucket_of(double seconds) {
  const auto& bounds = Pool::kLatencyBounds;
  return static_cast<std::size_t>(std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin());
}

// The kernel takes 15 bytes.
void name_this_thread(const std::string& name) { pthread_setname_np(pthread_self(), name.substr(0, 15).c_str()); }

// Whether the same statement can do both.
bool share(const Op& a, const Op& b) {
  const auto* const read = std::get_if<ReadRow>(&a);
  const auto* const other = std::get_if<ReadRow>(&b);
  if (read == nullptr || other == nullptr) return is_row_write(a) && is_row_write(b);
  const auto same_column = [](const Bound& x, const Bound& y) { return x.column == y.column; };
  return read->table == other->table && read->columns == other->columns &&
         std::equal(read->key.begin(), read->key.end(), other->key.begin(), other->key.end(), same_column);
}

// Whether a query may end with the deadline of the first of them: one read that has little time left must not cut it
// short for others. Writes share a transaction anyway.
bool as_urgent(const Job& a, const Job& b, Clock::time_point now) {
  if (is_write(a.op)) return true;
  const auto left = std::max(a.deadline - now, Clock::duration::zero());
  const auto other = std::max(b.deadline - now, Clock::duration::zero());
  return left <= 2 * other && other <= 2 * left;
}

const ReadRow& read_of(const Op* op) { return std::get<ReadRow>(*op); }

std::vector<Value> values_of(const std::vector<Bound>& key) {
  std::vector<Value> values;
  values.reserve(key.size());
  for (const Bound& bound : key) values.push_back(bound.value);
  return values;
}

// Gives each read its row. False: a row is left over, so the database takes some key for one that is said in another
// way, and what has no row here may have one.
bool deal_out(std::vector<Row>& rows, const std::vector<const Op*>& ops, std::vector<Result>& results) {
  const std::size_t key_size = read_of(ops[0]).key.size();
  std::size_t dealt = 0;
  for (const Row& row : rows) {
    const auto columns = row.begin() + static_cast<std::ptrdiff_t>(key_size);
    bool wanted = false;
    for (std::size_t i = 0; i < ops.size(); ++i) {
      const auto is_it = [](const Bound& bound, const Value& value) { return bound.value == value; };
      const auto& key = read_of(ops[i]).key;
      if (!results[i].rows.empty() || !std::equal(key.begin(), key.end(), row.begin(), columns, is_it)) continue;
      results[i].rows.emplace_back(columns, row.end());
      wanted = true;
    }
    dealt += wanted ? 1 : 0;
  }
  return dealt == rows.size();
}

// One query for all of them, where that is possible.
std::vector<Result> read_group(Session& session, const std::vector<const Op*>& ops, Deadline deadline) {
  ReadRows all{read_of(ops[0]).table, {}, {}, read_of(ops[0]).columns};
  for (const Bound& bound : read_of(ops[0]).key) all.key_columns.push_back(bound.column);
  for (const Op* op : ops) all.keys.push_back(values_of(read_of(op).key));
  Result read = session.run(all, deadline);
  std::vector<Result> results(ops.size());
  if (!read.ok() && read.error.failure != Failure::refused) {
    for (Result& result : results) result.error = read.error;
    return results;
  }
  const bool complete = read.ok() && deal_out(read.rows, ops, results);
  for (std::size_t i = 0; i < ops.size() && !complete; ++i) {
    if (results[i].rows.empty()) results[i] = session.run(*ops[i], deadline);
  }
  return results;
}

}  // namespace

Pool::Pool(std::string name, std::unique_ptr<Backend> backend, Limits limits)
    : name_(std::move(name)),
      backend_(std::move(backend)),
      limits_(limits),
      stats_(named_stats(std::make_index_sequence<std::variant_size_v<Op>>{})) {
  start(reads_, backend_->readers(), limits_.group_reads_max, "sql-r-");
  start(writes_, backend_->writers(), limits_.group_ops_max, "sql-w-");
  start(lone_writes_, backend_->lone_writers(), 1, "sql-l-");
}

Pool::~Pool() { stop(); }

void Pool::start(Lane& lane, int threads, std::size_t group_max, const char* prefix) {
  lane.group_max = group_max;
  for (int i = 0; i < threads; ++i) {
    lane.threads.emplace_back([this, &lane, thread_name = prefix + name_] {
      name_this_thread(thread_name);
      work(lane);
    });
  }
}

// Why the job is turned away, or null: it waits now. The lane's lock is held.
const char* Pool::enter(Lane& lane, Waiting& waiting) {
  if (lane.stopping) return "sluice is stopping";
  if (lane.waiting.size() >= limits_.lane_jobs_max) return "too many operations are waiting";
  lane.waiting.push_back(std::move(waiting));
  return nullptr;
}

void Pool::submit(Job job) {
  Lane& lane = is_write(job.op) ? writes_ : reads_;
  Waiting waiting{std::move(job), Clock::now()};
  std::unique_lock lock(lane.mutex);
  const char* const refusal = enter(lane, waiting);
  lock.unlock();
  if (refusal != nullptr) return turn_away(waiting, "57P03", refusal);
  lane.wake.notify_one();
}

void Pool::submit(std::vector<Job> jobs) {
  const auto now = Clock::now();
  std::vector<std::pair<Waiting, const char*>> refused;
  for (Lane* lane : {&reads_, &writes_}) {
    std::size_t entered = 0;
    {
      const std::lock_guard lock(lane->mutex);
      for (Job& job : jobs) {
        if (!job.done || is_write(job.op) != (lane == &writes_)) continue;
        Waiting waiting{std::exchange(job, {}), now};
        const char* const refusal = enter(*lane, waiting);
        if (refusal != nullptr) refused.emplace_back(std::move(waiting), refusal);
        if (refusal == nullptr) ++entered;
      }
    }
    const std::size_t wakes = (entered + lane->group_max - 1) / lane->group_max;
    for (std::size_t i = 0; i < std::min(wakes, lane->threads.size()); ++i) lane->wake.notify_one();
  }
  for (auto& [waiting, refusal] : refused) turn_away(waiting, "57P03", refusal);
}

void Pool::stop() {
  const std::lock_guard lock(stop_mutex_);
  for (Lane* lane : {&reads_, &writes_, &lone_writes_}) {
    for (auto& waiting : close(*lane)) turn_away(waiting, "57P03", "sluice is stopping");
  }
  for (Lane* lane : {&reads_, &writes_, &lone_writes_}) {
    for (auto& thread : lane->threads) thread.join();
    lane->threads.clear();
  }
}

std::deque<Pool::Waiting> Pool::close(Lane& lane) {
  const std::lock_guard lock(lane.mutex);
  lane.stopping = true;
  lane.wake.notify_all();
  return std::exchange(lane.waiting, {});
}

void Pool::work(Lane& lane) {
  const auto session = backend_->session();
  Batch batch;
  while (take(lane, batch)) {
    execute(lane, *session, batch);
  }
}

// Before they are told their results: who has one is no longer waiting.
void Pool::end(Lane& lane, std::size_t jobs) {
  const std::lock_guard lock(lane.mutex);
  lane.running -= jobs;
}

// The oldest job, and those that follow it directly and can be done with it. False: the pool stops.
bool Pool::take(Lane& lane, Batch& batch) {
  batch.clear();
  std::unique_lock lock(lane.mutex);
  lane.wake.wait(lock, [&] { return lane.stopping || !lane.waiting.empty(); });
  if (lane.waiting.empty()) return false;
  const auto now = Clock::now();
  do {
    batch.push_back(std::move(lane.waiting.front()));
    lane.waiting.pop_front();
  } while (batch.size() < lane.group_max && !lane.waiting.empty() &&
           share(batch.front().job.op, lane.waiting.front().job.op) &&
           as_urgent(batch.front().job, lane.waiting.front().job, now));
  lane.running += batch.size();
  if (!lane.waiting.empty()) lane.wake.notify_one();  // what is left may be for somebody who still sleeps
  return true;
}

// Runs the jobs of the batch that are still in time, until each has its result. Jobs that fail because another one's
// deadline ended their transaction have lost nothing and run again.
void Pool::execute(Lane& lane, Session& session, Batch& batch) {
  std::vector<Waiting*> left;
  for (auto& waiting : batch) left.push_back(&waiting);
  while (!left.empty()) {
    const auto now = Clock::now();
    const auto late = std::stable_partition(left.begin(), left.end(), [&](auto* w) { return w->job.deadline > now; });
    end(lane, static_cast<std::size_t>(left.end() - late));
    for (auto w = late; w != left.end(); ++w) turn_away(**w, "57014", "the time was over before its turn came");
    left.erase(late, left.end());
    if (!left.empty()) left = run(lane, session, left);
  }
}

std::vector<Pool::Waiting*> Pool::run(Lane& lane, Session& session, const std::vector<Waiting*>& jobs) {
  std::vector<const Op*> ops;
  Deadline deadline = Deadline::max();
  for (const auto* waiting : jobs) {
    ops.push_back(&waiting->job.op);
    deadline = std::min(deadline, waiting->job.deadline);
  }
  std::vector<Result> results;
  if (ops.size() == 1 && (jobs[0]->alone || !is_row_write(*ops[0]) || backend_->lone_writers() == 0)) {
    results.push_back(session.run(*ops[0], deadline));
  } else if (std::holds_alternative<ReadRow>(*ops[0])) {
    results = read_group(session, ops, deadline);
  } else {
    results = session.run_group(ops, deadline);
  }
  const bool committed = std::any_of(results.begin(), results.end(), [](const Result& r) { return r.ok(); });
  if (committed && is_write(*ops[0])) transactions_.fetch_add(1, std::memory_order_relaxed);

  const bool was_late = Clock::now() >= deadline;
  std::vector<Waiting*> again;
  std::vector<Waker*> wakers;
  const auto waits_for_lock = [&](std::size_t i) { return results[i].locked && backend_->lone_writers() > 0; };
  const auto cut_short = [&](std::size_t i) {
    return was_late && results[i].error.failure == Failure::unavailable && jobs[i]->job.deadline > deadline;
  };
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (!waits_for_lock(i) && cut_short(i)) again.push_back(jobs[i]);
  }
  end(lane, jobs.size() - again.size());
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (waits_for_lock(i)) {
      run_alone(*jobs[i]);
    } else if (!cut_short(i)) {
      note_health(results[i]);
      tell(*jobs[i], std::move(results[i]));
      Waker* const waker = jobs[i]->job.waker.get();
      if (waker != nullptr && std::find(wakers.begin(), wakers.end(), waker) == wakers.end()) wakers.push_back(waker);
    }
  }
  for (Waker* waker : wakers) waker->wake();
  return again;
}

void Pool::run_alone(Waiting& waiting) {
  const char* refusal = nullptr;
  waiting.alone = true;
  {
    const std::lock_guard lock(lone_writes_.mutex);
    refusal = enter(lone_writes_, waiting);
  }
  if (refusal != nullptr) return turn_away(waiting, "57P03", refusal);
  lone_writes_.wake.notify_one();
}

void Pool::turn_away(Waiting& waiting, const char* sqlstate, const char* why) {
  Result result;
  result.error = {Failure::unavailable, sqlstate, "backend '" + name_ + "': " + why};
  finish(waiting, std::move(result));
}

void Pool::finish(Waiting& waiting, Result result) {
  tell(waiting, std::move(result));
  if (waiting.job.waker != nullptr) waiting.job.waker->wake();
}

void Pool::tell(Waiting& waiting, Result result) {
  record(waiting, result);
  waiting.job.done(std::move(result));
}

void Pool::note_health(const Result& result) {
  const Failure failure = result.error.failure;
  const std::lock_guard lock(record_mutex_);
  healthy_ = failure != Failure::unavailable && failure != Failure::unknown;
  if (failure != Failure::none && failure != Failure::refused) last_error_ = result.error.message;
}

void Pool::record(const Waiting& waiting, const Result& result) {
  const std::chrono::duration<double> took = Clock::now() - waiting.since;
  const std::lock_guard lock(record_mutex_);
  Stats& stats = stats_[waiting.job.op.index()];
  ++stats.count;
  stats.seconds += took.count();
  ++stats.buckets[bucket_of(took.count())];
  switch (result.error.failure) {
    case Failure::none:
      break;
    case Failure::unavailable:
      ++stats.unavailable;
      break;
    case Failure::refused:
      ++stats.refused;
      break;
    case Failure::unknown:
      ++stats.unknown;
      break;
    case Failure::schema:
      ++stats.schema;
      break;
  }
}

std::size_t Pool::queued() const {
  std::size_t jobs = 0;
  for (const Lane* lane : {&reads_, &writes_, &lone_writes_}) {
    const std::lock_guard lock(lane->mutex);
    jobs += lane->waiting.size() + lane->running;
  }
  return jobs;
}

std::uint64_t Pool::transactions() const { return transactions_.load(std::memory_order_relaxed); }

std::vector<Pool::Stats> Pool::stats() const {
  const std::lock_guard lock(record_mutex_);
  return {stats_.begin(), stats_.end()};
}

bool Pool::healthy() const {
  const std::lock_guard lock(record_mutex_);
  return healthy_;
}

std::string Pool::last_error() const {
  const std::lock_guard lock(record_mutex_);
  return last_error_;
}

}  // namespace sluice::sql

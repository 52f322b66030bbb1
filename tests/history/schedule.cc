// Schedule: drawing one from a seed.
#include "tests/history/schedule.h"

#include <algorithm>
#include <iterator>
#include <random>

namespace sluice::history {
namespace {

struct Pair {
  Step step;
  Action action;
};

void add_pairs(std::vector<Pair>& pairs, std::initializer_list<Point> points, std::initializer_list<Action> actions) {
  for (const Point point : points) {
    for (const bool reply : {false, true}) {
      for (const Action action : actions) pairs.push_back({{point, reply}, action});
    }
  }
}

bool can_meet(Family family, const Pair& pair) {
  switch (pair.step.point) {
    case Point::arm:
    case Point::apply:
    case Point::abort:
      if (family != Family::written && family != Family::joined) return false;
      break;
    case Point::inval:
      if (family != Family::direct && family != Family::recorded) return false;
      break;
    case Point::touch:
      return family == Family::joined;
    case Point::read:
      return family != Family::joined;  // it has no reads that are passed on
    case Point::lease:
    case Point::fill:
    case Point::statement:
    case Point::commit:
      break;
  }
  return pair.action != Action::forget || family == Family::joined;
}

std::vector<Pair> all_pairs(bool sql_link) {
  std::vector<Pair> pairs;
  add_pairs(pairs, {Point::arm, Point::apply, Point::abort, Point::lease, Point::fill},
            {Action::kill, Action::stop, Action::cut, Action::lose, Action::delay, Action::empty, Action::restart,
             Action::evict, Action::lock});
  add_pairs(pairs, {Point::arm, Point::apply, Point::lease, Point::fill}, {Action::forget});
  add_pairs(pairs, {Point::inval, Point::touch},
            {Action::kill, Action::stop, Action::cut, Action::lose, Action::delay, Action::restart});
  add_pairs(pairs, {Point::read}, {Action::kill, Action::stop, Action::cut, Action::delay});
  if (!sql_link) return pairs;
  add_pairs(pairs, {Point::statement, Point::commit},
            {Action::kill, Action::stop, Action::cut, Action::lose, Action::delay, Action::empty, Action::restart,
             Action::evict, Action::end_backend});
  return pairs;
}

// Both are survived, but not together: the arm that would tell of the dead writer is gone.
bool loses_side_keys(Action action) {
  return action == Action::empty || action == Action::evict || action == Action::forget;
}

// Only keys of this family can meet it.
std::optional<Family> family_of(const Fault& fault) {
  if (fault.step.point == Point::inval) return Family::direct;
  if (fault.step.point == Point::touch || fault.action == Action::forget) return Family::joined;
  return std::nullopt;
}

// What the clients of one key are like.
enum class Style : std::uint8_t {
  busy,    // writes meet all the time
  sparse,  // copies live for a while
  doomed,  // one write, which dies between SQL and the copy; everybody else reads
};

class Draw {
 public:
  Draw(unsigned seed, int proxies, bool sql_link, std::optional<Family> only)
      : random_(seed), sql_link_(sql_link), family_(only) {
    schedule_.seed = seed;
    schedule_.proxies = proxies;
  }

  Schedule draw() {
    schedule_.quiet = one_in(2);
    schedule_.noise_percent = number(4) * 10;
    schedule_.noise_max = milliseconds(one_in(2) ? 5 : 30);
    draw_faults();
    const int keys = 3 + number(3);
    for (int key = 0; key < keys; ++key) draw_key(key);
    return std::move(schedule_);
  }

 private:
  int number(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }
  bool one_in(int count) { return number(count) == 0; }

  void draw_faults() {
    auto pairs = all_pairs(sql_link_);
    if (family_) std::erase_if(pairs, [this](const Pair& pair) { return !can_meet(*family_, pair); });
    add_fault(pairs[schedule_.seed % pairs.size()]);
    refusals_ = schedule_.faults[0].step.point == Point::abort;
    if (!family_) family_ = family_of(schedule_.faults[0]);
    if (one_in(4)) add_fault(pairs[random_() % pairs.size()]);
  }

  // False: not together with what there is.
  bool add_fault(const Pair& pair) {
    for (const Fault& other : schedule_.faults) {
      if (loses_side_keys(pair.action) && other.action == Action::kill) return false;
      if (loses_side_keys(other.action) && pair.action == Action::kill) return false;
    }
    Fault fault;
    fault.step = pair.step;
    fault.action = pair.action;
    fault.nth = 1 + (one_in(2) ? 0 : number(4));
    fault.proxy = one_in(2) ? -1 : number(schedule_.proxies);
    fault.arrives = one_in(2);
    fault.length = length_of(pair.action);
    schedule_.faults.push_back(fault);
    return true;
  }

  // Around the fuse of 100 ms and the write timeout of 300 ms; now and then a stop that outlives the arm (2.3 s).
  milliseconds length_of(Action action) {
    static constexpr int kShort[] = {1, 3, 10, 30, 60, 110};
    static constexpr int kLong[] = {20, 60, 110, 150, 250, 350, 450};
    if (action == Action::delay) return milliseconds(kShort[number(6)]);
    if (action == Action::stop && one_in(12)) return milliseconds(2500);
    return milliseconds(kLong[number(7)]);
  }

  void draw_key(int key) {
    const bool exists = !one_in(3);
    schedule_.keys.push_back({draw_shape(), exists, exists && one_in(2)});
    static constexpr Style kStyles[] = {Style::busy, Style::busy, Style::sparse, Style::doomed};
    style_ = refusals_ ? Style::busy : kStyles[number(is_written_through() ? 4 : 3)];
    if (style_ == Style::doomed) draw_doom(key);
    if (style_ == Style::busy) draw_slow_steps(key);
    const int clients = 2 + number(3);
    for (int i = 0; i < clients; ++i) draw_client(key, i == 0);
  }

  int draw_shape() {
    int shape = 0;
    do {
      shape = number(static_cast<int>(std::size(kShapes)));
    } while (family_ ? kShapes[shape].family != *family_ : kShapes[shape].family == Family::recorded);
    return shape;
  }
  const Shape& shape() const { return kShapes[schedule_.keys.back().shape]; }
  bool is(Family family) const { return shape().family == family; }
  bool is_written_through() const { return is(Family::written) || is(Family::joined); }

  // Writes and fills that take their last step when others are long past.
  void draw_slow_steps(int key) {
    for (int i = number(4); i > 0; --i) {
      static constexpr Point kPoints[] = {Point::arm, Point::apply, Point::apply, Point::fill, Point::fill};
      const Point point = is_written_through() ? kPoints[number(5)] : Point::fill;
      add_fault({{point, point == Point::arm}, Action::delay});
      schedule_.faults.back().key = key;
      schedule_.faults.back().length = milliseconds(10 + number(120));
    }
  }

  // The writer may be slow to commit, so that others fill meanwhile.
  void draw_doom(int key) {
    static constexpr Action kDeaths[] = {Action::kill, Action::kill, Action::cut, Action::lose};
    if (!add_fault({{Point::apply, false}, kDeaths[number(4)]})) return;
    Fault& death = schedule_.faults.back();
    death.nth = 1;
    death.key = key;
    death.proxy = -1;
    death.arrives = false;
    if (one_in(2)) return;
    add_fault({{Point::arm, true}, Action::delay});
    Fault& slow = schedule_.faults.back();
    slow.nth = 1;
    slow.key = key;
    slow.proxy = -1;
    slow.length = milliseconds(10 + number(200));
  }

  void draw_client(int key, bool first) {
    std::vector<Intent> intents;
    const int home = number(schedule_.proxies);
    for (int i = 6 + number(9); i > 0; --i) {
      Intent intent;
      intent.key = key;
      intent.proxy = one_in(3) ? number(schedule_.proxies) : home;
      intent.pause = draw_pause();
      draw_deed(intent);
      intents.push_back(std::move(intent));
    }
    if (first && style_ == Style::doomed) make_write(intents[static_cast<std::size_t>(number(4))], false);
    schedule_.clients.push_back(std::move(intents));
  }

  milliseconds draw_pause() {
    const int which = number(10);
    if (which < 5) return milliseconds(0);
    return milliseconds(which < 8 ? 1 + number(5) : 5 + number(60));
  }

  // What is joined has copies that are out of date while nobody asks for them: looking at them tells nothing. What a
  // dead writer leaves behind is not to be tidied up by others.
  void draw_deed(Intent& intent) {
    static constexpr Touch kTouches[] = {Touch::expire, Touch::persist, Touch::drop, Touch::invalidate};
    const int which = number(20);
    const int writes = style_ == Style::busy ? 8 : style_ == Style::sparse ? 2 : 0;
    if (which < writes) {
      make_write(intent, one_in(refusals_ ? 2 : 12));
    } else if (which < (is(Family::joined) ? 18 : 16)) {
      intent.kind = Kind::read;
      intent.variant = number(6);
    } else {
      intent.kind = which < 18 ? Kind::copy : Kind::touch;
      intent.touch = kTouches[number(style_ == Style::doomed ? 2 : 4)];
    }
  }

  void make_write(Intent& intent, bool refused) {
    intent.kind = Kind::write;
    intent.refused = refused;
    intent.variant = number(6);
    intent.fields = draw_fields();
  }

  // HSET may leave fields alone. Nobody writes two tables at once.
  std::vector<std::string> draw_fields() {
    if (is(Family::joined) && style_ != Style::doomed && one_in(3)) return {"c"};
    if (!is(Family::joined) && (!shape().hash || one_in(2))) return {"a", "b", "c"};
    switch (number(3)) {
      case 0:
        return {"a"};
      case 1:
        return {"b"};
      default:
        return {"a", "b"};
    }
  }

  std::mt19937 random_;
  const bool sql_link_;
  std::optional<Family> family_;  // of all keys
  bool refusals_ = false;
  Style style_ = Style::busy;
  Schedule schedule_;
};

const char* name(Point point) {
  switch (point) {
    case Point::read:
      return "read";
    case Point::arm:
      return "ARM";
    case Point::apply:
      return "APPLY";
    case Point::abort:
      return "ABORT";
    case Point::lease:
      return "LEASE";
    case Point::fill:
      return "FILL";
    case Point::inval:
      return "INVAL";
    case Point::touch:
      return "TOUCH";
    case Point::statement:
      return "statement";
    case Point::commit:
      return "COMMIT";
  }
  return "";
}

}  // namespace

const char* name(Action action) {
  switch (action) {
    case Action::kill:
      return "SIGKILL the proxy";
    case Action::stop:
      return "SIGSTOP the proxy";
    case Action::cut:
      return "cut the link";
    case Action::lose:
      return "lose what follows, then cut the link";
    case Action::delay:
      return "delay";
    case Action::empty:
      return "restart Redis, empty";
    case Action::restart:
      return "restart Redis with its data";
    case Action::evict:
      return "evict the side key";
    case Action::forget:
      return "forget the tables' versions";
    case Action::lock:
      return "lock in SQL";
    case Action::end_backend:
      return "end the SQL sessions";
  }
  return "";
}

std::string print(const Step& step) { return std::string(step.reply ? "the reply to " : "") + name(step.point); }

std::string print(const Fault& fault) {
  return "at " + print(fault.step) + " no. " + std::to_string(fault.nth) + " of " +
         (fault.proxy < 0 ? "any proxy" : "proxy " + std::to_string(fault.proxy)) +
         (fault.key < 0 ? "" : " for key " + std::to_string(fault.key)) + ": " + name(fault.action) + ", " +
         std::to_string(fault.length.count()) + " ms, the message " + (fault.arrives ? "arrives" : "is lost");
}

std::string print(const Schedule& schedule) {
  std::string text = "seed " + std::to_string(schedule.seed) + ": " + std::to_string(schedule.clients.size()) +
                     " clients, " + std::to_string(schedule.keys.size()) + " keys, " +
                     std::to_string(schedule.proxies) + " proxies, " + std::to_string(schedule.noise_percent) +
                     "% of the messages late by up to " + std::to_string(schedule.noise_max.count()) + " ms" +
                     (schedule.quiet ? ", no writes after a fault" : "") + "\n";
  for (const Fault& fault : schedule.faults) text += "  " + print(fault) + "\n";
  return text;
}

Schedule make_schedule(unsigned seed, int proxies, bool sql_link, std::optional<Family> only) {
  return Draw(seed, proxies, sql_link, only).draw();
}

std::size_t pairs_of_step_and_action(bool sql_link) { return all_pairs(sql_link).size(); }

}  // namespace sluice::history

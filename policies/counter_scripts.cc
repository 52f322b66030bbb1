// Counter scripts, see counter_scripts.h.
#include "policies/counter_scripts.h"

namespace sluice::policies::counters {
namespace {

constexpr std::string_view kTime = R"lua(
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function whole(number) return string.format('%.0f', number) end
)lua";

// A counter that is not in Redis: restored from a SET that SQL has not seen, or leased to whoever asks first.
constexpr std::string_view kAbsent = R"lua(
local K, S = KEYS[1], KEYS[2]
local function restore(base)
  redis.call('SET', K, base)
  local done = redis.pcall('INCRBY', K, redis.call('HGET', S, 't'))
  if type(done) == 'table' then
    redis.call('DEL', K)
    return {err = done.err}
  end
end
local function lease(inc, token, ms)
  local time, held = now(), redis.call('HGET', S, 'L')
  if held then
    local left = tonumber(string.match(held, '%d+$')) - time
    if left > 0 then return {'WAIT', left} end
  end
  redis.call('HSET', S, 'L', token .. ':' .. whole(time + ms))
  if not inc then redis.call('PEXPIRE', S, whole(ms + 1000)) end
  return {'SEED', inc or '', inc and redis.call('HGET', S, 'n') or '0'}
end
)lua";

// INCRBY goes first: its errors must leave the sum alone. A sum that overflows takes the increment back.
constexpr std::string_view kAdd = R"lua(
local side = redis.call('HMGET', S, 'inc', 'base')
local inc, present = side[1], redis.call('EXISTS', K) == 1
if inc and side[2] and not present then
  local failed = restore(side[2])
  if failed then return failed end
  present = true
end
if not (inc and present) then return lease(inc, ARGV[2], tonumber(ARGV[3])) end
local value = redis.pcall('INCRBY', K, ARGV[1])
if type(value) == 'table' then return {err = value.err} end
local sum = redis.pcall('HINCRBY', S, 't', ARGV[1])
if type(sum) == 'table' then
  if ARGV[1] == '-9223372036854775808' then
    redis.call('INCRBY', K, '9223372036854775807')
    redis.call('INCRBY', K, '1')
  else
    redis.call('DECRBY', K, ARGV[1])
  end
  return {err = 'ERR increment or decrement would overflow'}
end
redis.call('HINCRBY', S, 'n', 1)
if redis.call('ZADD', KEYS[3], 'NX', whole(now()), K) == 1 then redis.call('PERSIST', S) end
if value > -9007199254740992 and value < 9007199254740992 then return value end
return redis.call('GET', K)
)lua";

constexpr std::string_view kLoad = R"lua(
local found = redis.pcall('GET', K)
if type(found) == 'table' then return {err = found.err} end
if found then return {'HIT', found} end
local side = redis.call('HMGET', S, 'inc', 'base')
if side[1] and side[2] then
  local failed = restore(side[2])
  if failed then return failed end
  return {'HIT', redis.call('GET', K)}
end
return lease(side[1], ARGV[1], tonumber(ARGV[2]))
)lua";

// `base` is what SQL holds without the increments of `inc`: flushing does not change it.
constexpr std::string_view kSeed = R"lua(
local K, S = KEYS[1], KEYS[2]
local side = redis.call('HMGET', S, 'L', 'inc', 't')
if not side[1] or string.match(side[1], '^(.*):%d+$') ~= ARGV[1] then return 'LOST' end
redis.call('HDEL', S, 'L')
if ARGV[4] == '' then return 'OK' end
if (side[2] or '') ~= ARGV[2] then return 'LOST' end
if not side[2] then
  redis.call('HSET', S, 'inc', ARGV[3], 'n', '0', 't', '0')
  redis.call('PEXPIRE', S, ARGV[5])
  redis.call('SET', K, ARGV[4])
  return 'OK'
end
if redis.call('EXISTS', K) == 1 then return 'OK' end
redis.call('SET', K, ARGV[4])
local done = redis.pcall('INCRBY', K, side[3])
if type(done) == 'table' then
  redis.call('DEL', K)
  return {err = done.err}
end
return 'OK'
)lua";

// An incarnation that no flush has read cannot come back: only one that was read is listed as retired.
constexpr std::string_view kSet = R"lua(
local K, S = KEYS[1], KEYS[2]
local side = redis.call('HMGET', S, 'inc', 'base', 'retired', 'r')
local retired = side[2] and side[3] or ''
if side[1] and side[1] == side[4] then
  retired = retired == '' and side[1] or retired .. ' ' .. side[1]
end
redis.call('HDEL', S, 'L', 'r', 'late')
redis.call('HSET', S, 'inc', ARGV[2], 'n', '1', 't', '0', 'base', ARGV[1], 'retired', retired)
redis.call('PERSIST', S)
redis.call('ZADD', KEYS[3], 'NX', whole(now()), K)
redis.call('SET', K, ARGV[1])
return {ok = 'OK'}
)lua";

// A full Redis refuses a script whose first write takes memory: HDEL goes before HSET, and counters reach SQL.
constexpr std::string_view kRead = R"lua(
local rows = {whole(now())}
for i = 1, #KEYS do
  local side = redis.call('HMGET', KEYS[i], 'inc', 'n', 't', 'base', 'retired', 'r')
  if side[1] and side[6] ~= side[1] then
    redis.call('HDEL', KEYS[i], 'r')
    redis.call('HSET', KEYS[i], 'r', side[1])
  end
  rows[i + 1] = {side[1], side[2], side[3], side[4], side[5]}
end
return rows
)lua";

// When the counter is not what was read, because it has begun again or Redis lost it, what SQL got belongs to its value
// too: it is loaded anew, also by whoever is loading it from what SQL held before. While SQL is to get a SET the copy
// would only be restored from that, so whoever brings the SET drops it. ZREM goes first, see kRead.
constexpr std::string_view kClean = R"lua(
local K, S, Z = KEYS[1], KEYS[2], KEYS[3]
local function reload()
  redis.call('DEL', K)
  redis.call('HDEL', S, 'L', 'late')
end
local side = redis.call('HMGET', S, 'inc', 'n', 'base', 'late')
local dirty = redis.call('ZREM', Z, K) == 1
if (side[1] or '') ~= ARGV[1] then
  if ARGV[3] ~= '0' then
    reload()
    if side[3] then redis.call('HSET', S, 'late', '1') end
  end
elseif side[1] then
  if ARGV[4] == '1' then
    redis.call('HDEL', S, 'base', 'retired')
    if side[4] then reload() end
  end
  redis.call('HSET', S, 'f', whole(now()))
end
if not side[1] then return 1 end
if side[1] == ARGV[1] and side[2] == ARGV[2] then
  redis.call('PEXPIRE', S, ARGV[6])
  return 1
end
if dirty then redis.call('ZADD', Z, ARGV[5], K) end
return 0
)lua";

template <typename... Parts>
std::string text(const Parts&... parts) {
  std::string all;
  (all.append(parts), ...);
  return all;
}

}  // namespace

const Script& add() {
  static const Script script = make_script("counter_add", text(kTime, kAbsent, kAdd));
  return script;
}

const Script& load() {
  static const Script script = make_script("counter_load", text(kTime, kAbsent, kLoad));
  return script;
}

const Script& seed() {
  static const Script script = make_script("counter_seed", text(kSeed));
  return script;
}

const Script& set() {
  static const Script script = make_script("counter_set", text(kTime, kSet));
  return script;
}

const Script& read() {
  static const Script script = make_script("counter_read", text(kTime, kRead));
  return script;
}

const Script& clean() {
  static const Script script = make_script("counter_clean", text(kTime, kClean));
  return script;
}

}  // namespace sluice::policies::counters

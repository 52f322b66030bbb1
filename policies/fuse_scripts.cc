// Fuse scripts, see fuse_scripts.h. The taint rules are those of the model checked in tests/policies.
#include "policies/fuse_scripts.h"

#include <initializer_list>

namespace sluice::policies::fuse {
namespace {

// For every script. What a key costs here is most of what a write costs Redis: no call is made that cannot change
// anything, and no function is made for each key.
constexpr std::string_view kCommon = R"lua(
local call = redis.call
local function whole(number) return string.format('%.0f', number) end
local function taint(S, arms)
  for field, value in pairs(arms) do
    arms[field] = string.gsub(value, '^(%d+):0:', '%1:1:')
    call('HSET', S, field, arms[field])
  end
end
local function keep(S, side, ms)
  if #side == 0 or call('PTTL', S) < ms then call('PEXPIRE', S, ms) end
end
)lua";

// What follows, up to kEach, is done for one data key D and its side key S, with arguments of its own in ARGV.
//
// Reads the side key. An arm past its deadline is a writer that died: its value may be in SQL, so the copy goes and
// whoever is still writing no longer knows to be alone.
constexpr std::string_view kRun = R"lua(
local function run(D, S, ARGV, now)
local token = ARGV[1]
local arms, live, died = {}, 0, false
local L, N
local side = call('HGETALL', S)
for i = 1, #side, 2 do
  local field, value = side[i], side[i + 1]
  if string.sub(field, 1, 2) == 'a:' then
    if tonumber(string.match(value, '^%d+')) <= now then
      call('HDEL', S, field)
      died = true
    else
      arms[field] = value
      live = live + 1
    end
  elseif field == 'L' then L = value
  elseif field == 'N' then N = value
  end
end
if died then
  call('DEL', D)
  call('HDEL', S, 'L')
  L = nil
  taint(S, arms)
end
)lua";

// Stores args[first...] as fields; unpack() has room for about 8000 values.
constexpr std::string_view kStoreFields = R"lua(
local function store_fields(D, args, first)
  for i = first, #args, 7000 do
    call('HSET', D, unpack(args, i, math.min(i + 6999, #args)))
  end
end
)lua";

// The expiry that the copy had before the fuse. A copy filled while the write was under way gets the policy's ttl;
// an expiry that somebody changed meanwhile stays.
constexpr std::string_view kRestore = R"lua(
local function restore(D, arm, ttl)
  local old, fused = string.match(arm, '^%d+:%d:(%-?%d+):(%-?%d+)$')
  if old == '-2' then
    if tonumber(ttl) > 0 then call('PEXPIRE', D, ttl) else call('PERSIST', D) end
  elseif whole(call('PEXPIRETIME', D)) == fused then
    if old == '-1' then call('PERSIST', D) else call('PEXPIREAT', D, old) end
  end
end
-- The same for a copy that has burned away and is made again, without an expiry so far.
local function revive(D, arm, ttl)
  local old = string.match(arm, '^%d+:%d:(%-?%d+):')
  if old == '-2' then
    if tonumber(ttl) > 0 then call('PEXPIRE', D, ttl) end
  elseif old ~= '-1' then
    call('PEXPIREAT', D, old)
  end
end
)lua";

constexpr std::string_view kValue = R"lua(
local function value(D, kind)
  if kind == 'S' then
    local found = redis.pcall('GET', D)
    if type(found) == 'table' then return nil, {err = found.err} end
    return found
  end
  local found = redis.pcall('HGETALL', D)
  if found.err then return nil, {err = found.err} end
  return #found > 0 and found
end
)lua";

constexpr std::string_view kArm = R"lua(
if ARGV[4] ~= '' then
  local found = call('TYPE', D).ok
  if found ~= 'none' and found ~= ARGV[4] then
    return {err = 'WRONGTYPE Operation against a key holding the wrong kind of value'}
  end
end
local alone = live == 0
taint(S, arms)
if L or N then call('HDEL', S, 'L', 'N') end
local old = call('PEXPIRETIME', D)
local fused = old
if old == -1 or old > now + ARGV[3] then
  fused = now + ARGV[3]
  call('PEXPIREAT', D, whole(fused))
end
call('HSET', S, 'a:' .. token, string.format('%.0f:%d:%.0f:%.0f', now + ARGV[2], alone and 0 or 1, old, fused))
keep(S, side, ARGV[2] + 1000)
return alone and 1 or 0
)lua";

constexpr std::string_view kApply = R"lua(
local own = 'a:' .. token
local arm = arms[own]
arms[own] = nil
call('HDEL', S, own, 'L', 'N')
if not (arm and string.match(arm, '^%d+:0:')) then
  call('DEL', D)
  taint(S, arms)
  return 0
end
if ARGV[2] == 'SET' and ARGV[3] == 'KEEP' then
  local there = call('EXISTS', D) == 1
  call('SET', D, ARGV[6], 'KEEPTTL')
  if there then restore(D, arm, ARGV[4]) else revive(D, arm, ARGV[4]) end
elseif ARGV[2] == 'SET' then
  if ARGV[3] == '' then call('SET', D, ARGV[6]) else call('SET', D, ARGV[6], ARGV[3], ARGV[4]) end
elseif ARGV[2] == 'EXPIRE' then
  if ARGV[4] == '-1' then call('PERSIST', D) else call('PEXPIREAT', D, ARGV[4]) end
elseif ARGV[2] == 'HDEL' and call('TYPE', D).ok == 'hash' then
  for i = 6, #ARGV, 7000 do
    call('HDEL', D, unpack(ARGV, i, math.min(i + 6999, #ARGV)))
  end
  restore(D, arm, ARGV[4])
elseif ARGV[2] == 'HSET' and call('TYPE', D).ok == 'hash' then
  store_fields(D, ARGV, 6)
  restore(D, arm, ARGV[4])
else
  call('DEL', D)
  if ARGV[2] == 'HSET' and ARGV[5] == '1' then
    store_fields(D, ARGV, 6)
    if tonumber(ARGV[4]) > 0 then call('PEXPIRE', D, ARGV[4]) end
  end
end
return 1
)lua";

constexpr std::string_view kAbort = R"lua(
local own = 'a:' .. token
local arm = arms[own]
call('HDEL', S, own, 'L', 'N')
if arm and string.match(arm, '^%d+:0:') and call('EXISTS', D) == 1 then restore(D, arm, ARGV[2]) end
return 1
)lua";

constexpr std::string_view kLease = R"lua(
local kind = ARGV[3]
local found, failed
if kind == 'E' then
  found = call('EXISTS', D) == 1 and ''
elseif kind == 'F' then
  if call('EXISTS', D) == 1 then
    local values = redis.pcall('HMGET', D, unpack(ARGV, 4))
    if values.err then return {err = values.err} end
    found = {}
    for i, text in ipairs(values) do
      if text then
        found[#found + 1] = ARGV[i + 3]
        found[#found + 1] = text
      end
    end
  end
else
  found, failed = value(D, kind)
end
if failed then return failed end
if found then return {'HIT', found} end
if N and tonumber(N) > now then return {'NEG'} end
if L and string.match(L, '^(.*):%d+$') ~= token then
  local left = tonumber(string.match(L, '%d+$')) - now
  if left > 0 then return {'WAIT', left} end
end
call('HSET', S, 'L', token .. ':' .. whole(now + ARGV[2]))
keep(S, side, ARGV[2] + 1000)
return {'LEASE'}
)lua";

// A copy made behind a fuse: the expiry that it is to have after the write.
constexpr std::string_view kRemember = R"lua(
local function remember(D, S, arms, wanted)
  local fused = whole(call('PEXPIRETIME', D))
  for field, arm in pairs(arms) do
    local deadline, old = string.match(arm, '^(%d+:%d):(%-?%d+):')
    if old == '-2' then call('HSET', S, field, deadline .. ':' .. wanted .. ':' .. fused) end
  end
end
)lua";

constexpr std::string_view kFill = R"lua(
local kind, what, ttl, till = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[6])
local over = till and till <= now
if over then what = 'ABSENT' end
local mine = L and string.match(L, '^(.*):%d+$') == token
local found, failed = value(D, kind)
if mine or (what ~= 'NONE' and not found) then call('HDEL', S, 'L') end
if failed then return failed end
if found then return {'PRESENT', found} end
if not mine or what == 'NONE' then
  if what == 'VALUE' then call('HDEL', S, 'N') end
  return over and {'EXPIRED', 0} or {'REFUSED'}
end
if till and not over then ttl = math.min(ttl > 0 and ttl or 1e15, till - now) end
local wanted = ttl > 0 and whole(now + ttl) or '-1'
if live > 0 then ttl = math.min(ttl > 0 and ttl or 1e15, tonumber(ARGV[5])) end
if what == 'ABSENT' then
  if live == 0 and ttl > 0 and not over then
    call('HSET', S, 'N', whole(now + ttl))
    keep(S, side, ttl)
  end
  return over and {'EXPIRED', 1} or {'STORED'}
end
call('HDEL', S, 'N')
if kind == 'S' then call('SET', D, ARGV[7]) else store_fields(D, ARGV, 7) end
if ttl > 0 then call('PEXPIRE', D, whole(ttl)) end
if live > 0 then remember(D, S, arms, wanted) end
return {'STORED'}
)lua";

// Behind a fuse the expiry is the one that the arm remembers. Of several writes at a time none gives anything back.
constexpr std::string_view kExpire = R"lua(
local mode, amount, conditions = ARGV[2], tonumber(ARGV[3]), ARGV[4]
if call('EXISTS', D) == 0 then return {-1} end
local found, failed
if ARGV[5] ~= '' then
  found, failed = value(D, ARGV[5])
  if failed then return failed end
end
if mode == '' then return {1, found} end
local visible = call('PEXPIRETIME', D)
local old = visible
for _, arm in pairs(arms) do
  local before, fused = string.match(arm, '^%d+:%d:(%-?%d+):(%-?%d+)$')
  if before ~= '-2' and fused == whole(visible) then old = tonumber(before) end
end
local at = mode == 'PERSIST' and -1 or mode == 'PX' and now + amount or amount
local function has(condition) return string.find(conditions, condition, 1, true) end
local apart = (mode == 'PERSIST' and old == -1) or (has('N') and old ~= -1) or (has('X') and old == -1) or
              (has('G') and (old == -1 or at <= old)) or (has('L') and old ~= -1 and at >= old)
if apart then return {0, found} end
if mode ~= 'PERSIST' and at <= now then
  call('DEL', D)
  return {1, found}
end
if live == 0 then
  if at == -1 then call('PERSIST', D) else call('PEXPIREAT', D, whole(at)) end
  return {1, found}
end
if at ~= -1 and (visible == -1 or at < visible) then
  call('PEXPIREAT', D, whole(at))
  visible = at
end
for field, arm in pairs(arms) do
  call('HSET', S, field, (string.gsub(arm, '^(%d+:%d:).*$', '%1' .. whole(at) .. ':' .. whole(visible))))
end
return {1, found}
)lua";

constexpr std::string_view kInval = R"lua(
local dropped = call('DEL', D)
call('HDEL', S, 'L', 'N')
taint(S, arms)
return dropped
)lua";

// Runs it for every pair of keys, in their order: in ARGV each pair has the number of its arguments, then these. The
// error of one is its reply and does not keep the others from being run. What Redis says begins with a code; what Lua
// says of a mistake in the script does not.
constexpr std::string_view kEach = R"lua(
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local replies, at = {}, 1
for i = 1, #KEYS, 2 do
  local count, args = tonumber(ARGV[at])
  if count < 1000 then
    args = {unpack(ARGV, at + 1, at + count)}
  else
    args = {}
    for j = 1, count do args[j] = ARGV[at + j] end
  end
  at = at + count + 1
  local done, reply = pcall(run, KEYS[i], KEYS[i + 1], args, now)
  if not done then
    local text = type(reply) == 'table' and reply.err or tostring(reply)
    reply = {err = string.match(text, '^%u+ ') and text or 'ERR ' .. text}
  end
  replies[#replies + 1] = reply or false
end
return replies
)lua";

// `functions` are what the body calls.
Script make(std::string_view name, std::initializer_list<std::string_view> functions, std::string_view body) {
  std::string text(kCommon);
  for (const std::string_view function : functions) text.append(function);
  return make_batch_script(name, text.append(kRun).append(body).append(kEach));
}

}  // namespace

const Script& arm() {
  static const Script script = make("arm", {}, kArm);
  return script;
}

const Script& apply() {
  static const Script script = make("apply", {kStoreFields, kRestore}, kApply);
  return script;
}

const Script& abort() {
  static const Script script = make("abort", {kRestore}, kAbort);
  return script;
}

const Script& lease() {
  static const Script script = make("lease", {kValue}, kLease);
  return script;
}

const Script& fill() {
  static const Script script = make("fill", {kValue, kStoreFields, kRemember}, kFill);
  return script;
}

const Script& expire() {
  static const Script script = make("expire", {kValue}, kExpire);
  return script;
}

const Script& inval() {
  static const Script script = make("inval", {}, kInval);
  return script;
}

}  // namespace sluice::policies::fuse

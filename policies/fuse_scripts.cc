// Fuse scripts, see fuse_scripts.h. The taint rules are those of the model checked in tests/policies.
#include "policies/fuse_scripts.h"

#include <initializer_list>

#include "policies/tables.h"

namespace sluice::policies::fuse {
namespace {

// For every script. What a key costs here is most of what a write costs Redis: no call is made that cannot change
// anything, no function is made for each key, and a number that comes again is not written again.
constexpr std::string_view kCommon = R"lua(
local call = redis.call
local nothing = {}
local wholes = {}
local function whole(number)
  local text = wholes[number]
  if not text then
    text = string.format('%.0f', number)
    wholes[number] = text
  end
  return text
end
local function taint(S, arms)
  for field, value in pairs(arms) do
    arms[field] = string.gsub(value, '^(%d+):0:', '%1:1:')
    call('HSET', S, field, arms[field])
  end
end
local function keep(S, side, ms)
  if #side == 0 or call('PTTL', S) < ms then call('PEXPIRE', S, whole(ms)) end
end
local function is_blank(D) return false end
)lua";

// Who leases has most often just heard that there is no value: of all the keys of a call, one command tells whether
// nothing is there. What is done for a key may matter to the same key further on.
constexpr std::string_view kBlank = R"lua(
local blank, seen = call('EXISTS', unpack(KEYS)) == 0, {}
local function is_blank(D)
  local first = not seen[D]
  seen[D] = true
  return blank and first
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
local L, N, V, E
local none = is_blank(D)
local side = none and nothing or call('HGETALL', S)
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
  elseif field == 'V' then V = value
  elseif field == 'E' then E = value
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
if ARGV[5] ~= '' then
  local found = call('TYPE', D).ok
  if found ~= 'none' and found ~= ARGV[5] then
    return {err = 'WRONGTYPE Operation against a key holding the wrong kind of value'}
  end
end
local alone = live == 0
taint(S, arms)
if L or N then call('HDEL', S, 'L', 'N') end
local old = call('PEXPIRETIME', D)
local fused = old
if old == -1 or old > now + ARGV[4] then
  fused = now + ARGV[4]
  call('PEXPIREAT', D, whole(fused))
end
local deadline = now + ARGV[3]
call('HSET', S, 'a:' .. token, string.format('%.0f:%d:%.0f:%.0f', deadline, alone and 0 or 1, old, fused))
keep(S, side, ARGV[3] + 1000)
gather(ARGV[2], 'a:' .. token, whole(deadline))
return alone and 1 or 0
)lua";

// Each of these is done for every table once, for all its arms of the call. Arms of the dead are looked for now and
// then; whoever reads the version of the table does so every time.
constexpr std::string_view kArmTables = R"lua(
for name, arms in pairs(arms_of) do
  local key = table_key(name)
  local first = string.sub(arms[1], 3)
  bump(key, first)
  call('HSET', key, unpack(arms))
  call('PEXPIRE', key, whole(math.max(day, arms[#arms] - now + 1000)))
  if string.sub(first, 1, 1) == '0' then sweep(key, first, now) end
end
)lua";

constexpr std::string_view kApplyTables = R"lua(
for name, arms in pairs(arms_of) do
  bump(table_key(name), string.sub(arms[1], 3))
  call('HDEL', table_key(name), unpack(arms))
end
)lua";

constexpr std::string_view kAbortTables = R"lua(
for name, arms in pairs(arms_of) do call('HDEL', table_key(name), unpack(arms)) end
)lua";

constexpr std::string_view kInvalTables = R"lua(
for name, arms in pairs(arms_of) do bump(table_key(name), arms[1]) end
)lua";

constexpr std::string_view kApply = R"lua(
local own = 'a:' .. token
local arm = arms[own]
arms[own] = nil
gather(ARGV[2], own)
call('HDEL', S, own, 'L', 'N')
if not (arm and string.match(arm, '^%d+:0:')) then
  call('DEL', D)
  taint(S, arms)
  return 0
end
if ARGV[3] == 'SET' and ARGV[4] == 'KEEP' then
  local there = call('EXISTS', D) == 1
  call('SET', D, ARGV[7], 'KEEPTTL')
  if there then restore(D, arm, ARGV[5]) else revive(D, arm, ARGV[5]) end
elseif ARGV[3] == 'SET' then
  if ARGV[4] == '' then call('SET', D, ARGV[7]) else call('SET', D, ARGV[7], ARGV[4], ARGV[5]) end
elseif ARGV[3] == 'EXPIRE' then
  if ARGV[5] == '-1' then call('PERSIST', D) else call('PEXPIREAT', D, ARGV[5]) end
elseif ARGV[3] == 'HDEL' and call('TYPE', D).ok == 'hash' then
  for i = 7, #ARGV, 7000 do
    call('HDEL', D, unpack(ARGV, i, math.min(i + 6999, #ARGV)))
  end
  restore(D, arm, ARGV[5])
elseif ARGV[3] == 'HSET' and call('TYPE', D).ok == 'hash' then
  store_fields(D, ARGV, 7)
  restore(D, arm, ARGV[5])
else
  call('DEL', D)
  if ARGV[3] == 'HSET' and ARGV[6] == '1' then
    store_fields(D, ARGV, 7)
    if tonumber(ARGV[5]) > 0 then call('PEXPIRE', D, ARGV[5]) end
  end
end
return 1
)lua";

constexpr std::string_view kAbort = R"lua(
local own = 'a:' .. token
local arm = arms[own]
call('HDEL', S, own, 'L', 'N')
if arm and string.match(arm, '^%d+:0:') and call('EXISTS', D) == 1 then restore(D, arm, ARGV[3]) end
gather(ARGV[2], own)
return 1
)lua";

constexpr std::string_view kLeaseAny = R"lua(
local kind, first, version, stale = ARGV[3], 4
)lua";

// A copy, or a memory of an absent row, that was made of other versions goes.
constexpr std::string_view kLeaseChecked = R"lua(
local kind, first, version, stale = ARGV[4], 5, versions(ARGV[3], token, now, true).text, 0
if not same(V, version) then
  stale = call('DEL', D)
  if N then
    call('HDEL', S, 'N')
    stale = 1
    N = nil
  end
end
)lua";

// How much of its life a copy has left before it may be renewed, negative if it may not be; and when it ends.
constexpr std::string_view kAhead = R"lua(
local function ahead(D, live, E, now)
  local ends = call('PEXPIRETIME', D)
  return (live > 0 or ends < 0 or whole(ends) == E) and -1 or ends - now, ends
end
)lua";

// What is said in one word is no array: that would cost Redis about as much as a command.
constexpr std::string_view kLease = R"lua(
local found, failed
local left, ends
if kind == 'R' then
  left, ends = ahead(D, live, E, now)
  if left < 0 or left > tonumber(ARGV[first]) then return 'NO' end
elseif none then
  found = false
elseif kind == 'E' then
  found = call('EXISTS', D) == 1 and ''
elseif kind == 'F' then
  if call('EXISTS', D) == 1 then
    local values = redis.pcall('HMGET', D, unpack(ARGV, first))
    if values.err then return {err = values.err} end
    found = {}
    for i, text in ipairs(values) do
      if text then
        found[#found + 1] = ARGV[i + first - 1]
        found[#found + 1] = text
      end
    end
  end
else
  found, failed = value(D, kind)
end
if failed then return failed end
if found then return {'HIT', found, 0, (ahead(D, live, E, now))} end
if N and tonumber(N) > now then return 'NEG' end
if L and string.match(L, '^(.*):%d+$') ~= token then
  left = tonumber(string.match(L, '%d+$')) - now
  if left > 0 then return {'WAIT', left, stale} end
end
if ARGV[2] == '0' then return 'NONE' end
call('HSET', S, 'L', token .. ':' .. whole(now + ARGV[2]))
keep(S, side, ARGV[2] + 1000)
if ends then return {'LEASE', version or '', 0, whole(ends)} end
if not version then return 'LEASE' end
return {'LEASE', version, stale}
)lua";

constexpr std::string_view kSetIfAbsent = R"lua(
local function set_if_absent(D, text, ttl)
  if ttl <= 0 then return call('SET', D, text, 'NX') end
  return call('SET', D, text, 'NX', 'PX', whole(ttl))
end
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

constexpr std::string_view kFillAny = R"lua(
local first, version, changed, armed = 7
)lua";

// A version that is gone is another one. What is there and was made of others is no value to answer.
constexpr std::string_view kFillChecked = R"lua(
local seen = versions(ARGV[7], token, now, false)
local first, version, changed, armed = 9, seen.text, not same(seen.text, ARGV[8]), seen.armed
if not same(V, version) then call('DEL', D) end
)lua";

constexpr std::string_view kFill = R"lua(
local kind, what, ttl = ARGV[2], ARGV[3], tonumber(ARGV[4])
local till, negative, renews, known
if ARGV[6] ~= '' then
  till, negative = string.match(ARGV[6], '^(%-?%d+) (%d+)$')
  till = tonumber(till)
end
local over = till and till <= now
if over then ttl = tonumber(negative) end
local mine = L and string.sub(L, 1, #token + 1) == token .. ':'
if what ~= 'VALUE' then renews, known = string.match(what, '^(%u+) (%-?%d+)$') end
if renews then
  if not mine then return 'REFUSED' end
  if live == 0 and whole(call('PEXPIRETIME', D)) == known then call('DEL', D) end
  what = renews
end
if over then what = 'ABSENT' end
local cut = till and not over and (ttl == 0 or till - now < ttl)
if cut then ttl = till - now end
local full = ttl
if live > 0 or armed then ttl = math.min(ttl > 0 and ttl or 1e15, tonumber(ARGV[5])) end
-- This write comes first: a Redis that is full by now lets no other be the first of a call.
if mine then call('HDEL', S, 'L', 'N') end
local stored = mine and not changed and what == 'VALUE' and kind == 'S' and set_if_absent(D, ARGV[first], ttl)
local found, failed
if not stored then found, failed = value(D, kind) end
if not (mine or found or what == 'NONE') then call('HDEL', S, 'L', what == 'VALUE' and 'N' or 'L') end
if failed then return failed end
if found then return {'PRESENT', found} end
if not mine or changed or what == 'NONE' then return over and {'EXPIRED', 0} or 'REFUSED' end
if what == 'ABSENT' then
  if live == 0 and ttl > 0 then
    call('HSET', S, 'N', whole(now + ttl))
    if version then call('HSET', S, 'V', version) end
    keep(S, side, ttl)
  end
  return over and {'EXPIRED', 1} or 'STORED'
end
if not stored then
  store_fields(D, ARGV, first)
  if ttl > 0 then call('PEXPIRE', D, whole(ttl)) end
end
if version then
  call('HSET', S, 'V', version)
  keep(S, side, ttl > 0 and ttl or day)
end
if live > 0 then remember(D, S, arms, full > 0 and whole(now + full) or '-1') end
if renews and cut then
  call('HSET', S, 'E', whole(till))
  keep(S, side, ttl)
end
return 'STORED'
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
call('HDEL', S, 'L', 'N', 'V')
taint(S, arms)
gather(ARGV[2] or '', token)
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
)lua";

// `functions` are what the body calls, `last` is done when it was run for every pair.
Script make(std::string_view name, std::initializer_list<std::string_view> functions,
            std::initializer_list<std::string_view> body, std::string_view last = {}) {
  std::string text(kCommon);
  for (const std::string_view function : functions) text.append(function);
  text.append(kRun);
  for (const std::string_view part : body) text.append(part);
  return make_batch_script(name, text.append(kEach).append(last).append("return replies"));
}

}  // namespace

const Script& arm() {
  static const Script script = make("arm", {tables::functions()}, {kArm}, kArmTables);
  return script;
}

const Script& apply() {
  static const Script script = make("apply", {tables::functions(), kStoreFields, kRestore}, {kApply}, kApplyTables);
  return script;
}

const Script& abort() {
  static const Script script = make("abort", {tables::functions(), kRestore}, {kAbort}, kAbortTables);
  return script;
}

const Script& lease() {
  static const Script script = make("lease", {kBlank, kAhead, kValue}, {kLeaseAny, kLease});
  return script;
}

const Script& lease_checked() {
  static const Script script = make("lease_checked", {tables::functions(), kAhead, kValue}, {kLeaseChecked, kLease});
  return script;
}

const Script& fill() {
  static const Script script = make("fill", {kValue, kStoreFields, kSetIfAbsent, kRemember}, {kFillAny, kFill});
  return script;
}

const Script& fill_checked() {
  static const Script script =
      make("fill_checked", {tables::functions(), kValue, kStoreFields, kSetIfAbsent, kRemember}, {kFillChecked, kFill});
  return script;
}

const Script& expire() {
  static const Script script = make("expire", {kValue}, {kExpire});
  return script;
}

const Script& inval() {
  static const Script script = make("inval", {tables::functions()}, {kInval}, kInvalTables);
  return script;
}

}  // namespace sluice::policies::fuse

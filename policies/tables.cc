// Tables, see tables.h.
#include "policies/tables.h"

#include <algorithm>
#include <utility>

#include "conf/table_name.h"
#include "policies/replies.h"
#include "policies/shared.h"

namespace sluice::policies::tables {
namespace {

constexpr std::string_view kPrefix = "__sluice:table:";

// A version that is gone must never come back: who begins it takes a random number and the time. It lives for a day
// after the last write; of those who read it, one in sixteen gives it another.
constexpr std::string_view kFunctions = R"lua(
local day = 86400000
local function table_key(name) return '__sluice:table:' .. name end
local function begin_version(key, token)
  local time = call('TIME')
  local version = whole((tonumber(string.sub(token, 1, 12), 16) or 0) + time[1] * 1000000 + time[2])
  call('HSET', key, 'v', version)
  call('PEXPIRE', key, day)
  return version
end
-- A version that could not be told is not even the same as itself.
local function same(a, b) return a == b and not string.find(a, '-', 1, true) end
-- A Redis that is full raises nothing, but it can forget.
local function bump(key, token)
  local version = redis.pcall('HINCRBY', key, 'v', 1)
  if type(version) == 'table' then
    call('HDEL', key, 'v')
  elseif version == 1 then
    begin_version(key, token)
  end
end
-- Whether there are arms. One past its deadline goes, after it has raised the version, which is then answered too.
local function sweep(key, token, now)
  local armed, died = false, false
  local all = call('HGETALL', key)
  for i = 1, #all, 2 do
    if all[i] ~= 'v' then
      if tonumber(all[i + 1]) > now then
        armed = true
      else
        if not died then bump(key, token) end
        died = true
        call('HDEL', key, all[i])
      end
    end
  end
  if died then return armed, call('HGET', key, 'v') or '-' end
  return armed
end
local known = {}
-- The versions of some tables, and whether one of them has arms. `begins`: one that is gone begins again.
local function versions(names, token, now, begins)
  if known[names] then return known[names] end
  local texts, armed = {}, false
  for name in string.gmatch(names, '[^,]+') do
    local key = table_key(name)
    local version, here, raised = call('HGET', key, 'v')
    if not version and begins then version = begin_version(key, token) end
    if version and call('HLEN', key) > 1 then here, raised = sweep(key, token, now) end
    if version and not here and string.sub(token, 1, 1) == '0' then call('PEXPIRE', key, day) end
    armed = armed or here
    texts[#texts + 1] = raised or version or '-'
  end
  known[names] = {text = table.concat(texts, ','), armed = armed}
  return known[names]
end
-- The arms of one call of a script, by table: fields, and for HSET their values.
local arms_of = {}
local function gather(name, field, value)
  if name == '' then return end
  local arms = arms_of[name]
  if not arms then
    arms = {}
    arms_of[name] = arms
  end
  arms[#arms + 1] = field
  arms[#arms + 1] = value
end
)lua";

constexpr std::string_view kHead = R"lua(
local call = redis.call
local function whole(number) return string.format('%.0f', number) end
)lua";

constexpr std::string_view kTouchEach = R"lua(
for _, key in ipairs(KEYS) do bump(key, ARGV[1]) end
return #KEYS
)lua";

class Touch final : public Operation {
 public:
  explicit Touch(const std::vector<std::string>& names) : tables_(static_cast<std::int64_t>(names.size())) {
    for (const std::string& name : names) names_.push_back(version_name(name));
  }

  Step start(Turn& turn) override { return CallRedis{{touch(names_, make_token(turn))}}; }

  Step resume(Event event, Turn&) override {
    const resp::Reply* const reply = reply_at(event, 0);
    if (reply == nullptr) return finish_error(upstream_unavailable());
    if (reply->is_error()) return finish_error(reply->text);
    return finish_integer(tables_);
  }

 private:
  const std::int64_t tables_;
  std::vector<std::string> names_;
};

}  // namespace

// A comma would end the name in a list of them.
std::string version_name(std::string_view table) {
  std::string name = conf::bare_table(table);
  std::replace(name.begin(), name.end(), ',', '_');
  return name;
}

std::string version_names(const std::vector<std::string>& tables) {
  std::string names;
  for (const std::string& table : tables) names.append(names.empty() ? "" : ",").append(version_name(table));
  return names;
}

std::string_view functions() { return kFunctions; }

const Script& touch_script() {
  static const Script script = make_script("touch", std::string(kHead).append(kFunctions).append(kTouchEach));
  return script;
}

RedisCommand touch(const std::vector<std::string>& names, const std::string& token) {
  RedisCommand command{&touch_script(), {std::to_string(names.size())}};
  for (const std::string& name : names) command.args.push_back(std::string(kPrefix) + name);
  command.args.push_back(token);
  return command;
}

std::unique_ptr<Operation> make_touch(const std::vector<std::string>& tables) {
  return std::make_unique<Touch>(tables);
}

}  // namespace sluice::policies::tables

// LoadScripts, see load_scripts.h; the scripts are those of fuse_scripts.h.
#include "policies/load_scripts.h"

#include "policies/fuse_scripts.h"
#include "policies/read.h"

namespace sluice::policies {
namespace {

// A lease answers so many fields by themselves; for more of them the whole hash.
constexpr std::size_t kPartFieldsMax = 64;

}  // namespace

LoadScripts::LoadScripts(const Shared& shared, const Request& request)
    : shared_(shared), options_(shared.options), request_(request) {
  choose_part();
}

// No more of it than the command needs.
void LoadScripts::choose_part() {
  const bool some_fields = options_.value == conf::ValueMode::hash && reads_fields(request_.command->id) &&
                           request_.args.size() <= kPartFieldsMax + 2;
  if (request_.refresh) {
    asked_ = {"R", std::to_string(refresh_from().count())};
    return;
  }
  asked_ = {kind()};
  const bool whether = absence_of(request_.command->id, request_.args.size()) == resp::Absence::no_key;
  if (whether || request_.command->id == resp::CommandId::exists) asked_ = {"E"};
  if (some_fields) {
    asked_ = {"F"};
    asked_.insert(asked_.end(), request_.args.begin() + 2, request_.args.end());
  }
  if (asked_[0] == kind()) return;
  for (const std::string& word : asked_) part_ += std::to_string(word.size()) + ":" + word;
}

// A copy is renewed from when so much of its life is left.
Milliseconds LoadScripts::refresh_from() const {
  const double part = static_cast<double>(options_.ttl.count()) * (1 - options_.refresh_ahead);
  return Milliseconds(static_cast<Milliseconds::rep>(part));
}

bool LoadScripts::is_due(Milliseconds left) const {
  return options_.refresh_ahead > 0 && left.count() >= 0 && left <= refresh_from();
}

RedisCommand LoadScripts::lease(const Target& target, const std::string& token) const {
  RedisCommand command{is_versioned() ? &fuse::lease_checked() : &fuse::lease(),
                       {"2", target.key, target.side, token, std::to_string(options_.load_timeout.count())}};
  if (is_versioned()) command.args.push_back(shared_.depends_on);
  command.args.insert(command.args.end(), asked_.begin(), asked_.end());
  return command;
}

RedisCommand LoadScripts::fill(const Target& target, const std::string& token, std::uint64_t random) const {
  const bool value = target.found.kind == Answer::Kind::value;
  std::string what = !target.read ? "NONE" : value ? "VALUE" : "ABSENT";
  if (request_.refresh && target.read) what.append(" ").append(target.ends);
  std::string until;
  if (target.until) until = std::to_string(*target.until) + " " + std::to_string(options_.negative_ttl.count());
  const Milliseconds ttl = value ? jittered(options_.ttl, options_.ttl_jitter, random) : options_.negative_ttl;
  RedisCommand command{is_versioned() ? &fuse::fill_checked() : &fuse::fill(),
                       {"2", target.key, target.side, token, kind(), what, std::to_string(ttl.count()),
                        std::to_string(options_.fuse.count()), until}};
  if (is_versioned()) command.args.insert(command.args.end(), {shared_.depends_on, target.versions});
  const Copy& copy = target.found.copy;
  if (value && options_.value == conf::ValueMode::hash) {
    command.args.insert(command.args.end(), copy.fields.begin(), copy.fields.end());
  } else if (value) {
    command.args.push_back(copy.text);
  }
  return command;
}

Answer LoadScripts::present(const resp::Reply& value) {
  Answer answer{Answer::Kind::value, {value.text, {}}, {}, false, {}};
  for (const resp::Reply& item : value.items) answer.copy.fields.push_back(item.text);
  return answer;
}

}  // namespace sluice::policies

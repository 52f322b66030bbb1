// Expire, see expire.h: the script, and when there is no copy a load and the script again.
#include "policies/expire.h"

#include <utility>

#include "policies/expiry_command.h"
#include "policies/fuse_scripts.h"
#include "policies/load.h"
#include "policies/replies.h"
#include "policies/rights.h"

namespace sluice::policies {
namespace {

class Expire final : public Operation {
 public:
  Expire(Shared& shared, Request request)
      : shared_(shared), options_(shared.options), request_(std::move(request)), side_(side_key(request_.key)) {}

  Step start(Turn& turn) override {
    auto wanted = parse_expiry_command(*request_.command, request_.args);
    if (side_.empty()) return finish_error(key_without_side(options_));
    if (!wanted) return ask(wanted.why(), turn);
    wanted_ = *wanted;
    return ask({}, turn);
  }

  Step resume(Event event, Turn& turn) override {
    switch (state_) {
      case State::awaiting_rights:
        return rights_known(event, turn);
      case State::awaiting_script:
        return answered(event, turn);
      case State::awaiting_load:
        return loading(load_->resume(std::move(event), turn));
    }
    return Finish{};
  }

 private:
  enum class State : std::uint8_t { awaiting_rights, awaiting_script, awaiting_load };

  // `error` is what to answer instead, once the user's rights are known.
  Step ask(std::string error, Turn& turn) {
    error_ = std::move(error);
    if (request_.acl_user.empty()) return begin(turn);
    state_ = State::awaiting_rights;
    return CallRedis{{ask_rights(request_.acl_user, request_.args)}};
  }

  Step rights_known(const Event& event, Turn& turn) {
    const resp::Reply* const rights = reply_at(event, 0);
    if (rights == nullptr) return finish_error(upstream_unavailable(), true);
    if (const auto denied = denial(*rights)) return finish_error(*denied);
    return begin(turn);
  }

  // What depends on tables is loaded first: a copy may be there that is not good any more.
  Step begin(Turn& turn) {
    if (!error_.empty()) return finish_error(error_);
    return shared_.depends_on.empty() ? run() : load(turn);
  }

  // A copy that may be old is not read.
  Step run() {
    state_ = State::awaiting_script;
    CallRedis call;
    drops_ = request_.distrust && !load_;
    if (drops_) call.commands.push_back({&fuse::inval(), {"2", request_.key, side_}});
    call.commands.push_back({&fuse::expire(),
                             {"2", request_.key, side_, "", wanted_.mode(), wanted_.amount(), wanted_.conditions(),
                              wanted_.reads ? "S" : ""}});
    return call;
  }

  Step answered(const Event& event, Turn& turn) {
    const resp::Reply* const reply = reply_at(event, drops_ ? 1 : 0);
    if (reply == nullptr) return finish_error(upstream_unavailable(), true);
    const resp::Reply& drop = *reply_at(event, 0);
    if (drops_ && drop.is_error()) return finish_error(drop.text);  // what the script found may be old
    if (reply->is_error()) return finish_error(reply->text);
    const std::int64_t changed = item(*reply, 0).integer;
    if (changed >= 0) return finish(changed, item(*reply, 1).text);
    return load_ ? gone_again() : load(turn);
  }

  Step finish(std::int64_t changed, const std::string& value) const {
    if (!wanted_.reads) return finish_integer(changed);
    Finish finish;
    resp::append_bulk(finish.reply, value);
    return finish;
  }

  // GETEX of a hash: a row that is there is of the wrong type, one that is not is nil.
  Step load(Turn& turn) {
    const bool hash = options_.value == conf::ValueMode::hash && !wanted_.reads;
    Request read;
    read.verb = Verb::miss;
    read.command = resp::find_command(hash ? "hgetall" : "get");
    read.args = {std::string(read.command->name), request_.key};
    read.key = request_.key;
    read.version = request_.version;
    read.distrust = request_.distrust && !drops_;
    state_ = State::awaiting_load;
    load_ = make_load(shared_, std::move(read));
    return loading(load_->start(turn));
  }

  Step loading(Step step) {
    auto* const finish = std::get_if<Finish>(&step);
    if (finish == nullptr) return step;
    loaded_ = std::move(*finish);
    const char first = loaded_.reply[0];
    const bool absent =
        loaded_.reply == "$-1\r\n" || loaded_.reply == "*0\r\n" || loaded_.reply == "%0\r\n" || first == '_';
    if (first == '-') return std::move(loaded_);
    if (absent) return wanted_.reads ? std::move(loaded_) : finish_integer(0);
    return run();
  }

  // The key exists in SQL, but its copy could not be kept: it has no expiry that could be changed.
  Step gone_again() {
    if (wanted_.reads) return std::move(loaded_);
    return finish_integer(wanted_.persist ? 0 : 1);
  }

  Shared& shared_;
  const conf::PolicyOptions& options_;
  const Request request_;
  const std::string side_;
  State state_ = State::awaiting_script;
  ExpiryCommand wanted_;
  std::string error_;
  bool drops_ = false;
  std::unique_ptr<Operation> load_;
  Finish loaded_;
};

}  // namespace

std::unique_ptr<Operation> make_expire(Shared& shared, Request request) {
  return std::make_unique<Expire>(shared, std::move(request));
}

}  // namespace sluice::policies

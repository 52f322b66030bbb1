// SplitRead, see split_read.h.
#include "proxy/split_read.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "policies/replies.h"
#include "policies/rights.h"
#include "proxy/router.h"
#include "resp/absence.h"
#include "resp/encode.h"

namespace sluice::proxy {
namespace {

using policies::CallRedis;
using policies::Event;
using policies::Finish;
using policies::Step;
using policies::Turn;
using resp::CommandId;

class RedisRead final : public policies::Operation {
 public:
  RedisRead(std::string acl_user, std::vector<std::string> args, resp::Version version)
      : acl_user_(std::move(acl_user)), args_(std::move(args)), version_(version) {}

  Step start(Turn&) override {
    if (acl_user_.empty()) return read();
    return CallRedis{{policies::ask_rights(acl_user_, args_)}};
  }

  Step resume(Event event, Turn&) override {
    const resp::Reply* const reply = policies::reply_at(event, 0);
    if (reply == nullptr) return policies::finish_error(policies::upstream_unavailable(), true);
    if (reading_) return answer(*reply);
    if (const auto denied = policies::denial(*reply)) return policies::finish_error(*denied);
    return read();
  }

 private:
  Step read() {
    reading_ = true;
    return CallRedis{{{nullptr, args_}}};
  }

  Finish answer(const resp::Reply& reply) const {
    if (reply.is_error()) return policies::finish_error(reply.text);
    if (reply.type == resp::Reply::Type::integer) return policies::finish_integer(reply.integer);
    Finish finish;
    resp::append_array_header(finish.reply, reply.items.size());
    for (const resp::Reply& item : reply.items) {
      if (item.is_nil()) {
        resp::append_nil(finish.reply, version_);
      } else {
        resp::append_bulk(finish.reply, item.text);
      }
    }
    return finish;
  }

  const std::string acl_user_;
  const std::vector<std::string> args_;
  const resp::Version version_;
  bool reading_ = false;
};

bool is_read(policies::Handling handling) {
  return handling == policies::Handling::read || handling == policies::Handling::load;
}

}  // namespace

SplitRead::SplitRead(const Router& router, const resp::CommandInfo& command, const std::vector<std::string>& args,
                     std::string_view reply)
    : counts_(command.id == CommandId::exists) {
  if (!counts_ && !reply.empty()) {
    for (const std::string_view element : resp::elements_of(reply)) elements_.emplace_back(element);
    bytes_ = reply.size();
  }
  const bool found_some = !elements_.empty();
  elements_.resize(args.size() - 1);
  for (std::size_t place = 0; place < elements_.size(); ++place) {
    std::string key = args[place + 1];
    std::uint32_t index = 0;
    const policies::Policy* const owner = router.owner(key, index);
    const bool reads = owner != nullptr && is_read(owner->handling(command));
    const bool found = found_some && !resp::is_nil(elements_[place]);
    if (found && reads) hits_.push_back(index);
    if (found || (found_some && !reads)) continue;
    Part& part = part_of(reads ? std::optional(index) : std::nullopt, command.name);
    part.args.push_back(reads ? key : args[place + 1]);
    part.places.push_back(place);
  }
  left_ = parts_.size();
}

SplitRead::Part& SplitRead::part_of(std::optional<std::uint32_t> policy, std::string_view command) {
  const auto found =
      std::find_if(parts_.begin(), parts_.end(), [&](const Part& part) { return part.policy == policy; });
  if (found != parts_.end()) return *found;
  return parts_.emplace_back(Part{policy, {std::string(command)}, {}});
}

std::optional<Finish> SplitRead::take(std::size_t part, Finish finish) {
  const std::string_view reply = finish.reply;
  if (reply.starts_with('-')) {
    if (failure_.reply.empty()) failure_ = std::move(finish);
  } else if (counts_) {
    std::int64_t count = 0;
    std::from_chars(reply.data() + 1, reply.data() + reply.size(), count);
    count_ += count;
  } else {
    const auto elements = resp::elements_of(reply);
    const auto& places = parts_[part].places;
    for (std::size_t i = 0; i < places.size() && i < elements.size(); ++i) elements_[places[i]] = elements[i];
    bytes_ += reply.size();
  }
  if (--left_ != 0) return {};
  return whole();
}

Finish SplitRead::whole() const {
  if (!failure_.reply.empty()) return failure_;
  if (counts_) return policies::finish_integer(count_);
  Finish finish;
  resp::append_array_header(finish.reply, elements_.size());
  for (const std::string& element : elements_) finish.reply += element;
  return finish;
}

std::unique_ptr<policies::Operation> make_redis_read(std::string acl_user, std::vector<std::string> args,
                                                     resp::Version version) {
  return std::make_unique<RedisRead>(std::move(acl_user), std::move(args), version);
}

}  // namespace sluice::proxy

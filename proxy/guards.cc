// Guards: clearing leases, and keeping FLUSHALL from losing what SQL does not have.
#include "proxy/guards.h"

#include <charconv>
#include <utility>

#include "policies/fuse_scripts.h"
#include "resp/encode.h"

namespace sluice::proxy {
namespace {

using policies::CallRedis;
using policies::Event;
using policies::Finish;
using policies::RedisReplies;
using policies::Step;
using policies::Turn;

class GuardClearing final : public policies::Operation {
 public:
  GuardClearing(std::vector<Guard> guards, std::string reply) : guards_(std::move(guards)), reply_(std::move(reply)) {}

  Step start(Turn&) override {
    CallRedis call;
    for (const Guard& guard : guards_) {
      const std::string side = policies::side_key(guard.key);
      if (guard.drop) {
        call.commands.push_back({&policies::fuse::inval(), {"2", guard.key, side}});
      } else {
        call.commands.push_back({nullptr, {"HDEL", side, "L", "N", "V"}});
      }
    }
    return call;
  }

  // Where Redis was lost the leases may live on, until load_timeout; the write itself has run, so its reply stands.
  Step resume(Event, Turn&) override { return Finish{std::move(reply_)}; }

 private:
  std::vector<Guard> guards_;
  std::string reply_;
};

class FlushGuard final : public policies::Operation {
 public:
  FlushGuard(std::vector<std::string> dirty_sets, std::vector<std::string> args, std::string acl_user)
      : dirty_sets_(std::move(dirty_sets)), args_(std::move(args)), acl_user_(std::move(acl_user)) {}

  Step start(Turn&) override {
    if (acl_user_.empty()) return flush();
    CallRedis call{{{nullptr, {"ACL", "DRYRUN", acl_user_}}}};
    auto& dry_run = call.commands.back().args;
    dry_run.insert(dry_run.end(), args_.begin(), args_.end());
    return call;
  }

  Step resume(Event event, Turn&) override {
    const auto* replies = std::get_if<RedisReplies>(&event);
    if (replies == nullptr && flushing_) return Finish{{}, true};  // it may have run: as Redis would, no reply
    if (replies == nullptr) return refuse("LOADING sluice: upstream unavailable: connection lost");
    const resp::Reply& reply = replies->replies[0];
    if (flushing_) return answer(reply);
    if (reply.is_error()) return refuse(reply.text);
    if (reply.text != "OK") return refuse("NOPERM " + reply.text);
    return flush();
  }

 private:
  static Step refuse(std::string_view error) {
    Finish finish;
    resp::append_error(finish.reply, error);
    return finish;
  }

  // Looks and flushes in one step: an increment may come at any moment.
  Step flush() {
    static const policies::Script script =
        policies::make_script("flush_guard",
                              "if redis.call('EXISTS', unpack(KEYS)) ~= 0 then return 'DIRTY' end return "
                              "redis.pcall(unpack(ARGV))");
    flushing_ = true;
    CallRedis call{{{&script, {std::to_string(dirty_sets_.size())}}}};
    auto& args = call.commands.back().args;
    args.insert(args.end(), dirty_sets_.begin(), dirty_sets_.end());
    args.insert(args.end(), args_.begin(), args_.end());
    return call;
  }

  Step answer(const resp::Reply& reply) {
    if (!reply.is_error() && reply.text == "DIRTY") {
      return refuse("ERR sluice: " + args_[0] +
                    " refused: policies hold changes that SQL does not have yet; run SLUICE SYNC for them first");
    }
    if (reply.is_error()) return refuse(reply.text);
    Finish finish;
    resp::append_status(finish.reply, reply.text);
    return finish;
  }

  std::vector<std::string> dirty_sets_;
  std::vector<std::string> args_;
  std::string acl_user_;
  bool flushing_ = false;
};

// Answers `reply` to a user who may GET `key`.
class RightToRead final : public policies::Operation {
 public:
  RightToRead(std::string acl_user, std::string key, std::string reply)
      : acl_user_(std::move(acl_user)), key_(std::move(key)), reply_(std::move(reply)) {}

  Step start(Turn&) override { return CallRedis{{{nullptr, {"ACL", "DRYRUN", acl_user_, "GET", key_}}}}; }

  Step resume(Event event, Turn&) override {
    const auto* replies = std::get_if<RedisReplies>(&event);
    Finish finish;
    if (replies == nullptr) {
      resp::append_error(finish.reply, "LOADING sluice: upstream unavailable: connection lost");
    } else if (const resp::Reply& verdict = replies->replies[0]; verdict.is_error()) {
      resp::append_error(finish.reply, verdict.text);
    } else if (verdict.text != "OK") {
      resp::append_error(finish.reply, "NOPERM " + verdict.text);
    } else {
      finish.reply = std::move(reply_);
    }
    return finish;
  }

 private:
  std::string acl_user_;
  std::string key_;
  std::string reply_;
};

}  // namespace

std::unique_ptr<policies::Operation> make_right_to_read(std::string acl_user, std::string key, std::string reply) {
  return std::make_unique<RightToRead>(std::move(acl_user), std::move(key), std::move(reply));
}

std::unique_ptr<policies::Operation> make_guard_clearing(std::vector<Guard> guards, std::string reply) {
  return std::make_unique<GuardClearing>(std::move(guards), std::move(reply));
}

std::unique_ptr<policies::Operation> make_flush_guard(std::vector<std::string> dirty_sets,
                                                      std::vector<std::string> args, std::string acl_user) {
  return std::make_unique<FlushGuard>(std::move(dirty_sets), std::move(args), std::move(acl_user));
}

std::string encode_keys(const std::vector<std::string>& keys) {
  std::string text;
  for (const std::string& key : keys) text.append(std::to_string(key.size())).append(":").append(key);
  return text;
}

std::vector<std::string> decode_keys(std::string_view text) {
  std::vector<std::string> keys;
  while (!text.empty()) {
    std::size_t size = 0;
    const auto colon = text.find(':');
    std::from_chars(text.data(), text.data() + colon, size);
    keys.emplace_back(text.substr(colon + 1, size));
    text.remove_prefix(colon + 1 + size);
  }
  return keys;
}

}  // namespace sluice::proxy

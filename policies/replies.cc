// Replies, see replies.h.
#include "policies/replies.h"

#include <utility>

namespace sluice::policies {
namespace {

class Finished : public Operation {
 public:
  explicit Finished(Finish finish) : finish_(std::move(finish)) {}
  Step start(Turn&) override { return std::move(finish_); }
  Step resume(Event, Turn&) override { return Finish{}; }

 private:
  Finish finish_;
};

std::string on_policy(const conf::PolicyOptions& options) { return "policy '" + options.name + "'"; }

}  // namespace

std::string wrong_arity(std::string_view command) {
  return "ERR wrong number of arguments for '" + std::string(command) + "' command";
}

std::string not_fitting(const conf::PolicyOptions& options, std::string_view why) {
  return "ERR sluice: " + on_policy(options) + ": " + std::string(why);
}

std::string not_supported(const conf::PolicyOptions& options, std::string_view what, std::string_view option) {
  std::string text = "ERR sluice: " + std::string(what) + " not supported on " + on_policy(options);
  if (!option.empty()) text += " (see " + std::string(option) + ")";
  return text;
}

std::string upstream_unavailable() { return "LOADING sluice: upstream unavailable: no connection to Redis"; }

std::string sql_failed(const conf::PolicyOptions& options, const sql::Error& error) {
  switch (error.failure) {
    case sql::Failure::none:
    case sql::Failure::unavailable:
      return "TRYAGAIN sluice: " + on_policy(options) + ": " + error.message;
    case sql::Failure::refused:
      return "SQLREJECT " + error.sqlstate + " " + error.message;
    case sql::Failure::unknown:
      return "SQLUNKNOWN sluice: " + on_policy(options) +
             ": whether the write took place is not known: " + error.message;
    case sql::Failure::schema:
      return not_fitting(options, error.message);
  }
  return {};
}

std::string key_without_side(const conf::PolicyOptions& options) {
  return not_fitting(options, "a key with '}' outside a hash tag cannot be guarded");
}

const resp::Reply* reply_at(const Event& event, std::size_t index) {
  const auto* const replies = std::get_if<RedisReplies>(&event);
  return replies == nullptr || index >= replies->replies.size() ? nullptr : &replies->replies[index];
}

const resp::Reply& item(const resp::Reply& reply, std::size_t index) {
  static const resp::Reply nil;
  return index < reply.items.size() ? reply.items[index] : nil;
}

const std::string& verdict_of(const resp::Reply& reply) {
  return reply.type == resp::Reply::Type::array ? item(reply, 0).text : reply.text;
}

Finish finish_error(std::string_view text, bool close) {
  Finish finish{{}, close};
  resp::append_error(finish.reply, text);
  return finish;
}

Finish finish_integer(std::int64_t value) {
  Finish finish;
  resp::append_integer(finish.reply, value);
  return finish;
}

Finish finish_ok() {
  Finish finish;
  resp::append_status(finish.reply, "OK");
  return finish;
}

std::unique_ptr<Operation> make_finished(Finish finish) { return std::make_unique<Finished>(std::move(finish)); }

}  // namespace sluice::policies

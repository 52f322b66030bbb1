// Listing, see listing.h.
#include "policies/listing.h"

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "policies/column_value.h"
#include "policies/inspect.h"
#include "policies/replies.h"

namespace sluice::policies {
namespace {

class Listing : public Operation {
 public:
  Listing(Shared& shared, Request request)
      : shared_(shared), options_(shared.options), request_(std::move(request)), left_(request_.count) {}

  Step start(Turn& turn) override {
    if (!options_.query.empty()) return finish_error(not_supported(options_, "ROWS is", "") + ": it reads by a query");
    if (auto step = shared_.schema.ask(turn)) return *std::move(step);
    return begin();
  }

  Step resume(Event event, Turn& turn) override {
    if (mapping_ != nullptr) return take_page(std::get<SqlDone>(event).result);
    if (const auto error = shared_.schema.take(event, turn)) return sql_error(*error);
    return begin();
  }

 private:
  Step begin() {
    mapping_ = shared_.schema.mapping();
    read_.table = options_.table;
    read_.key_columns = options_.key.placeholders();
    read_.columns = read_.key_columns;
    read_.columns.insert(read_.columns.end(), mapping_->columns().begin(), mapping_->columns().end());
    if (!request_.key.empty()) {
      const auto after = mapping_->key(request_.key);
      if (!after) return finish_error(not_fitting(options_, after.why()));
      for (const sql::Bound& bound : *after) read_.after.push_back(bound.value);
    }
    return next_page();
  }

  Step next_page() {
    read_.limit = left_;
    return CallSql{read_, options_.load_timeout};
  }

  Step take_page(const sql::Result& result) {
    if (!result.ok()) return sql_error(result.error);
    for (const sql::Row& row : result.rows) show(row);
    const bool cut = result.affected != 0;
    const bool is_last = !cut && result.rows.size() < read_.limit;
    if (left_ == 0 || is_last || (cut && !shown_.empty())) return finish();
    const sql::Row& last = result.rows.back();
    read_.after.assign(last.begin(), last.begin() + static_cast<std::ptrdiff_t>(read_.key_columns.size()));
    return next_page();
  }

  void show(const sql::Row& row) {
    const std::size_t key_size = read_.key_columns.size();
    const auto key = mapping_->redis_key_of(std::span(row).first(key_size));
    if (!key) return;
    resp::append_array_header(shown_, 2);
    resp::append_bulk(shown_, *key);
    const sql::Row value(row.begin() + static_cast<std::ptrdiff_t>(key_size), row.end());
    append_copy(shown_, mapping_->copy(value), options_.value, request_.version);
    --left_;
  }

  Step finish() const {
    Finish finish;
    resp::append_array_header(finish.reply, request_.count - left_);
    finish.reply += shown_;
    return finish;
  }

  Step sql_error(const sql::Error& error) {
    if (error.failure == sql::Failure::schema) shared_.schema.forget();
    return finish_error(sql_failed(options_, error));
  }

  Shared& shared_;
  const conf::PolicyOptions& options_;
  const Request request_;
  std::shared_ptr<const Mapping> mapping_;
  sql::ListRows read_;  // of the next page
  std::string shown_;
  std::uint32_t left_;
};

}  // namespace

std::unique_ptr<Operation> make_listing(Shared& shared, Request request) {
  return std::make_unique<Listing>(shared, std::move(request));
}

}  // namespace sluice::policies

// ConnectedCheck, see connected_check.h.
#include "proxy/connected_check.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "backends/registry.h"
#include "backends/sql.h"
#include "conf/reader.h"
#include "policies/proposed_table.h"
#include "policies/table_check.h"
#include "proxy/options.h"
#include "proxy/redis_check.h"

namespace sluice::proxy {
namespace {

using policies::Finding;
using Findings = std::vector<Finding>;

constexpr std::chrono::seconds kPatience{3};  // with one question to a database
constexpr const char* kCounterSource = "sluice_counter_src";

bool is_counter(const conf::PolicyOptions& policy) { return policy.value == conf::ValueMode::counter; }

class Check {
 public:
  Check(const conf::Loaded& loaded, const std::string& file) : loaded_(loaded), file_(file) {}

  Printed run() {
    check_upstream();
    for (std::size_t i = 0; i < config().backends.size(); ++i) check_backend(i);
    std::string out;
    for (const conf::Mistake& mistake : found_.take()) out += conf::to_string(mistake, file_) + "\n";
    for (const std::string& what : reached_) out += file_ + ": reached " + what + "\n";
    if (!wrong_) out += file_ + ": the configuration is good" + (warned_ ? ", but see the warnings" : "") + "\n";
    return {wrong_ ? kExitConfig : kExitClean, std::move(out), {}};
  }

 private:
  const conf::Config& config() const { return loaded_.config; }

  void add(const conf::Place& place, const Finding& finding) {
    (finding.warning ? warned_ : wrong_) = true;
    found_.add(place, (finding.warning ? "warning: " : "") + finding.text);
  }

  void add_all(const conf::Place& place, const Findings& findings) {
    for (const Finding& finding : findings) add(place, finding);
  }

  void check_upstream() {
    const RedisReport report = check_redis(config());
    add_all(loaded_.places.upstream, report.findings);
    if (report.reached.empty()) return;
    const conf::UpstreamOptions& upstream = config().upstream;
    reached_.push_back(report.reached + " at " + conf::to_string(upstream.endpoint) + ", database " +
                       std::to_string(upstream.db));
  }

  void check_backend(std::size_t at) {
    const conf::BackendOptions& options = config().backends[at];
    const conf::Place& place = loaded_.places.backends[at];
    const auto backend = sql::make_backend(options);
    const auto session = backend->session();
    if (const sql::Result result = ask(*session, sql::Ping{}); !result.ok()) {
      return add(place, {false, result.error.message});
    }
    reached_.push_back("the database '" + options.name + "', " + conf::redacted(options.url));
    if (!check_policies(options.name, place, *backend, *session)) return;
    if (writes_to(options.name)) check_durability(place, *session);
  }

  // False: the database has stopped answering.
  bool check_policies(const std::string& name, const conf::Place& place, sql::Backend& backend, sql::Session& session) {
    bool counts = false;
    for (std::size_t i = 0; i < config().policies.size(); ++i) {
      const conf::PolicyOptions& policy = config().policies[i];
      if (policy.backend != name) continue;
      const conf::Place& table = loaded_.places.policies[i];
      sql::Result result = ask(session, question(policy));
      if (is_lost(result, place)) return false;
      if (!policy.query.empty()) {
        add_all(table, result.ok() ? policies::check_query(policy, result.columns) : refusal(result, ""));
        continue;
      }
      add_all(table, result.table ? policies::check_table(policy, *result.table) : refusal(result, ""));
      if (result.table && policy.invalidation == conf::Invalidation::outbox) {
        result = ask(session, sql::CheckOutbox{policies::recorded_rows(policy)});
        if (is_lost(result, place)) return false;
        add_outbox(table, result);
      }
      if (!is_counter(policy) || std::exchange(counts, true)) continue;
      result = ask(session, sql::Describe{kCounterSource});
      if (is_lost(result, place)) return false;
      const std::string ddl = backend.counter_ddl();
      add_all(table, result.table ? policies::check_counter_source(*result.table, ddl)
                                  : refusal(result, "; create it with: " + ddl));
    }
    return true;
  }

  static sql::Op question(const conf::PolicyOptions& policy) {
    if (policy.query.empty()) return sql::Describe{policy.table};
    return sql::DescribeQuery{policy.query};
  }

  static Findings refusal(const sql::Result& result, const std::string& advice) {
    return {{false, result.error.message + advice}};
  }

  void add_outbox(const conf::Place& place, const sql::Result& result) {
    if (!result.ok()) add(place, {false, result.error.message});
    for (const sql::Row& row : result.rows) {
      add(place, {false, "invalidation = \"outbox\": " + std::get<std::string>(row[0])});
    }
  }

  bool is_lost(const sql::Result& result, const conf::Place& place) {
    if (result.error.failure != sql::Failure::unavailable) return false;
    add(place, {false, result.error.message});
    return true;
  }

  bool writes_to(const std::string& backend) const {
    return std::any_of(config().policies.begin(), config().policies.end(), [&](const conf::PolicyOptions& policy) {
      return policy.backend == backend && (is_counter(policy) || policy.write != conf::WriteMode::none);
    });
  }

  void check_durability(const conf::Place& place, sql::Session& session) {
    const sql::Result result = ask(session, sql::CheckDurability{});
    if (!result.ok()) add(place, {true, "its durability is not known: " + result.error.message});
    for (const sql::Row& row : result.rows) {
      const auto* const text = row.empty() ? nullptr : std::get_if<std::string>(row.data());
      if (text != nullptr) add(place, {true, "a crash of the database may lose what was acknowledged: " + *text});
    }
  }

  static sql::Result ask(sql::Session& session, const sql::Op& op) {
    return session.run(op, std::chrono::steady_clock::now() + kPatience);
  }

  const conf::Loaded& loaded_;
  const std::string& file_;
  conf::Mistakes found_;
  std::vector<std::string> reached_;
  bool wrong_ = false, warned_ = false;
};

}  // namespace

Printed print_connected_check(const conf::Loaded& loaded, const std::string& file) { return Check(loaded, file).run(); }

}  // namespace sluice::proxy

// Durability, see mysql_durability.h.
#include "backends/mysql_durability.h"

#include <map>
#include <string>

#include "backends/mysql_query.h"

namespace sluice::sql {

Result mysql_check_durability(MysqlConnection& connection) {
  MysqlQuery query(connection,
                   "SHOW GLOBAL VARIABLES WHERE variable_name IN "
                   "('innodb_flush_log_at_trx_commit', 'innodb_doublewrite', 'sync_binlog', 'log_bin')",
                   MysqlQuery::Lock::none);
  std::map<std::string, std::string> settings;
  while (query.next()) settings[query.text(0)] = query.text(1);
  Result result;
  result.error = query.error();
  const auto warn = [&](const std::string& name, const char* what) {
    result.rows.push_back({Value(name + " = " + settings[name] + ": " + what)});
  };
  if (settings["innodb_flush_log_at_trx_commit"] != "1") {
    warn("innodb_flush_log_at_trx_commit", "a commit is acknowledged before it is on the disk");
  }
  const std::string& doublewrite = settings["innodb_doublewrite"];
  if (doublewrite == "OFF" || doublewrite == "0") warn("innodb_doublewrite", "a page may be torn by a crash");
  if (settings["log_bin"] == "ON" && settings["sync_binlog"] != "1") {
    warn("sync_binlog", "a commit is acknowledged before it is in the binary log on the disk");
  }
  if (!result.ok()) result.rows.clear();
  return result;
}

}  // namespace sluice::sql

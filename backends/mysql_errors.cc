// The classes of errors, see mysql_errors.h.
#include "backends/mysql_errors.h"

namespace sluice::sql {

Failure mysql_failure(unsigned code, std::string_view sqlstate) {
  switch (code) {
    case 1021:  // the disk is full
    case 1037:  // out of memory
    case 1038:
    case 1040:  // too many connections
    case 1041:
    case 1047:  // the node of a cluster is not ready
    case 1053:  // shutting down
    case 1114:  // the table is full
    case 1129:  // host blocked
    case 1203:  // too many connections of this user
    case 1205:  // waited too long for a lock
    case 1206:
    case 1213:  // deadlock
    case 1226:  // a limit of this user
    case 1290:  // read-only, as after a failover
    case 1317:  // KILL QUERY
    case 1461:  // too many prepared statements
    case 1792:  // read-only transaction
    case 1836:  // read-only
    case 1927:  // killed
    case 1969:  // took too long
    case 3024:
    case 3572:  // NOWAIT
      return Failure::unavailable;
    case 1048:  // NULL
    case 1062:  // unique key
    case 1118:  // a row that is too large
    case 1153:  // larger than max_allowed_packet
    case 1169:
    case 1216:  // foreign keys
    case 1217:
    case 1264:  // out of range
    case 1265:  // truncated
    case 1292:  // wrong value
    case 1300:  // invalid characters
    case 1301:  // a result larger than max_allowed_packet
    case 1364:  // no default
    case 1366:  // wrong value
    case 1367:
    case 1406:  // too long
    case 1411:
    case 1441:
    case 1451:  // foreign keys
    case 1452:
    case 1525:
    case 1526:  // no partition
    case 1557:
    case 1586:  // unique key
    case 1644:  // SIGNAL
    case 1690:  // out of range
    case 1713:  // a row that is too large
    case 1748:  // no partition
    case 1761:
    case 1762:
    case 3140:  // JSON
    case 3819:  // CHECK, MySQL
    case 4025:  // CHECK, MariaDB
      return Failure::refused;
    case 1044:  // no permission
    case 1045:
    case 1049:  // no such database
    case 1054:  // no such column
    case 1130:
    case 1142:
    case 1143:
    case 1146:  // no such table
    case 1227:
    case 1251:
    case 1288:  // a view that cannot be written to
    case 1305:
    case 1348:
    case 1356:
    case 1370:
    case 1393:
    case 1394:
    case 1395:
    case 1422:  // a trigger that does what none may
    case 1442:
    case 1423:  // a view that takes no rows
    case 1471:
    case 1665:  // the binary log is by statement
    case 1698:
    case 1820:  // the password has expired
    case 1862:
      return Failure::schema;
    default:
      break;
  }
  const std::string_view kind = sqlstate.substr(0, 2);
  if (kind == "22" || kind == "23" || kind == "44" || kind == "45") return Failure::refused;
  if (kind == "42" || kind == "28" || kind == "21" || kind == "07") return Failure::schema;
  return Failure::unavailable;
}

std::string_view mysql_sqlstate_of(unsigned code, std::string_view sqlstate) {
  if (sqlstate != "HY000" || mysql_failure(code, sqlstate) != Failure::refused) return sqlstate;
  const bool is_constraint = code == 1364 || code == 1526 || code == 3819 || code == 4025;
  return is_constraint ? "23000" : "22000";
}

bool mysql_is_lost(unsigned code) {
  switch (code) {
    case 1053:  // shutting down
    case 1079:
    case 1152:  // aborted
    case 1153:  // a packet that was too large
    case 1158:  // reading and writing packets
    case 1159:
    case 1160:
    case 1161:
    case 1184:
    case 1927:  // killed
    case 3169:
    case 4031:  // idle for too long
      return true;
    default:
      return code >= 2000 && code < 2100 && code != 2034 && code != 2036;  // the driver's own
  }
}

bool mysql_is_wait(unsigned code) {
  return code == kMysqlLockWaitTimeout || code == kMysqlTimeLimit || code == kMysqlTimeLimitOfMysql ||
         code == kMysqlInterrupted;
}

bool mysql_proves_rollback(unsigned code) { return code == kMysqlDeadlock || code == 1290 || code == 1836; }

std::string mysql_message(unsigned code, std::string_view text) {
  std::string out(text);
  switch (code) {
    case 1062:
    case 1292:
    case 1300:
    case 1366:
    case 1367:
    case 1411:
    case 1525:
    case 1586:
    case 1690:
    case 3140: {
      const std::size_t begin = out.find('\'');
      std::size_t end = out.rfind("' for ");
      if (end == std::string::npos || end < begin) end = out.rfind('\'');
      if (begin != std::string::npos && end > begin) out.replace(begin, end + 1 - begin, "(...)");
      return out;
    }
    default:
      return out;
  }
}

}  // namespace sluice::sql

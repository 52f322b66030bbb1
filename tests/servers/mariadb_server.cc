// MariadbServer: the first database and its settings; the client.
#include "tests/servers/mariadb_server.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <mysql.h>
#include <stdexcept>
#include <utility>

namespace sluice::servers {

namespace {

std::string program() {
  const std::string debian = "/usr/sbin/mariadbd";  // not in everybody's PATH
  return std::filesystem::exists(debian) ? debian : "mariadbd";
}

// As the program mysql does it, which is what DELIMITER is for: the server itself knows where a body ends.
std::string without_delimiters(std::string sql) {
  const std::string begin = "DELIMITER //\n", end = "DELIMITER ;\n", mark = "//\n";
  for (std::size_t at = 0; (at = sql.find(begin, at)) != std::string::npos;) {
    sql.erase(at, begin.size());
    std::size_t last = sql.find(end, at);
    if (last == std::string::npos) last = sql.size();
    sql.erase(last, end.size());
    while ((at = sql.find(mark, at)) < last) {
      sql.replace(at, mark.size(), ";\n");
      --last;
    }
    at = last;
  }
  return sql;
}

class MariadbClient final : public SqlClient {
 public:
  MariadbClient(int port, const std::string& database) : connection_(mysql_init(nullptr), mysql_close) {
    const char* const name = database.empty() ? nullptr : database.c_str();
    mysql_options(connection_.get(), MYSQL_SET_CHARSET_NAME, "utf8mb4");
    if (mysql_real_connect(connection_.get(), "127.0.0.1", kUser, kPassword, name, static_cast<unsigned>(port), nullptr,
                           CLIENT_MULTI_STATEMENTS) == nullptr) {
      throw std::runtime_error(mysql_error(connection_.get()));
    }
  }

  std::string query(const std::string& text) override {
    const std::string sql = without_delimiters(text);
    if (mysql_real_query(connection_.get(), sql.data(), sql.size()) != 0) fail(sql);
    std::string out;
    for (;;) {
      const std::unique_ptr<MYSQL_RES, void (*)(MYSQL_RES*)> result(mysql_store_result(connection_.get()),
                                                                    mysql_free_result);
      if (result == nullptr && mysql_errno(connection_.get()) != 0) fail(sql);
      out = result == nullptr ? "" : rows_of(result.get());
      const int more = mysql_next_result(connection_.get());
      if (more > 0) fail(sql);
      if (more < 0) return out;
    }
  }

 private:
  static std::string rows_of(MYSQL_RES* result) {
    std::string out;
    bool first = true;
    while (MYSQL_ROW row = mysql_fetch_row(result)) {
      const unsigned long* const lengths = mysql_fetch_lengths(result);
      out += std::exchange(first, false) ? "" : ";";
      for (unsigned column = 0; column < mysql_num_fields(result); ++column) {
        out += column == 0 ? "" : "|";
        out += row[column] == nullptr ? std::string("NULL") : std::string(row[column], lengths[column]);
      }
    }
    return out;
  }

  [[noreturn]] void fail(const std::string& sql) const {
    throw std::runtime_error(sql + ": " + mysql_error(connection_.get()));
  }

  std::unique_ptr<MYSQL, void (*)(MYSQL*)> connection_;
};

}  // namespace

MariadbServer::MariadbServer(ServerOptions options)
    : ServerProcess("mariadb", "mysql", SIGTERM, SIGKILL), options_(std::move(options)) {
  make_folder();
  // Temporary tables too: in /tmp, where several servers would put theirs, the number of a process is all their name
  // has.
  run_to_end({"mariadb-install-db", "--no-defaults", "--datadir=" + data(), "--tmpdir=" + file(""),
              "--auth-root-authentication-method=normal", "--skip-test-db"});
  const std::string user = std::string(kUser) + "@'127.0.0.1'";
  // One statement per line.
  std::ofstream(file("first.sql")) << "CREATE USER IF NOT EXISTS " << user << " IDENTIFIED BY '" << kPassword
                                   << "';\nGRANT ALL ON *.* TO " << user << " WITH GRANT OPTION;\n";
  start();
}

std::vector<std::string> MariadbServer::command() const {
  std::vector<std::string> line{program(),
                                "--no-defaults",
                                "--datadir=" + data(),
                                "--tmpdir=" + file(""),
                                "--port=" + std::to_string(port()),
                                "--bind-address=127.0.0.1",
                                "--socket=" + socket_folder() + "/mariadb.sock",
                                "--pid-file=" + file("pid"),
                                "--init-file=" + file("first.sql"),
                                std::string("--innodb-flush-log-at-trx-commit=") + (options_.durable ? "1" : "0"),
                                "--innodb-buffer-pool-size=64M",
                                "--skip-log-bin",
                                "--skip-name-resolve",
                                "--max-connections=200",
                                "--plugin-maturity=unknown"};
  line.insert(line.end(), options_.arguments.begin(), options_.arguments.end());
  return line;
}

bool MariadbServer::answers() const {
  try {
    connect_mariadb(port(), "");
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

std::unique_ptr<SqlClient> connect_mariadb(int port, const std::string& database) {
  return std::make_unique<MariadbClient>(port, database);
}

}  // namespace sluice::servers

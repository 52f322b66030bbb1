// Environment: starting the parts, and starting them again.
#include "tests/history/environment.h"

#include <csignal>
#include <stdexcept>

namespace sluice::history {
namespace {

std::string line(const char* option, const std::string& value) {
  return std::string(option) + " = \"" + value + "\"\n";
}
std::string line(const char* option, milliseconds value) { return line(option, std::to_string(value.count()) + "ms"); }

std::string source(const Shape& shape) {
  switch (shape.family) {
    case Family::written:
      return line("table", shape.name) + line("write", "write-through") +
             line("on_write", shape.invalidate ? "invalidate" : "update") + line("fuse", kFuse) +
             line("write_timeout", kWriteTimeout);
    case Family::direct:
      return line("table", shape.name) + line("read", "cache-aside");
    case Family::recorded:
      return line("table", shape.name) + line("read", "cache-aside") + line("invalidation", "outbox");
    case Family::joined:
      break;
  }
  const std::string crew = kCrew.name, ship = kShip;
  return line("query", "SELECT s.id, w.a, w.b, s.c FROM " + ship + " s LEFT JOIN " + crew +
                           " w ON w.id = s.id WHERE s.id = :id") +
         "tables = [\"" + crew + "\", \"" + ship + "\"]\n" + line("read", "cache-aside");
}

std::string policy(const Shape& shape) {
  return "\n[[policy]]\n" + line("name", shape.name) + line("key", std::string(shape.name) + ":{id:int}") +
         line("backend", "shop") + line("value", shape.hash ? "hash" : "json") + source(shape) + line("ttl", "60s") +
         line("negative_ttl", "5s") + line("load_timeout", kLease);
}

}  // namespace

Environment::Environment(Engine engine, int proxies, bool outbox)
    : redis_pid_(redis_.process().pid()), tables_(make_tables(engine)), session_(tables_->connect()) {
  for (const Shape& shape : kShapes) {
    if ((shape.family == Family::recorded) == outbox) shapes_.push_back(shape);
  }
  if (!outbox) shapes_.push_back(kCrew);
  for (const Shape& shape : shapes_) {
    if (shape.family != Family::joined) create(shape.name);
    if (shape.family == Family::recorded) record(shape);
  }
  if (!outbox) create(kShip);
  for (int i = 0; i < proxies; ++i) {
    auto proxy = std::make_unique<Proxy>();
    proxy->redis_link = std::make_unique<FaultLink>(live::free_port(), redis_.tcp().port, FaultLink::Framing::redis);
    if (has_sql_links()) {
      proxy->sql_link =
          std::make_unique<FaultLink>(live::free_port(), tables_->server_port(), FaultLink::Framing::bytes);
    }
    proxy->sluice = std::make_unique<live::Sluice>(options(*proxy));
    proxy->pid = proxy->sluice->process().pid();
    proxies_.push_back(std::move(proxy));
  }
  await_health();
}

void Environment::create(const std::string& table) {
  session_->query("CREATE TABLE " + table +
                  " (id INTEGER PRIMARY KEY, a VARCHAR(40), b VARCHAR(40), c VARCHAR(40), n INTEGER CHECK (n < 1000))");
}

// The program prints the table of the policy, which is there, and then what the outbox is made of.
void Environment::record(const Shape& shape) {
  const live::TempDir dir;
  const std::string file = dir.file("sluice.toml");
  live::write_file(
      file, "upstream.url = \"" + redis_.url() + "\"\nbackend.shop.url = \"" + tables_->url() + "\"\n" + policy(shape));
  const live::Output printed = live::run({SLUICE_BINARY, "--print-schema", shape.name, "-c", file});
  const std::size_t outbox = printed.text.find("CREATE TABLE IF NOT EXISTS sluice_outbox");
  if (printed.status != 0 || outbox == std::string::npos) throw std::runtime_error(printed.text);
  session_->exec(printed.text.substr(outbox));
}

live::SluiceOptions Environment::options(const Proxy& proxy) const {
  live::SluiceOptions options;
  options.wait_ready = false;  // its links may be broken for as long as it starts
  options.upstream = "redis://127.0.0.1:" + std::to_string(proxy.redis_link->port());
  const std::string url = proxy.sql_link ? tables_->url_through(proxy.sql_link->port()) : tables_->url();
  options.policies = "[backend.shop]\nurl = \"" + url + "\"\n";
  for (const Shape& shape : shapes_) options.policies += policy(shape);
  return options;
}

void Environment::signal(int index, int number) {
  Proxy& target = proxy(index);
  const pid_t pid = number == SIGKILL ? target.pid.exchange(-1) : target.pid.load();
  if (pid > 0) ::kill(pid, number);
}

void Environment::kill_redis() {
  const pid_t pid = redis_pid_.exchange(-1);
  if (pid > 0) ::kill(pid, SIGKILL);
}

void Environment::bring_back(int index) {
  Proxy& dead = proxy(index);
  dead.sluice->kill();
  dead.sluice->start();
  dead.pid = dead.sluice->process().pid();
}

void Environment::bring_back_redis(bool empty) {
  redis_.kill();
  if (empty) redis_.forget();
  redis_.start();
  redis_pid_ = redis_.process().pid();
}

void Environment::await_health() {
  for (const auto& proxy : proxies_) {
    const auto works = [&] {
      const bool cutting = proxy->redis_link->cutting() || (proxy->sql_link && proxy->sql_link->cutting());
      return !cutting &&
             live::Client(proxy->sluice->tcp()).run({"GET", std::string(shapes_[0].name) + ":0"}) == "(nil)";
    };
    if (!live::eventually(works)) throw std::runtime_error("a proxy does not recover: " + proxy->sluice->log());
  }
}

}  // namespace sluice::history

// write_load: clients that each write one row after the other, to SQL and then to Redis or through sluice, and their
// latencies; driven by write_through.py.
#include <memory>
#include <random>
#include <string>

#include <CLI/CLI.hpp>

#include "load.h"
#include "load_tables.h"

namespace sluice::bench {
namespace {

struct Options : LoadOptions {
  DatabaseOptions database;  // without one only SET, which is what a client of sluice does
  int redis_port = 0;
  int rows = 100000;
};

class Writer final : public LoadClient {
 public:
  explicit Writer(const Options& options)
      : table_(open_table(options.database)),
        cache_(options.redis_port),
        random_(std::random_device{}()),
        ids_(1, options.rows) {}

  void step(Signals&) override {
    const User user = next();
    if (table_ != nullptr) table_->write(user);
    cache_.set("user:" + std::to_string(user.id), json(user));
  }

 private:
  User next() {
    const int id = ids_(random_);
    const std::string change = std::to_string(random_());  // no two values alike
    return {id, 18 + id % 60, "Name " + std::to_string(id) + " " + change, "occupation number " + change};
  }

  std::unique_ptr<Table> table_;
  Cache cache_;
  std::minstd_rand random_;
  std::uniform_int_distribution<int> ids_;
};

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  using namespace sluice::bench;
  Options options;
  CLI::App app("Writes users from many clients at a time", "write_load");
  options.add_to(app);
  options.database.add_to(app);
  app.add_option("--redis-port", options.redis_port, "of Redis, or of sluice")->required();
  app.add_option("--rows", options.rows)->check(CLI::PositiveNumber);
  return run_program(app, argc, argv, [&] { Load(options, [&] { return std::make_unique<Writer>(options); }).run(); });
}

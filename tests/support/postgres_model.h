// Runs scripts of devices and plain SQL (postgres_script.h) on real SQLite files and a real PostgreSQL with two server
// nodes, and holds what comes of them to the oracle (postgres_oracle.h): in the end every device and PostgreSQL agree,
// row by row, with each other and with what the script's own history says.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "tests/support/postgres_loopback.h"
#include "tests/support/postgres_script.h"

namespace rejoin::testing {

// One database with the tables of all scripts, which follow each other there.
class PostgresModel {
 public:
  PostgresModel();
  ~PostgresModel();
  // What went wrong, with what happened until then; empty when all went well.
  std::string run(const ModelScript& script);
  // Runs `count` seeds from `first` on (REJOIN_POSTGRES_SEED: that one alone). The first failure is made small, printed
  // and reported to GoogleTest; with REJOIN_POSTGRES_KEEP_GOING=1 all are listed instead.
  void run_seeds(uint64_t first, uint64_t count);
  // Does one of the first `count` seeds fail?
  bool notices(uint64_t count);
  SqlClient& sql() { return world_.sql; }

 private:
  ModelScript shrink(ModelScript script);
  void clean();
  PostgresWorld world_;
  SqlClient watcher_;
  std::vector<std::unique_ptr<SqlClient>> sessions_;
  uint64_t waits_ = 0;
  uint64_t compacted_ = 0;
  uint64_t pushed_together_ = 0;
};

}  // namespace rejoin::testing

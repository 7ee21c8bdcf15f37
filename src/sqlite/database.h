// A SQLite file opened as a replica, for programs (server, command line, tests). The extension borrows the host's
// connection instead.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "sqlite/lock_wait.h"
#include "sqlite/replica.h"

struct sqlite3;

namespace rejoin::sqlite {

struct DatabaseOptions {
  bool create = true;
  bool read_only = false;
  bool wal = true;         // journal_mode=WAL (kept as it is for read_only)
  bool full_sync = false;  // synchronous=FULL: a commit survives loss of power; otherwise NORMAL
  int busy_timeout_ms = 5'000;
  std::function<bool(int waited_ms)> while_locked = {};  // in place of busy_timeout_ms: see LockWait
};

// Owns the connection; one thread at a time.
class Database {
 public:
  // Errors: not_found (no such file and not `create`, no such folder), read_only (permissions), busy, disk, corrupt
  // (not a database, or damaged), bad_argument; each with the cure.
  static Result<std::unique_ptr<Database>> open(const std::string& path, const DatabaseOptions& options = {},
                                                Clock& clock = system_clock(), Random& random = system_random());
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Replica& replica() { return *replica_; }
  sqlite3* handle() { return db_; }
  const std::string& path() const { return path_; }

  // Runs SQL statements, without results. For set-up and tests.
  Status execute(const std::string& sql);
  // A number that changes when another connection, of any process, has committed. Takes a microsecond or two.
  Result<int64_t> data_version();
  // Statements that still run after this moment end with `interrupted`; the default takes the limit away.
  void set_deadline(std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max());

 private:
  Database(std::string path, sqlite3* db) : path_(std::move(path)), db_(db) {}
  std::string path_;
  sqlite3* db_;
  std::unique_ptr<LockWait> lock_wait_;
  std::unique_ptr<Replica> replica_;
  std::chrono::steady_clock::time_point deadline_ = std::chrono::steady_clock::time_point::max();
};

}  // namespace rejoin::sqlite

// One simulated device: a SQLite database with up to three connections, its own clock, and Rejoin on two of the
// connections.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "sim/tables.h"
#include "sqlite/replica.h"

namespace rejoin::sim {

class Database {
 public:
  // `path`: a file, or empty for memory. `slot` 0..16: no two open databases may share one.
  Database(int slot, std::string path, uint64_t seed);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  FakeClock& clock() { return clock_; }
  // For every connection that is opened from now on.
  void set_pragmas(std::vector<std::string> pragmas) { pragmas_ = std::move(pragmas); }
  // The connection, opened when first asked for. Connection 2 never sees Rejoin.
  sqlite3* connection(int i);
  bool is_open(int i) const { return connections_[static_cast<size_t>(i)] != nullptr; }
  // Rejoin on connection 0 or 1.
  sqlite::Replica& replica(int i = 0);
  // Closes the connection; what it had not committed is lost. SQLite's code.
  int close(int i);
  // Begins with the content of `other` as its file stands now. Both closed or without an open transaction.
  void copy_from(Database& other);
  // The same of a database in memory that has a site id and nothing written under it: this one gets another id.
  void begin_as(Database& other);
  // Grows with every row that any connection writes, Rejoin's own ones too.
  int64_t changes() const;

  // Runs one statement with bound values; SQLite's result code (extended), SQLITE_OK or SQLITE_DONE when it worked.
  int run(int i, const std::string& sql, const std::vector<Value>& values = {});
  std::string last_error(int i);
  // Every row of a query. False on an error.
  bool query(int i, const std::string& sql, std::vector<std::vector<Value>>& rows);
  // The rows of a table: key columns, the other columns.
  bool rows(int i, const TableSpec& table, std::map<Key, std::vector<Value>>& rows);

 private:
  struct Connection;
  int slot_;
  std::string path_;  // of the file; empty: memory
  std::string name_;  // what SQLite opens
  std::vector<std::string> pragmas_;
  FakeClock clock_;
  SeededRandom random_;
  std::array<std::unique_ptr<Connection>, 3> connections_;
  int64_t changes_of_closed_ = 0;
};

}  // namespace rejoin::sim

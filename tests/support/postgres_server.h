// A PostgreSQL of the test's own: in a temporary folder, on a Unix socket, stopped when the process ends.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "postgres/connection.h"

namespace rejoin::testing {

class PostgresServer {
 public:
  // The process's server, started on first use. initdb refuses root: then it runs as the user postgres or nobody.
  static PostgresServer& shared();
  ~PostgresServer();
  // A new database; its URL.
  std::string fresh_database();
  const std::string& folder() const { return folder_; }

 private:
  PostgresServer();
  std::string url(const std::string& database) const;
  std::string folder_;
  int pid_ = 0;
  int databases_ = 0;
};

// One client for SQL as text, as an application would use it: plain SQL, no Rejoin.
class SqlClient {
 public:
  explicit SqlClient(const std::string& url);
  // Fails the test when it fails.
  void run(const std::string& sql);
  // SQLSTATE; "" when it worked.
  std::string attempt(const std::string& sql);
  // Every row on a line, values as text joined by '|', NULL as "null".
  std::string rows(const std::string& sql);
  int64_t number(const std::string& sql);
  postgres::Connection& connection() { return *db_; }

 private:
  std::unique_ptr<postgres::Connection> db_;
};

}  // namespace rejoin::testing

// The little of SQLite that the benchmarks need: a connection with the settings that both sides share, a statement, a
// file's size. A benchmark that cannot do its work stops the program: a number from half a run is worse than none.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace rejoin::bench {

namespace fs = std::filesystem;

[[noreturn]] inline void die(const std::string& message) {
  std::fprintf(stderr, "bench: %s\n", message.c_str());
  std::exit(1);
}

// The value of a result, or the end of the program.
template <class T>
T must(Result<T> result, const char* what) {
  if (!result.ok()) die(std::string(what) + ": " + result.error().message);
  return std::move(*result);
}
inline void must(Status status, const char* what) {
  if (!status.ok()) die(std::string(what) + ": " + status.error().message);
}

// What every measured connection is set to, plain or tracked. Everything else is SQLite's default.
inline constexpr const char* kPragmas = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;";

class Database {
 public:
  explicit Database(const fs::path& path) {
    if (sqlite3_open(path.c_str(), &db_) != SQLITE_OK) die("cannot open " + path.string() + ": " + sqlite3_errmsg(db_));
    exec(kPragmas);
  }
  ~Database() {
    if (sqlite3_close(db_) != SQLITE_OK) die(std::string("close: ") + sqlite3_errmsg(db_));
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  sqlite3* handle() const { return db_; }
  void exec(const std::string& sql) {
    char* error = nullptr;
    if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, &error) != SQLITE_OK) die(sql + ": " + (error ? error : "?"));
  }
  // The first column of the first row.
  std::string text(const std::string& sql) {
    sqlite3_stmt* stmt = nullptr;
    if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &stmt, nullptr) != SQLITE_OK) die(sql + ": " + sqlite3_errmsg(db_));
    if (sqlite3_step(stmt) != SQLITE_ROW) die(sql + ": no row");
    const unsigned char* value = sqlite3_column_text(stmt, 0);
    std::string out = value ? reinterpret_cast<const char*>(value) : "";
    sqlite3_finalize(stmt);
    return out;
  }
  int64_t integer(const std::string& sql) { return std::strtoll(text(sql).c_str(), nullptr, 10); }
  // Moves the whole log into the file, so that the next section starts with an empty one.
  void checkpoint() { exec("PRAGMA wal_checkpoint(TRUNCATE)"); }

 private:
  sqlite3* db_ = nullptr;
};

class Statement {
 public:
  Statement(Database& db, const std::string& sql) : db_(db.handle()) {
    if (sqlite3_prepare_v3(db_, sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &stmt_, nullptr) != SQLITE_OK)
      die(sql + ": " + sqlite3_errmsg(db_));
  }
  ~Statement() { sqlite3_finalize(stmt_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  void bind(int index, std::string_view text) {
    sqlite3_bind_text(stmt_, index, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
  }
  void bind(int index, int64_t value) { sqlite3_bind_int64(stmt_, index, value); }
  void bind(int index, double value) { sqlite3_bind_double(stmt_, index, value); }
  // Runs a statement that gives no rows.
  void run() {
    if (sqlite3_step(stmt_) != SQLITE_DONE) die(std::string(sqlite3_sql(stmt_)) + ": " + sqlite3_errmsg(db_));
    sqlite3_reset(stmt_);
  }
  // Steps; false at the end (and the statement is ready to run again).
  bool next() {
    int rc = sqlite3_step(stmt_);
    if (rc == SQLITE_ROW) return true;
    if (rc != SQLITE_DONE) die(std::string(sqlite3_sql(stmt_)) + ": " + sqlite3_errmsg(db_));
    sqlite3_reset(stmt_);
    return false;
  }
  sqlite3_stmt* handle() const { return stmt_; }

 private:
  sqlite3* db_;
  sqlite3_stmt* stmt_ = nullptr;
};

}  // namespace rejoin::bench

// SQLite's C API with errors as values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "crdt/value.h"
#include "sqlite/api.h"

namespace rejoin::sqlite {

// The connection's last error as ours: a code by class (busy, disk, read_only, corrupt, internal) and SQLite's words.
// `doing` says what failed, for a person.
Error sql_error(sqlite3* db, std::string_view doing);

// A prepared statement. Binding errors stick and come out of step(). Reset by its destructor's owner or by Use below.
class Statement {
 public:
  Statement() = default;
  explicit Statement(sqlite3_stmt* stmt) : stmt_(stmt) {}
  ~Statement() { finalize(); }
  Statement(Statement&& o) noexcept : stmt_(std::exchange(o.stmt_, nullptr)) {}
  Statement& operator=(Statement&& o) noexcept {
    if (this != &o) finalize(), stmt_ = std::exchange(o.stmt_, nullptr);
    return *this;
  }
  explicit operator bool() const { return stmt_ != nullptr; }
  sqlite3_stmt* get() const { return stmt_; }
  void finalize() {
    if (stmt_) sqlite3_finalize(std::exchange(stmt_, nullptr));
  }
  void reset() { sqlite3_reset(stmt_); }

  void bind(int i, int64_t v) { sqlite3_bind_int64(stmt_, i, v); }
  void bind_null(int i) { sqlite3_bind_null(stmt_, i); }
  // Text and blobs are not copied: they must live until the statement is reset or bound again.
  void bind_text(int i, std::string_view v) {
    sqlite3_bind_text64(stmt_, i, v.data() ? v.data() : "", v.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  void bind_blob(int i, std::string_view v) {
    sqlite3_bind_blob64(stmt_, i, v.data() ? v.data() : "", v.size(), SQLITE_STATIC);
  }
  void bind(int i, const crdt::ValueRef& v);

  // true: a row; false: done.
  Result<bool> step(std::string_view doing = "running a statement") {
    int rc = sqlite3_step(stmt_);
    if (rc == SQLITE_ROW) return true;
    if (rc == SQLITE_DONE) return false;
    return sql_error(sqlite3_db_handle(stmt_), doing);
  }
  // Steps to the end and resets.
  Status run(std::string_view doing = "running a statement") {
    int rc = sqlite3_step(stmt_);
    while (rc == SQLITE_ROW) rc = sqlite3_step(stmt_);
    if (rc == SQLITE_DONE) return sqlite3_reset(stmt_), Status();
    Error e = sql_error(sqlite3_db_handle(stmt_), doing);
    sqlite3_reset(stmt_);
    return e;
  }
  int64_t integer(int i) const { return sqlite3_column_int64(stmt_, i); }
  bool is_null(int i) const { return sqlite3_column_type(stmt_, i) == SQLITE_NULL; }
  // Views until the next step, reset or type conversion. Read through one sqlite3_column_value() each: every
  // sqlite3_column_* call takes the connection's mutex, sqlite3_value_* calls take none, and a connection is used by
  // one thread at a time here.
  std::string_view text(int i) const {
    sqlite3_value* v = sqlite3_column_value(stmt_, i);
    auto p = reinterpret_cast<const char*>(sqlite3_value_text(v));
    return p ? std::string_view(p, static_cast<size_t>(sqlite3_value_bytes(v))) : std::string_view();
  }
  std::string_view blob(int i) const {
    sqlite3_value* v = sqlite3_column_value(stmt_, i);
    auto p = static_cast<const char*>(sqlite3_value_blob(v));
    return p ? std::string_view(p, static_cast<size_t>(sqlite3_value_bytes(v))) : std::string_view();
  }
  crdt::ValueRef value(int i) const;

 private:
  sqlite3_stmt* stmt_ = nullptr;
};

// A value of a SQL function's argument or of a column, as a view.
crdt::ValueRef value_of(sqlite3_value* v);

// Resets a cached statement when the scope ends, however it ends.
class Use {
 public:
  explicit Use(Statement& s) : s_(s) {}
  ~Use() {
    if (s_) s_.reset();
  }
  Statement* operator->() { return &s_; }

 private:
  Statement& s_;
};

Result<Statement> prepare(sqlite3* db, std::string_view sql, bool keep = false);
Status exec(sqlite3* db, const std::string& sql);
// First column of the first row; nothing when there is no row.
Result<std::optional<int64_t>> query_int(sqlite3* db, std::string_view sql);

// "name", inner quotes doubled; 'text', likewise.
std::string quote(std::string_view name);
std::string quote_text(std::string_view text);

// Ends the transaction that is open, whoever began it, and takes back all of it. Also after sqlite3_interrupt().
void roll_back(sqlite3* db);

// A transaction of our own: BEGIN IMMEDIATE (or a plain read), or a savepoint when the caller already has one. Rolled
// back unless committed. After sqlite3_interrupt() that takes the caller's transaction along, as SQLite does with a
// write that it interrupts; only one in which we have just read goes on.
class Transaction {
 public:
  enum class Kind { write, read };
  static Result<Transaction> begin(sqlite3* db, Kind kind);
  Transaction(Transaction&& o) noexcept
      : db_(std::exchange(o.db_, nullptr)),
        savepoint_(o.savepoint_),
        kind_(o.kind_),
        undo_(std::move(o.undo_)),
        release_(std::move(o.release_)),
        last_resort_(std::move(o.last_resort_)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction() { rollback(); }
  // From now on it can be rolled back even where SQLite has no memory left to run a statement: then as a whole, also
  // one that the caller had begun. Until it ends no table and no index can be dropped.
  Status guard();
  Status commit();
  void rollback();
  bool is_savepoint() const { return savepoint_; }

 private:
  Transaction(bool savepoint, Kind kind) : db_(nullptr), savepoint_(savepoint), kind_(kind) {}
  sqlite3* db_;  // null: not begun, or over
  bool savepoint_;
  Kind kind_;
  Statement undo_, release_;
  Statement last_resort_;  // a read that is under way
};

}  // namespace rejoin::sqlite

#include "sqlite/sql.h"

namespace rejoin::sqlite {

Error sql_error(sqlite3* db, std::string_view doing) {
  int rc = sqlite3_extended_errcode(db);
  std::string message = std::string(doing) + ": " + sqlite3_errmsg(db);
  switch (rc & 0xff) {
    case SQLITE_LOCKED:
      if (rc != SQLITE_LOCKED_SHAREDCACHE)
        return fail(Code::busy, message +
                                    "; a statement of this connection is still reading, which may be the one that "
                                    "calls: end it, and call outside of a query that reads tables");
      [[fallthrough]];
    case SQLITE_BUSY:
      return fail(Code::busy,
                  message + "; another connection is writing, try again (PRAGMA busy_timeout makes SQLite wait)");
    case SQLITE_FULL:
      return fail(Code::disk, message + "; free some disk space and try again, nothing was changed");
    case SQLITE_IOERR:
      return fail(Code::disk, message + "; the disk or file system failed, nothing was changed");
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
      return fail(Code::read_only, message + "; open the file with write permission, its folder too");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return fail(Code::corrupt, message + "; run PRAGMA integrity_check on the file");
    case SQLITE_TOOBIG:
      return fail(Code::too_large, message + "; the value is above SQLite's own limit");
    case SQLITE_INTERRUPT:
      return fail(Code::interrupted, message);
    case SQLITE_NOMEM:
      return fail(Code::overloaded, message + "; nothing was changed, try again when there is more memory");
    default:
      return fail(Code::internal, message);
  }
}

void Statement::bind(int i, const crdt::ValueRef& v) {
  switch (v.type) {
    case crdt::ValueType::null:
      sqlite3_bind_null(stmt_, i);
      break;
    case crdt::ValueType::integer:
      sqlite3_bind_int64(stmt_, i, v.integer);
      break;
    case crdt::ValueType::real:
      sqlite3_bind_double(stmt_, i, v.real);
      break;
    case crdt::ValueType::text:
      bind_text(i, v.bytes);
      break;
    case crdt::ValueType::blob:
      bind_blob(i, v.bytes);
      break;
  }
}

crdt::ValueRef value_of(sqlite3_value* v) {
  switch (sqlite3_value_type(v)) {
    case SQLITE_INTEGER:
      return crdt::ValueRef::of_integer(sqlite3_value_int64(v));
    case SQLITE_FLOAT:
      return crdt::ValueRef::of_real(sqlite3_value_double(v));
    case SQLITE_TEXT: {
      auto p = reinterpret_cast<const char*>(sqlite3_value_text(v));
      return crdt::ValueRef::of_text(BytesView(p, static_cast<size_t>(sqlite3_value_bytes(v))));
    }
    case SQLITE_BLOB: {
      auto p = static_cast<const char*>(sqlite3_value_blob(v));
      return crdt::ValueRef::of_blob(BytesView(p ? p : "", static_cast<size_t>(sqlite3_value_bytes(v))));
    }
    default:
      return {};
  }
}

crdt::ValueRef Statement::value(int i) const { return value_of(sqlite3_column_value(stmt_, i)); }

namespace {

// What fails behind the point where SQLite has committed fails the COMMIT, too.
Error commit_error(sqlite3* db, Error error) {
  if ((sqlite3_errcode(db) & 0xff) != SQLITE_IOERR) return error;
  return fail(Code::disk, std::string("ending a transaction: ") + sqlite3_errmsg(db) +
                              "; the disk or file system failed, and the transaction may be done or undone: what the "
                              "file holds when it can be read again tells");
}

}  // namespace

Result<Statement> prepare(sqlite3* db, std::string_view sql, bool keep) {
  sqlite3_stmt* stmt = nullptr;
  int rc = sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()), keep ? SQLITE_PREPARE_PERSISTENT : 0, &stmt,
                              nullptr);
  if (rc != SQLITE_OK) return sql_error(db, "preparing " + std::string(sql.substr(0, 200)));
  return Statement(stmt);
}

Status exec(sqlite3* db, const std::string& sql) {
  char* message = nullptr;
  int rc = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &message);
  sqlite3_free(message);
  if (rc == SQLITE_OK) return {};
  Error error = sql_error(db, "running " + sql.substr(0, 200));
  return sql == "COMMIT" ? commit_error(db, std::move(error)) : error;
}

Result<std::optional<int64_t>> query_int(sqlite3* db, std::string_view sql) {
  REJOIN_ASSIGN(Statement s, prepare(db, sql));
  REJOIN_ASSIGN(bool row, s.step());
  if (!row) return std::optional<int64_t>();
  return std::optional<int64_t>(s.integer(0));
}

std::string quote(std::string_view name) {
  std::string out = "\"";
  for (char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string quote_text(std::string_view text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'') out += '\'';
    out += c;
  }
  return out + '\'';
}

// sqlite3_interrupt() stops every statement until the outermost one ends, which may be the one that called us: ROLLBACK
// does not get going either. But a write that is stopped makes SQLite roll everything back by itself
// (https://sqlite.org/c3ref/interrupt.html), and VACUUM counts as one, though it does nothing inside a transaction.
// Without a blank and with its semicolon, because the parser looks for interrupts at blanks and at the end of the text.
void roll_back(sqlite3* db) {
  constexpr int kTries = 3;  // the interrupt may come, or end, in between
  for (int i = 0; i < kTries && !sqlite3_get_autocommit(db); ++i)
    if (sqlite3_exec(db, "ROLLBACK;", nullptr, nullptr, nullptr) == SQLITE_INTERRUPT && !sqlite3_get_autocommit(db))
      sqlite3_exec(db, "VACUUM;", nullptr, nullptr, nullptr);
}

Result<Transaction> Transaction::begin(sqlite3* db, Kind kind) {
  bool savepoint = !sqlite3_get_autocommit(db);
  if (!savepoint)
    for (sqlite3_stmt* s = sqlite3_next_stmt(db, nullptr); s; s = sqlite3_next_stmt(db, s))
      if (sqlite3_stmt_busy(s) && !sqlite3_stmt_readonly(s))
        return fail(
            Code::in_transaction,
            "this is called by a statement that writes, and needs a transaction of its own; call it in a SELECT, "
            "or put BEGIN before that statement");
  // Prepared before anything begins: without memory it can still end.
  Transaction t(savepoint, kind);
  REJOIN_ASSIGN(t.undo_, prepare(db, savepoint ? "ROLLBACK TO rejoin" : "ROLLBACK"));
  if (savepoint) {
    REJOIN_ASSIGN(t.release_, prepare(db, "RELEASE rejoin"));
  }
  REJOIN_ASSIGN(Statement s, prepare(db, savepoint             ? "SAVEPOINT rejoin"
                                         : kind == Kind::write ? "BEGIN IMMEDIATE"
                                                               : "BEGIN"));
  const Status begun = s.run("beginning a transaction");
  // A progress handler can interrupt it when it is done.
  if (!begun.ok() && !savepoint && !sqlite3_get_autocommit(db)) roll_back(db);
  // Its lock would keep the other from ending, or what it has read is old.
  if (!begun.ok() && begun.error().code == Code::busy && sqlite3_txn_state(db, "main") == SQLITE_TXN_READ)
    return fail(Code::busy,
                "another connection is writing, or has written since this statement began to read; SQLite cannot wait "
                "where a statement reads already: try again, or call outside of a query that reads tables");
  REJOIN_TRY(begun);
  t.db_ = db;
  return t;
}

// A read that ends for lack of memory makes SQLite roll the transaction back by itself, as its cache may be damaged
// then (https://sqlite.org/lang_transaction.html, "Response To Errors Within A Transaction"). The first row of this one
// needs no memory, the second does; it comes to the third only if there is some.
Status Transaction::guard() {
  if (last_resort_) return {};
  REJOIN_ASSIGN(last_resort_,
                prepare(db_, "SELECT 0 UNION ALL SELECT randomblob(65536) UNION ALL SELECT 1 FROM main.sqlite_schema"));
  REJOIN_ASSIGN(const bool row, last_resort_.step("beginning a transaction"));
  return row ? Status() : fail(Code::internal, "SELECT 0 gave no row");
}

Status Transaction::commit() {
  REJOIN_ASSIGN(Statement end, prepare(db_, savepoint_ ? "RELEASE rejoin" : "COMMIT"));
  if (last_resort_) {
    last_resort_.finalize();
    if (sqlite3_get_autocommit(db_)) {
      db_ = nullptr;
      return fail(Code::overloaded, "SQLite ran out of memory and rolled the transaction back; nothing was changed");
    }
  }
  const bool open = !sqlite3_get_autocommit(db_);
  Status s = end.run("ending a transaction");
  // Only a COMMIT that is done when it is interrupted, by a progress handler, ends the transaction.
  const bool late =
      !s.ok() && s.error().code == Code::interrupted && !savepoint_ && open && sqlite3_get_autocommit(db_);
  if (late) s = {};
  if (!s.ok() && !savepoint_ && kind_ == Kind::write) s = commit_error(db_, std::move(s).error());
  if (s.ok()) {
    db_ = nullptr;
    undo_.finalize();
    release_.finalize();
  }
  return s;
}

void Transaction::rollback() {
  if (!db_) return;
  bool interrupted = false;
  auto run = [&](Statement& s) {
    // A schema that has changed makes SQLite prepare it once more.
    constexpr int kTries = 3;
    int rc = SQLITE_ERROR;
    for (int i = 0; i < kTries && rc != SQLITE_DONE; ++i) rc = sqlite3_step(s.get()), sqlite3_reset(s.get());
    s.finalize();
    interrupted |= rc == SQLITE_INTERRUPT;
    return rc == SQLITE_DONE;
  };
  // A failed statement may have rolled the whole transaction back already.
  const bool back = sqlite3_get_autocommit(db_) || run(undo_);
  bool undone = sqlite3_get_autocommit(db_) || (back && (!savepoint_ || run(release_)));
  if (last_resort_) {
    if (!undone && !interrupted) sqlite3_step(last_resort_.get());
    last_resort_.finalize();
    undone |= sqlite3_get_autocommit(db_) != 0;
    // There is memory again.
    if (!undone && !interrupted)
      (void)sqlite3_exec(db_, savepoint_ ? "ROLLBACK TO rejoin; RELEASE rejoin" : "ROLLBACK", nullptr, nullptr,
                         nullptr);
  }
  // A savepoint that changed nothing, or no more does, may stay until the caller's transaction ends.
  if (!back && interrupted && (!savepoint_ || kind_ == Kind::write)) roll_back(db_);
  db_ = nullptr;
}

}  // namespace rejoin::sqlite

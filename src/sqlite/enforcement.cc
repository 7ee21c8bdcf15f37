#include "sqlite/enforcement.h"

#include <new>

#include "sqlite/fold.h"
#include "sqlite/triggers.h"

namespace rejoin::sqlite {

EnforcementOff::EnforcementOff(sqlite3* db, bool triggers) : db_(db) {
  int on = 0;
  if (triggers && sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_TRIGGER, -1, &on) == SQLITE_OK && on) {
    triggers_ = 1;
    sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  }
  if (sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_FKEY, -1, &on) == SQLITE_OK && on) {
    foreign_keys_ = 1;
    sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_FKEY, 0, nullptr);
  }
  if (auto undo = prepare(db_, "ROLLBACK"); undo.ok()) undo_ = std::move(*undo);
}

EnforcementOff::~EnforcementOff() {
  // Out of memory, inside of a statement that called us: SQLite prepares nothing more until that one ends, so this is
  // the last moment to undo what was done. It would roll back everything itself, had it noticed while it ran a
  // statement.
  if (undo_ && sqlite3_errcode(db_) == SQLITE_NOMEM && !sqlite3_get_autocommit(db_)) sqlite3_step(undo_.get());
  undo_.finalize();
  if (triggers_) sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, nullptr);
  if (foreign_keys_) sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
}

namespace {

constexpr const char* kOperations[] = {"INSERT", "UPDATE", "DELETE"};

// By the name the catalog knows them for ours.
std::string trigger_name(const Table& table, const char* operation) {
  return "temp." + quote(trigger_prefix(table.id) + "nested_" + operation);
}

// Is the write that this trigger was fired by one of a trigger's, and not the merge's own? The merge announces each of
// its rows.
void fn_nested(sqlite3_context* c, int, sqlite3_value** v) {
  auto& ctx = *static_cast<Context*>(sqlite3_user_data(c));
  const bool own = ctx.writing != 0 && ctx.writing == static_cast<uint64_t>(sqlite3_value_int64(v[0]));
  if (own) ctx.writing = 0;
  sqlite3_result_int(c, !own);
}

}  // namespace

// Still in force only after a failure: what is not undone here for lack of memory goes when the transaction is rolled
// back, the temporary triggers too.
Enforcement::~Enforcement() {
  try {
    (void)end();
  } catch (const std::bad_alloc&) {
  }
}

bool Enforcement::triggers_for(const Table& table) const {
  return table.app_triggers && !ctx_.rollback_triggers.contains(table.id);
}

Status Enforcement::begin(const Table& table) {
  const bool triggers = triggers_for(table);
  if (off_ && triggers_ == triggers) return {};
  REJOIN_TRY(end());
  off_.emplace(ctx_.db, !triggers);
  triggers_ = triggers;
  if (!triggers) return {};
  REJOIN_TRY(leave_nested_out());
  return kept();
}

// RAISE(IGNORE) skips the statement of the application's trigger that would have written, and the trigger goes on.
Status Enforcement::leave_nested_out() {
  if (!ctx_.knows_nested) {
    if (sqlite3_create_function_v2(ctx_.db, "rejoin_nested_write", 1, SQLITE_UTF8 | SQLITE_INNOCUOUS, &ctx_, fn_nested,
                                   nullptr, nullptr, nullptr) != SQLITE_OK)
      return sql_error(ctx_.db, "registering rejoin_nested_write");
    ctx_.knows_nested = true;
  }
  for (const auto& t : ctx_.catalog.tables)
    for (const char* operation : kOperations)
      if (t->in_triggers)
        REJOIN_TRY(exec(ctx_.db, "CREATE TRIGGER " + trigger_name(*t, operation) + " BEFORE " + operation + " ON " +
                                     t->quoted() + " WHEN rejoin_nested_write(" + std::to_string(t->id) +
                                     ") BEGIN SELECT RAISE(IGNORE); END"));
  return {};
}

Status Enforcement::forget_captured() {
  // A trigger that rolled the transaction back took everything with it; what is in the log now is others'.
  if (!triggers() || sqlite3_get_autocommit(ctx_.db)) return {};
  REJOIN_ASSIGN(Statement * s, ctx_.statement("DELETE FROM main.rejoin_log WHERE seq>?1"));
  s->bind(1, mark_);
  REJOIN_TRY(s->run("forgetting a captured merge"));
  for (const auto& t : ctx_.catalog.tables) {
    if (!t->in_triggers) continue;
    REJOIN_ASSIGN(Statement * gone, ctx_.statement("DELETE FROM " + t->gone()));
    REJOIN_TRY(gone->run("forgetting a captured merge"));
  }
  return {};
}

Status Enforcement::kept() {
  if (!triggers()) return {};
  REJOIN_ASSIGN(mark_, log_tail(ctx_));
  return {};
}

Status Enforcement::end() {
  if (!off_) return {};
  Status status = forget_captured();
  for (const auto& t : ctx_.catalog.tables)
    for (const char* operation : kOperations)
      if (triggers_ && t->in_triggers)
        if (Status s = exec(ctx_.db, "DROP TRIGGER IF EXISTS " + trigger_name(*t, operation)); !s && status) status = s;
  off_.reset();
  return status;
}

}  // namespace rejoin::sqlite

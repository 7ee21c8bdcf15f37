#include "sqlite/base_writer.h"

#include <cctype>
#include <cmath>

#include "sqlite/enforcement.h"
#include "sqlite/out_of_reach.h"
#include "sqlite/temporary_triggers.h"

namespace rejoin::sqlite {

namespace {

// Does SQLite read this text as a number (so that a numeric column would store the number)?
bool looks_numeric(BytesView text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  size_t i = 0, digits = 0;
  if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
  for (; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])); ++i) ++digits;
  if (i < text.size() && text[i] == '.')
    for (++i; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])); ++i) ++digits;
  if (!digits) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    size_t exponent = 0;
    if (++i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    for (; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])); ++i) ++exponent;
    if (!exponent) return false;
  }
  return i == text.size();
}

}  // namespace

bool BaseWriter::altered_by_affinity(const crdt::ValueRef& v, Affinity affinity) {
  switch (v.type) {
    case crdt::ValueType::integer:
      return affinity == Affinity::text || affinity == Affinity::real;
    case crdt::ValueType::real:
      if (std::isnan(v.real)) return true;  // SQLite stores NULL
      if (affinity == Affinity::text) return true;
      return (affinity == Affinity::integer || affinity == Affinity::numeric) && v.real == std::floor(v.real) &&
             v.real >= -9.2e18 && v.real <= 9.2e18;
    case crdt::ValueType::text:
      return affinity != Affinity::text && affinity != Affinity::blob && looks_numeric(v.bytes);
    default:
      return false;
  }
}

int BaseWriter::bind_key(Statement& s, const Row& row, int at) {
  for (const auto& v : row.key) s.bind(at++, v);
  return at;
}

Result<Statement*> BaseWriter::compile(Result<Statement*> statement) {
  if (statement.ok() || !triggers_ || (sqlite3_errcode(ctx_.db) & 0xff) != SQLITE_ERROR) return statement;
  // A function that this connection lacks, a table that is gone.
  reason_ = std::string("a trigger of the application's does not work here: ") + sqlite3_errmsg(ctx_.db);
  return static_cast<Statement*>(nullptr);
}

// SQLite takes nothing back of a write that RAISE(FAIL) or RAISE(IGNORE) ends: what the trigger had written before
// would stay, and come again with each try.
Result<Wrote> BaseWriter::run(Statement& s) {
  // Taking it back would end the application's own statement that reads, as triggers of ours were made meanwhile.
  if (!triggers_ || !table_.triggers_leave || ctx_.beside_reader) return run_once(s);
  const auto act = [&](const char* sql) -> Status {
    REJOIN_ASSIGN(Statement * savepoint, ctx_.statement(sql));
    return savepoint->run("merging a row into " + table_.name);
  };
  REJOIN_TRY(act("SAVEPOINT rejoin_row"));
  const int64_t before = sqlite3_total_changes(ctx_.db);
  REJOIN_ASSIGN(const Wrote wrote, run_once(s));
  // Only where there is something: it can end statements that stand on a row.
  if (wrote == Wrote::refused && sqlite3_total_changes(ctx_.db) != before) REJOIN_TRY(act("ROLLBACK TO rejoin_row"));
  REJOIN_TRY(act("RELEASE rejoin_row"));
  return wrote;
}

bool BaseWriter::fails_on_values(int rc) const {
  return (rc & 0xff) == SQLITE_TOOBIG || ((rc & 0xff) == SQLITE_ERROR && (triggers_ || !lacks_something(ctx_.db)));
}

std::string BaseWriter::failed_on_values() const {
  return "an expression or a trigger of " + quote(table_.name) + " fails on its values: " + sqlite3_errmsg(ctx_.db);
}

// SQLite (3.40) computes an old row's index entries one by one as it deletes them: where one fails, those of other
// indexes are gone, and a transaction that goes on leaves the file so.
Result<bool> BaseWriter::may_go(const Row& row) {
  if (table_.computed.empty()) return true;
  auto s = ctx_.statement("SELECT " + table_.computed + " FROM " + table_.quoted() + " WHERE " + table_.key_match());
  if (!s.ok()) {
    // Something is lacking, or forbidden: told by the write itself.
    const int why = sqlite3_errcode(ctx_.db) & 0xff;
    return why == SQLITE_ERROR || why == SQLITE_AUTH ? Result<bool>(true) : s.error();
  }
  Use use(**s);
  bind_key(**s, row, 1);
  const int rc = sqlite3_step((*s)->get());
  if (rc == SQLITE_ROW || rc == SQLITE_DONE) return true;
  if (!fails_on_values(rc)) return sql_error(ctx_.db, "reading a row of " + table_.name);
  reason_ = failed_on_values();
  return false;
}

Result<Wrote> BaseWriter::run_once(Statement& s) {
  ctx_.writing = table_.id;
  int rc = sqlite3_step(s.get());
  while (rc == SQLITE_ROW) rc = sqlite3_step(s.get());  // PRAGMA count_changes
  ctx_.writing = 0;
  if (rc == SQLITE_DONE) {
    s.reset();
    if (!triggers_ || sqlite3_changes(ctx_.db) > 0) return Wrote::done;
    reason_ = "a trigger of the application's ignored it (RAISE(IGNORE))";
    return Wrote::refused;
  }
  // SQLITE_ERROR, SQLITE_TOOBIG: a function in a trigger, an index, a CHECK or a generated column does not take these
  // values, or makes too much of them.
  if ((rc & 0xff) == SQLITE_CONSTRAINT || (sqlite3_extended_errcode(ctx_.db) & 0xff) == SQLITE_CONSTRAINT ||
      (rc & 0xff) == SQLITE_MISMATCH || fails_on_values(rc)) {
    reason_ = fails_on_values(rc) ? failed_on_values() : sqlite3_errmsg(ctx_.db);
    s.reset();
    if (!sqlite3_get_autocommit(ctx_.db)) {
      // RAISE(FAIL) behind the write: SQLite leaves it, and what other triggers have done about it.
      const bool failed = triggers_ && (rc & 0xff) == SQLITE_CONSTRAINT && sqlite3_changes(ctx_.db) > 0;
      return failed ? Wrote::done : Wrote::refused;
    }
    // The whole transaction is gone, and what was merged in it.
    ctx_.rollback_triggers.insert(table_.id);
    return fail(Code::busy, "a trigger of \"" + table_.name + "\" rolled everything back (" + reason_ +
                                "); merge again, which leaves this table's triggers out");
  }
  Error e = sql_error(ctx_.db, "merging a row into " + table_.name);
  s.reset();
  return e;
}

std::string BaseWriter::insert_sql(const char* verb, const std::string& into) const {
  std::string columns = table_.column_list(), marks;
  size_t n = table_.key.size();
  for (const Column& c : table_.columns) n += c.present;
  for (size_t i = 0; i < n; ++i) marks += i ? ",?" : "?";
  return std::string(verb) + " INTO " + into + "(" + table_.key_list() + (columns.empty() ? "" : ", " + columns) +
         ") VALUES(" + marks + ")";
}

Result<Statement*> BaseWriter::insert_statement(const char* verb, const std::string& into) {
  return ctx_.statement(insert_sql(verb, into));
}

void BaseWriter::bind_row(Statement& s, const Row& row) {
  int at = bind_key(s, row, 1);
  for (size_t c = 0; c < table_.columns.size(); ++c)
    if (table_.columns[c].present) s.bind(at++, row.values[c]);
}

Result<Wrote> BaseWriter::insert(const Row& row) {
  if (!insert_) {
    REJOIN_ASSIGN(insert_, compile(insert_statement("INSERT OR ABORT", table_.quoted())));
    if (!insert_) return Wrote::refused;
  }
  bind_row(*insert_, row);
  return run(*insert_);
}

Result<Wrote> BaseWriter::replace(const Row& row) {
  REJOIN_ASSIGN(Statement * s, insert_statement("INSERT OR REPLACE", table_.quoted()));
  bind_row(*s, row);
  return run(*s);
}

Result<Statement*> BaseWriter::update_statement(const crdt::ColumnSet& columns, bool shadow) {
  // OR ABORT: the application's own ON CONFLICT clauses must not displace other rows, or skip this one, behind our
  // back.
  std::string sql = "UPDATE OR ABORT " + (shadow ? table_.shadow() : table_.quoted()) + " SET ";
  bool first = true;
  columns.each([&](uint32_t c) {
    sql += (first ? "" : ", ") + quote(table_.columns[c].name) + "=?";
    first = false;
  });
  sql += " WHERE ";
  first = true;
  for (const Column& c : table_.key) sql += (first ? "" : " AND ") + quote(c.name) + "=?", first = false;
  return ctx_.statement(sql);
}

Result<Wrote> BaseWriter::update(const Row& row, const crdt::ColumnSet& columns) {
  if (columns.empty()) return Wrote::done;
  REJOIN_ASSIGN(const bool may, may_go(row));
  if (!may) return Wrote::refused;
  if (!update_ || !(update_columns_ == columns)) {
    REJOIN_ASSIGN(update_, compile(update_statement(columns, false)));
    if (!update_) return Wrote::refused;
    update_columns_ = columns;
  }
  int at = 1;
  columns.each([&](uint32_t c) { update_->bind(at++, row.values[c]); });
  bind_key(*update_, row, at);
  return run(*update_);
}

Result<Statement*> BaseWriter::erase_statement() {
  return ctx_.statement("DELETE FROM " + table_.quoted() + " WHERE " + table_.key_match());
}

Result<bool> BaseWriter::is_there(const Row& row) {
  REJOIN_ASSIGN(Statement * s, ctx_.statement("SELECT 1 FROM " + table_.quoted() + " WHERE " + table_.key_match()));
  Use use(*s);
  bind_key(*s, row, 1);
  return s->step("looking for a row of " + table_.name);
}

Result<Wrote> BaseWriter::erase_without_triggers(const Row& row) {
  if (!table_.deletions_roll_back) {
    EnforcementOff off(ctx_.db, true);
    REJOIN_ASSIGN(Statement * s, compile(erase_statement()));
    if (s) {
      bind_key(*s, row, 1);
      REJOIN_ASSIGN(const Wrote wrote, run(*s));
      // TEMP triggers run, and may ignore it, also where no triggers are to.
      if (wrote == Wrote::done && sqlite3_changes(ctx_.db) > 0) return Wrote::done;
    }
  }
  return erase_without_temporary_triggers(row);
}

Result<Wrote> BaseWriter::erase_without_temporary_triggers(const Row& row) {
  TemporaryTriggers triggers(ctx_.db);
  REJOIN_TRY(triggers.take(table_.name));
  Wrote wrote = Wrote::done;
  {
    EnforcementOff off(ctx_.db, true);
    REJOIN_ASSIGN(Statement * s, erase_statement());
    bind_key(*s, row, 1);
    REJOIN_ASSIGN(wrote, run(*s));
  }
  REJOIN_TRY(triggers.put_back());
  return wrote;
}

Result<Wrote> BaseWriter::erase(const Row& row) {
  REJOIN_ASSIGN(const bool may, may_go(row));
  if (!may) return Wrote::refused;
  // One that rolls back would take what was merged along.
  if (!triggers_ || !table_.deletions_roll_back) {
    REJOIN_ASSIGN(Statement * s, compile(erase_statement()));
    if (s) {
      bind_key(*s, row, 1);
      REJOIN_ASSIGN(const Wrote wrote, run(*s));
      if (wrote == Wrote::done && sqlite3_changes(ctx_.db) > 0) return wrote;
    }
  }
  // What is decided for the row is decided for all replicas: the table must not show it any more.
  REJOIN_ASSIGN(const bool there, is_there(row));
  return there ? erase_without_triggers(row) : Wrote::done;
}

Status BaseWriter::copy_to_shadow(const Row& row) {
  std::string columns = table_.column_list();
  std::string all = table_.key_list() + (columns.empty() ? "" : ", " + columns);
  REJOIN_ASSIGN(Statement * s, ctx_.statement("INSERT OR REPLACE INTO " + table_.shadow() + "(" + all + ") SELECT " +
                                              all + " FROM " + table_.quoted() + " WHERE " + table_.key_match()));
  bind_key(*s, row, 1);
  return s->run("keeping a deleted row of " + table_.name);
}

Status BaseWriter::insert_shadow(const Row& row) {
  REJOIN_ASSIGN(Statement * s, insert_statement("INSERT OR REPLACE", table_.shadow()));
  bind_row(*s, row);
  return s->run("keeping a hidden row of " + table_.name);
}

Status BaseWriter::update_shadow(const Row& row, const crdt::ColumnSet& columns) {
  {
    std::string marks;
    for (size_t i = 0; i < table_.key.size(); ++i) marks += i ? ",?" : "?";
    REJOIN_ASSIGN(Statement * s, ctx_.statement("INSERT OR IGNORE INTO " + table_.shadow() + "(" + table_.key_list() +
                                                ") VALUES(" + marks + ")"));
    bind_key(*s, row, 1);
    REJOIN_TRY(s->run("keeping a dead row of " + table_.name));
  }
  if (columns.empty()) return {};
  if (!shadow_update_ || !(shadow_update_columns_ == columns)) {
    REJOIN_ASSIGN(shadow_update_, update_statement(columns, true));
    shadow_update_columns_ = columns;
  }
  int at = 1;
  columns.each([&](uint32_t c) { shadow_update_->bind(at++, row.values[c]); });
  bind_key(*shadow_update_, row, at);
  return shadow_update_->run("editing a dead row of " + table_.name);
}

Status BaseWriter::erase_shadow(const Row& row) {
  REJOIN_ASSIGN(Statement * s, ctx_.statement("DELETE FROM " + table_.shadow() + " WHERE " + table_.key_match()));
  bind_key(*s, row, 1);
  return s->run("forgetting a dead row of " + table_.name);
}

}  // namespace rejoin::sqlite

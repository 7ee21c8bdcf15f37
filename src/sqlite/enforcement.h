// What SQLite enforces by itself, and what the application's triggers may do, while rows are merged.
#pragma once

#include <cstdint>
#include <optional>

#include "sqlite/context.h"

namespace rejoin::sqlite {

// Turns the connection's triggers (if asked to) and foreign-key enforcement off for a scope. It expires every prepared
// statement of the connection, so it is done once per merge and not per row (but for a deletion that a trigger
// refuses).
class EnforcementOff {
 public:
  EnforcementOff(sqlite3* db, bool triggers);
  ~EnforcementOff();
  EnforcementOff(const EnforcementOff&) = delete;
  EnforcementOff& operator=(const EnforcementOff&) = delete;

 private:
  sqlite3* db_;
  int triggers_ = 0, foreign_keys_ = 0;
  Statement undo_;  // prepared after they were turned off, which expires what was prepared before
};

// The same for merges into one table after the other. Triggers are off unless the application has some on the table.
// Then they run, but what they write to synced tables is left out, because the origin's side effects travel as its own
// changes: while this is in force, temporary triggers turn every nested write to a synced table away.
class Enforcement {
 public:
  explicit Enforcement(Context& ctx) : ctx_(ctx) {}
  ~Enforcement();
  Enforcement(const Enforcement&) = delete;
  Enforcement& operator=(const Enforcement&) = delete;

  // Before a row of this table is written; not for rows that bring nothing new. A statement that stands on a row goes
  // on.
  Status begin(const Table& table);
  // Will the application's triggers on it run then?
  bool triggers_for(const Table& table) const;
  // Do the application's triggers run?
  bool triggers() const { return off_ && triggers_; }
  // Our own triggers ran with the application's: what they captured of the merge is taken away. Before the merge's own
  // entry is logged; then kept() says that what is in the log by now stays.
  Status forget_captured();
  Status kept();
  // Forgets what was captured, and all is enforced as before.
  Status end();

 private:
  Status leave_nested_out();
  Context& ctx_;
  std::optional<EnforcementOff> off_;
  bool triggers_ = false;
  int64_t mark_ = 0;  // the log's tail before anything was captured
};

// Runs something that merges in a transaction of its own. A trigger of the application's that rolls the transaction
// back is left out from then on (BaseWriter), and what was begun is done once more.
template <class Do>
auto leaving_rollbacks_out(Context& ctx, Do&& act) {
  for (;;) {
    const size_t before = ctx.rollback_triggers.size();
    const bool own = sqlite3_get_autocommit(ctx.db);
    auto done = act();
    if (done.ok() || !own || ctx.rollback_triggers.size() == before) return done;
  }
}

}  // namespace rejoin::sqlite

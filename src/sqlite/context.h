// What every operation on a replica shares: the connection, cached statements, the catalog, the sites, and the state
// row.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "base/random.h"
#include "base/uuid.h"
#include "crdt/version.h"
#include "sqlite/catalog.h"
#include "sqlite/close_hook.h"
#include "sqlite/sql.h"
#include "sqlite/temporary_triggers.h"

namespace rejoin::sqlite {

// The row of rejoin_state: read at the start of every transaction, written at its end, never kept between.
struct State {
  uint32_t site = 0;          // this replica's index in rejoin_site
  crdt::Hlc last = 0;         // newest stamp given or merged
  crdt::Hlc last_remote = 0;  // newest stamp merged
  int64_t folded = 0;         // log entries up to here are in the records
  int64_t floor = 0;          // log entries up to here may be gone
  int64_t file = 0;           // inode of the file that the site id was minted for; 0: not a file
  friend bool operator==(const State&, const State&) = default;
};

struct Context {
  Context(sqlite3* connection, Clock& c, Random& r)
      : db(connection), clock(c), random(r), close_hook(connection, [this] { statements.clear(); }) {}

  sqlite3* db;
  Clock& clock;
  Random& random;
  CloseHook close_hook;
  std::set<uint64_t> rollback_triggers;  // tables whose triggers rolled back a merge: later merges leave them out
  // The table into which a merge is about to write one row, so that the row's own triggers know that write from theirs
  // (sqlite/enforcement.h); 0: none.
  uint64_t writing = 0;
  // Tables that were written while a transaction was open in which SQLite still misses parents: not settled yet
  // (sqlite/fold.h).
  std::set<uint64_t> unsettled;
  // What this connection lacks to write a table (sqlite/out_of_reach.h); empty: nothing.
  std::map<uint64_t, std::string> reach;
  // Tables with rows that could not go because an index's expression fails on them here: once is enough.
  std::set<uint64_t> stuck;
  bool taking_up = false;       // what waited for a table that is back in reach is being merged
  bool folds_inside = false;    // a transaction of the application's, which only asked for something
  bool beside_reader = false;   // a statement of the application's reads while a transaction of ours writes
  bool triggers_tried = false;  // rows that wait for what the application's triggers need were tried here
  bool knows_nested = false;    // the function that asks for it is registered
  UuidSequence uuids;           // of rejoin_uuid()
  // Prepared statements by their text. Cleared when the connection closes or the schema changes.
  std::unordered_map<std::string, std::unique_ptr<Statement>> statements;
  Catalog catalog;
  int64_t catalog_main = -1;     // schema version that `catalog` was read at
  std::string catalog_temp;      // and the temporary triggers that there were
  int64_t catalog_checked = -2;  // schema version at which adopt_schema_changes() found everything in order
  crdt::SiteTable sites;
  bool sites_valid = false;
  bool format_known = false;  // to be this build's
  bool altering = false;      // one of the functions that change tracked tables runs
  // rejoin_alter_begin() has opened a transaction when the file's data version was this: is it the one under way?
  std::optional<uint32_t> alter_begun;

  // The cached statement with this text. Valid until the next forget(); reset it after use (sqlite/sql.h: Use).
  Result<Statement*> statement(const std::string& sql);
  // Drops what a rollback may have made wrong.
  void forget() {
    catalog_main = -1;
    catalog_checked = -2;
    sites_valid = format_known = false;
  }
};

// A flag of a context that is as it is told for as long as this lives.
class Raised {
 public:
  Raised(bool& flag, bool value) : flag_(flag), before_(std::exchange(flag, value)) {}
  ~Raised() { flag_ = before_; }
  Raised(const Raised&) = delete;
  Raised& operator=(const Raised&) = delete;

 private:
  bool& flag_;
  bool before_;
};

// A transaction with the state and catalog loaded. Rolled back, and caches dropped, unless committed.
class Work {
 public:
  // write: makes the metadata tables if `create`; otherwise error not_tracked when there are none.
  static Result<Work> write(Context& ctx, bool create = false);
  // read: no lock beyond a snapshot. Error not_tracked likewise.
  static Result<Work> read(Context& ctx);
  // read, except that a database without metadata gets it.
  static Result<Work> write_if_missing(Context& ctx);
  Work(Work&& o) noexcept
      : ctx_(o.ctx_),
        transaction_(std::move(o.transaction_)),
        left_out_(std::move(o.left_out_)),
        state(o.state),
        saved_(o.saved_),
        open_(std::exchange(o.open_, false)) {}
  Work& operator=(Work&&) = delete;
  ~Work();
  Status commit();
  // Writes `state` now (commit does it too).
  Status save();
  // See Transaction.
  Status guard() { return transaction_.guard(); }
  Context& ctx() { return *ctx_; }
  bool is_savepoint() const { return transaction_.is_savepoint(); }

 private:
  Work(Context& ctx, Transaction transaction) : ctx_(&ctx), transaction_(std::move(transaction)), left_out_(ctx.db) {}
  Status load(bool writing);
  Status leave_triggers_out();
  Context* ctx_;
  Transaction transaction_;
  TemporaryTriggers left_out_;  // on tables whose triggers rolled back a merge

 public:
  State state;

 private:
  State saved_;
  bool open_ = true;
};

// Neither a file that is opened to be read only nor PRAGMA query_only=ON.
Result<bool> can_write(Context& ctx);
// The local index of a site, added to rejoin_site when new.
Result<uint32_t> intern_site(Context& ctx, const crdt::SiteId& id);
// The catalog of now. Reloads only when the schema changed.
Status refresh_catalog(Context& ctx);
// The tracked table, or not_tracked / not_found with the cure.
Result<Table*> tracked_table(Context& ctx, std::string_view name);
// Is there replica metadata in this database?
Result<bool> has_layout(Context& ctx);
// Inode of the database file; 0 for memory and temporary databases.
int64_t file_identity(sqlite3* db);

}  // namespace rejoin::sqlite

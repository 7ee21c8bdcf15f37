// What `rejoin pg …` does, under the migration role: installing the schema, tracking tables, looking at it all.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "postgres/catalog.h"

namespace rejoin::postgres {

// Installs the schema "rejoin", or brings an older one up to date; again is a no-op. `role`: the server's runtime role,
// which is given what it needs and no more ("" for none). Returns true when anything was installed. Errors: unsupported
// (a newer schema), forbidden.
Result<bool> init(Connection& db, const std::string& role);

// The installed version. Errors: not_found (with the cure).
Result<int64_t> installed_version(Connection& db);

// Is the installed schema one that this build can serve? Errors: not_found, forbidden, unsupported; each with the cure.
Status check_version(Connection& db);
// Can the database hold every text that devices write? Error: unsupported (its encoding is not UTF8), with the cure.
Status check_encoding(Connection& db);
// Can the database be written? Error: read_only (a standby, or set so).
Status check_writable(Connection& db);
// May this role see through row-level security?
Result<bool> bypasses_row_security(Connection& db);

struct TrackRequest {
  std::string relation;       // public.todos
  std::string name;           // what devices call it; the table's own name when empty
  std::string tenant_column;  // the column that names a row's tenant
  std::string tenant;         // whose the rows are, without a tenant column
  std::string make;           // SQL that makes the table first, in the same transaction
};
struct Tracked {
  std::string name;
  int64_t rows = 0;  // rows that were there and are synced now
  int64_t columns = 0;
  bool already = false;
};
// Makes a table a synced one: wholly, or not at all. Writers wait for the moment that creating the triggers takes; the
// rows are recorded afterwards, in batches. Again: takes up new columns and what an interrupted run left.
// `progress(rows so far)`. Errors: untrackable (with the cure; its key is another than it was tracked with, too), busy,
// not_found.
Result<Tracked> track(Connection& db, const TrackRequest& request, Random& random,
                      const std::function<void(int64_t)>& progress);
// Several tables, and before them what the SQL does that `also` gives when the transaction has begun.
Result<std::vector<Tracked>> track_together(Connection& db, const std::vector<TrackRequest>& requests,
                                            const std::function<Result<std::string>()>& also, Random& random,
                                            const std::function<void(int64_t)>& progress);
// Are the defaults of the columns that `have` lacks (null: all) such that PostgreSQL reads the same value where nobody
// wrote one? Error: schema_refused, with the column and the cure.
Status check_defaults(Connection& db, const Table* have, const contract::Table& wanted);
// Are the names of what `have` lacks (null: all) such that PostgreSQL keeps them? It cuts long ones, and has columns of
// its own. Error: schema_refused, with the cure.
Status check_names(Connection& db, const Table* have, const contract::Table& wanted);
// Makes a table from a device's contract, in the schema `public`, and tracks it, in one transaction; also one that an
// earlier build left half tracked. A default that check_defaults() refuses is left out. Errors: forbidden (the role may
// not), busy, untrackable, and what PostgreSQL reports: something of that name is in the way.
Status create_and_track(Connection& db, const contract::Table& wanted, const std::string& tenant, Random& random);
// Adds the contract's columns that the table lacks, and syncs them; defaults as above, and so are columns with a name
// that check_names() refuses. Errors: forbidden (the table is
// not the role's).
Status add_columns(Connection& db, const Table& table, const contract::Table& wanted);
// Both for all tables of a contract, in one transaction, when there is anything to make; not for tables that tenants
// share. `first` is called at the transaction's beginning, again when it is begun anew, and gives SQL that is run in
// it.
Status make_all(Connection& db, const Catalog& have, const contract::Contract& wanted, const std::string& tenant,
                Random& random, const std::function<Result<std::string>()>& first);
// Has the synced table this column, in its key or beside it?
bool has_column(const Table& table, std::string_view name);
// SQL that removes all metadata of a table, for a transaction that is open.
std::string forget_sql(int64_t table);
// Stops, removes triggers and all metadata of the table. Errors: not_tracked.
Status untrack(Connection& db, const std::string& name);

struct CompactRequest {
  std::string tenant;                // "": all
  std::optional<int64_t> keep_days;  // how long deletions are kept from now on, by all tenants
  bool dry_run = false;              // nothing goes, and nothing is set
};
struct Compacted {
  int64_t tenants = 0;
  int64_t log_rows = 0;   // that every device had
  int64_t deletions = 0;  // rows that were deleted long ago
};
// Forgets what every device has, tenant by tenant in short transactions, while servers run. `progress(so far)`. Errors:
// not_found (no such tenant, or a schema that is too old), bad_argument (days), forbidden (only the owner sets them).
Result<Compacted> compact(Connection& db, const CompactRequest& request, Clock& clock, Random& random,
                          const std::function<void(const Compacted&)>& progress);

struct TableStatus {
  std::string name, relation, tenant_column;
  int64_t records = 0, alive = 0;
  // Records of rows that were never inserted here: edits that wait for their row, which may be lost.
  int64_t unborn = 0;
  std::vector<std::string> unannounced;
};
struct StoreStatus {
  int64_t version = 0;
  std::vector<TableStatus> tables;
  int64_t tenants = 0, devices = 0, outbox = 0, log_rows = 0;
  int64_t keep_days = 0;   // how long deletions are kept
  int64_t horizon_ms = 0;  // the newest of what any tenant has forgotten; 0: nothing was forgotten
};
Result<StoreStatus> status(Connection& db);

// What looks wrong, one line each, with the cure: missing triggers, unannounced columns, rows without records and
// records without rows, a runtime role that sees through row-level security.
Result<std::vector<std::string>> doctor(Connection& db);

}  // namespace rejoin::postgres

// One SQLite database as a replica: tracking, folding, changesets, merging. What the SQL functions, the server's
// embedded store, the command line and the tests are made of.
//
// A Replica borrows an open connection and must not outlive it. One thread at a time. Every call is atomic: outside a
// transaction it makes its own, inside one it is a savepoint. No state is cached that a rollback or another process
// could make wrong.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "codec/limits.h"
#include "crdt/value.h"
#include "crdt/version.h"
#include "sync/store.h"
#include "sync/tenant_admin.h"

struct sqlite3;

namespace rejoin::sqlite {

struct TrackOptions {
  bool allow_integer_key = false;
  std::optional<bool> keep_deleted;  // default: as it is, true for a table that is new
  // What the table, and its columns, were called in earlier versions of the application. They join what is known.
  std::vector<std::string> former_names;
  std::vector<std::pair<std::string, std::string>> former_columns;  // a column, what it was called
};
// {"allow_integer_key":true,"keep_deleted":false,"former_names":["a"],"former_columns":{"b":["c"]}}. Errors:
// bad_argument for anything else.
Result<TrackOptions> parse_track_options(std::string_view json);

struct ConnectOptions {
  std::optional<bool> migrate;  // see Connection
};
// {"migrate":true}. Errors: bad_argument for anything else.
Result<ConnectOptions> parse_connect_options(std::string_view json);

struct PageRequest {
  Bytes cursor;                             // where the last page ended; empty: the beginning
  uint64_t max_bytes = ~uint64_t{0};        // of rows; at least one row is always sent
  std::optional<crdt::SiteId> only_site;    // only local writes, and only cells of this site (a push without `relay`)
  std::optional<crdt::SiteId> skip_origin;  // leave out what came from this replica
  bool own = false;                         // with an empty cursor: but not in the scan that begins
  bool behind = false;  // it has missed deletions that are forgotten here: a scan begins that leaves nothing out
  const sync::Identity* who = nullptr;      // who reads: sees some tables only
  uint64_t max_value_bytes = ~uint64_t{0};  // rows with larger values are left out and reported
  bool pass_on = false;                     // with what is kept aside because this database lacks its table or columns
  bool whole_if_rejected = false;  // rows that rejoin_rejections lists go whole: their reader has nothing of them
};

struct Page {
  Bytes frame;  // empty: nothing to send
  Bytes next;   // cursor for the next page
  bool more = false;
  uint64_t rows = 0;
  uint64_t through = 0;    // see codec::FrameInfo
  bool restarted = false;  // the cursor's batch is not known: read from the beginning instead
  std::vector<sync::RefusedRow> too_large;
  std::vector<sync::EvictedRows> evicted;  // what the reader may not see any more
};

struct ApplyOptions {
  std::optional<crdt::SiteId> only_site;  // cells and liveness of other sites refuse their row (forbidden)
  std::optional<crdt::SiteId> origin;     // whose frame it is, for skip_origin later; default: the frame's source
  int64_t drift_ms = 24 * 3600 * 1000;    // how far ahead of the clock a stamp may lie
  int64_t now_ms = 0;                     // a server's clock: measured against the later of it and this device's own
  bool refuse_ahead = false;    // true: a stamp beyond that fails the frame (clock_ahead); false: its row is parked
  bool whole = false;           // true: a refused row fails the frame, and nothing is merged
  bool refuse_unknown = false;  // true: rows of unknown tables and columns are refused (schema_refused); false: parked
  const sync::Identity* who = nullptr;  // whose frame it is: may write to some tables only
  bool stale = false;                   // from a device that may have missed deletions that are forgotten here
  bool referee = false;    // the frame is what a server has, which refuses and takes what this replica pushes
  bool announced = false;  // its rows are in the feed already (sqlite/pass_on.h)
  codec::Limits limits;
};

struct TableInfo {
  std::string name;
  std::vector<std::string> key;
  std::vector<std::string> columns;  // non-key, by column id
  uint64_t id = 0;
};

class Replica {
 public:
  // Cheap: touches nothing until the first call that needs the database. `db` "main" is the replica.
  explicit Replica(sqlite3* db, Clock& clock = system_clock(), Random& random = system_random());
  ~Replica();
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  // --- schema
  Status track(const std::string& table, const TrackOptions& options = {});
  Status untrack(const std::string& table);
  Status alter(const std::string& sql);  // one statement that changes a tracked table
  Status alter_begin(const std::string& table);
  Status alter_commit(const std::string& table);
  Result<std::vector<TableInfo>> tables();
  // Makes the tables and columns of a contract (canonical JSON) that are missing here, all of them or none. Returns how
  // many. Errors: bad_argument, schema_refused (what is here is in its way).
  Result<int64_t> migrate(const std::string& contract_json);
  Result<std::string> contract_json();  // canonical (contract/contract.h), of all tracked tables

  // --- identity and position
  Result<crdt::SiteId> site();
  Result<int64_t> seq();  // the newest log position; 0 for a database without tracked tables
  Status take_new_identity();

  // --- reading changes. Error in_transaction inside a transaction with uncommitted writes.
  Result<std::optional<Bytes>> changeset(int64_t since);
  Result<Page> page(const PageRequest& request);
  // The cursor that corresponds to a bare log position (for rejoin_changesets(since, …)).
  Result<Bytes> cursor_at(int64_t since);

  // --- merging
  Result<sync::ApplyOutcome> apply(BytesView frame, const ApplyOptions& options = {});

  // --- rows. `key`: the key columns' values.
  Result<std::string> explain(const std::string& table, const std::vector<crdt::ValueRef>& key);  // JSON
  Result<bool> restore(const std::string& table, const std::vector<crdt::ValueRef>& key);  // false: it is alive already

  // Rows that a server refused are sent once more with the next sync. Returns how many.
  Result<int64_t> retry();

  // Takes back what a server refused of a row, and of all rows: the server's values take its place. False: the row is
  // not listed; and how many.
  Result<bool> discard(const std::string& table, const std::vector<crdt::ValueRef>& key);
  Result<int64_t> discard_all();

  // --- upkeep
  Status fold();
  // Forgets log entries that every known peer has acknowledged, and deletions that are older than `keep_days` (as it
  // was set last; 30). Returns how many went.
  Result<int64_t> compact(std::optional<int64_t> keep_days = {});
  // Looks for damage: JSON array of findings, empty when sound.
  Result<std::string> doctor();
  Result<std::string> version_json();  // {"rejoin":…,"sqlite":…,"format":…}

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// The device's end of sync for the server that `url` names, kept in the database itself.
std::unique_ptr<sync::DeviceStore> make_device_store(Replica& replica, const std::string& url);
// The server's end: the replica as one tenant's store.
std::unique_ptr<sync::TenantStore> make_tenant_store(Replica& replica);
// What `rejoin admin` asks of it.
std::unique_ptr<sync::TenantAdmin> make_tenant_admin(Replica& replica);

// The connection that rejoin_connect stored, if any.
struct Connection {
  std::string url;
  std::string token;
  std::optional<bool> migrate;  // the server's contract may add tables and columns here; nothing: as it is
};
Result<std::optional<Connection>> stored_connection(Replica& replica);
Status store_connection(Replica& replica, const Connection& connection);
// JSON for rejoin_status(): site, tables, connected url, pending, pushed, pulled, rejected, parked, last_sync,
// last_error.
Result<std::string> status_json(Replica& replica);

// The file behind "main"; empty for a database in memory or a temporary one.
std::string file_of(Replica& replica);

// How the SQL function rejoin_sync() reaches the network without this room knowing it: `client` installs this at
// start-up. Returns the JSON of the session.
using SyncFunction = Result<std::string> (*)(Replica& replica, const Connection& connection);
void install_sync_function(SyncFunction function);

// The same for rejoin_live(): what keeps a file in sync beside the application. Its end is the end of the thread.
class LiveConnection {
 public:
  virtual ~LiveConnection() = default;
  virtual std::string status_json() = 0;
};
using LiveFunction = Result<std::unique_ptr<LiveConnection>> (*)(const std::string& file, const Connection& connection);
void install_live_function(LiveFunction function);

}  // namespace rejoin::sqlite

// A transaction for one tenant, with the tenant's state, its sites and the catalog loaded.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/clock.h"
#include "base/random.h"
#include "crdt/version.h"
#include "postgres/catalog.h"

namespace rejoin::postgres {

// What is known of a role that callers act as. postgres/impersonate.h.
struct RoleFacts {
  int64_t checked_ms = 0;
  std::optional<Error> refused;
  std::set<int64_t> readable;  // tables, by id
  std::set<int64_t> guarded;   // of these, those with row-level security
};

// What a process keeps of a tenant between requests. Used by one request at a time.
struct Tenant {
  Tenant(std::string n, Clock& c, Random& r) : name(std::move(n)), clock(c), random(r) {}
  std::string name;
  Clock& clock;
  Random& random;
  crdt::SiteTable sites;         // ids are never reused, so what is known stays right
  size_t sites_read = 0;         // so many of them were read, the others made here
  int64_t sites_by = 0;          // the transaction that wrote the last that was read (xmin)
  int64_t sites_started_us = 0;  // when the PostgreSQL that they were read from had started
  // PostgreSQL's lock_timeout and statement_timeout in its transactions; 0: as the role has them.
  int64_t lock_timeout_ms = 0, statement_timeout_ms = 0;
  // For how long a merge waits for its turn, while others have the tenant, and for PostgreSQL to answer its COMMIT; 0:
  // to the request's end.
  int64_t turn_ms = 0, commit_ms = 0;
  std::optional<std::chrono::steady_clock::time_point> deadline;  // the request's
  // One of the two was not enough: who comes next would fare no better. Whoever wants to know sets it back.
  bool stalled = false;
  std::shared_ptr<const Catalog> catalog;
  std::map<std::string, RoleFacts> roles;
  std::map<Bytes, uint64_t> views;               // their numbers, by what makes them; postgres/impersonate.h
  std::map<uint64_t, int64_t> views_checked_ms;  // when it was last asked what each view shows
  bool catalog_stale = false;  // a table is not as the catalog says: the next transaction reads it anew
  // The catalog was read by this very transaction: what PostgreSQL says of names and types is not our being late.
  bool catalog_fresh = false;
  bool catalog_renewed = false;  // ... or for this very request, which is done once more for that reason
  int met_otherwise = 0;         // for so many merges nothing is hoped for; postgres/merge.h
  bool grown = false;            // a commit made the log longer; whoever wants to know sets it back
  int64_t forgotten = 0;         // deletions that were forgotten; likewise
};

// The row of rejoin.tenant.
struct State {
  int64_t id = 0;
  crdt::Hlc last = 0;  // newest stamp given or merged
  int64_t tail = 0;    // newest log position
  int64_t floor = 0;   // log positions up to here may be gone
  // postgres/purge.h; of a schema before version 4 nothing is known of it, for nothing was forgotten.
  crdt::Hlc horizon = 0;             // no stamp of a row that was forgotten is above it; 0: nothing was forgotten
  int64_t purged = 0;                // log positions up to which a reader may have missed deletions
  std::optional<int64_t> looked_ms;  // when all records were last looked through; nothing: never, or not here
};

class Work {
 public:
  enum class Mode {
    merge,  // READ COMMITTED, the tenant locked against other merges and folds, nothing of ours captured
    look,   // one snapshot, read only, no lock
    // As merge, for what readers wait for and nobody is acknowledged: it is committed without a synchronous standby,
    // and the tenant waited for no longer than for any lock. Error: busy.
    aside,
  };
  // Makes the tenant when it is new (not for a look; a look at a tenant that is not there gives state.id 0). `along`
  // queues statements that read in the same round trip, after the tenant is locked.
  static Result<Work> begin(Connection& db, Tenant& tenant, Mode mode, const std::function<void()>& along = {});
  Work(Work&& o) noexcept
      : state(o.state),
        outbox_waits(o.outbox_waits),
        along(std::move(o.along)),
        db_(o.db_),
        tenant_(o.tenant_),
        saved_(o.saved_),
        began_(o.began_),
        open_(std::exchange(o.open_, false)) {}
  Work& operator=(Work&&) = delete;
  ~Work();
  // Saves the state and commits, durably.
  Status commit();

  Connection& db() { return *db_; }
  Tenant& tenant() { return *tenant_; }
  crdt::SiteTable& sites() { return tenant_->sites; }
  const Catalog& catalog() const { return *tenant_->catalog; }
  // The tenant's own site has index 0: what others write with plain SQL is its writing.
  static constexpr uint32_t kOwnSite = 0;
  // The index of a site; a new one is queued to be stored.
  uint32_t intern(const crdt::SiteId& id);

  State state;
  bool outbox_waits = false;  // there were captured writes when the transaction began
  std::vector<Rows> along;    // what begin()'s `along` asked

 private:
  Work(Connection& db, Tenant& tenant) : db_(&db), tenant_(&tenant) {}
  Connection* db_;
  Tenant* tenant_;
  State saved_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  bool open_ = true;
};

}  // namespace rejoin::postgres

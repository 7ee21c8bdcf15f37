// Forgetting: log rows that every device has, and the records of rows that were deleted long ago, which everybody
// knows. docs/adr/0009-forgotten-deletions.md has the rules. Both under the tenant's lock, so nodes take turns.
#pragma once

#include <optional>

#include "postgres/work.h"

namespace rejoin::postgres {

// So long deletions are kept at least, and devices count that were not seen, unless rejoin.meta says otherwise.
inline constexpr int64_t kKeepDays = 30;
inline constexpr int64_t kLongestKeepDays = 100 * 366;

// Removes log rows that every device has which counts, in a transaction of Mode::merge. The row at the floor stays, so
// that a cursor that stands there is still known. How many went.
Result<int64_t> compact_log(Work& work, int64_t now_ms, std::optional<int64_t> keep_days = {});

// Has this device missed deletions that are forgotten here? `cursor`: where it reads on; empty: not said. Of what is
// asked first, in one result, the second tells.
void send_place(Connection& db, const std::string& device, const crdt::SiteId& site, BytesView cursor);
bool missed_deletions(const Work& work, const Rows& place, BytesView cursor);

// Where a look through all records stands.
struct PurgePlace {
  int64_t table = 0;
  Bytes key;
};
struct Purge {
  int64_t now_ms = 0;
  std::optional<int64_t> keep_days;  // instead of the database's setting
  bool dry_run = false;              // only counts what would go
  int64_t most_records = 65'536;     // that a chunk looks at
};
struct Purged {
  int64_t deletions = 0;
  bool more = false;       // there are records that were not looked at
  bool log_holds = false;  // the log still names some, so they were kept
};
// A chunk: looks at records from `place` on, which it moves, without a lock, then forgets under the tenant's lock what
// may go and is still as it was.
Result<Purged> purge_some(Connection& db, Tenant& tenant, const Purge& purge, PurgePlace& place);

// The same beside requests: a chunk at a time, once a day through all records. `looked_ms` as the last transaction read
// it (State); nothing is done before the day is over.
Status purge_a_little(Connection& db, Tenant& tenant, std::optional<int64_t> looked_ms, int64_t now_ms);

}  // namespace rejoin::postgres

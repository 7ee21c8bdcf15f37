#include "sqlite/compact.h"

#include "sqlite/fold.h"
#include "sqlite/key_before.h"
#include "sqlite/layout.h"
#include "sqlite/purge.h"

namespace rejoin::sqlite {
namespace {

// More entries than this and the log is compacted by itself after a sync.
constexpr int64_t kWorthwhile = 50'000;
// Records that are looked at after a sync, for deletions that may be forgotten: some 10 ms.
constexpr int64_t kRecordsAtOnce = 16'384;
// Log entries that one transaction forgets: some 100 ms.
constexpr int64_t kEntriesAtOnce = 131'072;
// Between two transactions: SQLite's busy handler sleeps most of the time, and must find the moment.
constexpr int kPauseMs = 20;

// How far everybody who counts has read.
Result<int64_t> acknowledged_by_all(Work& work) {
  Context& ctx = work.ctx();
  int64_t up_to = work.state.folded;
  // Servers that this file has left, and devices, that have not been seen for so long hold nothing back.
  REJOIN_ASSIGN(const int64_t keep, keep_ms(ctx));
  const int64_t unseen_before = ctx.clock.now_ms() - keep;
  REJOIN_ASSIGN(Statement peers,
                prepare(ctx.db,
                        "SELECT count(*), coalesce(min(pushed), 0) FROM main.rejoin_peer WHERE url NOT GLOB "
                        "'replica:*' AND (is_default OR last_sync>?1)"));
  peers.bind(1, unseen_before);
  REJOIN_TRY(peers.step());
  if (peers.integer(0) > 0) up_to = std::min(up_to, peers.integer(1));
  REJOIN_ASSIGN(
      Statement devices,
      prepare(ctx.db, "SELECT count(*), coalesce(min(acknowledged), 0) FROM main.rejoin_device WHERE last_seen>?1"));
  devices.bind(1, unseen_before);
  REJOIN_TRY(devices.step());
  if (devices.integer(0) > 0) up_to = std::min(up_to, devices.integer(1));
  return up_to;
}

// A part of the log; counts what it removes. True: there is more.
Result<bool> compact_some(Work& work, int64_t& removed) {
  Context& ctx = work.ctx();
  REJOIN_ASSIGN(const int64_t all, acknowledged_by_all(work));
  if (all <= work.state.floor) return false;
  const int64_t up_to = std::min(all, work.state.floor + kEntriesAtOnce);
  REJOIN_ASSIGN(int64_t tail, log_tail(ctx));
  int64_t before = sqlite3_total_changes(ctx.db);
  {
    // The newest row stays: SQLite would hand its number out again.
    REJOIN_ASSIGN(Statement s, prepare(ctx.db, "DELETE FROM main.rejoin_log WHERE seq<=?1 AND seq<?2"));
    s.bind(1, up_to);
    s.bind(2, tail);
    REJOIN_TRY(s.run("compacting the log"));
  }
  removed += sqlite3_total_changes(ctx.db) - before;
  if (up_to >= tail) {
    REJOIN_ASSIGN(
        Statement s,
        prepare(ctx.db,
                "UPDATE main.rejoin_log SET tbl=0, op=?2, bits=NULL, ms=NULL, k0=NULL WHERE seq=?1 AND op<>?2"));
    s.bind(1, tail);
    s.bind(2, static_cast<int64_t>(kBlank));
    REJOIN_TRY(s.run("compacting the log"));
  }
  {
    // The batch that holds the floor stays, so that a cursor at the floor is still known.
    REJOIN_ASSIGN(Statement s, prepare(ctx.db, "DELETE FROM main.rejoin_batch WHERE last_seq<?1"));
    s.bind(1, up_to);
    REJOIN_TRY(s.run("compacting the batches"));
  }
  work.state.floor = up_to;
  return up_to < all;
}

}  // namespace

Result<int64_t> compact(Context& ctx, std::optional<int64_t> keep_days) {
  int64_t removed = 0;
  PurgePlace place;
  bool more = true;
  for (bool first = true; more; first = false) {
    if (!first && sqlite3_get_autocommit(ctx.db)) sqlite3_sleep(kPauseMs);
    REJOIN_ASSIGN(Work work, Work::write(ctx));
    if (first) {
      REJOIN_TRY(fold(work));
      if (keep_days) REJOIN_TRY(set_keep_days(ctx, *keep_days));
      REJOIN_TRY(settle_former_keys(ctx));
    }
    REJOIN_ASSIGN(more, compact_some(work, removed));
    if (!more) {
      REJOIN_ASSIGN(more, purge_some(work, place, removed));
    }
    REJOIN_TRY(work.commit());
  }
  return removed;
}

Result<bool> compact_if_worthwhile(Work& work) {
  REJOIN_ASSIGN(int64_t tail, log_tail(work.ctx()));
  REJOIN_ASSIGN(bool compacts, purge_a_little(work, kRecordsAtOnce));
  compacts |= tail - work.state.floor >= kWorthwhile;
  if (!compacts) return false;
  REJOIN_TRY(settle_former_keys(work.ctx()));
  int64_t removed = 0;
  return compact_some(work, removed);
}

Status compact_the_rest(Context& ctx) {
  int64_t removed = 0;
  for (bool more = true; more && sqlite3_get_autocommit(ctx.db);) {
    sqlite3_sleep(kPauseMs);
    auto work = Work::write(ctx);
    if (!work.ok() && work.error().code == Code::busy) return {};  // the next sync goes on
    if (!work.ok()) return work.error();
    REJOIN_ASSIGN(more, compact_some(*work, removed));
    REJOIN_TRY(work->commit());
  }
  return {};
}

}  // namespace rejoin::sqlite

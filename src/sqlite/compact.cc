#include "sqlite/compact.h"

#include "sqlite/fold.h"
#include "sqlite/layout.h"

namespace rejoin::sqlite {
namespace {

// More entries than this and the log is compacted by itself after a sync.
constexpr int64_t kWorthwhile = 50'000;
// A server's device that has not been seen for so long holds nothing back.
constexpr int64_t kForgetDeviceMs = int64_t{30} * 24 * 3600 * 1000;

Result<int64_t> compact_in(Work& work) {
  Context& ctx = work.ctx();
  int64_t up_to = work.state.folded;
  REJOIN_ASSIGN(Statement peers,
                prepare(ctx.db,
                        "SELECT count(*), coalesce(min(pushed), 0) FROM main.rejoin_peer WHERE url NOT GLOB "
                        "'replica:*' AND (is_default OR chain_token IS NOT NULL OR last_sync IS NOT NULL)"));
  REJOIN_TRY(peers.step());
  if (peers.integer(0) > 0) up_to = std::min(up_to, peers.integer(1));
  REJOIN_ASSIGN(
      Statement devices,
      prepare(ctx.db, "SELECT count(*), coalesce(min(acknowledged), 0) FROM main.rejoin_device WHERE last_seen>?1"));
  devices.bind(1, ctx.clock.now_ms() - kForgetDeviceMs);
  REJOIN_TRY(devices.step());
  if (devices.integer(0) > 0) up_to = std::min(up_to, devices.integer(1));
  peers.finalize();
  devices.finalize();
  if (up_to <= work.state.floor) return int64_t{0};
  REJOIN_ASSIGN(int64_t tail, log_tail(ctx));
  int64_t before = sqlite3_total_changes(ctx.db);
  {
    // The newest row stays: SQLite would hand its number out again.
    REJOIN_ASSIGN(Statement s, prepare(ctx.db, "DELETE FROM main.rejoin_log WHERE seq<=?1 AND seq<?2"));
    s.bind(1, up_to);
    s.bind(2, tail);
    REJOIN_TRY(s.run("compacting the log"));
  }
  int64_t removed = sqlite3_total_changes(ctx.db) - before;
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
  return removed;
}

}  // namespace

Result<int64_t> compact(Context& ctx) {
  REJOIN_ASSIGN(Work work, Work::write(ctx));
  REJOIN_TRY(fold(work));
  REJOIN_ASSIGN(int64_t removed, compact_in(work));
  REJOIN_TRY(work.commit());
  return removed;
}

Status compact_if_worthwhile(Work& work) {
  REJOIN_ASSIGN(int64_t tail, log_tail(work.ctx()));
  if (tail - work.state.floor < kWorthwhile) return {};
  REJOIN_TRY(compact_in(work));
  return {};
}

}  // namespace rejoin::sqlite

#include "sqlite/horizon.h"

#include <algorithm>

namespace rejoin::sqlite {

Result<Horizon> read_horizon(Context& ctx) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT horizon, purged, sent, keep_days, looked FROM main.rejoin_state"));
  Use use(*s);
  REJOIN_ASSIGN(bool row, s->step("reading the horizon"));
  Horizon out;
  if (!row) return out;
  out.hlc = static_cast<crdt::Hlc>(s->integer(0));
  out.position = s->integer(1);
  out.sent = s->integer(2);
  out.keep_days = s->integer(3);
  out.looked_ms = s->integer(4);
  return out;
}

Status raise_horizon(Context& ctx, crdt::Hlc hlc, int64_t position) {
  REJOIN_ASSIGN(Statement * s,
                ctx.statement("UPDATE main.rejoin_state SET horizon=max(horizon, ?1), purged=max(purged, ?2)"));
  Use use(*s);
  s->bind(1, static_cast<int64_t>(hlc));
  s->bind(2, position);
  return s->run("raising the horizon");
}

Status note_sent(Context& ctx, int64_t position) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("UPDATE main.rejoin_state SET sent=?1 WHERE sent<?1"));
  Use use(*s);
  s->bind(1, position);
  return s->run("noting what others may know");
}

crdt::Hlc newest_stamp(const crdt::RowRecord& record) {
  crdt::Hlc newest = std::max(record.live.hlc, record.birth.hlc);
  for (const crdt::CellGroup& group : record.groups) newest = std::max(newest, group.stamp.hlc);
  return newest;
}

bool may_be_forgotten(const crdt::RowRecord& record) {
  return record.live.bottom() || (!record.alive && record.birth.bottom());
}

Admission admission(const crdt::RowRecord& mine, const crdt::RowRecord& theirs, const crdt::SiteTable& sites,
                    crdt::Hlc horizon, bool partial, bool stale) {
  const bool deleted = !mine.live.bottom();
  const crdt::Hlc newest = newest_stamp(theirs);
  if (newest == 0) return Admission::admit;  // it says nothing
  if (theirs.live.bottom()) {
    const bool old = stale || newest <= horizon;
    return old && !deleted ? Admission::refuse : Admission::in_part;
  }
  if (!theirs.alive) return newest <= horizon && mine == crdt::RowRecord() ? Admission::forget : Admission::in_part;
  // Born after the horizon it wins against all that was forgotten. So does a later restore, if it brings the whole row.
  if (theirs.birth.hlc > horizon) return Admission::admit;
  if (deleted && crdt::compare(theirs.live, mine.live, sites) < 0) return Admission::in_part;
  const bool restored = theirs.live.hlc > horizon && !theirs.birth.bottom() && !partial && !stale;
  return restored ? Admission::admit : Admission::refuse;
}

namespace {

std::string may_be_gone(crdt::Hlc horizon) {
  return "it is unknown here and from before " + iso8601(crdt::ms_of_hlc(horizon)) +
         ", up to when deletions are forgotten: it may have been deleted. ";
}

}  // namespace

std::string before_horizon(crdt::Hlc horizon) {
  return may_be_gone(horizon) + "Discard it, or delete it and insert it again";
}

std::string waits_for_row(crdt::Hlc horizon) {
  return may_be_gone(horizon) + "It is merged when a row with this key is inserted, here or where it comes from";
}

}  // namespace rejoin::sqlite
